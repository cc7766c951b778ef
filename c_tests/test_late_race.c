/* Late attach: foreign threads that race the end of the runtime. */
#include "host.h"

static atomic_int n_survived;

static void *ensure_until_late(void *arg) {
    (void)arg;
    for (;;) {
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_NOT_NULL(PyThreadState_GetUnchecked());
        PyGILState_Release(token);
    }
    return NULL;
}

static void *visit_until_refused(void *view) {
    PyThreadStateToken *token;
    while ((token = PyThreadState_EnsureFromView(view)) != NULL) {
        CHECK_NOT_NULL(PyThreadState_GetUnchecked());
        PyThreadState_Release(token);
    }
    atomic_fetch_add(&n_survived, 1);
    return NULL;
}

TEST("foreign threads race forty ends: late, or refused, and no one crashes") {
    for (int life = 1; life <= 40; life++) {
        pthread_t threads[6];
        PyThreadState *main_state = begin();
        PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
        PyInterpreterView *view = PyInterpreterView_FromCurrent();
        for (int i = 0; i < 6; i++)
            pthread_create(&threads[i], NULL,
                           i % 2 ? visit_until_refused : ensure_until_late,
                           view);
        for (int i = 0; i < 20; i++) {
            PyEval_SaveThread();
            PyEval_RestoreThread(main_state);
        }
        finish();
        for (int i = 0; i < 6; i++)
            pthread_join(threads[i], NULL);
        PyInterpreterView_Close(view);
        CHECK_INT_EQ(atomic_load(&n_survived), 3 * life);
    }
}

/* ---- In the middle of making a state ---------------------------------- */

static void *ensure_too_late(void *arg) {
    PyGILState_Ensure();
    atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

TEST("a state that is being made at the end is kept for its thread") {
    for (int round = 0; round < 10; round++) {
        atomic_int n_attached = 0;
        pthread_t thread;
        PyThreadState *main_state = begin();
        PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
        hold("tstate.created"); /* linked, but bound to nobody yet */
        pthread_create(&thread, NULL, ensure_too_late, &n_attached);
        wait_held("tstate.created");
        PyThreadState *theirs =
            PyInterpreterState_ThreadHead(main_state->interp);
        CHECK_PTR_NE(theirs, main_state);
        finish();
        main_state = begin();
        for (int i = 0; i < 50; i++)
            CHECK_PTR_NE(PyThreadState_New(main_state->interp), theirs);
        let_go("tstate.created");
        PyEval_SaveThread();
        pthread_join(thread, NULL);
        PyEval_RestoreThread(main_state);
        CHECK_INT_EQ(atomic_load(&n_attached), 0);
        CHECK_UINT_EQ(n_states(NULL), 51);
        finish();
    }
}

static void *make_too_late(void *interp) {
    CHECK_NULL(PyThreadState_New(interp));
    CHECK_NULL(_PyThreadState_Prealloc(interp));
    CHECK_NULL(PyThreadState_GetUnchecked());
    return NULL;
}

static int n_commits;

static void make_after_commit(PyInterpreterState *interp, int phase,
                              void *policy) {
    pthread_t thread;
    if (phase != PyTState_PHASE_FINALIZING)
        return;
    n_commits++;
    pthread_create(&thread, NULL, make_too_late, interp);
    pthread_join(thread, NULL);
    if (interp == PyInterpreterState_Main()) {
        pthread_create(&thread, NULL, ensure_too_late, policy);
        pthread_join(thread, NULL);
    }
    /* The finalizer itself may: its callbacks use the API. */
    PyThreadState *mine = PyThreadState_New(interp);
    CHECK_NOT_NULL(mine);
    PyThreadState_Clear(mine);
    PyThreadState_Delete(mine);
}

TEST("after the commit other threads get no state of that interpreter") {
    atomic_int n_attached = 0;
    PyThreadState *main_state = begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    PyTState_SetShutdownPhaseHook(make_after_commit, &n_attached);
    for (int gil = 1; gil <= 3; gil++) {
        Py_EndInterpreter(new_interp(gil));
        PyEval_RestoreThread(main_state);
    }
    finish();
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    CHECK_INT_EQ(n_commits, 4);
    CHECK_INT_EQ(atomic_load(&n_attached), 0);
}

/* ---- Interpreters that are being made at the end ------------------------ */

static atomic_int n_made, n_refused;
static const PyInterpreterConfig own_gil = {
    1, 1, 1, 1, 1, 0, PyInterpreterConfig_OWN_GIL};

static void *make_interp(void *unused) {
    (void)unused;
    PyThreadState *first = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&first, &own_gil);
    atomic_fetch_add(PyStatus_Exception(status) ? &n_refused : &n_made, 1);
    if (PyStatus_Exception(status)) {
        CHECK_NULL(first);
        CHECK_NULL(PyThreadState_GetUnchecked());
    }
    return NULL;
}

TEST(
    "an interpreter that is being made at the end is ended, and its maker told "
    "so, whatever has become of its memory") {
    for (int next_life = 0; next_life < 2; next_life++) {
        pthread_t thread;
        PyThreadState *mine[4], *main_state = begin();
        hold("interp.new"); /* linked, without a state yet */
        pthread_create(&thread, NULL, make_interp, NULL);
        wait_held("interp.new");
        finish();
        if (next_life) {
            main_state = begin();
            for (int i = 0; i < 4; i++)
                mine[i] = new_interp(PyInterpreterConfig_OWN_GIL);
            PyEval_SaveThread();
        }
        let_go("interp.new");
        pthread_join(thread, NULL);
        CHECK_INT_EQ(atomic_load(&n_made), 0);
        CHECK_INT_EQ(atomic_load(&n_refused), next_life + 1);
        if (!next_life)
            continue;
        for (int i = 0; i < 4; i++) {
            CHECK_UINT_EQ(n_states(mine[i]->interp), 1);
            PyEval_RestoreThread(mine[i]);
            Py_EndInterpreter(mine[i]);
        }
        PyEval_RestoreThread(main_state);
        finish();
    }
}

static atomic_int go_on;

static void *make_interp_attached(void *unused) {
    enter(PyInterpreterState_Main());
    atomic_store(&go_on, 1);
    while (atomic_load(&go_on) != 2)
        poll_once();
    make_interp(unused);
    FAIL("the maker attached again after the end");
}

TEST("no interpreter is made after the commit, and none takes the main one's "
     "place") {
    PyTState_Config config = {.gil = PyTState_GIL_NONE,
                              .late_attach = PyTState_LATE_EXIT};
    pthread_t thread;
    begin_with(&config);
    pthread_create(&thread, NULL, make_interp_attached, NULL);
    WAIT_UNTIL(atomic_load(&go_on) == 1, LIMIT_MS);
    hold("detach.done"); /* it has seen that there is a runtime */
    atomic_store(&go_on, 2);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("detach.done", LIMIT), 0);
    finish();
    let_go("detach.done");
    pthread_join(thread, NULL);
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyInterpreterState_Main());
    begin();
    CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Get()), 0);
    finish();
}

static PyEvent leave_old, leave_new;

static void wait_in(void *event) {
    CHECK_INT_EQ(PyEvent_WaitTimed(event, LIMIT, 1), 1);
}

static void wait_for_interp(void *interp) {
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, LIMIT / 2, NULL, 0, NULL), 0);
}

TEST("a wait for the threads of an interpreter that ends is over, whatever "
     "interpreter has its memory then") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyThreadState *old = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterState *interp = old->interp;
    PyThreadHandle *handle = start(wait_in, &leave_old);
    PyThreadState_Swap(main_state);
    peers_add(&peers, 1, wait_for_interp, interp);
    hold("join.begin"); /* it looked once, and waits for the thread */
    PyEval_SaveThread();
    peers_start(&peers);
    wait_held("join.begin");
    hold("wait_threads.scan");
    let_go("join.begin");
    _PyEvent_Notify(&leave_old);
    wait_held("wait_threads.scan"); /* the thread has gone: it looks again */
    PyEval_RestoreThread(old);
    Py_EndInterpreter(old);
    PyEval_RestoreThread(main_state);
    PyThreadState *fresh = new_interp(PyInterpreterConfig_OWN_GIL);
    if (fresh->interp != interp)
        SKIP("the memory was not used again");
    PyThreadHandle *stays = start(wait_in, &leave_new);
    PyEval_SaveThread();
    let_go("wait_threads.scan");
    peers_join(&peers, LIMIT_MS); /* not for the new thread */
    CHECK_INT_EQ(PyThreadHandle_IsDone(stays), 0);
    _PyEvent_Notify(&leave_new);
    PyEval_RestoreThread(fresh);
    Py_EndInterpreter(fresh);
    PyEval_RestoreThread(main_state);
    PyThreadHandle_Decref(handle);
    PyThreadHandle_Decref(stays);
    finish();
}

static atomic_int n_ended;

static void *make_and_end(void *gil) {
    PyInterpreterConfig config = {1, 1, 1, 1, 1, 0, *(const int *)gil};
    PyThreadState *first = NULL;
    while (!PyStatus_Exception(Py_NewInterpreterFromConfig(&first, &config))) {
        Py_EndInterpreter(first);
        atomic_fetch_add(&n_ended, 1);
    }
    CHECK_NULL(PyThreadState_GetUnchecked());
    return NULL;
}

TEST("threads make and end interpreters while the runtime ends, forty times",
     .limit_s = 60) {
    static const int gils[] = {1, 2, 3, 2};
    for (int life = 0; life < 40; life++) {
        pthread_t threads[4];
        PyThreadState *main_state = begin();
        PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
        atomic_store(&n_ended, 0);
        PyEval_SaveThread();
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, make_and_end, (void *)&gils[i]);
        WAIT_UNTIL(atomic_load(&n_ended) > 20, LIMIT_MS);
        PyEval_RestoreThread(main_state);
        finish();
        for (int i = 0; i < 4; i++) /* refused, or late */
            pthread_join(threads[i], NULL);
        CHECK_NULL(PyInterpreterState_Head());
    }
}

/* ---- A waiter that resigns --------------------------------------------- */

/* Threads that share the main GIL are late, by the hundred, in the middle of
 * their wait for it: each passes its turn on to a thread that waits on. */
static atomic_int n_holders, n_ready, visitors_done;

static void hold_alone(void) {
    CHECK_INT_EQ(atomic_fetch_add(&n_holders, 1), 0);
    for (volatile int i = 0; i < 50; i++)
        ;
    atomic_fetch_sub(&n_holders, 1);
}

static void *visit_main(void *arg) {
    PyThreadState *mine = enter(arg);
    while (!atomic_load(&visitors_done)) {
        hold_alone();
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
    }
    leave();
    return NULL;
}

static void *visit_until_late(void *arg) {
    PyThreadState *mine = PyThreadState_New(arg);
    CHECK_NOT_NULL(mine);
    atomic_fetch_add(&n_ready, 1);
    PyEval_RestoreThread(mine);
    for (;;) {
        hold_alone();
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
    }
    return NULL;
}

TEST("a late waiter that resigns leaves the GIL to its one holder",
     .limit_s = 60) {
    NEEDS_GIL();
    enum { LATE = 4, VISITORS = 3, ENDS = 150 };
    pthread_t late[LATE], visitors[VISITORS];
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.compat = 0x030E0000; /* an end gives up states that are left */
    config.late_attach = PyTState_LATE_EXIT;
    PyThreadState *main_state = begin_with(&config);
    for (int i = 0; i < VISITORS; i++)
        pthread_create(&visitors[i], NULL, visit_main, main_state->interp);
    for (int end = 0; end < ENDS; end++) {
        PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
        atomic_store(&n_ready, 0);
        for (int i = 0; i < LATE; i++)
            pthread_create(&late[i], NULL, visit_until_late, first->interp);
        PyEval_SaveThread();
        WAIT_UNTIL(atomic_load(&n_ready) == LATE, LIMIT_MS);
        PyEval_RestoreThread(first);
        hold_alone();
        Py_EndInterpreter(first);
        for (int i = 0; i < LATE; i++)
            pthread_join(late[i], NULL);
        PyThreadState_Swap(main_state);
        hold_alone();
    }
    atomic_store(&visitors_done, 1);
    PyEval_SaveThread();
    for (int i = 0; i < VISITORS; i++)
        pthread_join(visitors[i], NULL);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- A life that begins while another one ends -------------------------- */

static pthread_t beginner;
static atomic_long beginner_native;

static void *begin_and_finish(void *old_main) {
    atomic_store(&beginner_native, test_native_id());
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyInterpreterState_GetID(mine->interp), 0);
    CHECK_PTR_EQ(PyInterpreterState_Main(), mine->interp);
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_NULL(PyInterpreterState_Next(PyInterpreterState_Head()));
    finish();
    atomic_fetch_add((atomic_int *)old_main, 1);
    return NULL;
}

static void begin_elsewhere(PyInterpreterState *interp, int phase,
                            void *begun) {
    (void)interp;
    if (phase != PyTState_PHASE_FINALIZING || atomic_load(&beginner_native))
        return;
    pthread_create(&beginner, NULL, begin_and_finish, begun);
    WAIT_UNTIL(atomic_load(&beginner_native), LIMIT_MS);
    WAIT_UNTIL(test_thread_sleeps(beginner_native), LIMIT_MS);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_INT_EQ(atomic_load((atomic_int *)begun), 0);
}

static void begin_here(void *refused) {
    PyTState_Config config = {0};
    config.size = sizeof config;
    PyStatus status = PyTState_Initialize(&config);
    CHECK_INT_EQ(PyStatus_IsError(status), 1);
    CHECK_STR_CONTAINS(status.err_msg, "finalizing");
    ++*(int *)refused;
}

TEST(
    "an initialization waits for the end of another thread's finalization, and "
    "is refused within one's own") {
    atomic_int begun = 0;
    int refused = 0;
    begin();
    PyTState_SetShutdownPhaseHook(begin_elsewhere, &begun);
    CHECK_INT_EQ(
        PyUnstable_AtExit(PyInterpreterState_Get(), begin_here, &refused), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0); /* the next life may be there by now */
    CHECK_INT_EQ(refused, 1);
    pthread_join(beginner, NULL);
    CHECK_INT_EQ(atomic_load(&begun), 1);
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    begin();
    finish();
}
