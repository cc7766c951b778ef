/* Forking: what the child keeps, what it can do, and that the parent goes on.
 */
#include "fork_host.h"

#include <stdlib.h>

/* ---- The child --------------------------------------------------------- */

TEST("the child keeps the state that forked, and lives on (S-FK-06)") {
    PyThreadState *main_state = begin();
    uint64_t id = PyThreadState_GetID(main_state);
    IN_CHILD {
        CHECK_PTR_EQ(PyThreadState_Get(), main_state);
        CHECK_UINT_EQ(PyThreadState_GetID(main_state), id);
        CHECK_INT_EQ(Py_IsInitialized(), 1);
        live_on();
    }
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    join_and_drop(start(count_run, NULL));
    finish();
}

TEST("other states are discarded: no hook, but their events are set (1)") {
    static PyEvent go;
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState *two = PyThreadState_New(main_state->interp);
    one->on_delete = two->on_delete = main_state->on_delete = count_deleted;
    PyThreadState_Clear(two); /* cleared before: called then, not again */
    CHECK_INT_EQ(atomic_load(&n_deleted), 1);
    PyThreadHandle *handle = start(wait_for_event, &go);
    PyEvent *events[] = {
        PyTState_GetExitEvent(one), PyTState_GetExitEvent(two),
        PyTState_GetExitEvent(PyThreadHandle_ThreadState(handle)),
        PyTState_GetExitEvent(main_state)};
    IN_CHILD {
        CHECK_INT_EQ(atomic_load(&n_deleted), 1);
        for (int i = 0; i < 3; i++) {
            CHECK_INT_EQ(_PyEvent_IsSet(events[i]), 1);
            CHECK_INT_EQ(PyEvent_WaitTimed(events[i], 0, 1), 1);
            PyEvent_Wait(events[i]);
            PyTState_ReleaseExitEvent(events[i]);
        }
        CHECK_INT_EQ(_PyEvent_IsSet(events[3]), 0);
        CHECK_UINT_EQ(n_states(NULL), 1);
        finish();
        CHECK_INT_EQ(atomic_load(&n_deleted), 2); /* its own, at its end */
        CHECK_INT_EQ(_PyEvent_IsSet(events[3]), 1);
    }
    CHECK_INT_EQ(_PyEvent_IsSet(events[0]), 0);
    for (int i = 0; i < 4; i++)
        PyTState_ReleaseExitEvent(events[i]);
    _PyEvent_Notify(&go);
    join_and_drop(handle);
    finish();
    CHECK_INT_EQ(atomic_load(&n_deleted), 3);
}

/* ---- Handles ---------------------------------------------------------- */

TEST("handles of the parent's threads are done in the child (S-FK-07)") {
    static PyEvent go;
    PyThreadState *main_state = begin();
    PyThreadHandle *running = start(wait_for_event, &go);
    PyThreadHandle *daemon = start_in(main_state->interp, wait_for_event, &go,
                                      PyThreadHandle_DAEMON);
    PyThreadHandle *joined = start(do_nothing, NULL);
    join(joined);
    PyThreadHandle *ended = start(do_nothing, NULL); /* and never joined */
    WAIT_DETACHED(PyThreadHandle_IsDone(ended) && test_thread_count() == 3);
    PyThreadHandle *never = PyThreadHandle_New();
    PyThreadHandle_Decref(start(wait_for_event, &go)); /* nobody's */
    PyThreadHandle_Decref(start(do_nothing, NULL));
    IN_CHILD {
        check_done(running);
        check_done(daemon);
        check_done(joined);
        check_done(ended);
        CHECK_INT_EQ(PyThreadHandle_IsDone(never), 0);
        CHECK_INT_EQ(PyThreadHandle_Start(never, PyInterpreterState_Get(),
                                          count_run, NULL, 0),
                     0);
        join_and_drop(never);
        live_on();
    }
    CHECK_INT_EQ(PyThreadHandle_IsDone(running), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(running, 0), 1);
    _PyEvent_Notify(&go);
    join_and_drop(running);
    join_and_drop(daemon);
    join_and_drop(joined);
    join_and_drop(ended);
    PyThreadHandle_Decref(never);
    finish();
    CHECK_INT_EQ(test_thread_count(), 1);
}

/* At every step of a thread's life: what another one was doing at the fork. */
TEST("a handle is done in the child wherever its thread was (S-FK-08)") {
    static const char *const steps[] = {
        "thread.entry",     "thread.bound", "thread.state_deleted",
        "thread.event_set", "thread.tail",
    };
    begin();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        hold(steps[i]);
        PyThreadHandle *handle = start(do_nothing, NULL);
        wait_held(steps[i]);
        IN_CHILD {
            check_done(handle);
            live_on();
        }
        let_go(steps[i]);
        join_and_drop(handle);
    }
    finish();
}

static void start_held(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Main(),
                                      count_run, NULL, 0),
                 0);
}

TEST("a handle whose start was under way elsewhere is done in the child") {
    begin();
    static const char *const steps[] = {"thread.start.created",
                                        "tstate.created"};
    for (int i = 0; i < 2; i++) {
        struct peers peers = PEERS_INIT;
        PyThreadHandle *handle = PyThreadHandle_New();
        hold(steps[i]);
        peers_add(&peers, 1, start_held, handle); /* detached */
        peers_start(&peers);
        wait_held(steps[i]);
        IN_CHILD {
            check_done(handle);
            live_on();
        }
        let_go(steps[i]);
        join_peers(&peers);
        join_and_drop(handle);
    }
    finish();
}

/* ---- From another thread than the main one ---------------------------- */

static int run_pending(void *arg) {
    (void)arg;
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    count_run(NULL);
    return 0;
}

/* In the child of a thread that was not the main one. */
static void check_new_main(PyThreadHandle *own) {
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    CHECK_INT_EQ(Py_AddPendingCall(run_pending, NULL), 0); /* S-FK-12 */
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    if (own != NULL) {
        CHECK_INT_EQ(PyThreadHandle_IsDone(own), 0);
        CHECK_INT_EQ(PyThreadHandle_Join(own, LIMIT), -1);
        check_raised(PyExc_RuntimeError, "cannot join current thread");
    }
    live_on();
}

static void fork_in_thread(void *own) {
    CHECK_INT_EQ(_Py_IsMainThread(), 0);
    IN_CHILD { check_new_main(own); }
    CHECK_INT_EQ(_Py_IsMainThread(), 0);
}

static void fork_ensured(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    fork_in_thread(NULL);
    PyGILState_Release(token);
}

static void fork_foreign(void *unused) {
    (void)unused;
    enter(PyInterpreterState_Main());
    fork_in_thread(NULL);
    leave();
}

TEST("a started thread forks; in the child it is the main thread (S-FK-12)") {
    begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      fork_in_thread, handle, 0),
                 0);
    join_and_drop(handle);
    finish();
}

TEST("foreign threads fork, with whatever state they have") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    peers_add(&peers, 1, fork_ensured, NULL);
    peers_add(&peers, 1, fork_foreign, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    finish();
}

static pid_t child_of_thread;

static void fork_and_return(void *unused) {
    (void)unused;
    child_of_thread = fork_here();
    /* In the child the thread's function returns as in the parent. */
}

static int count_call(void *arg) {
    count_run(arg);
    return 0;
}

static void queue_and_fork(void *interp) {
    enter(interp);
    CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
    IN_CHILD {
        poll_once();
        CHECK_INT_EQ(n_ran, 1);
        CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
        poll_once();
        CHECK_INT_EQ(n_ran, 2);
    }
    CHECK_INT_EQ(n_ran, 0);
    leave();
}

TEST("a call for the main thread runs in the child at a poll of the thread "
     "that forked") {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, queue_and_fork, mine->interp);
    peers_start(&peers);
    join_peers(&peers);
    poll_once();
    CHECK_INT_EQ(n_ran, 1);
    finish();
}

TEST("the thread that forked may just return in the child") {
    begin();
    join_and_drop(start(fork_and_return, NULL));
    PyThreadState *mine = PyEval_SaveThread();
    CHECK_CHILD_EXIT(child_of_thread, 0); /* its last thread ended */
    PyEval_RestoreThread(mine);
    finish();
}

static void join_and_end(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    test_child_done(0);
}

static void fork_and_be_joined(void *own) {
    child_of_thread = fork_here();
    if (child_of_thread == 0)
        PyThreadHandle_Decref(start(join_and_end, own));
}

TEST("... and be joined there by another thread") {
    begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      fork_and_be_joined, handle, 0),
                 0);
    join_and_drop(handle);
    PyThreadState *mine = PyEval_SaveThread();
    CHECK_CHILD_EXIT(child_of_thread, 0);
    PyEval_RestoreThread(mine);
    finish();
}

/* ---- What others were doing ------------------------------------------- */

static PyMutex mutex;
static PyEvent event;

static void lock_mutex(void *arg) {
    (void)arg;
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

static void wait_event(void *arg) {
    (void)arg;
    CHECK_INT_EQ(PyEvent_WaitTimed(&event, LIMIT, 1), 1);
}

static void visit(void *arg) {
    (void)arg;
    for (int i = 0; i < 50; i++) {
        PyGILState_STATE token = PyGILState_Ensure();
        PyGILState_Release(token);
    }
}

static void join_it(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
}

static void wait_for_all(void *interp) {
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, LIMIT, NULL, 0, NULL), 0);
}

static void take_and_wake(void *arg) {
    (void)arg;
    PyMutex_Lock(&mutex); /* behind nobody: the ghosts are forgotten */
    PyMutex_Unlock(&mutex);
    _PyEvent_Notify(&event);
}

static void wait_and_be_woken(void) {
    PyThreadHandle *other = start(take_and_wake, NULL);
    PyEvent_Wait(&event);
    join_and_drop(other);
    PyMutex_Lock(&mutex);
    PyThreadHandle *waiter = start(lock_mutex, NULL);
    CHECK_INT_EQ(PyThreadHandle_Join(waiter, 2 * MS), 1);
    PyMutex_Unlock(&mutex);
    join_and_drop(waiter);
}

TEST("threads parked in every primitive are no ghosts in the child (S-PL-10)") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyMutex_Lock(&mutex);
    PyThreadHandle *parked[] = {
        start(lock_mutex, NULL), start(wait_event, NULL),
        start(lock_mutex, NULL), start(wait_event, NULL)};
    peers_add(&peers, 2, join_it, parked[0]);
    peers_add(&peers, 2, wait_for_all, main_state->interp);
    peers_add(&peers, 2, visit, NULL); /* these wait for the GIL */
    peers_add(&peers, 2, lock_mutex, NULL);
    peers_start(&peers);
    for (int i = 0; i < 4; i++)
        wait_sleeping(PyThreadHandle_ThreadState(parked[i]));
    for (int round = 0; round < 10; round++)
        IN_CHILD {
            PyMutex_Unlock(&mutex); /* the survivor's own */
            wait_and_be_woken();
            PyMutex_Lock(&mutex);
            for (int i = 0; i < 4; i++)
                check_done(parked[i]);
            live_on();
        }
    PyMutex_Unlock(&mutex);
    _PyEvent_Notify(&event);
    for (int i = 1; i < 4; i++)
        join(parked[i]);
    join_peers(&peers);
    for (int i = 0; i < 4; i++)
        join_and_drop(parked[i]);
    finish();
}

static void churn(void *arg) {
    (void)arg;
    while (!atomic_load(&stop)) {
        PyThreadState *mine = enter(PyInterpreterState_Main());
        PyMutex_Lock(&mutex);
        PyThreadState *more = PyThreadState_New(mine->interp);
        PyMutex_Unlock(&mutex);
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
        PyThreadState_Clear(more);
        PyThreadState_Delete(more);
        leave();
    }
}

static void churn_threads(void *arg) {
    (void)arg;
    while (!atomic_load(&stop)) {
        PyThreadHandle *handle =
            start_in(PyInterpreterState_Main(), do_nothing, NULL, 0);
        CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
        PyThreadHandle_Decref(handle);
        PyThreadHandle_Decref(
            start_in(PyInterpreterState_Main(), do_nothing, NULL, 0));
    }
}

TEST("forty forks while four threads make states and threads without pause",
     .limit_s = 40) {
    FORKS_WHILE_THREADS_END();
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 2, churn, NULL);
    peers_add(&peers, 2, churn_threads, NULL);
    peers_start(&peers);
    for (int round = 0; round < 40; round++)
        IN_CHILD { live_on(); }
    atomic_store(&stop, 1);
    join_peers(&peers);
    _PyInterpreterState_WaitForThreads(PyInterpreterState_Get());
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

TEST("between Before and After nobody else is attached (S-FK-02, 03)") {
    atomic_int progress = 0;
    struct peers peers = PEERS_INIT;
    PyTState_Config config = {.gil = PyTState_GIL_NONE};
    begin_with(&config); /* without a GIL only the pause keeps them off */
    peers_add(&peers, 3, note_progress, &progress);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&progress) > 100, LIMIT_MS);
    PyOS_BeforeFork();
    int before = atomic_load(&progress);
    for (int i = 0; i < 50; i++)
        test_nap(); /* time in which they would get far */
    CHECK_INT_EQ(atomic_load(&progress), before);
    PyOS_AfterFork_Parent(); /* as after a fork() that failed */
    WAIT_UNTIL(atomic_load(&progress) > before + 100, LIMIT_MS);
    atomic_store(&stop, 1);
    join_peers(&peers);
    finish();
}

/* ---- More than once --------------------------------------------------- */

TEST("a child forks, and its child, each to its own end") {
    static PyEvent go;
    begin();
    PyThreadHandle *handle = start(wait_for_event, &go);
    IN_CHILD {
        static PyEvent child_go;
        PyThreadHandle *mine = start(wait_for_event, &child_go);
        CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 0);
        IN_CHILD {
            check_done(mine);
            check_done(handle);
            live_on();
        }
        _PyEvent_Notify(&child_go);
        CHECK_INT_EQ(PyThreadHandle_Join(mine, LIMIT), 0);
        PyThreadHandle_Decref(mine);
        check_done(handle);
        live_on();
    }
    _PyEvent_Notify(&go);
    join_and_drop(handle);
    finish();
}

TEST("a fork between two lives, or before the first, is nobody's business") {
    EXPECT_CHILD_EXIT(0) {
        begin();
        live_on();
    }
    begin();
    finish();
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork(); /* not announced: no runtime is alive */
        if (pid == 0) {
            begin();
            live_on();
            test_child_done(0);
        }
        CHECK_CHILD_EXIT(pid, 0);
    }
    begin();
    finish();
}

TEST("the old name of AfterFork_Child does the same") {
    begin();
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork();
        live_on();
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(pid, 0);
    finish();
}
