/* Stop-the-world pauses (S-STW): real in every mode. */
#include "host.h"

#include <limits.h>
#include <unistd.h>

enum { SUSPENDED = 2, STOP_BIT = 5 };

/* A case that runs with a GIL and without one. */
#define TEST_MODES(name, body)                               \
    TEST(name ", with a GIL") { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL", .limit_s = 60) { body(PyTState_GIL_NONE); }

/* ---- Workers: they count while they are attached ------------------------ */

struct worker {
    PyInterpreterState *interp;
    atomic_long count, native;
    atomic_int detaches; /* 1: detaches and attaches, 0: only polls */
};

static struct worker worker[8];
static atomic_int over;

static void work(void *arg) {
    struct worker *me = arg;
    PyThreadState *state = enter(me->interp);
    atomic_store(&me->native, test_native_id());
    while (!atomic_load(&over)) {
        for (int i = 0; i < 20; i++)
            atomic_fetch_add(&me->count, 1);
        if (atomic_load(&me->detaches)) {
            PyEval_SaveThread();
            PyEval_RestoreThread(state);
        }
        poll_once();
    }
    leave();
}

/* Adds `n` workers of the interpreter, every other one detaches at times. */
static void add_workers(struct peers *peers, PyInterpreterState *interp,
                        int n) {
    for (int i = 0; i < n; i++) {
        struct worker *one = &worker[peers->count];
        one->interp = interp;
        atomic_store(&one->detaches, i % 2);
        peers_add(peers, 1, work, one);
    }
}

static long counted(int first, int n) {
    long sum = 0;
    for (int i = first; i < first + n; i++)
        sum += atomic_load(&worker[i].count);
    return sum;
}

static void wait_all_count(int n) {
    for (int i = 0; i < n; i++)
        WAIT_UNTIL(atomic_load(&worker[i].count) > 0, LIMIT_MS);
}

/* Nobody counts for a while that is long beside a poll. */
static void check_nobody_counts(int first, int n) {
    long before = counted(first, n);
    int64_t end = test_now_ns() + 200000;
    while (test_now_ns() < end)
        sched_yield();
    CHECK_INT_EQ(counted(first, n), before);
}

static void finish_workers(struct peers *peers) {
    atomic_store(&over, 1);
    peers_join(peers, LIMIT_MS);
}

/* ---- What a pause does --------------------------------------------------- */

static void pause_stops_everybody(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    PyInterpreterState *interp = mine->interp;
    struct peers peers = PEERS_INIT;
    add_workers(&peers, interp, 4);
    PyEval_SaveThread();
    peers_start(&peers);
    wait_all_count(4);
    for (int i = 0; i < 40; i++) { /* without a state */
        _PyEval_StopTheWorldAll(NULL);
        check_nobody_counts(0, 4);
        CHECK_INT_EQ(word_of(mine), SUSPENDED);
        _PyEval_StartTheWorldAll(NULL);
    }
    PyEval_RestoreThread(mine);
    for (int i = 0; i < 40; i++) { /* attached */
        _PyEval_StopTheWorld(interp);
        check_nobody_counts(0, 4);
        CHECK_PTR_EQ(PyThreadState_Get(), mine);
        /* The requester may let go and come back (S-STW-03). */
        PyEval_SaveThread();
        check_nobody_counts(0, 4);
        PyEval_RestoreThread(mine);
        _PyEval_StartTheWorld(interp);
        poll_once();
    }
    long before = counted(0, 4);
    WAIT_DETACHED(counted(0, 4) > before);
    PyEval_SaveThread();
    finish_workers(&peers);
    PyEval_RestoreThread(mine);
    finish();
}
TEST_MODES("a pause stops everybody else until the restart",
           pause_stops_everybody)

/* ---- States that come and go meanwhile (S-TS-02, S-STW-07) --------------- */

static PyThreadState *born;
static atomic_long born_thread;
static atomic_int born_ran;

static void be_born(void *interp) {
    PyThreadState *state = PyThreadState_New(interp);
    CHECK_NOT_NULL(state);
    CHECK_INT_EQ(word_of(state), SUSPENDED);
    born = state;
    atomic_store(&born_thread, test_native_id());
    PyEval_RestoreThread(state);
    atomic_store(&born_ran, 1);
    leave();
}

static void born_suspended(int gil) {
    begin_mode(gil, NULL);
    PyInterpreterState *interp = PyInterpreterState_Get();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, be_born, interp);
    _PyEval_StopTheWorldAll(NULL);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&born_thread) != 0, LIMIT_MS);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&born_thread)), LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&born_ran), 0);
    CHECK_INT_EQ(word_of(born), SUSPENDED);
    _PyEval_StartTheWorldAll(NULL);
    join_peers(&peers);
    CHECK_INT_EQ(atomic_load(&born_ran), 1);
    finish();
}
TEST_MODES("a state that is made in a pause stands until it is over",
           born_suspended)

static void come_and_go(void *arg) {
    struct worker *me = arg;
    while (!atomic_load(&over)) {
        enter(me->interp);
        atomic_fetch_add(&me->count, 1);
        leave();
        PyThreadState *unused = PyThreadState_New(me->interp);
        CHECK_NOT_NULL(unused);
        enter(me->interp);
        PyThreadState_Clear(unused);
        PyThreadState_Delete(unused);
        leave();
    }
}

static void lives_during_pauses(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    for (int i = 0; i < 4; i++) {
        worker[i].interp = mine->interp;
        peers_add(&peers, 1, come_and_go, &worker[i]);
    }
    PyEval_SaveThread();
    peers_start(&peers);
    for (int i = 0; i < 300; i++) {
        if (i % 2) {
            PyEval_RestoreThread(mine);
            _PyEval_StopTheWorld(mine->interp);
            check_nobody_counts(0, 4);
            _PyEval_StartTheWorld(mine->interp);
            PyEval_SaveThread();
        } else {
            _PyEval_StopTheWorldAll(NULL);
            check_nobody_counts(0, 4);
            _PyEval_StartTheWorldAll(NULL);
        }
    }
    wait_all_count(4);
    finish_workers(&peers);
    PyEval_RestoreThread(mine);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}
TEST_MODES("states may be made and deleted all the time", lives_during_pauses)

/* ---- Scopes (S-STW-01) ----------------------------------------------------
 */

TEST("different interpreters are paused at once, the same one in turn",
     .limit_s = 60) {
    PyThreadState *mine = begin();
    PyThreadState *own = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *none = new_interp(PyTState_INTERP_NO_GIL);
    PyInterpreterState *all[3] = {mine->interp, own->interp, none->interp};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    for (int i = 0; i < 3; i++)
        add_workers(&peers, all[i], 2);
    peers_start(&peers);
    wait_all_count(6);
    _PyEval_StopTheWorld(all[1]);
    check_nobody_counts(2, 2);
    long before = counted(4, 2), before_main = counted(0, 2);
    WAIT_UNTIL(counted(4, 2) > before && counted(0, 2) > before_main, LIMIT_MS);
    _PyEval_StartTheWorld(all[1]);
    finish_workers(&peers);
    PyEval_RestoreThread(none);
    Py_EndInterpreter(none);
    PyEval_RestoreThread(own);
    Py_EndInterpreter(own);
    PyEval_RestoreThread(mine);
    finish();
}

struct pauser {
    PyInterpreterState *interp;      /* NULL: all */
    PyInterpreterState *attached_to; /* NULL: no state */
    long pauses;
};

/* How many pauses of each interpreter, and of all, go on at this moment. */
static atomic_int inside[3], inside_all;

static void pause_many(void *arg) {
    struct pauser *me = arg;
    if (me->attached_to)
        enter(me->attached_to);
    for (; me->pauses > 0 && !atomic_load(&over); me->pauses--) {
        if (me->interp) {
            int64_t id = PyInterpreterState_GetID(me->interp);
            _PyEval_StopTheWorld(me->interp);
            CHECK_INT_EQ(atomic_fetch_add(&inside[id], 1), 0);
            CHECK_INT_EQ(atomic_load(&inside_all), 0);
            sched_yield();
            atomic_fetch_sub(&inside[id], 1);
            _PyEval_StartTheWorld(me->interp);
        } else {
            _PyEval_StopTheWorldAll(NULL);
            CHECK_INT_EQ(atomic_fetch_add(&inside_all, 1), 0);
            for (int i = 0; i < 3; i++)
                CHECK_INT_EQ(atomic_load(&inside[i]), 0);
            sched_yield();
            atomic_fetch_sub(&inside_all, 1);
            _PyEval_StartTheWorldAll(NULL);
        }
        if (me->attached_to)
            poll_once();
    }
    if (me->attached_to)
        leave();
}

TEST("pauses from everywhere of everything exclude each other and all end",
     .limit_s = 60) {
    PyThreadState *mine = begin();
    PyThreadState *own = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *none = new_interp(PyTState_INTERP_NO_GIL);
    PyInterpreterState *all[3] = {mine->interp, own->interp, none->interp};
    struct pauser pauser[16];
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    for (int i = 0; i < 16; i++) {
        /* Every interpreter, and all, from every interpreter and from none:
         * among them two that pause each other's. */
        pauser[i].interp = i % 4 == 3 ? NULL : all[i % 4];
        pauser[i].attached_to = i / 4 == 3 ? NULL : all[i / 4];
        pauser[i].pauses = 60;
        peers_add(&peers, 1, pause_many, &pauser[i]);
    }
    peers_start(&peers);
    peers_join(&peers, 60000);
    PyEval_RestoreThread(none);
    Py_EndInterpreter(none);
    PyEval_RestoreThread(own);
    Py_EndInterpreter(own);
    PyEval_RestoreThread(mine);
    finish();
}

static struct latch crossed = LATCH_INIT(2);

static void pause_other(void *arg) {
    PyInterpreterState **pair = arg;
    enter(pair[0]);
    latch_arrive(&crossed);
    CHECK(latch_wait(&crossed, LIMIT_MS));
    _PyEval_StopTheWorld(pair[1]);
    CHECK_PTR_EQ(PyInterpreterState_Get(), pair[0]);
    _PyEval_StartTheWorld(pair[1]);
    leave();
}

TEST("two threads may pause each other's interpreters") {
    PyThreadState *mine = begin();
    PyThreadState *own = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *none = new_interp(PyTState_INTERP_NO_GIL);
    PyInterpreterState *there[2] = {own->interp, none->interp};
    PyInterpreterState *back[2] = {none->interp, own->interp};
    PyEval_SaveThread();
    for (int i = 0; i < 50; i++) {
        struct peers peers = PEERS_INIT;
        atomic_store(&crossed.left, 2);
        peers_add(&peers, 1, pause_other, there);
        peers_add(&peers, 1, pause_other, back);
        peers_start(&peers);
        peers_join(&peers, LIMIT_MS);
    }
    PyEval_RestoreThread(none);
    Py_EndInterpreter(none);
    PyEval_RestoreThread(own);
    Py_EndInterpreter(own);
    PyEval_RestoreThread(mine);
    finish();
}

/* ---- Fork ------------------------------------------------------------------
 */

static void fork_among_pauses(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    struct pauser pauser[4];
    for (int i = 0; i < 4; i++) {
        pauser[i] = (struct pauser){i % 2 ? mine->interp : NULL,
                                    i / 2 ? mine->interp : NULL, LONG_MAX};
        peers_add(&peers, 1, pause_many, &pauser[i]);
    }
    PyEval_SaveThread();
    peers_start(&peers);
    PyEval_RestoreThread(mine);
    for (int i = 0; i < 20; i++) {
        PyOS_BeforeFork();
        pid_t child = fork();
        if (child == 0) {
            PyOS_AfterFork_Child();
            for (int j = 0; j < 3; j++) {
                _PyEval_StopTheWorldAll(NULL);
                _PyEval_StartTheWorldAll(NULL);
                _PyEval_StopTheWorld(mine->interp);
                _PyEval_StartTheWorld(mine->interp);
            }
            PyEval_SaveThread();
            PyEval_RestoreThread(mine);
            test_child_done(Py_FinalizeEx());
        }
        PyOS_AfterFork_Parent();
        CHECK_INT_GT(child, 0);
        PyEval_SaveThread();
        CHECK_CHILD_EXIT(child, 0);
        PyEval_RestoreThread(mine);
    }
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
}
TEST_MODES("a process forks among pauses, its children can pause again",
           fork_among_pauses)

/* ---- A requester whose interpreter ends while it waits (gh-137433) ---------
 */

static atomic_int asked;

static void ask_too_late(void *interp) {
    PyThreadState *state = enter(interp);
    atomic_store(&asked, 1);
    /* Somebody else's pause of this interpreter is under way ... */
    WAIT_UNTIL(has_bit(state, STOP_BIT), LIMIT_MS);
    /* ... so this one has to wait, and the end comes first. */
    _PyEval_StopTheWorldAll(NULL);
    FAIL("a thread of an ended interpreter runs");
}

TEST("who asks for a pause and is overtaken by the end leaves nothing behind") {
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.compat = 0x030E0000; /* leftovers are given up */
    config.late_attach = PyTState_LATE_EXIT;
    PyThreadState *mine = begin_with(&config);
    PyThreadState *sub = new_interp(PyTState_INTERP_NO_GIL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, ask_too_late, sub->interp);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&asked), LIMIT_MS);
    Py_EndInterpreter(sub);
    /* The thread ends (LATE_EXIT), and the way is free. */
    CHECK_INT_EQ(pthread_join(peers.one[0].thread, NULL), 0);
    PyEval_RestoreThread(mine);
    for (int i = 0; i < 3; i++) {
        _PyEval_StopTheWorldAll(NULL);
        _PyEval_StartTheWorldAll(NULL);
    }
    finish();
}

/* ---- Critical sections in a pause (S-CS-09) --------------------------------
 */

static PyMutex shared;
static struct latch locked = LATCH_INIT(1);

static void stop_with_mutex(void *interp) {
    enter(interp);
    PyMutex_Lock(&shared);
    latch_arrive(&locked);
    while (!atomic_load(&over))
        poll_once();
    PyMutex_Unlock(&shared);
    leave();
}

TEST("a section of a mutex that a stopped thread holds is skipped") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, stop_with_mutex, mine->interp);
    peers_start(&peers);
    CHECK(latch_wait(&locked, LIMIT_MS));
    for (int all = 0; all < 2; all++) {
        PyCriticalSection cs;
        PyCriticalSection2 cs2;
        PyMutex other = {0};
        if (all)
            _PyEval_StopTheWorldAll(NULL);
        else
            _PyEval_StopTheWorld(mine->interp);
        PyCriticalSection_BeginMutex(&cs, &shared);
        CHECK_NULL(cs._cs_mutex);
        PyCriticalSection2_BeginMutex(&cs2, &shared, &other);
        CHECK_NULL(cs2._cs_base._cs_mutex);
        CHECK_INT_EQ(other._bits, 0);
        PyCriticalSection2_End(&cs2);
        PyCriticalSection_End(&cs);
        PyCriticalSection_BeginMutex(&cs, &other); /* free: as ever */
        CHECK_PTR_EQ(cs._cs_mutex, &other);
        PyCriticalSection_End(&cs);
        if (all)
            _PyEval_StartTheWorldAll(NULL);
        else
            _PyEval_StartTheWorld(mine->interp);
    }
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
}

/* ---- Misuse
 * ------------------------------------------------------------------ */

TEST("pauses do not nest, and only a pause can be ended") {
    EXPECT_FATAL("_PyEval_StopTheWorld", "pauses do not nest") {
        begin();
        _PyEval_StopTheWorldAll(NULL);
        _PyEval_StopTheWorld(PyInterpreterState_Get());
    }
    EXPECT_FATAL("_PyEval_StartTheWorldAll", "the world was not stopped") {
        begin();
        _PyEval_StopTheWorld(PyInterpreterState_Get());
        _PyEval_StartTheWorldAll(NULL);
    }
    EXPECT_FATAL("_PyEval_StopTheWorld", "'interp' must not be NULL") {
        begin();
        _PyEval_StopTheWorld(NULL);
    }
}
