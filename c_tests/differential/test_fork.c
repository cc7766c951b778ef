/* Real forks, with the three calls around them (S-FK). */
#include <Python.h>

#include <errno.h>
#include <sys/wait.h>

#include "common.h"

/* A fork as a host makes it: 0 in the child. */
static pid_t fork_runtime(void) {
    PyOS_BeforeFork();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    return pid;
}

/* Waits for the child detached: it may need nothing of this process. */
static void child_must_succeed(pid_t pid) {
    Py_BEGIN_ALLOW_THREADS
    CHECK_CHILD_EXIT(pid, 0);
    Py_END_ALLOW_THREADS
}

/* ---- What the two processes have (S-FK-02, S-FK-03, S-FK-06) ------------ */

TEST("the forking thread has the same state attached in both processes") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    uint64_t id = PyThreadState_GetID(first);
    pid_t pid = fork_runtime();
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    CHECK_UINT_EQ(PyThreadState_GetID(first), id);
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    CHECK_PTR_EQ(PyInterpreterState_Main(), interp);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    if (pid == 0)
        test_child_done(0);
    child_must_succeed(pid);
    finish();
}

struct others {
    atomic_int ready, leave;
};

/* Has a state, detached, until told. */
static void stay_detached(void *arg) {
    struct others *others = arg;
    PyGILState_STATE token = PyGILState_Ensure();
    Py_BEGIN_ALLOW_THREADS
    atomic_fetch_add(&others->ready, 1);
    WAIT_UNTIL(atomic_load(&others->leave), 15000);
    Py_END_ALLOW_THREADS
    PyGILState_Release(token);
}

static void start_others(struct peers *peers, struct others *others, int n) {
    peers_add(peers, n, stay_detached, others);
    peers_start(peers);
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&others->ready) == n, 5000);
    Py_END_ALLOW_THREADS
}

static void end_others(struct peers *peers, struct others *others) {
    atomic_store(&others->leave, 1);
    Py_BEGIN_ALLOW_THREADS
    peers_join(peers, 5000);
    Py_END_ALLOW_THREADS
}

TEST("the child keeps one thread state, the parent keeps all") {
    PyThreadState *first = begin();
    struct others others = {0};
    struct peers peers = PEERS_INIT;
    start_others(&peers, &others, 4);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 5);
    pid_t pid = fork_runtime();
    if (pid == 0) {
        CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
        CHECK_PTR_EQ(PyInterpreterState_ThreadHead(PyInterpreterState_Get()),
                     first);
        CHECK_NULL(first->next);
        CHECK_NULL(first->prev);
        test_child_done(0);
    }
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 5);
    child_must_succeed(pid);
    end_others(&peers, &others);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

TEST("states that this thread made but does not use are gone in the child") {
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    pid_t pid = fork_runtime();
    if (pid == 0) {
        CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
        CHECK_PTR_EQ(PyThreadState_Get(), first);
        test_child_done(0);
    }
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 2);
    child_must_succeed(pid);
    drop_state(second);
    finish();
}

/* CPython refreshes the kernel's id since 3.12. */
TEST("the surviving state knows its thread in the child") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the kernel's id is that of the parent");
    PyThreadState *first = begin();
    pid_t pid = fork_runtime();
    CHECK_UINT_EQ(first->thread_id, PyThread_get_thread_ident());
    CHECK_UINT_EQ(first->native_thread_id, (unsigned long)test_native_id());
    if (pid == 0)
        test_child_done(0);
    child_must_succeed(pid);
    finish();
}

/* ---- What works in the child -------------------------------------------- */

TEST("the child can detach and attach") {
    PyThreadState *first = begin();
    pid_t pid = fork_runtime();
    for (int i = 0; i < 10; i++) {
        CHECK_PTR_EQ(PyEval_SaveThread(), first);
        PyEval_RestoreThread(first);
        CHECK_PTR_EQ(PyThreadState_Swap(NULL), first);
        PyThreadState_Swap(first);
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_INT_EQ(token, PyGILState_LOCKED);
        PyGILState_Release(token);
    }
    CHECK_INT_EQ(first->gilstate_counter, 1);
    if (pid == 0)
        test_child_done(0);
    child_must_succeed(pid);
    finish();
}

TEST("the child can make, use and delete states") {
    PyThreadState *first = begin();
    pid_t pid = fork_runtime();
    if (pid == 0) {
        PyInterpreterState *interp = PyInterpreterState_Get();
        PyThreadState *state = PyThreadState_New(interp);
        CHECK_UINT_GT(PyThreadState_GetID(state), PyThreadState_GetID(first));
        PyThreadState_Swap(state);
        PyThreadState_Swap(first);
        drop_state(state);
        CHECK_INT_EQ(count_states(interp), 1);
        test_child_done(0);
    }
    child_must_succeed(pid);
    finish();
}

static void work(void *arg) {
    volatile int *sum = arg;
    for (int i = 0; i < 50; i++) {
        PyGILState_STATE token = PyGILState_Ensure();
        int before = *sum;
        sched_yield();
        *sum = before + 1;
        PyGILState_Release(token);
    }
}

TEST("the child can start threads that attach") {
    PyThreadState *first = begin();
    struct others others = {0};
    struct peers parents = PEERS_INIT;
    start_others(&parents, &others, 2);
    pid_t pid = fork_runtime();
    if (pid == 0) {
        struct peers peers = PEERS_INIT;
        int sum = 0;
        PyEval_SaveThread();
        peers_add(&peers, 4, work, &sum);
        peers_start(&peers);
        peers_join(&peers, 10000);
        PyEval_RestoreThread(first);
        CHECK_INT_EQ(sum, 200);
        CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
        test_child_done(0);
    }
    child_must_succeed(pid);
    end_others(&parents, &others);
    finish();
}

TEST("the child can finalize, the parent too") {
    begin();
    pid_t pid = fork_runtime();
    if (pid == 0) {
        finish();
        CHECK_INT_EQ(Py_IsInitialized(), 0);
        CHECK_NULL(PyInterpreterState_Main());
        test_child_done(0);
    }
    child_must_succeed(pid);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    finish();
}

TEST("the child can finalize though other threads had states") {
    begin();
    struct others others = {0};
    struct peers peers = PEERS_INIT;
    start_others(&peers, &others, 3);
    pid_t pid = fork_runtime();
    if (pid == 0) {
        finish();
        test_child_done(0);
    }
    child_must_succeed(pid);
    end_others(&peers, &others);
    finish();
}

TEST("the child can initialize again after it finalized") {
    begin();
    pid_t pid = fork_runtime();
    if (pid == 0) {
        finish();
        PyThreadState *first = begin();
        CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
        PyEval_SaveThread();
        PyEval_RestoreThread(first);
        finish();
        test_child_done(0);
    }
    child_must_succeed(pid);
    finish();
}

TEST("the child can make a sub-interpreter and end it") {
    PyThreadState *first = begin();
    pid_t pid = fork_runtime();
    if (pid == 0) {
        PyThreadState *sub = Py_NewInterpreter();
        CHECK_INT_EQ(count_interpreters(), 2);
        Py_EndInterpreter(sub);
        PyThreadState_Swap(first);
        finish();
        test_child_done(0);
    }
    child_must_succeed(pid);
    finish();
}

TEST("the child can fork in its turn") {
    begin();
    pid_t pid = fork_runtime();
    if (pid == 0) {
        pid_t next = fork_runtime();
        if (next == 0) {
            CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
            finish();
            test_child_done(0);
        }
        child_must_succeed(next);
        finish();
        test_child_done(0);
    }
    child_must_succeed(pid);
    finish();
}

/* ---- When it is busy ---------------------------------------------------- */

struct busy {
    atomic_int stop;
    atomic_long rounds;
};

static void be_busy(void *arg) {
    struct busy *busy = arg;
    while (!atomic_load(&busy->stop)) {
        PyGILState_STATE token = PyGILState_Ensure();
        PyThreadState *state = PyThreadState_New(PyInterpreterState_Main());
        PyThreadState_Clear(state);
        PyThreadState_Delete(state);
        PyGILState_Release(token);
        atomic_fetch_add(&busy->rounds, 1);
    }
}

TEST("a fork while others attach, make and delete states gives good children") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the child may inherit a lock that is held");
    PyThreadState *first = begin();
    struct busy busy = {0};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 3, be_busy, &busy);
    peers_start(&peers);
    for (int i = 0; i < 10; i++) {
        long before = atomic_load(&busy.rounds);
        PyEval_RestoreThread(first);
        pid_t pid = fork_runtime();
        if (pid == 0) {
            struct peers own = PEERS_INIT;
            int sum = 0;
            CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
            PyEval_SaveThread();
            peers_add(&own, 1, work, &sum);
            peers_start(&own);
            peers_join(&own, 5000);
            PyEval_RestoreThread(first);
            CHECK_INT_EQ(sum, 50);
            test_child_done(0);
        }
        PyEval_SaveThread();
        CHECK_CHILD_EXIT(pid, 0);
        WAIT_UNTIL(atomic_load(&busy.rounds) > before, 5000);
    }
    atomic_store(&busy.stop, 1);
    peers_join(&peers, 5000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

static void wait_for_gil(void *arg) {
    atomic_store((atomic_long *)arg, test_native_id());
    PyGILState_Release(PyGILState_Ensure());
}

TEST("a fork while another thread waits for the GIL leaves it to the child") {
    PyThreadState *first = begin();
    struct peers peers = PEERS_INIT;
    atomic_long native_id = 0;
    needs_a_gil();
    peers_add(&peers, 1, wait_for_gil, &native_id);
    peers_start(&peers);
    wait_until_asleep(&native_id);
    pid_t pid = fork_runtime();
    if (pid == 0) {
        struct peers own = PEERS_INIT;
        int sum = 0;
        PyEval_SaveThread();
        peers_add(&own, 2, work, &sum);
        peers_start(&own);
        peers_join(&own, 5000);
        PyEval_RestoreThread(first);
        CHECK_INT_EQ(sum, 100);
        test_child_done(0);
    }
    child_must_succeed(pid);
    PyEval_SaveThread();
    peers_join(&peers, 5000);
    PyEval_RestoreThread(first);
    finish();
}

/* ---- A fork that is not made (S-FK-03) ---------------------------------- */

TEST("after a fork that failed the parent goes on") {
    PyThreadState *first = begin();
    struct others others = {0};
    struct peers peers = PEERS_INIT;
    start_others(&peers, &others, 2);
    for (int i = 0; i < 10; i++) {
        PyOS_BeforeFork();
        PyOS_AfterFork_Parent();
        CHECK_PTR_EQ(PyThreadState_Get(), first);
    }
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 3);
    end_others(&peers, &others);
    finish();
}

/* ---- From another thread (S-FK-12) -------------------------------------- */

static void fork_here(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    pid_t pid = fork_runtime();
    if (pid == 0) {
        CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
        CHECK_PTR_EQ(PyThreadState_Get(), mine);
        CHECK_INT_EQ(mine->gilstate_counter, 1);
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
        test_child_done(0);
    }
    child_must_succeed(pid);
    PyGILState_Release(token);
}

TEST("a thread that is not the main one can fork") {
    begin();
    on_new_thread(fork_here, NULL);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

/* ---- The wrong moment (S-FK-10, S-FK-11, S-FE-01) ----------------------- */

TEST("preparing the child while nothing is attached is fatal") {
    begin();
    EXPECT_ABORT("Fatal Python error: PyOS_AfterFork_Child: ") {
        PyOS_BeforeFork();
        PyEval_SaveThread();
        PyOS_AfterFork_Child();
    }
}

/* A child in a sub-interpreter ends with status 1. */
TEST("a child of a fork in a sub-interpreter ends with status 1") {
    begin();
    Py_NewInterpreter();
    EXPECT_EXIT(1, "not main interpreter") {
        pid_t pid = fork_runtime();
        if (pid == 0)
            test_child_done(0);
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        test_child_done(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
    }
}
