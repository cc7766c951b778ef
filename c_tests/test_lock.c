/* PyMutex, and what the lock family owes to attached threads. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <pytstate.h>
#include <pytstate/internal.h>

#define MS INT64_C(1000000)
#define LATE_MS 50

static PyMutex mutex;

/* While other threads change it. */
static int byte(uint8_t *place) {
    return atomic_load((_Atomic(uint8_t) *)place);
}

/* A thread that does something and tells its number first. */
struct actor {
    void (*act)(struct actor *);
    atomic_long id;
    pthread_t thread;
    PyLockStatus status;
    int64_t timeout;
    int flags;
    atomic_int step;
};

static void play(void *arg) {
    struct actor *me = arg;
    me->thread = pthread_self();
    atomic_store(&me->id, test_native_id());
    me->act(me);
}

static void start(struct peers *peers, struct actor *actor) {
    peers_add(peers, 1, play, actor);
    peers_start(peers);
    WAIT_UNTIL(atomic_load(&actor->id) != 0, 10000);
}

static void put_to_sleep(struct peers *peers, struct actor *actor) {
    start(peers, actor);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&actor->id)), 10000);
}

static void lock_and_unlock(struct actor *me) {
    me->status = _PyMutex_LockTimed(&mutex, me->timeout, me->flags);
    if (me->status == PY_LOCK_ACQUIRED)
        PyMutex_Unlock(&mutex);
}

/* ---- The functions and the macros are one mutex ------------------------ */

TEST("the inline forms and the exported functions work on the same bits") {
    (PyMutex_Lock)(&mutex);
    CHECK_INT_EQ(mutex._bits, _Py_LOCKED);
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 1);
    CHECK_INT_EQ((PyMutex_IsLocked)(&mutex), 1);
    PyMutex_Unlock(&mutex);
    PyMutex_Lock(&mutex);
    (PyMutex_Unlock)(&mutex);
    CHECK_INT_EQ(mutex._bits, _Py_UNLOCKED);
    CHECK_INT_EQ((PyMutex_IsLocked)(&mutex), 0);
    PyMutex_LockFlags(&mutex, _Py_LOCK_DONT_DETACH);
    CHECK_INT_EQ(_PyMutex_IsLocked(&mutex), 1);
    CHECK_INT_EQ(_PyMutex_TryUnlock(&mutex), 0);
    CHECK_INT_EQ(_PyMutex_TryUnlock(&mutex), -1);
    _PyMutex_Lock(&mutex);
    _PyMutex_at_fork_reinit(&mutex);
    CHECK_INT_EQ(mutex._bits, 0);
}

TEST("unlocking what is not locked is fatal, and the message names the call") {
    EXPECT_ABORT("Fatal Python error: PyMutex_Unlock: unlocking mutex that is "
                 "not locked") {
        PyMutex_Unlock(&mutex);
    }
    EXPECT_ABORT("Fatal Python error: _PyRawMutex_Unlock: unlocking mutex that "
                 "is not locked") {
        _PyRawMutex raw = {0};
        _PyRawMutex_Unlock(&raw);
    }
    EXPECT_ABORT("Fatal Python error: PyThread_release_lock: unlocking mutex "
                 "that is not locked") {
        /* Up to 3.14 it is taken: test_compat.c. */
        PyTState_Config config = {.compat = 0x030F0000};
        PyTState_Initialize(&config);
        PyThread_release_lock(PyThread_allocate_lock());
    }
    EXPECT_ABORT("Fatal Python error: _PyRWMutex_Unlock: unlocking a mutex "
                 "that no writer has") {
        _PyRWMutex rw = {0};
        _PyRWMutex_RLock(&rw);
        _PyRWMutex_Unlock(&rw);
    }
    EXPECT_ABORT("Fatal Python error: _PyRWMutex_RUnlock: unlocking a mutex "
                 "that no reader has") {
        _PyRWMutex rw = {0};
        _PyRWMutex_Lock(&rw);
        _PyRWMutex_RUnlock(&rw);
    }
    EXPECT_ABORT("Fatal Python error: _PySeqLock_UnlockWrite: no writer is "
                 "active") {
        _PySeqLock seq = {0};
        _PySeqLock_UnlockWrite(&seq);
    }
}

TEST("NULL is fatal where it is checked, and the message names the parameter") {
    EXPECT_ABORT("Fatal Python error: PyThread_acquire_lock: argument 'lock' "
                 "must not be NULL") {
        PyThread_acquire_lock(NULL, WAIT_LOCK);
    }
    EXPECT_ABORT("Fatal Python error: PyThread_release_lock: argument 'lock' "
                 "must not be NULL") {
        PyThread_release_lock(NULL);
    }
    EXPECT_ABORT("Fatal Python error: _PyParkingLot_Park: argument 'expected' "
                 "must not be NULL") {
        _PyParkingLot_Park(&mutex, NULL, 1, 0, NULL, 0);
    }
    EXPECT_ABORT("Fatal Python error: _PyParkingLot_Park: address_size is 3") {
        _PyParkingLot_Park(&mutex, &mutex, 3, 0, NULL, 0);
    }
    EXPECT_ABORT("Fatal Python error: _PyRWMutex_Lock: argument 'rwmutex' must "
                 "not be NULL") {
        _PyRWMutex_Lock(NULL);
    }
    PyThread_free_lock(NULL);
}

/* ---- Time -------------------------------------------------------------- */

TEST("a timed lock is never early, and soon after its deadline") {
    static const int64_t timeouts[] = {1, 300000, 2 * MS, 20 * MS, 60 * MS};
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, 0, 0), PY_LOCK_ACQUIRED);
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, 0, 0), PY_LOCK_FAILURE);
    for (int i = 0; i < 5; i++) {
        int64_t best = INT64_MAX;
        /* Other work on the machine may delay one wait, not every one. */
        for (int round = 0; round < 8; round++) {
            int64_t begin = test_now_ns();
            CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, timeouts[i], round % 2),
                         PY_LOCK_FAILURE);
            int64_t took = test_now_ns() - begin;
            CHECK_INT_GE(took, timeouts[i]);
            best = took < best ? took : best;
        }
        CHECK_INT_LT(best, timeouts[i] + LATE_MS * MS);
    }
}

TEST("a waiter older than a millisecond is handed the mutex") {
    struct peers peers = PEERS_INIT;
    struct actor waiter = {.act = lock_and_unlock, .timeout = -1};
    PyMutex_Lock(&mutex);
    put_to_sleep(&peers, &waiter);
    int64_t old = test_now_ns() + 2 * MS;
    while (test_now_ns() < old)
        test_nap();
    PyMutex_Unlock(&mutex);
    /* Ours was not the next lock: whoever finds it free comes after the waiter
     * has had it. */
    PyMutex_Lock(&mutex);
    CHECK_INT_EQ(waiter.status, PY_LOCK_ACQUIRED);
    PyMutex_Unlock(&mutex);
    peers_join(&peers, 10000);
}

/* ---- Signals ----------------------------------------------------------- */

static void on_signal(int number) { (void)number; }

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

static void signal_until_done(struct peers *peers, struct actor *actor) {
    while (peers_running(peers)) {
        pthread_kill(actor->thread, SIGUSR1);
        test_nap();
    }
    peers_join(peers, 10000);
}

TEST("a signal ends a wait with _PY_FAIL_IF_INTERRUPTED") {
    struct peers peers = PEERS_INIT;
    struct actor waiter = {.act = lock_and_unlock,
                           .timeout = -1,
                           .flags = _PY_FAIL_IF_INTERRUPTED};
    catch_signals();
    PyMutex_Lock(&mutex);
    put_to_sleep(&peers, &waiter);
    signal_until_done(&peers, &waiter);
    CHECK_INT_EQ(waiter.status, PY_LOCK_INTR);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(mutex._bits, 0);
}

/* Sends signals to a wait of `timeout`: how many came while it was asleep. */
static int signals_in_a_wait(int64_t timeout) {
    struct peers peers = PEERS_INIT;
    struct actor waiter = {.act = lock_and_unlock, .timeout = timeout};
    int count = 0;
    int64_t begin = test_now_ns();
    start(&peers, &waiter);
    while (peers_running(&peers)) {
        if (test_thread_sleeps(atomic_load(&waiter.id))) {
            pthread_kill(waiter.thread, SIGUSR1);
            /* Asleep again: the signal did not end the wait. */
            count += test_thread_sleeps(atomic_load(&waiter.id));
        }
        test_nap();
    }
    int64_t took = test_now_ns() - begin;
    peers_join(&peers, 10000);
    CHECK_INT_GE(took, timeout);
    CHECK_INT_EQ(waiter.status, PY_LOCK_FAILURE);
    return count;
}

TEST("without that, signals leave the deadline as it was", .limit_s = 60) {
    catch_signals();
    PyMutex_Lock(&mutex);
    /* On a busy machine a short wait is over before it is seen asleep. */
    int64_t timeout = 50 * MS;
    while (signals_in_a_wait(timeout) == 0) {
        timeout *= 2;
        CHECK_INT_LE(timeout, 10000 * MS);
    }
}

TEST("errno is the same after a wait as before") {
    PyMutex_Lock(&mutex);
    errno = ERANGE;
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, MS, 0), PY_LOCK_FAILURE);
    CHECK_INT_EQ(errno, ERANGE);
}

/* ---- Attached threads -------------------------------------------------- */

static void attach_and_lock(struct actor *me) {
    PyGILState_STATE token = PyGILState_Ensure();
    atomic_store(&me->step, 1);
    me->status = _PyMutex_LockTimed(&mutex, me->timeout, me->flags);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    atomic_store(&me->step, 2);
    PyGILState_Release(token);
}

TEST("a detaching wait gives the GIL up and takes it again") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    struct actor waiter = {
        .act = attach_and_lock, .timeout = -1, .flags = _PY_LOCK_DETACH};
    Py_InitializeEx(0);
    PyMutex_Lock(&mutex);
    PyThreadState *mine = PyEval_SaveThread();
    start(&peers, &waiter);
    WAIT_UNTIL(byte(&mutex._bits) == 3, 10000);
    /* The waiter sleeps, so we can have the GIL. */
    PyEval_RestoreThread(mine);
    PyMutex_Unlock(&mutex);
    /* It has the mutex or will have it, but not the GIL: it cannot go on. */
    CHECK_INT_EQ(atomic_load(&waiter.step), 1);
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&waiter.step) == 2, 10000);
    Py_END_ALLOW_THREADS
    peers_join(&peers, 10000);
    CHECK_INT_EQ(waiter.status, PY_LOCK_ACQUIRED);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static atomic_int attached;

static void attach_briefly(struct actor *me) {
    PyGILState_STATE token = PyGILState_Ensure();
    atomic_store(&attached, 1);
    PyGILState_Release(token);
    (void)me;
}

TEST("a wait that does not detach keeps the GIL") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    struct actor other = {.act = attach_briefly};
    Py_InitializeEx(0);
    PyMutex_Lock(&mutex);
    start(&peers, &other);
    for (int i = 0; i < 20; i++)
        CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, MS, _Py_LOCK_DONT_DETACH),
                     PY_LOCK_FAILURE);
    CHECK_INT_EQ(atomic_load(&attached), 0);
    /* As soon as the wait detaches, the other thread comes in. */
    while (!atomic_load(&attached))
        CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, MS, _PY_LOCK_DETACH),
                     PY_LOCK_FAILURE);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static PyEvent event;

static void attach_and_wait_for_event(struct actor *me) {
    PyGILState_STATE token = PyGILState_Ensure();
    atomic_store(&me->step, 1);
    CHECK_INT_EQ(PyEvent_WaitTimed(&event, -1, me->flags), 1);
    atomic_store(&me->step, 2);
    PyGILState_Release(token);
}

TEST("a timed wait for an event detaches if it is asked to") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    struct actor waiter = {.act = attach_and_wait_for_event, .flags = 1};
    Py_InitializeEx(0);
    PyThreadState *mine = PyEval_SaveThread();
    start(&peers, &waiter);
    WAIT_UNTIL(byte(&event.v) == 2, 10000);
    PyEval_RestoreThread(mine);
    _PyEvent_Notify(&event);
    /* The event is set, but the GIL is ours. */
    CHECK_INT_EQ(atomic_load(&waiter.step), 1);
    Py_BEGIN_ALLOW_THREADS
    peers_join(&peers, 10000);
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(atomic_load(&waiter.step), 2);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- Pending calls while waiting --------------------------------------- */

static int raise_error(void *arg) {
    atomic_fetch_add((atomic_int *)arg, 1);
    PyErr_SetString(PyExc_RuntimeError, "from a pending call");
    return -1;
}

static int count_call(void *arg) {
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static atomic_int calls;
static pthread_t main_thread;

/* Keeps interrupting the main thread until it has run a pending call. */
static void interrupt_main(struct actor *me) {
    int (*call)(void *) = me->flags ? raise_error : count_call;
    CHECK_INT_EQ(Py_AddPendingCall(call, &calls), 0);
    while (atomic_load(&calls) == 0) {
        pthread_kill(main_thread, SIGUSR1);
        test_nap();
    }
}

static void wait_while_interrupted(int raises, PyThread_type_lock lock) {
    struct peers peers = PEERS_INIT;
    struct actor other = {.act = interrupt_main, .flags = raises};
    main_thread = pthread_self();
    catch_signals();
    start(&peers, &other);
    int64_t begin = test_now_ns();
    PyLockStatus expected = raises ? PY_LOCK_INTR : PY_LOCK_FAILURE;
    if (lock)
        CHECK_INT_EQ(PyThread_acquire_lock_timed_with_retries(
                         lock, raises ? -1 : 300000),
                     expected);
    else
        CHECK_INT_EQ(
            _PyMutex_LockTimed(&mutex, raises ? -1 : 300 * MS,
                               _PY_LOCK_DETACH | _PY_LOCK_HANDLE_SIGNALS),
            expected);
    if (!raises)
        CHECK_INT_GE(test_now_ns() - begin, 300 * MS);
    CHECK_INT_EQ(PyErr_Occurred() != NULL, raises);
    CHECK_INT_EQ(atomic_load(&calls), 1);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyErr_Clear();
    peers_join(&peers, 10000);
}

TEST("a mutex wait that handles signals ends when a pending call raises") {
    Py_InitializeEx(0);
    PyMutex_Lock(&mutex);
    wait_while_interrupted(1, NULL);
}

TEST("a mutex wait that handles signals goes on after a pending call") {
    Py_InitializeEx(0);
    PyMutex_Lock(&mutex);
    wait_while_interrupted(0, NULL);
}

TEST("acquire with retries ends when a pending call raises") {
    Py_InitializeEx(0);
    PyThread_type_lock lock = PyThread_allocate_lock();
    PyThread_acquire_lock(lock, WAIT_LOCK);
    wait_while_interrupted(1, lock);
    PyThread_free_lock(lock);
}

TEST("acquire with retries keeps its deadline over pending calls") {
    Py_InitializeEx(0);
    PyThread_type_lock lock = PyThread_allocate_lock();
    PyThread_acquire_lock(lock, WAIT_LOCK);
    wait_while_interrupted(0, lock);
    PyThread_release_lock(lock);
    CHECK_INT_EQ(PyThread_acquire_lock_timed_with_retries(lock, 0),
                 PY_LOCK_ACQUIRED);
    CHECK_INT_EQ(PyThread_acquire_lock_timed_with_retries(lock, 0),
                 PY_LOCK_FAILURE);
    PyThread_free_lock(lock);
}

/* ---- Counted events ---------------------------------------------------- */

static void wait_and_drop(void *arg) {
    PyEvent_Wait(&((_PyEventRc *)arg)->event);
    _PyEventRc_Decref(arg);
}

TEST("a counted event outlives whoever made it") {
    struct peers peers = PEERS_INIT;
    _PyEventRc *event = _PyEventRc_New();
    CHECK_NOT_NULL(event);
    CHECK_INT_EQ(event->refcount, 1);
    for (int i = 0; i < 4; i++)
        _PyEventRc_Incref(event);
    CHECK_INT_EQ(event->refcount, 5);
    peers_add(&peers, 4, wait_and_drop, event);
    peers_start(&peers);
    _PyEvent_Notify(&event->event);
    _PyEventRc_Decref(event);
    peers_join(&peers, 10000);
}
