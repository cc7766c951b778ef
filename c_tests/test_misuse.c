/* Misuse: what ends the process, with which words, and what only warns.
 *
 * Every case checks "Fatal Python error: <function>: <text>" and that the
 * identity and the kernel id of the guilty thread are named. */
#include "host.h"

/* ---- NULL ------------------------------------------------------------- */

static void null_new(void) { PyThreadState_New(NULL); }
static void null_prealloc(void) { _PyThreadState_Prealloc(NULL); }
static void null_clear(void) { PyThreadState_Clear(NULL); }
static void null_delete(void) { PyThreadState_Delete(NULL); }
static void null_get_interp(void) { PyThreadState_GetInterpreter(NULL); }
static void null_get_id(void) { PyThreadState_GetID(NULL); }
static void null_next(void) { PyThreadState_Next(NULL); }
static void null_attach(void) { _PyThreadState_Attach(NULL); }
static void null_detach(void) { _PyThreadState_Detach(NULL); }
static void null_restore(void) { PyEval_RestoreThread(NULL); }
static void null_acquire(void) { PyEval_AcquireThread(NULL); }
static void null_release(void) { PyEval_ReleaseThread(NULL); }
static void null_i_clear(void) { PyInterpreterState_Clear(NULL); }
static void null_i_delete(void) { PyInterpreterState_Delete(NULL); }
static void null_i_next(void) { PyInterpreterState_Next(NULL); }
static void null_i_threads(void) { PyInterpreterState_ThreadHead(NULL); }
static void null_i_dict(void) { PyInterpreterState_GetDict(NULL); }
static void null_i_requires(void) { _PyInterpreterState_RequiresIDRef(NULL); }
static void null_i_require(void) { _PyInterpreterState_RequireIDRef(NULL, 1); }
static void null_i_feature(void) { _PyInterpreterState_HasFeature(NULL, 1); }
static void null_i_wait(void) { _PyInterpreterState_WaitForThreads(NULL); }
static void null_wait(void) { PyTState_WaitForThreads(NULL, 0, NULL, 0, NULL); }
static void null_name_state(void) { PyTState_SetName(NULL, "name"); }
static void null_name(void) { PyTState_SetName(PyThreadState_Get(), NULL); }
static void null_event(void) { PyTState_GetExitEvent(NULL); }
static void null_data(void) { PyTState_HostData(NULL); }
static void null_config(void) { PyTState_Config_Init(NULL); }
static void null_incref(void) { PyThreadHandle_Incref(NULL); }
static void null_start(void) {
    PyThreadHandle_Start(NULL, PyInterpreterState_Get(), do_nothing, NULL, 0);
}
static void null_start_interp(void) {
    PyThreadHandle_Start(PyThreadHandle_New(), NULL, do_nothing, NULL, 0);
}
static void null_start_func(void) {
    PyThreadHandle_Start(PyThreadHandle_New(), PyInterpreterState_Get(), NULL,
                         NULL, 0);
}
static void null_join(void) { PyThreadHandle_Join(NULL, 0); }
static void null_is_done(void) { PyThreadHandle_IsDone(NULL); }
static void null_ident(void) { PyThreadHandle_Ident(NULL); }
static void null_state(void) { PyThreadHandle_ThreadState(NULL); }
static void null_new_interp(void) {
    PyInterpreterConfig config = _PyInterpreterConfig_LEGACY_INIT;
    Py_NewInterpreterFromConfig(NULL, &config);
}
static void null_new_config(void) {
    PyThreadState *first;
    Py_NewInterpreterFromConfig(&first, NULL);
}
static void null_end(void) { Py_EndInterpreter(NULL); }

static const char no_state[] = "no thread state is attached";

static const struct {
    const char *func, *text;
    void (*call)(void);
} nulls[] = {
    {"PyThreadState_New", "'interp' must not be NULL", null_new},
    {"_PyThreadState_Prealloc", "'interp' must not be NULL", null_prealloc},
    {"PyThreadState_Clear", "'tstate' must not be NULL", null_clear},
    {"PyThreadState_Delete", "'tstate' must not be NULL", null_delete},
    {"PyThreadState_GetInterpreter", "'tstate' must not be NULL",
     null_get_interp},
    {"PyThreadState_GetID", "'tstate' must not be NULL", null_get_id},
    {"PyThreadState_Next", "'tstate' must not be NULL", null_next},
    {"_PyThreadState_Attach", "'tstate' must not be NULL", null_attach},
    {"_PyThreadState_Detach", "'tstate' must not be NULL", null_detach},
    {"PyEval_RestoreThread", "'tstate' must not be NULL", null_restore},
    {"PyEval_AcquireThread", "'tstate' must not be NULL", null_acquire},
    {"PyEval_ReleaseThread", "'tstate' must not be NULL", null_release},
    {"PyInterpreterState_Clear", "'interp' must not be NULL", null_i_clear},
    {"PyInterpreterState_Delete", "'interp' must not be NULL", null_i_delete},
    {"PyInterpreterState_Next", "'interp' must not be NULL", null_i_next},
    {"PyInterpreterState_ThreadHead", "'interp' must not", null_i_threads},
    {"PyInterpreterState_GetDict", "'interp' must not be NULL", null_i_dict},
    {"_PyInterpreterState_RequiresIDRef", "'interp' must", null_i_requires},
    {"_PyInterpreterState_RequireIDRef", "'interp' must", null_i_require},
    {"_PyInterpreterState_HasFeature", "'interp' must not", null_i_feature},
    {"_PyInterpreterState_WaitForThreads", "'interp' must", null_i_wait},
    {"PyTState_WaitForThreads", "'interp' must not be NULL", null_wait},
    {"PyTState_SetName", "'tstate' must not be NULL", null_name_state},
    {"PyTState_SetName", "'name' must not be NULL", null_name},
    {"PyTState_GetExitEvent", "'tstate' must not be NULL", null_event},
    {"PyTState_HostData", "'tstate' must not be NULL", null_data},
    {"PyTState_Config_Init", "'config' must not be NULL", null_config},
    {"PyThreadHandle_Incref", "'handle' must not be NULL", null_incref},
    {"PyThreadHandle_Start", "'handle' must not be NULL", null_start},
    {"PyThreadHandle_Start", "'interp' must not be NULL", null_start_interp},
    {"PyThreadHandle_Start", "'func' must not be NULL", null_start_func},
    {"PyThreadHandle_Join", "'handle' must not be NULL", null_join},
    {"PyThreadHandle_IsDone", "'handle' must not be NULL", null_is_done},
    {"PyThreadHandle_Ident", "'handle' must not be NULL", null_ident},
    {"PyThreadHandle_ThreadState", "'handle' must not be NULL", null_state},
    {"Py_NewInterpreterFromConfig", "'tstate_p' must not", null_new_interp},
    {"Py_NewInterpreterFromConfig", "'config' must not", null_new_config},
    {"Py_EndInterpreter", "thread is not current", null_end},
};

TEST("NULL where it is not allowed is fatal, naming the function (S-FE-01)") {
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        EXPECT_FATAL(nulls[i].func, nulls[i].text) {
            begin();
            nulls[i].call();
        }
}

TEST("NULL where it is allowed does what the documentation says") {
    CHECK_INT_EQ(PyTState_ShutdownPhase(NULL), PyTState_PHASE_GONE);
    CHECK_UINT_EQ(PyTState_Census(NULL, NULL, 0), 0);
    CHECK_INT_EQ(PyInterpreterState_GetID(NULL), -1);
    begin();
    CHECK_INT_EQ(PyInterpreterState_GetID(NULL), -1);
    check_raised(PyExc_RuntimeError, "no interpreter");
    PyThreadHandle_Decref(NULL);
    PyTState_ReleaseExitEvent(NULL);
    PyTState_Here(NULL);
    PyTState_SetCheckCallback(NULL, NULL);
    PyTState_SetLateAttachHook(NULL, NULL);
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    CHECK_INT_EQ(
        PyTState_WaitForThreads(PyInterpreterState_Get(), 0, NULL, 9, NULL), 0);
    CHECK_UINT_EQ(PyTState_Census(NULL, NULL, 9), 1);
    finish();
    CHECK_INT_EQ(PyStatus_Exception(PyTState_Initialize(NULL)), 0);
    finish();
}

/* ---- Detached --------------------------------------------------------- */

static PyThreadState *saved; /* the main state, detached */

static void bare_get(void) { PyThreadState_Get(); }
static void bare_interp(void) { PyInterpreterState_Get(); }
static void bare_clear(void) { PyThreadState_Clear(saved); }
static void bare_delete(void) { PyThreadState_DeleteCurrent(); }
static void bare_save(void) { PyEval_SaveThread(); }
static void bare_release(void) { PyEval_ReleaseThread(saved); }
static void bare_detach(void) { _PyThreadState_Detach(saved); }
static void bare_i_clear(void) { PyInterpreterState_Clear(saved->interp); }
static void bare_wait(void) {
    _PyInterpreterState_WaitForThreads(saved->interp);
}
static void bare_before_fork(void) { PyOS_BeforeFork(); }
static void bare_parent(void) { PyOS_AfterFork_Parent(); }
static void bare_child(void) { PyOS_AfterFork_Child(); }
static void bare_take(void) { PyEval_AcquireLock(); }
static void bare_drop(void) { PyEval_ReleaseLock(); }
static void bare_set_interval(void) { _PyEval_SetSwitchInterval(1); }
static void bare_interval(void) { _PyEval_GetSwitchInterval(); }

static const struct {
    const char *func;
    void (*call)(void);
} bare[] = {
    {"PyThreadState_Get", bare_get},
    {"PyInterpreterState_Get", bare_interp},
    {"PyThreadState_Clear", bare_clear},
    {"PyThreadState_DeleteCurrent", bare_delete},
    {"PyEval_SaveThread", bare_save},
    {"PyEval_ReleaseThread", bare_release},
    {"_PyThreadState_Detach", bare_detach},
    {"PyInterpreterState_Clear", bare_i_clear},
    {"_PyInterpreterState_WaitForThreads", bare_wait},
    {"PyOS_BeforeFork", bare_before_fork},
    {"PyOS_AfterFork_Parent", bare_parent},
    {"PyOS_AfterFork_Child", bare_child},
    {"PyEval_AcquireLock", bare_take},
    {"PyEval_ReleaseLock", bare_drop},
    {"_PyEval_SetSwitchInterval", bare_set_interval},
    {"_PyEval_GetSwitchInterval", bare_interval},
};

TEST("what needs an attached state is fatal without one (S-FE-01)") {
    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++)
        EXPECT_FATAL(bare[i].func, no_state) {
            saved = begin();
            PyEval_SaveThread();
            bare[i].call();
        }
}

TEST("the same before the runtime was ever initialized") {
    EXPECT_FATAL("PyThreadState_Get", no_state) { PyThreadState_Get(); }
    EXPECT_FATAL("PyEval_SaveThread", no_state) { PyEval_SaveThread(); }
    EXPECT_FATAL("PyInterpreterState_Get", no_state) {
        PyInterpreterState_Get();
    }
    EXPECT_FATAL("PyGILState_Ensure", "initialize") {
        setenv("PYTSTATE_COMPAT", "3.13", 1); /* later ones hang */
        PyGILState_Ensure();
    }
    EXPECT_FATAL("PyGILState_Release", "no thread-state for this thread") {
        PyGILState_Release(PyGILState_UNLOCKED);
    }
    EXPECT_FATAL("_PyThreadState_Init", "internal use only") {
        _PyThreadState_Init(NULL);
    }
}

/* ---- Attaching wrongly ------------------------------------------------ */

TEST("restoring while attached is fatal, itself included (S-TS-08)") {
    EXPECT_FATAL("PyEval_RestoreThread", "non-NULL old thread state") {
        PyEval_RestoreThread(begin());
    }
    EXPECT_FATAL("PyEval_RestoreThread", "non-NULL old thread state") {
        PyEval_RestoreThread(PyThreadState_New(begin()->interp));
    }
    EXPECT_FATAL("PyEval_AcquireThread", "non-NULL old thread state") {
        PyEval_AcquireThread(PyThreadState_New(begin()->interp));
    }
    EXPECT_FATAL("_PyThreadState_Attach", "non-NULL old thread state") {
        _PyThreadState_Attach(PyThreadState_New(begin()->interp));
    }
}

static PyThreadState *cleared(void) {
    PyThreadState *one = PyThreadState_New(begin()->interp);
    PyThreadState_Clear(one);
    return one;
}

static PyThreadState *deleted(void) {
    PyThreadState *one = cleared();
    PyThreadState_Delete(one);
    return one;
}

TEST("a cleared or deleted state is not attached again (S-FE-52)") {
    EXPECT_FATAL("PyEval_RestoreThread", "was cleared") {
        PyThreadState *one = cleared();
        PyEval_SaveThread();
        PyEval_RestoreThread(one);
    }
    EXPECT_FATAL("PyThreadState_Swap", "was cleared") {
        PyThreadState_Swap(cleared());
    }
    EXPECT_FATAL("PyEval_AcquireThread", "was deleted") {
        PyThreadState *one = deleted();
        PyEval_SaveThread();
        PyEval_AcquireThread(one);
    }
    EXPECT_FATAL("PyThreadState_Swap", "was deleted") {
        PyThreadState_Swap(deleted());
    }
    EXPECT_FATAL("PyEval_RestoreThread", "was cleared") {
        PyThreadState *mine = begin();
        PyThreadState_Clear(mine);
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
    }
}

static void *restore_foreign(void *state) {
    i_die();
    PyEval_RestoreThread(state);
    return NULL;
}

static void on_thread(void *(*body)(void *), void *arg) {
    pthread_t thread;
    CHECK_INT_EQ(pthread_create(&thread, NULL, body, arg), 0);
    pthread_join(thread, NULL);
}

TEST("a host that asks for strictness may not attach a state of another "
     "thread (S-BD-08)") {
    EXPECT_FATAL("PyEval_RestoreThread", "belongs to thread 0x") {
        PyTState_Config config = {.check_level = PyTState_CHECK_STRICT};
        PyThreadState *one = PyThreadState_New(begin_with(&config)->interp);
        PyEval_SaveThread();
        on_thread(restore_foreign, one);
    }
}

TEST("detaching what is not attached is fatal (S-AT-04, S-FE-10)") {
    NEEDS_GIL();
    EXPECT_FATAL("PyEval_ReleaseThread", "wrong thread state") {
        PyEval_ReleaseThread(PyThreadState_New(begin()->interp));
    }
    EXPECT_FATAL("_PyThreadState_Detach", "wrong thread state") {
        _PyThreadState_Detach(PyThreadState_New(begin()->interp));
    }
    EXPECT_FATAL("PyEval_ReleaseLock", "GIL is not locked") {
        begin();
        PyEval_ReleaseLock();
        PyEval_ReleaseLock();
    }
    EXPECT_FATAL("PyEval_SaveThread", "GIL is not locked") {
        begin();
        PyEval_ReleaseLock();
        PyEval_SaveThread();
    }
    EXPECT_FATAL("PyEval_AcquireLock", "holds the GIL already") {
        begin();
        PyEval_AcquireLock();
    }
}

/* ---- Clearing and deleting wrongly ------------------------------------ */

TEST("a state is cleared once") {
    EXPECT_FATAL("PyThreadState_Clear", "was cleared before") {
        PyThreadState_Clear(cleared());
    }
    EXPECT_FATAL("PyThreadState_Clear", "was cleared before") {
        PyThreadState *one = PyThreadState_New(begin()->interp);
        PyThreadState_Swap(one);
        PyThreadState_Clear(one);
        PyThreadState_Clear(one);
    }
}

TEST("the attached state is not deleted (S-FE-02)") {
    EXPECT_FATAL("PyThreadState_Delete", "is still current") {
        PyThreadState_Delete(begin());
    }
    EXPECT_FATAL("PyThreadState_Delete", "is still current") {
        PyThreadState *mine = begin();
        PyThreadState_Clear(mine);
        PyThreadState_Delete(mine);
    }
}

static struct latch there = LATCH_INIT(1);
static PyThreadState *_Atomic theirs;

static void *stay_attached(void *interp) {
    PyThreadState *mine = PyThreadState_New(interp);
    PyEval_RestoreThread(mine);
    theirs = mine;
    latch_arrive(&there);
    for (;;)
        pause();
    return NULL;
}

/* A state of `interp`, attached to another thread for good. */
static PyThreadState *attached_elsewhere(PyInterpreterState *interp) {
    pthread_t thread;
    CHECK_INT_EQ(pthread_create(&thread, NULL, stay_attached, interp), 0);
    CHECK_INT_EQ(latch_wait(&there, LIMIT_MS), 1);
    return theirs;
}

TEST("a state that is attached elsewhere is not cleared or deleted") {
    EXPECT_FATAL("PyThreadState_Delete", "still attached to another thread") {
        PyThreadState *mine = begin();
        PyEval_SaveThread();
        PyThreadState_Delete(attached_elsewhere(mine->interp));
    }
    EXPECT_FATAL("PyThreadState_Clear", "attached to another thread") {
        begin();
        PyThreadState *first = new_interp(PyTState_INTERP_NO_GIL);
        PyThreadState_Clear(attached_elsewhere(first->interp));
    }
}

TEST("delete comes after clear, and once (S-DL-04)") {
    EXPECT_FATAL("PyThreadState_Delete", "was not cleared") {
        PyThreadState_Delete(PyThreadState_New(begin()->interp));
    }
    EXPECT_FATAL("PyThreadState_DeleteCurrent", "was not cleared") {
        begin();
        PyThreadState_DeleteCurrent();
    }
    EXPECT_FATAL("PyThreadState_Delete", "was deleted before") {
        PyThreadState_Delete(deleted());
    }
    EXPECT_FATAL("PyThreadState_Clear", "was cleared before") {
        PyThreadState_Clear(deleted());
    }
}

TEST("a state is cleared from its own interpreter (S-DL-06)") {
    EXPECT_FATAL("PyThreadState_Clear", "another interpreter") {
        PyThreadState *main_state = begin();
        PyThreadState *one = PyThreadState_New(main_state->interp);
        new_interp(PyInterpreterConfig_OWN_GIL);
        PyThreadState_Clear(one);
    }
}

/* ---- PyGILState ------------------------------------------------------- */

TEST("PyGILState_Release without Ensure is fatal (S-GS-08, 09, 12)") {
    EXPECT_FATAL("PyGILState_Release", "must be current when releasing") {
        begin();
        PyEval_SaveThread();
        PyGILState_Release(PyGILState_UNLOCKED);
    }
    EXPECT_FATAL("PyGILState_Release", "no thread-state for this thread") {
        begin();
        leave();
        PyGILState_Release(PyGILState_UNLOCKED);
    }
    EXPECT_FATAL("PyGILState_Release", "7 is no PyGILState_STATE") {
        begin();
        PyGILState_Ensure();
        (PyGILState_Release)(7);
    }
}

/* ---- Names ------------------------------------------------------------ */

static void named_death(void *arg) {
    (void)arg;
    PyTState_SetName(PyThreadState_Get(), "db-pool-3");
    i_die();
    PyEval_SaveThread();
    PyEval_SaveThread();
}

TEST("the thread that dies is named, and whoever holds the GIL") {
    NEEDS_GIL();
    EXPECT_FATAL("PyEval_SaveThread", "'db-pool-3' thread state 0x") {
        begin();
        join(start(named_death, NULL));
    }
    EXPECT_FATAL("PyThreadState_Get", "interpreter is held by thread 0x") {
        PyThreadState *mine = begin();
        PyEval_SaveThread();
        attached_elsewhere(mine->interp);
        PyThreadState_Get();
    }
    EXPECT_FATAL("PyThreadState_Get", "GIL of the main interpreter is free") {
        begin();
        PyEval_SaveThread();
        PyThreadState_Get();
    }
    EXPECT_FATAL("PyThreadState_Get", "runtime state: unknown") {
        PyThreadState_Get();
    }
    EXPECT_FATAL("PyThreadState_Get", "no thread state") {
        PyThreadState_Get();
    }
}

/* ---- Levels (5) ------------------------------------------------------- */

static PyThreadState *begin_at(int check_level) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.check_level = check_level;
    return begin_with(&config);
}

static atomic_int reports;

static void on_misuse(const char *func, const char *message, void *data) {
    CHECK_STR_EQ(func, "PyThreadState_Clear");
    CHECK_STR_CONTAINS(message, "was cleared before");
    CHECK_PTR_EQ(data, &reports);
    atomic_fetch_add(&reports, 1);
}

static void clear_twice(PyThreadState *main_state) {
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState_Clear(one);
    PyThreadState_Clear(one);
    PyThreadState_Delete(one);
    CHECK_UINT_EQ(n_states(NULL), 1);
}

TEST("with checks off, misuse goes on as in CPython's release build") {
    EXPECT_EXIT(0, "") {
        clear_twice(begin_at(PyTState_CHECK_OFF));
        finish();
    }
}

TEST("with checks on WARN, a line says so and the call goes on") {
    EXPECT_EXIT(0, "pytstate: misuse: PyThreadState_Clear: thread state 0x") {
        clear_twice(begin_at(PyTState_CHECK_WARN));
        finish();
    }
}

TEST("with checks on CALLBACK, the host is told; without one it is fatal") {
    PyTState_SetCheckCallback(on_misuse, &reports);
    clear_twice(begin_at(PyTState_CHECK_CALLBACK));
    CHECK_INT_EQ(atomic_load(&reports), 1);
    finish();
    PyTState_SetCheckCallback(NULL, NULL);
    EXPECT_FATAL("PyThreadState_Clear", "was cleared before") {
        clear_twice(begin_at(PyTState_CHECK_CALLBACK));
    }
    EXPECT_FATAL("PyThreadState_Clear", "was cleared before") {
        clear_twice(begin_at(PyTState_CHECK_FATAL));
    }
}

static void *use_foreign(void *state) {
    PyEval_RestoreThread(state);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    leave();
    return NULL;
}

TEST("with checks off, a foreign thread may use and delete a state") {
    PyThreadState *main_state = begin_at(PyTState_CHECK_OFF);
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState *undead = PyThreadState_New(main_state->interp);
    PyEval_SaveThread();
    on_thread(use_foreign, one);
    PyEval_RestoreThread(main_state);
    PyThreadState_Delete(undead); /* not cleared: it is cleared then */
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

TEST("what would break memory is fatal at every level") {
    EXPECT_FATAL("PyThreadState_Delete", "is still current") {
        PyThreadState_Delete(begin_at(PyTState_CHECK_OFF));
    }
    EXPECT_FATAL("PyThreadState_Delete", "was deleted before") {
        PyThreadState *one =
            PyThreadState_New(begin_at(PyTState_CHECK_WARN)->interp);
        PyThreadState_Clear(one);
        PyThreadState_Delete(one);
        PyThreadState_Delete(one);
    }
}

TEST("a configuration with a bad field is refused, naming the field (5)") {
    static const struct {
        PyTState_Config config;
        const char *text;
    } bad[] = {
        {{.size = 8}, "size"},
        {{.gil = 2}, "gil"},
        {{.gil = -1}, "gil"},
        {{.late_attach = 3}, "late_attach"},
        {{.late_attach = -1}, "late_attach"},
        {{.compat = 0x030B0000}, "compat"},
        {{.compat = 0x04000000}, "compat"},
        {{.check_level = 5}, "check_level"},
        {{.host_tstate_size = SIZE_MAX / 2}, "host_tstate_size"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        PyStatus status = PyTState_Initialize(&bad[i].config);
        CHECK_INT_EQ(PyStatus_IsError(status), 1);
        CHECK_STR_EQ(status.func, "PyTState_Initialize");
        CHECK_STR_CONTAINS(status.err_msg, bad[i].text);
        CHECK_INT_EQ(Py_IsInitialized(), 0);
        CHECK_NULL(PyInterpreterState_Main());
    }
    PyTState_Config zero = {0};
    begin_with(&zero);
    finish();
}
