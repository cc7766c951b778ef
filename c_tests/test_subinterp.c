/* Sub-interpreters: how they are made, which GIL they have, how they end. */
#include "host.h"

#include <stdlib.h>

/* ---- Making ----------------------------------------------------------- */

TEST("settings are checked in CPython's order, and nothing is made (S-NI-05)") {
    static const struct {
        PyInterpreterConfig config;
        const char *text;
    } bad[] = {
        {{0, 1, 1, 1, 1, 0, 2}, "check_multi_interp_extensions"},
        {{0, 1, 1, 1, 1, 0, 99}, "check_multi_interp_extensions"},
        {{1, 1, 1, 1, 1, 0, 4}, "'gil'"},
        {{1, 1, 1, 1, 1, 0, -1}, "'gil'"},
        {{0, 0, 0, 0, 0, 1, 77}, "'gil'"},
    };
    PyThreadState *main_state = begin();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        PyThreadState *made = main_state;
        PyStatus status = Py_NewInterpreterFromConfig(&made, &bad[i].config);
        CHECK_INT_EQ(PyStatus_IsError(status), 1);
        CHECK_STR_EQ(status.func, "Py_NewInterpreterFromConfig");
        CHECK_STR_CONTAINS(status.err_msg, bad[i].text);
        CHECK_NULL(made);
        CHECK_PTR_EQ(PyThreadState_Get(), main_state); /* S-NI-02 */
        CHECK_NULL(PyInterpreterState_Next(PyInterpreterState_Head()));
        CHECK_UINT_EQ(n_states(NULL), 1);
    }
    finish();
}

TEST("without a runtime the status says so (S-NI-01)") {
    PyInterpreterConfig config = _PyInterpreterConfig_LEGACY_INIT;
    PyThreadState *made = (PyThreadState *)(void *)&config;
    for (int life = 0; life < 2; life++) {
        PyStatus status = Py_NewInterpreterFromConfig(&made, &config);
        CHECK_STR_EQ(status.err_msg, "Py_Initialize must be called first");
        CHECK_NULL(made);
        begin();
        finish();
    }
}

static void make_detached(void *gil) {
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyThreadState *first = new_interp(*(int *)gil);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    CHECK_UINT_EQ(first->thread_id, (unsigned long)pthread_self());
    Py_EndInterpreter(first);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("a thread without a state makes and ends one of every kind (S-NI-02)") {
    begin();
    for (int gil = 0; gil <= 3; gil++) {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, make_detached, &gil);
        peers_start(&peers);
        join_peers(&peers);
    }
    finish();
}

TEST("the state that was attached before is left detached") {
    NEEDS_GIL();
    PyThreadState *main_state = begin();
    for (int gil = 0; gil <= 3; gil++) {
        PyThreadState *first = new_interp(gil);
        CHECK_INT_EQ(main_state->state, PyTState_DETACHED);
        CHECK_INT_EQ(main_state->holds_gil, 0);
        CHECK_INT_EQ(first->state, PyTState_ATTACHED);
        CHECK_INT_EQ(first->holds_gil, gil != PyTState_INTERP_NO_GIL);
        PyThreadState_Swap(main_state);
        CHECK_INT_EQ(first->state, PyTState_DETACHED);
    }
    finish();
}

/* ---- Who runs beside whom --------------------------------------------- */

struct meeting {
    PyInterpreterState *interp[4];
    int n;
    atomic_int here, met;
};

/* Returns only if all are attached at the same moment. */
static void meet_attached(void *arg) {
    struct meeting *meeting = arg;
    PyThreadState *mine = enter(meeting->interp[peer_index()]);
    atomic_fetch_add(&meeting->here, 1);
    WAIT_UNTIL(atomic_load(&meeting->here) == meeting->n, LIMIT_MS);
    CHECK_INT_EQ(mine->state, PyTState_ATTACHED);
    atomic_fetch_add(&meeting->met, 1);
    WAIT_UNTIL(atomic_load(&meeting->met) == meeting->n, LIMIT_MS);
    leave();
}

static void meet(struct meeting *meeting) {
    struct peers peers = PEERS_INIT;
    PyThreadState *mine = PyEval_SaveThread();
    peers_add(&peers, meeting->n, meet_attached, meeting);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(mine);
}

TEST("interpreters with GILs of their own run at the same time (S-NI-06)") {
    struct meeting meeting = {.n = 4};
    PyThreadState *main_state = begin();
    meeting.interp[0] = main_state->interp;
    for (int i = 1; i < 4; i++)
        meeting.interp[i] = new_interp(PyInterpreterConfig_OWN_GIL)->interp;
    PyThreadState_Swap(main_state);
    meet(&meeting);
    finish();
}

TEST("threads of one interpreter without a GIL run at the same time (5)") {
    struct meeting meeting = {.n = 4};
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = new_interp(PyTState_INTERP_NO_GIL)->interp;
    for (int i = 0; i < 4; i++)
        meeting.interp[i] = interp;
    PyThreadState_Swap(main_state);
    meet(&meeting);
    finish();
}

static void check_main_without_gil(void) {
    struct meeting meeting = {.n = 4};
    for (int i = 0; i < 4; i++)
        meeting.interp[i] = PyInterpreterState_Main();
    CHECK_INT_EQ(PyThreadState_Get()->holds_gil, 0);
    meet(&meeting);
    /* Who shares what the main interpreter has shares nothing. */
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(first->holds_gil, 0);
    PyThreadState_Swap(mine);
    finish();
}

TEST("the main interpreter runs without a GIL if the host says so (5)") {
    PyTState_Config config = {.gil = PyTState_GIL_NONE};
    begin_with(&config);
    check_main_without_gil();
}

TEST("PYTHON_GIL=0 does the same for a host that says nothing (5)") {
    setenv("PYTHON_GIL", "0", 1);
    begin();
    check_main_without_gil();
    setenv("PYTHON_GIL", "1", 1);
    begin();
    CHECK_INT_EQ(PyThreadState_Get()->holds_gil, 1);
    finish();
}

TEST("all three modes live in one process (5)") {
    struct meeting meeting = {.n = 4};
    PyThreadState *main_state = begin();
    meeting.interp[0] =
        new_interp(PyInterpreterConfig_SHARED_GIL)->interp; /* with main */
    meeting.interp[1] = new_interp(PyInterpreterConfig_OWN_GIL)->interp;
    meeting.interp[2] = meeting.interp[3] =
        new_interp(PyTState_INTERP_NO_GIL)->interp;
    PyThreadState_Swap(main_state);
    meet(&meeting);
    finish();
}

static atomic_int n_attached;

static void attach_once(void *interp) {
    enter(interp);
    atomic_fetch_add(&n_attached, 1);
    leave();
}

TEST("a thread in another interpreter has let go of the first GIL (S-NI-14)") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    new_interp(PyInterpreterConfig_OWN_GIL);
    peers_add(&peers, 1, attach_once, main_state->interp);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS); /* stays attached to the new one */
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(atomic_load(&n_attached), 1);
    finish();
}

/* ---- Ending ----------------------------------------------------------- */

static PyThreadState *begin_as(int compat) {
    PyTState_Config config = {.compat = compat};
    return begin_with(&config);
}

static void end_with_another_left(void) {
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *left = PyThreadState_New(first->interp);
    PyTState_SetName(left, "left-behind");
    Py_EndInterpreter(first);
}

TEST("up to 3.13 a state that is left is fatal, and is named (S-EI-03)") {
    const int compat[] = {0x030C0000, 0x030D0000};
    for (int i = 0; i < 2; i++)
        EXPECT_FATAL("Py_EndInterpreter",
                     "not the last thread: 'left-behind'") {
            begin_as(compat[i]);
            end_with_another_left();
        }
    EXPECT_FATAL("Py_EndInterpreter", "not the last thread") {
        setenv("PYTSTATE_COMPAT", "3.12", 1);
        begin();
        end_with_another_left();
    }
}

struct told {
    atomic_int calls;
    PyEvent *event;
};

static void tell(void *arg) {
    struct told *told = arg;
    CHECK_INT_EQ(_PyEvent_IsSet(told->event), 0);
    atomic_fetch_add(&told->calls, 1);
}

static void end_and_give_up(PyThreadState *main_state) {
    struct told told = {0};
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *left = PyThreadState_New(first->interp);
    told.event = PyTState_GetExitEvent(left);
    left->on_delete = tell;
    left->on_delete_data = &told;
    Py_EndInterpreter(first);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(atomic_load(&told.calls), 1);
    CHECK_INT_EQ(_PyEvent_IsSet(told.event), 1);
    PyTState_ReleaseExitEvent(told.event);
    PyEval_RestoreThread(main_state);
    CHECK_PTR_EQ(PyInterpreterState_Head(), main_state->interp);
    CHECK_INT_EQ(Py_IsFinalizing(), 0); /* S-EI-06 */
    finish();
}

TEST("from 3.14 on, states that are left are given up (S-EI-04, 05)") {
    end_and_give_up(begin_as(0x030E0000));
    end_and_give_up(begin_as(0x030F0000));
    setenv("PYTSTATE_COMPAT", "3.14", 1);
    end_and_give_up(begin());
    setenv("PYTSTATE_COMPAT", "3.15", 1);
    end_and_give_up(begin());
}

TEST("only the attached state's interpreter is ended, and never main") {
    EXPECT_FATAL("Py_EndInterpreter", "thread is not current") { /* S-EI-01 */
        PyThreadState *main_state = begin();
        PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
        PyThreadState_Swap(main_state);
        Py_EndInterpreter(first);
    }
    EXPECT_FATAL("Py_EndInterpreter", "thread is not current") {
        begin();
        PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
        PyEval_SaveThread();
        Py_EndInterpreter(first);
    }
    EXPECT_FATAL("Py_EndInterpreter", "the main interpreter ends with") {
        Py_EndInterpreter(begin());
    }
}

static atomic_int n_done;

static void work(void *go) {
    wait_for_event(go);
    atomic_fetch_add(&n_done, 1);
}

static void open_gate(void *go) {
    WAIT_UNTIL(PyTState_ShutdownPhase(PyInterpreterState_Head()) ==
                   PyTState_PHASE_WAITING_THREADS,
               LIMIT_MS);
    _PyEvent_Notify(go);
}

TEST("the end waits for the interpreter's threads (S-EI-02, bpo-18808)") {
    PyThreadState *main_state = begin();
    for (int gil = 1; gil <= 3; gil++) {
        static PyEvent go;
        struct peers peers = PEERS_INIT;
        go = (PyEvent){0};
        atomic_store(&n_done, 0);
        PyThreadState *first = new_interp(gil);
        for (int i = 0; i < 10; i++)
            PyThreadHandle_Decref(start(work, &go));
        peers_add(&peers, 1, open_gate, &go);
        peers_start(&peers);
        Py_EndInterpreter(first);
        CHECK_INT_EQ(atomic_load(&n_done), 10);
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(test_thread_count(), 1);
        PyEval_RestoreThread(main_state);
    }
    finish();
}

static int phases[16], n_phases;

static void note_phase(PyInterpreterState *interp, int phase, void *arg) {
    (void)interp, (void)arg;
    CHECK_INT_LT(n_phases, 16);
    phases[n_phases++] = phase;
}

static void note_exit(void *arg) {
    (void)arg;
    CHECK_NOT_NULL(PyThreadState_GetUnchecked());
    phases[n_phases++] = 100;
}

TEST("the phases of an end are told in order, callbacks where they run") {
    static const int wanted[] = {PyTState_PHASE_WAITING_THREADS,
                                 PyTState_PHASE_ATEXIT,
                                 PyTState_PHASE_WAITING_GUARDS,
                                 PyTState_PHASE_FINALIZING,
                                 100,
                                 PyTState_PHASE_GONE};
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(PyTState_ShutdownPhase(first->interp), PyTState_PHASE_RUNNING);
    CHECK_INT_EQ(PyUnstable_AtExit(first->interp, note_exit, NULL), 0);
    PyTState_SetShutdownPhaseHook(note_phase, NULL);
    PyInterpreterState *ended = first->interp;
    Py_EndInterpreter(first);
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    CHECK_INT_EQ(n_phases, 6);
    for (int i = 0; i < 6; i++)
        CHECK_INT_EQ(phases[i], wanted[i]);
    CHECK_INT_EQ(PyTState_ShutdownPhase(ended), PyTState_PHASE_GONE);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(PyTState_ShutdownPhase(main_state->interp),
                 PyTState_PHASE_RUNNING);
    finish();
}

TEST("another state than the first may end an interpreter, as the last one") {
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *other = PyThreadState_New(first->interp);
    PyThreadState_Swap(other);
    PyThreadState_Clear(first);
    PyThreadState_Delete(first);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
    EXPECT_FATAL("Py_EndInterpreter", "not the last thread") {
        begin_as(0x030D0000);
        first = new_interp(PyInterpreterConfig_OWN_GIL);
        other = PyThreadState_New(first->interp);
        PyThreadState_Swap(other);
        Py_EndInterpreter(other);
    }
}

static void end_from_here(void *interp) {
    PyThreadState *mine = enter(interp);
    PyThreadState *first = PyThreadState_Next(mine);
    PyThreadState_Clear(first);
    PyThreadState_Delete(first);
    Py_EndInterpreter(mine);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("another thread than its maker may end an interpreter") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = new_interp(2)->interp;
    PyThreadState_Swap(main_state);
    peers_add(&peers, 1, end_from_here, interp);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void one_life(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_done, 1);
}

TEST("three hundred interpreters come and go, each with a thread") {
    PyThreadState *main_state = begin();
    for (int i = 0; i < 300; i++) {
        PyThreadState *first = new_interp(1 + i % 3);
        PyThreadHandle_Decref(start(one_life, NULL));
        Py_EndInterpreter(first);
        PyEval_RestoreThread(main_state);
    }
    CHECK_INT_EQ(atomic_load(&n_done), 300);
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}
