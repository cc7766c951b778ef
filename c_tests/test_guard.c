/* PEP 788: guards hold an interpreter open, views name one. Attaching through
 * them: test_guard_ensure.c. */
#include "host.h"

#include <stdlib.h>

static long open_on(PyThreadState *state) {
    return (long)_PyInterpreterState_GuardCountdown(state->interp);
}

static int phase_of(PyInterpreterState *interp) {
    return PyTState_ShutdownPhase(interp);
}

/* ---- Guards ----------------------------------------------------------------
 */

static void closes_when_waited_for(void *guard) {
    PyInterpreterState *interp = _PyInterpreterGuard_GetInterpreter(guard);
    WAIT_UNTIL(phase_of(interp) == PyTState_PHASE_WAITING_GUARDS, LIMIT_MS);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    PyInterpreterGuard_Close(guard);
}

TEST("finalization waits for open guards, whoever closes them (S-G8-01, 04)") {
    for (int round = 0; round < 20; round++) {
        PyThreadState *main_state = begin();
        struct peers peers = PEERS_INIT;
        for (int i = 0; i < 3; i++)
            peers_add(&peers, 1, closes_when_waited_for,
                      PyInterpreterGuard_FromCurrent());
        CHECK_INT_EQ(open_on(main_state), 3);
        peers_start(&peers);
        finish();
        peers_join(&peers, LIMIT_MS);
    }
}

TEST("the end of a sub-interpreter waits for its guards, not for others'") {
    PyThreadState *main_state = begin();
    PyInterpreterGuard *mine = PyInterpreterGuard_FromCurrent();
    PyThreadState *other = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterGuard *its = PyInterpreterGuard_FromCurrent();
    CHECK_PTR_EQ(_PyInterpreterGuard_GetInterpreter(mine), main_state->interp);
    CHECK_PTR_EQ(_PyInterpreterGuard_GetInterpreter(its), other->interp);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, closes_when_waited_for, its);
    peers_start(&peers);
    Py_EndInterpreter(other);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(open_on(main_state), 1);
    PyInterpreterGuard_Close(mine);
    finish();
}

TEST("any number of guards may be open, and they are closed in any order") {
    enum { N = 300 };
    static PyInterpreterGuard *guards[N];
    PyThreadState *main_state = begin();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            guards[i] = PyInterpreterGuard_FromCurrent();
            CHECK_NOT_NULL(guards[i]);
        }
        CHECK_INT_EQ(open_on(main_state), N);
        for (int i = 0; i < N; i += 2)
            PyInterpreterGuard_Close(guards[i]);
        for (int i = N - 1; i > 0; i -= 2)
            PyInterpreterGuard_Close(guards[i]);
        CHECK_INT_EQ(open_on(main_state), 0);
    }
    finish();
}

static void opens_and_closes(void *view) {
    for (int i = 0; i < 2000; i++) {
        PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
        CHECK_NOT_NULL(guard);
        PyInterpreterGuard_Close(guard);
    }
}

TEST("threads without a state open and close guards at the same time") {
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 6, opens_and_closes, view);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(open_on(main_state), 0);
    PyInterpreterView_Close(view);
    finish();
}

static int n_asked;

static void guards_work(void *view) {
    n_asked++;
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    CHECK_NOT_NULL(guard);
    PyInterpreterGuard_Close(guard);
    guard = PyInterpreterGuard_FromView(view);
    CHECK_NOT_NULL(guard);
    PyInterpreterGuard_Close(guard);
}

static void guards_are_refused(void *view) {
    n_asked++;
    CHECK_NULL(PyInterpreterGuard_FromView(view));
    CHECK_NULL(PyErr_Occurred());
    CHECK_NULL(PyThreadState_EnsureFromView(view));
    CHECK_NULL(PyErr_Occurred());
    CHECK_NULL(PyInterpreterGuard_FromCurrent());
    check_raised(PyExc_PythonFinalizationError, "finalizing");
}

TEST("guards are given up to the commit of the end, and refused from there "
     "(S-G8-02, 05)") {
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    CHECK_INT_EQ(PyTState_AtShutdown(main_state->interp, guards_work, view), 0);
    CHECK_INT_EQ(
        PyUnstable_AtExit(main_state->interp, guards_are_refused, view), 0);
    finish();
    CHECK_INT_EQ(n_asked, 2);
    PyInterpreterView_Close(view);
}

/* ---- Views ------------------------------------------------------------------
 */

TEST("a view outlives its interpreter, and then leads nowhere (S-G8-03, 10)") {
    PyThreadState *main_state = begin();
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    PyThreadState_Swap(main_state);
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    CHECK_PTR_EQ(_PyInterpreterGuard_GetInterpreter(guard), other->interp);
    PyInterpreterGuard_Close(guard);
    PyThreadState_Swap(other);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    CHECK_NULL(PyInterpreterGuard_FromView(view));
    CHECK_NULL(PyThreadState_EnsureFromView(view));
    CHECK_NULL(PyErr_Occurred());
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    /* The next interpreter has another id. */
    PyThreadState *next = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_NULL(PyInterpreterGuard_FromView(view));
    Py_EndInterpreter(next);
    PyEval_RestoreThread(main_state);
    PyInterpreterView_Close(view);
    finish();
}

TEST("the main interpreter's view is there at any time, and names the one of "
     "the day (S-G8-11, 12)") {
    PyInterpreterView *view = PyInterpreterView_FromMain();
    CHECK_NOT_NULL(view);
    for (int life = 0; life < 3; life++) {
        CHECK_NULL(PyInterpreterGuard_FromView(view));
        CHECK_NULL(PyThreadState_EnsureFromView(view));
        PyThreadState *main_state = begin();
        PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
        CHECK_PTR_EQ(_PyInterpreterGuard_GetInterpreter(guard),
                     main_state->interp);
        PyInterpreterGuard_Close(guard);
        finish();
    }
    PyInterpreterView_Close(view);
}

TEST("a view leads to no interpreter of the next life") {
    PyThreadState *main_state = begin();
    PyInterpreterView *of_main = PyInterpreterView_FromCurrent();
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyInterpreterState *block = other->interp;
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    int64_t id = PyInterpreterState_GetID(block);
    Py_EndInterpreter(other);
    PyThreadState_Swap(main_state);
    finish();
    main_state = begin();
    other = new_interp(PyInterpreterConfig_SHARED_GIL);
    /* The same id, and one of them the same block. */
    CHECK_INT_EQ(PyInterpreterState_GetID(other->interp), id);
    CHECK(other->interp == block || main_state->interp == block);
    CHECK_NULL(PyInterpreterGuard_FromView(view));
    CHECK_NULL(PyThreadState_EnsureFromView(view));
    CHECK_NULL(PyInterpreterGuard_FromView(of_main));
    PyInterpreterView_Close(view);
    PyInterpreterView_Close(of_main);
    PyThreadState_Swap(main_state);
    finish();
}

/* ---- An interpreter that ends by force (S-G8-07)
 * ------------------------------ */

TEST("a guard on an interpreter that was deleted by force holds nothing") {
    PyThreadState *main_state = begin();
    PyInterpreterState *bare = PyInterpreterState_New();
    PyThreadState_Swap(PyThreadState_New(bare));
    PyInterpreterGuard *first = PyInterpreterGuard_FromCurrent();
    PyInterpreterGuard *second = PyInterpreterGuard_FromCurrent();
    PyInterpreterState_Clear(bare);
    PyThreadState_Swap(main_state);
    PyInterpreterState_Delete(bare);
    PyInterpreterGuard_Close(first);
    /* Nor does it stand for the next one, should that live in its place. */
    PyThreadState *next = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_NULL(_PyInterpreterGuard_GetInterpreter(second));
    CHECK_NULL(PyThreadState_Ensure(second));
    CHECK_PTR_EQ(PyThreadState_Get(), next);
    PyInterpreterGuard_Close(second);
    CHECK_INT_EQ(open_on(next), 0);
    Py_EndInterpreter(next);
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("... not in the next life either") {
    PyThreadState *main_state = begin();
    PyInterpreterState *bare = PyInterpreterState_New();
    int64_t id = PyInterpreterState_GetID(bare);
    PyThreadState_Swap(PyThreadState_New(bare));
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyInterpreterState_Clear(bare);
    PyThreadState_Swap(main_state);
    PyInterpreterState_Delete(bare);
    finish();
    main_state = begin();
    PyThreadState *next = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(PyInterpreterState_GetID(next->interp), id);
    CHECK_NULL(_PyInterpreterGuard_GetInterpreter(guard));
    CHECK_NULL(PyThreadState_Ensure(guard));
    CHECK_PTR_EQ(PyThreadState_Get(), next);
    PyInterpreterGuard_Close(guard);
    CHECK_INT_EQ(open_on(next), 0);
    Py_EndInterpreter(next);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- Fork (S-FK-14)
 * ------------------------------------------------------------ */

static PyInterpreterGuard *opened_elsewhere;
static struct latch opened = LATCH_INIT(1), may_end = LATCH_INIT(1);

static void opens_one(void *view) {
    opened_elsewhere = PyInterpreterGuard_FromView(view);
    CHECK_NOT_NULL(opened_elsewhere);
    latch_arrive(&opened);
    CHECK_INT_EQ(latch_wait(&may_end, LIMIT_MS), 1);
    PyInterpreterGuard_Close(opened_elsewhere);
}

TEST("a fork child drops the guards of threads that did not survive, and keeps "
     "the survivor's") {
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    PyInterpreterGuard *mine = PyInterpreterGuard_FromCurrent();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, opens_one, view);
    peers_start(&peers);
    CHECK_INT_EQ(latch_wait(&opened, LIMIT_MS), 1);
    CHECK_INT_EQ(open_on(main_state), 2);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK_INT_EQ(open_on(main_state), 1);
        /* It holds nothing, but still leads to its interpreter. */
        PyThreadStateToken *token = PyThreadState_Ensure(opened_elsewhere);
        CHECK_NOT_NULL(token);
        PyThreadState_Release(token);
        PyInterpreterGuard_Close(opened_elsewhere);
        CHECK_INT_EQ(open_on(main_state), 1);
        PyInterpreterGuard_Close(mine);
        CHECK_INT_EQ(open_on(main_state), 0);
        test_child_done(Py_FinalizeEx());
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 0);
    CHECK_INT_EQ(open_on(main_state), 2);
    latch_arrive(&may_end);
    peers_join(&peers, LIMIT_MS);
    PyInterpreterGuard_Close(mine);
    PyInterpreterView_Close(view);
    finish();
}

/* ---- Guards that are never closed
 * ------------------------------------------------ */

static void ends_the_process(void *interp) {
    WAIT_UNTIL(phase_of(interp) == PyTState_PHASE_WAITING_GUARDS, LIMIT_MS);
    test_nap();
    PyTState_DumpThreads(STDERR_FILENO);
    _exit(3);
}

TEST("a shutdown that waits names the guard, its thread and its place") {
    static const char *const wanted[] = {
        "guard on interp 0, open for ", "taken by thread 'db-pool'",
        ", at pool.c:88\n", "taken by thread 0x", "test_guard.c:"};
    for (int i = 0; i < 5; i++) {
        EXPECT_EXIT(3, wanted[i]) {
            PyThreadState *main_state = begin();
            PyTState_SetName(main_state, "db-pool");
            PyTState_Here("pool.c:88");
            CHECK_NOT_NULL(PyInterpreterGuard_FromCurrent());
            PyTState_HERE();
            CHECK_NOT_NULL(PyInterpreterGuard_FromCurrent());
            PyInterpreterView *view = PyInterpreterView_FromCurrent();
            PyEval_SaveThread();
            CHECK_NOT_NULL(PyInterpreterGuard_FromView(view));
            PyEval_RestoreThread(main_state);
            struct peers peers = PEERS_INIT;
            peers_add(&peers, 1, ends_the_process, main_state->interp);
            peers_start(&peers);
            Py_FinalizeEx();
        }
    }
}

static void leave_with_4(int number) {
    (void)number;
    _exit(4);
}

TEST("the report every so often names it as well") {
    EXPECT_EXIT(4, ", at pool.c:99\n") {
        begin();
        int ends[2];
        char text[4096];
        size_t used = 0;
        CHECK_INT_EQ(pipe(ends), 0);
        CHECK_INT_EQ(PyTState_SetShutdownReport(20 * MS, ends[1]), 0);
        PyTState_Here("pool.c:99");
        CHECK_NOT_NULL(PyInterpreterGuard_FromCurrent());
        if (fork() == 0) { /* reads what the one that hangs writes */
            close(ends[1]);
            while (used < sizeof text - 1 && !strstr(text, "pool.c:99\n")) {
                ssize_t n = read(ends[0], text + used, sizeof text - 1 - used);
                if (n <= 0)
                    break;
                text[used += (size_t)n] = 0;
            }
            (void)!write(STDERR_FILENO, text, used);
            kill(getppid(), SIGTERM);
            _exit(0);
        }
        signal(SIGTERM, leave_with_4);
        Py_FinalizeEx();
    }
}

/* ---- Ctrl-C (S-G8-06, S-FZ-11, S-FE-44)
 * -------------------------------------------- */

static atomic_long main_native;

static void interrupts_the_wait(void *interp) {
    WAIT_UNTIL(phase_of(interp) == PyTState_PHASE_WAITING_GUARDS, LIMIT_MS);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&main_native)), LIMIT_MS);
    kill(getpid(), SIGINT);
}

TEST("Ctrl-C ends a process that waits for guards, with status 1") {
    EXPECT_EXIT(1, "Exception ignored while waiting for interpreter guards at "
                   "shutdown: KeyboardInterrupt\n") {
        signal(SIGINT, SIG_DFL);
        Py_InitializeEx(1);
        atomic_store(&main_native, test_native_id());
        CHECK_NOT_NULL(PyInterpreterGuard_FromCurrent());
        PyThread_start_new_thread(interrupts_the_wait,
                                  PyInterpreterState_Get());
        Py_FinalizeEx();
        _exit(99);
    }
}

static PyInterpreterGuard *held;

static int fails_and_closes(int number, void *unused) {
    (void)number, (void)unused;
    PyInterpreterGuard_Close(held);
    PyErr_SetString(PyExc_ValueError, "the handler failed");
    return -1;
}

TEST("another failure of a handler is reported, and the wait goes on") {
    EXPECT_EXIT(0, "at shutdown: ValueError: the handler failed") {
        signal(SIGINT, SIG_DFL);
        Py_InitializeEx(1);
        PyTState_SetSignalHandler(fails_and_closes, NULL);
        atomic_store(&main_native, test_native_id());
        held = PyInterpreterGuard_FromCurrent();
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, interrupts_the_wait, PyInterpreterState_Get());
        peers_start(&peers);
        finish();
        peers_join(&peers, LIMIT_MS);
    }
}

/* ---- Misuse
 * -------------------------------------------------------------------------- */

TEST("NULL and a missing state are fatal") {
    begin();
    EXPECT_FATAL("PyInterpreterGuard_FromView", "'view' must not be NULL") {
        PyInterpreterGuard_FromView(NULL);
    }
    EXPECT_FATAL("PyInterpreterGuard_Close", "'guard' must not be NULL") {
        PyInterpreterGuard_Close(NULL);
    }
    EXPECT_FATAL("_PyInterpreterGuard_GetInterpreter", "'guard'") {
        _PyInterpreterGuard_GetInterpreter(NULL);
    }
    EXPECT_FATAL("_PyInterpreterState_GuardCountdown", "'interp'") {
        _PyInterpreterState_GuardCountdown(NULL);
    }
    EXPECT_FATAL("PyInterpreterView_Close", "'view' must not be NULL") {
        PyInterpreterView_Close(NULL);
    }
    PyEval_SaveThread();
    EXPECT_FATAL("PyInterpreterGuard_FromCurrent", "thread state is NULL") {
        PyInterpreterGuard_FromCurrent();
    }
    EXPECT_FATAL("PyInterpreterView_FromCurrent", "thread state is NULL") {
        PyInterpreterView_FromCurrent();
    }
}

TEST("closing a guard twice is fatal") {
    begin();
    EXPECT_FATAL("PyInterpreterGuard_Close", "is not open") {
        PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
        PyInterpreterGuard_Close(guard);
        PyInterpreterGuard_Close(guard);
    }
    finish();
}
