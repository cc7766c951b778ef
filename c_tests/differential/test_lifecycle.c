/* Beginning and end of the runtime (S-FZ, S-DT, S-AE-01). */
#include <Python.h>

#include "common.h"

/* ---- What the runtime says it is (S-FZ-06) ------------------------------ */

TEST("the runtime is initialized from initialization to finalization") {
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    Py_InitializeEx(0);
    CHECK_INT_NE(Py_IsInitialized(), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
}

TEST("the runtime is not finalizing before its end") {
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    begin();
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    finish();
}

TEST("initializing again while initialized does nothing") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    Py_InitializeEx(0);
    Py_Initialize();
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    CHECK_INT_EQ(count_states(interp), 1);
    CHECK_INT_EQ(count_interpreters(), 1);
    finish();
}

TEST("initialization attaches the first state of the main interpreter") {
    CHECK_NULL(PyThreadState_GetUnchecked());
    Py_InitializeEx(0);
    PyThreadState *first = PyThreadState_GetUnchecked();
    CHECK_NOT_NULL(first);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(first),
                 PyInterpreterState_Main());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    finish();
}

/* ---- Finalization (S-FZ-01, S-FZ-03) ------------------------------------ */

TEST("finalizing what was never initialized succeeds") {
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    Py_Finalize();
    CHECK_INT_EQ(Py_IsInitialized(), 0);
}

TEST("finalizing twice succeeds") {
    begin();
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
}

TEST("after finalization there is no interpreter and nothing is attached") {
    begin();
    finish();
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("finalization deletes the states that are left") {
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (int i = 0; i < 10; i++)
        PyThreadState_New(interp);
    finish();
    CHECK_NULL(PyThreadState_GetUnchecked());
    begin();
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

TEST("the runtime can be finalized with another of its states attached") {
    begin();
    PyThreadState_Swap(PyThreadState_New(PyInterpreterState_Get()));
    finish();
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyInterpreterState_Main());
}

/* Before 3.13 the attached state was used, whatever it was. */
TEST("the main thread can finalize while it is detached") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 finalization needs an attached state");
    begin();
    PyEval_SaveThread();
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_NULL(PyInterpreterState_Main());
}

TEST("the main thread can finalize while in a sub-interpreter") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 it is fatal to leave an interpreter");
    begin();
    Py_NewInterpreter();
    Py_FinalizeEx();
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_GetUnchecked());
}

/* ---- Py_AtExit (S-AE-01, S-FZ-03, S-FZ-06) ------------------------------ */

static int calls[8], used;

static void one(void) { calls[used++] = 1; }
static void two(void) { calls[used++] = 2; }
static void three(void) { calls[used++] = 3; }

TEST("functions registered for the end run once, newest first") {
    begin();
    CHECK_INT_EQ(Py_AtExit(one), 0);
    CHECK_INT_EQ(Py_AtExit(two), 0);
    CHECK_INT_EQ(Py_AtExit(three), 0);
    CHECK_INT_EQ(used, 0);
    finish();
    CHECK_INT_EQ(used, 3);
    CHECK_INT_EQ(calls[0], 3);
    CHECK_INT_EQ(calls[1], 2);
    CHECK_INT_EQ(calls[2], 1);
    finish();
    begin();
    finish();
    CHECK_INT_EQ(used, 3);
}

TEST("a function may be registered before initialization") {
    if (BEHAVIOUR >= V3_12 && BEHAVIOUR < V3_13)
        SKIP("in 3.12 it crashes");
    CHECK_INT_EQ(Py_AtExit(two), 0);
    begin();
    CHECK_INT_EQ(used, 0);
    finish();
    CHECK_INT_EQ(used, 1);
}

static struct {
    int calls, initialized, finalizing;
    PyInterpreterState *main, *head;
    PyThreadState *attached, *gilstate;
} at_end;

static void look_at_end(void) {
    at_end.calls++;
    at_end.initialized = Py_IsInitialized();
    at_end.finalizing = Py_IsFinalizing();
    at_end.main = PyInterpreterState_Main();
    at_end.head = PyInterpreterState_Head();
    at_end.attached = PyThreadState_GetUnchecked();
}

TEST("functions registered for the end run when the interpreter is gone") {
    begin();
    CHECK_INT_EQ(Py_AtExit(look_at_end), 0);
    finish();
    CHECK_INT_EQ(at_end.calls, 1);
    CHECK_INT_EQ(at_end.initialized, 0);
    CHECK_INT_NE(at_end.finalizing, 0);
    CHECK_NULL(at_end.main);
    CHECK_NULL(at_end.head);
    CHECK_NULL(at_end.attached);
}

static void fail_at_end(void) { Py_FatalError("at the end"); }

TEST("a fatal error at the end says that the runtime finalizes") {
    begin();
    EXPECT_ABORT("\nPython runtime state: finalizing (tstate=0x") {
        CHECK_INT_EQ(Py_AtExit(fail_at_end), 0);
        Py_FinalizeEx();
    }
}

static void finalize_again(void) { calls[used++] = Py_FinalizeEx(); }

TEST("finalizing from a function that runs at the end does nothing") {
    begin();
    CHECK_INT_EQ(Py_AtExit(finalize_again), 0);
    finish();
    CHECK_INT_EQ(used, 1);
    CHECK_INT_EQ(calls[0], 0);
}

static void print_at_end(void) { fputs("that was it\n", stderr); }

TEST("exiting runs the functions and ends the process with the status") {
    EXPECT_EXIT(3, "that was it\n") {
        begin();
        Py_AtExit(print_at_end);
        Py_Exit(3);
    }
    EXPECT_EXIT(0, "that was it\n") {
        begin();
        Py_AtExit(print_at_end);
        Py_Exit(0);
    }
}

TEST("exiting without a runtime ends the process with the status") {
    EXPECT_EXIT(5, "") { Py_Exit(5); }
}

/* ---- Again (S-FZ-09) ---------------------------------------------------- */

static void visit(void *ids) {
    PyGILState_STATE token = PyGILState_Ensure();
    *(uint64_t *)ids = PyThreadState_GetID(PyThreadState_Get());
    PyGILState_Release(token);
}

TEST("the runtime can be initialized and finalized several times") {
    for (int i = 0; i < 4; i++) {
        uint64_t id = 0;
        PyThreadState *first = begin();
        CHECK_INT_EQ(Py_IsFinalizing(), 0);
        CHECK_UINT_EQ(PyThreadState_GetID(first), 1);
        CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Get()), 0);
        CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
        on_new_thread(visit, &id);
        CHECK_UINT_EQ(id, 2);
        finish();
        CHECK_INT_EQ(Py_IsInitialized(), 0);
        CHECK_NULL(PyThreadState_GetUnchecked());
    }
}

struct lives {
    atomic_int life;
    atomic_int visits;
};

/* One OS thread that works in every life of the runtime. */
static void work_in_every_life(void *arg) {
    struct lives *lives = arg;
    for (int i = 1; i <= 3; i++) {
        WAIT_UNTIL(atomic_load(&lives->life) == i, 10000);
        CHECK_NULL(PyGILState_GetThisThreadState());
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_INT_EQ(token, PyGILState_UNLOCKED);
        PyGILState_Release(token);
        atomic_fetch_add(&lives->visits, 1);
    }
}

TEST("a thread that outlives the runtime can work in its next life") {
    struct lives lives = {0};
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, work_in_every_life, &lives);
    peers_start(&peers);
    for (int i = 1; i <= 3; i++) {
        begin();
        atomic_store(&lives.life, i);
        Py_BEGIN_ALLOW_THREADS
        WAIT_UNTIL(atomic_load(&lives.visits) == i, 10000);
        Py_END_ALLOW_THREADS
        finish();
    }
    peers_join(&peers, 5000);
}

/* ---- Another thread than main() (S-BD-09) ------------------------------- */

static void live_through_it(void *arg) {
    PyThreadState *first = begin();
    CHECK_UINT_EQ(first->thread_id, PyThread_get_thread_ident());
    PyEval_SaveThread();
    PyEval_RestoreThread(first);
    finish();
    *(int *)arg = 1;
}

TEST("the runtime can begin and end on a thread that is not main()'s") {
    for (int i = 0; i < 2; i++) {
        int done = 0;
        on_new_thread(live_through_it, &done);
        CHECK_INT_EQ(done, 1);
    }
    CHECK_INT_EQ(Py_IsInitialized(), 0);
}

static void finalize_attached(void *unused) {
    (void)unused;
    PyThreadState *state = PyThreadState_New(PyInterpreterState_Main());
    PyEval_RestoreThread(state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_NULL(PyThreadState_GetUnchecked());
}

/* S-FZ-02 */
TEST("a thread with a state of the main interpreter can finalize") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 it waits for ever");
    begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, finalize_attached, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_NULL(PyInterpreterState_Main());
}

/* ---- Threads that are left (S-DT-01 to S-DT-05, S-DT-08) ---------------- */

struct late {
    atomic_long native_id;
    atomic_int detached, go, working, returned;
};

static void attach_late(void *arg) {
    struct late *late = arg;
    PyGILState_Ensure();
    PyThreadState *state = PyEval_SaveThread();
    atomic_store(&late->detached, 1);
    while (!atomic_load(&late->go)) {
        /* Busy: if it sleeps later, it sleeps in the attach. */
    }
    atomic_store(&late->working, 1);
    atomic_store(&late->native_id, test_native_id());
    PyEval_RestoreThread(state);
    atomic_store(&late->returned, 1);
}

static int is_stuck(void *arg) {
    long thread = atomic_load(&((struct late *)arg)->native_id);
    return thread != 0 &&
           (!test_thread_exists(thread) || test_thread_sleeps(thread));
}

/* The thread ends (up to 3.13.7) or sleeps for ever. */
TEST("a thread that attaches after the end never returns from it") {
    struct late late = {0};
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 1, attach_late, &late);
    peers_start(&peers);
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&late.detached), 5000);
    Py_END_ALLOW_THREADS
    finish();
    atomic_store(&late.go, 1);
    CHECK(wait_until(is_stuck, &late, 5000));
    CHECK_INT_EQ(atomic_load(&late.working), 1);
    CHECK_INT_EQ(atomic_load(&late.returned), 0);
}

static void use_gil(void *arg) {
    struct late *late = arg;
    PyGILState_Ensure();
    PyThreadState *state = PyEval_SaveThread();
    atomic_store(&late->native_id, test_native_id());
    for (;;) {
        PyEval_RestoreThread(state);
        atomic_store(&late->working, 1);
        PyEval_SaveThread();
    }
}

TEST("threads that attach and detach all the time do not stop the end") {
    static struct late late[3];
    struct peers peers = PEERS_INIT;
    begin();
    for (int i = 0; i < 3; i++)
        peers_add(&peers, 1, use_gil, &late[i]);
    peers_start(&peers);
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < 3; i++)
        WAIT_UNTIL(atomic_load(&late[i].working), 5000);
    Py_END_ALLOW_THREADS
    finish();
    for (int i = 0; i < 3; i++)
        CHECK(wait_until(is_stuck, &late[i], 5000));
    CHECK_INT_EQ(peers_running(&peers), 3);
}

/* ---- A library's own use of a runtime that may be there ----------------- */

static void use_if_there(void *arg) {
    if (!Py_IsInitialized())
        return;
    PyGILState_STATE token = PyGILState_Ensure();
    ++*(int *)arg;
    PyGILState_Release(token);
}

TEST("a library can ask whether there is a runtime before it uses it") {
    int used_it = 0;
    on_new_thread(use_if_there, &used_it);
    CHECK_INT_EQ(used_it, 0);
    begin();
    on_new_thread(use_if_there, &used_it);
    CHECK_INT_EQ(used_it, 1);
    finish();
    on_new_thread(use_if_there, &used_it);
    CHECK_INT_EQ(used_it, 1);
}
