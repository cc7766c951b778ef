/* Forks that nobody announces: PyTState_InstallForkHandlers(); and calls
 * around a fork that are out of place. */
#include "host.h"

#include <spawn.h>
#include <stdlib.h>

static void install(void) { CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0); }

static PyThreadState *begin_with_handlers(void) {
    install();
    return begin();
}

/* Runs what follows in the child of a fork() that nobody announced. */
#define IN_PLAIN_CHILD \
    for (pid_t pid_ = fork(), ran_ = 0; plain_child(pid_, ran_); ran_ = 1)

static int plain_child(pid_t pid, int ran) {
    if (pid == 0 && ran == 0)
        return 1;
    if (pid == 0)
        test_child_done(0);
    PyThreadState *mine = PyThreadState_GetUnchecked();
    if (mine != NULL)
        PyEval_SaveThread();
    CHECK_CHILD_EXIT(pid, 0);
    if (mine != NULL)
        PyEval_RestoreThread(mine);
    return 0;
}

static atomic_int n_ran;

static void count_run(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_ran, 1);
}

static int count_pending(void *arg) {
    count_run(arg);
    return 0;
}

/* The child's thread is attached to the main interpreter: it can do it all. */
static void live_on(void) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    CHECK_PTR_EQ(interp, PyInterpreterState_Main());
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    CHECK_UINT_EQ(PyThreadState_Get()->native_thread_id,
                  (unsigned long)getpid());
    atomic_store(&n_ran, 0);
    CHECK_INT_EQ(Py_AddPendingCall(count_pending, NULL), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    join_and_drop(start(count_run, NULL));
    CHECK_INT_EQ(atomic_load(&n_ran), 2);
    finish();
    begin();
    join_and_drop(start(count_run, NULL));
    finish();
    CHECK_INT_EQ(atomic_load(&n_ran), 3);
    CHECK_INT_EQ(test_thread_count(), 1);
}

/* ---- Peers that never rest -------------------------------------------- */

static atomic_int resting;
static PyMutex busy_mutex;

static void never_rest(void *arg) {
    (void)arg;
    while (!atomic_load(&resting)) {
        PyGILState_STATE token = PyGILState_Ensure();
        PyMutex_Lock(&busy_mutex);
        PyMutex_Unlock(&busy_mutex);
        PyThreadState *other = PyThreadState_New(PyInterpreterState_Get());
        PyThreadState_Clear(other);
        PyThreadState_Delete(other);
        PyGILState_Release(token);
    }
}

/* ---- Who forks -------------------------------------------------------- */

TEST("a fork before initialization, between two lives and after") {
    install();
    install();
    IN_PLAIN_CHILD {
        begin();
        live_on();
    }
    begin();
    finish();
    IN_PLAIN_CHILD {
        begin();
        live_on();
    }
}

TEST("an attached thread forks: in the child it is attached, alone") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    peers_add(&peers, 3, never_rest, NULL);
    peers_start(&peers);
    for (int i = 0; i < 20; i++)
        IN_PLAIN_CHILD {
            CHECK_PTR_EQ(PyThreadState_Get(), main_state);
            CHECK_UINT_EQ(n_states(NULL), 1);
            live_on();
        }
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    atomic_store(&resting, 1);
    join_peers(&peers);
    finish();
}

TEST("a detached thread forks: in the child it attaches as ever") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    peers_add(&peers, 3, never_rest, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    for (int i = 0; i < 20; i++)
        IN_PLAIN_CHILD {
            CHECK_NULL(PyThreadState_GetUnchecked());
            CHECK_UINT_EQ(n_states(NULL), 1);
            PyEval_RestoreThread(main_state);
            live_on();
        }
    atomic_store(&resting, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    finish();
}

static void fork_unknown(void *arg) {
    (void)arg;
    for (int i = 0; i < 10; i++)
        IN_PLAIN_CHILD {
            CHECK_UINT_EQ(n_states(NULL), 0);
            CHECK_INT_EQ(Py_IsInitialized(), 1);
            PyGILState_Ensure();
            CHECK_UINT_EQ(n_states(NULL), 1);
            live_on();
        }
}

TEST("a thread that the runtime does not know forks") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    peers_add(&peers, 1, fork_unknown, NULL);
    peers_add(&peers, 2, never_rest, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    WAIT_UNTIL(peers_running(&peers) == 2, LIMIT_MS);
    atomic_store(&resting, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    finish();
}

static void finalize_without_a_state(void *arg) {
    (void)arg;
    IN_PLAIN_CHILD {
        finish();
        begin();
        live_on();
    }
}

TEST("a child of a thread without a state can finalize at once") {
    struct peers peers = PEERS_INIT;
    begin_with_handlers();
    peers_add(&peers, 1, finalize_without_a_state, NULL);
    peers_start(&peers);
    join_peers(&peers);
    finish();
}

static void read_nothing(void *arg) { (void)arg; }

TEST("a thread forks inside a blocking region, and leaves it in the child") {
    PyThreadState *main_state = begin_with_handlers();
    CHECK_INT_EQ(PyTState_BeginBlocking(read_nothing, NULL), 0);
    IN_PLAIN_CHILD {
        PyTState_EndBlocking();
        CHECK_PTR_EQ(PyThreadState_Get(), main_state);
        live_on();
    }
    PyTState_EndBlocking();
    finish();
}

static void fork_started(void *own) {
    PyThreadState *mine = PyThreadState_Get();
    PyEval_SaveThread();
    IN_PLAIN_CHILD {
        PyEval_RestoreThread(mine);
        CHECK_INT_EQ(PyThreadHandle_IsDone(own), 0);
        CHECK_INT_EQ(PyThreadHandle_Join(own, FOREVER), -1);
        check_raised(PyExc_RuntimeError, "cannot join current thread");
        live_on();
    }
    PyEval_RestoreThread(mine);
}

TEST("a started thread forks: its handle is its own in the child") {
    begin_with_handlers();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      fork_started, handle, 0),
                 0);
    join_and_drop(handle);
    finish();
}

/* ---- What survives ---------------------------------------------------- */

TEST("a host that announces its forks as well is seen once") {
    PyThreadState *main_state = begin_with_handlers();
    PyThreadState *second = PyThreadState_New(main_state->interp);
    /* By the handlers' rules, all states of the thread survive ... */
    IN_PLAIN_CHILD {
        CHECK_UINT_EQ(n_states(NULL), 2);
        CHECK_PTR_EQ(PyThreadState_Swap(second), main_state);
        CHECK_PTR_EQ(PyThreadState_Swap(main_state), second);
        live_on();
    }
    /* ... by the host's, the attached one. */
    pid_t pid = fork_here();
    if (pid == 0) {
        CHECK_UINT_EQ(n_states(NULL), 1);
        live_on();
        test_child_done(0);
    }
    CHECK_CHILD_EXIT(pid, 0);
    PyThreadState_Clear(second);
    PyThreadState_Delete(second);
    finish();
}

static PyThreadState *lone_interp(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(PyUnstable_AtExit(sub->interp, count_run, NULL), 0);
    CHECK_INT_EQ(PyTState_AtShutdown(sub->interp, count_run, NULL), 0);
    PyThreadState_Swap(mine);
    return sub;
}

struct elsewhere {
    PyThreadState *first;
    PyEvent made, go;
};

static void make_elsewhere(void *arg) {
    struct elsewhere *there = arg;
    enter(PyInterpreterState_Main());
    there->first = lone_interp();
    PyThreadState *mine = PyThreadState_Swap(there->first);
    PyEval_SaveThread();
    _PyEvent_Notify(&there->made);
    PyEvent_WaitTimed(&there->go, LIMIT, 1);
    PyEval_RestoreThread(there->first);
    Py_EndInterpreter(there->first);
    PyEval_RestoreThread(mine);
    leave();
}

TEST("interpreters of other threads vanish, without a call of the host's") {
    struct elsewhere there = {0};
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    peers_add(&peers, 1, make_elsewhere, &there);
    PyEval_SaveThread();
    peers_start(&peers);
    CHECK_INT_EQ(PyEvent_WaitTimed(&there.made, LIMIT, 0), 1);
    PyEval_RestoreThread(main_state);
    PyInterpreterView *view = PyInterpreterView_FromMain();
    IN_PLAIN_CHILD {
        CHECK_PTR_EQ(PyInterpreterState_Head(), main_state->interp);
        CHECK_INT_EQ(atomic_load(&n_ran), 0);
        live_on();
    }
    /* Announced, their functions at the end run; those of a shutdown that
     * waits do not. */
    pid_t pid = fork_here();
    if (pid == 0) {
        CHECK_PTR_EQ(PyInterpreterState_Head(), main_state->interp);
        CHECK_INT_EQ(atomic_load(&n_ran), 1);
        live_on();
        test_child_done(0);
    }
    CHECK_CHILD_EXIT(pid, 0);
    _PyEvent_Notify(&there.go);
    join_peers(&peers);
    PyInterpreterView_Close(view);
    CHECK_INT_EQ(atomic_load(&n_ran), 2);
    finish();
}

TEST("a thread attached to a sub-interpreter forks: both survive") {
    PyThreadState *main_state = begin_with_handlers();
    static const int gils[] = {PyInterpreterConfig_OWN_GIL,
                               PyInterpreterConfig_SHARED_GIL,
                               PyTState_INTERP_NO_GIL};
    for (int i = 0; i < 3; i++) {
        PyThreadState *sub = new_interp(gils[i]);
        IN_PLAIN_CHILD {
            CHECK_PTR_EQ(PyThreadState_Get(), sub);
            CHECK_UINT_EQ(n_states(NULL), 2);
            join_and_drop(start(count_run, NULL));
            PyThreadState_Swap(main_state);
            live_on();
        }
        Py_EndInterpreter(sub);
        PyEval_RestoreThread(main_state);
    }
    finish();
}

TEST("guards of the thread that forked stay open, others are dropped") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    PyInterpreterGuard *mine = PyInterpreterGuard_FromCurrent();
    IN_PLAIN_CHILD {
        CHECK_UINT_EQ(_PyInterpreterState_GuardCountdown(main_state->interp),
                      1);
        PyInterpreterGuard_Close(mine);
        live_on();
    }
    peers_add(&peers, 1, fork_unknown, NULL);
    peers_start(&peers);
    join_peers(&peers);
    PyInterpreterGuard_Close(mine);
    finish();
}

/* ---- In the middle of somebody else's business ------------------------ */

static void announce_and_fork(void *arg) {
    (void)arg;
    PyGILState_STATE token = PyGILState_Ensure();
    pid_t pid = fork_here();
    if (pid == 0)
        test_child_done(0);
    PyGILState_Release(token);
    CHECK_CHILD_EXIT(pid, 0);
}

static atomic_long forker;
static atomic_int forked;

static void fork_while_stopped(void *arg) {
    (void)arg;
    atomic_store(&forker, test_native_id());
    IN_PLAIN_CHILD {
        PyGILState_Ensure();
        live_on();
    }
    atomic_store(&forked, 1);
}

TEST("a fork waits while somebody else stops the world") {
    struct peers stopper = PEERS_INIT, other = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    PyEval_SaveThread();
    hold("stw.stopped");
    peers_add(&stopper, 1, announce_and_fork, NULL);
    peers_start(&stopper);
    wait_held("stw.stopped");
    peers_add(&other, 1, fork_while_stopped, NULL);
    peers_start(&other);
    wait_asleep(&forker);
    CHECK_INT_EQ(atomic_load(&forked), 0);
    let_go("stw.stopped");
    peers_join(&stopper, LIMIT_MS);
    peers_join(&other, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    finish();
}

static void wait_for_it(void *event) {
    CHECK_INT_EQ(PyEvent_WaitTimed(event, LIMIT, 1), 1);
}

static void fork_twice(void *arg) {
    (void)arg;
    IN_PLAIN_CHILD {
        CHECK_INT_EQ(PyTState_ShutdownPhase(PyInterpreterState_Main()),
                     PyTState_PHASE_RUNNING);
        PyGILState_Ensure();
        live_on();
    }
    PyGILState_STATE token = PyGILState_Ensure();
    pid_t pid = fork_here();
    if (pid == 0) {
        CHECK_INT_EQ(PyTState_ShutdownPhase(PyInterpreterState_Main()),
                     PyTState_PHASE_RUNNING);
        live_on();
        test_child_done(0);
    }
    PyGILState_Release(token);
    CHECK_CHILD_EXIT(pid, 0);
}

static void fork_and_let_go(void *event) {
    fork_twice(NULL);
    _PyEvent_Notify(event);
}

TEST("a fork while another thread finalizes: the child begins its own end") {
    static PyEvent go;
    struct peers peers = PEERS_INIT;
    begin_with_handlers();
    PyThreadHandle_Decref(start(wait_for_it, &go));
    hold("wait_threads.scan");
    peers_add(&peers, 1, fork_and_let_go, &go);
    peers_start(&peers);
    PyTState_Sync_Clear();
    finish();
    peers_join(&peers, LIMIT_MS);
}

static PyEvent committed, child_is_done;

static void stay_committed(void *arg) {
    (void)arg;
    CHECK_INT_EQ(Py_IsFinalizing(), 1);
    _PyEvent_Notify(&committed);
    CHECK_INT_EQ(PyEvent_WaitTimed(&child_is_done, LIMIT, 1), 1);
}

static void fork_after_commit(void *arg) {
    (void)arg;
    CHECK_INT_EQ(PyEvent_WaitTimed(&committed, LIMIT, 0), 1);
    IN_PLAIN_CHILD {
        CHECK_INT_EQ(Py_IsInitialized(), 0);
        CHECK_UINT_EQ(n_states(NULL), 0);
        CHECK_NULL(PyInterpreterState_Main());
        begin();
        live_on();
    }
    _PyEvent_Notify(&child_is_done);
}

TEST("a fork after another thread committed: in the child it is over") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    CHECK_INT_EQ(PyUnstable_AtExit(main_state->interp, stay_committed, NULL),
                 0);
    peers_add(&peers, 1, fork_after_commit, NULL);
    peers_start(&peers);
    finish();
    peers_join(&peers, LIMIT_MS);
}

static void fork_at_exit(void *arg) {
    int *again = arg;
    IN_PLAIN_CHILD {
        *again = 1;
        return;
    }
}

TEST("a callback of finalization forks: parent and child both finish") {
    static int in_child;
    PyThreadState *main_state = begin_with_handlers();
    CHECK_INT_EQ(
        PyTState_AtShutdown(main_state->interp, fork_at_exit, &in_child), 0);
    finish();
    begin();
    join_and_drop(start(count_run, NULL));
    finish();
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    if (in_child)
        test_child_done(0);
}

/* ---- Other ways to a child -------------------------------------------- */

static atomic_int n_forks;

static void count_fork(const char *point, void *arg) {
    (void)point;
    (void)arg;
    atomic_fetch_add(&n_forks, 1);
}

TEST("posix_spawn is no fork") {
    char *arguments[] = {(char *)"true", NULL};
    pid_t pid;
    begin_with_handlers();
    CHECK_INT_EQ(PyTState_Sync_Hook("fork.before", count_fork, NULL), 0);
    CHECK_INT_EQ(posix_spawnp(&pid, "true", NULL, NULL, arguments, NULL), 0);
    CHECK_CHILD_EXIT(pid, 0);
    CHECK_INT_EQ(atomic_load(&n_forks), 0);
    IN_PLAIN_CHILD { finish(); }
    CHECK_INT_EQ(atomic_load(&n_forks), 1);
    PyTState_Sync_Clear();
    finish();
}

enum { FORKERS = 3, FORKS = 15 };

static void fork_again_and_again(void *arg) {
    (void)arg;
    for (int i = 0; i < FORKS; i++) {
        PyGILState_STATE token = PyGILState_UNLOCKED;
        int attached = i % 2;
        if (attached)
            token = PyGILState_Ensure();
        pid_t pid = fork();
        if (pid == 0) {
            if (!attached)
                PyGILState_Ensure();
            live_on();
            test_child_done(0);
        }
        if (attached)
            PyGILState_Release(token);
        CHECK_CHILD_EXIT(pid, 0);
    }
}

TEST("three threads fork at once, again and again", .limit_s = 60) {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_with_handlers();
    peers_add(&peers, FORKERS, fork_again_and_again, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    peers_join(&peers, 50000);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- Out of place ----------------------------------------------------- */

TEST("calls around a fork that are out of place are fatal") {
    EXPECT_FATAL("PyOS_BeforeFork", "it was called before") {
        begin();
        PyOS_BeforeFork();
        PyOS_BeforeFork();
    }
    EXPECT_FATAL("PyOS_AfterFork_Parent", "PyOS_BeforeFork() was not called") {
        begin();
        PyOS_AfterFork_Parent();
    }
    EXPECT_FATAL("PyOS_AfterFork_Child", "this is the parent") {
        begin();
        PyOS_BeforeFork();
        PyOS_AfterFork_Child();
    }
}

TEST("a child whose parent announced nothing is made whole all the same") {
    PyThreadState *main_state = begin();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        CHECK_PTR_EQ(PyThreadState_Get(), main_state);
        live_on();
        test_child_done(0);
    }
    CHECK_CHILD_EXIT(pid, 0);
    finish();
}
