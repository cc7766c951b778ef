/* Results that carry a reason: PyStatus. */
#include "host.h"

#include <stdlib.h>

TEST("a status says what it is, and what went wrong") {
    PyStatus ok = PyStatus_Ok();
    CHECK_INT_EQ(ok._type, _PyStatus_TYPE_OK);
    CHECK_INT_EQ(PyStatus_IsError(ok), 0);
    CHECK_INT_EQ(PyStatus_IsExit(ok), 0);
    CHECK_INT_EQ(PyStatus_Exception(ok), 0);
    CHECK_NULL(ok.func);
    CHECK_NULL(ok.err_msg);
    static const char text[] = "what went wrong";
    PyStatus error = PyStatus_Error(text);
    CHECK_INT_EQ(error._type, _PyStatus_TYPE_ERROR);
    CHECK_INT_EQ(PyStatus_IsError(error), 1);
    CHECK_INT_EQ(PyStatus_IsExit(error), 0);
    CHECK_INT_EQ(PyStatus_Exception(error), 1);
    CHECK_PTR_EQ(error.err_msg, text);
    CHECK_NULL(error.func);
    CHECK_INT_EQ(error.exitcode, 0);
    CHECK_STR_EQ(PyStatus_NoMemory().err_msg, "memory allocation failed");
    CHECK_INT_EQ(PyStatus_IsError(PyStatus_NoMemory()), 1);
    PyStatus leave_now = PyStatus_Exit(7);
    CHECK_INT_EQ(leave_now._type, _PyStatus_TYPE_EXIT);
    CHECK_INT_EQ(PyStatus_IsError(leave_now), 0);
    CHECK_INT_EQ(PyStatus_IsExit(leave_now), 1);
    CHECK_INT_EQ(PyStatus_Exception(leave_now), 1);
    CHECK_INT_EQ(leave_now.exitcode, 7);
}

TEST("a status has CPython's values and layout") {
    struct as_there {
        enum { OK, ERROR, EXIT } _type;
        const char *func, *err_msg;
        int exitcode;
    };
    CHECK_INT_EQ(_PyStatus_TYPE_OK, 0);
    CHECK_INT_EQ(_PyStatus_TYPE_ERROR, 1);
    CHECK_INT_EQ(_PyStatus_TYPE_EXIT, 2);
    CHECK_UINT_EQ(sizeof(PyStatus), sizeof(struct as_there));
    CHECK_UINT_EQ(offsetof(PyStatus, func), offsetof(struct as_there, func));
    CHECK_UINT_EQ(offsetof(PyStatus, err_msg),
                  offsetof(struct as_there, err_msg));
    CHECK_UINT_EQ(offsetof(PyStatus, exitcode),
                  offsetof(struct as_there, exitcode));
}

static void say_so(void) { fputs("streams are flushed\n", stderr); }

TEST("a status ends the process as it says, through exit() (S-FE-43, 52)") {
    EXPECT_EXIT(1, "Fatal Python error: what went wrong\n") {
        Py_ExitStatusException(PyStatus_Error("what went wrong"));
    }
    EXPECT_EXIT(1, "Fatal Python error: there: what went wrong\n") {
        PyStatus status = PyStatus_Error("what went wrong");
        status.func = "there";
        Py_ExitStatusException(status);
    }
    EXPECT_EXIT(1, "Fatal Python error: memory allocation failed\n") {
        Py_ExitStatusException(PyStatus_NoMemory());
    }
    EXPECT_EXIT(9, "") { Py_ExitStatusException(PyStatus_Exit(9)); }
    EXPECT_EXIT(0, "") { Py_ExitStatusException(PyStatus_Exit(0)); }
    EXPECT_EXIT(3, "streams are flushed\n") {
        atexit(say_so);
        Py_ExitStatusException(PyStatus_Exit(3));
    }
    EXPECT_EXIT(1, "streams are flushed\n") {
        atexit(say_so);
        Py_ExitStatusException(PyStatus_Error("what went wrong"));
    }
}

TEST("a success does not end the process: that is fatal (S-FE-42)") {
    EXPECT_ABORT("must not be called on success") {
        Py_ExitStatusException(PyStatus_Ok());
    }
}

TEST("an error without a text is fatal") {
    EXPECT_FATAL("PyStatus_Error", "'err_msg' must not be NULL") {
        PyStatus_Error(NULL);
    }
}

/* ---- Before the initialization ----------------------------------------- */

TEST("a filled PyPreConfig is accepted, and NULL or an empty one is not") {
    PyPreConfig config = {0};
    CHECK_INT_EQ(PyStatus_IsError(Py_PreInitialize(NULL)), 1);
    CHECK_INT_EQ(PyStatus_IsError(Py_PreInitialize(&config)), 1);
    PyPreConfig_InitIsolatedConfig(&config);
    CHECK_INT_EQ(config.use_environment, 0);
    CHECK_INT_EQ(config.isolated, 1);
    CHECK_INT_EQ(PyStatus_Exception(Py_PreInitialize(&config)), 0);
    PyPreConfig_InitPythonConfig(&config);
    CHECK_INT_EQ(config.parse_argv, 1);
    CHECK_INT_EQ(config.use_environment, 1);
    CHECK_INT_EQ(PyStatus_Exception(Py_PreInitialize(&config)), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    EXPECT_ABORT("argument 'src_config' must not be NULL") {
        PyPreConfig_InitPythonConfig(NULL);
    }
}
