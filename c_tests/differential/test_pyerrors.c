/* The error indicator, with the types that both sides have. */
#include <Python.h>

#include "common.h"

TEST("an error is set and forgotten") {
    begin();
    CHECK_NULL(PyErr_Occurred());
    PyErr_SetString(PyExc_ValueError, "one");
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_ValueError);
    PyErr_SetString(PyExc_RuntimeError, "two");
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_RuntimeError);
    PyErr_Clear();
    CHECK_NULL(PyErr_Occurred());
    PyErr_Clear();
    PyErr_SetNone(PyExc_TimeoutError);
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_TimeoutError);
    PyErr_Clear();
    CHECK_NULL(PyErr_NoMemory());
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_MemoryError);
    PyErr_Clear();
    finish();
}

TEST("an error matches its own type and the types above it") {
    begin();
    CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_ValueError), 0);
    PyErr_SetNone(PyExc_ValueError);
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_ValueError), 0);
    CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_RuntimeError), 0);
    PyErr_SetNone(PyExc_RecursionError);
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_RecursionError), 0);
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_RuntimeError), 0);
    PyErr_SetNone(PyExc_RuntimeError);
    CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_RecursionError), 0);
#if PY_VERSION_HEX >= V3_13
    PyErr_SetNone(PyExc_PythonFinalizationError);
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_RuntimeError), 0);
#endif
    PyErr_Clear();
    finish();
}

TEST("asking whether an error matches leaves it set") {
    begin();
    PyErr_SetString(PyExc_OverflowError, "still there");
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_OverflowError), 0);
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_OverflowError);
    PyErr_Clear();
    finish();
}

TEST("printing shows type and text, and forgets the error") {
    begin();
    EXPECT_EXIT(7, "RuntimeError: out of\nSystemError\nMemoryError\n") {
        PyErr_SetString(PyExc_RuntimeError, "out of");
        PyErr_Print();
        PyErr_SetString(PyExc_SystemError, "");
        PyErr_Print();
        PyErr_NoMemory();
        PyErr_Print();
        test_child_done(PyErr_Occurred() == NULL ? 7 : 1);
    }
    EXPECT_EXIT(0, "KeyboardInterrupt\n") {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        PyErr_Print();
    }
}

TEST("a formatted error has the text that printf makes") {
    begin();
    EXPECT_EXIT(0, "OSError: open 'a.txt': 2 of 7\n") {
        CHECK_NULL(PyErr_Format(PyExc_OSError, "open '%s': %d of %zd", "a.txt",
                                2, (Py_ssize_t)7));
        CHECK_PTR_EQ(PyErr_Occurred(), PyExc_OSError);
        PyErr_Print();
    }
    EXPECT_EXIT(0, "TypeError: no\n") {
        PyErr_SetString(PyExc_TypeError, "no");
        PyErr_Print();
    }
}

TEST("an OSError is what a TimeoutError is, too") {
    begin();
    PyErr_SetNone(PyExc_TimeoutError);
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_OSError), 0);
    PyErr_Clear();
    finish();
}

static void other_thread(void *interp) {
    PyThreadState *mine = PyThreadState_New(interp);
    PyEval_RestoreThread(mine);
    CHECK_NULL(PyErr_Occurred());
    PyErr_SetString(PyExc_ValueError, "another thread's");
    PyThreadState_Clear(mine);
    PyThreadState_DeleteCurrent();
}

TEST("each state has an indicator of its own, attached or not") {
    PyThreadState *main_state = begin();
    PyErr_SetString(PyExc_OverflowError, "the main state's");
    on_new_thread(other_thread, PyThreadState_GetInterpreter(main_state));
    PyThreadState *other =
        PyThreadState_New(PyThreadState_GetInterpreter(main_state));
    PyThreadState_Swap(other);
    CHECK_NULL(PyErr_Occurred());
    PyErr_SetNone(PyExc_ValueError);
    PyThreadState_Swap(main_state);
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_OverflowError);
    PyErr_Clear();
    drop_state(other);
    finish();
}
