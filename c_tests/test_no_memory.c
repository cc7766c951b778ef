/* What needs no memory: every public function that test_failing_os.c does not
 * make fail is called here with all memory refused, and asks for none. The last
 * case finds a function that is in neither file. */
#include "host.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>

#include "failing_os.h"

/* What the calls work on, made while there is memory. */
static PyThreadState *main_state, *sub_state, *spare_state;
static PyInterpreterState *interp;
static PyInterpreterGuard *guard;
static PyInterpreterView *view;
static PyThreadHandle *handle;
static PyThread_type_lock lock;
static Py_tss_t *key;
static _PyEventRc *event;
static int null_fd;

static PyMutex an_object_mutex;

static PyMutex *mutex_of(PyObject *op) {
    (void)op;
    return &an_object_mutex;
}

static void make_world(void) {
    static const PyTState_ObjectHooks hooks = {.object_mutex = mutex_of};
    PyTState_Config config = {.size = sizeof config, .objects = &hooks};
    main_state = begin_with(&config);
    interp = main_state->interp;
    sub_state = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_Swap(main_state);
    spare_state = PyThreadState_New(interp);
    guard = PyInterpreterGuard_FromCurrent();
    view = PyInterpreterView_FromCurrent();
    handle = start(do_nothing, NULL);
    WAIT_DETACHED(PyThreadHandle_IsDone(handle));
    lock = PyThread_allocate_lock();
    key = PyThread_tss_alloc();
    event = _PyEventRc_New();
    null_fd = open("/dev/null", O_WRONLY);
    CHECK(spare_state && guard && view && lock && key && event && null_fd >= 0);
}

/* Runs `body` with all memory refused; nobody may even ask. */
static void frugally(void (*body)(void)) {
    if (!OS_CAN_FAIL)
        SKIP("the OS cannot be made to fail under a sanitizer");
    make_world();
    fail_after(&fail_memory, 0, 1);
    body();
    fail_no_more(&fail_memory);
    CHECK_INT_EQ(fail_memory.calls, 0);
}

static int pass_by(PyThreadState *tstate, void *unused) {
    (void)tstate, (void)unused;
    return 0;
}

/* ---- States and attaching --------------------------------------------- */

static void use_states(void) {
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), main_state);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(main_state), interp);
    CHECK_UINT_EQ(PyThreadState_GetID(main_state), 1);
    CHECK_PTR_EQ(PyThreadState_Next(spare_state), main_state);
    CHECK_NULL(PyThreadState_GetDict());
    CHECK_NULL(PyThreadState_GetFrame(main_state));
    PyThreadState_EnterTracing(main_state);
    CHECK_INT_EQ(PyTState_TracingDepth(main_state), 1);
    PyThreadState_LeaveTracing(main_state);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(0, NULL), 0);
    CHECK_PTR_EQ(PyThreadState_Swap(spare_state), main_state);
    PyThreadState_Clear(spare_state);
    PyThreadState_DeleteCurrent();
    _PyThreadState_Attach(main_state);
    /* Its block is there for the next one. */
    spare_state = PyThreadState_New(interp);
    PyThreadState_Clear(spare_state);
    PyThreadState_Delete(spare_state);

    CHECK_PTR_EQ(PyEval_SaveThread(), main_state);
    CHECK_INT_EQ(PyTState_Rebind(main_state), 0); /* it is ours */
    PyEval_RestoreThread(main_state);
    PyEval_ReleaseThread(main_state);
    PyEval_AcquireThread(main_state);
    _PyThreadState_Detach(main_state);
    _PyThreadState_Attach(main_state);
    PyEval_InitThreads();
    CHECK_INT_EQ(PyEval_ThreadsInitialized(), 1);
    PyEval_ReleaseLock();
    PyEval_AcquireLock();
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_LOCKED);
    PyGILState_Release(PyGILState_LOCKED);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), main_state);
    CHECK_INT_EQ(PyTState_KeepThreadState(1), 0);
    CHECK_INT_EQ(PyTState_KeepThreadState(0), 1);
    CHECK_INT_EQ(PyTState_BeginBlocking(do_nothing, NULL), 0);
    CHECK_INT_EQ(PyTState_Unblock(main_state), 1);
    PyTState_EndBlocking();

    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    Py_LeaveRecursiveCall();
    Py_SetRecursionLimit(Py_GetRecursionLimit());
    CHECK_INT_EQ(PyUnstable_ThreadState_SetStackProtection(
                     main_state, &main_state, (size_t)1 << 20),
                 0);
    PyUnstable_ThreadState_ResetStackProtection(main_state);
    _PyEval_SetSwitchInterval(_PyEval_GetSwitchInterval());
}

TEST("states, attaching, recursion checks") {
    /* Where the main thread's stack ends is a question that needs memory. */
    if (OS_CAN_FAIL) {
        begin();
        CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    }
    frugally(use_states);
}

/* ---- Interpreters, guards, handles ------------------------------------ */

static void use_interpreters(void) {
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    CHECK_PTR_EQ(PyInterpreterState_Main(), interp);
    CHECK_PTR_EQ(PyInterpreterState_Head(), sub_state->interp);
    CHECK_PTR_EQ(PyInterpreterState_Next(sub_state->interp), interp);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), spare_state);
    CHECK_INT_EQ(PyInterpreterState_GetID(sub_state->interp), 1);
    CHECK_NULL(PyInterpreterState_GetDict(interp));
    CHECK_PTR_EQ(_PyInterpreterState_LookUpID(0), interp);
    CHECK_INT_EQ(_PyInterpreterState_HasFeature(interp, Py_RTFLAGS_THREADS), 1);
    _PyInterpreterState_RequireIDRef(interp, 0);
    CHECK_INT_EQ(_PyInterpreterState_RequiresIDRef(interp), 0);
    _PyInterpreterState_WaitForThreads(interp);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 0, NULL, 0, NULL), 0);
    CHECK_PTR_EQ(_PyInterpreterGuard_GetInterpreter(guard), interp);
    PyInterpreterGuard_Close(guard);
    guard = PyInterpreterGuard_FromView(view); /* the same block again */
    CHECK_INT_EQ(_PyInterpreterState_GuardCountdown(interp), 1);
    PyThreadStateToken *token = PyThreadState_Ensure(guard);
    PyThreadState_Release(token);
    PyInterpreterGuard_Close(guard);
    PyInterpreterView_Close(view);
    PyThreadHandle_Incref(handle);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, -1), 0);
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 1);
    CHECK_UINT_NE(PyThreadHandle_Ident(handle), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    PyThreadHandle_Decref(handle);

    _PyEval_StopTheWorld(sub_state->interp);
    _PyEval_StartTheWorld(sub_state->interp);
    CHECK_INT_EQ(PyTState_StopTheWorld(interp), 0);
    PyTState_StartTheWorld(interp);
    CHECK_INT_EQ(PyTState_SetSwitchInterval(interp, MS), 0);
    CHECK_INT_GT(PyTState_GetSwitchInterval(interp), 0);
    _PyEval_StopTheWorldAll(NULL);
    _PyEval_StartTheWorldAll(NULL);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Poll(PyTState_QSBR_Advance()), 0);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Process(), 0);

    PyThreadState_Swap(sub_state);
    Py_EndInterpreter(sub_state);
    PyEval_RestoreThread(main_state);
}

TEST("interpreters, guards, handles, pauses") { frugally(use_interpreters); }

static void at_exit(void) {}

static void end_by_hand(void) {
    PyInterpreterState *sub = sub_state->interp;
    PyInterpreterState_Clear(sub);
    PyInterpreterState_Delete(sub);
    PyInterpreterGuard_Close(guard);
    CHECK_INT_EQ(Py_AtExit(at_exit), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_INT_EQ(Py_IsFinalizing(), 1);
    CHECK_INT_EQ(_Py_IsFinalizing(), 1);
    Py_Finalize();
    /* The blocks of the life before serve the next. */
    Py_InitializeEx(0);
    Py_Initialize();
    CHECK(!PyStatus_Exception(PyTState_Initialize(NULL)));
    Py_Finalize();
}

TEST("an end by hand, finalization, and another life") {
    frugally(end_by_hand);
}

/* ---- Locks ------------------------------------------------------------ */

static int succeed(void *arg) {
    (void)arg;
    return 0;
}

static void unparked(void *arg, void *park_arg, int more) {
    *(int *)arg = park_arg == NULL && !more;
}

static void use_locks(void) {
    static PyMutex one, other;
    static PyEvent plain;
    _PyRawMutex raw = {0};
    _PyRecursiveMutex recursive = {0};
    _PyRWMutex rw = {0};
    _PySeqLock seq = {0};
    _PyOnceFlag once = {0};
    int seen = 0;
    PyMutex_Lock(&one);
    CHECK_INT_EQ(PyMutex_IsLocked(&one), 1);
    CHECK_INT_EQ(_PyMutex_LockTimed(&one, MS, _PY_LOCK_DETACH),
                 PY_LOCK_FAILURE);
    PyMutex_Unlock(&one);
    CHECK_INT_EQ(_PyMutex_TryUnlock(&one), -1);
    _PyRawMutex_LockSlow(&raw);
    _PyRawMutex_UnlockSlow(&raw);
    _PyRecursiveMutex_Lock(&recursive);
    CHECK_INT_EQ(_PyRecursiveMutex_LockTimed(&recursive, 0, 0),
                 PY_LOCK_ACQUIRED);
    CHECK_INT_EQ(_PyRecursiveMutex_IsLockedByCurrentThread(&recursive), 1);
    _PyRecursiveMutex_Unlock(&recursive);
    CHECK_INT_EQ(_PyRecursiveMutex_TryUnlock(&recursive), 0);
    _PyRWMutex_RLock(&rw);
    _PyRWMutex_RUnlock(&rw);
    _PyRWMutex_Lock(&rw);
    _PyRWMutex_Unlock(&rw);
    _PySeqLock_LockWrite(&seq);
    _PySeqLock_UnlockWrite(&seq);
    _PySeqLock_LockWrite(&seq);
    _PySeqLock_AbandonWrite(&seq);
    CHECK_INT_EQ(_PySeqLock_EndRead(&seq, _PySeqLock_BeginRead(&seq)), 1);
    CHECK_INT_EQ(_PySeqLock_AfterFork(&seq), 0);
    CHECK_INT_EQ(_PyOnceFlag_CallOnceSlow(&once, succeed, NULL), 0);
    CHECK_INT_EQ(PyEvent_WaitTimed(&plain, MS, 1), 0);
    _PyEvent_Notify(&plain);
    PyTState_EventSet(&plain);
    CHECK_INT_EQ(PyTState_SetAsyncExc(main_state, NULL), 1);
    PyTState_VisitThreads(NULL, pass_by, NULL);
    CHECK_NULL(PyTState_HandleOf(main_state->interp, 0));
    CHECK_NULL(PyTState_InterpHostData(interp));
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, "frugal"), 0);
    CHECK_INT_EQ(_PyEvent_IsSet(&plain), 1);
    PyEvent_Wait(&plain);
    _PyEventRc_Incref(event);
    _PyEventRc_Decref(event);
    _PyEventRc_Decref(event);
    CHECK_INT_EQ(_PyParkingLot_Park(&one, &one, 1, MS, NULL, 1),
                 Py_PARK_TIMEOUT);
    _PyParkingLot_Unpark(&one, unparked, &seen);
    CHECK_INT_EQ(seen, 1);
    _PyParkingLot_UnparkAll(&one);
    _PyParkingLot_AfterFork();

    PyCriticalSection section;
    PyCriticalSection2 two;
    PyCriticalSection_BeginMutex(&section, &one);
    PyCriticalSection_End(&section);
    PyCriticalSection_Begin(&section, NULL);
    PyCriticalSection_End(&section);
    PyCriticalSection2_BeginMutex(&two, &one, &other);
    PyCriticalSection2_End(&two);
    PyCriticalSection2_Begin(&two, NULL, NULL);
    PyCriticalSection2_End(&two);

    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
    CHECK_INT_EQ(PyThread_acquire_lock_timed(lock, 1000, 0), PY_LOCK_FAILURE);
    CHECK_INT_EQ(PyThread_acquire_lock_timed_with_retries(lock, 1000),
                 PY_LOCK_FAILURE);
    PyThread_release_lock(lock);
    PyThread_free_lock(lock);
}

TEST("locks, events, the parking lot, critical sections") {
    frugally(use_locks);
}

/* ---- Threads of the OS, and their storage ----------------------------- */

static void use_thread_calls(void) {
    PyThread_init_thread();
    CHECK_UINT_EQ(PyThread_get_thread_ident(), (unsigned long)pthread_self());
    CHECK_UINT_EQ(PyThread_get_thread_ident_ex(), PyThread_get_thread_ident());
    CHECK_UINT_EQ(PyThread_get_thread_native_id(), test_native_id());
    CHECK_INT_EQ(PyThread_set_stacksize(PyThread_get_stacksize()), 0);
    CHECK_INT_NE(PyThread_join_thread((PyThread_handle_t)pthread_self()), 0);
    PyThread_ReInitTLS();
    CHECK_INT_EQ(PyThread_tss_create(key), 0);
    CHECK_INT_EQ(PyThread_tss_is_created(key), 1);
    CHECK_INT_EQ(PyThread_tss_set(key, key), 0);
    CHECK_PTR_EQ(PyThread_tss_get(key), key);
    PyThread_tss_delete(key);
    PyThread_tss_free(key);
    int old = PyThread_create_key();
    CHECK_INT_EQ(PyThread_set_key_value(old, &old), 0);
    CHECK_PTR_EQ(PyThread_get_key_value(old), &old);
    PyThread_delete_key_value(old);
    PyThread_delete_key(old);
}

static PyThread_handle_t detachable;
static void (*volatile let_thread_go)(PyEvent *) = _PyEvent_Notify;

static void detach_frugally(void) {
    CHECK_INT_EQ(PyThread_detach_thread(detachable), 0);
}

TEST("threads of the OS, and their storage") {
    static PyEvent go;
    PyThread_ident_t ident;
    frugally(use_thread_calls);
    CHECK_INT_EQ(PyThread_start_joinable_thread(wait_for_event, &go, &ident,
                                                &detachable),
                 0);
    fail_after(&fail_memory, 0, 1);
    detach_frugally();
    fail_no_more(&fail_memory);
    CHECK_INT_EQ(fail_memory.calls, 0);
    let_thread_go(&go);
}

/* ---- Errors, signals, pending calls ----------------------------------- */

static void use_errors(void) {
    PyErr_SetNone(PyExc_ValueError);
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_ValueError);
    CHECK_INT_EQ(PyErr_ExceptionMatches(PyExc_ValueError), 1);
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    PyErr_SetRaisedException(PyErr_GetRaisedException());
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_Restore(type, value, traceback);
    PyErr_Clear();
    CHECK_INT_EQ(PySignal_SetWakeupFd(-1), -1);
    CHECK_NULL(PyErr_NoMemory());
    PyErr_Print();
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(_PyErr_CheckSignalsTstate(main_state), 0);
    PyErr_SetInterrupt();
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGINT), 0);
    _PyEval_SignalReceived();
    PyOS_InterruptOccurred();
    _PyOS_InterruptOccurred(main_state);
    CHECK_INT_EQ(_PyOS_IsMainThread(), 1);
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    PyOS_setsig(SIGUSR2, PyOS_getsig(SIGUSR2));
    PyTState_SetSignalHandler(NULL, NULL);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR2, 1), 0);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR2, 0), 0);
    CHECK_INT_EQ(Py_AddPendingCall(succeed, NULL), 0);
    CHECK_INT_EQ(
        PyTState_RunOnThread(main_state, succeed, NULL, PyTState_RUN_WAIT), 0);
    CHECK_INT_EQ(PyTState_RunOnThread(spare_state, succeed, NULL,
                                      PyTState_RUN_DETACHED_TOO),
                 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), 0);
    CHECK_INT_EQ(_Py_HandlePending(main_state), 0);
    _Py_FinishPendingCalls(main_state);
}

TEST("errors, signals, pending calls") { frugally(use_errors); }

static void use_status(void) {
    CHECK_INT_EQ(PyStatus_Exception(PyStatus_Ok()), 0);
    CHECK_INT_EQ(PyStatus_IsError(PyStatus_Error("why")), 1);
    CHECK_INT_EQ(PyStatus_IsError(PyStatus_NoMemory()), 1);
    CHECK_INT_EQ(PyStatus_IsExit(PyStatus_Exit(3)), 1);
    PyPreConfig before;
    PyPreConfig_InitPythonConfig(&before);
    PyPreConfig_InitIsolatedConfig(&before);
    CHECK(!PyStatus_Exception(Py_PreInitialize(&before)));
    PyConfig python;
    PyConfig_InitPythonConfig(&python);
    PyConfig_Clear(&python);
    PyConfig_InitIsolatedConfig(&python);
    CHECK(!PyStatus_Exception(Py_InitializeFromConfig(&python)));
    PyConfig_Clear(&python);
    PyTState_Config config;
    PyTState_Config_Init(&config);
    CHECK(!PyStatus_Exception(PyTState_Initialize(&config)));
}

TEST("statuses and configurations") { frugally(use_status); }

/* ---- Watching --------------------------------------------------------- */

static void hear_phase(PyInterpreterState *which, int phase, void *data) {
    (void)which;
    (void)phase;
    (void)data;
}

static void hear_check(const char *func, const char *text, void *data) {
    (void)func;
    (void)text;
    (void)data;
}

static int choose(PyThreadState *state, void *data) {
    (void)state;
    (void)data;
    return PyTState_LATE_HANG;
}

static void look_around(void) {
    PyTime_t now;
    CHECK_STR_EQ(PyTState_Version(), PYTSTATE_VERSION);
    CHECK_INT_EQ(PyTime_Monotonic(&now), 0);
    CHECK_INT_EQ(PyTime_MonotonicRaw(&now), 0);
    CHECK_INT_EQ(PyTime_PerfCounter(&now), 0);
    CHECK_INT_EQ(PyTime_PerfCounterRaw(&now), 0);
    CHECK_INT_EQ(PyTime_Time(&now), 0);
    CHECK_INT_EQ(PyTime_TimeRaw(&now), 0);
    CHECK(PyTime_AsSecondsDouble(now) > 0);
    Py_IncRef(PyExc_ValueError);
    Py_DecRef(PyExc_ValueError);
}

TEST("clocks, the version, counting references") { frugally(look_around); }

static void hook(const char *point, void *arg) {
    (void)point;
    (void)arg;
}

static void watch(void) {
    PyTState_ThreadInfo info[4];
    const char *names[4];
    CHECK_UINT_EQ(PyTState_Census(NULL, info, 4), 3);
    PyTState_DumpThreads(null_fd);
    PyTState_DumpWaits(null_fd);
    CHECK_INT_EQ(PyTState_SetShutdownReport(0, null_fd), 0);
    CHECK_INT_EQ(PyTState_SetWatchdog(0, null_fd), 0);
    CHECK_INT_EQ(PyTState_SetName(main_state, "frugal"), 0);
    PyTState_ReleaseExitEvent(PyTState_GetExitEvent(main_state));
    CHECK_NULL(PyTState_HostData(main_state));
    PyTState_Here("here:1");
    CHECK_INT_EQ(PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT), 0);
    PyTState_SetLateAttachHook(choose, NULL);
    PyTState_SetCheckCallback(hear_check, NULL);
    PyTState_SetShutdownPhaseHook(hear_phase, NULL);
    CHECK_INT_EQ(PyTState_ShutdownPhase(interp), PyTState_PHASE_RUNNING);
    CHECK_UINT_GT(PyTState_Sync_List(names, 4), 4);
    CHECK_INT_EQ(PyTState_Sync_Hook("attach.done", hook, NULL), 0);
    CHECK_INT_EQ(PyTState_Sync_Order("test.first", "test.then"), 0);
    CHECK_INT_EQ(PyTState_Sync_Pause("test.paused"), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("test.paused", 0), 1);
    CHECK_INT_EQ(PyTState_Sync_Wake("test.paused"), 0);
    PyTState_Sync_Point("test.first");
    PyTState_Sync_Point("test.then");
    PyTState_Sync_Clear();
    CHECK_INT_EQ(PyTState_Sync_Perturb(0, 0, 0), 0);
    CHECK_INT_EQ(PyTState_TraceStart("/dev/null"), 0);
    PyEval_RestoreThread(PyEval_SaveThread());
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
}

TEST("census, dumps, hooks, policies, sync points, the trace") {
    frugally(watch);
}

/* ---- Forks ------------------------------------------------------------ */

static void fork_frugally(void) {
    for (int old_name = 0; old_name < 2; old_name++) {
        PyOS_BeforeFork();
        int asked = fail_memory.calls;
        pid_t pid = fork();
        if (pid == 0) {
            if (old_name)
                PyOS_AfterFork();
            else
                PyOS_AfterFork_Child();
            CHECK_INT_EQ(fail_memory.calls, asked);
            PyInterpreterGuard_Close(guard);
            CHECK_INT_EQ(Py_FinalizeEx(), 0);
            test_child_done(0);
        }
        PyOS_AfterFork_Parent();
        CHECK_CHILD_EXIT(pid, 0);
    }
}

static void fork_by_handlers(void) {
    pid_t pid = fork();
    if (pid == 0) {
        PyInterpreterGuard_Close(guard);
        CHECK_INT_EQ(Py_FinalizeEx(), 0);
        test_child_done(0);
    }
    CHECK_CHILD_EXIT(pid, 0);
}

TEST("forks, in parent and child") {
    frugally(fork_frugally);
    PyInterpreterGuard_Close(guard);
    finish();
    CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0);
    frugally(fork_by_handlers);
}

/* ---- Nothing is forgotten --------------------------------------------- */

#define INCLUDE_TEXT(name, path)                                               \
    extern const char name[];                                                  \
    __asm__(".section .rodata\n.global " #name "\n" #name ":\n.incbin \"" path \
            "\"\n.byte 0\n.previous\n")

INCLUDE_TEXT(symbols_text, "include/pytstate.sym");
INCLUDE_TEXT(failing_text, "c_tests/test_failing_os.c");
INCLUDE_TEXT(frugal_text, "c_tests/test_no_memory.c");

static int is_called_in(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += length) {
        int before =
            at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '_');
        int after = isalnum((unsigned char)at[length]) || at[length] == '_';
        if (!before && !after)
            return 1;
    }
    return 0;
}

/* These never return, or the process ends with them. */
static const char *const ends[] = {
    "PyThread_exit_thread",   "PyThread_hang_thread", "Py_Exit",
    "Py_ExitStatusException", "Py_FatalError",        "_Py_FatalErrorFunc",
    "_PyThreadState_Init",
};

static int is_an_end(const char *name) {
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(ends[i], name) == 0)
            return 1;
    return strncmp(name, "PyExc_", 6) == 0; /* data */
}

TEST("every public function is called here or in test_failing_os.c") {
    char name[128];
    int used, n = 0, missing = 0;
    for (const char *at = symbols_text;
         sscanf(at, " %127s%n", name, &used) == 1; at += used) {
        n++;
        if (is_an_end(name) || is_called_in(failing_text, name) ||
            is_called_in(frugal_text, name))
            continue;
        NOTE("%s is in neither file", name);
        missing++;
    }
    CHECK_INT_GT(n, 200);
    CHECK_INT_EQ(missing, 0);
}
