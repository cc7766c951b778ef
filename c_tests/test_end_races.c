/* Ends, and what others do meanwhile: start threads, attach, fork, swap. */
#include "fork_host.h"

#include <stdlib.h>

/* ---- Threads that start while something ends -------------------------- */

static PyEvent go;
static int left_to_start;

static void work(void *arg) {
    (void)arg;
    CHECK_INT_EQ(PyEvent_WaitTimed(&go, LIMIT, 1), 1);
    count_run(NULL);
}

/* At the very last look before the end is committed. */
static void start_at_the_last_moment(const char *point, void *interp) {
    (void)point;
    if (left_to_start-- > 0) {
        go = (PyEvent){0};
        PyThreadHandle_Decref(start_in(interp, work, NULL, 0));
    }
}

/* Another round begins: now the thread may end. */
static void open_gate(const char *point, void *arg) {
    (void)point, (void)arg;
    _PyEvent_Notify(&go);
}

static void end_with_late_starts(const char *last_look, PyThreadState *first) {
    left_to_start = 3;
    PyTState_Sync_Hook(last_look, start_at_the_last_moment, first->interp);
    PyTState_Sync_Hook("wait_threads.begin", open_gate, NULL);
    if (first->interp == PyInterpreterState_Main())
        finish();
    else
        Py_EndInterpreter(first); /* would be "not the last thread" */
    PyTState_Sync_Clear();
}

TEST("a thread that starts at the last moment is waited for (bpo-36402)") {
    PyThreadState *main_state = begin();
    for (int gil = 1; gil <= 3; gil++) {
        end_with_late_starts("interp.end.check", new_interp(gil));
        PyEval_RestoreThread(main_state);
        CHECK_INT_EQ(atomic_load(&n_ran), 3 * gil);
    }
    end_with_late_starts("finalize.commit.before", main_state);
    CHECK_INT_EQ(atomic_load(&n_ran), 12);
    CHECK_INT_EQ(test_thread_count(), 1);
}

static atomic_int n_started;

static void start_until_refused(void *interp) {
    PyThreadHandle *handle;
    for (;;) {
        handle = PyThreadHandle_New();
        if (PyThreadHandle_Start(handle, interp, count_run, NULL, 0) != 0)
            break;
        atomic_fetch_add(&n_started, 1);
        /* An end waits as long as threads keep coming: there are gaps. */
        CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
        PyThreadHandle_Decref(handle);
        for (int nap = 0; nap < 20; nap++)
            test_nap();
    }
    CHECK_UINT_EQ(PyThreadHandle_Ident(handle), 0);
    PyThreadHandle_Decref(handle);
}

TEST("every thread that starts before the commit runs, none after (S-HD-04)") {
    for (int life = 0; life < 10; life++) {
        struct peers peers = PEERS_INIT;
        PyThreadState *main_state = begin();
        peers_add(&peers, 3, start_until_refused, main_state->interp);
        int before = atomic_load(&n_started);
        peers_start(&peers);
        WAIT_DETACHED(atomic_load(&n_started) > before + 5);
        finish();
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(atomic_load(&n_ran), atomic_load(&n_started));
        CHECK_INT_EQ(test_thread_count(), 1);
    }
}

TEST("... nor in a sub-interpreter that ends") {
    PyThreadState *main_state = begin();
    for (int round = 0; round < 12; round++) {
        struct peers peers = PEERS_INIT;
        PyThreadState *first = new_interp(1 + round % 3);
        peers_add(&peers, 3, start_until_refused, first->interp);
        int before = atomic_load(&n_started);
        peers_start(&peers);
        WAIT_DETACHED(atomic_load(&n_started) > before + 5);
        Py_EndInterpreter(first);
        peers_join(&peers, LIMIT_MS);
        PyEval_RestoreThread(main_state);
        CHECK_INT_EQ(atomic_load(&n_ran), atomic_load(&n_started));
        CHECK_INT_EQ(test_thread_count(), 1);
    }
    finish();
}

/* ---- Other work that comes at the last look ---------------------------- */

enum work { INTERP_CALL, CALLBACK, GUARD, /* of main alone: */ MAIN_CALL, SUB };

static struct last_work {
    enum work kind;
    PyInterpreterState *interp;
    PyInterpreterGuard *guard;
    int left;
} last_work;

static int count_call(void *arg) {
    count_run(arg);
    return 0;
}

static void leave_a_sub(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(PyUnstable_AtExit(first->interp, count_run, NULL), 0);
    PyThreadState_Swap(mine);
}

static void leave_work(const char *point, void *arg) {
    struct last_work *work = arg;
    (void)point;
    if (work->left-- <= 0)
        return;
    switch (work->kind) {
    case INTERP_CALL:
        CHECK_INT_EQ(_PyEval_AddPendingCall(work->interp, count_call, NULL, 0),
                     _Py_ADD_PENDING_SUCCESS);
        break;
    case CALLBACK:
        CHECK_INT_EQ(PyTState_AtShutdown(work->interp, count_run, NULL), 0);
        break;
    case GUARD:
        work->guard = PyInterpreterGuard_FromCurrent();
        CHECK_NOT_NULL(work->guard);
        break;
    case MAIN_CALL:
        CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
        break;
    case SUB:
        leave_a_sub();
        break;
    }
}

/* Another round: only now the guard is closed. */
static void close_guard(const char *point, void *arg) {
    struct last_work *work = arg;
    (void)point;
    if (work->guard != NULL) {
        PyInterpreterGuard_Close(work->guard);
        work->guard = NULL;
        count_run(NULL);
    }
}

static void end_with_late_work(const char *last_look, PyThreadState *first,
                               enum work kind) {
    last_work = (struct last_work){kind, first->interp, NULL, 3};
    atomic_store(&n_ran, 0);
    PyTState_Sync_Hook(last_look, leave_work, &last_work);
    PyTState_Sync_Hook("wait_threads.begin", close_guard, &last_work);
    if (first->interp == PyInterpreterState_Main())
        finish();
    else
        Py_EndInterpreter(first);
    PyTState_Sync_Clear();
    NOTE("work of kind %d", (int)kind);
    CHECK_INT_EQ(atomic_load(&n_ran), 3);
}

TEST("an end is committed only when no call, callback, guard or "
     "sub-interpreter is left, however late it came (S-FZ-12, 13)") {
    for (enum work kind = INTERP_CALL; kind <= SUB; kind++) {
        PyThreadState *main_state = begin();
        for (int gil = 1; gil <= 3 && kind <= GUARD; gil++) {
            end_with_late_work("interp.end.check", new_interp(gil), kind);
            PyEval_RestoreThread(main_state);
        }
        end_with_late_work("finalize.commit.before", main_state, kind);
    }
}

/* ---- Without a GIL ---------------------------------------------------- */

static void attach_for_ever(void *arg) {
    PyThreadState *mine = PyThreadState_Get();
    latch_arrive(arg);
    for (;;) {
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
    }
}

static void poll_for_ever(void *arg) {
    PyThreadState *mine = PyThreadState_Get();
    latch_arrive(arg);
    for (;;)
        CHECK_INT_EQ(_Py_HandlePending(mine), 0);
}

TEST("daemons that run without a GIL are stopped for the commit (S-STW-06)") {
    PyTState_Config config = {.gil = PyTState_GIL_NONE,
                              .late_attach = PyTState_LATE_EXIT};
    for (int life = 0; life < 10; life++) {
        struct latch running = LATCH_INIT(4);
        PyThreadHandle *all[4];
        PyThreadState *main_state = begin_with(&config);
        for (int i = 0; i < 4; i++)
            all[i] = start_in(main_state->interp,
                              i % 2 ? attach_for_ever : poll_for_ever, &running,
                              PyThreadHandle_DAEMON);
        CHECK_INT_EQ(latch_wait(&running, LIMIT_MS), 1);
        finish();
        for (int i = 0; i < 4; i++) {
            CHECK_INT_EQ(PyThreadHandle_Join(all[i], LIMIT), 0);
            PyThreadHandle_Decref(all[i]);
        }
        CHECK_INT_EQ(test_thread_count(), 1);
    }
}

/* ---- Two interpreters, two ways --------------------------------------- */

struct crossing {
    PyInterpreterState *one, *two;
};

static void cross(void *arg) {
    struct crossing *crossing = arg;
    int here = peer_index() % 2;
    PyThreadState *a = PyThreadState_New(here ? crossing->one : crossing->two);
    PyThreadState *b = PyThreadState_New(here ? crossing->two : crossing->one);
    PyEval_RestoreThread(a);
    for (int i = 0; i < 300; i++) {
        CHECK_PTR_EQ(PyThreadState_Swap(b), a);
        CHECK_PTR_EQ(PyInterpreterState_Get(), b->interp);
        CHECK_PTR_EQ(PyThreadState_Swap(a), b);
    }
    PyThreadState_Clear(a);
    PyThreadState_Swap(b);
    PyThreadState_Delete(a);
    leave();
}

TEST("threads swap between two GILs in opposite directions (S-NI-14)") {
    struct peers peers = PEERS_INIT;
    struct crossing crossing;
    PyThreadState *main_state = begin();
    crossing.one = main_state->interp;
    crossing.two = new_interp(PyInterpreterConfig_OWN_GIL)->interp;
    PyThreadState_Swap(main_state);
    peers_add(&peers, 4, cross, &crossing);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_EQ(n_states(NULL), 2);
    finish();
}

/* ---- Forks while something ends --------------------------------------- */

static void stay_detached(void *arg) {
    (void)arg;
    PyThreadState *mine = PyEval_SaveThread();
    PyTState_Sync_Point("test.in_callback");
    PyEval_RestoreThread(mine);
}

/* Who ends an interpreter, and what it waits for. */
struct ender {
    enum { CREATES, WAITS_FOR_THREADS, RUNS_CALLBACK, WAITS_FOR_GUARDS } step;
    PyInterpreterState *_Atomic interp;
    PyInterpreterGuard *guard;
};

static void end_an_interpreter(void *arg) {
    struct ender *ender = arg;
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    if (ender->step == WAITS_FOR_THREADS)
        PyThreadHandle_Decref(start(work, NULL));
    if (ender->step == RUNS_CALLBACK)
        PyTState_AtShutdown(first->interp, stay_detached, NULL);
    if (ender->step == WAITS_FOR_GUARDS)
        ender->guard = PyInterpreterGuard_FromCurrent();
    atomic_store(&ender->interp, first->interp);
    Py_EndInterpreter(first);
}

static void wait_for_ender(struct ender *ender) {
    if (ender->step == CREATES) {
        wait_held("interp.new");
        return;
    }
    if (ender->step == RUNS_CALLBACK) {
        wait_held("test.in_callback");
        return;
    }
    int phase = ender->step == WAITS_FOR_THREADS
                    ? PyTState_PHASE_WAITING_THREADS
                    : PyTState_PHASE_WAITING_GUARDS;
    WAIT_DETACHED(atomic_load(&ender->interp) != NULL &&
                  PyTState_ShutdownPhase(ender->interp) == phase);
}

TEST("a child is whole when another thread was ending an interpreter") {
    begin();
    for (int step = CREATES; step <= WAITS_FOR_GUARDS; step++) {
        struct peers peers = PEERS_INIT;
        struct ender ender = {.step = step};
        go = (PyEvent){0};
        if (step == CREATES)
            hold("interp.new");
        if (step == RUNS_CALLBACK)
            hold("test.in_callback");
        peers_add(&peers, 1, end_an_interpreter, &ender);
        peers_start(&peers);
        wait_for_ender(&ender);
        IN_CHILD { live_on(); }
        _PyEvent_Notify(&go);
        if (step == WAITS_FOR_GUARDS)
            PyInterpreterGuard_Close(ender.guard);
        PyTState_Sync_Clear();
        join_peers(&peers);
    }
    finish();
}

static void finalize_elsewhere(void *arg) {
    (void)arg;
    enter(PyInterpreterState_Main());
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a child is whole when another thread was finalizing") {
    for (int with_guard = 0; with_guard < 2; with_guard++) {
        struct peers peers = PEERS_INIT;
        PyInterpreterGuard *guard = NULL;
        PyThreadState *main_state = begin();
        if (with_guard)
            guard = PyInterpreterGuard_FromCurrent();
        else
            PyTState_AtShutdown(main_state->interp, stay_detached, NULL);
        hold("test.in_callback");
        peers_add(&peers, 1, finalize_elsewhere, NULL);
        PyEval_SaveThread();
        peers_start(&peers);
        if (with_guard)
            WAIT_UNTIL(PyTState_ShutdownPhase(main_state->interp) ==
                           PyTState_PHASE_WAITING_GUARDS,
                       LIMIT_MS);
        else
            wait_held("test.in_callback");
        PyEval_RestoreThread(main_state);
        IN_CHILD {
            if (with_guard) /* this thread took it, and is alive */
                PyInterpreterGuard_Close(guard);
            live_on();
        }
        if (with_guard)
            PyInterpreterGuard_Close(guard);
        let_go("test.in_callback");
        PyEval_SaveThread();
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(Py_IsInitialized(), 0);
    }
}

static pid_t child_of_callback;

static void fork_in_callback(void *arg) {
    (void)arg;
    child_of_callback = fork_here();
    if (child_of_callback == 0)
        count_run(NULL);
}

TEST("a callback of the end may fork; both sides go on to their end") {
    PyThreadState *main_state = begin();
    PyTState_AtShutdown(main_state->interp, fork_in_callback, NULL);
    finish();
    if (child_of_callback == 0) { /* the child finalized as well */
        CHECK_INT_EQ(atomic_load(&n_ran), 1);
        begin();
        finish();
        test_child_done(0);
    }
    CHECK_CHILD_EXIT(child_of_callback, 0);
    CHECK_INT_EQ(atomic_load(&n_ran), 0);
}

/* ---- A finalization that is held up, and the next life ----------------- */

static void finalize_too(void *result) { *(int *)result = Py_FinalizeEx(); }

static void initialize_again(void *arg) {
    (void)arg;
    Py_InitializeEx(0);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    CHECK_PTR_EQ(PyThreadState_Get()->interp, PyInterpreterState_Main());
    PyEval_SaveThread();
}

TEST("a finalization that is held up ends no life that is just beginning") {
    struct peers finalizer = PEERS_INIT, initializer = PEERS_INIT;
    int result = 9;
    PyThreadState *state = begin();
    peers_add(&finalizer, 1, finalize_too, &result);
    peers_add(&initializer, 1, initialize_again, NULL);
    PyEval_SaveThread();
    hold("finalize.begin");
    peers_start(&finalizer);
    wait_held("finalize.begin");
    PyEval_RestoreThread(state);
    finish();
    hold("tstate.created"); /* the next life's first state */
    peers_start(&initializer);
    wait_held("tstate.created");
    let_go("finalize.begin");
    peers_join(&finalizer, LIMIT_MS);
    CHECK_INT_EQ(result, 0); /* nothing was to be ended */
    let_go("tstate.created");
    peers_join(&initializer, LIMIT_MS);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    finish();
}
