// Ceph's manager: a module's sub-interpreter, entered by threads of the daemon.
#include <Python.h>

#include "Gil.h"

#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

static long turns;  // touched with the GIL only

int main() {
    Py_InitializeEx(0);
    PyThreadState *main_state = PyThreadState_Get();
    SafeThreadState module(Py_NewInterpreter());
    PyThreadState_Swap(main_state);
    PyThreadState *saved = PyEval_SaveThread();

    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] {
            for (int j = 0; j < 100; j++) {
                Gil gil(module, true);
                turns++;
                without_gil_t outside;
                with_gil_t inside(outside);
                turns++;
            }
        });
    for (int i = 0; i < 100; i++) {
        Gil gil(module);
        turns++;
        without_gil([] { std::this_thread::yield(); });
    }
    for (auto &thread : threads)
        thread.join();

    PyEval_RestoreThread(module.ts);
    Py_EndInterpreter(module.ts);
    PyThreadState_Swap(nullptr);
    PyEval_RestoreThread(saved);
    long seen = turns;
    if (Py_FinalizeEx() != 0 || seen != 900)
        return 1;
    puts("ok");
}
