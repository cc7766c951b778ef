/* Lists of states and interpreters while the world is stopped. */
#include "host.h"

enum { SUSPENDED = 2 };

/* A case that runs with a GIL and without one. */
#define TEST_MODES(name, body)                               \
    TEST(name ", with a GIL") { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL", .limit_s = 60) { body(PyTState_GIL_NONE); }

static atomic_int over;

/* ---- The lists of states stand still -----------------------------------
 */

struct changer {
    PyInterpreterState *interp;
    PyThreadState *before, *made, *gone;
    struct latch ready, may_change, changed, may_end;
};

/* Makes and deletes states without being attached. */
static void change_the_list(void *raw) {
    struct changer *me = raw;
    me->before = enter(me->interp);
    PyThreadState_Clear(me->before);
    PyEval_SaveThread();
    latch_arrive(&me->ready);
    CHECK_INT_EQ(latch_wait(&me->may_change, LIMIT_MS), 1);
    me->made = PyThreadState_New(me->interp);
    CHECK_NOT_NULL(me->made);
    CHECK_INT_EQ(me->made->state, SUSPENDED);
    PyThreadState_Delete(me->before);
    /* One that comes and goes in the same pause. */
    me->gone = PyThreadState_New(me->interp);
    CHECK_UINT_GT(PyThreadState_GetID(me->gone), PyThreadState_GetID(me->made));
    latch_arrive(&me->changed);
    CHECK_INT_EQ(latch_wait(&me->may_end, LIMIT_MS), 1);
    PyEval_RestoreThread(me->made);
    PyThreadState_Clear(me->gone);
    PyThreadState_Delete(me->gone);
    leave();
}

static int walk(PyInterpreterState *interp, PyThreadState *wanted) {
    int found = 0;
    for (PyThreadState *one = PyInterpreterState_ThreadHead(interp); one;
         one = PyThreadState_Next(one))
        found += wanted == NULL || one == wanted;
    return found;
}

static void stands_still(int gil) {
    static struct changer changer = {.ready = LATCH_INIT(1),
                                     .may_change = LATCH_INIT(1),
                                     .changed = LATCH_INIT(1),
                                     .may_end = LATCH_INIT(1)};
    struct peers peers = PEERS_INIT;
    PyThreadState *mine = begin_mode(gil, NULL);
    PyInterpreterState *interp = changer.interp = mine->interp;
    peers_add(&peers, 1, change_the_list, &changer);
    peers_start(&peers);
    WAIT_DETACHED(latch_wait(&changer.ready, 0));
    _PyEval_StopTheWorld(interp);
    CHECK_INT_EQ(walk(interp, NULL), 2);
    latch_arrive(&changer.may_change);
    CHECK_INT_EQ(latch_wait(&changer.changed, LIMIT_MS), 1);
    CHECK_INT_EQ(walk(interp, NULL), 2);
    CHECK_INT_EQ(walk(interp, changer.before), 1);
    CHECK_INT_EQ(walk(interp, changer.made), 0);
    /* The requester changes it at once. */
    PyThreadState *own = PyThreadState_New(interp);
    CHECK_INT_EQ(walk(interp, own), 1);
    PyThreadState_Clear(own);
    PyThreadState_Delete(own);
    CHECK_INT_EQ(walk(interp, NULL), 2);
    _PyEval_StartTheWorld(interp);
    CHECK_INT_EQ(walk(interp, NULL), 3);
    CHECK_INT_EQ(walk(interp, changer.before), 0);
    CHECK_INT_EQ(walk(interp, changer.made), 1);
    CHECK_INT_EQ(walk(interp, changer.gone), 1);
    latch_arrive(&changer.may_end);
    join_peers(&peers);
    CHECK_INT_EQ(walk(interp, NULL), 1);
    finish();
}

TEST_MODES("a list of states stands still while the world does", stands_still)

static struct changer raced;

static void make_and_delete(void *raw) {
    struct changer *me = raw;
    while (!atomic_load(&over)) {
        PyThreadState *one = PyThreadState_New(me->interp);
        CHECK_NOT_NULL(one);
        PyThreadState_Delete(one); /* misuse, not looked at: never cleared */
    }
}

static void pause_against_changes(int gil) {
    struct peers peers = PEERS_INIT;
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.gil = gil;
    config.check_level = PyTState_CHECK_OFF;
    PyThreadState *mine = begin_with(&config);
    raced.interp = mine->interp;
    peers_add(&peers, 3, make_and_delete, &raced);
    peers_start(&peers);
    for (int i = 0; i < 3000; i++) {
        _PyEval_StopTheWorldAll(NULL);
        int first = walk(raced.interp, NULL);
        CHECK_INT_EQ(walk(raced.interp, mine), 1);
        CHECK_INT_EQ(walk(raced.interp, NULL), first);
        _PyEval_StartTheWorldAll(NULL);
        if (i % 100 == 0) {
            pid_t pid = fork_here();
            if (pid == 0) {
                CHECK_INT_EQ(walk(raced.interp, NULL), 1);
                test_child_done(Py_FinalizeEx());
            }
            CHECK_CHILD_EXIT(pid, 0);
        }
    }
    atomic_store(&over, 1);
    join_peers(&peers);
    CHECK_INT_EQ(walk(raced.interp, NULL), 1);
    finish();
}

TEST_MODES("pauses and forks beside threads that make and delete states",
           pause_against_changes)

static void new_interp_elsewhere(void *raw) {
    struct changer *me = raw;
    latch_arrive(&me->ready);
    me->made = new_interp(PyInterpreterConfig_SHARED_GIL);
    latch_arrive(&me->changed);
    Py_EndInterpreter(me->made);
}

TEST("a thread that makes an interpreter waits for the end of a pause of all") {
    static struct changer changer = {.ready = LATCH_INIT(1),
                                     .changed = LATCH_INIT(1)};
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 1, new_interp_elsewhere, &changer);
    _PyEval_StopTheWorldAll(NULL);
    hold("stw.held_back");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("stw.held_back", LIMIT), 0);
    let_go("stw.held_back");
    CHECK_NULL(PyInterpreterState_Next(PyInterpreterState_Head()));
    CHECK_INT_EQ(latch_wait(&changer.changed, 0), 0);
    _PyEval_StartTheWorldAll(NULL);
    join_peers(&peers);
    CHECK_INT_EQ(latch_wait(&changer.changed, 0), 1);
    finish();
}
