/* Reports and fatal errors blame what is to blame: argument, GIL, place. */
#include "captured.h"
#include "host.h"

static struct capture errors;

static const char *dump(void) {
    capture_begin(&errors);
    PyTState_DumpThreads(STDERR_FILENO);
    return capture_end(&errors);
}

TEST("a NULL argument is blamed, not the caller's own state, which is "
     "attached") {
    begin();
    EXPECT_ABORT("PyTState_SetName: argument 'tstate' must not be NULL\n") {
        PyTState_SetName(NULL, "name");
    }
    EXPECT_ABORT("PyThreadState_Clear: argument 'tstate' must not be NULL\n") {
        PyThreadState_Clear(NULL);
    }
}

TEST("an interpreter with a GIL of its own has that one described") {
    NEEDS_GIL();
    begin();
    EXPECT_ABORT("The GIL of the main interpreter is held by thread") {
        Py_FatalError("in main");
    }
    EXPECT_ABORT("The GIL of interpreter 1 is held by thread") {
        new_interp(PyInterpreterConfig_OWN_GIL);
        Py_FatalError("in an interpreter with its own GIL");
    }
    EXPECT_ABORT("The GIL of the main interpreter is held by thread") {
        new_interp(PyInterpreterConfig_SHARED_GIL);
        Py_FatalError("in an interpreter with the GIL of main");
    }
    EXPECT_ABORT("Interpreter 1 has no GIL\n") {
        new_interp(PyTState_INTERP_NO_GIL);
        Py_FatalError("in an interpreter without a GIL");
    }
}

TEST("a place of an earlier change is not printed as that of the last one") {
    PyThreadState *mine = begin();
    PyTState_Here("pool.c:4");
    PyEval_SaveThread();
    CHECK_STR_CONTAINS(dump(), ", last detached at pool.c:4");
    PyTState_Here("pool.c:5");
    PyEval_RestoreThread(mine);
    CHECK_STR_CONTAINS(dump(), ", last attached at pool.c:5");
    PyEval_SaveThread(); /* with no place left */
    CHECK_STR_CONTAINS(dump(), ", before its last change at pool.c:5");
    CHECK_STR_LACKS(dump(), "last detached at");
    PyTState_ThreadInfo info;
    CHECK_UINT_EQ(PyTState_Census(NULL, &info, 1), 1);
    CHECK_INT_GE(info.in_state_ns, 0);
    CHECK_INT_LT(info.in_state_ns, LIMIT);
    PyEval_RestoreThread(mine);
    CHECK_STR_LACKS(dump(), "last attached at");
    finish();
}

TEST("a place left right before a faulty call is printed with the fault") {
    begin();
    EXPECT_ABORT(", PyTState_Here() was last called at faulty.c:7\n") {
        PyTState_Here("faulty.c:7");
        PyThreadState_Delete(PyThreadState_Get());
    }
    PyTState_Config config = {.size = sizeof config,
                              .check_level = PyTState_CHECK_WARN};
    finish();
    begin_with(&config);
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Main());
    PyThreadState_Clear(other);
    capture_begin(&errors);
    PyTState_Here("faulty.c:8");
    PyThreadState_Clear(other);
    CHECK_STR_CONTAINS(capture_end(&errors),
                       ", PyTState_Here() was last called at faulty.c:8\n");
    PyThreadState_Delete(other);
    finish();
}

TEST("a state that is left at an end is described as it stood before the "
     "end's own pause") {
    EXPECT_ABORT(", detached, held by a pause)") {
        PyTState_Config config = {.compat = 0x030D0000};
        begin_with(&config);
        PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
        PyThreadState_New(first->interp);
        Py_EndInterpreter(first);
    }
}
