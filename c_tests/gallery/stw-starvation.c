/* stw-starvation: pauses keep a thread from attaching, one after the other.
 *
 *  1. A stops the world: B, detached, is suspended.
 *  2. B wants to attach, and sleeps until the pause is over.
 *  3. A ends the pause: B's state is detached again, and B is woken.
 *  4. Before B has come to attach, A stops the world again: B's state is
 *     suspended, B tries, and sleeps. And so on, from 3.
 *
 * CPython issue 151518, of free-threaded builds; pull request 152826 lets a
 * thread attach that was passed over, as ours does. */
#include "gallery.h"

#include <pthread.h>
#include <stdatomic.h>

/* So many pauses in a row starve a thread. */
#define PAUSES 10

/* The number of the pause that B attached in or after; 0: it has not. */
static atomic_int pauses, attached_at;
static atomic_long b_task;

/* ---- Old --------------------------------------------------------------- */

/* The state word of B as in pystate.c of 3.13 and 3.14, and what is done to
 * it there: tstate_try_attach() and tstate_wait_attach(),
 * park_detached_threads(), start_the_world(). */
enum { DETACHED, ATTACHED, SUSPENDED };
static atomic_int state;

static int move(int from, int to) {
    return atomic_compare_exchange_strong(&state, &from, to);
}

static void attach(void) {
    const int suspended = SUSPENDED;
    while (!move(DETACHED, ATTACHED)) {
        PyTState_Sync_Point("old_attach.refused");
        _PyParkingLot_Park(&state, &suspended, sizeof state, -1, NULL, 0);
        PyTState_Sync_Point("old_attach.woken");
    }
}

static void stop_the_world(void) {
    need(move(DETACHED, SUSPENDED));
    atomic_fetch_add(&pauses, 1);
}

static void start_the_world(void) {
    need(move(SUSPENDED, DETACHED));
    _PyParkingLot_UnparkAll(&state);
}

static void *b_old(void *arg) {
    atomic_store(&b_task, own_task());
    PyTState_Sync_Point("b.away");
    attach();
    atomic_store(&attached_at, atomic_load(&pauses));
    return arg;
}

static void reset(void) {
    atomic_store(&pauses, 0);
    atomic_store(&attached_at, 0);
    atomic_store(&state, DETACHED);
    hold("b.away");
}

static enum outcome old_round(void) {
    pthread_t b;
    reset();
    need(pthread_create(&b, NULL, b_old, NULL) == 0);
    await_held("b.away");
    stop_the_world(); /* 1 */
    count("old_attach.refused");
    let_go("b.away"); /* 2 */
    while (atomic_load(&pauses) < PAUSES) {
        await_count("old_attach.refused", atomic_load(&pauses));
        hold("old_attach.woken");
        start_the_world(); /* 3 */
        await_held("old_attach.woken");
        stop_the_world(); /* 4 */
        let_go("old_attach.woken");
    }
    await_count("old_attach.refused", PAUSES);
    int starved = atomic_load(&attached_at) == 0;
    start_the_world();
    need(pthread_join(b, NULL) == 0);
    need(atomic_load(&attached_at) == PAUSES);
    return starved ? MISBEHAVED : BEHAVED;
}

/* ---- Ours -------------------------------------------------------------- */

static int most;

static void b_ours(void *arg) {
    (void)arg;
    atomic_store(&b_task, own_task());
    swapped_out("b.away"); /* and attaches */
    atomic_store(&attached_at, atomic_load(&pauses));
}

static void stop_all(void) {
    atomic_fetch_add(&pauses, 1);
    _PyEval_StopTheWorldAll(NULL);
}

/* 3 and 4, until B has attached; the world goes on afterwards. */
static void pause_again_and_again(void) {
    while (atomic_load(&pauses) < PAUSES) {
        /* Woken, and about to attach, when the next pause is asked for. */
        order("stw.request", "attach.gil_taken");
        _PyEval_StartTheWorldAll(NULL); /* 3 */
        while (PyTState_Sync_WaitParked("attach.gil_taken", 1000000) != 0)
            if (atomic_load(&attached_at) != 0) {
                /* It was slow to see that the pause before was over. */
                PyTState_Sync_Clear();
                return;
            }
        stop_all(); /* 4 */
        if (atomic_load(&attached_at) != 0)
            break;
    }
    _PyEval_StartTheWorldAll(NULL);
}

static enum outcome ours_round(void) {
    PyThreadHandle *b = PyThreadHandle_New();
    reset();
    need(PyThreadHandle_Start(b, PyInterpreterState_Get(), b_ours, NULL, 0) ==
         0);
    await_held("b.away");
    Py_BEGIN_ALLOW_THREADS;
    count("attach.gil_taken");
    stop_all();       /* 1 */
    let_go("b.away"); /* 2 */
    await_count("attach.gil_taken", 1);
    await_task_asleep(atomic_load(&b_task));
    pause_again_and_again();
    Py_END_ALLOW_THREADS;
    need(PyThreadHandle_Join(b, -1) == 0);
    PyThreadHandle_Decref(b);
    int passed_over = atomic_load(&attached_at) - 1;
    most = passed_over > most ? passed_over : most;
    return passed_over >= PAUSES - 1 ? MISBEHAVED : BEHAVED;
}

static void end(void) {
    say("10 pauses in a row passed over a thread that attaches, %d was the "
        "most",
        most);
    end_runtime();
}

const struct scenario stw_starvation = {
    .name = "stw-starvation",
    .story = "pauses of the world, one after the other, pass a thread over",
    .old = {.what = "10 pauses in a row passed over a thread that attaches",
            .every = 1,
            .begin = begin_old,
            .round = old_round,
            .end = end_runtime},
    .ours = {.what = "10 pauses in a row passed over a thread that attaches",
             .begin = begin_ours,
             .round = ours_round,
             .end = end},
};
