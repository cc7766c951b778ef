/* A thread that is late in one interpreter and is still wanted in another: what
 * it leaves there keeps no one waiting and points to nothing that is gone. */
#include "host.h"

static PyInterpreterState *sub;
static PyThreadState *main_state, *sub_state;
static PyThreadState *visitor; /* the visitor's own state */
static atomic_int n_deleted;

static void begin_late(int policy) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.late_attach = policy;
    config.compat = 0x030E0000; /* an end gives states up */
    main_state = begin_with(&config);
    sub_state = new_interp(PyInterpreterConfig_SHARED_GIL);
    sub = PyThreadState_GetInterpreter(sub_state);
    PyThreadState_Swap(main_state);
    hold("test.late");
}

static void count_deleted(void *data) {
    (void)data;
    atomic_fetch_add(&n_deleted, 1);
}

/* Attached to the sub-interpreter; is held, detached, while that ends. */
static void visit(void) {
    visitor = PyThreadState_Get();
    visitor->on_delete = count_deleted;
    PyThreadState_Swap(PyThreadState_New(sub));
    PyThreadState *there = PyEval_SaveThread();
    PyTState_Sync_Point("test.late");
    PyEval_RestoreThread(there);
    FAIL("attached to an interpreter that ended");
}

static void visit_and_be_late(void *arg) {
    (void)arg;
    visit();
}

static void end_sub(void) {
    PyThreadState_Swap(sub_state);
    Py_EndInterpreter(sub_state);
    PyThreadState_Swap(main_state);
}

/* A thread of the library's own, with `flags`, that is late in the
 * sub-interpreter and has been joined. */
static void lose_visitor(int flags) {
    PyThreadHandle *handle =
        start_in(PyInterpreterState_Get(), visit_and_be_late, NULL, flags);
    wait_held("test.late");
    end_sub();
    let_go("test.late");
    join(handle);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    PyThreadHandle_Decref(handle); /* the last reference: it is freed */
    CHECK_INT_EQ(atomic_load(&n_deleted), 0); /* its interpreter goes on */
    CHECK_INT_EQ(is_linked(main_state->interp, visitor), 1);
}

static void check_gone(void) {
    finish();
    CHECK_INT_EQ(atomic_load(&n_deleted), 1);
    begin();
    finish();
}

TEST("a daemon that hangs late elsewhere leaves a state without its handle") {
    begin_late(PyTState_LATE_HANG);
    lose_visitor(PyThreadHandle_DAEMON);
    check_gone();
}

TEST("a daemon that exits late elsewhere leaves a state without its handle") {
    begin_late(PyTState_LATE_EXIT);
    lose_visitor(PyThreadHandle_DAEMON);
    check_gone();
}

TEST("an end waits for no thread that hangs late elsewhere") {
    begin_late(PyTState_LATE_HANG);
    lose_visitor(0);
    CHECK_INT_EQ(
        PyTState_WaitForThreads(main_state->interp, LIMIT, NULL, 0, NULL), 0);
    check_gone();
}

TEST("an end waits for no thread that exited late elsewhere") {
    begin_late(PyTState_LATE_EXIT);
    lose_visitor(0);
    check_gone();
}

/* ---- Foreign threads -------------------------------------------------- */

static void foreign_non_daemon(void *arg) {
    set_daemon(enter(arg), 0);
    visit();
}

TEST("an end waits for no foreign non-daemon that hangs late elsewhere") {
    struct peers all = PEERS_INIT;
    begin_late(PyTState_LATE_HANG);
    peers_add(&all, 1, foreign_non_daemon, main_state->interp);
    peers_start(&all);
    wait_held("test.late");
    end_sub();
    let_go("test.late");
    check_gone(); /* waits for it until it is late */
}

static void visit_through_view(void *view) {
    CHECK_NOT_NULL(PyThreadState_EnsureFromView(view));
    visit();
}

static PyInterpreterGuard *used;

static void visit_through_guard(void *view) {
    used = PyInterpreterGuard_FromView(view);
    CHECK_NOT_NULL(used);
    CHECK_NOT_NULL(PyThreadState_Ensure(used));
    visit();
}

static void lose_guard(void (*body)(void *), int policy) {
    struct peers all = PEERS_INIT;
    begin_late(policy);
    PyInterpreterView *view = PyInterpreterView_FromMain();
    peers_add(&all, 1, body, view);
    peers_start(&all);
    wait_held("test.late");
    end_sub();
    let_go("test.late");
    check_gone(); /* waits for its guard until it is late */
    PyInterpreterView_Close(view);
    if (used != NULL)
        PyInterpreterGuard_Close(used); /* its memory is the opener's still */
}

TEST("a thread that hangs late elsewhere gives its view's guard back") {
    lose_guard(visit_through_view, PyTState_LATE_HANG);
}

TEST("a thread that exits late elsewhere gives its view's guard back") {
    lose_guard(visit_through_view, PyTState_LATE_EXIT);
}

TEST("a thread that hangs late elsewhere gives back a guard that it used") {
    lose_guard(visit_through_guard, PyTState_LATE_HANG);
}

TEST("a thread that exits late elsewhere gives back a guard that it used") {
    lose_guard(visit_through_guard, PyTState_LATE_EXIT);
}

static void hand_over_and_be_late(void *guard) {
    enter(main_state->interp);
    *(PyInterpreterGuard **)guard = PyInterpreterGuard_FromCurrent();
    visit();
}

static atomic_int finalized;

static void finalize_elsewhere(void *state) {
    (void)state;
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    atomic_store(&finalized, 1);
}

TEST("a guard that was handed to another thread outlives a late opener") {
    struct peers all = PEERS_INIT, finalizer = PEERS_INIT;
    PyInterpreterGuard *guard = NULL;
    begin_late(PyTState_LATE_HANG);
    peers_add(&all, 1, hand_over_and_be_late, &guard);
    peers_add(&finalizer, 1, finalize_elsewhere, NULL);
    PyInterpreterState *interp = main_state->interp;
    peers_start(&all);
    wait_held("test.late");
    end_sub();
    PyTState_Sync_Pause("late_attach.met");
    let_go("test.late");
    PyEval_SaveThread();
    wait_held("late_attach.met");
    let_go("late_attach.met");
    peers_start(&finalizer);
    WAIT_UNTIL(PyTState_ShutdownPhase(interp) == PyTState_PHASE_WAITING_GUARDS,
               LIMIT_MS);
    PyThreadStateToken *token = PyThreadState_Ensure(guard);
    CHECK_NOT_NULL(token);
    PyThreadState_Release(token);
    CHECK_INT_EQ(atomic_load(&finalized), 0);
    PyInterpreterGuard_Close(guard);
    peers_join(&finalizer, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&finalized), 1);
}

/* ---- Pending calls ---------------------------------------------------- */

static atomic_int n_called;

static int count_call(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_called, 1);
    return 0;
}

static int visit_in_call(void *arg) {
    (void)arg;
    visit();
    return 0;
}

static void poll_and_be_late(void *interp) {
    PyThreadState *state = enter(interp);
    CHECK_INT_EQ(_PyEval_AddPendingCall(interp, visit_in_call, NULL, 0), 0);
    _PyEval_MakePendingCalls(state);
}

TEST("pending calls run on when a thread in one of them hangs elsewhere") {
    struct peers all = PEERS_INIT;
    begin_late(PyTState_LATE_HANG);
    PyInterpreterState *interp = main_state->interp;
    peers_add(&all, 1, poll_and_be_late, interp);
    peers_start(&all);
    wait_held("test.late");
    end_sub();
    CHECK_INT_EQ(_PyEval_AddPendingCall(interp, count_call, NULL, 0), 0);
    let_go("test.late");
    HERE();
    for (int64_t end = test_now_ms() + LIMIT_MS; !atomic_load(&n_called);) {
        CHECK_INT_LT(test_now_ms(), end);
        poll_once();
        PyEval_RestoreThread(PyEval_SaveThread());
    }
    finish();
}
