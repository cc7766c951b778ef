/* As test_planted.c: cases of the locks that fail with a bug of c_tests/mutants
 * which no other case notices, or not soon. */
#include "host.h"

/* ---- The parking lot ----------------------------------------------------- */

/* So far apart, two addresses meet in one bucket of the lot. */
enum { BUCKETS = 257 };
static char places[BUCKETS + 1];

struct sleeper {
    const char *address;
    atomic_long native;
};

static void sleep_there(void *arg) {
    struct sleeper *me = arg;
    char expected = 0;
    atomic_store(&me->native, test_native_id());
    CHECK_INT_EQ(_PyParkingLot_Park(me->address, &expected, 1, LIMIT, me, 0),
                 Py_PARK_OK);
}

static int told_more, told_none;

static void note_more(void *expected, void *park_arg, int has_more) {
    CHECK_PTR_EQ(park_arg, expected);
    told_more += has_more != 0;
    told_none += has_more == 0;
}

TEST(
    "a waker gets the oldest sleeper, and is told of a second one, also behind "
    "one at another address of the same bucket") {
    struct sleeper all[] = {{places, 0}, {places + BUCKETS, 0}, {places, 0}};
    struct peers one[3] = {PEERS_INIT, PEERS_INIT, PEERS_INIT};
    for (int i = 0; i < 3; i++) {
        peers_add(&one[i], 1, sleep_there, &all[i]);
        peers_start(&one[i]);
        wait_asleep(&all[i].native);
    }
    _PyParkingLot_Unpark(places, note_more, &all[0]);
    CHECK_INT_EQ(told_more, 1);
    _PyParkingLot_Unpark(places, note_more, &all[2]);
    CHECK_INT_EQ(told_none, 1);
    _PyParkingLot_Unpark(places + BUCKETS, note_more, &all[1]);
    CHECK_INT_EQ(told_none, 2);
    for (int i = 0; i < 3; i++)
        peers_join(&one[i], LIMIT_MS);
}

/* ---- The mutex and the once flag --------------------------------------- */

static PyMutex mutex;

struct locker {
    atomic_long native;
};

static void lock_once(void *arg) {
    struct locker *me = arg;
    atomic_store(&me->native, test_native_id());
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

TEST("an unlock that wakes one of three waiters keeps the others in mind") {
    struct locker all[3] = {{0}, {0}, {0}};
    struct peers one[3] = {PEERS_INIT, PEERS_INIT, PEERS_INIT};
    PyMutex_Lock(&mutex);
    for (int i = 0; i < 3; i++) {
        peers_add(&one[i], 1, lock_once, &all[i]);
        peers_start(&one[i]);
        wait_asleep(&all[i].native);
    }
    PyMutex_Unlock(&mutex);
    for (int i = 0; i < 3; i++)
        peers_join(&one[i], 5000);
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 0);
}

static int fail_twice(void *n_calls) { return ++*(int *)n_calls <= 2 ? -1 : 0; }

TEST("a once flag whose function failed runs the next caller's") {
    _PyOnceFlag flag = {0};
    int n_calls = 0;
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, fail_twice, &n_calls), -1);
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, fail_twice, &n_calls), -1);
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, fail_twice, &n_calls), 0);
    CHECK_INT_EQ(_PyOnceFlag_CallOnce(&flag, fail_twice, &n_calls), 0);
    CHECK_INT_EQ(n_calls, 3);
}

/* ---- The readers-writer mutex ------------------------------------------ */

static _PyRWMutex rw;
static atomic_int n_written;
static atomic_long writer_native, reader_native;

static void write_once(void *arg) {
    (void)arg;
    atomic_store(&writer_native, test_native_id());
    _PyRWMutex_Lock(&rw);
    atomic_fetch_add(&n_written, 1);
    _PyRWMutex_Unlock(&rw);
}

static void read_behind_writer(void *arg) {
    (void)arg;
    atomic_store(&reader_native, test_native_id());
    _PyRWMutex_RLock(&rw);
    CHECK_INT_EQ(atomic_load(&n_written), 1);
    _PyRWMutex_RUnlock(&rw);
}

TEST("a reader that comes while a writer waits goes behind it") {
    struct peers writer = PEERS_INIT, reader = PEERS_INIT;
    _PyRWMutex_RLock(&rw);
    peers_add(&writer, 1, write_once, NULL);
    peers_start(&writer);
    wait_asleep(&writer_native);
    peers_add(&reader, 1, read_behind_writer, NULL);
    peers_start(&reader);
    wait_asleep(&reader_native);
    CHECK_INT_EQ(peers_running(&reader), 1);
    _PyRWMutex_RUnlock(&rw);
    peers_join(&writer, LIMIT_MS);
    peers_join(&reader, LIMIT_MS);
}
