/* The runtime's beginning and end: initialization, finalization, both again. */
#include "host.h"

#include <fcntl.h>
#include <stdlib.h>

/* ---- Beginning -------------------------------------------------------- */

TEST("initialization happens once; the caller is the main thread, attached") {
    NEEDS_GIL();
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    Py_Initialize();
    PyThreadState *main_state = PyThreadState_Get();
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    Py_Initialize();
    Py_InitializeEx(0);
    PyTState_Config config = {.gil = PyTState_GIL_NONE};
    begin_with(&config); /* too late: nothing happens */
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    CHECK_INT_EQ(main_state->holds_gil, 1);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void live_elsewhere(void *unused) {
    (void)unused;
    for (int life = 0; life < 3; life++) {
        begin();
        CHECK_INT_EQ(_Py_IsMainThread(), 1);
        finish();
    }
}

TEST("any thread may initialize and is the main thread of that life") {
    struct peers peers = PEERS_INIT;
    begin();
    finish();
    peers_add(&peers, 1, live_elsewhere, NULL);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(_Py_IsMainThread(), 0);
    begin();
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    finish();
}

static atomic_int n_main;

static void initialize_at_once(void *unused) {
    (void)unused;
    Py_InitializeEx(0);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    if (PyThreadState_GetUnchecked() != NULL) {
        atomic_fetch_add(&n_main, 1);
        CHECK_INT_EQ(_Py_IsMainThread(), 1);
        PyEval_SaveThread();
    }
}

TEST("of several that initialize at once, one is attached to one runtime") {
    for (int round = 1; round <= 20; round++) {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 4, initialize_at_once, NULL);
        peers_start(&peers);
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(atomic_load(&n_main), round);
        CHECK_UINT_EQ(n_states(NULL), 1);
        PyGILState_Ensure(); /* a foreign thread ends it: S-FZ-02 */
        finish();
    }
}

/* ---- End -------------------------------------------------------------- */

TEST("finalizing what is not initialized returns 0 at once (S-FZ-01)") {
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    Py_Finalize();
    begin();
    finish();
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_IsFinalizing(), 1); /* S-FZ-06: to the next life */
    begin();
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    finish();
}

struct flags {
    const char *point;
    int initialized, finalizing, seen;
};

static void check_flags(const char *point, void *arg) {
    struct flags *flags = arg;
    CHECK_STR_EQ(point, flags->point);
    CHECK_INT_EQ(Py_IsInitialized(), flags->initialized);
    CHECK_INT_EQ(Py_IsFinalizing(), flags->finalizing);
    flags->seen++;
}

TEST("IsInitialized and IsFinalizing change at the commit (S-FZ-06)") {
    static struct flags all[] = {
        {"finalize.begin", 1, 0, 0},
        {"finalize.threads_gone", 1, 0, 0},
        {"finalize.atexit", 1, 0, 0},
        {"finalize.subinterpreters", 1, 0, 0},
        {"finalize.guards", 1, 0, 0},
        {"finalize.commit.before", 1, 0, 0},
        {"finalize.commit.after", 0, 1, 0},
        {"finalize.done", 0, 1, 0},
    };
    begin();
    for (int i = 0; i < 8; i++)
        PyTState_Sync_Hook(all[i].point, check_flags, &all[i]);
    finish();
    for (int i = 0; i < 8; i++)
        CHECK_INT_EQ(all[i].seen, 1);
}

static char order[512];

static void note(const char *what) {
    strcat(order, what);
    strcat(order, " ");
}

static void note_phase(PyInterpreterState *interp, int phase, void *arg) {
    static const char *const names[] = {"running", "threads",    "atexit",
                                        "guards",  "finalizing", "gone"};
    (void)arg;
    if (PyInterpreterState_GetID(interp) != 0)
        strcat(order, "sub:");
    note(names[phase]);
}

static void at_clear(void *arg) {
    (void)arg;
    CHECK_NOT_NULL(PyThreadState_GetUnchecked()); /* S-AE-02 */
    note("unstable");
}

static void at_shutdown(void *arg) {
    (void)arg;
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    note("shutdown");
}

static void at_exit_first(void) { note("exit1"); }

static void at_exit_last(void) {
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_NULL(PyInterpreterState_Main());
    note("exit2");
}

static void hook_of_state(void *arg) {
    (void)arg;
    note("on_delete");
}

TEST("finalization goes through its steps in order (S-FZ-03, S-AE-01)") {
    PyThreadState *main_state = begin();
    main_state->on_delete = hook_of_state;
    CHECK_INT_EQ(Py_AtExit(at_exit_first), 0);
    CHECK_INT_EQ(Py_AtExit(at_exit_last), 0);
    CHECK_INT_EQ(PyUnstable_AtExit(main_state->interp, at_clear, NULL), 0);
    CHECK_INT_EQ(PyTState_AtShutdown(main_state->interp, at_shutdown, NULL), 0);
    new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_Swap(main_state);
    PyTState_SetShutdownPhaseHook(note_phase, NULL);
    finish();
    CHECK_STR_EQ(order,
                 "threads atexit shutdown sub:threads sub:atexit sub:guards "
                 "sub:finalizing sub:gone guards finalizing on_delete unstable "
                 "gone exit2 exit1 ");
}

static void detach_and_attach(void *calls) {
    PyThreadState *state = PyThreadState_Get();
    Py_BEGIN_ALLOW_THREADS;
    CHECK_NULL(PyThreadState_GetUnchecked());
    Py_END_ALLOW_THREADS;
    CHECK_PTR_EQ(PyThreadState_Swap(NULL), state);
    CHECK_NULL(PyThreadState_Swap(state));
    ++*(int *)calls;
}

TEST("who runs while an interpreter is cleared may detach and attach again") {
    int calls = 0;
    PyThreadState *main_state = begin();
    PyUnstable_AtExit(main_state->interp, detach_and_attach, &calls);
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    PyUnstable_AtExit(sub->interp, detach_and_attach, &calls);
    Py_EndInterpreter(sub);
    CHECK_INT_EQ(calls, 1);
    PyThreadState_Swap(main_state);
    finish();
    CHECK_INT_EQ(calls, 2);
}

static void finalize_again(void *calls) {
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    ++*(int *)calls;
}

TEST("finalizing from inside of finalization returns at once") {
    int calls = 0;
    begin();
    PyTState_AtShutdown(PyInterpreterState_Get(), finalize_again, &calls);
    finish();
    CHECK_INT_EQ(calls, 1);
}

/* ---- Whom it waits for ------------------------------------------------ */

static atomic_int n_done;

static void work(void *go) {
    wait_for_event(go);
    atomic_fetch_add(&n_done, 1);
}

static void open_gate(const char *point, void *go) {
    (void)point;
    _PyEvent_Notify(go);
}

TEST("finalization waits for non-daemon threads (S-FZ-03)") {
    static PyEvent go;
    begin();
    for (int i = 0; i < 20; i++)
        PyThreadHandle_Decref(start(work, &go));
    PyTState_Sync_Hook("wait_threads.begin", open_gate, &go);
    finish();
    CHECK_INT_EQ(atomic_load(&n_done), 20);
    CHECK_INT_EQ(test_thread_count(), 1);
}

static void start_late(void *go) {
    (void)go;
    PyThreadHandle_Decref(start(do_nothing, NULL));
    PyThreadHandle_Decref(start_in(PyInterpreterState_Main(), work, go, 0));
    _PyEvent_Notify(go);
}

TEST("threads that a callback starts are waited for in the next round") {
    static PyEvent go;
    begin();
    PyTState_AtShutdown(PyInterpreterState_Get(), start_late, &go);
    finish();
    CHECK_INT_EQ(atomic_load(&n_done), 1);
    CHECK_INT_EQ(test_thread_count(), 1);
}

static void stay_detached(void *arg) {
    (void)arg;
    PyEval_SaveThread();
    PyTState_Sync_Point("test.stay"); /* and nobody wakes it */
}

TEST("finalization does not wait for daemons or foreign threads") {
    PyThreadState *main_state = begin();
    hold("test.stay");
    PyThreadHandle *handle = start_in(main_state->interp, stay_detached, NULL,
                                      PyThreadHandle_DAEMON);
    wait_held("test.stay");
    PyThreadState_New(main_state->interp);
    finish();
    CHECK_INT_EQ(test_thread_count(), 2);
    PyThreadHandle_Decref(handle);
}

static void visit(void *arg) {
    PyEvent *events = arg;
    PyThreadState *mine = enter(PyInterpreterState_Main());
    set_daemon(mine, 0);
    _PyEvent_Notify(&events[0]);
    wait_for_event(&events[1]);
    atomic_fetch_add(&n_done, 1);
    leave();
}

TEST("finalization waits for a foreign thread that asked for it") {
    static PyEvent events[2];
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 1, visit, events);
    peers_start(&peers);
    wait_for_event(&events[0]);
    PyTState_Sync_Hook("wait_threads.begin", open_gate, &events[1]);
    finish();
    CHECK_INT_EQ(atomic_load(&n_done), 1);
    peers_join(&peers, LIMIT_MS);
}

static void interrupt_waiter(void *arg) {
    atomic_long *waiter = arg;
    wait_asleep(waiter);
    WAIT_UNTIL(PyTState_ShutdownPhase(PyInterpreterState_Main()) ==
                   PyTState_PHASE_WAITING_THREADS,
               LIMIT_MS);
    kill(getpid(), SIGINT);
}

TEST("Ctrl-C ends the wait, says so, and the rest count as daemons (S-FZ-08)") {
    EXPECT_EXIT(0, "Exception ignored while waiting for threads at shutdown: "
                   "KeyboardInterrupt") {
        static PyEvent never;
        atomic_long me = 0;
        struct peers peers = PEERS_INIT;
        sigset_t interrupts;
        Py_InitializeEx(1);
        atomic_store(&me, test_native_id());
        /* The signal is for this thread. */
        sigemptyset(&interrupts);
        sigaddset(&interrupts, SIGINT);
        pthread_sigmask(SIG_BLOCK, &interrupts, NULL);
        PyThreadHandle_Decref(start(wait_for_event, &never));
        peers_add(&peers, 1, interrupt_waiter, &me);
        peers_start(&peers);
        pthread_sigmask(SIG_UNBLOCK, &interrupts, NULL);
        finish();
        peers_join(&peers, LIMIT_MS);
    }
}

/* ---- Where it is called ----------------------------------------------- */

static void end_attached(void *unused) {
    (void)unused;
    enter(PyInterpreterState_Main());
    finish();
}

static void end_ensured(void *unused) {
    (void)unused;
    PyGILState_Ensure();
    finish();
    CHECK_NULL(PyGILState_GetThisThreadState());
}

static void end_detached(void *unused) {
    (void)unused;
    CHECK_NULL(PyThreadState_GetUnchecked());
    finish();
}

static void end_from_sub(void *unused) {
    (void)unused;
    new_interp(PyInterpreterConfig_OWN_GIL);
    finish();
}

TEST("another thread than the main one may finalize (S-FZ-02)") {
    static void (*const ends[])(void *) = {end_attached, end_ensured,
                                           end_detached, end_from_sub};
    for (int i = 0; i < 8; i++) {
        struct peers peers = PEERS_INIT;
        begin();
        PyEval_SaveThread();
        peers_add(&peers, 1, ends[i % 4], NULL);
        peers_start(&peers);
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(Py_IsInitialized(), 0);
        CHECK_NULL(PyInterpreterState_Main());
        CHECK_NULL(PyGILState_GetThisThreadState()); /* the slot was emptied */
    }
}

static void end_from_thread(void *unused) {
    (void)unused;
    finish(); /* never waits for itself: S-DM-04 */
    atomic_fetch_add(&n_done, 1);
}

TEST("a started thread may finalize, and ends after that") {
    for (int i = 1; i <= 10; i++) {
        begin();
        PyThreadHandle *handle = start(end_from_thread, NULL);
        PyEval_SaveThread();
        CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
        PyThreadHandle_Decref(handle);
        CHECK_INT_EQ(atomic_load(&n_done), i);
        CHECK_INT_EQ(Py_IsInitialized(), 0);
    }
}

TEST("on the main thread the main state is used, whatever is attached") {
    PyThreadState *main_state = begin();
    for (int i = 0; i < 3; i++) {
        main_state->on_delete = hook_of_state;
        if (i == 0)
            PyEval_SaveThread(); /* nothing attached */
        else if (i == 1)
            PyThreadState_Swap(PyThreadState_New(main_state->interp));
        else
            new_interp(PyInterpreterConfig_OWN_GIL);
        finish();
        main_state = begin();
    }
    finish();
    CHECK_STR_EQ(order, "on_delete on_delete on_delete ");
}

TEST("sub-interpreters that are alive are ended, their threads waited for") {
    static PyEvent go;
    PyThreadState *main_state = begin();
    for (int gil = 1; gil <= 3; gil++) {
        PyThreadState *first = new_interp(gil);
        first->on_delete = hook_of_state;
        PyThreadState_New(first->interp); /* left over: given up */
        for (int i = 0; i < 3; i++)
            PyThreadHandle_Decref(start(work, &go));
    }
    PyThreadState_Swap(main_state);
    PyTState_Sync_Hook("finalize.threads_gone", open_gate, &go);
    finish();
    CHECK_INT_EQ(atomic_load(&n_done), 9);
    CHECK_STR_EQ(order, "on_delete on_delete on_delete ");
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_INT_EQ(test_thread_count(), 1);
}

struct finalizers {
    atomic_int succeeded, refused;
};

static void finalize_at_once(void *arg) {
    struct finalizers *finalizers = arg;
    enter(PyInterpreterState_Main());
    if (Py_FinalizeEx() == 0)
        atomic_fetch_add(&finalizers->succeeded, 1);
    else
        atomic_fetch_add(&finalizers->refused, 1);
}

static void hold_finalizer(void *arg) {
    (void)arg;
    PyThreadState *mine = PyEval_SaveThread();
    PyTState_Sync_Point("test.in_callback");
    PyEval_RestoreThread(mine);
}

TEST("while one thread finalizes, another one is told so") {
    struct finalizers all = {0};
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyTState_AtShutdown(main_state->interp, hold_finalizer, NULL);
    hold("test.in_callback");
    peers_add(&peers, 1, finalize_at_once, &all);
    PyEval_SaveThread();
    peers_start(&peers);
    wait_held("test.in_callback");
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(Py_FinalizeEx(), -1);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state); /* still attached */
    PyEval_SaveThread();
    let_go("test.in_callback");
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&all.succeeded), 1);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- Again ------------------------------------------------------------ */

static void ensure_once(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    atomic_fetch_add(&n_done, 1);
    PyGILState_Release(token);
}

TEST("fifty lives, each with threads, visitors and sub-interpreters") {
    for (int life = 1; life <= 50; life++) {
        struct peers peers = PEERS_INIT;
        PyThreadState *main_state = begin();
        CHECK_UINT_EQ(PyThreadState_GetID(main_state), 1);
        new_interp(1 + life % 3);
        for (int i = 0; i < 3; i++)
            PyThreadHandle_Decref(start(do_nothing, NULL));
        PyThreadState_Swap(main_state);
        for (int i = 0; i < 3; i++)
            PyThreadHandle_Decref(start(do_nothing, NULL));
        peers_add(&peers, 2, ensure_once, NULL);
        peers_start(&peers);
        join_peers(&peers);
        finish();
        CHECK_INT_EQ(atomic_load(&n_done), 2 * life);
        CHECK_INT_EQ(test_thread_count(), 1);
        CHECK_UINT_EQ(n_states(NULL), 0);
    }
}

static long resident_kib(void) {
    long pages = 0, size = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK_NOT_NULL(file);
    CHECK_INT_EQ(fscanf(file, "%ld %ld", &size, &pages), 2);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void live_many(int n) {
    for (int life = 0; life < n; life++) {
        PyThreadState *main_state = begin();
        for (int i = 0; i < 20; i++)
            PyThreadState_New(main_state->interp); /* left over */
        for (int i = 0; i < 3; i++)
            new_interp(1 + i);
        finish();
    }
}

TEST("lives leave no memory behind, leftover states included") {
    live_many(50);
    long before = resident_kib();
    live_many(500);
    long grown = resident_kib() - before;
    NOTE("resident memory grew by %ld KiB in 500 lives", grown);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    CHECK_INT_LT(grown, 64 * 1024);
#else
    CHECK_INT_LT(grown, 256);
#endif
}

static atomic_long reader;

static void read_input(void *unused) {
    (void)unused;
    atomic_store(&reader, test_native_id());
    CHECK_INT_EQ(getchar(), 'x');
}

TEST("finalization does not wait for a thread that reads standard input") {
    struct peers peers = PEERS_INIT;
    int ends[2];
    CHECK_INT_EQ(pipe(ends), 0);
    CHECK_INT_EQ(dup2(ends[0], 0), 0);
    begin();
    peers_add(&peers, 1, read_input, NULL);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&reader) != 0, LIMIT_MS);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&reader)), LIMIT_MS);
    finish();
    CHECK_INT_EQ(peers_running(&peers), 1);
    CHECK_INT_EQ(write(ends[1], "x", 1), 1);
    peers_join(&peers, LIMIT_MS);
}
