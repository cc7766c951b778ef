/* Three modes in one process: shared GIL, own GIL, no GIL. The same work runs
 * in all of them, at the same time. */
#include "host.h"

#include <stdlib.h>
#include <unistd.h>

enum { SHARED, OWN, NONE, MODES };

static const char *const mode_name[] = {"shared GIL", "own GIL", "no GIL"};

/* One interpreter of each mode; the shared one shares with the main one. */
static struct side {
    PyThreadState *first;
    PyInterpreterState *interp;
    PyInterpreterView *view;
    atomic_int inside, most;
    atomic_long done, called;
    long plain; /* not atomic: the mode has to protect it */
    PyMutex mutex;
    PyEvent event;
    struct node *_Atomic head;
} side[MODES];

static PyThreadState *main_state;

static void begin_all(void) {
    NEEDS_GIL();
    static const int gil[] = {PyInterpreterConfig_SHARED_GIL,
                              PyInterpreterConfig_OWN_GIL,
                              PyTState_INTERP_NO_GIL};
    main_state = begin_mode(PyTState_GIL_SHARED, NULL);
    for (int i = 0; i < MODES; i++) {
        side[i].first = new_interp(gil[i]);
        side[i].interp = side[i].first->interp;
        side[i].view = PyInterpreterView_FromCurrent();
        CHECK_NOT_NULL(side[i].view);
    }
    PyEval_SaveThread();
}

static void finish_all(void) {
    for (int i = 0; i < MODES; i++) {
        PyInterpreterView_Close(side[i].view);
        PyEval_RestoreThread(side[i].first);
        Py_EndInterpreter(side[i].first);
    }
    PyEval_RestoreThread(main_state);
    finish();
}

/* Runs `body` in `n` threads of every interpreter at once; each gets its
 * side. */
static void run_everywhere(void (*body)(void *), int n) {
    struct peers peers = PEERS_INIT;
    for (int i = 0; i < MODES; i++)
        peers_add(&peers, n, body, &side[i]);
    peers_start(&peers);
    peers_join(&peers, 4 * LIMIT_MS);
}

/* ---- Who runs at the same time (S-TS-10) ------------------------------------
 */

static void be_inside(void *raw) {
    struct side *here = raw;
    PyThreadState *state = enter(here->interp);
    for (int i = 0; i < 600; i++) {
        int now = atomic_fetch_add(&here->inside, 1) + 1;
        int most = atomic_load(&here->most);
        while (now > most &&
               !atomic_compare_exchange_weak(&here->most, &most, now))
            ;
        if (i % 8 == 0)
            sched_yield();
        atomic_fetch_sub(&here->inside, 1);
        if (i % 3 == 0) {
            PyEval_SaveThread();
            PyEval_RestoreThread(state);
        } else {
            poll_once();
        }
    }
    leave();
}

TEST("where there is a GIL one thread is attached at a time", .limit_s = 60) {
    begin_all();
    run_everywhere(be_inside, 3);
    CHECK_INT_EQ(side[SHARED].most, 1);
    CHECK_INT_EQ(side[OWN].most, 1);
    finish_all();
}

static void meet_attached(void *raw) {
    struct side *here = raw;
    enter(here->interp);
    atomic_fetch_add(&here->inside, 1);
    /* Nobody detaches before the other is here, attached as well. */
    WAIT_UNTIL(atomic_load(&here->inside) == 2, LIMIT_MS);
    leave();
}

TEST("without a GIL threads are attached at the same time") {
    begin_all();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 2, meet_attached, &side[NONE]);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    finish_all();
}

static atomic_int met;

static void meet_the_others(void *raw) {
    struct side *here = raw;
    enter(here->interp);
    atomic_fetch_add(&met, 1);
    WAIT_UNTIL(atomic_load(&met) == MODES, LIMIT_MS);
    leave();
}

TEST("threads of different modes run at the same time") {
    begin_all();
    run_everywhere(meet_the_others, 1);
    finish_all();
}

static void work_in_main(void *stop) {
    enter(main_state->interp);
    while (!atomic_load((atomic_int *)stop)) {
        int n = atomic_fetch_add(&side[SHARED].inside, 1);
        CHECK_INT_EQ(n, 0);
        sched_yield();
        atomic_fetch_sub(&side[SHARED].inside, 1);
        poll_once();
    }
    leave();
}

/* Each detach may cost the two their turn, and an interval for each other. */
TEST("the interpreter that shares its GIL shares it with the main one",
     .limit_s = 60) {
    static atomic_int stop;
    struct peers peers = PEERS_INIT, main_peers = PEERS_INIT;
    begin_all();
    peers_add(&main_peers, 2, work_in_main, &stop);
    peers_start(&main_peers);
    peers_add(&peers, 2, be_inside, &side[SHARED]);
    peers_start(&peers);
    peers_join(&peers, 3 * LIMIT_MS);
    atomic_store(&stop, 1);
    peers_join(&main_peers, LIMIT_MS);
    CHECK_INT_EQ(side[SHARED].most, 1);
    finish_all();
}

/* ---- The same work in every mode
 * ---------------------------------------------- */

/* Nodes that readers follow without a lock. */
struct node {
    long value, same;
};

static void free_node(void *raw) {
    struct node *node = raw;
    node->value = -1;
    free(node);
}

static int count_call(void *raw) {
    struct side *here = raw;
    CHECK_PTR_EQ(PyInterpreterState_Get(), here->interp);
    atomic_fetch_add(&here->called, 1);
    return 0;
}

static void body_of_started(void *raw) {
    struct side *here = raw;
    CHECK_PTR_EQ(PyInterpreterState_Get(), here->interp);
    atomic_fetch_add(&here->done, 1);
}

/* A section protects plain memory in every mode: with a GIL, it and not the
 * section; so no poll may come in between. */
static void add_in_section(struct side *here) {
    PyCriticalSection cs;
    PyCriticalSection_BeginMutex(&cs, &here->mutex);
    here->plain++;
    PyCriticalSection_End(&cs);
}

static void replace_node(struct side *here, long value) {
    struct node *fresh = malloc(sizeof *fresh);
    CHECK_NOT_NULL(fresh);
    *fresh = (struct node){value, value};
    struct node *old = atomic_exchange(&here->head, fresh);
    if (old)
        CHECK_INT_EQ(PyTState_QSBR_FreeLater(old, free_node), 0);
}

static void read_node(struct side *here) {
    struct node *node = atomic_load(&here->head);
    if (node)
        CHECK_INT_EQ(node->value, node->same);
}

enum { ROUNDS = 120 };

static void work(void *raw) {
    struct side *here = raw;
    for (int i = 0; i < ROUNDS; i++) {
        PyThreadState *state = enter(here->interp);
        CHECK_PTR_EQ(PyInterpreterState_Get(), here->interp);
        for (int j = 0; j < 20; j++)
            add_in_section(here);
        poll_once();
        read_node(here);
        PyTState_QSBR_QuiescentState();
        replace_node(here, i);
        PyTState_QSBR_Process();
        CHECK_INT_EQ(_PyEval_AddPendingCall(here->interp, count_call, here, 0),
                     0);
        poll_once();
        PyEval_SaveThread();
        PyEval_RestoreThread(state);
        if (i % 16 == 0) { /* a pause protects as well */
            _PyEval_StopTheWorld(here->interp);
            here->plain++;
            _PyEval_StartTheWorld(here->interp);
        }
        if (i % 16 == 8)
            join_and_drop(start_in(here->interp, body_of_started, here, 0));
        leave();

        PyThreadStateToken *token = PyThreadState_EnsureFromView(here->view);
        CHECK_NOT_NULL(token);
        CHECK_PTR_EQ(PyInterpreterState_Get(), here->interp);
        PyThreadState_Release(token);
    }
}

static void check_work(struct side *here, int threads) {
    PyEval_RestoreThread(here->first);
    while (atomic_load(&here->called) < (long)threads * ROUNDS)
        CHECK_INT_EQ(_Py_HandlePending(here->first), 0);
    CHECK_INT_EQ(here->plain, (long)threads * (ROUNDS * 20 + 8));
    CHECK_INT_EQ(here->called, (long)threads * ROUNDS);
    CHECK_INT_EQ(here->done, (long)threads * 7);
    CHECK_UINT_EQ(n_states(here->interp), 1);
    replace_node(here, 0);
    free(atomic_exchange(&here->head, NULL));
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Process(), 0);
    PyEval_SaveThread();
}

TEST("the same work is right in each mode, all at once", .limit_s = 120) {
    begin_all();
    run_everywhere(work, 3);
    for (int i = 0; i < MODES; i++) {
        NOTE("%s", mode_name[i]);
        check_work(&side[i], 3);
    }
    finish_all();
}

/* ---- One thread in all modes
 * ---------------------------------------------------- */

static void swap_around(void *unused) {
    (void)unused;
    PyThreadState *mine[MODES];
    for (int i = 0; i < MODES; i++)
        mine[i] = PyThreadState_New(side[i].interp);
    PyEval_RestoreThread(mine[0]);
    for (int i = 1; i < 600; i++) {
        PyThreadState *before = mine[(i - 1) % MODES], *now = mine[i % MODES];
        CHECK_PTR_EQ(PyThreadState_Swap(now), before);
        CHECK_PTR_EQ(PyInterpreterState_Get(), side[i % MODES].interp);
        CHECK_INT_EQ(now->holds_gil, i % MODES != NONE);
        CHECK_INT_EQ(before->holds_gil, 0);
        add_in_section(&side[i % MODES]);
        poll_once();
    }
    PyEval_SaveThread();
    for (int i = 0; i < MODES; i++) {
        PyEval_RestoreThread(mine[i]);
        leave();
    }
}

TEST("threads go from mode to mode", .limit_s = 60) {
    struct peers peers = PEERS_INIT;
    begin_all();
    peers_add(&peers, 4, swap_around, NULL);
    peers_start(&peers);
    peers_join(&peers, 4 * LIMIT_MS);
    for (int i = 0; i < MODES; i++)
        CHECK_INT_EQ(side[i].plain, i == 0 ? 4 * 199 : 4 * 200);
    finish_all();
}

/* ---- Pauses, fork and the end over all modes
 * ------------------------------------- */

static atomic_int over;

static void run_on(void *raw) {
    struct side *here = raw;
    PyThreadState *state = enter(here->interp);
    while (!atomic_load(&over)) {
        atomic_fetch_add(&here->done, 1);
        if (atomic_load(&here->done) % 64 == 0) {
            PyEval_SaveThread();
            PyEval_RestoreThread(state);
        }
        poll_once();
    }
    leave();
}

static long sum_done(void) {
    long sum = 0;
    for (int i = 0; i < MODES; i++)
        sum += atomic_load(&side[i].done);
    return sum;
}

static void start_runners(struct peers *peers) {
    for (int i = 0; i < MODES; i++)
        peers_add(peers, 2, run_on, &side[i]);
    peers_start(peers);
    for (int i = 0; i < MODES; i++)
        WAIT_UNTIL(atomic_load(&side[i].done) > 0, LIMIT_MS);
}

TEST("a pause of all stops every mode") {
    struct peers peers = PEERS_INIT;
    begin_all();
    start_runners(&peers);
    for (int i = 0; i < 30; i++) {
        _PyEval_StopTheWorldAll(NULL);
        long before = sum_done();
        test_nap();
        CHECK_INT_EQ(sum_done(), before);
        _PyEval_StartTheWorldAll(NULL);
    }
    for (int i = 0; i < MODES; i++) {
        long before = atomic_load(&side[i].done);
        WAIT_UNTIL(atomic_load(&side[i].done) > before, LIMIT_MS);
    }
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    finish_all();
}

TEST("a process with all modes forks; the main interpreter survives alone") {
    struct peers peers = PEERS_INIT;
    begin_all();
    start_runners(&peers);
    PyEval_RestoreThread(main_state);
    for (int i = 0; i < 5; i++) {
        PyOS_BeforeFork();
        pid_t child = fork();
        if (child == 0) {
            PyOS_AfterFork_Child();
            CHECK_UINT_EQ(n_states(NULL), 1);
            PyThreadState *sub = new_interp(PyTState_INTERP_NO_GIL);
            Py_EndInterpreter(sub);
            PyEval_RestoreThread(main_state);
            test_child_done(Py_FinalizeEx());
        }
        PyOS_AfterFork_Parent();
        CHECK_INT_GT(child, 0);
        PyEval_SaveThread();
        CHECK_CHILD_EXIT(child, 0);
        PyEval_RestoreThread(main_state);
    }
    PyEval_SaveThread();
    atomic_store(&over, 1);
    peers_join(&peers, LIMIT_MS);
    finish_all();
}

static void stay(void *raw) {
    struct side *here = raw;
    atomic_fetch_add(&here->done, 1);
    PyThreadState *state = PyThreadState_Get();
    for (;;) {
        poll_once();
        PyEval_SaveThread();
        sched_yield();
        PyEval_RestoreThread(state);
    }
}

TEST("finalization ends all modes and the daemons in them") {
    PyThreadHandle *handle[MODES];
    begin_all();
    for (int i = 0; i < MODES; i++) {
        PyEval_RestoreThread(side[i].first);
        handle[i] =
            start_in(side[i].interp, stay, &side[i], PyThreadHandle_DAEMON);
        PyEval_SaveThread();
        WAIT_UNTIL(atomic_load(&side[i].done) > 0, LIMIT_MS);
    }
    CHECK_INT_EQ(PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT), 0);
    PyEval_RestoreThread(main_state);
    finish();
    for (int i = 0; i < MODES; i++)
        join_and_drop(handle[i]);
    for (int i = 0; i < MODES; i++)
        PyInterpreterView_Close(side[i].view);
    begin();
    finish();
}

/* ---- The main interpreter's mode
 * --------------------------------------------------- */

TEST("the environment makes the main interpreter GIL-free") {
    CHECK_INT_EQ(setenv("PYTHON_GIL", "0", 1), 0);
    PyThreadState *mine = begin();
    CHECK_INT_EQ(mine->holds_gil, 0);
    side[0].interp = mine->interp;
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 2, meet_attached, &side[0]);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    /* What shares its GIL shares none. */
    PyThreadState *sub = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(sub->holds_gil, 0);
    Py_EndInterpreter(sub);
    sub = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(sub->holds_gil, 1);
    Py_EndInterpreter(sub);
    PyEval_RestoreThread(mine);
    finish();
}
