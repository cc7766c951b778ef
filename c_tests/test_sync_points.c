/* Sync points: every call of the C face, on points of the test's own. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <pytstate/internal.h>

#define MS INT64_C(1000000)
#define LIMIT (10000 * MS)

static atomic_int passes;

static void pass_mine(void *name) {
    PyTState_Sync_Point(name);
    atomic_fetch_add(&passes, 1);
}

static int is_at_least(void *wanted) {
    return atomic_load(&passes) >= *(int *)wanted;
}

/* Until so many have passed the point they came to. */
static void wait_for_passes(int wanted) {
    CHECK(wait_until(is_at_least, &wanted, 10000));
    CHECK_INT_EQ(atomic_load(&passes), wanted);
}

/* ---- Pause, WaitParked, Wake ------------------------------------------ */

TEST("a pause holds the next arrival and lets the one after it pass") {
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(PyTState_Sync_Pause("my.point"), 0);
    peers_add(&peers, 2, pass_mine, "my.point");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
    wait_for_passes(1);
    WAIT_UNTIL(peers_running(&peers) == 1, 10000);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 0);
    CHECK_INT_EQ(PyTState_Sync_Wake("my.point"), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 1);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&passes), 2);
}

TEST("k pauses hold k arrivals, and one wake lets them all go") {
    struct peers peers = PEERS_INIT;
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(PyTState_Sync_Pause("my.point"), 0);
    peers_add(&peers, 5, pass_mine, "my.point");
    peers_start(&peers);
    /* Nobody passes before the three pauses are taken. */
    wait_for_passes(2);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 0);
    CHECK_INT_EQ(PyTState_Sync_Wake("my.point"), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 1);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&passes), 5);
}

TEST("a wake before the arrival leaves nobody held") {
    CHECK_INT_EQ(PyTState_Sync_Pause("my.point"), 0);
    CHECK_INT_EQ(PyTState_Sync_Pause("my.point"), 0);
    CHECK_INT_EQ(PyTState_Sync_Wake("my.point"), 0);
    PyTState_Sync_Point("my.point");
    PyTState_Sync_Point("my.point");
}

static void pass_twice(void *name) {
    pass_mine(name);
    pass_mine(name);
}

TEST("a wake that lets somebody go keeps the pauses that are left") {
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Pause("my.point");
    PyTState_Sync_Pause("my.point");
    peers_add(&peers, 1, pass_twice, "my.point");
    peers_start(&peers);
    for (int round = 0; round < 2; round++) {
        CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
        CHECK_INT_EQ(atomic_load(&passes), round);
        CHECK_INT_EQ(PyTState_Sync_Wake("my.point"), 0);
    }
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&passes), 2);
}

static void pass_often(void *name) {
    for (int round = 0; round < 300; round++)
        pass_mine(name);
}

TEST("a thread that was let go is not taken for one that is held") {
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Pause("my.point");
    peers_add(&peers, 1, pass_often, "my.point");
    peers_start(&peers);
    for (int round = 0; round < 300; round++) {
        CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
        CHECK_INT_EQ(atomic_load(&passes), round);
        if (round < 299)
            PyTState_Sync_Pause("my.point");
        CHECK_INT_EQ(PyTState_Sync_Wake("my.point"), 0);
    }
    peers_join(&peers, 10000);
}

TEST("waiting for nobody ends at the deadline, not before") {
    PyTState_Sync_Pause("my.point");
    int64_t begin = test_now_ns();
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 20 * MS), 1);
    CHECK_INT_GE(test_now_ns() - begin, 20 * MS);
}

static void check_errno(void *name) {
    errno = ERANGE;
    PyTState_Sync_Point(name);
    CHECK_INT_EQ(errno, ERANGE);
}

TEST("a point that holds a thread, or lets it sleep, keeps errno") {
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Perturb(1, 1000, MS);
    PyTState_Sync_Pause("my.point");
    peers_add(&peers, 2, check_errno, "my.point");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
    PyTState_Sync_Wake("my.point");
    peers_join(&peers, 10000);
}

/* ---- Names ------------------------------------------------------------ */

TEST("a misspelt name of the library is refused, a name of one's own made") {
    CHECK_INT_EQ(PyTState_Sync_Pause("gil.wiat"), -1);
    CHECK_INT_EQ(PyTState_Sync_Order("gil.wiat", "gil.wait"), -1);
    CHECK_INT_EQ(PyTState_Sync_Order("gil.wait", "gil.wiat"), -1);
    CHECK_INT_EQ(PyTState_Sync_Hook("gil.wiat", NULL, NULL), -1);
    CHECK_INT_EQ(PyTState_Sync_Pause("gil.wait"), 0);
    CHECK_INT_EQ(PyTState_Sync_Pause("mine.wiat"), 0);
    CHECK_INT_EQ(PyTState_Sync_Pause("gil"), 0);
}

TEST("asking after a point that does not exist is -1 and makes none") {
    size_t before = PyTState_Sync_List(NULL, 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("no.such.point", 0), -1);
    CHECK_INT_EQ(PyTState_Sync_Wake("no.such.point"), -1);
    CHECK_UINT_EQ(PyTState_Sync_List(NULL, 0), before);
}

TEST("NULL and empty names, and names of 64 bytes, are refused") {
    char name[65];
    memset(name, 'x', sizeof name);
    name[64] = 0;
    const char *const bad[] = {NULL, "", name};
    for (int i = 0; i < 3; i++) {
        CHECK_INT_EQ(PyTState_Sync_Pause(bad[i]), -1);
        CHECK_INT_EQ(PyTState_Sync_WaitParked(bad[i], 0), -1);
        CHECK_INT_EQ(PyTState_Sync_Wake(bad[i]), -1);
        CHECK_INT_EQ(PyTState_Sync_Order(bad[i], "my.point"), -1);
        CHECK_INT_EQ(PyTState_Sync_Order("my.point", bad[i]), -1);
        CHECK_INT_EQ(PyTState_Sync_Hook(bad[i], NULL, NULL), -1);
        PyTState_Sync_Point(bad[i]);
    }
    name[63] = 0;
    CHECK_INT_EQ(PyTState_Sync_Pause(name), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked(name, 0), 1);
}

TEST("there is room for 256 points of one's own") {
    size_t library = PyTState_Sync_List(NULL, 0);
    char name[16];
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "mine.%d", i);
        CHECK_INT_EQ(PyTState_Sync_Pause(name), 0);
    }
    CHECK_INT_EQ(PyTState_Sync_Pause("one.more"), -1);
    CHECK_INT_EQ(PyTState_Sync_Order("one.more", "mine.0"), -1);
    PyTState_Sync_Point("one.more");
    CHECK_UINT_EQ(PyTState_Sync_List(NULL, 0), library + 256);
    CHECK_INT_EQ(PyTState_Sync_Pause("mine.255"), 0);
}

TEST("the list holds the library's points, then one's own") {
    const char *names[512];
    size_t library = PyTState_Sync_List(names, 512);
    CHECK_UINT_GT(library, 70);
    CHECK_STR_EQ(names[0], "tstate.created");
    PyTState_Sync_Pause("my.point");
    PyTState_Sync_Point("my.other"); /* made on first use */
    names[1] = NULL;
    CHECK_UINT_EQ(PyTState_Sync_List(names, 1), library + 2);
    CHECK_NULL(names[1]);
    CHECK_UINT_EQ(PyTState_Sync_List(names, 512), library + 2);
    CHECK_STR_EQ(names[library], "my.point");
    CHECK_STR_EQ(names[library + 1], "my.other");
}

/* ---- Order ------------------------------------------------------------ */

struct sequence {
    const char *point;
    int number;
};
static atomic_int came[16];
static atomic_int n_came;

static void come(void *arg) {
    struct sequence *me = arg;
    PyTState_Sync_Point(me->point);
    came[atomic_fetch_add(&n_came, 1)] = me->number;
    char after[32];
    snprintf(after, sizeof after, "%s.after", me->point);
    PyTState_Sync_Point(after);
}

TEST("orders force a sequence, whoever comes first") {
    static struct sequence all[] = {{"a", 0}, {"b", 1}, {"c", 2}};
    for (int round = 0; round < 50; round++) {
        struct peers peers = PEERS_INIT;
        atomic_store(&n_came, 0);
        /* c before a, a before b */
        CHECK_INT_EQ(PyTState_Sync_Order("c.after", "a"), 0);
        CHECK_INT_EQ(PyTState_Sync_Order("a.after", "b"), 0);
        for (int i = 0; i < 3; i++)
            peers_add(&peers, 1, come, &all[i]);
        peers_start(&peers);
        peers_join(&peers, 10000);
        CHECK_INT_EQ(atomic_load(&came[0]), 2);
        CHECK_INT_EQ(atomic_load(&came[1]), 0);
        CHECK_INT_EQ(atomic_load(&came[2]), 1);
    }
}

TEST("a point that was passed before the order does not count") {
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Pause("keeps.points.on");
    PyTState_Sync_Point("first");
    CHECK_INT_EQ(PyTState_Sync_Order("first", "then"), 0);
    peers_add(&peers, 1, pass_mine, "then");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&passes), 0);
    PyTState_Sync_Point("first");
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", 0), 1);
    peers_join(&peers, 10000);
    PyTState_Sync_Point("then"); /* the order is forgotten */
}

TEST("a point may wait for several others") {
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(PyTState_Sync_Order("first", "then"), 0);
    CHECK_INT_EQ(PyTState_Sync_Order("second", "then"), 0);
    peers_add(&peers, 2, pass_mine, "then");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    PyTState_Sync_Point("first");
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", 0), 0);
    CHECK_INT_EQ(atomic_load(&passes), 0);
    PyTState_Sync_Point("second");
    peers_join(&peers, 10000);
}

TEST("a thread held at the first point has not passed it") {
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Pause("first");
    PyTState_Sync_Order("first", "then");
    peers_add(&peers, 1, pass_mine, "first");
    peers_add(&peers, 1, pass_mine, "then");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("first", LIMIT), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&passes), 0);
    PyTState_Sync_Wake("first");
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&passes), 2);
}

TEST("a wake overrides an order for those it lets go, and keeps it") {
    struct peers peers = PEERS_INIT, others = PEERS_INIT;
    PyTState_Sync_Order("first", "then");
    peers_add(&peers, 1, pass_mine, "then");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    PyTState_Sync_Wake("then");
    peers_join(&peers, 10000);
    peers_add(&others, 1, pass_mine, "then");
    peers_start(&others);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    PyTState_Sync_Point("first");
    peers_join(&others, 10000);
}

TEST("an order that cannot be is reported with both points, and dropped") {
    EXPECT_EXIT(0, "sync point 'then' waited 0.050 s for 'first'") {
        setenv("PYTSTATE_SYNC_LIMIT", "0.05", 1);
        PyTState_Sync_Order("first", "then");
        int64_t begin = test_now_ns();
        PyTState_Sync_Point("then");
        CHECK_INT_GE(test_now_ns() - begin, 50 * MS);
        begin = test_now_ns();
        PyTState_Sync_Point("then");
        CHECK_INT_LT(test_now_ns() - begin, 50 * MS);
        exit(0);
    }
}

TEST("two orders that form a circle do not hang the program") {
    EXPECT_EXIT(0, "the order is dropped") {
        struct peers peers = PEERS_INIT;
        setenv("PYTSTATE_SYNC_LIMIT", "0.05", 1);
        PyTState_Sync_Order("first", "then");
        PyTState_Sync_Order("then", "first");
        peers_add(&peers, 1, pass_mine, "first");
        peers_add(&peers, 1, pass_mine, "then");
        peers_start(&peers);
        peers_join(&peers, 10000);
        exit(0);
    }
}

TEST("64 orders can be open; the same one again takes no room") {
    char name[16];
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "mine.%d", i);
        CHECK_INT_EQ(PyTState_Sync_Order("first", name), 0);
        CHECK_INT_EQ(PyTState_Sync_Order("first", name), 0);
    }
    CHECK_INT_EQ(PyTState_Sync_Order("first", "then"), -1);
    CHECK_INT_EQ(PyTState_Sync_Order("first", "first"), -1);
    PyTState_Sync_Point("first");
    CHECK_INT_EQ(PyTState_Sync_Order("first", "then"), 0);
}

/* ---- Hook ------------------------------------------------------------- */

struct seen {
    int calls;
    pthread_t thread;
    char name[64];
};

static void note(const char *point, void *arg) {
    struct seen *seen = arg;
    seen->calls++;
    seen->thread = pthread_self();
    snprintf(seen->name, sizeof seen->name, "%s", point);
    /* No lock is held: every call may be made from here. */
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 1);
    CHECK_INT_EQ(PyTState_Sync_Pause("my.other"), 0);
    CHECK_INT_EQ(PyTState_Sync_Wake("my.other"), 0);
    /* And a point reached from here calls no hook. */
    PyTState_Sync_Point("my.point");
}

TEST("a hook runs on the thread that arrives, with name and argument") {
    struct seen seen = {0};
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(PyTState_Sync_Hook("my.point", note, &seen), 0);
    peers_add(&peers, 1, pass_mine, "my.point");
    peers_start(&peers);
    pthread_t peer = peers.one[0].thread;
    peers_join(&peers, 10000);
    CHECK_INT_EQ(seen.calls, 1);
    CHECK(pthread_equal(seen.thread, peer));
    CHECK_STR_EQ(seen.name, "my.point");
    PyTState_Sync_Point("my.point");
    CHECK_INT_EQ(seen.calls, 2);
    CHECK_INT_EQ(PyTState_Sync_Hook("my.point", NULL, NULL), 0);
    PyTState_Sync_Point("my.point");
    CHECK_INT_EQ(seen.calls, 2);
}

static void count_call(const char *point, void *arg) {
    (void)point;
    atomic_fetch_add((atomic_int *)arg, 1);
}

TEST("a hook is called before a pause holds the thread") {
    struct peers peers = PEERS_INIT;
    atomic_int calls = 0;
    PyTState_Sync_Hook("my.point", count_call, &calls);
    PyTState_Sync_Pause("my.point");
    peers_add(&peers, 1, pass_mine, "my.point");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&calls), 1);
    PyTState_Sync_Wake("my.point");
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&calls), 1);
}

/* ---- Clear ------------------------------------------------------------ */

TEST("clearing releases everybody and forgets pauses, orders and hooks") {
    struct peers peers = PEERS_INIT;
    atomic_int calls = 0;
    for (int i = 0; i < 4; i++)
        PyTState_Sync_Pause("my.point");
    PyTState_Sync_Order("first", "then");
    peers_add(&peers, 4, pass_mine, "my.point");
    peers_add(&peers, 4, pass_mine, "then");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    PyTState_Sync_Hook("hooked", count_call, &calls);
    PyTState_Sync_Pause("hooked");
    PyTState_Sync_Clear();
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&passes), 8);
    PyTState_Sync_Pause("keeps.points.on");
    PyTState_Sync_Point("hooked");
    PyTState_Sync_Point("my.point");
    PyTState_Sync_Point("then");
    CHECK_INT_EQ(atomic_load(&calls), 0);
}

/* ---- Points of the library: locks and events --------------------------- */

static PyMutex mutex;
static PyEvent event;

static void lock_and_unlock(void *arg) {
    (void)arg;
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

TEST("a thread can be held where it is about to wait for a mutex") {
    struct peers peers = PEERS_INIT;
    PyMutex_Lock(&mutex); /* uncontended: no point is passed */
    PyTState_Sync_Pause("mutex.wait");
    PyMutex_Unlock(&mutex);
    PyMutex_Lock(&mutex);
    peers_add(&peers, 1, lock_and_unlock, NULL);
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("mutex.wait", LIMIT), 0);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(peers_running(&peers), 1);
    PyTState_Sync_Wake("mutex.wait");
    peers_join(&peers, 10000);
}

TEST("a mutex that is handed to a waiter says so, one that is freed does not") {
    struct peers peers = PEERS_INIT;
    atomic_int waits = 0, handed = 0;
    PyTState_Sync_Hook("mutex.wait", count_call, &waits);
    PyTState_Sync_Hook("mutex.handed", count_call, &handed);
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(atomic_load(&handed), 0);
    PyMutex_Lock(&mutex);
    peers_add(&peers, 1, lock_and_unlock, NULL);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&waits) == 1, 10000);
    /* A waiter of more than a millisecond is handed the mutex. */
    int64_t end = test_now_ns() + 5 * MS;
    WAIT_UNTIL(test_now_ns() > end, 10000);
    PyMutex_Unlock(&mutex);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&handed), 1);
}

static void wait_for_event(void *arg) {
    (void)arg;
    PyEvent_Wait(&event);
    atomic_fetch_add(&passes, 1);
}

TEST("a thread can be held on both sides of an event") {
    struct peers peers = PEERS_INIT;
    atomic_int set = 0;
    PyTState_Sync_Hook("event.set", count_call, &set);
    PyTState_Sync_Pause("event.wait");
    peers_add(&peers, 1, wait_for_event, NULL);
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("event.wait", LIMIT), 0);
    _PyEvent_Notify(&event);
    CHECK_INT_EQ(atomic_load(&set), 1);
    CHECK_INT_EQ(atomic_load(&passes), 0);
    PyTState_Sync_Wake("event.wait");
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&passes), 1);
}

/* ---- Fork ------------------------------------------------------------- */

TEST("a fork child has no pauses and orders, and keeps its hooks") {
    struct peers peers = PEERS_INIT;
    atomic_int calls = 0;
    Py_Initialize();
    PyTState_Sync_Hook("my.point", count_call, &calls);
    PyTState_Sync_Order("first", "then");
    PyTState_Sync_Pause("my.point");
    PyTState_Sync_Pause("my.point");
    peers_add(&peers, 1, pass_mine, "my.point");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 1);
        PyTState_Sync_Point("my.point");
        PyTState_Sync_Point("then");
        CHECK_INT_EQ(atomic_load(&calls), 2);
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", 0), 0);
    PyTState_Sync_Clear();
    peers_join(&peers, 10000);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a fork child can hold threads of its own") {
    struct peers peers = PEERS_INIT;
    Py_Initialize();
    PyTState_Sync_Pause("my.point");
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        PyTState_Sync_Point("my.point"); /* the pause was the parent's */
        PyTState_Sync_Pause("my.point");
        peers_add(&peers, 1, pass_mine, "my.point");
        peers_start(&peers);
        CHECK_INT_EQ(PyTState_Sync_WaitParked("my.point", LIMIT), 0);
        PyTState_Sync_Wake("my.point");
        peers_join(&peers, 10000);
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- Signals ---------------------------------------------------------- */

static atomic_int ticks;

static void tick(int signal) {
    (void)signal;
    int saved = errno;
    PyTState_Sync_Point("from.handler");
    atomic_fetch_add(&ticks, 1);
    errno = saved;
}

TEST("a handler that interrupts the machinery does not lock itself out") {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 50}, {0, 50}};
    atomic_int calls = 0;
    PyTState_Sync_Hook("from.handler", count_call, &calls);
    CHECK_INT_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_INT_EQ(setitimer(ITIMER_REAL, &every, NULL), 0);
    for (int64_t end = test_now_ms() + 200; test_now_ms() < end;) {
        PyTState_Sync_Pause("my.point");
        PyTState_Sync_Wake("my.point");
        PyTState_Sync_Hook("my.point", count_call, &calls);
        PyTState_Sync_Point("my.point");
    }
    memset(&every, 0, sizeof every);
    CHECK_INT_EQ(setitimer(ITIMER_REAL, &every, NULL), 0);
    CHECK_INT_GT(atomic_load(&ticks), 10);
    NOTE("%d signals", atomic_load(&ticks));
}
