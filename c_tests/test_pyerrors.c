/* The error indicator, and the end of the process by Py_FatalError(). */
#include "host.h"

#include <stdlib.h>

/* ---- Setting, asking, forgetting -------------------------------------- */

TEST("an error is set, told and forgotten") {
    begin();
    CHECK_NULL(PyErr_Occurred());
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    PyErr_SetString(PyExc_ValueError, "one");
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_ValueError);
    CHECK_STR_EQ(PyTState_ErrMessage(), "one");
    PyErr_SetString(PyExc_RuntimeError, "two");
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_RuntimeError);
    CHECK_STR_EQ(PyTState_ErrMessage(), "two");
    PyErr_SetNone(PyExc_TimeoutError);
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_TimeoutError);
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    CHECK_NULL(PyErr_NoMemory());
    check_raised(PyExc_MemoryError, "");
    PyErr_Clear();
    finish();
}

TEST("the text is copied") {
    char text[] = "before";
    begin();
    PyErr_SetString(PyExc_SystemError, text);
    strcpy(text, "after");
    CHECK_STR_EQ(PyTState_ErrMessage(), "before");
    finish();
}

TEST("the thirteen exceptions differ, and a subtype matches its base") {
    PyObject *all[] = {PyExc_RuntimeError,      PyExc_ValueError,
                       PyExc_MemoryError,       PyExc_SystemError,
                       PyExc_OverflowError,     PyExc_TimeoutError,
                       PyExc_RecursionError,    PyExc_PythonFinalizationError,
                       PyExc_InterpreterError,  PyExc_InterpreterNotFoundError,
                       PyExc_KeyboardInterrupt, PyExc_OSError,
                       PyExc_TypeError};
    const size_t n = sizeof all / sizeof *all;
    begin();
    CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_RuntimeError), 0);
    for (size_t set = 0; set < n; set++) {
        PyErr_SetNone(all[set]);
        CHECK_PTR_EQ(PyThreadState_Get()->current_exception, all[set]);
        for (size_t asked = 0; asked < n; asked++) {
            int is =
                set == asked ||
                (all[asked] == PyExc_RuntimeError &&
                 (all[set] == PyExc_PythonFinalizationError ||
                  all[set] == PyExc_RecursionError)) ||
                (all[asked] == PyExc_InterpreterError &&
                 all[set] == PyExc_InterpreterNotFoundError) ||
                (all[asked] == PyExc_OSError && all[set] == PyExc_TimeoutError);
            CHECK_INT_EQ(PyErr_ExceptionMatches(all[asked]), is);
        }
        CHECK_INT_EQ(PyErr_ExceptionMatches(NULL), 0);
    }
    PyErr_Clear();
    CHECK_INT_EQ(PyErr_ExceptionMatches(NULL), 0);
    finish();
}

static void has_no_error(void *interp) {
    enter(interp);
    CHECK_NULL(PyErr_Occurred());
    PyErr_SetString(PyExc_ValueError, "another thread's");
    leave();
}

TEST("the indicator belongs to the state, attached or not") {
    PyThreadState *main_state = begin();
    PyErr_SetString(PyExc_OverflowError, "the main state's");
    join_and_drop(start(do_nothing, NULL));
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 2, has_no_error, main_state->interp);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_STR_EQ(PyTState_ErrMessage(), "the main state's");
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(other);
    CHECK_NULL(PyErr_Occurred());
    PyErr_SetNone(PyExc_ValueError);
    PyThreadState_Swap(main_state);
    check_raised(PyExc_OverflowError, "the main state's");
    /* Clearing a state clears its error with it. */
    PyThreadState_Clear(other);
    CHECK_NULL(other->current_exception);
    PyThreadState_Delete(other);
    finish();
}

TEST("the message is there, and empty, for whoever has no state") {
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    PyThreadState *main_state = begin();
    PyErr_SetString(PyExc_ValueError, "hidden");
    PyEval_SaveThread();
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    PyEval_RestoreThread(main_state);
    check_raised(PyExc_ValueError, "hidden");
    finish();
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
}

/* ---- Printing --------------------------------------------------------- */

TEST("printing shows type and text, and empties the indicator") {
    begin();
    EXPECT_EXIT(7, "RuntimeError: out of\nValueError\nMemoryError\n") {
        PyErr_Print(); /* nothing to print */
        PyErr_SetString(PyExc_RuntimeError, "out of");
        PyErr_Print();
        PyErr_SetString(PyExc_ValueError, "");
        PyErr_Print();
        PyErr_NoMemory();
        PyErr_Print();
        test_child_done(PyErr_Occurred() == NULL ? 7 : 1);
    }
}

TEST("a text of any length is printed whole") {
    char text[1601];
    memset(text, 'x', sizeof text);
    strcpy(text + sizeof text - 4, "END");
    begin();
    EXPECT_EXIT(0, "xxxEND\n") {
        PyErr_SetString(PyExc_ValueError, text);
        PyErr_Print();
    }
}

/* ---- A host with objects of its own ----------------------------------- */

static int counts[2];
static PyObject *const host_object = (PyObject *)counts;
static PyObject *raised;
static char raised_text[64];

static void count_up(PyObject *object) { ((int *)object)[0]++; }
static void count_down(PyObject *object) { ((int *)object)[1]++; }
static void host_raise(PyObject *type, const char *text) {
    raised = type;
    snprintf(raised_text, sizeof raised_text, "%s", text ? text : "(NULL)");
}

TEST("a host's exception is counted, the library's own are not") {
    static const PyTState_ObjectHooks hooks = {.incref = count_up,
                                               .decref = count_down};
    PyTState_Config config = {.size = sizeof config, .objects = &hooks};
    begin_with(&config);
    PyErr_SetString(host_object, "mine");
    CHECK_PTR_EQ(PyErr_Occurred(), host_object);
    CHECK_INT_EQ(PyErr_ExceptionMatches(host_object), 1);
    CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_RuntimeError), 0);
    CHECK_INT_EQ(counts[0], 1);
    CHECK_INT_EQ(counts[1], 0);
    PyErr_SetString(PyExc_ValueError, "instead");
    CHECK_INT_EQ(counts[1], 1);
    PyErr_SetNone(host_object);
    PyErr_Clear();
    CHECK_INT_EQ(counts[0], 2);
    CHECK_INT_EQ(counts[1], 2);
    PyErr_SetNone(host_object);
    finish();
    CHECK_INT_EQ(counts[0], 3);
    CHECK_INT_EQ(counts[1], 3);
}

TEST("counting goes through the host's hooks, for its own objects only") {
    static const PyTState_ObjectHooks hooks = {.incref = count_up,
                                               .decref = count_down};
    PyTState_Config config = {.size = sizeof config, .objects = &hooks};
    begin_with(&config);
    Py_IncRef(host_object);
    Py_IncRef(NULL);
    Py_IncRef(PyExc_ValueError);
    CHECK_INT_EQ(counts[0], 1);
    Py_DecRef(host_object);
    Py_DecRef(NULL);
    Py_DecRef(PyExc_ValueError);
    CHECK_INT_EQ(counts[1], 1);
    finish();
    EXPECT_FATAL("Py_IncRef", "") { Py_IncRef(host_object); }
    EXPECT_FATAL("Py_DecRef", "") { Py_DecRef(host_object); }
}

TEST("a host that raises itself gets every error, and keeps it") {
    static const PyTState_ObjectHooks hooks = {.raise = host_raise};
    PyTState_Config config = {.size = sizeof config, .objects = &hooks};
    begin_with(&config);
    PyErr_SetString(PyExc_ValueError, "for the host");
    CHECK_PTR_EQ(raised, PyExc_ValueError);
    CHECK_STR_EQ(raised_text, "for the host");
    CHECK_NULL(PyErr_Occurred());
    /* The library's own refusals go the same way. */
    CHECK_INT_EQ(PyInterpreterState_GetID(NULL), -1);
    CHECK_PTR_EQ(raised, PyExc_RuntimeError);
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("a host that raises itself gets no text for an asynchronous exception") {
    static const PyTState_ObjectHooks hooks = {.raise = host_raise};
    PyTState_Config config = {.size = sizeof config, .objects = &hooks};
    PyThreadState *mine = begin_with(&config);
    CHECK_INT_EQ(PyTState_SetAsyncExc(mine, host_object), 1);
    CHECK_INT_EQ(PyTState_Poll(mine), -1);
    CHECK_PTR_EQ(raised, host_object);
    CHECK_STR_EQ(raised_text, "(NULL)");
    PyErr_SetNone(PyExc_ValueError);
    CHECK_STR_EQ(raised_text, "");
    finish();
}

/* ---- Misuse ----------------------------------------------------------- */

static void detached_occurred(void) { PyErr_Occurred(); }
static void detached_set(void) { PyErr_SetString(PyExc_ValueError, "text"); }
static void detached_set_none(void) { PyErr_SetNone(PyExc_ValueError); }
static void detached_matches(void) { PyErr_ExceptionMatches(NULL); }
static void detached_no_memory(void) { PyErr_NoMemory(); }

TEST("the indicator needs a state: without one it is fatal (S-FE-01)") {
    static const struct {
        const char *func;
        void (*call)(void);
    } all[] = {
        {"PyErr_Occurred", detached_occurred},
        {"PyErr_Clear", PyErr_Clear},
        {"PyErr_SetString", detached_set},
        {"PyErr_SetNone", detached_set_none},
        {"PyErr_ExceptionMatches", detached_matches},
        {"PyErr_NoMemory", detached_no_memory},
        {"PyErr_Print", PyErr_Print},
    };
    begin();
    PyEval_SaveThread();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        EXPECT_FATAL(all[i].func, "thread state is NULL") { all[i].call(); }
}

TEST("an error without a type or without a text pointer is fatal") {
    begin();
    EXPECT_FATAL("PyErr_SetString", "'exception' must not be NULL") {
        PyErr_SetString(NULL, "text");
    }
    EXPECT_FATAL("PyErr_SetString", "'string' must not be NULL") {
        PyErr_SetString(PyExc_ValueError, NULL);
    }
    EXPECT_FATAL("PyErr_SetNone", "'exception' must not be NULL") {
        PyErr_SetNone(NULL);
    }
    finish();
}

static void needs_one(PyThreadState *state) { _Py_EnsureTstateNotNULL(state); }
static void needs_an_attached_one(void) { _Py_AssertHoldsTstateFunc(__func__); }

TEST("a host's own checks of its state are fatal, naming the host's function") {
    PyThreadState *main_state = begin();
    needs_one(main_state);
    needs_an_attached_one();
    EXPECT_FATAL("needs_one", "is NULL") { needs_one(NULL); }
    EXPECT_FATAL("needs_an_attached_one", "is NULL") {
        PyEval_SaveThread();
        needs_an_attached_one();
    }
    finish();
}

static void dies(void *unused) {
    (void)unused;
    i_die();
    Py_FatalError("in a thread without a state");
}

TEST("Py_FatalError names the calling function, thread and state") {
    EXPECT_FATAL("dies", "in a thread without a state") {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, dies, NULL);
        peers_start(&peers);
        peers_join(&peers, LIMIT_MS);
    }
    EXPECT_ABORT("Fatal Python error: plain\n") { (Py_FatalError)("plain"); }
    EXPECT_ABORT("Fatal Python error: <message not set>\n") {
        _Py_FatalErrorFunc(NULL, NULL);
    }
    EXPECT_ABORT("Fatal Python error: f: with a function\n") {
        _Py_FatalErrorFunc("f", "with a function");
    }
}

static void die_again(int signal_number) {
    (void)signal_number;
    (Py_FatalError)("in the handler of the first one's signal");
}

TEST("a fatal error within a fatal error ends the process (S-FE-51)") {
    EXPECT_ABORT("Fatal Python error: first\n") {
        struct sigaction action = {.sa_handler = die_again,
                                   .sa_flags = SA_RESETHAND | SA_NODEFER};
        sigaction(SIGABRT, &action, NULL);
        (Py_FatalError)("first");
    }
}

/* ---- Taken out and put back ------------------------------------------- */

TEST("an error that is taken out is put back with its text") {
    begin();
    PyErr_SetString(PyExc_ValueError, "the text");
    PyObject *error = PyErr_GetRaisedException();
    CHECK_PTR_EQ(error, PyExc_ValueError);
    CHECK_NULL(PyErr_Occurred());
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    CHECK_NULL(PyErr_GetRaisedException());
    PyErr_SetString(PyExc_ValueError, "the text");
    error = PyErr_GetRaisedException();
    PyErr_SetRaisedException(error);
    check_raised(PyExc_ValueError, "the text");
    PyErr_SetRaisedException(NULL);
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("a text goes to no other error") {
    begin();
    PyErr_SetString(PyExc_ValueError, "of the first");
    PyObject *first = PyErr_GetRaisedException();
    PyErr_SetRaisedException(PyExc_TypeError);
    check_raised(PyExc_TypeError, "");
    PyErr_SetRaisedException(first);
    check_raised(PyExc_ValueError, "");
    finish();
}

TEST("an error is fetched in three parts, of which it is the first") {
    PyObject *type = NULL, *value = PyExc_TypeError, *traceback = value;
    begin();
    PyErr_Fetch(&type, &value, &traceback);
    CHECK_NULL(type);
    PyErr_SetString(PyExc_ValueError, "the text");
    PyErr_Fetch(&type, &value, &traceback);
    CHECK_PTR_EQ(type, PyExc_ValueError);
    CHECK_NULL(value);
    CHECK_NULL(traceback);
    CHECK_NULL(PyErr_Occurred());
    PyErr_Restore(type, value, traceback);
    check_raised(PyExc_ValueError, "the text");
    EXPECT_FATAL("PyErr_Fetch", "argument 'pvalue' must not be NULL") {
        PyErr_Fetch(&type, NULL, &traceback);
    }
    finish();
}
