/* PyTState_KeepThreadState: a foreign thread's state that lives on. */
#include "host.h"

#include <unistd.h>

static atomic_int deleted, deleted_attached;
static atomic_long deleted_on;

static void note_deleted(void *state) {
    atomic_fetch_add(&deleted, 1);
    if (PyThreadState_GetUnchecked() == state)
        atomic_fetch_add(&deleted_attached, 1);
    atomic_store(&deleted_on, test_native_id());
}

/* Runs body(arg) in a foreign thread while nothing is attached here. */
static void in_foreign_thread(void (*body)(void *), void *arg) {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, body, arg);
    peers_start(&peers);
    join_peers(&peers);
}

static PyThreadState *come_and_go(void) {
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_UNLOCKED);
    PyThreadState *mine = PyThreadState_Get();
    mine->on_delete = note_deleted;
    mine->on_delete_data = mine;
    PyGILState_Release(token);
    CHECK_NULL(PyThreadState_GetUnchecked());
    return mine;
}

/* ---- Off, as in CPython ----------------------------------------------------
 */

static void twice_without(void *unused) {
    (void)unused;
    come_and_go();
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_INT_EQ(deleted, 1);
    come_and_go();
    CHECK_INT_EQ(deleted, 2);
}

TEST("unless a thread asks, each release deletes what ensure made") {
    begin();
    in_foreign_thread(twice_without, NULL);
    CHECK_INT_EQ(deleted, 2);
    finish();
}

/* ---- On
 * ----------------------------------------------------------------------- */

static atomic_long kept_native;

static void three_times(void *unused) {
    (void)unused;
    atomic_store(&kept_native, test_native_id());
    CHECK_INT_EQ(PyTState_KeepThreadState(1), 0);
    CHECK_INT_EQ(PyTState_KeepThreadState(1), 1);
    PyThreadState *first = come_and_go();
    uint64_t id = PyThreadState_GetID(first);
    for (int i = 0; i < 2; i++) {
        CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
        CHECK_INT_EQ(first->gilstate_counter, 0);
        CHECK_PTR_EQ(come_and_go(), first);
        CHECK_UINT_EQ(PyThreadState_GetID(first), id);
    }
    /* Nested ones are none of its business. */
    PyGILState_STATE outer = PyGILState_Ensure();
    PyGILState_STATE inner = PyGILState_Ensure();
    CHECK_INT_EQ(inner, PyGILState_LOCKED);
    PyGILState_Release(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyGILState_Release(outer);
    CHECK_INT_EQ(deleted, 0);
}

TEST("a kept state serves all calls and goes with its thread") {
    begin();
    in_foreign_thread(three_times, NULL);
    CHECK_INT_EQ(deleted, 1);
    CHECK_INT_EQ(deleted_attached, 1);
    CHECK_INT_EQ(deleted_on, kept_native);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void keep_what_is_there(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(PyTState_KeepThreadState(1), 0); /* in the middle */
    PyThreadState *mine = PyThreadState_Get();
    mine->on_delete = note_deleted;
    PyGILState_Release(token);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);
    CHECK_INT_EQ(PyTState_KeepThreadState(0), 1); /* detached: it goes */
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_INT_EQ(deleted, 1);

    CHECK_INT_EQ(PyTState_KeepThreadState(1), 0);
    mine = come_and_go();
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Main());
    PyEval_RestoreThread(other);
    /* Another state is this thread's gilstate now: the kept one is found no
     * more, and finalization takes it. */
    CHECK_INT_EQ(PyTState_KeepThreadState(0), 1);
    CHECK_PTR_EQ(PyThreadState_Get(), other);
    PyThreadState_Clear(mine);
    PyEval_SaveThread();
    PyThreadState_Delete(mine);
    PyEval_RestoreThread(other);
    leave();
    CHECK_INT_EQ(deleted, 2);
}

TEST("keeping begins and ends at any time") {
    begin();
    in_foreign_thread(keep_what_is_there, NULL);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void switch_off_attached(void *unused) {
    (void)unused;
    PyTState_KeepThreadState(1);
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    mine->on_delete = note_deleted;
    CHECK_INT_EQ(PyTState_KeepThreadState(0), 1);
    CHECK_PTR_EQ(PyThreadState_Get(), mine); /* in use: it stays */
    CHECK_INT_EQ(deleted, 0);
    PyGILState_Release(token); /* and goes as ever */
    CHECK_INT_EQ(deleted, 1);
}

TEST("a state that is in use survives switching off until its release") {
    begin();
    in_foreign_thread(switch_off_attached, NULL);
    finish();
}

/* ---- PyThreadState_Ensure
 * ---------------------------------------------------- */

static void ensure_with_guards(void *raw) {
    PyInterpreterView *view = raw;
    PyTState_KeepThreadState(1);
    PyThreadState *first = NULL;
    for (int i = 0; i < 3; i++) {
        PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
        CHECK_NOT_NULL(token);
        PyThreadState *now = PyThreadState_Get();
        now->on_delete = note_deleted;
        CHECK_PTR_EQ(now, first ? first : now);
        first = now;
        PyThreadState_Release(token);
        CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    }
    /* Both ways share it. */
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyGILState_Release(token);
    CHECK_INT_EQ(deleted, 0);
}

static void nest_in_ensured(void *raw) {
    PyInterpreterView *view = raw;
    PyTState_KeepThreadState(1);
    PyThreadState *mine = come_and_go(); /* kept, counter 0 */
    PyThreadStateToken *outer = PyThreadState_EnsureFromView(view);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyGILState_STATE inner = PyGILState_Ensure();
    CHECK_INT_EQ(inner, PyGILState_LOCKED);
    PyGILState_Release(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), mine); /* still attached */
    PyEval_SaveThread();
    inner = PyGILState_Ensure();
    CHECK_INT_EQ(inner, PyGILState_UNLOCKED);
    PyGILState_Release(inner);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(mine);
    PyThreadState_Release(outer);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(deleted, 0);

    /* Attached by hand, it is not detached by a nested pair either. */
    PyEval_RestoreThread(mine);
    inner = PyGILState_Ensure();
    PyGILState_Release(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyEval_SaveThread();
}

TEST("a nested pair leaves a kept state attached that an outer call attached") {
    begin();
    PyInterpreterView *view = PyInterpreterView_FromMain();
    in_foreign_thread(nest_in_ensured, view);
    CHECK_INT_EQ(deleted, 1);
    PyInterpreterView_Close(view);
    finish();
}

static void switch_off_in_ensured(void *raw) {
    PyInterpreterView *view = raw;
    PyTState_KeepThreadState(1);
    PyThreadState *mine = come_and_go();
    PyThreadStateToken *outer = PyThreadState_EnsureFromView(view);
    CHECK_INT_EQ(PyTState_KeepThreadState(0), 1);
    PyGILState_STATE inner = PyGILState_Ensure();
    PyGILState_Release(inner);
    CHECK_PTR_EQ(PyThreadState_Get(), mine); /* in use: it stays */
    CHECK_INT_EQ(deleted, 0);
    PyThreadState_Release(outer);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(deleted, 1);
    CHECK_NULL(PyGILState_GetThisThreadState());

    /* The same the other way round: made by PyThreadState_Ensure. */
    PyTState_KeepThreadState(1);
    outer = PyThreadState_EnsureFromView(view);
    mine = PyThreadState_Get();
    mine->on_delete = note_deleted;
    PyThreadState_Release(outer);
    inner = PyGILState_Ensure();
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    CHECK_INT_EQ(PyTState_KeepThreadState(0), 1);
    PyGILState_Release(inner);
    CHECK_INT_EQ(deleted, 2);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("a kept state goes with the outermost release after it is switched off") {
    begin();
    PyInterpreterView *view = PyInterpreterView_FromMain();
    in_foreign_thread(switch_off_in_ensured, view);
    CHECK_INT_EQ(deleted, 2);
    CHECK_UINT_EQ(n_states(NULL), 1);
    PyInterpreterView_Close(view);
    finish();
}

TEST("PyThreadState_Ensure of the main interpreter keeps, too") {
    begin();
    PyInterpreterView *view = PyInterpreterView_FromMain();
    in_foreign_thread(ensure_with_guards, view);
    CHECK_INT_EQ(deleted, 1);
    PyInterpreterView_Close(view);
    finish();
}

static void ensure_elsewhere(void *view) {
    PyTState_KeepThreadState(1);
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    CHECK_NOT_NULL(token);
    PyThreadState_Get()->on_delete = note_deleted;
    PyThreadState_Release(token);
    CHECK_INT_EQ(deleted, 1);
}

TEST("... but not of another interpreter, which can be ended") {
    PyThreadState *mine = begin();
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    in_foreign_thread(ensure_elsewhere, view);
    PyInterpreterView_Close(view);
    Py_EndInterpreter(sub);
    PyEval_RestoreThread(mine);
    finish();
}

/* ---- Finalization
 * -------------------------------------------------------------- */

static struct latch kept = LATCH_INIT(1), gone = LATCH_INIT(1);

static void outlive_the_runtime(void *unused) {
    (void)unused;
    PyTState_KeepThreadState(1);
    come_and_go();
    latch_arrive(&kept);
    CHECK(latch_wait(&gone, LIMIT_MS));
    CHECK_NULL(PyGILState_GetThisThreadState());
    /* A new life of the runtime: a new state, kept again. */
    PyThreadState *mine = come_and_go();
    CHECK_PTR_EQ(come_and_go(), mine);
}

TEST("finalization takes the kept state of a thread that lives on") {
    begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, outlive_the_runtime, NULL);
    peers_start(&peers);
    WAIT_DETACHED(latch_wait(&kept, 0));
    finish();
    CHECK_INT_EQ(deleted, 1);
    begin();
    latch_arrive(&gone);
    join_peers(&peers);
    CHECK_INT_EQ(deleted, 2);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static atomic_int ready;

static void keep_and_end(void *unused) {
    (void)unused;
    PyTState_KeepThreadState(1);
    come_and_go();
    atomic_fetch_add(&ready, 1);
    while (!latch_wait(&gone, 0))
        ;
}

TEST("threads that end while the runtime does end both", .limit_s = 120) {
    enum { ROUNDS = 25, THREADS = 8 };
    for (int round = 0; round < ROUNDS; round++) {
        struct peers peers = PEERS_INIT;
        begin();
        atomic_store(&ready, 0);
        atomic_store(&deleted, 0);
        atomic_store(&gone.left, 1);
        peers_add(&peers, THREADS, keep_and_end, NULL);
        peers_start(&peers);
        WAIT_DETACHED(atomic_load(&ready) == THREADS);
        latch_arrive(&gone);
        finish();
        /* None hangs in its last steps. */
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(atomic_load(&deleted), THREADS);
    }
}

/* ---- Fork
 * ------------------------------------------------------------------------ */

TEST("a fork child has no kept states of its parent's threads") {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, outlive_the_runtime, NULL);
    peers_start(&peers);
    WAIT_DETACHED(latch_wait(&kept, 0));
    CHECK_UINT_EQ(n_states(NULL), 2);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK_UINT_EQ(n_states(NULL), 1);
        CHECK_INT_EQ(deleted, 0);
        test_child_done(Py_FinalizeEx());
    }
    PyOS_AfterFork_Parent();
    CHECK_INT_GT(child, 0);
    CHECK_CHILD_EXIT(child, 0);
    PyEval_SaveThread();
    PyEval_RestoreThread(mine);
    finish();
    begin();
    latch_arrive(&gone);
    join_peers(&peers);
    finish();
}
