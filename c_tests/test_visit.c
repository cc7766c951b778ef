/* PyTState_VisitThreads(): every state once, while no state is made or goes. */
#include "host.h"

/* A case that runs with a GIL and without one. */
#define TEST_MODES(name, body)                               \
    TEST(name ", with a GIL") { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL", .limit_s = 60) { body(PyTState_GIL_NONE); }

enum { MOST = 64 };

struct seen {
    PyThreadState *states[MOST];
    uint64_t ids[MOST];
    int n, stop_at;
};

static int note(PyThreadState *tstate, void *raw) {
    struct seen *seen = raw;
    CHECK_INT_LT(seen->n, MOST);
    seen->states[seen->n] = tstate;
    seen->ids[seen->n] = PyThreadState_GetID(tstate);
    return ++seen->n == seen->stop_at;
}

static void visit_own(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    PyThreadState *others[3];
    for (int i = 0; i < 3; i++)
        others[i] = PyThreadState_New(mine->interp);
    struct seen seen = {.n = 0};
    PyTState_VisitThreads(mine->interp, note, &seen);
    CHECK_INT_EQ(seen.n, 4);
    for (int i = 0; i < 3; i++)
        CHECK_PTR_EQ(seen.states[i], others[2 - i]);
    CHECK_PTR_EQ(seen.states[3], mine);
    for (int i = 0; i < 3; i++) {
        PyThreadState_Clear(others[i]);
        PyThreadState_Delete(others[i]);
    }
    finish();
}

TEST_MODES("every state of an interpreter is visited once, newest first",
           visit_own)

TEST("a visit ends where the visitor says so") {
    PyThreadState *mine = begin();
    PyThreadState *other = PyThreadState_New(mine->interp);
    struct seen seen = {.stop_at = 1};
    PyTState_VisitThreads(NULL, note, &seen);
    CHECK_INT_EQ(seen.n, 1);
    CHECK_PTR_EQ(seen.states[0], other);
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    finish();
}

TEST("a visit of all reaches every interpreter, a visit of one does not") {
    PyThreadState *mine = begin();
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    struct seen all = {.n = 0}, one = {.n = 0};
    PyTState_VisitThreads(NULL, note, &all);
    PyTState_VisitThreads(mine->interp, note, &one);
    CHECK_INT_EQ(all.n, 2);
    CHECK_INT_EQ(one.n, 1);
    CHECK_PTR_EQ(one.states[0], mine);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(mine);
    finish();
}

TEST("a thread without an attached state may visit") {
    PyThreadState *mine = begin();
    struct seen seen = {.n = 0};
    Py_BEGIN_ALLOW_THREADS
    PyTState_VisitThreads(NULL, note, &seen);
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(seen.n, 1);
    CHECK_PTR_EQ(seen.states[0], mine);
    finish();
}

/* ---- Others make and delete states meanwhile ----------------------------- */

static atomic_int over;
static atomic_long made;

static void make_and_delete(void *interp) {
    while (!atomic_load(&over)) {
        PyThreadState *tstate = PyThreadState_New(interp);
        PyEval_RestoreThread(tstate);
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
        atomic_fetch_add(&made, 1);
    }
}

/* Walks the public list while it is in the visitor: it stands still. */
static int walk_twice(PyThreadState *tstate, void *unused) {
    PyThreadState *first[MOST];
    int n = 0, again = 0;
    (void)unused;
    for (PyThreadState *one = PyInterpreterState_ThreadHead(tstate->interp);
         one != NULL && n < MOST; one = PyThreadState_Next(one))
        first[n++] = one;
    sched_yield();
    for (PyThreadState *one = PyInterpreterState_ThreadHead(tstate->interp);
         one != NULL && again < MOST; one = PyThreadState_Next(one))
        CHECK_PTR_EQ(one, first[again++]);
    CHECK_INT_EQ(n, again);
    return 0;
}

static void visit_beside_others(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 3, make_and_delete, mine->interp);
    Py_BEGIN_ALLOW_THREADS
    peers_start(&peers);
    for (int i = 0; i < 300; i++)
        PyTState_VisitThreads(i & 1 ? NULL : mine->interp, walk_twice, NULL);
    WAIT_UNTIL(atomic_load(&made) > 300, LIMIT_MS);
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    Py_END_ALLOW_THREADS
    struct seen seen = {.n = 0};
    PyTState_VisitThreads(NULL, note, &seen);
    CHECK_INT_EQ(seen.n, 1);
    finish();
}

TEST_MODES("no state is made or goes during a visit, while three threads try",
           visit_beside_others)

/* ---- In a pause ------------------------------------------------------------
 */

TEST("a visit in one's own pause needs no turn, and the pause goes on") {
    PyThreadState *mine = begin();
    struct seen seen = {.n = 0};
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), 0);
    PyTState_VisitThreads(NULL, note, &seen);
    PyTState_VisitThreads(mine->interp, note, &seen);
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), -1);
    PyErr_Clear();
    PyTState_StartTheWorld(NULL);
    CHECK_INT_EQ(seen.n, 2);
    finish();
}

TEST("a visit beyond one's own pause is a misuse") {
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyTState_StopTheWorld(mine->interp), 0);
    EXPECT_FATAL("PyTState_VisitThreads", "another scope") {
        struct seen seen = {.n = 0};
        PyTState_VisitThreads(NULL, note, &seen);
    }
    PyTState_StartTheWorld(mine->interp);
    finish();
}

/* ---- What a visitor may not call ------------------------------------------
 */

static int clear_it(PyThreadState *tstate, void *unused) {
    (void)unused;
    PyThreadState_Clear(tstate);
    return 0;
}

static int make_interp(PyThreadState *tstate, void *unused) {
    (void)tstate, (void)unused;
    Py_NewInterpreter();
    return 0;
}

static int end_runtime(PyThreadState *tstate, void *unused) {
    (void)tstate, (void)unused;
    Py_FinalizeEx();
    return 0;
}

TEST("a visitor ends nothing, and makes no interpreter") {
    PyThreadState *mine = begin();
    EXPECT_FATAL("PyThreadState_Clear", "a visitor of thread states") {
        PyTState_VisitThreads(mine->interp, clear_it, NULL);
    }
    EXPECT_FATAL("Py_NewInterpreter", "a visitor of thread states") {
        PyTState_VisitThreads(mine->interp, make_interp, NULL);
    }
    EXPECT_FATAL("Py_FinalizeEx", "a visitor of thread states") {
        PyTState_VisitThreads(mine->interp, end_runtime, NULL);
    }
    EXPECT_FATAL("PyTState_VisitThreads", "'visit' must not be NULL") {
        PyTState_VisitThreads(NULL, NULL, NULL);
    }
    finish();
}
