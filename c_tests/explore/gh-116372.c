/* gh-116372: a joiner looks at a thread's lock while another joiner holds it.
 *
 * Until 3.12 the end of a thread was seen through a lock: taken when it
 * started, released by the hook of its state's deletion. A joiner acquires it,
 * gives it back, and marks the thread as stopped, for which the lock must be
 * free. Two joiners meet. */
#include "host.h"

static struct {
    PyThread_type_lock lock;
    int locked, stopped;
} a;

static void release_sentinel(void *arg) {
    (void)arg;
    a.locked = 0;
    PyThread_release_lock(a.lock);
}

static void run_a(void *arg) {
    PyThreadState *tstate = PyThreadState_Get();
    (void)arg;
    tstate->on_delete = release_sentinel;
}

static void acquire(void) {
    if (!PyThread_acquire_lock(a.lock, NOWAIT_LOCK)) {
        Py_BEGIN_ALLOW_THREADS;
        PyThread_acquire_lock(a.lock, WAIT_LOCK);
        Py_END_ALLOW_THREADS;
    }
    a.locked = 1;
}

static void release(void) {
    a.locked = 0;
    PyThread_release_lock(a.lock);
}

/* Thread.join() of 3.12, with its bytecodes. */
static void join_a(void *arg) {
    (void)arg;
    if (a.stopped)
        return;
    acquire();
    next_bytecode();
    release();
    next_bytecode();
    check(a.stopped || !a.locked); /* Thread._stop() */
    a.stopped = 1;
}

int main(void) {
    begin(COMPAT_3_12);
    a.lock = PyThread_allocate_lock();
    acquire();
    PyThreadHandle *thread = start_attached(run_a, NULL, PyThreadHandle_DAEMON);
    PyThreadHandle *joiner = start_attached(join_a, NULL, 0);
    join_a(NULL);
    join_handle(joiner);
    join_handle(thread);
    PyThread_free_lock(a.lock);
    return Py_FinalizeEx();
}
