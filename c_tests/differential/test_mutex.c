/* PyMutex as everybody may use it, since 3.13 (S-MX, S-WD). */
#include <Python.h>

#include <errno.h>

#include "common.h"

#if PY_VERSION_HEX < V3_13

TEST("PyMutex is there since 3.13") { SKIP("this version has no PyMutex"); }

#else

/* PyMutex_IsLocked() is public since 3.14; the byte tells it before. */
static int locked(const PyMutex *mutex) { return mutex->_bits & 1; }

/* ---- One thread (S-MX-01, S-MX-02, S-MX-04, S-MX-08) -------------------- */

TEST("a mutex is one byte, and all zero is unlocked") {
    PyMutex mutex;
    CHECK_INT_EQ(sizeof(PyMutex), 1);
    memset(&mutex, 0, sizeof(mutex));
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(mutex._bits, 0);
}

TEST("locking sets bit 0 and unlocking clears it") {
    PyMutex mutex = {0};
    for (int i = 0; i < 100; i++) {
        CHECK_INT_EQ(mutex._bits, 0);
        PyMutex_Lock(&mutex);
        CHECK_INT_EQ(mutex._bits, 1);
        PyMutex_Unlock(&mutex);
    }
    CHECK_INT_EQ(mutex._bits, 0);
}

#if PY_VERSION_HEX >= V3_14
TEST("a mutex can be asked whether it is locked") {
    PyMutex mutex = {0};
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 0);
    PyMutex_Lock(&mutex);
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 1);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 0);
}
#endif

static PyMutex neighbours[4];

TEST("neighbours in memory do not disturb each other") {
    PyMutex_Lock(&neighbours[1]);
    PyMutex_Lock(&neighbours[2]);
    CHECK_INT_EQ(neighbours[0]._bits, 0);
    CHECK_INT_EQ(neighbours[3]._bits, 0);
    PyMutex_Unlock(&neighbours[1]);
    CHECK_INT_EQ(neighbours[1]._bits, 0);
    CHECK_INT_EQ(neighbours[2]._bits, 1);
    PyMutex_Unlock(&neighbours[2]);
}

TEST("the functions behind the names can be called and pointed to") {
    PyMutex mutex = {0};
    void (*lock)(PyMutex *) = &PyMutex_Lock;
    void (*unlock)(PyMutex *) = &PyMutex_Unlock;
    lock(&mutex);
    CHECK_INT_EQ(locked(&mutex), 1);
    unlock(&mutex);
    (PyMutex_Lock)(&mutex);
    (PyMutex_Unlock)(&mutex);
    CHECK_INT_EQ(locked(&mutex), 0);
}

TEST("an uncontended lock changes neither the state nor errno") {
    PyThreadState *first = begin();
    PyMutex mutex = {0};
    errno = EXDEV;
    PyMutex_Lock(&mutex);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(errno, EXDEV);
    finish();
}

TEST("unlocking a mutex that is not locked is fatal") {
    EXPECT_ABORT("unlocking mutex that is not locked") {
        PyMutex mutex = {0};
        PyMutex_Unlock(&mutex);
    }
    EXPECT_ABORT("Fatal Python error: PyMutex_Unlock: ") {
        PyMutex mutex = {0};
        PyMutex_Lock(&mutex);
        PyMutex_Unlock(&mutex);
        PyMutex_Unlock(&mutex);
    }
}

static void unlock_it(void *mutex) { PyMutex_Unlock(mutex); }

TEST("any thread may unlock a mutex") {
    PyMutex mutex = {0};
    PyMutex_Lock(&mutex);
    on_new_thread(unlock_it, &mutex);
    CHECK_INT_EQ(mutex._bits, 0);
}

/* ---- Several threads (S-MX-02, S-MX-03) --------------------------------- */

struct counter {
    PyMutex mutex;
    int inside, sum, rounds;
    atomic_long native_id;
    atomic_int locked;
};

static void count(void *arg) {
    struct counter *counter = arg;
    for (int i = 0; i < counter->rounds; i++) {
        PyMutex_Lock(&counter->mutex);
        CHECK_INT_EQ(counter->inside, 0);
        counter->inside = 1;
        counter->sum++;
        if (i % 16 == 0)
            sched_yield();
        counter->inside = 0;
        PyMutex_Unlock(&counter->mutex);
    }
}

TEST("a mutex works before initialization, for threads without a state") {
    struct counter counter = {.rounds = 5000};
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    peers_add(&peers, 6, count, &counter);
    peers_start(&peers);
    peers_join(&peers, 15000);
    CHECK_INT_EQ(counter.sum, 6 * 5000);
    CHECK_INT_EQ(counter.mutex._bits, 0);
}

static void count_attached(void *arg) {
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *state = PyThreadState_Get();
    count(arg);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(token);
}

TEST("a mutex works between attached and detached threads") {
    PyThreadState *first = begin();
    struct counter counter = {.rounds = 1000};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 3, count_attached, &counter);
    peers_add(&peers, 3, count, &counter);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(counter.sum, 6 * 1000);
    CHECK_INT_EQ(counter.mutex._bits, 0);
    finish();
}

static void lock_it(void *arg) {
    struct counter *counter = arg;
    atomic_store(&counter->native_id, test_native_id());
    PyMutex_Lock(&counter->mutex);
    atomic_store(&counter->locked, 1);
    PyMutex_Unlock(&counter->mutex);
}

TEST("a thread that finds the mutex locked sleeps, and the byte shows it") {
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 1, lock_it, &counter);
    peers_start(&peers);
    wait_until_asleep(&counter.native_id);
    CHECK_INT_EQ(counter.mutex._bits, 3);
    CHECK_INT_EQ(atomic_load(&counter.locked), 0);
    PyMutex_Unlock(&counter.mutex);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&counter.locked), 1);
    CHECK_INT_EQ(counter.mutex._bits, 0);
}

TEST("every thread that waits gets the mutex") {
    struct counter counter = {.rounds = 1};
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 16, count, &counter);
    peers_start(&peers);
    WAIT_UNTIL(counter.mutex._bits == 3, 5000);
    PyMutex_Unlock(&counter.mutex);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(counter.sum, 16);
}

/* S-MX-03: the mutex is handed over, so nobody can come between. */
TEST("who has waited for some milliseconds gets the mutex next") {
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 1, lock_it, &counter);
    peers_start(&peers);
    wait_until_asleep(&counter.native_id);
    int64_t slept = test_now_ms() + 5;
    WAIT_UNTIL(test_now_ms() > slept, 5000);
    PyMutex_Unlock(&counter.mutex);
    PyMutex_Lock(&counter.mutex);
    CHECK_INT_EQ(atomic_load(&counter.locked), 1);
    PyMutex_Unlock(&counter.mutex);
    peers_join(&peers, 5000);
}

/* ---- Waiting attached (S-MX-06, S-WD, S-AT-09) -------------------------- */

static void attach_then_unlock(void *arg) {
    struct counter *counter = arg;
    /* Needs the GIL that the waiter had. */
    PyGILState_STATE token = PyGILState_Ensure();
    counter->sum++;
    PyGILState_Release(token);
    PyMutex_Unlock(&counter->mutex);
}

TEST("a thread that waits for a mutex is detached, and attached afterwards") {
    PyThreadState *first = begin();
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    needs_a_gil();
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 1, attach_then_unlock, &counter);
    peers_start(&peers);
    errno = ENOTTY;
    PyMutex_Lock(&counter.mutex);
    CHECK_INT_EQ(errno, ENOTTY);
    CHECK_INT_EQ(counter.sum, 1);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    PyMutex_Unlock(&counter.mutex);
    Py_BEGIN_ALLOW_THREADS
    peers_join(&peers, 5000);
    Py_END_ALLOW_THREADS
    finish();
}

TEST("a thread that waits for a mutex keeps its nesting counter") {
    PyThreadState *first = begin();
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    needs_a_gil();
    PyGILState_STATE token = PyGILState_Ensure();
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 1, attach_then_unlock, &counter);
    peers_start(&peers);
    PyMutex_Lock(&counter.mutex);
    CHECK_INT_EQ(first->gilstate_counter, 2);
    PyMutex_Unlock(&counter.mutex);
    PyGILState_Release(token);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    Py_BEGIN_ALLOW_THREADS
    peers_join(&peers, 5000);
    Py_END_ALLOW_THREADS
    finish();
}

TEST("a thread that waits in a sub-interpreter comes back to it") {
    PyThreadState *first = begin();
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    needs_a_gil();
    PyThreadState *sub = Py_NewInterpreter();
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 1, attach_then_unlock, &counter);
    peers_start(&peers);
    PyMutex_Lock(&counter.mutex);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    CHECK_PTR_NE(PyInterpreterState_Get(), PyInterpreterState_Main());
    PyMutex_Unlock(&counter.mutex);
    Py_BEGIN_ALLOW_THREADS
    peers_join(&peers, 5000);
    Py_END_ALLOW_THREADS
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("a detached thread that waits for a mutex stays detached") {
    PyThreadState *first = begin();
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&counter.mutex);
    PyEval_SaveThread();
    peers_add(&peers, 1, attach_then_unlock, &counter);
    peers_start(&peers);
    PyMutex_Lock(&counter.mutex);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyMutex_Unlock(&counter.mutex);
    peers_join(&peers, 5000);
    PyEval_RestoreThread(first);
    finish();
}

/* ---- Forks (S-PL-10, S-FK-06) -------------------------------------------- */

TEST("a mutex on which the parent's threads slept works in a fork child") {
    PyThreadState *first = begin();
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 3, lock_it, &counter);
    peers_start(&peers);
    wait_until_asleep(&counter.native_id);
    WAIT_UNTIL(counter.mutex._bits == 3, 5000);
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        struct peers own = PEERS_INIT;
        CHECK_INT_EQ(locked(&counter.mutex), 1);
        PyMutex_Unlock(&counter.mutex);
        CHECK_INT_EQ(counter.mutex._bits, 0);
        PyMutex_Lock(&counter.mutex);
        atomic_store(&counter.native_id, 0);
        atomic_store(&counter.locked, 0);
        peers_add(&own, 1, lock_it, &counter);
        peers_start(&own);
        wait_until_asleep(&counter.native_id);
        PyMutex_Unlock(&counter.mutex);
        peers_join(&own, 5000);
        CHECK_INT_EQ(atomic_load(&counter.locked), 1);
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(pid, 0);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyMutex_Unlock(&counter.mutex);
    peers_join(&peers, 5000);
    finish();
}

/* ---- Lives of the runtime ----------------------------------------------- */

TEST("a locked mutex stays locked over the lives of the runtime") {
    struct counter counter = {0};
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&counter.mutex);
    peers_add(&peers, 1, lock_it, &counter);
    peers_start(&peers);
    wait_until_asleep(&counter.native_id);
    begin();
    finish();
    begin();
    finish();
    CHECK_INT_EQ(atomic_load(&counter.locked), 0);
    CHECK_INT_EQ(counter.mutex._bits, 3);
    PyMutex_Unlock(&counter.mutex);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&counter.locked), 1);
}

#endif
