/* PyMutex and the PyThread locks, as <Python.h> offers them, on both sides. */
#include <Python.h>

#include "harness.h"

#include <pthread.h>
#include <signal.h>

#define MS INT64_C(1000000)

/* How far behind its deadline a wait may return where the machine is idle. */
#define LATE_MS 50

/* ---- PyThread locks ---------------------------------------------------- */

TEST("a PyThread lock is free when it is made, and not recursive") {
    PyThread_type_lock lock = PyThread_allocate_lock();
    CHECK_NOT_NULL(lock);
    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 0);
    CHECK_INT_EQ(PyThread_acquire_lock_timed(lock, 0, 0), PY_LOCK_FAILURE);
    PyThread_release_lock(lock);
    CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
    PyThread_release_lock(lock);
    PyThread_free_lock(lock);
}

static void release(void *lock) { PyThread_release_lock(lock); }

TEST("any thread may release a PyThread lock") {
    PyThread_type_lock lock = PyThread_allocate_lock();
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
    peers_add(&peers, 1, release, lock);
    peers_start(&peers);
    CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
    peers_join(&peers, 10000);
    PyThread_release_lock(lock);
    PyThread_free_lock(lock);
}

/* Waits for a held lock; returns how long it took. */
static int64_t time_out(PyThread_type_lock lock, int64_t us, int intr_flag) {
    int64_t start = test_now_ns();
    CHECK_INT_EQ(PyThread_acquire_lock_timed(lock, us, intr_flag),
                 PY_LOCK_FAILURE);
    return test_now_ns() - start;
}

TEST("a timed acquire is never early, and soon after its deadline") {
    static const int64_t timeouts_us[] = {1, 300, 2000, 20000, 60000};
    PyThread_type_lock lock = PyThread_allocate_lock();
    PyThread_acquire_lock(lock, WAIT_LOCK);
    for (int i = 0; i < 5; i++) {
        int64_t us = timeouts_us[i], best = INT64_MAX;
        /* Other work on the machine may delay one wait, not every one. */
        for (int round = 0; round < 8; round++) {
            int64_t took = time_out(lock, us, round % 2);
            CHECK_INT_GE(took, us * 1000);
            best = took < best ? took : best;
        }
        CHECK_INT_LT(best, us * 1000 + LATE_MS * MS);
    }
}

static void on_signal(int number) { (void)number; }

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

struct sleeper {
    PyThread_type_lock lock;
    int64_t us;
    int intr_flag;
    pthread_t thread;
    atomic_long id;
    atomic_int outcome;
    atomic_llong took;
};

static void sleep_on(void *arg) {
    struct sleeper *me = arg;
    int64_t start = test_now_ns();
    me->thread = pthread_self();
    atomic_store(&me->id, test_native_id());
    atomic_store(&me->outcome,
                 PyThread_acquire_lock_timed(me->lock, me->us, me->intr_flag));
    atomic_store(&me->took, test_now_ns() - start);
}

static void signal_until_done(struct peers *peers, struct sleeper *sleeper) {
    WAIT_UNTIL(atomic_load(&sleeper->id) != 0, 10000);
    while (peers_running(peers)) {
        if (test_thread_sleeps(atomic_load(&sleeper->id)))
            pthread_kill(sleeper->thread, SIGUSR1);
        test_nap();
    }
    peers_join(peers, 10000);
}

TEST("a signal ends a wait that asks for it") {
    struct sleeper sleeper = {.us = -1, .intr_flag = 1};
    struct peers peers = PEERS_INIT;
    catch_signals();
    sleeper.lock = PyThread_allocate_lock();
    PyThread_acquire_lock(sleeper.lock, WAIT_LOCK);
    peers_add(&peers, 1, sleep_on, &sleeper);
    peers_start(&peers);
    signal_until_done(&peers, &sleeper);
    CHECK_INT_EQ(atomic_load(&sleeper.outcome), PY_LOCK_INTR);
}

TEST("without that, signals leave the deadline as it was") {
    struct sleeper sleeper = {.us = 50000, .intr_flag = 0};
    struct peers peers = PEERS_INIT;
    catch_signals();
    sleeper.lock = PyThread_allocate_lock();
    PyThread_acquire_lock(sleeper.lock, WAIT_LOCK);
    peers_add(&peers, 1, sleep_on, &sleeper);
    peers_start(&peers);
    signal_until_done(&peers, &sleeper);
    CHECK_INT_EQ(atomic_load(&sleeper.outcome), PY_LOCK_FAILURE);
    CHECK_INT_GE(atomic_load(&sleeper.took), 50 * MS);
    CHECK_INT_LT(atomic_load(&sleeper.took), 2000 * MS);
}

TEST("a timeout beyond PY_TIMEOUT_MAX waits as long as that") {
    struct sleeper sleeper = {.us = PY_TIMEOUT_MAX + 1, .intr_flag = 0};
    struct peers peers = PEERS_INIT;
    sleeper.lock = PyThread_allocate_lock();
    PyThread_acquire_lock(sleeper.lock, WAIT_LOCK);
    peers_add(&peers, 1, sleep_on, &sleeper);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&sleeper.id) != 0, 10000);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&sleeper.id)), 10000);
    PyThread_release_lock(sleeper.lock);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&sleeper.outcome), PY_LOCK_ACQUIRED);
}

static PyThread_type_lock shared_lock;
static long shared_count;

static void count_under_lock(void *arg) {
    for (long i = 0; i < (long)(intptr_t)arg; i++) {
        PyThread_acquire_lock(shared_lock, WAIT_LOCK);
        shared_count++;
        PyThread_release_lock(shared_lock);
    }
}

TEST("8 threads count under a PyThread lock and lose nothing") {
    struct peers peers = PEERS_INIT;
    shared_lock = PyThread_allocate_lock();
    peers_add(&peers, 8, count_under_lock, (void *)20000);
    peers_start(&peers);
    peers_join(&peers, 18000);
    CHECK_INT_EQ(shared_count, 160000);
}

/* ---- PyMutex ----------------------------------------------------------- */

#if PY_VERSION_HEX >= 0x030D0000

TEST("a PyMutex is one byte: 0 free, 1 locked") {
    PyMutex mutex = {0};
    CHECK_INT_EQ(sizeof(PyMutex), 1);
    PyMutex_Lock(&mutex);
    CHECK_INT_EQ(mutex._bits, _Py_LOCKED);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(mutex._bits, _Py_UNLOCKED);
}

static PyMutex shared_mutex;
static long mutex_count;

static void count_under_mutex(void *arg) {
    for (long i = 0; i < (long)(intptr_t)arg; i++) {
        PyMutex_Lock(&shared_mutex);
        mutex_count++;
        PyMutex_Unlock(&shared_mutex);
    }
}

TEST("8 threads count under a PyMutex and lose nothing") {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 8, count_under_mutex, (void *)20000);
    peers_start(&peers);
    peers_join(&peers, 18000);
    CHECK_INT_EQ(mutex_count, 160000);
    CHECK_INT_EQ(shared_mutex._bits, 0);
}

static void lock_once(void *arg) {
    atomic_store((atomic_long *)arg, test_native_id());
    PyMutex_Lock(&shared_mutex);
    mutex_count++;
    PyMutex_Unlock(&shared_mutex);
}

TEST("a parked waiter shows as bit 1, and any thread may unlock") {
    struct peers peers = PEERS_INIT;
    atomic_long id = 0;
    PyMutex_Lock(&shared_mutex);
    peers_add(&peers, 1, lock_once, &id);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&id) != 0, 10000);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&id)), 10000);
    CHECK_INT_EQ(shared_mutex._bits, 3);
    CHECK_INT_EQ(mutex_count, 0);
    PyMutex_Unlock(&shared_mutex);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(mutex_count, 1);
    CHECK_INT_EQ(shared_mutex._bits, 0);
}

TEST("unlocking a PyMutex that is not locked is fatal") {
    EXPECT_ABORT("Fatal Python error: PyMutex_Unlock: unlocking mutex that is "
                 "not locked") {
        PyMutex mutex = {0};
        PyMutex_Unlock(&mutex);
    }
}

#endif
