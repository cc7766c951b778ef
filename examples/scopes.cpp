// The classes of pytstate.hpp (C++17): what is begun in a scope ends with it.
//
// Prints:
//   3 threads added up to 6
//   late after 1 ms: 'sleeper'
//   a callback from a foreign thread was served
//   a sub-interpreter has id 1
//   in a pause, 1 thread is attached
//   finalized: 0
//   a callback after finalization was refused
#include <pytstate.hpp>

#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

int add_up() {
    pytstate::Mutex lock;
    int sum = 0;
    {
        std::vector<pytstate::Thread> threads;
        for (int number = 1; number <= 3; number++)
            threads.emplace_back([&lock, &sum, number] {
                const std::lock_guard<pytstate::Mutex> locked(lock);
                sum += number;
            });
    } // joined, one by one
    return sum;
}

// Names a thread that does not end in time, then lets it end.
void name_the_late() {
    pytstate::Event named, stop;
    const pytstate::Thread sleeper([&named, &stop] {
        pytstate::name_this_thread("sleeper");
        named.set();
        const pytstate::Blocking region([&stop] { stop.set(); });
        stop.wait();
    });
    named.wait();
    for (const auto &thread :
         pytstate::wait_for_threads(PyInterpreterState_Get(), 1ms))
        std::printf("late after 1 ms: '%s'\n", thread.name);
    stop.set();
}

// What a library's thread does that knows only a view.
const char *call_back(const pytstate::View &view) {
    if (const auto attached = pytstate::Attached::to(view))
        return "served";
    return "refused";
}

const char *call_back_from_a_thread(const pytstate::View &view) {
    const char *outcome = "";
    std::thread([&] { outcome = call_back(view); }).join();
    return outcome;
}

int attached_threads() {
    PyTState_ThreadInfo threads[8];
    const std::size_t n = PyTState_Census(nullptr, threads, 8);
    int attached = 0;
    for (std::size_t i = 0; i < n && i < 8; i++)
        attached += threads[i].state == PyTState_ATTACHED;
    return attached;
}

} // namespace

int main() {
    pytstate::Runtime runtime;
    std::printf("3 threads added up to %d\n", add_up());
    name_the_late();

    const pytstate::View view = pytstate::View::of_current();
    {
        const pytstate::Detached detached;
        const char *outcome = call_back_from_a_thread(view);
        std::printf("a callback from a foreign thread was %s\n", outcome);
    }
    {
        pytstate::Interpreter tenant;
        const std::int64_t id = tenant.enter(
            [] { return PyInterpreterState_GetID(PyInterpreterState_Get()); });
        std::printf("a sub-interpreter has id %d\n", static_cast<int>(id));
    }
    {
        const pytstate::Pause pause;
        std::printf("in a pause, %d thread is attached\n", attached_threads());
    }
    std::printf("finalized: %d\n", runtime.finalize());
    std::printf("a callback after finalization was %s\n",
                call_back_from_a_thread(view));
    return 0;
}
