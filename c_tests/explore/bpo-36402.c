/* bpo-36402: shutdown trusts a list that the ending thread has left already.
 *
 * A thread of a sub-interpreter takes itself off the list of active threads;
 * its state is still linked. The shutdown finds the list empty, and
 * Py_EndInterpreter meets the state: "not the last thread". */
#include "host.h"

static PyThread_type_lock started, done;
static int active; /* len(threading._active) */

static void *run(void *interp) {
    PyThreadState *tstate = PyThreadState_New(interp);
    PyEval_AcquireThread(tstate);
    active = 1;
    PyThread_release_lock(started);
    next_bytecode();
    active = 0; /* _active.pop(), then the lock of the lists */
    PyThread_release_lock(done);
    next_bytecode();
    PyThreadState_Clear(tstate);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static PyThread_type_lock new_locked(void) {
    PyThread_type_lock lock = PyThread_allocate_lock();
    check(lock != NULL && PyThread_acquire_lock(lock, NOWAIT_LOCK));
    return lock;
}

static void wait_for(PyThread_type_lock lock) {
    Py_BEGIN_ALLOW_THREADS;
    PyThread_acquire_lock(lock, WAIT_LOCK);
    PyThread_release_lock(lock);
    Py_END_ALLOW_THREADS;
}

int main(void) {
    begin(COMPAT_3_12);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    check(sub != NULL);
    started = new_locked();
    done = new_locked();
    pthread_t thread = start(run, PyThreadState_GetInterpreter(sub));
    wait_for(started); /* Thread.start() */
    while (active)     /* threading._shutdown() of 3.7 */
        wait_for(done);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(main_state);
    join_detached(thread);
    PyThread_free_lock(started);
    PyThread_free_lock(done);
    return Py_FinalizeEx();
}
