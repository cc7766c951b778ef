/* Attaching and detaching, and who gets the GIL (S-AT, S-GIL). */
#include <Python.h>

#include <errno.h>

#include "common.h"

/* ---- Save and restore, acquire and release (S-AT-01, S-AT-02) ----------- */

TEST("saving returns the attached state and leaves nothing attached") {
    PyThreadState *first = begin();
    CHECK_PTR_EQ(PyEval_SaveThread(), first);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("releasing a thread detaches it and acquiring attaches it") {
    PyThreadState *first = begin();
    PyEval_ReleaseThread(first);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_AcquireThread(first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("the two ways to detach and the two ways to attach can be mixed") {
    PyThreadState *first = begin();
    PyEval_ReleaseThread(first);
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyEval_SaveThread(), first);
    PyEval_AcquireThread(first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("a thread can be attached with any of its states in turn") {
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    for (int i = 0; i < 10; i++) {
        CHECK_PTR_EQ(PyEval_SaveThread(), first);
        PyEval_AcquireThread(second);
        CHECK_PTR_EQ(PyThreadState_Get(), second);
        PyEval_ReleaseThread(second);
        PyEval_RestoreThread(first);
    }
    drop_state(second);
    finish();
}

TEST("detaching and attaching keeps the nesting counter") {
    PyThreadState *first = begin();
    PyGILState_STATE token = PyGILState_Ensure();
    PyEval_SaveThread();
    CHECK_INT_EQ(first->gilstate_counter, 2);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(first->gilstate_counter, 2);
    PyGILState_Release(token);
    finish();
}

/* ---- The macros (S-AT-05) ----------------------------------------------- */

TEST("between the ALLOW_THREADS macros nothing is attached") {
    PyThreadState *first = begin();
    Py_BEGIN_ALLOW_THREADS
    CHECK_NULL(PyThreadState_GetUnchecked());
    Py_END_ALLOW_THREADS
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("BLOCK and UNBLOCK attach for a moment inside the block") {
    PyThreadState *first = begin();
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < 3; i++) {
        Py_BLOCK_THREADS
        CHECK_PTR_EQ(PyThreadState_Get(), first);
        Py_UNBLOCK_THREADS
        CHECK_NULL(PyThreadState_GetUnchecked());
    }
    Py_END_ALLOW_THREADS
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

static int leave_while_blocked(PyThreadState *first) {
    Py_BEGIN_ALLOW_THREADS
    Py_BLOCK_THREADS
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    return 7;
    Py_END_ALLOW_THREADS
}

TEST("a function may return between BLOCK and UNBLOCK, attached") {
    PyThreadState *first = begin();
    CHECK_INT_EQ(leave_while_blocked(first), 7);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

static void allow_threads(PyThreadState *first) {
    Py_BEGIN_ALLOW_THREADS
    CHECK_NULL(PyThreadState_GetUnchecked());
    Py_END_ALLOW_THREADS
    CHECK_PTR_EQ(PyThreadState_Get(), first);
}

TEST("while blocked a function with a block of its own may be called") {
    PyThreadState *first = begin();
    Py_BEGIN_ALLOW_THREADS
    Py_BLOCK_THREADS
    allow_threads(first);
    Py_UNBLOCK_THREADS
    CHECK_NULL(PyThreadState_GetUnchecked());
    Py_END_ALLOW_THREADS
    finish();
}

/* ---- errno (S-AT-03, S-GIL-09) ------------------------------------------ */

TEST("attaching keeps errno when the GIL is free") {
    PyThreadState *first = begin();
    PyEval_SaveThread();
    errno = ENOTTY;
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(errno, ENOTTY);
    PyEval_ReleaseThread(first);
    errno = EXDEV;
    PyEval_AcquireThread(first);
    CHECK_INT_EQ(errno, EXDEV);
    PyEval_SaveThread();
    errno = EDOM;
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(errno, EDOM);
    PyGILState_Release(token);
    PyEval_RestoreThread(first);
    finish();
}

struct waiter {
    PyInterpreterState *interp;
    atomic_long native_id;
    atomic_int attached;
};

static void attach_with_errno(void *arg) {
    struct waiter *me = arg;
    PyThreadState *state = PyThreadState_New(me->interp);
    atomic_store(&me->native_id, test_native_id());
    errno = ERANGE;
    PyEval_RestoreThread(state);
    CHECK_INT_EQ(errno, ERANGE);
    atomic_store(&me->attached, 1);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

/* The GIL's holder stays attached until the waiter has slept: it waits for
 * more than one switch interval. */
TEST("attaching keeps errno when it has to wait for the GIL") {
    needs_a_gil();
    PyThreadState *first = begin();
    struct waiter waiter = {.interp = PyInterpreterState_Get()};
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, attach_with_errno, &waiter);
    peers_start(&peers);
    for (int i = 0; i < 5; i++)
        wait_until_asleep(&waiter.native_id);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 0);
    PyEval_SaveThread();
    peers_join(&peers, 5000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 1);
    finish();
}

/* ---- One at a time (S-TS-08, S-TS-10, S-GIL-01) ------------------------- */

TEST("a thread cannot attach while another one is attached") {
    needs_a_gil();
    PyThreadState *first = begin();
    struct waiter waiter = {.interp = PyInterpreterState_Get()};
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, attach_with_errno, &waiter);
    peers_start(&peers);
    wait_until_asleep(&waiter.native_id);
    /* It is made, and linked, but not in. */
    CHECK_INT_EQ(count_states(waiter.interp), 2);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 0);
    PyEval_SaveThread();
    WAIT_UNTIL(atomic_load(&waiter.attached) == 1, 5000);
    peers_join(&peers, 5000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(count_states(waiter.interp), 1);
    finish();
}

struct shared {
    PyInterpreterState *interp;
    int inside, visits;
    int rounds;
};

static void visit(void *arg) {
    struct shared *shared = arg;
    PyThreadState *state = PyThreadState_New(shared->interp);
    PyEval_AcquireThread(state);
    for (int i = 0; i < shared->rounds; i++) {
        CHECK_INT_EQ(shared->inside, 0);
        shared->inside = 1;
        shared->visits++;
        sched_yield();
        shared->inside = 0;
        Py_BEGIN_ALLOW_THREADS
        sched_yield();
        Py_END_ALLOW_THREADS
    }
    PyThreadState_Clear(state);
    PyEval_ReleaseThread(state);
    PyThreadState_Delete(state);
}

TEST("of many threads one at a time is attached") {
    needs_a_gil();
    PyThreadState *first = begin();
    struct shared shared = {.interp = PyInterpreterState_Get(), .rounds = 200};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 6, visit, &shared);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(shared.visits, 6 * 200);
    CHECK_INT_EQ(count_states(shared.interp), 1);
    finish();
}

static void block_in_and_out(void *arg) {
    struct shared *shared = arg;
    PyGILState_STATE token = PyGILState_Ensure();
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < shared->rounds; i++) {
        Py_BLOCK_THREADS
        CHECK_INT_EQ(shared->inside, 0);
        shared->inside = 1;
        shared->visits++;
        shared->inside = 0;
        Py_UNBLOCK_THREADS
    }
    Py_END_ALLOW_THREADS
    PyGILState_Release(token);
}

TEST("between BLOCK and UNBLOCK a thread is alone") {
    needs_a_gil();
    PyThreadState *first = begin();
    struct shared shared = {.interp = PyInterpreterState_Get(), .rounds = 500};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 4, block_in_and_out, &shared);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(shared.visits, 4 * 500);
    finish();
}

/* ---- Taking turns (S-GIL-03, S-GIL-05, S-GIL-07) ------------------------ */

struct turns {
    PyInterpreterState *interp;
    atomic_int stop;
    atomic_int taken;
    int wanted;
};

/* Holds the GIL all the time but for the moment between save and restore. No
 * public call of CPython drops the GIL on request in a thread that runs no
 * bytecode, so this is how a C thread is asked. */
static void hog(void *arg) {
    struct turns *turns = arg;
    PyThreadState *state = PyThreadState_New(turns->interp);
    PyEval_RestoreThread(state);
    while (!atomic_load(&turns->stop)) {
        PyEval_SaveThread();
        PyEval_RestoreThread(state);
    }
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

static void take_turns(void *arg) {
    struct turns *turns = arg;
    PyThreadState *state = PyThreadState_New(turns->interp);
    for (int i = 0; i < turns->wanted; i++) {
        PyEval_RestoreThread(state);
        atomic_fetch_add(&turns->taken, 1);
        PyEval_SaveThread();
    }
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    atomic_store(&turns->stop, 1);
}

TEST("a thread that lets go for a moment only is made to give way") {
    PyThreadState *first = begin();
    struct turns turns = {.interp = PyInterpreterState_Get(), .wanted = 50};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 1, hog, &turns);
    peers_add(&peers, 1, take_turns, &turns);
    peers_start(&peers);
    peers_join(&peers, 10000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(atomic_load(&turns.taken), 50);
    finish();
}

TEST("two threads that hold on give way to a third one") {
    PyThreadState *first = begin();
    struct turns turns = {.interp = PyInterpreterState_Get(), .wanted = 20};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 2, hog, &turns);
    peers_add(&peers, 1, take_turns, &turns);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(atomic_load(&turns.taken), 20);
    finish();
}

struct pingpong {
    atomic_int turn;
    int rounds;
};

/* Waits attached for its turn, letting go once per look: the other thread
 * must get the GIL each time. */
static void play(void *arg) {
    struct pingpong *game = arg;
    int me = peer_index();
    PyGILState_STATE token = PyGILState_Ensure();
    for (int i = 0; i < game->rounds; i++) {
        while (atomic_load(&game->turn) != me) {
            Py_BEGIN_ALLOW_THREADS
            sched_yield();
            Py_END_ALLOW_THREADS
        }
        atomic_store(&game->turn, 1 - me);
    }
    PyGILState_Release(token);
}

TEST("two threads that wait for each other attached take turns") {
    PyThreadState *first = begin();
    struct pingpong game = {.rounds = 100};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 2, play, &game);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    finish();
}

/* ---- The gilstate slot (S-BD-06, S-BD-07) ------------------------------- */

TEST("every way of attaching makes the state the gilstate") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the first state of a thread stays its gilstate");
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    PyEval_SaveThread();
    PyEval_AcquireThread(second);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), second);
    PyEval_ReleaseThread(second);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), second);
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    PyEval_SaveThread();
    PyEval_RestoreThread(second);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), second);
    PyThreadState_Swap(first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    drop_state(second);
    finish();
}

/* ---- On another OS thread ---------------------------------------------- */

static void attach_here(void *state) {
    PyEval_RestoreThread(state);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    CHECK_PTR_EQ(PyEval_SaveThread(), state);
}

static PyThreadState *left;

static void make_and_leave(void *interp) {
    left = PyThreadState_New(interp);
    PyEval_RestoreThread(left);
    PyEval_SaveThread();
}

TEST("a state may be attached on another OS thread than the one it is of") {
    PyThreadState *mine = begin();
    on_new_thread(attach_here, mine);
    on_new_thread(make_and_leave, PyThreadState_GetInterpreter(mine));
    on_new_thread(attach_here, left);
    CHECK_PTR_EQ(PyThreadState_Swap(left), mine);
    CHECK_PTR_EQ(PyThreadState_Swap(mine), left);
    drop_state(left);
    finish();
}
