/* What a function of the host may not end while the library is calling it: each
 * such call is fatal, and the message names the call and the kind of function.
 *
 * Every function runs with a state of a sub-interpreter attached, or detached
 * as its kind demands. */
#include "host.h"

/* ---- What the functions do -------------------------------------------- */

static PyThreadState *main_state, *attached, *subject;
static PyInterpreterState *sub;

static void finalize(void) { Py_FinalizeEx(); }
static void finalize_void(void) { Py_Finalize(); }
static void exit_process(void) { Py_Exit(0); }
static void end_interp(void) { Py_EndInterpreter(PyThreadState_Get()); }
static void clear_interp(void) { PyInterpreterState_Clear(sub); }
static void delete_interp(void) { PyInterpreterState_Delete(sub); }
static void clear(void) { PyThreadState_Clear(attached); }
static void delete_subject(void) { PyThreadState_Delete(subject); }
static void delete_detached(void) {
    PyThreadState_Swap(main_state);
    PyThreadState_Delete(attached);
}
static void delete_current(void) { PyThreadState_DeleteCurrent(); }
static void swap_away(void) { PyThreadState_Swap(NULL); }
static void swap_other(void) { PyThreadState_Swap(main_state); }
static void detach(void) { PyEval_SaveThread(); }
static void attach(void) { PyEval_RestoreThread(main_state); }

static void (*act)(void);

static void call(void *data) {
    (void)data;
    act();
}

/* ---- The functions, and what calls them ------------------------------- */

static void begin_sub(const PyTState_Config *config) {
    main_state = begin_with(config);
    attached = new_interp(PyInterpreterConfig_SHARED_GIL);
    sub = attached->interp;
}

static void on_delete(void) {
    begin_sub(NULL);
    subject = PyThreadState_New(sub);
    subject->on_delete = call;
    PyThreadState_Clear(subject);
}

static void on_own_delete(void) {
    begin_sub(NULL);
    subject = attached;
    attached->on_delete = call;
    PyThreadState_Clear(attached);
}

static void at_exit(void) {
    begin_sub(NULL);
    CHECK_INT_EQ(PyUnstable_AtExit(sub, call, NULL), 0);
    Py_EndInterpreter(attached);
}

static void at_shutdown(void) {
    begin_sub(NULL);
    CHECK_INT_EQ(PyTState_AtShutdown(sub, call, NULL), 0);
    Py_EndInterpreter(attached);
}

static int pending(void *data) {
    (void)data;
    act();
    return 0;
}

static void pending_call(void) {
    begin_sub(NULL);
    CHECK_INT_EQ(_PyEval_AddPendingCall(sub, pending, NULL, 0), 0);
    _PyEval_MakePendingCalls(attached);
}

static void phase(PyInterpreterState *interp, int number, void *data) {
    (void)data;
    if (interp == sub && number != PyTState_PHASE_GONE)
        act(); /* attached */
}

static void phase_hook(void) {
    begin_sub(NULL);
    PyTState_SetShutdownPhaseHook(phase, NULL);
    Py_EndInterpreter(attached);
}

static void found(const char *func, const char *message, void *data) {
    (void)func, (void)message, (void)data;
    act();
}

static void check_callback(void) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.check_level = PyTState_CHECK_CALLBACK;
    begin_sub(&config);
    PyTState_SetCheckCallback(found, NULL);
    PyThreadState *one = PyThreadState_New(sub);
    PyThreadState_Delete(one); /* not cleared */
}

static void raised(PyObject *type, const char *message) {
    (void)type, (void)message;
    act();
}

static void raise_hook(void) {
    PyTState_ObjectHooks objects = {.raise = raised};
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.objects = &objects;
    begin_sub(&config);
    PyInterpreterState_GetID(NULL); /* RuntimeError */
}

static void destroyed(PyObject *object) {
    (void)object;
    act();
}

static void object_hook(void) {
    static int object;
    PyTState_ObjectHooks objects = {.decref = destroyed};
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.objects = &objects;
    begin_sub(&config);
    PyErr_SetNone((PyObject *)&object);
    PyErr_Clear();
}

static void passed(const char *point, void *data) {
    (void)point, (void)data;
    act();
}

static void sync_hook(void) {
    begin_sub(NULL);
    PyTState_Sync_Hook("test.hook", passed, NULL);
    PyTState_Sync_Point("test.hook");
}

static void between_forks(void) {
    begin_sub(NULL);
    subject = PyThreadState_New(sub);
    PyOS_BeforeFork();
    act();
}

/* ---- Called detached -------------------------------------------------- */

static PyEvent inside;

static void block(void *data) {
    subject = PyThreadState_Get();
    PyTState_BeginBlocking(call, data);
    _PyEvent_Notify(&inside);
    PyEvent_Wait(&inside);
    for (;;)
        pause();
}

static void unblock_function(void) {
    begin_sub(NULL);
    start_in(sub, block, NULL, 0);
    CHECK_INT_EQ(PyEvent_WaitTimed(&inside, LIMIT, 1), 1);
    PyTState_Unblock(subject);
}

static int late(PyThreadState *state, void *data) {
    (void)state, (void)data;
    act();
    return PyTState_LATE_HANG;
}

static PyThreadState *other_state;

static void be_late(void *data) {
    (void)data;
    main_state = PyThreadState_New(main_state->interp); /* of this thread */
    PyThreadState *state = PyThreadState_Get();
    PyEval_SaveThread();
    PyTState_Sync_Point("test.late");
    PyEval_RestoreThread(state);
}

static void late_hook(void) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.compat = 0x030E0000;
    begin_sub(&config);
    other_state = main_state;
    PyTState_SetLateAttachHook(late, NULL);
    hold("test.late");
    PyThreadHandle *handle =
        start_in(sub, be_late, NULL, PyThreadHandle_DAEMON);
    wait_held("test.late");
    Py_EndInterpreter(attached);
    let_go("test.late");
    PyThreadHandle_Join(handle, LIMIT);
}

/* ---- Each with each --------------------------------------------------- */

struct act {
    void (*act)(void);
    const char *func;
};

static const struct act runtime[] = {
    {finalize, "Py_FinalizeEx"},
    {finalize_void, "Py_Finalize"},
    {exit_process, "Py_Exit"},
};
static const struct act interps[] = {
    {end_interp, "Py_EndInterpreter"},
    {clear_interp, "PyInterpreterState_Clear"},
    {delete_interp, "PyInterpreterState_Delete"},
};
static const struct act states[] = {
    {clear, "PyThreadState_Clear"},
    {delete_detached, "PyThreadState_Delete"},
    {delete_current, "PyThreadState_DeleteCurrent"},
};
#define N_ACTS 3

/* Each call of `acts` in the function that `provoke` has called. */
static void forbid(void (*provoke)(void), const struct act *acts,
                   const char *name) {
    char text[200];
    for (int i = 0; i < N_ACTS; i++) {
        snprintf(text, sizeof text, "%s: called from %s, which still needs",
                 acts[i].func, name);
        act = acts[i].act;
        NOTE("%s", text);
        EXPECT_ABORT(text) { provoke(); }
    }
}

static void forbid_all(void (*provoke)(void), const char *name) {
    forbid(provoke, runtime, name);
    forbid(provoke, interps, name);
    forbid(provoke, states, name);
}

static void forbid_one(void (*provoke)(void), void (*which)(void),
                       const char *text) {
    act = which;
    EXPECT_ABORT(text) { provoke(); }
}

/* It must return as it was called. */
static void must_return(void (*provoke)(void), const char *name) {
    char text[200];
    snprintf(text, sizeof text,
             "%s returned without the thread state that it was called with",
             name);
    forbid_one(provoke, swap_away, text);
    forbid_one(provoke, swap_other, text);
    forbid_one(provoke, detach, text);
}

TEST("an on_delete hook may end nothing that its Clear still needs") {
    forbid_all(on_delete, "an on_delete hook");
    must_return(on_delete, "an on_delete hook");
    forbid_one(on_delete, delete_subject,
               "PyThreadState_Delete: called from an on_delete hook");
}

TEST("the on_delete hook of the attached state may not end that either") {
    forbid_all(on_own_delete, "an on_delete hook");
    must_return(on_own_delete, "an on_delete hook");
}

TEST("an at-exit function may not end what it is called for") {
    forbid_all(at_exit, "an at-exit function");
    must_return(at_exit, "an at-exit function");
    forbid_all(at_shutdown, "an at-exit function");
    must_return(at_shutdown, "an at-exit function");
}

TEST("a pending call may not end the state or interpreter that polls") {
    forbid(pending_call, interps, "a pending call");
    forbid(pending_call, states, "a pending call");
    must_return(pending_call, "a pending call");
}

TEST("a pending call may end the process") {
    begin_sub(NULL);
    EXPECT_EXIT(0, "") {
        act = exit_process;
        CHECK_INT_EQ(_PyEval_AddPendingCall(sub, pending, NULL, 0), 0);
        _PyEval_MakePendingCalls(attached);
    }
}

TEST("a shutdown phase hook may not end what is ending") {
    forbid_all(phase_hook, "a shutdown phase hook");
    must_return(phase_hook, "a shutdown phase hook");
}

TEST("a misuse callback may not end what the reported call needs") {
    forbid_all(check_callback, "a misuse callback");
    must_return(check_callback, "a misuse callback");
}

TEST("a raise hook may not end what the raising call needs") {
    forbid_all(raise_hook, "a raise hook");
    must_return(raise_hook, "a raise hook");
}

TEST("a destructor of the host's may not end what drops the reference") {
    forbid_all(object_hook, "an object hook");
    must_return(object_hook, "an object hook");
}

TEST("a sync hook may not end what passes the point") {
    forbid_all(sync_hook, "a sync hook");
}

TEST("an unblock function may not end the runtime, nor what it wakes") {
    forbid(unblock_function, runtime, "an unblock function");
    forbid_one(unblock_function, delete_subject,
               "PyThreadState_Delete: called from an unblock function");
    forbid_one(unblock_function, end_interp, "PyThreadState_Get: ");
    forbid_one(unblock_function, clear, "PyThreadState_Clear: ");
    forbid_one(unblock_function, delete_current,
               "PyThreadState_DeleteCurrent: ");
    forbid_one(unblock_function, attach,
               "an unblock function returned without the thread state");
}

TEST("a late-attach hook may end nothing, and returns detached") {
    forbid(late_hook, runtime, "a late-attach hook");
    forbid_one(late_hook, end_interp, "PyThreadState_Get: ");
    forbid_one(late_hook, clear, "PyThreadState_Clear: ");
    forbid_one(late_hook, delete_current, "PyThreadState_DeleteCurrent: ");
    forbid_one(late_hook, attach,
               "a late-attach hook returned without the thread state");
}

TEST("nothing is ended between the calls before and after a fork") {
    char text[200];
    const struct act acts[] = {
        {finalize, "Py_FinalizeEx"},
        {finalize_void, "Py_Finalize"},
        {exit_process, "Py_Exit"},
        {end_interp, "Py_EndInterpreter"},
        {clear_interp, "PyInterpreterState_Clear"},
        {delete_interp, "PyInterpreterState_Delete"},
        {clear, "PyThreadState_Clear"},
        {delete_subject, "PyThreadState_Delete"},
        {delete_current, "PyThreadState_DeleteCurrent"},
    };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        act = acts[i].act;
        snprintf(text, sizeof text, "%s: called between the calls before and",
                 acts[i].func);
        EXPECT_ABORT(text) { between_forks(); }
    }
}

static PyThreadStateToken *token;

static void release_state(void) { PyGILState_Release(PyGILState_UNLOCKED); }
static void release_token(void) { PyThreadState_Release(token); }

TEST("the last Release may not delete the state that a function was given") {
    PyThreadState *state = begin();
    PyInterpreterView *view = PyInterpreterView_FromMain();
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent(); /* now Ensure has to make one */
    PyTState_Sync_Hook("test.hook", passed, NULL);
    EXPECT_ABORT("PyGILState_Release: called from a sync hook, which still") {
        act = release_state;
        PyGILState_Ensure();
        PyTState_Sync_Point("test.hook");
    }
    EXPECT_ABORT("PyThreadState_Release: called from a sync hook, which") {
        act = release_token;
        token = PyThreadState_EnsureFromView(view);
        PyTState_Sync_Point("test.hook");
    }
    PyInterpreterView_Close(view);
}

/* ---- What is allowed -------------------------------------------------- */

/* Everything that a function makes itself it may end. */
static void use_others(void) {
    PyThreadState *before = PyThreadState_Get();
    PyThreadState *one = PyThreadState_New(before->interp);
    PyThreadState_Swap(one);
    PyThreadState_Clear(one);
    PyThreadState_DeleteCurrent();
    PyThreadState_Swap(new_interp(PyInterpreterConfig_SHARED_GIL));
    Py_EndInterpreter(PyThreadState_Get());
    PyEval_RestoreThread(before);
    PyEval_RestoreThread(PyEval_SaveThread());
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_LOCKED);
    PyGILState_Release(PyGILState_LOCKED);
}

TEST("every function may end what it made itself") {
    void (*const provoke[])(void) = {
        on_delete,  on_own_delete, at_exit,     at_shutdown, pending_call,
        phase_hook, raise_hook,    object_hook, sync_hook,
    };
    act = use_others;
    for (size_t i = 0; i < sizeof provoke / sizeof *provoke; i++)
        EXPECT_CHILD_EXIT(0) { provoke[i](); }
}

static int n_finalized;

static void finalize_again(void) {
    CHECK_INT_EQ(Py_FinalizeEx(), 0); /* at once: it is under way here */
    n_finalized++;
}

TEST("Py_FinalizeEx from a function that it called itself returns at once") {
    act = finalize_again;
    begin();
    PyThreadState_Get()->on_delete = call;
    CHECK_INT_EQ(PyUnstable_AtExit(PyInterpreterState_Get(), call, NULL), 0);
    CHECK_INT_EQ(PyTState_AtShutdown(PyInterpreterState_Get(), call, NULL), 0);
    finish();
    CHECK_INT_EQ(n_finalized, 3);
}

static pthread_key_t key;

static void finalize_at_thread_end(void *data) {
    (void)data;
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    n_finalized++;
}

static void leave_to_destructor(void *data) { pthread_setspecific(key, data); }

TEST("a thread-specific destructor may end the runtime") {
    struct peers all = PEERS_INIT;
    CHECK_INT_EQ(pthread_key_create(&key, finalize_at_thread_end), 0);
    begin();
    PyThreadHandle *handle = start(leave_to_destructor, &key);
    PyEval_SaveThread();
    WAIT_UNTIL(PyThreadHandle_IsDone(handle), LIMIT_MS);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyThreadHandle_Decref(handle);
    CHECK_INT_EQ(n_finalized, 1);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    begin();
    PyEval_SaveThread();
    peers_add(&all, 1, leave_to_destructor, &key); /* a foreign thread */
    peers_start(&all);
    peers_join(&all, LIMIT_MS);
    WAIT_UNTIL(!Py_IsInitialized(), LIMIT_MS);
}

/* ---- A hook whose thread finalization gives up ------------------------- */

static void wait_in_hook(void *data) {
    (void)data;
    PyThreadState *state = PyEval_SaveThread();
    PyTState_Sync_Point("test.in_hook");
    PyEval_RestoreThread(state);
    FAIL("attached after the end");
}

static void delete_slowly(void *interp) {
    enter(interp)->on_delete = wait_in_hook;
    leave();
}

TEST("an end sets the exit event of a state that is inside its hook") {
    struct peers all = PEERS_INIT;
    PyThreadState *state = begin();
    hold("test.in_hook");
    peers_add(&all, 1, delete_slowly, state->interp);
    peers_start(&all);
    wait_held("test.in_hook");
    PyThreadState *other = PyInterpreterState_ThreadHead(state->interp);
    CHECK_PTR_NE(other, state);
    PyEvent *event = PyTState_GetExitEvent(other);
    CHECK_INT_EQ(_PyEvent_IsSet(event), 0);
    finish();
    CHECK_INT_EQ(_PyEvent_IsSet(event), 1);
    PyTState_ReleaseExitEvent(event);
    let_go("test.in_hook");
}
