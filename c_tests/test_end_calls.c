/* Pending calls and unblock functions while an interpreter ends. */
#include "host.h"

static atomic_int n_called;

static int count_call(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_called, 1);
    return 0;
}

/* ---- Finalization from a pending call --------------------------------- */

static int finalize_and_exit(void *arg) {
    (void)arg;
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(atomic_load(&n_called), 2);
    exit(7);
}

TEST("a call that ends the runtime has the calls behind it run first") {
    begin();
    EXPECT_EXIT(7, "") {
        CHECK_INT_EQ(Py_AddPendingCall(finalize_and_exit, NULL), 0);
        CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
        CHECK_INT_EQ(_PyEval_AddPendingCall(PyInterpreterState_Get(),
                                            count_call, NULL, 0),
                     0);
        Py_MakePendingCalls();
        FAIL("the call returned");
    }
    finish();
}

static int only_finalize(void *arg) {
    (void)arg;
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    return 0;
}

static int finalize_and_begin(void *arg) {
    (void)arg;
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    Py_InitializeEx(0);
    return 0;
}

static int detach_and_return(void *arg) {
    (void)arg;
    PyEval_SaveThread();
    return 0;
}

static void poll_with(int (*call)(void *)) {
    begin();
    CHECK_INT_EQ(Py_AddPendingCall(call, NULL), 0);
    Py_MakePendingCalls();
}

#define NOT_ATTACHED                                                       \
    "a pending call returned without the thread state that it was called " \
    "with"

TEST("a call that returns after it ended the runtime is fatal, by name") {
    EXPECT_ABORT(NOT_ATTACHED) { poll_with(only_finalize); }
}

TEST("a call that returns in the next life of the runtime is fatal, by name") {
    EXPECT_ABORT(NOT_ATTACHED) { poll_with(finalize_and_begin); }
}

TEST("a call that returns detached is fatal, by name") {
    EXPECT_ABORT(NOT_ATTACHED) { poll_with(detach_and_return); }
}

/* ---- Calls of others -------------------------------------------------- */

static int wait_in_call(void *arg) {
    (void)arg;
    PyThreadState *state = PyEval_SaveThread();
    PyTState_Sync_Point("test.call");
    PyEval_RestoreThread(state);
    FAIL("attached after the end");
}

static void poll_elsewhere(void *interp) {
    PyThreadState *state = enter(interp);
    CHECK_INT_EQ(_PyEval_AddPendingCall(interp, wait_in_call, NULL, 0), 0);
    _PyEval_MakePendingCalls(state);
}

static void finalize_beside_call(int gil) {
    struct peers all = PEERS_INIT;
    PyThreadState *state = begin_mode(gil, NULL);
    hold("test.call");
    peers_add(&all, 1, poll_elsewhere, state->interp);
    peers_start(&all);
    wait_held("test.call");
    CHECK_INT_EQ(_PyEval_AddPendingCall(state->interp, count_call, NULL, 0), 0);
    finish();
    CHECK_INT_EQ(atomic_load(&n_called), 1);
    let_go("test.call"); /* late: it hangs */
}

TEST("an end runs the calls behind one that a detached thread is in") {
    finalize_beside_call(PyTState_GIL_SHARED);
}

TEST("an end without a GIL runs the calls behind one of a detached thread") {
    finalize_beside_call(PyTState_GIL_NONE);
}

static int wait_and_go_on(void *arg) {
    (void)arg;
    PyThreadState *state = PyEval_SaveThread();
    PyTState_Sync_Point("test.call");
    PyEval_RestoreThread(state);
    return 0;
}

static void poll_as_non_daemon(void *interp) {
    PyThreadState *state = enter(interp);
    set_daemon(state, 0);
    CHECK_INT_EQ(_PyEval_AddPendingCall(interp, wait_and_go_on, NULL, 0), 0);
    CHECK_INT_EQ(_PyEval_MakePendingCalls(state), 0);
    leave();
}

static void add_at_shutdown(void *state) {
    PyInterpreterState *interp = ((PyThreadState *)state)->interp;
    CHECK_INT_EQ(_PyEval_AddPendingCall(interp, count_call, NULL, 0), 0);
    _Py_FinishPendingCalls(state);
    CHECK_INT_EQ(atomic_load(&n_called), 1);
}

TEST("a pass goes on when another thread has finished its calls") {
    struct peers all = PEERS_INIT;
    PyThreadState *state = begin();
    hold("test.call");
    peers_add(&all, 1, poll_as_non_daemon, state->interp);
    peers_start(&all);
    wait_held("test.call");
    add_at_shutdown(state);
    let_go("test.call");
    join_peers(&all);
    finish();
    CHECK_INT_EQ(atomic_load(&n_called), 1); /* once, by one of the two */
}

/* ---- Calls for a main thread that does not finalize -------------------- */

static atomic_int initialized;
static PyEvent may_end;

static void initialize_only(void *stays) {
    Py_InitializeEx(0);
    PyEval_SaveThread();
    atomic_store(&initialized, 1);
    if (stays != NULL)
        PyEvent_WaitTimed(&may_end, LIMIT, 0);
}

static void finalize_with_call(void *stays) {
    struct peers all = PEERS_INIT;
    peers_add(&all, 1, initialize_only, stays);
    peers_start(&all);
    WAIT_UNTIL(atomic_load(&initialized), LIMIT_MS);
    if (stays == NULL)
        peers_join(&all, LIMIT_MS);
    PyGILState_Ensure();
    CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
    void *freed = malloc(1); /* with the call that is forgotten */
    CHECK_INT_EQ(_PyEval_AddPendingCall(
                     PyInterpreterState_Get(), count_call, freed,
                     _Py_PENDING_MAINTHREADONLY | _Py_PENDING_RAWFREE),
                 0);
    finish();
    CHECK_INT_EQ(atomic_load(&n_called), 0);
    begin(); /* this thread is the main one now, and owes no old calls */
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(atomic_load(&n_called), 0);
    finish();
    _PyEvent_Notify(&may_end);
    if (stays != NULL)
        peers_join(&all, LIMIT_MS);
}

TEST("a call for the main thread keeps no other thread's finalization") {
    finalize_with_call(&may_end);
}

TEST("a call for a main thread that has ended keeps no finalization") {
    finalize_with_call(NULL);
}

#define N_ADDERS 3
static atomic_int stopped;
static atomic_long n_added[N_ADDERS], n_torn;
static int argument;

static int check_argument(void *arg) {
    if (arg != &argument)
        atomic_fetch_add(&n_torn, 1);
    return 0;
}

static void add_calls(void *number) {
    atomic_long *mine = number;
    while (!atomic_load(&stopped)) {
        Py_AddPendingCall(check_argument, &argument);
        atomic_fetch_add(mine, 1);
    }
}

TEST("calls may be added while one life ends and the next begins",
     .limit_s = 60) {
    struct peers all = PEERS_INIT;
    begin();
    for (int i = 0; i < N_ADDERS; i++)
        peers_add(&all, 1, add_calls, &n_added[i]);
    peers_start(&all);
    for (int lives = 0; lives < 10000; lives++) {
        finish();
        begin();
    }
    for (int i = 0; i < N_ADDERS; i++) { /* each still makes progress */
        long before = atomic_load(&n_added[i]);
        WAIT_DETACHED(atomic_load(&n_added[i]) > before);
    }
    atomic_store(&stopped, 1);
    join_peers(&all);
    CHECK_INT_EQ(atomic_load(&n_torn), 0);
    finish();
}

/* ---- Names of interpreters -------------------------------------------- */

static void end_own(void *may_return) {
    Py_EndInterpreter(PyThreadState_Get());
    PyEvent_WaitTimed(may_return, LIMIT, 0);
}

TEST("an end waits for no thread of an interpreter that had its block before") {
    PyEvent may_return = {0};
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyInterpreterState *old = first->interp;
    hold("thread.bound");
    PyThreadHandle *handle = start_in(old, end_own, &may_return, 0);
    leave(); /* the interpreter has the new thread's state only */
    wait_held("thread.bound");
    let_go("thread.bound");
    WAIT_UNTIL(PyTState_ShutdownPhase(old) == PyTState_PHASE_GONE, LIMIT_MS);
    PyThreadState_Swap(main_state);
    PyThreadState *second = NULL;
    for (int i = 0; i < 100; i++) { /* until the block is in the pool */
        second = new_interp(PyInterpreterConfig_SHARED_GIL);
        if (second->interp == old)
            break;
    }
    CHECK_PTR_EQ(second->interp, old);
    PyTState_ThreadInfo late[4];
    size_t n_late = 9;
    CHECK_INT_EQ(PyTState_WaitForThreads(old, 0, late, 4, &n_late), 0);
    CHECK_UINT_EQ(n_late, 0);
    Py_EndInterpreter(second); /* the other thread still runs */
    _PyEvent_Notify(&may_return);
    PyThreadState_Swap(main_state);
    join_and_drop(handle);
    finish();
}

/* ---- Unblock functions ------------------------------------------------ */

#define N_BLOCKED 3
static atomic_int n_calls[N_BLOCKED], n_blocked;
static PyEvent unblocked;

static int all_were_called(void) {
    for (int i = 0; i < N_BLOCKED; i++)
        if (atomic_load(&n_calls[i]) == 0)
            return 0;
    return 1;
}

/* Takes longer than the time after which a function is called again, so that
 * one is always due. */
static void unblock_slowly(void *calls) {
    atomic_fetch_add((atomic_int *)calls, 1);
    for (int64_t end = test_now_ms() + 110; test_now_ms() < end;)
        test_nap();
}

static void unblock_and_interrupt(void *calls) {
    unblock_slowly(calls);
    if (all_were_called())
        raise(SIGINT);
}

static void (*unblock)(void *);

static void block(void *calls) {
    PyTState_BeginBlocking(unblock, calls);
    atomic_fetch_add(&n_blocked, 1);
    PyEvent_WaitTimed(&unblocked, LIMIT, 0);
    PyTState_EndBlocking();
}

static void start_blocked(void (*function)(void *)) {
    unblock = function;
    for (int i = 0; i < N_BLOCKED; i++)
        PyThreadHandle_Decref(start(block, &n_calls[i]));
    WAIT_DETACHED(atomic_load(&n_blocked) == N_BLOCKED);
}

static void read_reports(void *fd) {
    static char text[1 << 16];
    size_t n = 0;
    do {
        ssize_t got = read(*(int *)fd, text + n, sizeof text - 1 - n);
        CHECK_INT_GT(got, 0);
        n += (size_t)got;
    } while (strstr(text, "has waited") == NULL || !all_were_called());
    _PyEvent_Notify(&unblocked);
}

TEST("slow unblock functions keep no report back, and take turns") {
    struct peers reader = PEERS_INIT;
    int report[2];
    CHECK_INT_EQ(pipe(report), 0);
    begin();
    start_blocked(unblock_slowly);
    PyTState_SetShutdownReport(200 * MS, report[1]);
    peers_add(&reader, 1, read_reports, &report[0]);
    peers_start(&reader);
    finish();
    peers_join(&reader, LIMIT_MS);
}

TEST("slow unblock functions keep no Ctrl-C back, and take turns") {
    Py_InitializeEx(1);
    start_blocked(unblock_and_interrupt);
    finish(); /* does not wait for them any more */
    CHECK_INT_EQ(_PyEvent_IsSet(&unblocked), 0);
    _PyEvent_Notify(&unblocked);
}
