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
        CHECK_INT_NE(__atomic_load_n(&theirs->state, __ATOMIC_SEQ_CST),
                     PyTState_ATTACHED);
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

/* ---- Exceptions left with a state --------------------------------------- */

static PyEvent go;

static void poll_until_raised(void *unused) {
    (void)unused;
    PyThreadState *mine = PyThreadState_Get();
    while (PyTState_Poll(mine) == 0) {
    }
    check_raised(PyExc_TimeoutError, "");
}

TEST("an exception may be left with a thread before it first attaches") {
    PyThreadState *mine = begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(
        PyThreadHandle_Start(handle, mine->interp, poll_until_raised, NULL, 0),
        0);
    CHECK_INT_EQ(PyTState_SetAsyncExc(PyThreadHandle_ThreadState(handle),
                                      PyExc_TimeoutError),
                 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyThreadHandle_Decref(handle);
    finish();
}

TEST("an exception that was left can be taken back, or replaced") {
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyTState_SetAsyncExc(mine, PyExc_ValueError), 1);
    CHECK_INT_EQ(PyTState_SetAsyncExc(mine, NULL), 1);
    CHECK_INT_EQ(PyTState_Poll(mine), 0);
    CHECK_INT_EQ(PyTState_SetAsyncExc(mine, PyExc_ValueError), 1);
    CHECK_INT_EQ(PyTState_SetAsyncExc(mine, PyExc_TimeoutError), 1);
    CHECK_INT_EQ(PyTState_Poll(mine), -1);
    check_raised(PyExc_TimeoutError, "");
    finish();
}

TEST("a state that was deleted takes no exception") {
    PyThreadState *mine = begin();
    PyThreadState *other = PyThreadState_New(mine->interp);
    CHECK_INT_EQ(PyTState_SetAsyncExc(other, PyExc_ValueError), 1);
    PyThreadState_Clear(other);
    CHECK_INT_EQ(PyTState_SetAsyncExc(other, PyExc_ValueError), 0);
    PyThreadState_Delete(other);
    CHECK_INT_EQ(PyTState_SetAsyncExc(other, PyExc_ValueError), 0);
    EXPECT_FATAL("PyTState_SetAsyncExc", "'tstate' must not be NULL") {
        PyTState_SetAsyncExc(NULL, PyExc_ValueError);
    }
    finish();
}

/* ---- Names ----------------------------------------------------------------
 */

static atomic_int named;

static void say_os_name(void *name) {
    CHECK_INT_EQ(pthread_getname_np(pthread_self(), name, 16), 0);
    atomic_store(&named, 1);
    PyEvent_Wait(&go);
    CHECK_INT_EQ(pthread_getname_np(pthread_self(), (char *)name + 16, 16), 0);
}

static const char *name_in_census(const char *name) {
    static PyTState_ThreadInfo info[8];
    size_t n = PyTState_Census(NULL, info, 8);
    for (size_t i = 0; i < n && i < 8; i++)
        if (strcmp(info[i].name, name) == 0)
            return info[i].name;
    return NULL;
}

TEST("a thread is named by its handle before the start and while it runs") {
    char seen[2][16] = {"", ""};
    PyThreadState *mine = begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, "first"), 0);
    CHECK_INT_EQ(
        PyThreadHandle_Start(handle, mine->interp, say_os_name, seen, 0), 0);
    CHECK_STR_EQ(name_in_census("first"), "first");
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&named), LIMIT_MS);
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, "second, and much longer"), 0);
    Py_END_ALLOW_THREADS
    CHECK_STR_EQ(name_in_census("second, and much longer"),
                 "second, and much longer");
    PyTState_EventSet(&go);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    CHECK_STR_EQ(seen[0], "first");
    CHECK_STR_EQ(seen[1], "second, and muc");
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, "gone"), 0);
    PyThreadHandle_Decref(handle);
    finish();
}

TEST("a name that is too long is cut, with an error") {
    char long_name[101];
    memset(long_name, 'x', 100);
    long_name[100] = 0;
    begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, long_name), -1);
    check_raised(PyExc_ValueError, "thread name is longer than 63 bytes");
    EXPECT_FATAL("PyThreadHandle_SetName", "'name' must not be NULL") {
        PyThreadHandle_SetName(handle, NULL);
    }
    PyThreadHandle_Decref(handle);
    finish();
}

/* ---- Handles by id --------------------------------------------------------
 */

static PyEvent ran;

static void wait_for_go(void *id) {
    *(uint64_t *)id = PyThreadState_GetID(PyThreadState_Get());
    PyTState_EventSet(&ran);
    PyEvent_Wait(&go);
}

TEST("a started thread's handle is found by the id of its state until it is "
     "joined") {
    uint64_t id = 0;
    PyThreadState *mine = begin();
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_Swap(mine);
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(
        PyThreadHandle_Start(handle, mine->interp, wait_for_go, &id, 0), 0);
    PyEvent_Wait(&ran);
    PyThreadHandle *found = PyTState_HandleOf(mine->interp, id);
    CHECK_PTR_EQ(found, handle);
    /* Neither other threads, nor the same number elsewhere. */
    CHECK_NULL(PyTState_HandleOf(mine->interp, PyThreadState_GetID(mine)));
    CHECK_NULL(PyTState_HandleOf(mine->interp, id + 1));
    CHECK_NULL(PyTState_HandleOf(mine->interp, 0));
    CHECK_NULL(PyTState_HandleOf(sub->interp, id));
    /* The reference that was found is enough to join it. */
    PyThreadHandle_Decref(handle);
    PyTState_EventSet(&go);
    CHECK_INT_EQ(PyThreadHandle_Join(found, LIMIT), 0);
    CHECK_NULL(PyTState_HandleOf(mine->interp, id));
    PyThreadHandle_Decref(found);
    EXPECT_FATAL("PyTState_HandleOf", "'interp' must not be NULL") {
        PyTState_HandleOf(NULL, 1);
    }
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(mine);
    finish();
}

TEST("threads are found by id while they end without a handle of the host") {
    enum { THREADS = 300 };
    PyThreadState *mine = begin();
    uint64_t first = PyThreadState_GetID(mine) + 1;
    for (int i = 0; i < THREADS; i++) {
        PyThreadHandle *handle = PyThreadHandle_New();
        CHECK_INT_EQ(
            PyThreadHandle_Start(handle, mine->interp, do_nothing, NULL, 0), 0);
        PyThreadHandle_Decref(handle);
        for (uint64_t id = first + (uint64_t)i; id + 3 > first + (uint64_t)i;
             id--) {
            PyThreadHandle *found = PyTState_HandleOf(mine->interp, id);
            if (found == NULL)
                continue;
            if (i & 1)
                CHECK_INT_EQ(PyThreadHandle_Join(found, LIMIT), 0);
            PyThreadHandle_Decref(found);
        }
    }
    finish();
}

TEST("a foreign thread is named for the OS as well, the main thread is not") {
    char name[16];
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyTState_SetName(mine, "main state"), 0);
    CHECK_INT_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    CHECK_STR_LACKS(name, "main state");
    finish();
}
