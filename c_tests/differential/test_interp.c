/* Interpreters: lists and ids, creation, GILs, end (S-IN, S-NI, S-EI). */
#include <Python.h>

#include "common.h"

/* ---- The main interpreter (S-IN-01, S-IN-02, S-IN-04, S-IN-12) ---------- */

TEST("there is a main interpreter between initialization and finalization") {
    CHECK_NULL(PyInterpreterState_Main());
    begin();
    CHECK_NOT_NULL(PyInterpreterState_Main());
    finish();
    CHECK_NULL(PyInterpreterState_Main());
}

TEST("the main interpreter is the first, the only and the current one") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    CHECK_PTR_EQ(interp, PyInterpreterState_Main());
    CHECK_PTR_EQ(interp, PyInterpreterState_Head());
    CHECK_NULL(PyInterpreterState_Next(interp));
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), first);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(first), interp);
    finish();
}

TEST("the id of the main interpreter is 0") {
    begin();
    CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Main()), 0);
    finish();
}

TEST("an interpreter tells its id also to a thread that is detached") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyEval_SaveThread();
    CHECK_INT_EQ(PyInterpreterState_GetID(interp), 0);
    CHECK_PTR_EQ(PyInterpreterState_Main(), interp);
    CHECK_PTR_EQ(PyInterpreterState_Head(), interp);
    PyEval_RestoreThread(first);
    finish();
}

TEST("the id of no interpreter is -1, with RuntimeError") {
    begin();
    CHECK_INT_EQ(PyInterpreterState_GetID(NULL), -1);
    CHECK_NOT_NULL(PyErr_Occurred());
    CHECK(PyErr_ExceptionMatches(PyExc_RuntimeError));
    PyErr_Clear();
    finish();
}

/* ---- Sub-interpreters in the list (S-IN-01, S-IN-12) -------------------- */

TEST("a new interpreter has the next id and is the head of the list") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    PyInterpreterState *interp = PyInterpreterState_Get();
    CHECK_INT_EQ(PyInterpreterState_GetID(interp), 1);
    CHECK_PTR_EQ(PyInterpreterState_Head(), interp);
    CHECK_PTR_EQ(PyInterpreterState_Next(interp), PyInterpreterState_Main());
    CHECK_PTR_NE(PyInterpreterState_Main(), interp);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), sub);
    CHECK_INT_EQ(count_states(interp), 1);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("interpreters are listed newest first and end in any order") {
    PyThreadState *first = begin();
    PyThreadState *sub[3];
    PyInterpreterState *interp[3];
    for (int i = 0; i < 3; i++) {
        sub[i] = Py_NewInterpreter();
        interp[i] = PyInterpreterState_Get();
        CHECK_INT_EQ(PyInterpreterState_GetID(interp[i]), i + 1);
    }
    CHECK_PTR_EQ(PyInterpreterState_Head(), interp[2]);
    CHECK_PTR_EQ(PyInterpreterState_Next(interp[2]), interp[1]);
    CHECK_PTR_EQ(PyInterpreterState_Next(interp[1]), interp[0]);
    PyThreadState_Swap(sub[1]);
    Py_EndInterpreter(sub[1]);
    CHECK_PTR_EQ(PyInterpreterState_Next(interp[2]), interp[0]);
    PyThreadState_Swap(sub[2]);
    Py_EndInterpreter(sub[2]);
    CHECK_PTR_EQ(PyInterpreterState_Head(), interp[0]);
    PyThreadState_Swap(sub[0]);
    Py_EndInterpreter(sub[0]);
    CHECK_INT_EQ(count_interpreters(), 1);
    PyThreadState_Swap(first);
    finish();
}

TEST("the id of an interpreter that ended is not given to another one") {
    PyThreadState *first = begin();
    for (int i = 1; i <= 3; i++) {
        PyThreadState *sub = Py_NewInterpreter();
        CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Get()), i);
        Py_EndInterpreter(sub);
        PyThreadState_Swap(first);
    }
    finish();
}

TEST("ids begin anew in the next life of the runtime") {
    PyThreadState *first = begin();
    Py_EndInterpreter(Py_NewInterpreter());
    PyThreadState_Swap(first);
    finish();
    first = begin();
    CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Main()), 0);
    CHECK_UINT_EQ(PyThreadState_GetID(first), 1);
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Get()), 1);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

/* ---- What creation attaches (S-NI-02) ----------------------------------- */

TEST("making an interpreter attaches its state and detaches the caller's") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_PTR_NE(sub, first);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    CHECK_PTR_EQ(PyInterpreterState_Get(), PyThreadState_GetInterpreter(sub));
    CHECK_PTR_EQ(PyThreadState_Swap(first), sub);
    CHECK_PTR_EQ(PyInterpreterState_Get(), PyInterpreterState_Main());
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

/* ---- The end (S-EI-01, S-EI-02, S-EI-06) -------------------------------- */

TEST("after the end of an interpreter nothing is attached") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    Py_EndInterpreter(sub);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(count_interpreters(), 1);
    PyThreadState_Swap(first);
    finish();
}

TEST("the end of an interpreter does not finalize the runtime") {
    PyThreadState *first = begin();
    Py_EndInterpreter(Py_NewInterpreter());
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    PyThreadState_Swap(first);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    finish();
}

static void live_in(void *arg) {
    PyInterpreterState *interp = arg;
    PyThreadState *state = PyThreadState_New(interp);
    PyEval_AcquireThread(state);
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    CHECK_INT_EQ(count_states(interp), 2);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

TEST("a thread can live in a sub-interpreter and leave before its end") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    on_new_thread(live_in, PyInterpreterState_Get());
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("an interpreter may be ended from another one of its states") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_Swap(other);
    drop_state(sub);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    Py_EndInterpreter(other);
    CHECK_INT_EQ(count_interpreters(), 1);
    PyThreadState_Swap(first);
    finish();
}

static void make_and_end(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    for (int i = 0; i < 2; i++) {
        PyThreadState *sub = Py_NewInterpreter();
        CHECK_PTR_NE(PyInterpreterState_Get(), PyInterpreterState_Main());
        Py_EndInterpreter(sub);
        PyThreadState_Swap(mine);
    }
    PyGILState_Release(token);
}

TEST("several threads can make and end interpreters at the same time",
     .limit_s = 30) {
    PyThreadState *first = begin();
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 3, make_and_end, NULL);
    peers_start(&peers);
    peers_join(&peers, 20000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(count_interpreters(), 1);
    finish();
}

/* Before 3.13 it was fatal: "remaining subinterpreters". */
TEST("finalization ends the interpreters that are left") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 it is fatal to leave an interpreter");
    PyThreadState *first = begin();
    Py_NewInterpreter();
    Py_NewInterpreter();
    PyThreadState_Swap(first);
    CHECK_INT_EQ(count_interpreters(), 3);
    Py_FinalizeEx();
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyThreadState_GetUnchecked());
    begin();
    CHECK_INT_EQ(count_interpreters(), 1);
    finish();
}

/* S-IN-05: what is made is bare; CPython cannot clear or delete it again. */
TEST("a bare interpreter has the next id and no thread state") {
    PyThreadState *first = begin();
    PyInterpreterState *bare = PyInterpreterState_New();
    CHECK_INT_EQ(PyInterpreterState_GetID(bare), 1);
    CHECK_PTR_EQ(PyInterpreterState_Head(), bare);
    CHECK_PTR_EQ(PyInterpreterState_Next(bare), PyInterpreterState_Main());
    CHECK_NULL(PyInterpreterState_ThreadHead(bare));
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyEval_SaveThread();
    bare = PyInterpreterState_New();
    CHECK_INT_EQ(PyInterpreterState_GetID(bare), 2);
    CHECK_NULL(PyThreadState_GetUnchecked());
}
