/* Version emulation: one case for each row of docs/compat.md that the level
 * decides, at every level. */
#include "host.h"

#include <stdlib.h>

/* The levels, oldest first. */
static const int levels[] = {0x030C0000, 0x030D0000, 0x030E0000, 0x030F0000};
#define V3_12 levels[0]
#define V3_13 levels[1]
#define V3_14 levels[2]
#define V3_15 levels[3]

static PyThreadState *begin_as(int level) {
    PyTState_Config config = {.compat = level};
    return begin_with(&config);
}

/* Runs the block that follows once for each level, each in a process. */
#define AT_EVERY_LEVEL                                              \
    for (int i_ = 0, level; i_ < 4; i_++)                           \
        if (level = levels[i_], NOTE("at %#x", (unsigned)level), 1) \
    EXPECT_CHILD_EXIT(0)

/* ---- Which level ------------------------------------------------------ */

/* The class of the error that tells 3.12 from the rest (see below). */
static PyObject *refusal;

static void refuse_start(void *arg) {
    (void)arg;
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      do_nothing, NULL, 0),
                 -1);
    refusal = PyErr_Occurred();
    check_raised(refusal, "can't create new thread at interpreter shutdown");
    PyThreadHandle_Decref(handle);
}

static PyObject *refusal_in_this_life(void) {
    CHECK_INT_EQ(
        PyUnstable_AtExit(PyInterpreterState_Get(), refuse_start, NULL), 0);
    finish();
    return refusal;
}

TEST("a thread refused at the end: RuntimeError in 3.12, "
     "PythonFinalizationError later") {
    AT_EVERY_LEVEL {
        begin_as(level);
        CHECK_PTR_EQ(refusal_in_this_life(),
                     level == V3_12 ? PyExc_RuntimeError
                                    : PyExc_PythonFinalizationError);
    }
}

TEST("the environment chooses, the configuration chooses before it, and each "
     "life anew") {
    setenv("PYTSTATE_COMPAT", "3.12", 1);
    begin();
    CHECK_PTR_EQ(refusal_in_this_life(), PyExc_RuntimeError);
    begin_as(V3_14);
    CHECK_PTR_EQ(refusal_in_this_life(), PyExc_PythonFinalizationError);
    setenv("PYTSTATE_COMPAT", "2.7", 1);
    begin();
    CHECK_PTR_EQ(refusal_in_this_life(), PyExc_PythonFinalizationError);
    unsetenv("PYTSTATE_COMPAT");
    begin_as(V3_12 | 0x0500);
    CHECK_PTR_EQ(refusal_in_this_life(), PyExc_RuntimeError);
    begin();
    CHECK_PTR_EQ(refusal_in_this_life(), PyExc_PythonFinalizationError);
}

/* ---- Leftover threads ------------------------------------------------- */

static PyEvent go, at_it;
static atomic_long late_thread;

static void attach_late(void *arg) {
    (void)arg;
    atomic_store(&late_thread, test_native_id());
    PyThreadState *mine = PyEval_SaveThread();
    _PyEvent_Notify(&at_it);
    PyEvent_Wait(&go);
    PyEval_RestoreThread(mine);
    FAIL("a leftover thread attached");
}

static void check_late(int level) {
    _PyEvent_Notify(&go);
    if (level == V3_12) {
        WAIT_UNTIL(!test_thread_exists(late_thread), LIMIT_MS);
        return;
    }
    WAIT_UNTIL(test_thread_sleeps(late_thread), LIMIT_MS);
    CHECK_INT_EQ(test_thread_count(), 2);
}

TEST("a leftover thread that attaches exits in 3.12, hangs later") {
    AT_EVERY_LEVEL {
        PyThreadState *main_state = begin_as(level);
        PyThreadHandle *handle = start_in(main_state->interp, attach_late, NULL,
                                          PyThreadHandle_DAEMON);
        PyEvent_Wait(&at_it);
        finish();
        check_late(level);
        /* Joined either way, from 3.14 on not before it met its end. */
        WAIT_UNTIL(PyThreadHandle_IsDone(handle), LIMIT_MS);
        CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    }
}

TEST("a state that is left at Py_EndInterpreter is fatal up to 3.13, given up "
     "later") {
    for (int i = 0; i < 2; i++)
        EXPECT_ABORT("Fatal Python error: Py_EndInterpreter: not the last "
                     "thread") {
            begin_as(levels[i]);
            PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
            PyThreadState_New(sub->interp);
            Py_EndInterpreter(sub);
        }
    for (int i = 2; i < 4; i++)
        EXPECT_CHILD_EXIT(0) {
            PyThreadState *main_state = begin_as(levels[i]);
            PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
            start_in(sub->interp, attach_late, NULL, PyThreadHandle_DAEMON);
            PyEvent_Wait(&at_it);
            Py_EndInterpreter(sub);
            check_late(levels[i]);
            PyEval_RestoreThread(main_state);
            CHECK_INT_EQ(Py_IsFinalizing(), 0);
            finish();
        }
}

/* ---- Waiting while the runtime finalizes ------------------------------ */

static void stay(void *arg) {
    (void)arg;
    PyEval_SaveThread();
    _PyEvent_Notify(&at_it);
    for (;;)
        pause();
}

struct joins {
    PyThreadHandle *running, *ended;
    int result;
    PyObject *error;
};

static void join_at_exit(void *arg) {
    struct joins *joins = arg;
    CHECK_INT_EQ(Py_IsFinalizing(), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(joins->ended, -1), 0);
    joins->result = PyThreadHandle_Join(joins->running, 20 * MS);
    joins->error = PyErr_Occurred();
    PyErr_Clear();
}

TEST("a join during finalization waits up to 3.13, is refused later") {
    AT_EVERY_LEVEL {
        PyThreadState *main_state = begin_as(level);
        struct joins joins = {.running = start_in(main_state->interp, stay,
                                                  NULL, PyThreadHandle_DAEMON),
                              .ended = start(do_nothing, NULL)};
        PyEvent_Wait(&at_it);
        CHECK_INT_EQ(
            PyUnstable_AtExit(main_state->interp, join_at_exit, &joins), 0);
        finish();
        CHECK_INT_EQ(joins.result, level >= V3_14 ? -1 : 1);
        CHECK_PTR_EQ(joins.error,
                     level >= V3_14 ? PyExc_PythonFinalizationError : NULL);
    }
}

static PyMutex held;

struct lockings {
    PyLockStatus status, free_status;
    PyObject *error;
};

static void lock_at_exit(void *arg) {
    struct lockings *lockings = arg;
    const _PyLockFlags flags =
        _PY_LOCK_DETACH | _PY_LOCK_HANDLE_SIGNALS | _PY_LOCK_PYTHONLOCK;
    PyMutex one = {0};
    lockings->free_status = _PyMutex_LockTimed(&one, -1, flags);
    lockings->status = _PyMutex_LockTimed(&held, 20 * MS, flags);
    lockings->error = PyErr_Occurred();
    PyErr_Clear();
}

TEST("a lock of attached threads waits during finalization up to 3.14, is "
     "refused in 3.15") {
    AT_EVERY_LEVEL {
        struct lockings lockings = {0};
        PyThreadState *main_state = begin_as(level);
        PyMutex_Lock(&held);
        /* Before the commit the flag changes nothing. */
        lock_at_exit(&lockings);
        CHECK_INT_EQ(lockings.status, PY_LOCK_FAILURE);
        CHECK_NULL(lockings.error);
        CHECK_INT_EQ(
            PyUnstable_AtExit(main_state->interp, lock_at_exit, &lockings), 0);
        finish();
        CHECK_INT_EQ(lockings.free_status, PY_LOCK_ACQUIRED);
        CHECK_INT_EQ(lockings.status, PY_LOCK_FAILURE);
        CHECK_PTR_EQ(lockings.error,
                     level == V3_15 ? PyExc_PythonFinalizationError : NULL);
    }
}

/* ---- PyThread locks --------------------------------------------------- */

TEST("releasing a lock that nobody has lets one more in up to 3.14, is fatal "
     "in 3.15") {
    for (int i = 0; i < 3; i++)
        EXPECT_CHILD_EXIT(0) {
            begin_as(levels[i]);
            PyThread_type_lock lock = PyThread_allocate_lock();
            PyThread_release_lock(lock);
            CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
            CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
            CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 0);
            CHECK_INT_EQ(PyThread_acquire_lock_timed(lock, 1000, 0),
                         PY_LOCK_FAILURE);
            PyThread_release_lock(lock);
            CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
            CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 0);
            PyThread_free_lock(lock);
            finish();
        }
    EXPECT_ABORT("Fatal Python error: PyThread_release_lock: unlocking mutex "
                 "that is not locked") {
        begin_as(V3_15);
        PyThread_release_lock(PyThread_allocate_lock());
    }
}

/* ---- PyGILState_Ensure without a runtime ------------------------------ */

static void ensure(void *arg) {
    (void)arg;
    atomic_store(&late_thread, test_native_id());
    PyGILState_Ensure();
    FAIL("PyGILState_Ensure returned without a runtime");
}

static void ensure_elsewhere(int level) {
    static struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, ensure, NULL);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&late_thread), LIMIT_MS);
    check_late(level);
    if (level == V3_12)
        CHECK_INT_EQ(pthread_join(peers.one[0].thread, NULL), 0);
}

TEST("PyGILState_Ensure after finalization exits in 3.12, hangs later") {
    AT_EVERY_LEVEL {
        begin_as(level);
        finish();
        ensure_elsewhere(level);
    }
}

TEST("PyGILState_Ensure before the first initialization is fatal up to 3.13, "
     "hangs later") {
    EXPECT_ABORT("Fatal Python error: PyGILState_Ensure: ") {
        setenv("PYTSTATE_COMPAT", "3.12", 1);
        PyGILState_Ensure();
    }
    EXPECT_ABORT("Fatal Python error: PyGILState_Ensure: ") {
        setenv("PYTSTATE_COMPAT", "3.13", 1);
        PyGILState_Ensure();
    }
    EXPECT_CHILD_EXIT(0) {
        setenv("PYTSTATE_COMPAT", "3.14", 1);
        ensure_elsewhere(V3_14);
    }
    EXPECT_CHILD_EXIT(0) { ensure_elsewhere(V3_15); }
}

TEST("PyGILState_Check without a runtime is 1 up to 3.14, 0 in 3.15") {
    static const char *const names[] = {"3.12", "3.13", "3.14", "3.15"};
    for (int i = 0; i < 4; i++)
        EXPECT_CHILD_EXIT(0) {
            setenv("PYTSTATE_COMPAT", names[i], 1);
            CHECK_INT_EQ(PyGILState_Check(), levels[i] < V3_15);
            begin();
            CHECK_INT_EQ(PyGILState_Check(), 1);
            PyThreadState *mine = PyEval_SaveThread();
            CHECK_INT_EQ(PyGILState_Check(), 0);
            PyEval_RestoreThread(mine);
            finish();
            CHECK_INT_EQ(PyGILState_Check(), levels[i] < V3_15);
        }
}

/* ---- Requests --------------------------------------------------------- */

TEST("PyErr_CheckSignals raises an asynchronous exception in 3.15, "
     "never before") {
    AT_EVERY_LEVEL {
        begin_as(level);
        CHECK_INT_EQ(PyThreadState_SetAsyncExc(PyThread_get_thread_ident(),
                                               PyExc_ValueError),
                     1);
        if (level == V3_15) {
            CHECK_INT_EQ(PyErr_CheckSignals(), -1);
            check_raised(PyExc_ValueError, "");
        }
        CHECK_INT_EQ(PyErr_CheckSignals(), 0);
        finish();
    }
}

static int nothing(void *unused) {
    (void)unused;
    return 0;
}

TEST("31 calls are queued for the main thread in 3.12, 32 later") {
    AT_EVERY_LEVEL {
        int n = 0;
        begin_as(level);
        while (n < 100 && Py_AddPendingCall(nothing, NULL) == 0)
            n++;
        CHECK_INT_EQ(n, level == V3_12 ? 31 : 32);
        finish();
    }
}

/* ---- What no level changes -------------------------------------------- */

static int deleted_while_linked;

static void look_at_state(void *arg) {
    PyThreadState *state = *(PyThreadState **)arg;
    deleted_while_linked = is_linked(PyInterpreterState_Main(), state);
    CHECK_INT_EQ(_PyEvent_IsSet(state->exit_event), 0);
}

TEST("on_delete runs at the end of Clear, before the exit event, at every "
     "level") {
    AT_EVERY_LEVEL {
        PyThreadState *main_state = begin_as(level);
        PyThreadState *state = PyThreadState_New(main_state->interp);
        state->on_delete = look_at_state;
        state->on_delete_data = &state;
        PyThreadState_Clear(state);
        CHECK_INT_EQ(deleted_while_linked, 1);
        CHECK_INT_EQ(_PyEvent_IsSet(state->exit_event), 1);
        PyThreadState_Delete(state);
        finish();
    }
}

static void count_and_add(void *arg) {
    if (++*(int *)arg < 3)
        CHECK_INT_EQ(
            PyTState_AtShutdown(PyInterpreterState_Get(), count_and_add, arg),
            0);
}

static int finalizing_at_end = -1;

static void look_at_runtime(void *arg) {
    (void)arg;
    finalizing_at_end = Py_IsFinalizing();
}

TEST("sub-interpreters are ended before the commit, and callbacks that add "
     "callbacks are heard, at every level") {
    AT_EVERY_LEVEL {
        int counted = 0;
        PyThreadState *main_state = begin_as(level);
        PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
        CHECK_INT_EQ(PyUnstable_AtExit(sub->interp, look_at_runtime, NULL), 0);
        CHECK_INT_EQ(
            PyTState_AtShutdown(main_state->interp, count_and_add, &counted),
            0);
        PyThreadState_Swap(main_state);
        finish();
        CHECK_INT_EQ(finalizing_at_end, 0);
        CHECK_INT_EQ(counted, 3);
    }
}

TEST("guards, views and IsLocked are there at every level") {
    AT_EVERY_LEVEL {
        PyMutex mutex = {0};
        begin_as(level);
        PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
        CHECK_NOT_NULL(guard);
        PyInterpreterGuard_Close(guard);
        CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 0);
        finish();
    }
}
