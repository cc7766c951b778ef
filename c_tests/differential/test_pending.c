/* Pending calls, and asynchronous exceptions as far as they can be seen
 * without bytecode. */
#include <Python.h>

#include "common.h"

static int order[256], n_called;

static int note(void *number) {
    CHECK_INT_EQ(PyGILState_Check(), 1);
    order[n_called++] = (int)(intptr_t)number;
    return 0;
}

static void *as_arg(int number) { return (void *)(intptr_t)number; }

static void add(int number) {
    CHECK_INT_EQ(Py_AddPendingCall(note, as_arg(number)), 0);
}

TEST("calls run once, in the order of their adding") {
    begin();
    add(1);
    add(2);
    add(3);
    CHECK_INT_EQ(n_called, 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(order[i], i + 1);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 3);
    finish();
}

TEST("at most 32 calls are queued, without an error being set") {
    int n = 0;
    begin();
    /* Before 3.13 one of the slots is kept free. */
    while (n < 100 && Py_AddPendingCall(note, as_arg(n)) == 0)
        n++;
    CHECK_INT_EQ(n, BEHAVIOUR < V3_13 ? 31 : 32);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, n);
    add(0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    finish();
}

static int fails(void *number) {
    note(number);
    PyErr_SetString(PyExc_ValueError, "the call failed");
    return -1;
}

TEST("a call that fails ends the pass; what is left runs next time") {
    begin();
    add(1);
    CHECK_INT_EQ(Py_AddPendingCall(fails, as_arg(2)), 0);
    add(3);
    CHECK_INT_EQ(Py_MakePendingCalls(), -1);
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_ValueError), 0);
    PyErr_Clear();
    CHECK_INT_EQ(n_called, 2);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 3);
    CHECK_INT_EQ(order[2], 3);
    finish();
}

static int adds_another(void *left) {
    note(left);
    if ((intptr_t)left > 0)
        CHECK_INT_EQ(
            Py_AddPendingCall(adds_another, as_arg((int)(intptr_t)left - 1)),
            0);
    return 0;
}

TEST("calls may add calls; a pass runs 32") {
    begin();
    CHECK_INT_EQ(Py_AddPendingCall(adds_another, as_arg(10)), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 11);
    n_called = 0;
    CHECK_INT_EQ(Py_AddPendingCall(adds_another, as_arg(100)), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 32);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 64);
    finish();
    /* Before 3.13 finalization makes a single pass. */
    if (BEHAVIOUR >= V3_13)
        CHECK_INT_EQ(n_called, 101);
}

static int makes_calls_within(void *number) {
    note(number);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 1);
    return 0;
}

TEST("a call that asks for pending calls runs none") {
    begin();
    CHECK_INT_EQ(Py_AddPendingCall(makes_calls_within, NULL), 0);
    add(2);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 2);
    finish();
}

static void adds_detached(void *number) {
    for (int i = 0; i < 4; i++)
        add((int)(intptr_t)number);
}

static void makes_calls_in_vain(void *unused) {
    (void)unused;
    PyGILState_STATE state = PyGILState_Ensure();
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 0);
    PyGILState_Release(state);
}

TEST("any thread adds, without a state; only the main thread runs") {
    begin();
    PyThreadState *save = PyEval_SaveThread();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 5, adds_detached, as_arg(1));
    peers_start(&peers);
    peers_join(&peers, 10000);
    PyEval_RestoreThread(save);
    on_new_thread(makes_calls_in_vain, NULL);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 20);
    finish();
}

TEST("a sub-interpreter's state does not run the main thread's calls") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the queue belongs to an interpreter");
    PyThreadState *main_state = begin();
    add(1);
    PyThreadState *other = Py_NewInterpreter();
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 0);
    Py_EndInterpreter(other);
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 1);
    finish();
}

TEST("finalization runs what is left") {
    begin();
    for (int i = 0; i < 20; i++)
        add(i);
    finish();
    CHECK_INT_EQ(n_called, 20);
    for (int i = 0; i < 20; i++)
        CHECK_INT_EQ(order[i], i);
}

/* ---- Asynchronous exceptions (S-AX) ---------------------------------------
 */

static atomic_ulong ident;
static struct latch ready = LATCH_INIT(1), may_end = LATCH_INIT(1);

static void is_there(void *interp) {
    PyThreadState *mine = PyThreadState_New(interp);
    atomic_store(&ident, PyThread_get_thread_ident());
    latch_arrive(&ready);
    CHECK_INT_EQ(latch_wait(&may_end, 10000), 1);
    PyEval_RestoreThread(mine);
    CHECK_NULL(PyErr_Occurred());
    PyThreadState_Clear(mine);
    PyThreadState_DeleteCurrent();
}

TEST("an asynchronous exception finds the thread it is for, or nobody") {
    PyThreadState *main_state = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, is_there, PyThreadState_GetInterpreter(main_state));
    peers_start(&peers);
    CHECK_INT_EQ(latch_wait(&ready, 10000), 1);
    unsigned long other = atomic_load(&ident);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(other, PyExc_ValueError), 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(other, PyExc_RuntimeError), 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(other, NULL), 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(0, PyExc_ValueError), 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(other + 1, PyExc_ValueError), 0);
    CHECK_NULL(PyErr_Occurred());
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(other, PyExc_ValueError), 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL),
                 1);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(main_state);
    latch_arrive(&may_end);
    PyThreadState *save = PyEval_SaveThread();
    peers_join(&peers, 10000);
    PyEval_RestoreThread(save);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(other, PyExc_ValueError), 0);
    finish();
}

TEST("an asynchronous exception is not raised by pending calls, and by the "
     "check for signals from 3.15 on") {
    begin();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(PyThread_get_thread_ident(),
                                           PyExc_ValueError),
                 1);
    add(1);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 1);
    if (BEHAVIOUR >= V3_15) {
        CHECK_INT_EQ(PyErr_CheckSignals(), -1);
        CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_ValueError), 1);
        PyErr_Clear();
    }
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL),
                 1);
    finish();
}
