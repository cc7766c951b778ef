/* What ends the process, and with which words (S-FE). The function in the
 * message is checked where CPython names the public one. */
#include <Python.h>

#include "common.h"

/* ---- No state attached (S-FE-01) ---------------------------------------- */

TEST("asking for the current state while detached is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyThreadState_Get: ") {
        PyEval_SaveThread();
        PyThreadState_Get();
    }
}

/* The words may change; a build without a GIL has others already. */
TEST("a missing state is called a matter of the GIL and of being NULL") {
#ifdef Py_GIL_DISABLED
    SKIP("the words are others in a build without a GIL");
#endif
    if (BEHAVIOUR >= V3_15)
        SKIP("the words are those of 3.11 to 3.14");
    begin();
    EXPECT_ABORT("the function must be called with the GIL held") {
        PyEval_SaveThread();
        PyThreadState_Get();
    }
    EXPECT_ABORT("the current Python thread state is NULL)\n") {
        PyEval_SaveThread();
        PyThreadState_Get();
    }
}

static void get_interpreter(void *unused) {
    (void)unused;
    PyInterpreterState_Get();
}

TEST("asking for the current interpreter while detached is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyInterpreterState_Get: ") {
        PyEval_SaveThread();
        PyInterpreterState_Get();
    }
    EXPECT_ABORT("Fatal Python error: PyInterpreterState_Get: ") {
        on_new_thread(get_interpreter, NULL);
    }
}

TEST("asking for the current state after finalization is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyThreadState_Get: ") {
        finish();
        PyThreadState_Get();
    }
}

TEST("restoring NULL is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyEval_RestoreThread: ") {
        PyEval_SaveThread();
        PyEval_RestoreThread(NULL);
    }
}

TEST("acquiring NULL is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyEval_AcquireThread: ") {
        PyEval_SaveThread();
        PyEval_AcquireThread(NULL);
    }
}

TEST("deleting NULL is fatal") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 it crashes");
    begin();
    EXPECT_ABORT("Fatal Python error: PyThreadState_Delete: ") {
        PyThreadState_Delete(NULL);
    }
}

/* CPython names the private function behind it. */
TEST("deleting the current state while none is attached is fatal") {
    begin();
    EXPECT_ABORT("PyThreadState_DeleteCurrent: the function must be called ") {
        PyEval_SaveThread();
        PyThreadState_DeleteCurrent();
    }
}

/* ---- The wrong state (S-FE-02, S-FE-08) --------------------------------- */

TEST("deleting the attached state is fatal") {
    PyThreadState *first = begin();
    EXPECT_ABORT("Fatal Python error: ") { PyThreadState_Delete(first); }
    EXPECT_ABORT(" is still current") { PyThreadState_Delete(first); }
    EXPECT_ABORT(" is still current") {
        PyThreadState_Clear(first);
        PyThreadState_Delete(first);
    }
}

/* Before 3.13 attaching took the GIL first: this never returned. */
TEST("restoring while a state is attached is fatal") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 the thread waits for its own GIL");
    PyThreadState *first = begin();
    EXPECT_ABORT("non-NULL old thread state") { PyEval_RestoreThread(first); }
    EXPECT_ABORT("non-NULL old thread state") {
        PyEval_RestoreThread(PyThreadState_New(PyInterpreterState_Get()));
    }
}

TEST("acquiring while a state is attached is fatal") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 the thread waits for its own GIL");
    PyThreadState *first = begin();
    EXPECT_ABORT("non-NULL old thread state") { PyEval_AcquireThread(first); }
    EXPECT_ABORT("non-NULL old thread state") {
        PyEval_AcquireThread(PyThreadState_New(PyInterpreterState_Get()));
    }
}

TEST("restoring into the main interpreter from another one is fatal") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 the thread waits for its own GIL");
    PyThreadState *first = begin();
    EXPECT_ABORT("non-NULL old thread state") {
        Py_NewInterpreter();
        PyEval_RestoreThread(first);
    }
}

/* ---- PyGILState (S-FE-12, S-FE-13) -------------------------------------- */

static void release_only(void *unused) {
    (void)unused;
    PyGILState_Release(PyGILState_UNLOCKED);
}

TEST("releasing on a thread that never ensured is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyGILState_Release: auto-releasing "
                 "thread-state, but no thread-state for this thread") {
        on_new_thread(release_only, NULL);
    }
}

static void release_twice(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    PyGILState_Release(token);
    PyGILState_Release(token);
}

TEST("releasing once more than a thread ensured is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyGILState_Release: auto-releasing "
                 "thread-state, but no thread-state for this thread") {
        on_new_thread(release_twice, NULL);
    }
}

TEST("releasing while detached is fatal") {
    begin();
    EXPECT_ABORT(" must be current when releasing") {
        PyGILState_STATE token = PyGILState_Ensure();
        PyEval_SaveThread();
        PyGILState_Release(token);
    }
    EXPECT_ABORT("Fatal Python error: PyGILState_Release: thread state ") {
        PyGILState_STATE token = PyGILState_Ensure();
        PyEval_SaveThread();
        PyGILState_Release(token);
    }
}

/* ---- Interpreters (S-FE-40) --------------------------------------------- */

TEST("ending an interpreter that is not the attached one is fatal") {
    PyThreadState *first = begin();
    EXPECT_ABORT(
        "Fatal Python error: Py_EndInterpreter: thread is not current") {
        PyThreadState *sub = Py_NewInterpreter();
        PyThreadState_Swap(first);
        Py_EndInterpreter(sub);
    }
}

TEST("ending an interpreter with another one of its states is fatal") {
    begin();
    EXPECT_ABORT(
        "Fatal Python error: Py_EndInterpreter: thread is not current") {
        Py_NewInterpreter();
        Py_EndInterpreter(PyThreadState_New(PyInterpreterState_Get()));
    }
}

/* From 3.14 on such a state is given up instead. */
TEST("ending an interpreter that has another state is fatal up to 3.13") {
    if (BEHAVIOUR >= V3_14)
        SKIP("from 3.14 on the other states are given up");
    begin();
    EXPECT_ABORT("Fatal Python error: Py_EndInterpreter: not the last thread") {
        PyThreadState *sub = Py_NewInterpreter();
        PyThreadState_New(PyInterpreterState_Get());
        Py_EndInterpreter(sub);
    }
}

static void make_sub_state(void *arg) {
    PyThreadState_New((PyInterpreterState *)arg);
}

TEST("a state of a thread that is over counts as a thread of its interpreter") {
    if (BEHAVIOUR >= V3_14)
        SKIP("from 3.14 on the other states are given up");
    begin();
    EXPECT_ABORT("Fatal Python error: Py_EndInterpreter: not the last thread") {
        PyThreadState *sub = Py_NewInterpreter();
        on_new_thread(make_sub_state, PyInterpreterState_Get());
        Py_EndInterpreter(sub);
    }
}

/* S-FE-07; 3.12 crashes after the message. */
TEST("deleting the main interpreter before the others is fatal") {
    if (BEHAVIOUR >= V3_12 && BEHAVIOUR < V3_13)
        SKIP("in 3.12 the process crashes after the message");
    begin();
    EXPECT_ABORT("Fatal Python error: PyInterpreterState_Delete: "
                 "remaining subinterpreters") {
        Py_NewInterpreter();
        PyInterpreterState_Delete(PyInterpreterState_Main());
    }
}

/* ---- Ending the process with a status (S-FE-42, S-FE-43) ---------------- */

TEST("making a legacy interpreter without a runtime ends with status 1") {
    EXPECT_EXIT(1, "Py_Initialize must be called first") {
        Py_NewInterpreter();
    }
}

TEST("a status that asks for an exit ends the process with its code") {
    EXPECT_EXIT(7, "") { Py_ExitStatusException(PyStatus_Exit(7)); }
    EXPECT_EXIT(0, "") { Py_ExitStatusException(PyStatus_Exit(0)); }
}

TEST("a status that is an error ends the process with its text and 1") {
    EXPECT_EXIT(1, "the sky has fallen") {
        Py_ExitStatusException(PyStatus_Error("the sky has fallen"));
    }
    EXPECT_EXIT(1, "Fatal Python error: ") {
        Py_ExitStatusException(PyStatus_NoMemory());
    }
}

TEST("a status that is a success cannot end the process") {
    EXPECT_ABORT("must not be called on success") {
        Py_ExitStatusException(PyStatus_Ok());
    }
}

/* ---- Py_FatalError (S-FE-50, S-FE-51) ----------------------------------- */

static void call_fatal_error(void *text) { Py_FatalError((const char *)text); }

TEST("a host's fatal error names the function that called it") {
    begin();
    EXPECT_ABORT("Fatal Python error: call_fatal_error: the disk is gone\n") {
        call_fatal_error("the disk is gone");
    }
}

TEST("a fatal error needs no runtime, no state and no particular thread") {
    EXPECT_ABORT("Fatal Python error: call_fatal_error: early\n") {
        call_fatal_error("early");
    }
    begin();
    EXPECT_ABORT("Fatal Python error: call_fatal_error: detached\n") {
        PyEval_SaveThread();
        call_fatal_error("detached");
    }
    EXPECT_ABORT("Fatal Python error: call_fatal_error: elsewhere\n") {
        on_new_thread(call_fatal_error, (void *)"elsewhere");
    }
    EXPECT_ABORT("Fatal Python error: call_fatal_error: late\n") {
        finish();
        call_fatal_error("late");
    }
}

TEST("a fatal error without a text says that there is none") {
    EXPECT_ABORT("Fatal Python error: call_fatal_error: <message not set>\n") {
        call_fatal_error(NULL);
    }
}

TEST("a fatal error tells what the runtime was doing") {
    EXPECT_ABORT("\nPython runtime state: unknown\n") {
        call_fatal_error("early");
    }
    begin();
    EXPECT_ABORT("\nPython runtime state: initialized\n") {
        call_fatal_error("running");
    }
}

TEST("a fatal error keeps percent signs as they are") {
    EXPECT_ABORT("Fatal Python error: call_fatal_error: 100%s %n %d\n") {
        call_fatal_error("100%s %n %d");
    }
}
