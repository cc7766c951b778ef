/* Stop-the-world pauses one after the other: nobody waits for ever, and how
 * long they take to begin. */
#include "host.h"

#include <stdlib.h>

#define TEST_MODES(name, body)                                              \
    TEST(name ", with a GIL", .limit_s = 60) { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL", .limit_s = 60) { body(PyTState_GIL_NONE); }

static atomic_long pauses;
static atomic_int over;

/* Pauses until it is over; the moments between are much shorter than the
 * pauses, and than it takes to wake a thread. */
static void pause_all_the_time(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        _PyEval_StopTheWorldAll(NULL);
        atomic_fetch_add(&pauses, 1);
        int64_t end = test_now_ns() + 100000;
        while (test_now_ns() < end)
            sched_yield();
        _PyEval_StartTheWorldAll(NULL);
    }
}

/* ---- Attaching (gh-151518) -------------------------------------------------
 */

enum { ATTACHES = 300 };

/* The time of each attach counts where others want the GIL, too: waiting for
 * it among polling threads takes up to a switch interval, as ever. Where
 * nobody else runs, the pauses count that an attach is passed over by. */
static void attach_often(PyThreadState *mine, int alone) {
    long passed_over = 0, most = 0;
    int64_t took = 0;
    for (int i = 0; i < ATTACHES; i++) {
        PyEval_SaveThread();
        /* Until the pause that this attach meets is there. */
        long from = atomic_load(&pauses);
        WAIT_UNTIL(atomic_load(&pauses) > from, LIMIT_MS);
        from = atomic_load(&pauses);
        int64_t begin = test_now_ns();
        PyEval_RestoreThread(mine);
        took += test_now_ns() - begin;
        long n = atomic_load(&pauses) - from;
        passed_over += n;
        if (n > most)
            most = n;
        poll_once();
    }
    printf("# %d attaches: %.2f pauses and %.0f us each, at most %ld pauses\n",
           ATTACHES, (double)passed_over / ATTACHES,
           (double)took / ATTACHES / 1e3, most);
    if (alone) /* that it met, and that let it in; and some room */
        CHECK_INT_LE(passed_over, 4 * ATTACHES);
    CHECK_INT_LE(took, ATTACHES * 20 * MS);
}

static void attach_among_pauses(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, pause_all_the_time, NULL);
    peers_start(&peers);
    attach_often(mine, 1);
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
}
TEST_MODES("pauses without a break do not keep a thread from attaching",
           attach_among_pauses)

static atomic_long spins;

static void poll_all_the_time(void *interp) {
    enter(interp);
    while (!atomic_load(&over)) {
        atomic_fetch_add(&spins, 1);
        poll_once();
    }
    leave();
}

static void attach_among_runners(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, pause_all_the_time, NULL);
    peers_add(&peers, 2, poll_all_the_time, mine->interp);
    peers_start(&peers);
    attach_often(mine, gil == PyTState_GIL_NONE);
    long before = atomic_load(&spins);
    PyEval_SaveThread();
    WAIT_UNTIL(atomic_load(&spins) > before, LIMIT_MS);
    PyEval_RestoreThread(mine);
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
}
TEST_MODES("... nor among others that run all the time", attach_among_runners)

/* Everybody of `n` attaches and detaches; the slowest gets its share. */
static struct {
    atomic_long count;
    PyInterpreterState *interp;
} attacher[8];

static void attach_in_a_loop(void *arg) {
    int i = (int)(uintptr_t)arg;
    PyThreadState *state = enter(attacher[i].interp);
    while (!atomic_load(&over)) {
        PyEval_SaveThread();
        PyEval_RestoreThread(state);
        atomic_fetch_add(&attacher[i].count, 1);
    }
    leave();
}

static void everybody_attaches(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    for (uintptr_t i = 0; i < 8; i++) {
        attacher[i].interp = mine->interp;
        peers_add(&peers, 1, attach_in_a_loop, (void *)i);
    }
    peers_add(&peers, 1, pause_all_the_time, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    for (int i = 0; i < 8; i++)
        WAIT_UNTIL(atomic_load(&attacher[i].count) >= 20, 40000);
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
}
TEST_MODES("every one of many threads attaches again and again",
           everybody_attaches)

/* ---- Requesters
 * -------------------------------------------------------------- */

enum { TURNS = 3000 };
static char order[TURNS];
static atomic_int turns;

/* Attached, without a GIL, and never polling: a pause is complete only when the
 * two others have asked for theirs, since that is where they detach. So who
 * comes next is decided by the library alone, however busy the machine is. */
static void pause_in_turn(void *arg) {
    struct peers *all = arg;
    enter(PyInterpreterState_Main());
    peers_meet(all);
    while (!atomic_load(&over)) {
        _PyEval_StopTheWorldAll(NULL);
        int turn = atomic_fetch_add(&turns, 1);
        if (turn < TURNS)
            order[turn] = (char)('A' + peer_index());
        else
            atomic_store(&over, 1);
        _PyEval_StartTheWorldAll(NULL);
    }
    leave();
}

TEST("those who pause without a break take turns", .limit_s = 60) {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 3, pause_in_turn, &peers);
    PyEval_SaveThread();
    peers_start(&peers);
    peers_join(&peers, 60000);
    for (int i = 2; i < TURNS; i++)
        if (order[i] == order[i - 1] || order[i] == order[i - 2])
            FAIL("turn %d: %c after %c%c", i, order[i], order[i - 2],
                 order[i - 1]);
    PyEval_RestoreThread(mine);
    finish();
}

static atomic_long paused[3];

static void pause_without_a_state(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        _PyEval_StopTheWorldAll(NULL);
        atomic_fetch_add(&paused[peer_index()], 1);
        _PyEval_StartTheWorldAll(NULL);
    }
}

TEST("... and so does each that has no state, however often the others pause",
     .limit_s = 60) {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 3, pause_without_a_state, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    for (int i = 0; i < 3; i++)
        WAIT_UNTIL(atomic_load(&paused[i]) >= 100, 50000);
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
}

/* ---- Latency
 * ------------------------------------------------------------------- */

static void poll_every_10_us(void *interp) {
    enter(interp);
    while (!atomic_load(&over)) {
        int64_t end = test_now_ns() + 10000;
        while (test_now_ns() < end)
            ;
        atomic_fetch_add(&spins, 1);
        poll_once();
    }
    leave();
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t median_pause_ns(PyInterpreterState *interp, int n) {
    enum { PAUSES = 200 };
    int64_t took[PAUSES];
    struct peers peers = PEERS_INIT;
    atomic_store(&over, 0);
    peers_add(&peers, n, poll_every_10_us, interp);
    peers_start(&peers);
    for (int i = 0; i < PAUSES; i++) {
        long before = atomic_load(&spins);
        WAIT_UNTIL(atomic_load(&spins) > before + 20 * n, LIMIT_MS);
        int64_t begin = test_now_ns();
        _PyEval_StopTheWorldAll(NULL);
        took[i] = test_now_ns() - begin;
        _PyEval_StartTheWorldAll(NULL);
    }
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    qsort(took, PAUSES, sizeof took[0], by_value);
    printf("# pause of %d threads: median %.1f us, 90%% %.1f us\n", n,
           (double)took[PAUSES / 2] / 1e3, (double)took[PAUSES * 9 / 10] / 1e3);
    return took[PAUSES / 2];
}

TEST("a pause is reached soon after the polls", .limit_s = 60) {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    PyEval_SaveThread();
    int64_t two = median_pause_ns(mine->interp, 2);
    int64_t eight = median_pause_ns(mine->interp, 8);
    /* Wide: other programs may have the processors. */
    CHECK_INT_LT(two, 20 * MS);
    CHECK_INT_LT(eight, 200 * MS);
    PyEval_RestoreThread(mine);
    finish();
}
