/* What CPython's evaluator keeps in a thread state. */
#include <pytstate.h>

#include "harness.h"

TEST("tracing is off as deep as it was entered, and misuse of Leave is named") {
    Py_Initialize();
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_TracingDepth(state), 0);
    PyThreadState_EnterTracing(state);
    PyThreadState_EnterTracing(state);
    CHECK_INT_EQ(PyTState_TracingDepth(state), 2);
    PyThreadState_LeaveTracing(state);
    PyThreadState_LeaveTracing(state);
    CHECK_INT_EQ(PyTState_TracingDepth(state), 0);
    EXPECT_ABORT("PyThreadState_LeaveTracing: tracing is not switched off") {
        PyThreadState_LeaveTracing(state);
    }
    Py_FinalizeEx();
}

TEST("a thread that runs no Python function has no frame, attached or not") {
    Py_Initialize();
    PyThreadState *state = PyThreadState_Get();
    CHECK_PTR_EQ(PyThreadState_GetFrame(state), NULL);
    PyEval_SaveThread();
    CHECK_PTR_EQ(PyThreadState_GetFrame(state), NULL);
    PyEval_RestoreThread(state);
    Py_FinalizeEx();
}
