/* bpo-36402: shutdown trusts a list that the ending thread has left already.
 *
 * A thread of a sub-interpreter takes itself off the list of active threads;
 * its state is still linked. The shutdown finds the list empty, and
 * Py_EndInterpreter meets the state: "not the last thread". */
#include "host.h"

static struct {
    PyThread_type_lock done;
    int active; /* len(threading._active) */
    PyThreadState *tstate;
} thread;

static void *run(void *arg) {
    PyEval_AcquireThread(thread.tstate);
    next_bytecode();
    thread.active = 0; /* _active.pop(), then the lock of the lists */
    PyThread_release_lock(thread.done);
    next_bytecode();
    PyThreadState_Clear(thread.tstate);
    PyThreadState_DeleteCurrent();
    return arg;
}

/* threading._shutdown() of 3.7. */
static void join_active(void) {
    while (thread.active) {
        Py_BEGIN_ALLOW_THREADS;
        PyThread_acquire_lock(thread.done, WAIT_LOCK);
        PyThread_release_lock(thread.done);
        Py_END_ALLOW_THREADS;
    }
}

int main(void) {
    begin(COMPAT_3_12);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    check(sub != NULL);
    thread.done = PyThread_allocate_lock();
    PyThread_acquire_lock(thread.done, WAIT_LOCK);
    thread.active = 1;
    thread.tstate = PyThreadState_New(PyThreadState_GetInterpreter(sub));
    pthread_t os_thread = start(run, NULL);
    join_active();
    Py_EndInterpreter(sub);
    PyThreadState_Swap(main_state);
    join_detached(os_thread);
    PyThread_free_lock(thread.done);
    return Py_FinalizeEx();
}
