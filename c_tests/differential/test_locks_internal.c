/* What CPython keeps in pycore_lock.h and pycore_parking_lot.h, on both sides:
 * layouts, values, behaviour. CPython has it since 3.13. */
#define Py_BUILD_CORE
#include <Python.h>

#include "harness.h"

#include <signal.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x030D0000

TEST("the locks of CPython 3.13") { SKIP("this CPython does not have them"); }

#else

#include <internal/pycore_lock.h>
#include <internal/pycore_parking_lot.h>

#define MS INT64_C(1000000)

/* ---- Layout ------------------------------------------------------------ */

TEST("sizes and values are CPython's") {
    CHECK_INT_EQ(sizeof(PyMutex), 1);
    CHECK_INT_EQ(sizeof(PyEvent), 1);
    CHECK_INT_EQ(sizeof(_PyOnceFlag), 1);
    CHECK_INT_EQ(sizeof(_PyRawMutex), sizeof(uintptr_t));
    CHECK_INT_EQ(sizeof(_PyRWMutex), sizeof(uintptr_t));
    CHECK_INT_EQ(sizeof(_PySeqLock), sizeof(uint32_t));
    CHECK_INT_EQ(sizeof(_PyRecursiveMutex),
                 2 * sizeof(unsigned long long) + sizeof(size_t));
    CHECK_INT_EQ(offsetof(_PyRecursiveMutex, mutex), 0);
    CHECK_INT_EQ(offsetof(_PyRecursiveMutex, thread), 8);
    CHECK_INT_EQ(offsetof(_PyRecursiveMutex, level), 16);
    CHECK_INT_EQ(sizeof(_PyLockFlags), sizeof(int));
    CHECK_INT_EQ(_Py_UNLOCKED, 0);
    CHECK_INT_EQ(_Py_LOCKED, 1);
    CHECK_INT_EQ(_Py_HAS_PARKED, 2);
    CHECK_INT_EQ(_Py_ONCE_INITIALIZED, 4);
    CHECK_INT_EQ(_Py_LOCK_DONT_DETACH, 0);
    CHECK_INT_EQ(_PY_LOCK_DETACH, 1);
    CHECK_INT_EQ(_PY_LOCK_HANDLE_SIGNALS, 2);
    CHECK_INT_EQ(Py_PARK_OK, 0);
    CHECK_INT_EQ(Py_PARK_AGAIN, -1);
    CHECK_INT_EQ(Py_PARK_TIMEOUT, -2);
    CHECK_INT_EQ(Py_PARK_INTR, -3);
}

/* ---- A peer that sleeps somewhere -------------------------------------- */

struct peer {
    int (*wait)(void *);
    void *arg;
    atomic_long id;
    atomic_int result;
    pthread_t thread;
};

static void run(void *arg) {
    struct peer *me = arg;
    me->thread = pthread_self();
    atomic_store(&me->id, test_native_id());
    atomic_store(&me->result, me->wait(me->arg));
}

/* Adds a peer, and returns when it sleeps. */
static void put_to_sleep(struct peers *peers, struct peer *peer) {
    peers_add(peers, 1, run, peer);
    peers_start(peers);
    WAIT_UNTIL(atomic_load(&peer->id) != 0, 10000);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&peer->id)), 10000);
}

/* ---- PyEvent ----------------------------------------------------------- */

static int wait_for_event(void *event) {
    PyEvent_Wait(event);
    return 1;
}

TEST("an event is 0, 2 while somebody sleeps, and 1 once it is set") {
    struct peers peers = PEERS_INIT;
    PyEvent event = {0};
    struct peer peer = {.wait = wait_for_event, .arg = &event};
    put_to_sleep(&peers, &peer);
    CHECK_INT_EQ(event.v, 2);
    CHECK_INT_EQ(_PyEvent_IsSet(&event), 0);
    _PyEvent_Notify(&event);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(event.v, 1);
    _PyEvent_Notify(&event);
    CHECK_INT_EQ(_PyEvent_IsSet(&event), 1);
    CHECK_INT_EQ(PyEvent_WaitTimed(&event, 0, 0), 1);
}

TEST("a timed wait for an event is never early") {
    static const int64_t timeouts[] = {0, 1, 500000, 5 * MS, 30 * MS};
    PyEvent event = {0};
    for (int i = 0; i < 5; i++) {
        int64_t start = test_now_ns();
        CHECK_INT_EQ(PyEvent_WaitTimed(&event, timeouts[i], i % 2), 0);
        CHECK_INT_GE(test_now_ns() - start, timeouts[i]);
    }
}

/* ---- Once flag --------------------------------------------------------- */

static int runs;

static int succeed_third_time(void *arg) {
    (void)arg;
    return ++runs == 3 ? 0 : -1;
}

TEST("a once flag runs its function until it succeeds, and not again") {
    _PyOnceFlag flag = {0};
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, succeed_third_time, NULL), -1);
    CHECK_INT_EQ(flag.v, 0);
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, succeed_third_time, NULL), -1);
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, succeed_third_time, NULL), 0);
    CHECK_INT_EQ(flag.v, _Py_ONCE_INITIALIZED);
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, succeed_third_time, NULL), 0);
    CHECK_INT_EQ(runs, 3);
}

static int return_one(void *arg) {
    (void)arg;
    return 1;
}

TEST("a result other than 0 and -1 is fatal") {
    EXPECT_ABORT("invalid result from _PyOnceFlag_CallOnce") {
        _PyOnceFlag flag = {0};
        _PyOnceFlag_CallOnce(&flag, return_one, NULL);
    }
}

static struct {
    _PyOnceFlag flag;
    struct latch running, finish;
    int result;
} once = {.running = LATCH_INIT(1), .finish = LATCH_INIT(1)};

static int slow_function(void *arg) {
    (void)arg;
    runs++;
    latch_arrive(&once.running);
    CHECK(latch_wait(&once.finish, 10000));
    return once.result;
}

static void call_slowly(void *result) {
    once.result = *(int *)result;
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&once.flag, slow_function, NULL),
                 *(int *)result);
}

static int fast_function(void *arg) {
    (void)arg;
    runs++;
    return 0;
}

static int call_fast(void *arg) {
    (void)arg;
    return _PyOnceFlag_CallOnce(&once.flag, fast_function, NULL);
}

static void once_with_a_waiter(int first_result) {
    struct peers first = PEERS_INIT, second = PEERS_INIT;
    struct peer waiter = {.wait = call_fast, .result = 77};
    peers_add(&first, 1, call_slowly, &first_result);
    peers_start(&first);
    CHECK(latch_wait(&once.running, 10000));
    put_to_sleep(&second, &waiter);
    CHECK_INT_EQ(once.flag.v, 3);
    latch_arrive(&once.finish);
    peers_join(&first, 10000);
    peers_join(&second, 10000);
    CHECK_INT_EQ(atomic_load(&waiter.result), 0);
    CHECK_INT_EQ(once.flag.v, 4);
}

TEST("who waits for a run that succeeds does not run") {
    once_with_a_waiter(0);
    CHECK_INT_EQ(runs, 1);
}

TEST("who waits for a run that fails runs its own") {
    once_with_a_waiter(-1);
    CHECK_INT_EQ(runs, 2);
}

/* ---- Readers-writer mutex ---------------------------------------------- */

TEST("a readers-writer mutex counts readers from bit 2, the writer is bit 0") {
    _PyRWMutex mutex = {0};
    _PyRWMutex_RLock(&mutex);
    _PyRWMutex_RLock(&mutex);
    CHECK_UINT_EQ(mutex.bits, 2 << 2);
    _PyRWMutex_RUnlock(&mutex);
    _PyRWMutex_RUnlock(&mutex);
    CHECK_UINT_EQ(mutex.bits, 0);
    _PyRWMutex_Lock(&mutex);
    CHECK_UINT_EQ(mutex.bits, 1);
    _PyRWMutex_Unlock(&mutex);
    CHECK_UINT_EQ(mutex.bits, 0);
}

static atomic_int order;

static int write_once(void *mutex) {
    _PyRWMutex_Lock(mutex);
    int place = atomic_fetch_add(&order, 1);
    _PyRWMutex_Unlock(mutex);
    return place;
}

static int read_once(void *mutex) {
    _PyRWMutex_RLock(mutex);
    int place = atomic_fetch_add(&order, 1);
    _PyRWMutex_RUnlock(mutex);
    return place;
}

TEST("a reader that comes after a waiting writer waits for it") {
    struct peers writers = PEERS_INIT, readers = PEERS_INIT;
    _PyRWMutex mutex = {0};
    struct peer writer = {.wait = write_once, .arg = &mutex, .result = -1};
    struct peer reader = {.wait = read_once, .arg = &mutex, .result = -1};
    _PyRWMutex_RLock(&mutex);
    put_to_sleep(&writers, &writer);
    CHECK_UINT_EQ(mutex.bits, 4 | 2);
    put_to_sleep(&readers, &reader);
    CHECK_UINT_EQ(mutex.bits, 4 | 2);
    _PyRWMutex_RUnlock(&mutex);
    peers_join(&writers, 10000);
    peers_join(&readers, 10000);
    CHECK_INT_EQ(atomic_load(&writer.result), 0);
    CHECK_INT_EQ(atomic_load(&reader.result), 1);
    CHECK_UINT_EQ(mutex.bits, 0);
}

/* ---- Sequence lock ----------------------------------------------------- */

TEST("a sequence is odd while somebody writes, and tells readers afterwards") {
    _PySeqLock lock = {0};
    uint32_t before = _PySeqLock_BeginRead(&lock);
    CHECK_UINT_EQ(before, 0);
    CHECK_INT_EQ(_PySeqLock_EndRead(&lock, before), 1);
    _PySeqLock_LockWrite(&lock);
    CHECK_UINT_EQ(lock.sequence, 1);
    CHECK_INT_EQ(_PySeqLock_EndRead(&lock, before), 0);
    _PySeqLock_UnlockWrite(&lock);
    CHECK_UINT_EQ(lock.sequence, 2);
    CHECK_INT_EQ(_PySeqLock_EndRead(&lock, before), 0);
    before = _PySeqLock_BeginRead(&lock);
    _PySeqLock_LockWrite(&lock);
    _PySeqLock_AbandonWrite(&lock);
    CHECK_INT_EQ(_PySeqLock_EndRead(&lock, before), 1);
    CHECK_INT_EQ(_PySeqLock_AfterFork(&lock), 0);
    _PySeqLock_LockWrite(&lock);
    CHECK_INT_EQ(_PySeqLock_AfterFork(&lock), 1);
    CHECK_UINT_EQ(lock.sequence, 0);
}

/* ---- Recursive mutex --------------------------------------------------- */

static _PyRecursiveMutex recursive;

static int is_mine(void *arg) {
    (void)arg;
    return _PyRecursiveMutex_IsLockedByCurrentThread(&recursive);
}

TEST("a recursive mutex counts its owner's locks") {
    struct peers peers = PEERS_INIT;
    struct peer other = {.wait = is_mine, .result = -1};
    for (int i = 0; i < 3; i++)
        _PyRecursiveMutex_Lock(&recursive);
    CHECK_INT_EQ(recursive.level, 2);
    CHECK_INT_EQ(_PyRecursiveMutex_IsLockedByCurrentThread(&recursive), 1);
    peers_add(&peers, 1, run, &other);
    peers_start(&peers);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&other.result), 0);
    for (int i = 0; i < 3; i++)
        _PyRecursiveMutex_Unlock(&recursive);
    CHECK_INT_EQ(_PyRecursiveMutex_IsLockedByCurrentThread(&recursive), 0);
}

TEST("unlocking a recursive mutex of somebody else is fatal") {
    EXPECT_ABORT("unlocking a recursive mutex that is not owned by the "
                 "current thread") {
        _PyRecursiveMutex_Unlock(&recursive);
    }
}

/* ---- Parking lot ------------------------------------------------------- */

static struct {
    uint64_t value;
    int64_t timeout;
    int arg[4];
} place = {.timeout = -1};

static int park(void *arg) {
    uint64_t expected = 0;
    return _PyParkingLot_Park(&place.value, &expected, sizeof(expected),
                              place.timeout, arg, 0);
}

TEST("a value that is not the expected one does not sleep, in every size") {
    uint64_t value = UINT64_C(0x1122334455667788), same = value, other = 0;
    for (size_t size = 1; size <= 8; size *= 2) {
        CHECK_INT_EQ(_PyParkingLot_Park(&value, &other, size, -1, NULL, 1),
                     Py_PARK_AGAIN);
        CHECK_INT_EQ(_PyParkingLot_Park(&value, &same, size, 1, NULL, 1),
                     Py_PARK_TIMEOUT);
    }
}

TEST("a timed park is never early") {
    static const int64_t timeouts[] = {0, 1, 500000, 5 * MS, 30 * MS};
    for (int i = 0; i < 5; i++) {
        place.timeout = timeouts[i];
        int64_t start = test_now_ns();
        CHECK_INT_EQ(park(NULL), Py_PARK_TIMEOUT);
        CHECK_INT_GE(test_now_ns() - start, timeouts[i]);
    }
}

struct choice {
    void *park_arg;
    int has_more, calls;
};

static void choose(void *arg, void *park_arg, int has_more) {
    struct choice *choice = arg;
    *choice = (struct choice){park_arg, has_more, choice->calls + 1};
}

TEST("threads on one address are woken in the order in which they came") {
    struct peers peers[4] = {PEERS_INIT, PEERS_INIT, PEERS_INIT, PEERS_INIT};
    struct peer peer[4];
    for (int i = 0; i < 4; i++) {
        peer[i] = (struct peer){.wait = park, .arg = &place.arg[i]};
        put_to_sleep(&peers[i], &peer[i]);
    }
    for (int i = 0; i < 4; i++) {
        struct choice choice = {NULL, 0, 0};
        _PyParkingLot_Unpark(&place.value, choose, &choice);
        CHECK_INT_EQ(choice.calls, 1);
        CHECK_PTR_EQ(choice.park_arg, &place.arg[i]);
        CHECK_INT_EQ(choice.has_more != 0, i < 3);
        peers_join(&peers[i], 10000);
        CHECK_INT_EQ(atomic_load(&peer[i].result), Py_PARK_OK);
    }
    struct choice choice = {&choice, 1, 0};
    _PyParkingLot_Unpark(&place.value, choose, &choice);
    CHECK_INT_EQ(choice.calls, 1);
    CHECK_NULL(choice.park_arg);
}

TEST("all threads on an address are woken at once, and no others") {
    struct peers peers[3] = {PEERS_INIT, PEERS_INIT, PEERS_INIT};
    struct peers aside = PEERS_INIT;
    struct peer peer[3];
    PyEvent event = {0};
    struct peer other = {.wait = wait_for_event, .arg = &event};
    for (int i = 0; i < 3; i++) {
        peer[i] = (struct peer){.wait = park};
        put_to_sleep(&peers[i], &peer[i]);
    }
    put_to_sleep(&aside, &other);
    _PyParkingLot_UnparkAll(&place.value);
    for (int i = 0; i < 3; i++)
        peers_join(&peers[i], 10000);
    CHECK_INT_EQ(peers_running(&aside), 1);
    _PyEvent_Notify(&event);
    peers_join(&aside, 10000);
}

static void on_signal(int number) { (void)number; }

TEST("a signal ends a park") {
    struct peers peers = PEERS_INIT;
    struct peer peer = {.wait = park};
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    put_to_sleep(&peers, &peer);
    while (peers_running(&peers)) {
        pthread_kill(peer.thread, SIGUSR1);
        test_nap();
    }
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&peer.result), Py_PARK_INTR);
}

#endif
