/* Ends a program whose thread is still busy: waits with a deadline, says who
 * is late, asks it to stop, and finalizes when it has gone.
 *
 * Prints:
 *   after 10 ms one thread is alive: 'slow-writer', daemon 0
 *   it was asked to stop
 *   all threads have gone
 *   joined: 0, done: 1, its state is gone: 1
 *   finalized: 0
 */
#include <pytstate.h>

#include <stdio.h>
#include <time.h>

#define MS INT64_C(1000000)

/* Written and read only by attached threads. */
static int stop;

/* Runs attached, to a state of its own. */
static void write_slowly(void *unused) {
    (void)unused;
    while (!stop) {
        /* Slow input and output: others run meanwhile. */
        Py_BEGIN_ALLOW_THREADS
        struct timespec slow = {0, 1 * MS};
        nanosleep(&slow, NULL);
        Py_END_ALLOW_THREADS
    }
}

int main(void) {
    PyTState_ThreadInfo late[4];
    size_t n_late = 0;
    int joined;

    Py_InitializeEx(0);
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadHandle *handle = PyThreadHandle_New();
    if (handle == NULL ||
        PyThreadHandle_Start(handle, interp, write_slowly, NULL, 0) != 0) {
        fprintf(stderr, "no thread: %s\n", PyTState_ErrMessage());
        return 1;
    }
    PyTState_SetName(PyThreadHandle_ThreadState(handle), "slow-writer");

    /* 1: the deadline passed, and this is who is alive. */
    if (PyTState_WaitForThreads(interp, 10 * MS, late, 4, &n_late) != 1 ||
        n_late != 1)
        return 1;
    printf("after 10 ms one thread is alive: '%s', daemon %d\n", late[0].name,
           late[0].is_daemon);

    stop = 1;
    printf("it was asked to stop\n");
    if (PyTState_WaitForThreads(interp, -1, late, 4, &n_late) != 0)
        return 1;
    printf("all threads have gone\n");

    /* Its state is deleted and its OS thread has exited: join is at once. */
    joined = PyThreadHandle_Join(handle, 0);
    printf("joined: %d, done: %d, its state is gone: %d\n", joined,
           PyThreadHandle_IsDone(handle),
           PyThreadHandle_ThreadState(handle) == NULL);
    PyThreadHandle_Decref(handle);
    printf("finalized: %d\n", Py_FinalizeEx());
    return 0;
}
