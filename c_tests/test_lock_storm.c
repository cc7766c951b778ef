/* Every primitive at once: 16 threads, 500 forks, 10,000 threads. No thread
 * states here: the locks work without them. */
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pytstate.h>
#include <pytstate/internal.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- All of them ------------------------------------------------------- */

static struct {
    PyMutex mutex;
    _PyRWMutex rw;
    _PyRawMutex raw;
    _PyRecursiveMutex recursive;
    PyThread_type_lock lock;
    _PyOnceFlag once;
    _PySeqLock seq;
    PyEvent event;
    uint32_t parked_on;
} all;

/* ---- 16 threads -------------------------------------------------------- */

#define MIX_THREADS 16
#define MIX_ROUNDS 3000

/* What each lock guards: plain memory, so that a race is a race. */
static struct { long mutex, timed, rw, raw, recursive, lock; } guarded;
static atomic_int seq_data[2];
static atomic_long timed_locks, once_runs, events;

/* One event and one once flag per round, shared by whoever gets there. */
static PyEvent round_events[MIX_ROUNDS];
static _PyOnceFlag round_flags[MIX_ROUNDS];

static int fail_first(void *arg) {
    (void)arg;
    return atomic_fetch_add(&once_runs, 1) % 3 == 0 ? -1 : 0;
}

static void choose_nothing(void *arg, void *park_arg, int has_more) {
    (void)arg;
    (void)park_arg;
    (void)has_more;
}

static unsigned next_random(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void one_operation(unsigned kind, int round) {
    const int64_t us20 = 20000;
    uint32_t expected = 0;
    switch (kind) {
    case 0:
        PyMutex_Lock(&all.mutex);
        guarded.mutex++;
        PyMutex_Unlock(&all.mutex);
        break;
    case 1:
        if (_PyMutex_LockTimed(&all.mutex, us20, 0) == PY_LOCK_ACQUIRED) {
            guarded.timed++;
            atomic_fetch_add(&timed_locks, 1);
            PyMutex_Unlock(&all.mutex);
        }
        break;
    case 2:
        _PyRWMutex_Lock(&all.rw);
        guarded.rw++;
        _PyRWMutex_Unlock(&all.rw);
        break;
    case 3:
        _PyRWMutex_RLock(&all.rw);
        CHECK_INT_GE(guarded.rw, 0);
        _PyRWMutex_RUnlock(&all.rw);
        break;
    case 4:
        _PyRawMutex_Lock(&all.raw);
        guarded.raw++;
        _PyRawMutex_Unlock(&all.raw);
        break;
    case 5:
        _PyRecursiveMutex_Lock(&all.recursive);
        _PyRecursiveMutex_Lock(&all.recursive);
        guarded.recursive++;
        _PyRecursiveMutex_Unlock(&all.recursive);
        _PyRecursiveMutex_Unlock(&all.recursive);
        break;
    case 6:
        if (PyThread_acquire_lock_timed(all.lock, round % 2 ? -1 : 20, 0)) {
            guarded.lock++;
            PyThread_release_lock(all.lock);
        }
        break;
    case 7: {
        _PySeqLock_LockWrite(&all.seq);
        int next = atomic_load_explicit(&seq_data[0], memory_order_relaxed) + 1;
        atomic_store_explicit(&seq_data[0], next, memory_order_relaxed);
        atomic_store_explicit(&seq_data[1], next, memory_order_relaxed);
        _PySeqLock_UnlockWrite(&all.seq);
        break;
    }
    case 8: {
        uint32_t begun;
        int a, b;
        do {
            begun = _PySeqLock_BeginRead(&all.seq);
            a = atomic_load_explicit(&seq_data[0], memory_order_relaxed);
            b = atomic_load_explicit(&seq_data[1], memory_order_relaxed);
        } while (!_PySeqLock_EndRead(&all.seq, begun));
        CHECK_INT_EQ(a, b);
        break;
    }
    case 9:
        _PyOnceFlag_CallOnce(&round_flags[round], fail_first, NULL);
        break;
    case 10:
        if (PyEvent_WaitTimed(&round_events[round], us20, 0))
            atomic_fetch_add(&events, 1);
        break;
    case 11:
        _PyEvent_Notify(&round_events[round]);
        PyEvent_Wait(&round_events[round]);
        break;
    case 12:
        _PyParkingLot_Park(&all.parked_on, &expected, 4, us20, NULL, 0);
        break;
    case 13:
        _PyParkingLot_Unpark(&all.parked_on, choose_nothing, NULL);
        break;
    default:
        _PyParkingLot_UnparkAll(&all.parked_on);
        break;
    }
}

static void mix(void *arg) {
    unsigned random = (unsigned)(peer_index() + 1) * 2654435761u;
    (void)arg;
    for (int round = 0; round < MIX_ROUNDS; round++)
        one_operation(next_random(&random) % 15, round);
}

TEST("16 threads use every primitive at random, and nothing is lost",
     .limit_s = 60) {
    struct peers peers = PEERS_INIT;
    all.lock = PyThread_allocate_lock();
    peers_add(&peers, MIX_THREADS, mix, NULL);
    peers_start(&peers);
    peers_join(&peers, 55000);
    CHECK_INT_EQ(guarded.timed, atomic_load(&timed_locks));
    CHECK_INT_EQ(seq_data[0], seq_data[1]);
    CHECK_INT_EQ(all.mutex._bits, 0);
    CHECK_UINT_EQ(all.rw.bits, 0);
    CHECK_UINT_EQ(all.raw.v, 0);
    CHECK_INT_EQ(PyThread_acquire_lock(all.lock, NOWAIT_LOCK), 1);
}

/* ---- Sleepers on each primitive ---------------------------------------- */

static int succeed(void *arg) {
    (void)arg;
    return 0;
}

static void sleep_mutex(void) {
    PyMutex_Lock(&all.mutex);
    PyMutex_Unlock(&all.mutex);
}
static void sleep_read(void) {
    _PyRWMutex_RLock(&all.rw);
    _PyRWMutex_RUnlock(&all.rw);
}
static void sleep_write(void) {
    _PyRWMutex_Lock(&all.rw);
    _PyRWMutex_Unlock(&all.rw);
}
static void sleep_raw(void) {
    _PyRawMutex_Lock(&all.raw);
    _PyRawMutex_Unlock(&all.raw);
}
static void sleep_recursive(void) {
    _PyRecursiveMutex_Lock(&all.recursive);
    _PyRecursiveMutex_Unlock(&all.recursive);
}
static void sleep_lock(void) {
    PyThread_acquire_lock(all.lock, WAIT_LOCK);
    PyThread_release_lock(all.lock);
}
static void sleep_once(void) { _PyOnceFlag_CallOnce(&all.once, succeed, NULL); }
static void sleep_event(void) { PyEvent_Wait(&all.event); }
static void sleep_parked(void) {
    uint32_t expected = 0;
    CHECK_INT_EQ(_PyParkingLot_Park(&all.parked_on, &expected, 4, -1, NULL, 0),
                 Py_PARK_OK);
}

static void (*const sleeps[])(void) = {
    sleep_mutex, sleep_read, sleep_write, sleep_raw,   sleep_recursive,
    sleep_lock,  sleep_once, sleep_event, sleep_parked};
#define KINDS ((int)(sizeof(sleeps) / sizeof(sleeps[0])))

/* Runs a once flag for as long as somebody shall wait for it. */
static struct latch once_runs_now = LATCH_INIT(1), once_may_end = LATCH_INIT(1);

static int run_until_told(void *arg) {
    (void)arg;
    latch_arrive(&once_runs_now);
    CHECK(latch_wait(&once_may_end, 100000));
    return 0;
}

static void *hold_once(void *arg) {
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&all.once, run_until_told, NULL), 0);
    return arg;
}

/* Takes everything, so that whoever comes sleeps. */
static void hold_all(pthread_t *once_holder) {
    PyMutex_Lock(&all.mutex);
    _PyRWMutex_Lock(&all.rw);
    _PyRawMutex_Lock(&all.raw);
    _PyRecursiveMutex_Lock(&all.recursive);
    CHECK_INT_EQ(PyThread_acquire_lock(all.lock, WAIT_LOCK), 1);
    CHECK_INT_EQ(pthread_create(once_holder, NULL, hold_once, NULL), 0);
    CHECK(latch_wait(&once_runs_now, 20000));
}

static void free_all(pthread_t once_holder) {
    PyMutex_Unlock(&all.mutex);
    _PyRWMutex_Unlock(&all.rw);
    _PyRawMutex_Unlock(&all.raw);
    _PyRecursiveMutex_Unlock(&all.recursive);
    PyThread_release_lock(all.lock);
    _PyEvent_Notify(&all.event);
    _PyParkingLot_UnparkAll(&all.parked_on);
    latch_arrive(&once_may_end);
    pthread_join(once_holder, NULL);
}

struct sleeper {
    int kind;
    atomic_long id;
};

static void sleep_on(void *arg) {
    struct sleeper *me = arg;
    atomic_store(&me->id, test_native_id());
    sleeps[me->kind]();
}

static void wait_until_asleep(struct sleeper *sleepers, int n) {
    for (int i = 0; i < n; i++) {
        WAIT_UNTIL(atomic_load(&sleepers[i].id) != 0, 20000);
        WAIT_UNTIL(test_thread_sleeps(atomic_load(&sleepers[i].id)), 20000);
    }
}

/* ---- 500 forks --------------------------------------------------------- */

/* What a fork child does for its own locks, in the order of the contract. */
static void reset_all_in_child(void) {
    _PyParkingLot_AfterFork();
    _PyMutex_at_fork_reinit(&all.mutex);
    memset(&all.rw, 0, sizeof(all.rw));
    memset(&all.raw, 0, sizeof(all.raw));
    memset(&all.recursive, 0, sizeof(all.recursive));
    memset(&all.once, 0, sizeof(all.once));
    memset(&all.event, 0, sizeof(all.event));
    CHECK_INT_EQ(_PyThread_at_fork_reinit(&all.lock), 0);
    once_runs_now = (struct latch)LATCH_INIT(1);
    once_may_end = (struct latch)LATCH_INIT(1);
}

static void *sleep_in_child(void *arg) {
    sleep_on(arg);
    return NULL;
}

/* Locks everything, lets a thread sleep on one primitive, and wakes it. */
static void lock_wait_and_wake(int kind) {
    pthread_t once_holder, thread;
    struct sleeper sleeper = {.kind = kind};
    hold_all(&once_holder);
    CHECK_INT_EQ(pthread_create(&thread, NULL, sleep_in_child, &sleeper), 0);
    wait_until_asleep(&sleeper, 1);
    free_all(once_holder);
    CHECK_INT_EQ(pthread_join(thread, NULL), 0);
}

TEST("500 forks with threads parked on every primitive: each child can lock, "
     "wait and be woken",
     .limit_s = 120) {
    struct peers peers = PEERS_INIT;
    struct sleeper sleepers[PEERS_MAX] = {{0}};
    pthread_t once_holder;
    if (SANITIZED)
        SKIP("a sanitizer's runtime does not run threads in a fork child");
    all.lock = PyThread_allocate_lock();
    hold_all(&once_holder);
    int n = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < 3; i++) {
            sleepers[n].kind = kind;
            peers_add(&peers, 1, sleep_on, &sleepers[n++]);
        }
    peers_start(&peers);
    wait_until_asleep(sleepers, n);
    for (int round = 0; round < 500; round++) {
        pid_t pid = fork();
        CHECK_INT_GE(pid, 0);
        if (pid == 0) {
            reset_all_in_child();
            lock_wait_and_wake(round % KINDS);
            test_child_done(0);
        }
        CHECK_CHILD_EXIT(pid, 0);
    }
    CHECK_INT_EQ(peers_running(&peers), n);
    free_all(once_holder);
    peers_join(&peers, 20000);
}

/* ---- 10,000 threads ---------------------------------------------------- */

#define WAVE 50

static long resident_kb(void) {
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK_NOT_NULL(file);
    CHECK_INT_EQ(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE) / 1024;
}

/* Each thread of a wave sleeps on one primitive, and is woken. */
static void wave(void) {
    struct peers peers = PEERS_INIT;
    struct sleeper sleepers[WAVE] = {{0}};
    pthread_t once_holder;
    memset(&all, 0, sizeof(all));
    once_runs_now = (struct latch)LATCH_INIT(1);
    once_may_end = (struct latch)LATCH_INIT(1);
    all.lock = PyThread_allocate_lock();
    hold_all(&once_holder);
    for (int i = 0; i < WAVE; i++) {
        sleepers[i].kind = i % KINDS;
        peers_add(&peers, 1, sleep_on, &sleepers[i]);
    }
    peers_start(&peers);
    wait_until_asleep(sleepers, WAVE);
    free_all(once_holder);
    peers_join(&peers, 20000);
    PyThread_free_lock(all.lock);
}

TEST("10,000 threads are created, park and are woken in the same memory",
     .limit_s = 120) {
    if (SANITIZED)
        SKIP("a sanitizer's own memory grows");
    for (int i = 0; i < 20; i++)
        wave();
    long before = resident_kb();
    for (int i = 0; i < 10000 / WAVE; i++)
        wave();
    long after = resident_kb();
    NOTE("resident: %ld KiB, then %ld KiB", before, after);
    /* 10,000 of anything that was kept would be more than this. */
    CHECK_INT_LT(after - before, 256);
}
