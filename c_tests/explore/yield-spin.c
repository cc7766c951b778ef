/* Correct: a thread spins with sched_yield() until another has set a flag. */
#include "host.h"

#include <sched.h>
#include <stdatomic.h>

static atomic_int flag;

static void *set(void *arg) {
    PyGILState_STATE token = PyGILState_Ensure();
    PyGILState_Release(token);
    atomic_store(&flag, 1);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t thread = start(set, NULL);
    Py_BEGIN_ALLOW_THREADS;
    while (!atomic_load(&flag))
        sched_yield();
    Py_END_ALLOW_THREADS;
    join_detached(thread);
    return Py_FinalizeEx();
}
