/* PEP 788: attaching through a guard or a view, and undoing it. */
#include "host.h"

#include <stdlib.h>

static long open_on(PyInterpreterState *interp) {
    return (long)_PyInterpreterState_GuardCountdown(interp);
}

/* ---- Which state (S-G8-20)
 * ------------------------------------------------------ */

TEST("the attached state is used if it fits, and stays attached (S-G8-20a)") {
    PyThreadState *main_state = begin();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyThreadStateToken *outer = PyThreadState_Ensure(guard);
    PyThreadStateToken *inner = PyThreadState_Ensure(guard);
    CHECK_NOT_NULL(outer);
    CHECK_NOT_NULL(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    CHECK_UINT_EQ(n_states(main_state->interp), 1);
    PyThreadState_Release(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    PyThreadState_Release(outer);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    PyInterpreterGuard_Close(guard);
    finish();
}

TEST("else the one that the thread used last, if it fits (S-G8-20b)") {
    PyThreadState *main_state = begin();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyEval_SaveThread();
    PyThreadStateToken *outer = PyThreadState_Ensure(guard);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    PyThreadStateToken *inner = PyThreadState_Ensure(guard);
    PyThreadState_Release(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    PyThreadState_Release(outer);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), main_state);
    CHECK_UINT_EQ(n_states(main_state->interp), 1);
    PyEval_RestoreThread(main_state);
    PyInterpreterGuard_Close(guard);
    finish();
}

static int n_deleted;
static void count_delete(void *unused) {
    (void)unused;
    n_deleted++;
}

struct foreign {
    PyInterpreterGuard *guard;
    PyInterpreterState *interp;
};

static void needs_a_state(void *arg) {
    struct foreign *foreign = arg;
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyThreadStateToken *outer = PyThreadState_Ensure(foreign->guard);
    PyThreadState *mine = PyThreadState_Get();
    CHECK_PTR_EQ(mine->interp, foreign->interp);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);
    CHECK_INT_EQ(mine->is_daemon, 1);
    CHECK_INT_EQ(mine->_whence, 4);
    mine->on_delete = count_delete;
    for (int i = 0; i < 3; i++) {
        PyThreadStateToken *inner = PyThreadState_Ensure(foreign->guard);
        CHECK_PTR_EQ(PyThreadState_Get(), mine);
        PyEval_SaveThread(); /* S-G8-33 */
        PyThreadStateToken *innermost = PyThreadState_Ensure(foreign->guard);
        CHECK_PTR_EQ(PyThreadState_Get(), mine);
        PyThreadState_Release(innermost);
        CHECK_NULL(PyThreadState_GetUnchecked());
        PyEval_RestoreThread(mine);
        PyThreadState_Release(inner);
    }
    const int before = n_deleted;
    PyThreadState_Release(outer);
    CHECK_INT_EQ(n_deleted, before + 1);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("else a new one, which the outermost release deletes (S-G8-20c, 24)") {
    PyThreadState *main_state = begin();
    struct foreign foreign = {PyInterpreterGuard_FromCurrent(),
                              main_state->interp};
    for (int i = 1; i <= 3; i++) {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, needs_a_state, &foreign);
        peers_start(&peers);
        join_peers(&peers);
        CHECK_INT_EQ(n_deleted, i);
        CHECK_UINT_EQ(n_states(main_state->interp), 1);
    }
    PyInterpreterGuard_Close(foreign.guard);
    finish();
}

TEST("a state of another interpreter steps aside and comes back (S-G8-34)") {
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    PyThreadState *other = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    for (int i = 0; i < 3; i++) {
        PyThreadStateToken *token = PyThreadState_Ensure(guard);
        PyThreadState *mine = PyThreadState_Get();
        CHECK_PTR_EQ(mine->interp, main_state->interp);
        CHECK_PTR_NE(mine, main_state);
        CHECK_INT_EQ(other->state, PyTState_DETACHED);
        mine->on_delete = count_delete;
        PyThreadStateToken *inner = PyThreadState_Ensure(guard);
        PyThreadState_Release(inner);
        CHECK_PTR_EQ(PyThreadState_Get(), mine);
        PyThreadState_Release(token);
        CHECK_PTR_EQ(PyThreadState_Get(), other);
        CHECK_INT_EQ(n_deleted, i + 1);
    }
    PyInterpreterGuard_Close(guard);
    PyInterpreterView_Close(view);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- Through a view (S-G8-25)
 * ----------------------------------------------------- */

static void holds_a_guard(void *view) {
    PyThreadStateToken *outer = PyThreadState_EnsureFromView(view);
    PyInterpreterState *interp = PyThreadState_Get()->interp;
    CHECK_INT_EQ(open_on(interp), 1);
    PyTState_ThreadInfo all[4];
    CHECK_UINT_EQ(PyTState_Census(interp, all, 4), 2);
    CHECK_UINT_EQ(all[0].thread_id, PyThread_get_thread_ident());
    CHECK_INT_EQ(all[0].guards, 1);
    CHECK_INT_EQ(all[1].guards, 0);
    PyThreadStateToken *inner = PyThreadState_EnsureFromView(view);
    CHECK_INT_EQ(open_on(interp), 1);
    PyThreadState_Release(inner);
    CHECK_INT_EQ(open_on(interp), 1);
    PyThreadState_Release(outer);
    CHECK_INT_EQ(open_on(interp), 0);
}

TEST("the state keeps one guard until the outermost release") {
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, holds_a_guard, view);
    peers_start(&peers);
    join_peers(&peers);
    /* A state that was there before keeps it as long. */
    PyThreadStateToken *outer = PyThreadState_EnsureFromView(view);
    PyThreadStateToken *inner = PyThreadState_EnsureFromView(view);
    CHECK_INT_EQ(open_on(main_state->interp), 1);
    PyThreadState_Release(inner);
    CHECK_INT_EQ(open_on(main_state->interp), 1);
    PyThreadState_Release(outer);
    CHECK_INT_EQ(open_on(main_state->interp), 0);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    PyInterpreterView_Close(view);
    finish();
}

static void works_during_the_end(void *view) {
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    CHECK_NOT_NULL(token);
    PyThreadState *mine = PyThreadState_Get();
    PyEval_SaveThread();
    WAIT_UNTIL(PyTState_ShutdownPhase(mine->interp) ==
                   PyTState_PHASE_WAITING_GUARDS,
               LIMIT_MS);
    PyEval_RestoreThread(mine); /* does not hang: the guard is open */
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    PyThreadState_Release(token);
}

TEST("a foreign thread that attached through a view may go on until it "
     "releases (S-G8-08)") {
    for (int round = 0; round < 20; round++) {
        begin();
        PyInterpreterView *view = PyInterpreterView_FromCurrent();
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, works_during_the_end, view);
        peers_start(&peers);
        WAIT_DETACHED(open_on(PyInterpreterState_Main()) == 1);
        finish();
        peers_join(&peers, LIMIT_MS);
        PyInterpreterView_Close(view);
    }
}

static atomic_int n_refused;

static void until_refused(void *view) {
    PyThreadStateToken *token;
    while ((token = PyThreadState_EnsureFromView(view)) != NULL) {
        CHECK_INT_EQ(PyGILState_Check(), 1);
        PyThreadState_Release(token);
    }
    CHECK_NULL(PyThreadState_GetUnchecked());
    atomic_fetch_add(&n_refused, 1);
}

TEST("threads that attach in a loop are refused at the end, and none hangs",
     .limit_s = 60) {
    enum { ROUNDS = 100, THREADS = 4 };
    PyInterpreterView *view = PyInterpreterView_FromMain();
    for (int round = 1; round <= ROUNDS; round++) {
        begin();
        struct peers peers = PEERS_INIT;
        peers_add(&peers, THREADS, until_refused, view);
        peers_start(&peers);
        finish();
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(atomic_load(&n_refused), round * THREADS);
    }
    PyInterpreterView_Close(view);
}

/* ---- Destructors (S-G8-28, 29)
 * -------------------------------------------------------- */

static PyInterpreterView *nested_view;
static int n_nested;

static void nests(void *unused) {
    (void)unused;
    PyThreadState *mine = PyThreadState_Get();
    CHECK_INT_EQ(open_on(mine->interp), 1);
    PyThreadStateToken *token = PyThreadState_EnsureFromView(nested_view);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyThreadState_Release(token);
    PyGILState_STATE gil = PyGILState_Ensure();
    PyGILState_Release(gil);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    n_nested++;
}

static void ends_with_a_nest(void *view) {
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    PyThreadState_Get()->on_delete = nests;
    PyThreadState_Release(token);
}

TEST("what runs when the state is cleared may attach again, under the guard") {
    PyThreadState *main_state = begin();
    nested_view = PyInterpreterView_FromCurrent();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, ends_with_a_nest, nested_view);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(n_nested, 1);
    CHECK_INT_EQ(open_on(main_state->interp), 0);
    CHECK_UINT_EQ(n_states(main_state->interp), 1);
    PyInterpreterView_Close(nested_view);
    finish();
}

/* ---- Beside PyGILState (S-G8-31, 32)
 * ---------------------------------------------------- */

static void mixes(void *view) {
    /* A state that PyGILState made is not the release's to delete... */
    PyGILState_STATE gil = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_LOCKED);
    PyGILState_Release(PyGILState_LOCKED);
    PyThreadState_Release(token);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyGILState_Release(gil);
    CHECK_NULL(PyGILState_GetThisThreadState());
    /* ... and the other way round. */
    token = PyThreadState_EnsureFromView(view);
    mine = PyThreadState_Get();
    gil = PyGILState_Ensure();
    CHECK_INT_EQ(gil, PyGILState_LOCKED);
    PyGILState_Release(gil);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyEval_SaveThread();
    gil = PyGILState_Ensure();
    CHECK_INT_EQ(gil, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyGILState_Release(gil);
    PyEval_RestoreThread(mine);
    PyThreadState_Release(token);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("both families nest in each other, and neither ends the other's state") {
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, mixes, view);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_EQ(n_states(main_state->interp), 1);
    PyInterpreterView_Close(view);
    finish();
}

/* ---- Coming back to an interpreter that may never let us in (S-G8-34)
 * ------------------- */

static atomic_long waits_native;

struct two {
    PyInterpreterView *view;
    PyThreadState *foreign; /* of the other interpreter */
};

static void comes_back_to_a_busy_interpreter(void *arg) {
    struct two *two = arg;
    PyThreadState *mine = PyThreadState_New(two->foreign->interp);
    PyEval_RestoreThread(mine);
    PyThreadStateToken *token = PyThreadState_EnsureFromView(two->view);
    CHECK_NOT_NULL(token);
    PyTState_Sync_Point("user.inside");
    atomic_store(&waits_native, test_native_id());
    PyThreadState_Release(token);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    leave();
}

TEST("the guard is closed before a state of another interpreter is attached "
     "again") {
    PyThreadState *main_state = begin();
    struct two two = {PyInterpreterView_FromCurrent(), NULL};
    two.foreign = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_Swap(main_state);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, comes_back_to_a_busy_interpreter, &two);
    hold("user.inside");
    peers_start(&peers);
    /* It is attached to the main interpreter: we let go of that one, and take
     * the GIL of the one it comes from, for good. */
    PyThreadState_Swap(NULL);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("user.inside", LIMIT), 0);
    CHECK_INT_EQ(open_on(main_state->interp), 1);
    PyThreadState_Swap(two.foreign);
    let_go("user.inside");
    WAIT_UNTIL(open_on(main_state->interp) == 0, LIMIT_MS);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&waits_native)), LIMIT_MS);
    CHECK_INT_EQ(peers_running(&peers), 1);
    PyThreadState_Swap(main_state);
    join_peers(&peers);
    PyThreadState_Swap(two.foreign);
    Py_EndInterpreter(two.foreign);
    PyEval_RestoreThread(main_state);
    PyInterpreterView_Close(two.view);
    finish();
}

/* ---- A guard that is closed too early (S-G8-09)
 * --------------------------------------------- */

static struct latch attached_once = LATCH_INIT(1), gone = LATCH_INIT(1);
static atomic_int came_back;

static void closes_too_early(void *guard) {
    PyThreadStateToken *token = PyThreadState_Ensure(guard);
    PyInterpreterGuard_Close(guard);
    PyThreadState *mine = PyThreadState_Get();
    PyEval_SaveThread();
    latch_arrive(&attached_once);
    CHECK_INT_EQ(latch_wait(&gone, LIMIT_MS), 1);
    PyEval_RestoreThread(mine);
    atomic_store(&came_back, 1);
    PyThreadState_Release(token);
}

TEST("a thread that closes its guard early is a daemon: it attaches late") {
    begin();
    CHECK_INT_EQ(PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT), 0);
    PyThread_ident_t ident;
    PyThread_handle_t thread;
    CHECK_INT_EQ(PyThread_start_joinable_thread(
                     closes_too_early, PyInterpreterGuard_FromCurrent(), &ident,
                     &thread),
                 0);
    Py_BEGIN_ALLOW_THREADS
    CHECK_INT_EQ(latch_wait(&attached_once, LIMIT_MS), 1);
    Py_END_ALLOW_THREADS
    finish();
    latch_arrive(&gone);
    CHECK_INT_EQ(PyThread_join_thread(thread), 0);
    CHECK_INT_EQ(atomic_load(&came_back), 0);
}

/* ---- Misuse
 * ------------------------------------------------------------------------------------
 */

static void has_a_token(void *out) {
    enter(PyInterpreterState_Main());
    *(PyThreadStateToken **)out = (PyThreadStateToken *)PyThreadState_Get();
    PyEval_SaveThread();
    latch_arrive(&attached_once);
    CHECK_INT_EQ(latch_wait(&gone, LIMIT_MS), 1);
}

TEST("a release that no Ensure belongs to is fatal (S-G8-26, 30)") {
    static PyThreadStateToken *foreign;
    PyThreadState *main_state = begin();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyThreadStateToken *token = PyThreadState_Ensure(guard);
    EXPECT_FATAL("PyThreadState_Release", "called more times than") {
        PyThreadState_Release(token);
        PyThreadState_Release(token);
    }
    EXPECT_FATAL("PyThreadState_Release", "thread state is NULL") {
        PyEval_SaveThread();
        PyThreadState_Release(token);
    }
    EXPECT_FATAL("PyThreadState_Release", "'token' must not be NULL") {
        PyThreadState_Release(NULL);
    }
    EXPECT_FATAL("PyThreadState_Release", "does not belong") {
        PyThreadState *other = PyThreadState_New(main_state->interp);
        PyThreadState_Release((PyThreadStateToken *)other);
    }
    EXPECT_FATAL("PyThreadState_Release", "does not belong") {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, has_a_token, &foreign);
        peers_start(&peers);
        Py_BEGIN_ALLOW_THREADS
        CHECK_INT_EQ(latch_wait(&attached_once, LIMIT_MS), 1);
        Py_END_ALLOW_THREADS
        PyThreadState_Release(foreign);
    }
    PyThreadState_Release(token);
    PyInterpreterGuard_Close(guard);
    finish();
}

static void releases_the_wrong_one_first(void *guard) {
    i_die();
    PyThreadState_Ensure(guard);
    PyThreadStateToken *inner = PyThreadState_Ensure(guard);
    PyThreadState_Release(inner);
    PyThreadState_Release(inner);
}

TEST("releasing the inner token last is fatal: its state would be gone") {
    begin();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    EXPECT_FATAL("PyThreadState_Release", "does not belong") {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, releases_the_wrong_one_first, guard);
        peers_start(&peers);
        join_peers(&peers);
    }
    PyInterpreterGuard_Close(guard);
    finish();
}

TEST("NULL is no guard and no view") {
    EXPECT_FATAL("PyThreadState_Ensure", "'guard' must not be NULL") {
        PyThreadState_Ensure(NULL);
    }
    EXPECT_FATAL("PyThreadState_EnsureFromView", "'view' must not be NULL") {
        PyThreadState_EnsureFromView(NULL);
    }
}
