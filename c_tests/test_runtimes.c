/* What runtimes that are not Python use: public pauses, the switch interval,
 * the setter of an event, the version. */
#include "host.h"

#include <pthread.h>

/* ---- Pauses ------------------------------------------------------------ */

struct runner {
    PyInterpreterState *interp;
    atomic_long steps;
    atomic_int stop;
};

static void run(void *arg) {
    struct runner *runner = arg;
    PyThreadState *mine = PyThreadState_Get();
    while (!atomic_load(&runner->stop)) {
        atomic_fetch_add(&runner->steps, 1);
        CHECK_INT_EQ(PyTState_Poll(mine), 0);
    }
}

static void check_pause(int gil, int all) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct runner runner = {.interp = mine->interp};
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, mine->interp, run, &runner, 0),
                 0);
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&runner.steps) > 100, LIMIT_MS);
    Py_END_ALLOW_THREADS
    for (int i = 0; i < 50; i++) {
        CHECK_INT_EQ(PyTState_StopTheWorld(all ? NULL : mine->interp), 0);
        PyThreadState *theirs = PyThreadHandle_ThreadState(handle);
        CHECK_INT_NE(theirs->state, PyTState_ATTACHED);
        const long before = atomic_load(&runner.steps);
        sched_yield();
        CHECK_INT_EQ(atomic_load(&runner.steps), before);
        PyTState_StartTheWorld(all ? NULL : mine->interp);
    }
    atomic_store(&runner.stop, 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyThreadHandle_Decref(handle);
    finish();
}

TEST("a public pause stops the threads of one interpreter") {
    check_pause(PyTState_GIL_SHARED, 0);
    check_pause(PyTState_GIL_NONE, 0);
}

TEST("a public pause stops the threads of all interpreters") {
    check_pause(PyTState_GIL_SHARED, 1);
    check_pause(PyTState_GIL_NONE, 1);
}

TEST("a pause inside of a pause is refused with an error") {
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), 0);
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), -1);
    check_raised(PyExc_RuntimeError,
                 "this thread has stopped the world already");
    CHECK_INT_EQ(PyTState_StopTheWorld(mine->interp), -1);
    PyErr_Clear();
    PyTState_StartTheWorld(NULL);
    finish();
}

TEST("a pause may be asked for by a thread without a state") {
    begin();
    Py_BEGIN_ALLOW_THREADS
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), 0);
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), -1);
    PyTState_StartTheWorld(NULL);
    Py_END_ALLOW_THREADS
    finish();
}

TEST("the end of a pause that was not begun is a misuse") {
    begin();
    EXPECT_FATAL("PyTState_StartTheWorld", "the world was not stopped") {
        PyTState_StartTheWorld(NULL);
    }
    finish();
}

/* ---- The switch interval ----------------------------------------------- */

TEST("the switch interval is read and set, attached or not") {
    PyThreadState *mine = begin();
    PyInterpreterState *interp = mine->interp;
    if (!mine->holds_gil)
        SKIP("without a GIL there is no interval to set");
    CHECK_INT_EQ(PyTState_GetSwitchInterval(interp), 5 * MS);
    Py_BEGIN_ALLOW_THREADS
    CHECK_INT_EQ(PyTState_SetSwitchInterval(interp, 2 * MS), 0);
    CHECK_INT_EQ(PyTState_GetSwitchInterval(interp), 2 * MS);
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(_PyEval_GetSwitchInterval(), 2000);
    CHECK_INT_EQ(PyTState_SetSwitchInterval(interp, 1), 0);
    CHECK_INT_EQ(PyTState_GetSwitchInterval(interp), 1000);
    CHECK_INT_EQ(PyTState_SetSwitchInterval(interp, INT64_MAX), 0);
    CHECK_INT_EQ(PyTState_GetSwitchInterval(interp),
                 INT64_C(4294967295) * 1000);
    for (PyTime_t bad = -1; bad <= 0; bad++) {
        CHECK_INT_EQ(PyTState_SetSwitchInterval(interp, bad), -1);
        check_raised(PyExc_ValueError, "the switch interval must be positive");
    }
    finish();
}

TEST("an interpreter with a GIL of its own has an interval of its own") {
    static const PyInterpreterConfig own = _PyInterpreterConfig_INIT;
    PyThreadState *mine = begin(), *theirs = NULL;
    CHECK_INT_EQ(PyStatus_Exception(Py_NewInterpreterFromConfig(&theirs, &own)),
                 0);
    CHECK_INT_EQ(PyTState_SetSwitchInterval(theirs->interp, MS), 0);
    CHECK_INT_EQ(PyTState_GetSwitchInterval(mine->interp), 5 * MS);
    CHECK_INT_EQ(PyTState_GetSwitchInterval(theirs->interp), MS);
    Py_EndInterpreter(theirs);
    PyThreadState_Swap(mine);
    finish();
}

/* ---- Events, the version ------------------------------------------------ */

static void wait_for(void *event) { PyEvent_Wait(event); }

TEST("an event is set in public, once, and wakes those that wait") {
    PyEvent event = {0};
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, wait_for, &event);
    peers_start(&peers);
    CHECK_INT_EQ(PyEvent_WaitTimed(&event, 0, 0), 0);
    PyTState_EventSet(&event);
    peers_join(&peers, LIMIT_MS);
    PyTState_EventSet(&event);
    CHECK_INT_EQ(PyEvent_WaitTimed(&event, 0, 0), 1);
    EXPECT_FATAL("PyTState_EventSet", "argument 'event' must not be NULL") {
        PyTState_EventSet(NULL);
    }
}

TEST("the library says its version") {
    CHECK_STR_EQ(PyTState_Version(), PYTSTATE_VERSION);
}
