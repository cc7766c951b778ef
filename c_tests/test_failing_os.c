/* An OS that fails: every call that needs memory, a thread, a key or a stack
 * tells it as documented, leaves nothing behind, and works the next time. */
#include "host.h"

#include "failing_os.h"

#define NEEDS_FAILING_OS                                             \
    do {                                                             \
        if (!OS_CAN_FAIL)                                            \
            SKIP("the OS cannot be made to fail under a sanitizer"); \
    } while (0)

/* ---- Memory: calls that report it ------------------------------------- */

/* The world in which the calls are made: an attached main thread, a
 * sub-interpreter, a guard, a view, a handle. */
static PyThreadState *main_state, *sub_state;
static PyInterpreterGuard *guard;
static PyInterpreterView *view;
static PyThreadHandle *handle;

/* What the calls make, for their `undo`. */
static union {
    void *pointer;
    PyThread_ident_t ident;
} made;
static PyThread_handle_t joinable;
static PyThread_type_lock old_lock;

enum { NO_ERROR, MEMORY_ERROR, MEMORY_OR_THREAD };

/* A call that allocates. It returns 1 if it succeeded. */
struct call {
    const char *name;
    int (*make)(void);
    void (*undo)(void);
    int error; /* what the indicator says after a failure */
};

#define MAKES(name, error, success, undoing)           \
    static int make_##name(void) { return (success); } \
    static void undo_##name(void) { undoing; }         \
    enum { error_##name = (error) };
#define CALL(name) \
    { #name, make_##name, undo_##name, error_##name }

MAKES(PyThreadState_New, NO_ERROR,
      (made.pointer = PyThreadState_New(main_state->interp)) != NULL,
      PyThreadState_Clear(made.pointer);
      PyThreadState_Delete(made.pointer))
MAKES(_PyThreadState_Prealloc, NO_ERROR,
      (made.pointer = _PyThreadState_Prealloc(main_state->interp)) != NULL,
      PyThreadState_Clear(made.pointer);
      PyThreadState_Delete(made.pointer))
MAKES(PyThreadHandle_New, MEMORY_ERROR,
      (made.pointer = PyThreadHandle_New()) != NULL,
      PyThreadHandle_Decref(made.pointer))
MAKES(PyThread_allocate_lock, NO_ERROR,
      (made.pointer = PyThread_allocate_lock()) != NULL,
      PyThread_free_lock(made.pointer))
MAKES(_PyThread_at_fork_reinit, NO_ERROR,
      (made.pointer = old_lock, _PyThread_at_fork_reinit(&made.pointer)) == 0 &&
          made.pointer != old_lock,
      PyThread_free_lock(made.pointer))
MAKES(PyThread_tss_alloc, NO_ERROR,
      (made.pointer = PyThread_tss_alloc()) != NULL,
      PyThread_tss_free(made.pointer))
MAKES(PyInterpreterGuard_FromCurrent, MEMORY_ERROR,
      (made.pointer = PyInterpreterGuard_FromCurrent()) != NULL,
      PyInterpreterGuard_Close(made.pointer))
MAKES(PyInterpreterGuard_FromView, NO_ERROR,
      (made.pointer = PyInterpreterGuard_FromView(view)) != NULL,
      PyInterpreterGuard_Close(made.pointer))
MAKES(PyInterpreterView_FromCurrent, MEMORY_ERROR,
      (made.pointer = PyInterpreterView_FromCurrent()) != NULL,
      PyInterpreterView_Close(made.pointer))
MAKES(PyInterpreterView_FromMain, NO_ERROR,
      (made.pointer = PyInterpreterView_FromMain()) != NULL,
      PyInterpreterView_Close(made.pointer))
MAKES(PyMem_RawMalloc, NO_ERROR, (made.pointer = PyMem_RawMalloc(100)) != NULL,
      PyMem_RawFree(made.pointer))
MAKES(PyMem_RawCalloc, NO_ERROR,
      (made.pointer = PyMem_RawCalloc(10, 10)) != NULL,
      PyMem_RawFree(made.pointer))
MAKES(PyMem_RawRealloc, NO_ERROR,
      (made.pointer = PyMem_RawRealloc(NULL, 100)) != NULL,
      PyMem_RawFree(made.pointer))
MAKES(_PyEventRc_New, NO_ERROR, (made.pointer = _PyEventRc_New()) != NULL,
      _PyEventRc_Decref(made.pointer))
MAKES(PyThread_start_new_thread, NO_ERROR,
      (made.ident = PyThread_start_new_thread(do_nothing, NULL)) !=
          PYTHREAD_INVALID_THREAD_ID,
      WAIT_DETACHED(test_thread_count() == 1))
MAKES(PyThread_start_joinable_thread, NO_ERROR,
      PyThread_start_joinable_thread(do_nothing, NULL, &made.ident,
                                     &joinable) == 0,
      CHECK_INT_EQ(PyThread_join_thread(joinable), 0))

/* A guard on the sub-interpreter, where this thread has no state of its own. */
static PyInterpreterGuard *guard_of_sub;
static PyThreadStateToken *token;

MAKES(PyThreadState_Ensure, NO_ERROR,
      (token = PyThreadState_Ensure(guard_of_sub)) != NULL,
      PyThreadState_Release(token))

static PyInterpreterView *view_of_sub;

MAKES(PyThreadState_EnsureFromView, NO_ERROR,
      (token = PyThreadState_EnsureFromView(view_of_sub)) != NULL,
      PyThreadState_Release(token))

static const PyInterpreterConfig own_gil = {
    1, 1, 1, 1, 1, 0, PyInterpreterConfig_OWN_GIL};

static int new_sub(void) {
    PyThreadState *first = main_state;
    PyStatus status = Py_NewInterpreterFromConfig(&first, &own_gil);
    if (!PyStatus_Exception(status))
        return 1;
    CHECK_NULL(first);
    CHECK_STR_CONTAINS(status.err_msg, "no memory for");
    return 0;
}

MAKES(Py_NewInterpreterFromConfig, NO_ERROR, new_sub(),
      Py_EndInterpreter(PyThreadState_Get());
      PyEval_RestoreThread(main_state))

static int start_thread(void) {
    if (PyThreadHandle_Start(handle, main_state->interp, do_nothing, NULL, 0) ==
        0)
        return 1;
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    CHECK_UINT_EQ(PyThreadHandle_Ident(handle), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    return 0;
}

/* The C library needs memory for a thread, too, and then says EAGAIN. */
MAKES(PyThreadHandle_Start, MEMORY_OR_THREAD, start_thread(),
      join_and_drop(handle);
      handle = PyThreadHandle_New())

static int n_called;

static int call_pending(void *arg) {
    (void)arg;
    n_called++;
    return 0;
}

MAKES(_PyEval_AddPendingCall, NO_ERROR,
      _PyEval_AddPendingCall(main_state->interp, call_pending, NULL, 0) == 0,
      CHECK_INT_EQ(Py_MakePendingCalls(), 0))
MAKES(PyTState_RunOnThread, MEMORY_ERROR,
      PyTState_RunOnThread(main_state, call_pending, NULL, 0) == 0,
      CHECK_INT_EQ(PyTState_Poll(main_state), 0))
MAKES(PyTState_QSBR_FreeLater, MEMORY_ERROR,
      PyTState_QSBR_FreeLater(NULL, do_nothing) == 0,
      PyTState_QSBR_QuiescentState();
      PyTState_QSBR_Process())

static const struct call calls[] = {
    CALL(PyThreadState_New),
    CALL(_PyThreadState_Prealloc),
    CALL(PyThreadHandle_New),
    CALL(PyThreadHandle_Start),
    CALL(PyThread_start_new_thread),
    CALL(PyThread_start_joinable_thread),
    CALL(PyThread_allocate_lock),
    CALL(_PyThread_at_fork_reinit),
    CALL(PyThread_tss_alloc),
    CALL(PyInterpreterGuard_FromCurrent),
    CALL(PyInterpreterGuard_FromView),
    CALL(PyInterpreterView_FromCurrent),
    CALL(PyInterpreterView_FromMain),
    CALL(PyThreadState_Ensure),
    CALL(PyThreadState_EnsureFromView),
    CALL(Py_NewInterpreterFromConfig),
    CALL(_PyEval_AddPendingCall),
    CALL(PyTState_RunOnThread),
    CALL(PyMem_RawMalloc),
    CALL(PyMem_RawCalloc),
    CALL(PyMem_RawRealloc),
    CALL(_PyEventRc_New),
    CALL(PyTState_QSBR_FreeLater),
};
enum { N_CALLS = sizeof calls / sizeof calls[0] };

static void make_world(void) {
    main_state = begin();
    sub_state = new_interp(PyInterpreterConfig_OWN_GIL);
    guard_of_sub = PyInterpreterGuard_FromCurrent();
    view_of_sub = PyInterpreterView_FromCurrent();
    PyThreadState_Swap(main_state);
    /* Otherwise it would be found again by the Ensure calls. */
    CHECK_PTR_NE(PyGILState_GetThisThreadState(), sub_state);
    guard = PyInterpreterGuard_FromCurrent();
    view = PyInterpreterView_FromCurrent();
    handle = PyThreadHandle_New();
    old_lock = PyThread_allocate_lock();
    CHECK(guard && view && handle && guard_of_sub && view_of_sub && old_lock);
}

static void end_world(void) {
    PyInterpreterGuard_Close(guard);
    PyInterpreterGuard_Close(guard_of_sub);
    PyInterpreterView_Close(view);
    PyInterpreterView_Close(view_of_sub);
    PyThreadHandle_Decref(handle);
    PyThread_free_lock(old_lock);
    finish();
}

/* What must be as before after a call that failed. */
struct picture {
    size_t states, bytes;
    ptrdiff_t guards, guards_of_sub;
    PyInterpreterState *newest;
    int threads;
};

static struct picture take_picture(void) {
    return (struct picture){
        .states = n_states(NULL),
        .guards = _PyInterpreterState_GuardCountdown(main_state->interp),
        .guards_of_sub = _PyInterpreterState_GuardCountdown(sub_state->interp),
        .newest = PyInterpreterState_Head(),
        .threads = test_thread_count(),
        .bytes = bytes_in_use(),
    };
}

static void check_unchanged(const struct picture *before) {
    struct picture after = take_picture();
    CHECK_UINT_EQ(after.states, before->states);
    CHECK_INT_EQ(after.guards, before->guards);
    CHECK_INT_EQ(after.guards_of_sub, before->guards_of_sub);
    CHECK_PTR_EQ(after.newest, before->newest);
    CHECK_INT_EQ(after.threads, before->threads);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
}

static void check_error(const struct call *call) {
    PyObject *error = PyErr_Occurred();
    if (call->error == NO_ERROR)
        CHECK_NULL(error);
    else if (call->error == MEMORY_OR_THREAD && error == PyExc_RuntimeError)
        CHECK_STR_EQ(PyTState_ErrMessage(), "can't start new thread");
    else
        CHECK_PTR_EQ(error, PyExc_MemoryError);
    PyErr_Clear();
}

/* One call whose n-th allocation fails. 1 if it had so many. */
static int fail_at(const struct call *call, int n) {
    struct picture before = take_picture();
    fail_after(&fail_memory, n, 0);
    int success = call->make();
    fail_no_more(&fail_memory);
    if (fail_memory.failed == 0) {
        CHECK_INT_EQ(success, 1);
        call->undo();
        return 0;
    }
    if (success) /* it could do without */
        call->undo();
    else
        check_error(call);
    check_unchanged(&before);
    return 1;
}

TEST("without memory every call says so, links nothing, and works the next "
     "time",
     .limit_s = 60) {
    NEEDS_FAILING_OS;
    int failures = 0;
    for (int i = 0; i < N_CALLS; i++) {
        NOTE("%s", calls[i].name);
        /* A process of its own: no spare blocks of earlier calls. */
        EXPECT_CHILD_EXIT(0) {
            int n = 0;
            make_world();
            while (fail_at(&calls[i], n))
                n++;
            CHECK_INT_GT(n, 0);
            /* The world is whole: */
            CHECK_INT_EQ(calls[i].make(), 1);
            calls[i].undo();
            end_world();
        }
        failures++;
    }
    CHECK_INT_EQ(failures, N_CALLS);
}

/* Threads leave some of the C library's own memory behind, once. */
enum { ROUNDS = 100, SLACK = 4096 };

TEST("failures leak nothing", .limit_s = 60) {
    NEEDS_FAILING_OS;
    for (int i = 0; i < N_CALLS; i++) {
        NOTE("%s", calls[i].name);
        EXPECT_CHILD_EXIT(0) {
            size_t before = 0;
            make_world();
            for (int round = 0; round < 2 * ROUNDS; round++) {
                if (round == ROUNDS)
                    before = bytes_in_use();
                fail_after(&fail_memory, round % 3, 1);
                int success = calls[i].make();
                fail_no_more(&fail_memory);
                if (success)
                    calls[i].undo();
                PyErr_Clear();
            }
            size_t after = bytes_in_use();
            NOTE("%zu, then %zu bytes", before, after);
            CHECK_UINT_LT(after, before + SLACK);
            end_world();
        }
    }
}

/* ---- Memory: calls whose failure is the end --------------------------- */

static void ensure_without_memory(void *arg) {
    (void)arg;
    fail_after(&fail_memory, 0, 1);
    PyGILState_Ensure();
}

TEST("without memory PyGILState_Ensure is fatal (S-GS-06)") {
    NEEDS_FAILING_OS;
    EXPECT_ABORT("Fatal Python error: PyGILState_Ensure: Couldn't create "
                 "thread-state for new thread") {
        struct peers peers = PEERS_INIT;
        begin();
        peers_add(&peers, 1, ensure_without_memory, NULL);
        peers_start(&peers);
        join_peers(&peers);
    }
}

static void finalize_without_memory(void *arg) {
    (void)arg;
    fail_after(&fail_memory, 0, 1);
    Py_FinalizeEx();
}

TEST("without memory for a state a foreign thread cannot finalize: fatal") {
    NEEDS_FAILING_OS;
    EXPECT_ABORT("Fatal Python error: Py_FinalizeEx: thread state allocation "
                 "failed") {
        struct peers peers = PEERS_INIT;
        begin();
        peers_add(&peers, 1, finalize_without_memory, NULL);
        peers_start(&peers);
        join_peers(&peers);
    }
}

TEST("without memory the calls that CPython ends the process for end it") {
    NEEDS_FAILING_OS;
    EXPECT_EXIT(1, "no memory for the main interpreter") {
        fail_after(&fail_memory, 0, 1);
        Py_InitializeEx(0);
    }
    EXPECT_EXIT(1, "no memory for a new interpreter") {
        begin();
        fail_after(&fail_memory, 0, 1);
        Py_NewInterpreter();
    }
    EXPECT_EXIT(1, "no memory for a new interpreter") {
        begin();
        fail_after(&fail_memory, 0, 1);
        PyInterpreterState_New();
    }
}

static void check_uninitialized(void) {
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("without memory initialization fails with a status, and works the next "
     "time") {
    NEEDS_FAILING_OS;
    fail_after(&fail_memory, 1000, 0);
    begin();
    int needed = fail_memory.calls;
    CHECK_INT_GE(needed, 2);
    finish();
    fail_no_more(&fail_memory);
    for (int n = 0; n < needed; n++)
        EXPECT_CHILD_EXIT(0) {
            /* Not the spare blocks of the life before: another size. */
            PyTState_Config config = {.size = sizeof config,
                                      .host_tstate_size = 64};
            fail_after(&fail_memory, n, 1);
            PyStatus status = PyTState_Initialize(&config);
            fail_no_more(&fail_memory);
            if (fail_memory.failed) {
                CHECK(PyStatus_Exception(status));
                CHECK_STR_CONTAINS(status.err_msg, "no memory for the main");
                check_uninitialized();
                begin_with(&config);
            }
            join_and_drop(start(do_nothing, NULL));
            finish();
        }
}

TEST("without memory an error has no text, but is there") {
    NEEDS_FAILING_OS;
    begin();
    fail_after(&fail_memory, 0, 1);
    PyErr_SetString(PyExc_ValueError, "a long story");
    fail_no_more(&fail_memory);
    CHECK_PTR_EQ(PyErr_Occurred(), PyExc_ValueError);
    CHECK_STR_EQ(PyTState_ErrMessage(), "");
    PyErr_SetString(PyExc_ValueError, "a long story");
    CHECK_STR_EQ(PyTState_ErrMessage(), "a long story");
    PyErr_Clear();
    finish();
}

TEST("without memory an exit function is refused, and the others run") {
    NEEDS_FAILING_OS;
    PyThreadState *mine = begin();
    n_called = 0;
    for (int i = 0; i < 2; i++) {
        fail_after(&fail_memory, 0, 1);
        int clear = PyUnstable_AtExit(mine->interp, do_nothing, NULL);
        PyObject *clear_error = PyErr_Occurred();
        PyErr_Clear();
        int shutdown = PyTState_AtShutdown(mine->interp, do_nothing, NULL);
        fail_no_more(&fail_memory);
        CHECK_INT_EQ(clear, -1);
        CHECK_PTR_EQ(clear_error, PyExc_MemoryError);
        CHECK_INT_EQ(shutdown, -1);
        PyErr_Clear();
        CHECK_INT_EQ(PyUnstable_AtExit(mine->interp, do_nothing, NULL), 0);
        CHECK_INT_EQ(PyTState_AtShutdown(mine->interp, do_nothing, NULL), 0);
    }
    finish();
}

static void descend(void *arg) {
    (void)arg;
    fail_after(&fail_memory, 0, 1);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    fail_no_more(&fail_memory);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
}

TEST("without memory for the question where the stack ends, checks pass") {
    NEEDS_FAILING_OS;
    begin();
    descend(NULL);
    join_and_drop(start(descend, NULL));
    finish();
}

/* What must go on without any memory: a whole life of threads. */
static void live_without_memory(void *arg) {
    fail_after(&fail_memory, 0, 1);
    PyMutex *mutex = arg;
    PyThreadState *mine = PyThreadState_Get();
    for (int i = 0; i < 100; i++) {
        PyMutex_Lock(mutex);
        PyEval_RestoreThread(PyEval_SaveThread());
        PyMutex_Unlock(mutex);
        PyGILState_Release(PyGILState_Ensure());
    }
    CHECK_INT_EQ(PyTState_SetName(mine, "frugal"), 0);
    PyTState_ThreadInfo info[4];
    CHECK_UINT_GT(PyTState_Census(mine->interp, info, 4), 1);
    PyEvent *event = PyTState_GetExitEvent(mine);
    PyTState_ReleaseExitEvent(event);
    CHECK_INT_EQ(fail_memory.calls, 0);
    fail_no_more(&fail_memory);
}

TEST("attaching, locks, joins, waits, census and the end need no memory") {
    NEEDS_FAILING_OS;
    PyMutex mutex = {0};
    PyThreadState *mine = begin();
    PyThreadHandle *one = start(live_without_memory, &mutex);
    PyThreadHandle *other = start(live_without_memory, &mutex);
    fail_after(&fail_memory, 0, 1);
    CHECK_INT_EQ(PyThreadHandle_Join(one, LIMIT), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(other, LIMIT), 0);
    PyThreadHandle_Decref(one);
    PyThreadHandle_Decref(other);
    CHECK_INT_EQ(PyTState_WaitForThreads(mine->interp, -1, NULL, 0, NULL), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(fail_memory.calls, 0);
    fail_no_more(&fail_memory);
}

TEST("a fork child is made whole without memory") {
    NEEDS_FAILING_OS;
    begin();
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState *mine = PyThreadState_Swap(NULL);
    CHECK_PTR_EQ(mine, sub);
    PyThreadState_Swap(
        PyInterpreterState_ThreadHead(PyInterpreterState_Main()));
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        fail_after(&fail_memory, 0, 1);
        PyOS_AfterFork_Child();
        CHECK_INT_EQ(fail_memory.calls, 0);
        fail_no_more(&fail_memory);
        join_and_drop(start(do_nothing, NULL));
        finish();
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(pid, 0);
    finish();
}

/* ---- Threads, stacks -------------------------------------------------- */

static void check_starts_fail(struct failing *what) {
    /* Threads of the time before, which nobody could join to their very end. */
    WAIT_UNTIL(test_thread_count() == 1, LIMIT_MS);
    struct picture before = take_picture();
    fail_after(what, 0, 0);
    CHECK_INT_EQ(
        PyThreadHandle_Start(handle, main_state->interp, do_nothing, NULL, 0),
        -1);
    CHECK_INT_EQ(what->failed, 1);
    check_raised(PyExc_RuntimeError, "can't start new thread");
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), -1);
    check_raised(PyExc_RuntimeError, "thread not started");
    fail_after(what, 0, 0);
    CHECK_UINT_EQ(PyThread_start_new_thread(do_nothing, NULL),
                  PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_EQ(what->failed, 1);
    fail_after(what, 0, 0);
    CHECK_INT_EQ(PyThread_start_joinable_thread(do_nothing, NULL, &made.ident,
                                                &joinable),
                 -1);
    CHECK_INT_EQ(what->failed, 1);
    fail_no_more(what);
    CHECK_NULL(PyErr_Occurred());
    check_unchanged(&before);
    CHECK_INT_EQ(PyTState_WaitForThreads(main_state->interp, 0, NULL, 0, NULL),
                 0);
}

static void check_starts_succeed(void) {
    CHECK_INT_EQ(start_thread(), 1);
    undo_PyThreadHandle_Start();
    CHECK_INT_EQ(make_PyThread_start_new_thread(), 1);
    undo_PyThread_start_new_thread();
    CHECK_INT_EQ(make_PyThread_start_joinable_thread(), 1);
    undo_PyThread_start_joinable_thread();
}

TEST("when the OS has no thread to give, starts fail and may be tried again") {
    NEEDS_FAILING_OS;
    make_world();
    for (int i = 0; i < 3; i++) {
        check_starts_fail(&fail_threads);
        check_starts_succeed();
    }
    end_world();
}

TEST("when the OS refuses a thread's stack, starts fail likewise") {
    NEEDS_FAILING_OS;
    make_world();
    const size_t size = 1 << 20;
    fail_after(&fail_stack_size, 0, 0);
    CHECK_INT_EQ(PyThread_set_stacksize(size), -1);
    fail_no_more(&fail_stack_size);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 0);
    CHECK_INT_EQ(PyThread_set_stacksize(size), 0);
    CHECK_UINT_EQ(PyThread_get_stacksize(), size);
    check_starts_fail(&fail_stack_size);
    check_starts_succeed();
    end_world();
}
