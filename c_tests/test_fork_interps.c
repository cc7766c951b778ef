/* Forks of a process with several interpreters, or without a GIL. */
#include "fork_host.h"

static PyEvent event;

/* ---- Interpreters ----------------------------------------------------- */

static atomic_int n_visiting;

static void stay_in(void *interp) {
    enter(interp);
    atomic_fetch_add(&n_visiting, 1);
    wait_for_event(&event);
    leave();
}

TEST("sub-interpreters that are alive are ended in the child (gh-139759)") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyThreadState *first[4];
    PyThreadHandle *handle[4];
    for (int gil = 1; gil <= 3; gil++) {
        first[gil] = new_interp(gil);
        first[gil]->on_delete = count_deleted;
        handle[gil] = start_in(first[gil]->interp, wait_for_event, &event, 0);
        peers_add(&peers, 2, stay_in, first[gil]->interp);
    }
    PyThreadState_Swap(main_state);
    peers_start(&peers);
    WAIT_DETACHED(atomic_load(&n_visiting) == 6);
    IN_CHILD {
        CHECK_INT_EQ(atomic_load(&n_deleted), 0); /* they are discarded */
        CHECK_NULL(PyThreadState_New(first[1]->interp));
        for (int gil = 1; gil <= 3; gil++)
            check_done(handle[gil]);
        live_on();
    }
    _PyEvent_Notify(&event);
    join_peers(&peers);
    for (int gil = 1; gil <= 3; gil++)
        join_and_drop(handle[gil]);
    finish();
    CHECK_INT_EQ(atomic_load(&n_deleted), 3);
}

struct latecomer {
    PyInterpreterState *interp;
    struct latch detached, may_attach;
};

static void *attach_late(void *raw) {
    struct latecomer *me = raw;
    PyThreadState *mine = enter(me->interp);
    PyEval_SaveThread();
    latch_arrive(&me->detached);
    CHECK_INT_EQ(latch_wait(&me->may_attach, LIMIT_MS), 1);
    PyEval_RestoreThread(mine); /* late: does not return */
    return NULL;
}

TEST("the GIL of an ended interpreter that a late thread has for an instant is "
     "free in the child") {
    static struct latecomer late = {NULL, LATCH_INIT(1), LATCH_INIT(1)};
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.compat = 0x030E0000; /* an end gives up what is left */
    PyThreadState *mine = begin_with(&config);
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    late.interp = sub->interp;
    PyEval_SaveThread();
    pthread_t thread;
    CHECK_INT_EQ(pthread_create(&thread, NULL, attach_late, &late), 0);
    CHECK_INT_EQ(latch_wait(&late.detached, LIMIT_MS), 1);
    PyEval_RestoreThread(sub);
    hold("attach.begin");
    latch_arrive(&late.may_attach);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("attach.begin", LIMIT), 0);
    Py_EndInterpreter(sub);
    hold("attach.gil_taken");
    let_go("attach.begin");
    CHECK_INT_EQ(PyTState_Sync_WaitParked("attach.gil_taken", LIMIT), 0);
    PyThreadState_Swap(mine);
    IN_CHILD {
        PyThreadState *next = new_interp(PyInterpreterConfig_OWN_GIL);
        CHECK_PTR_EQ(next->interp, late.interp); /* the same block */
        Py_EndInterpreter(next);
        PyEval_RestoreThread(mine);
        finish();
    }
    let_go("attach.gil_taken");
    finish();
}

TEST("a fork between two lives, which no call announces, leaves the GIL of an "
     "ended interpreter free in the child") {
    static struct latecomer late = {NULL, LATCH_INIT(1), LATCH_INIT(1)};
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.compat = 0x030E0000; /* an end gives up what is left */
    PyThreadState *mine = begin_with(&config);
    PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
    late.interp = sub->interp;
    PyEval_SaveThread();
    pthread_t thread;
    CHECK_INT_EQ(pthread_create(&thread, NULL, attach_late, &late), 0);
    CHECK_INT_EQ(latch_wait(&late.detached, LIMIT_MS), 1);
    PyEval_RestoreThread(sub);
    hold("attach.begin");
    latch_arrive(&late.may_attach);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("attach.begin", LIMIT), 0);
    Py_EndInterpreter(sub);
    hold("attach.gil_taken");
    let_go("attach.begin");
    CHECK_INT_EQ(PyTState_Sync_WaitParked("attach.gil_taken", LIMIT), 0);
    PyThreadState_Swap(mine);
    finish();
    pid_t pid = fork();
    if (pid == 0) {
        PyTState_Sync_Clear();
        begin();
        PyThreadState *next = new_interp(PyInterpreterConfig_OWN_GIL);
        CHECK_PTR_EQ(next->interp, late.interp); /* the same block */
        Py_EndInterpreter(next);
        test_child_done(0);
    }
    CHECK_CHILD_EXIT(pid, 0);
    let_go("attach.gil_taken");
}

/* ---- Identities that the OS uses again --------------------------------- */

static PyInterpreterGuard *left_open;
static pthread_t opener;

static void *leave_a_guard_open(void *interp) {
    enter(interp);
    left_open = PyInterpreterGuard_FromCurrent();
    opener = pthread_self();
    leave();
    return NULL;
}

static void *fork_with_the_same_identity(void *interp) {
    if (!pthread_equal(pthread_self(), opener))
        return interp;
    enter(interp);
    IN_CHILD { CHECK_INT_EQ(Py_FinalizeEx(), 0); }
    leave();
    return NULL;
}

TEST("a guard whose opener ended holds nothing in the child of a thread that "
     "has "
     "got the opener's pthread_t") {
    PyThreadState *mine = begin();
    PyInterpreterState *interp = mine->interp;
    PyEval_SaveThread();
    pthread_t thread;
    void *differs = NULL;
    CHECK_INT_EQ(pthread_create(&thread, NULL, leave_a_guard_open, interp), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i == 0 || (differs != NULL && i < 100); i++) {
        CHECK_INT_EQ(
            pthread_create(&thread, NULL, fork_with_the_same_identity, interp),
            0);
        pthread_join(thread, &differs);
    }
    PyEval_RestoreThread(mine);
    PyInterpreterGuard_Close(left_open);
    finish();
    if (differs != NULL)
        SKIP("the C library gave no thread the identity of an ended one");
}

TEST("forking from a sub-interpreter ends the child with status 1 (S-FK-11)") {
    EXPECT_CHILD_EXIT(0) {
        PyThreadState *main_state = begin();
        PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
        PyOS_BeforeFork();
        pid_t pid = fork();
        if (pid == 0) {
            PyOS_AfterFork_Child();
            test_child_done(0);
        }
        PyOS_AfterFork_Parent();
        CHECK_CHILD_EXIT(pid, 1);
        CHECK_PTR_EQ(PyThreadState_Get(), first);
        Py_EndInterpreter(first);
        PyEval_RestoreThread(main_state);
        finish();
        test_child_done(0);
    }
}

static void *fork_without_gil(void *arg) {
    (void)arg;
    enter(PyInterpreterState_Main());
    IN_CHILD { live_on(); }
    leave();
    return NULL;
}

TEST("a runtime without a GIL forks while others are attached") {
    atomic_int progress = 0;
    struct peers peers = PEERS_INIT;
    PyTState_Config config = {.gil = PyTState_GIL_NONE};
    begin_with(&config);
    peers_add(&peers, 3, note_progress, &progress);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&progress) > 10, LIMIT_MS);
    for (int i = 0; i < 10; i++)
        IN_CHILD { live_on(); }
    pthread_t thread;
    PyThreadState *mine = PyEval_SaveThread();
    CHECK_INT_EQ(pthread_create(&thread, NULL, fork_without_gil, NULL), 0);
    pthread_join(thread, NULL);
    PyEval_RestoreThread(mine);
    atomic_store(&stop, 1);
    join_peers(&peers);
    finish();
}
