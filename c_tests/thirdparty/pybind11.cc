// pybind11's simple GIL holders, on threads that Python did not start.
#include <pybind11/gil_simple.h>

#include <cstdio>
#include <thread>
#include <vector>

static long calls;  // touched with the GIL only

int main() {
    Py_InitializeEx(0);
    std::vector<std::thread> threads;
    {
        pybind11::gil_scoped_release_simple released;
        for (int i = 0; i < 4; i++)
            threads.emplace_back([] {
                for (int j = 0; j < 200; j++) {
                    pybind11::gil_scoped_acquire_simple held;
                    calls++;
                    pybind11::gil_scoped_release_simple outside;
                    pybind11::gil_scoped_acquire_simple again;
                    calls++;
                }
            });
        for (auto &thread : threads)
            thread.join();
    }
    long seen = calls;
    if (Py_FinalizeEx() != 0 || seen != 1600)
        return 1;
    puts("ok");
}
