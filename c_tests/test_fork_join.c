/* Forks by a thread that others are joining at that moment. */
#include "fork_host.h"

static pid_t child;
static PyThreadHandle *forker;
static PyEvent go;

static void join_forker(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyThreadHandle_Join(forker, LIMIT), 0);
}

static void wait_for_main(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyTState_WaitForThreads(PyInterpreterState_Main(), LIMIT, NULL,
                                         0, NULL),
                 0);
}

/* The forker forks with two threads in a join of it and two in a wait for all;
 * at least one of them has come to `point`. */
static void fork_among_joiners(void (*body)(void *), const char *point) {
    struct peers peers = PEERS_INIT;
    begin();
    go = (PyEvent){0};
    forker = PyThreadHandle_New();
    CHECK_INT_EQ(
        PyThreadHandle_Start(forker, PyInterpreterState_Get(), body, NULL, 0),
        0);
    hold(point);
    peers_add(&peers, 2, join_forker, NULL);
    peers_add(&peers, 2, wait_for_main, NULL);
    peers_start(&peers);
    wait_held(point);
    let_go(point);
    _PyEvent_Notify(&go);
    PyThreadState *mine = PyEval_SaveThread();
    peers_join(&peers, LIMIT_MS);
    CHECK_CHILD_EXIT(child, 0);
    PyEval_RestoreThread(mine);
    PyThreadHandle_Decref(forker);
    finish();
}

/* ---- While it runs ---------------------------------------------------- */

static void join_and_end(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyThreadHandle_Join(forker, LIMIT), 0);
    CHECK_INT_EQ(PyThreadHandle_IsDone(forker), 1);
    test_child_done(0);
}

static void fork_running(void *unused) {
    (void)unused;
    wait_for_event(&go);
    child = fork_here();
    if (child == 0) {
        CHECK_INT_EQ(PyThreadHandle_IsDone(forker), 0);
        CHECK_INT_EQ(PyThreadHandle_Join(forker, 0), -1);
        check_raised(PyExc_RuntimeError, "cannot join current thread");
        PyThreadHandle_Decref(start(join_and_end, NULL));
    }
}

TEST("joiners of the forking thread leave its handle free in the child: "
     "another thread joins it there") {
    fork_among_joiners(fork_running, "join.waiting");
}

/* ---- In its thread-local destructors ---------------------------------- */

static pthread_key_t key;

static void in_child_of_destructor(void) {
    /* Its function has returned: it is as if it had ended (docs/fork.md). */
    CHECK_INT_EQ(PyThreadHandle_IsDone(forker), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(forker, LIMIT), 0);
    live_on();
    test_child_done(0);
}

static void fork_announced(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyEvent_WaitTimed(&go, LIMIT, 0), 1);
    PyGILState_STATE token = PyGILState_Ensure();
    child = fork_here();
    if (child == 0)
        in_child_of_destructor();
    PyGILState_Release(token);
}

static void fork_unannounced(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyEvent_WaitTimed(&go, LIMIT, 0), 1);
    child = fork();
    if (child == 0) {
        PyGILState_Ensure();
        in_child_of_destructor();
    }
}

static void set_key(void *unused) {
    (void)unused;
    pthread_setspecific(key, &key);
}

/* One of the joiners has the mutex and is in the OS join. */
TEST("a thread forks in a thread-local destructor while others join it") {
    CHECK_INT_EQ(pthread_key_create(&key, fork_announced), 0);
    fork_among_joiners(set_key, "join.os_join");
}

TEST("... with nobody being told") {
    CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0);
    CHECK_INT_EQ(pthread_key_create(&key, fork_unannounced), 0);
    fork_among_joiners(set_key, "join.os_join");
}
