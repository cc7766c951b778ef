/* Attaching and detaching, and the GIL that goes with them. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>

/* ---- Save, Restore, Acquire, Release ---------------------------------- */

TEST("SaveThread gives what RestoreThread takes (S-AT-01)") {
    PyThreadState *main_state = begin();
    for (int i = 0; i < 1000; i++) {
        CHECK_PTR_EQ(PyEval_SaveThread(), main_state);
        CHECK_NULL(PyThreadState_GetUnchecked());
        CHECK_INT_EQ(main_state->state, PyTState_DETACHED);
        PyEval_RestoreThread(main_state);
        CHECK_PTR_EQ(PyThreadState_Get(), main_state);
        CHECK_INT_EQ(main_state->state, PyTState_ATTACHED);
    }
    finish();
}

TEST("AcquireThread and ReleaseThread do the same with a named state") {
    PyThreadState *main_state = begin();
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyEval_ReleaseThread(main_state);
    PyEval_AcquireThread(other);
    CHECK_PTR_EQ(PyThreadState_Get(), other);
    PyEval_ReleaseThread(other);
    PyEval_AcquireThread(main_state);
    _PyThreadState_Detach(main_state);
    _PyThreadState_Attach(other);
    CHECK_PTR_EQ(PyThreadState_Get(), other);
    _PyThreadState_Detach(other);
    _PyThreadState_Attach(main_state);
    finish();
}

TEST("the ALLOW_THREADS macros open and close a block (S-AT-05)") {
    PyThreadState *main_state = begin();
    int detached = 0, blocked = 0;
    Py_BEGIN_ALLOW_THREADS
    detached += PyThreadState_GetUnchecked() == NULL;
    Py_BLOCK_THREADS
    blocked += PyThreadState_Get() == main_state;
    Py_UNBLOCK_THREADS
    detached += PyThreadState_GetUnchecked() == NULL;
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(detached, 2);
    CHECK_INT_EQ(blocked, 1);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    finish();
}

TEST("the leftovers of the old API are there (S-AT-07)") {
    CHECK_INT_EQ(PyEval_ThreadsInitialized(), 0);
    PyEval_InitThreads();
    begin();
    PyEval_InitThreads();
    CHECK_INT_EQ(PyEval_ThreadsInitialized(), 1);
    finish();
    CHECK_INT_EQ(PyEval_ThreadsInitialized(), 0);
}

/* ---- errno ------------------------------------------------------------ */

static void keep_errno(void *interp) {
    PyThreadState *mine = enter(interp);
    for (int i = 0; i < 200; i++) {
        PyEval_SaveThread();
        errno = ERANGE;
        PyEval_RestoreThread(mine);
        CHECK_INT_EQ(errno, ERANGE);
        PyEval_ReleaseThread(mine);
        errno = EDOM;
        PyEval_AcquireThread(mine);
        CHECK_INT_EQ(errno, EDOM);
    }
    leave();
}

TEST("attaching keeps errno, also when it has to wait (S-AT-03, S-GIL-09)") {
    struct peers peers = PEERS_INIT;
    begin();
    _PyEval_SetSwitchInterval(1);
    peers_add(&peers, 4, keep_errno, PyInterpreterState_Get());
    peers_start(&peers);
    join_peers(&peers);
    finish();
}

/* ---- Exclusion -------------------------------------------------------- */

static atomic_int inside;
static long counter; /* plain: the GIL protects it */

static void count_up(void *interp) {
    PyThreadState *mine = enter(interp);
    for (int i = 0; i < 500; i++) {
        CHECK_INT_EQ(atomic_fetch_add(&inside, 1), 0);
        counter++;
        CHECK_INT_EQ(atomic_fetch_sub(&inside, 1), 1);
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
    }
    leave();
}

TEST("one thread at a time is attached; what it writes the next one sees") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    peers_add(&peers, 8, count_up, main_state->interp);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(counter, 8 * 500);
    finish();
}

TEST("interpreters that share the GIL exclude each other (S-GIL-01)") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyThreadState_Swap(main_state);
    peers_add(&peers, 4, count_up, main_state->interp);
    peers_add(&peers, 4, count_up, first->interp);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(counter, 8 * 500);
    finish();
}

/* ---- Switching -------------------------------------------------------- */

static atomic_int n_attached;

static void attach_once(void *interp) {
    enter(interp);
    atomic_fetch_add(&n_attached, 1);
    leave();
}

enum { DROP_REQUEST = 1 };

static int is_asked(PyThreadState *state) {
    return (__atomic_load_n(&state->eval_breaker, __ATOMIC_RELAXED) &
            DROP_REQUEST) != 0;
}

TEST("a waiter asks after the switch interval, and goes first (S-GIL-03, 05)") {
    NEEDS_GIL();
    begin();
    PyThreadState *main_state = PyThreadState_Get();
    for (int round = 1; round <= 20; round++) {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, attach_once, main_state->interp);
        peers_start(&peers);
        WAIT_UNTIL(is_asked(main_state), LIMIT_MS); /* attached all the time */
        CHECK_INT_EQ(atomic_load(&n_attached), round - 1);
        PyEval_SaveThread();
        PyEval_RestoreThread(main_state);
        CHECK_INT_EQ(atomic_load(&n_attached), round);
        CHECK_INT_EQ(is_asked(main_state), 0);
        join_peers(&peers);
    }
    finish();
}

TEST("whoever asked gets the GIL, even if it is slow to go back to sleep") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    hold("gil.asked");
    peers_add(&peers, 1, attach_once, main_state->interp);
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("gil.asked", LIMIT), 0);
    CHECK_INT_EQ(is_asked(main_state), 1);
    PyEval_SaveThread();
    let_go("gil.asked");
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(atomic_load(&n_attached), 1);
    join_peers(&peers);
    finish();
}

TEST("nobody is asked before the interval has passed") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    _PyEval_SetSwitchInterval(1000000000); /* not in this test's time */
    hold("gil.wait");
    peers_add(&peers, 1, attach_once, main_state->interp);
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("gil.wait", LIMIT), 0);
    let_go("gil.wait");
    /* A while in which the default interval would have passed six times. */
    for (int64_t end = test_now_ms() + 30; test_now_ms() < end;)
        CHECK_INT_EQ(is_asked(main_state), 0);
    join_peers(&peers);
    CHECK_INT_EQ(atomic_load(&n_attached), 1);
    finish();
}

TEST("the switch interval belongs to the GIL (S-GIL-02)") {
    NEEDS_GIL();
    PyThreadState *main_state = begin();
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 5000);
    _PyEval_SetSwitchInterval(0);
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 1);
    _PyEval_SetSwitchInterval(700);
    new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 700);
    _PyEval_SetSwitchInterval(800);
    PyThreadState_Swap(main_state);
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 800);
    new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 5000);
    _PyEval_SetSwitchInterval(900);
    new_interp(PyTState_INTERP_NO_GIL);
    _PyEval_SetSwitchInterval(1);
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 5000);
    PyThreadState_Swap(main_state);
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 800);
    finish();
    begin(); /* the next life begins with the default */
    CHECK_UINT_EQ(_PyEval_GetSwitchInterval(), 5000);
    finish();
}

TEST("letting go of the GIL alone lets others run (S-AT-07)") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    peers_add(&peers, 3, attach_once, main_state->interp);
    PyEval_ReleaseLock();
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    CHECK_INT_EQ(main_state->holds_gil, 0);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    errno = ERANGE;
    PyEval_AcquireLock();
    CHECK_INT_EQ(errno, ERANGE);
    CHECK_INT_EQ(main_state->holds_gil, 1);
    CHECK_INT_EQ(atomic_load(&n_attached), 3);
    finish();
}

/* ---- Who waits, who is held ------------------------------------------- */

static void wait_for_gil(void *where) {
    PyThreadState *mine = PyThreadState_New(PyInterpreterState_Main());
    atomic_store((PyThreadState * _Atomic *)where, mine);
    PyEval_RestoreThread(mine);
    CHECK_INT_EQ(mine->gil_requested, 0);
    leave();
}

TEST("a state that waits for the GIL says so (S-GIL-16)") {
    NEEDS_GIL();
    PyThreadState *_Atomic theirs = NULL;
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 1, wait_for_gil, &theirs);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&theirs) != NULL, LIMIT_MS);
    WAIT_UNTIL(__atomic_load_n(&theirs->gil_requested, __ATOMIC_RELAXED) == 1,
               LIMIT_MS);
    CHECK_INT_EQ(theirs->state, PyTState_DETACHED);
    join_peers(&peers);
    finish();
}

static void write_after_detach(void *cell) {
    PyThreadState *mine = enter(PyInterpreterState_Main());
    PyEval_SaveThread();
    /* Detached from before to after: held here, it holds nothing. */
    PyTState_Sync_Point("test.detached");
    PyEval_RestoreThread(mine);
    ++*(int *)cell;
    leave();
}

TEST("a thread that is held detached keeps nobody from attaching") {
    int cell = 0;
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    hold("test.detached");
    peers_add(&peers, 1, write_after_detach, &cell);
    peers_start(&peers);
    wait_held("test.detached");
    for (int i = 0; i < 100; i++) {
        PyEval_SaveThread();
        PyEval_RestoreThread(main_state);
    }
    CHECK_INT_EQ(cell, 0);
    let_go("test.detached");
    join_peers(&peers);
    CHECK_INT_EQ(cell, 1);
    finish();
}

static void wait_inside(void *arg) {
    enter(PyInterpreterState_Main());
    PyMutex *mutex = arg;
    PyMutex_Lock(mutex); /* waits, detached: S-AT-09 */
    CHECK_NOT_NULL(PyThreadState_GetUnchecked());
    counter++;
    PyMutex_Unlock(mutex);
    leave();
}

TEST("who waits for a mutex has let go of the GIL (S-AT-09, S-PL-07)") {
    PyMutex mutex = {0};
    struct peers peers = PEERS_INIT;
    begin();
    PyMutex_Lock(&mutex);
    hold("mutex.wait");
    peers_add(&peers, 4, wait_inside, &mutex);
    PyThreadState *mine = PyEval_SaveThread();
    peers_start(&peers);
    wait_held("mutex.wait"); /* the point stands before it lets go */
    let_go("mutex.wait");
    PyEval_RestoreThread(mine); /* would wait for ever */
    CHECK_INT_EQ(counter, 0);
    PyMutex_Unlock(&mutex);
    join_peers(&peers);
    CHECK_INT_EQ(counter, 4);
    finish();
}
