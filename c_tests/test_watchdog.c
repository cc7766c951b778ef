/* The watchdog: threads that keep everybody waiting are named. */
#include "host.h"

#include <poll.h>
#include <unistd.h>

static int reports[2]; /* a pipe */
static char text[1 << 16];
static size_t text_size;

/* The next line of the reports, without its end; fails the case if none comes
 * within `limit_ms`, or returns NULL if that is what is `wanted`. */
static const char *next_line(int limit_ms, int wanted) {
    static char line[2048];
    int64_t end = test_now_ms() + limit_ms;
    for (;;) {
        char *stop = memchr(text, '\n', text_size);
        if (stop) {
            size_t n = (size_t)(stop - text);
            CHECK_UINT_LT(n, sizeof line);
            memcpy(line, text, n);
            line[n] = 0;
            text_size -= n + 1;
            memmove(text, stop + 1, text_size);
            return line;
        }
        struct pollfd one = {.fd = reports[0], .events = POLLIN};
        int64_t left = end - test_now_ms();
        if (left <= 0 || (poll)(&one, 1, (int)left) == 0) {
            if (wanted)
                FAIL("no report within %d ms", limit_ms);
            return NULL;
        }
        ssize_t n = read(reports[0], text + text_size, sizeof text - text_size);
        CHECK_INT_GT(n, 0);
        text_size += (size_t)n;
    }
}

static void watch(int64_t limit) {
    CHECK_INT_EQ(pipe(reports), 0);
    CHECK_INT_EQ(PyTState_SetWatchdog(limit, reports[1]), 0);
}

static double seconds_in(const char *line, const char *after) {
    double seconds = -1;
    const char *at = strstr(line, after);
    if (at == NULL || sscanf(at + strlen(after), "%lf", &seconds) != 1)
        FAIL("no number after '%s' in '%s'", after, line);
    return seconds;
}

/* ---- The GIL --------------------------------------------------------------
 */

static atomic_int over;
static atomic_long holder_tid;
static struct latch holding = LATCH_INIT(1);

/* Holds the GIL and does nothing for it until it is over. */
static void hold_the_gil(void *interp) {
    PyThreadState *mine = PyThreadState_New(interp);
    CHECK_INT_EQ(PyTState_SetName(mine, "db-pool-3"), 0);
    PyTState_Here("pool.c:88");
    PyEval_RestoreThread(mine);
    atomic_store(&holder_tid, test_native_id());
    latch_arrive(&holding);
    while (!atomic_load(&over))
        test_nap();
    leave();
}

static void want_the_gil(void *interp) {
    enter(interp);
    leave();
}

TEST("who holds the GIL for long is named, once for each limit") {
    NEEDS_GIL();
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT, waiters = PEERS_INIT;
    watch(200 * MS);
    peers_add(&peers, 1, hold_the_gil, mine->interp);
    PyEval_SaveThread();
    peers_start(&peers);
    CHECK(latch_wait(&holding, LIMIT_MS));
    peers_add(&waiters, 4, want_the_gil, mine->interp); /* all of them look */
    peers_start(&waiters);
    char start[128];
    snprintf(start, sizeof start,
             "pytstate: thread 'db-pool-3' (tid %ld, state 2 of interp 0) has "
             "held the GIL for ",
             atomic_load(&holder_tid));
    double last = 0;
    for (int i = 1; i <= 3; i++) {
        const char *line = next_line(LIMIT_MS, 1);
        CHECK_STR_CONTAINS(line, start);
        CHECK_STR_CONTAINS(line, " s, attached at pool.c:88");
        double seconds = seconds_in(line, "held the GIL for ");
        /* 0.2, 0.4, 0.6: later when the machine is busy, never twice. */
        if (seconds < last + 0.1 || seconds < 0.2 * i - 0.01)
            FAIL("report %d after %.1f s: %s", i, last, line);
        last = seconds;
    }
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    peers_join(&waiters, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
}

static atomic_long turns;

static void take_turns(void *interp) {
    enter(interp);
    while (!atomic_load(&over)) {
        atomic_fetch_add(&turns, 1);
        poll_once();
    }
    leave();
}

TEST("nobody is named while all poll, nor without a limit") {
    NEEDS_GIL();
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    _PyEval_SetSwitchInterval(1000);
    watch(2000 * MS);
    peers_add(&peers, 3, take_turns, mine->interp);
    PyEval_SaveThread();
    peers_start(&peers);
    CHECK_NULL(next_line(2500, 0));
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);

    /* Off: a long hold is nobody's business. */
    struct peers holder = PEERS_INIT, waiter = PEERS_INIT;
    atomic_store(&over, 0);
    CHECK_INT_EQ(PyTState_SetWatchdog(0, reports[1]), 0);
    peers_add(&holder, 1, hold_the_gil, mine->interp);
    peers_start(&holder);
    CHECK(latch_wait(&holding, LIMIT_MS));
    peers_add(&waiter, 1, want_the_gil, mine->interp);
    peers_start(&waiter);
    CHECK_NULL(next_line(300, 0));
    /* Switched on in the middle, it is seen by who waits. */
    CHECK_INT_EQ(PyTState_SetWatchdog(50 * MS, reports[1]), 0);
    CHECK_STR_CONTAINS(next_line(LIMIT_MS, 1), "'db-pool-3'");
    atomic_store(&over, 1);
    peers_join(&holder, LIMIT_MS);
    peers_join(&waiter, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
}

TEST("a limit below the switch interval is kept, too") {
    NEEDS_GIL();
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT, waiter = PEERS_INIT;
    _PyEval_SetSwitchInterval(3600ul * 1000 * 1000);
    watch(100 * MS);
    peers_add(&peers, 1, hold_the_gil, mine->interp);
    PyEval_SaveThread();
    peers_start(&peers);
    CHECK(latch_wait(&holding, LIMIT_MS));
    peers_add(&waiter, 1, want_the_gil, mine->interp);
    peers_start(&waiter);
    CHECK_STR_CONTAINS(next_line(LIMIT_MS, 1), "has held the GIL for 0.");
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    peers_join(&waiter, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
}

/* ---- Pauses
 * ------------------------------------------------------------------ */

static void never_polls(void *interp) {
    enter(interp);
    atomic_store(&holder_tid, test_native_id());
    latch_arrive(&holding);
    while (!atomic_load(&over))
        test_nap();
    leave();
}

static void *stop_the_world(void *unused) {
    (void)unused;
    _PyEval_StopTheWorldAll(NULL);
    _PyEval_StartTheWorldAll(NULL);
    return NULL;
}

TEST("who keeps a pause waiting is named, who does not is not") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT, good = PEERS_INIT;
    pthread_t requester;
    watch(300 * MS);
    peers_add(&good, 1, take_turns, mine->interp);
    peers_start(&good);
    WAIT_UNTIL(atomic_load(&turns) > 0, LIMIT_MS);
    peers_add(&peers, 1, never_polls, mine->interp);
    peers_start(&peers);
    CHECK(latch_wait(&holding, LIMIT_MS));
    PyEval_SaveThread();
    CHECK_INT_EQ(pthread_create(&requester, NULL, stop_the_world, NULL), 0);
    char who[64];
    snprintf(who, sizeof who, "(tid %ld, state 3 of interp 0)",
             atomic_load(&holder_tid));
    for (int i = 1; i <= 2; i++) {
        const char *line = next_line(LIMIT_MS, 1);
        CHECK_STR_CONTAINS(line, "pytstate: a pause has waited ");
        CHECK_STR_CONTAINS(line, who);
        CHECK_STR_CONTAINS(line, ", attached at an unknown place");
        if (seconds_in(line, "has waited ") < 0.3 * i - 0.01)
            FAIL("too early: %s", line);
    }
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    peers_join(&good, LIMIT_MS);
    CHECK_INT_EQ(pthread_join(requester, NULL), 0);
    PyEval_RestoreThread(mine);
    finish();
}
