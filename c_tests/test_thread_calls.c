/* PyTState_RunOnThread(): a function on the thread of one state. */
#include "host.h"

enum { WAIT = PyTState_RUN_WAIT, TOO = PyTState_RUN_DETACHED_TOO, MOST = 300 };

/* A case that runs with a GIL and without one. */
#define TEST_MODES(name, body)                               \
    TEST(name ", with a GIL") { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL", .limit_s = 60) { body(PyTState_GIL_NONE); }

static int order[MOST], n_run;
static PyThreadState *ran_with;

static int note(void *number) {
    ran_with = PyThreadState_GetUnchecked();
    order[n_run++] = (int)(intptr_t)number;
    return 0;
}

static void *number(int i) { return (void *)(intptr_t)i; }

static int fail(void *unused) {
    (void)unused;
    PyErr_SetString(PyExc_ValueError, "from the call");
    return -1;
}

/* ---- At a poll ---------------------------------------------------------- */

TEST("what is queued runs at the next poll of its thread, in order") {
    PyThreadState *mine = begin();
    for (int i = 0; i < 250; i++)
        CHECK_INT_EQ(PyTState_RunOnThread(mine, note, number(i), 0), 0);
    CHECK_INT_EQ(n_run, 0);
    CHECK_INT_EQ(PyTState_HasPending(mine), 1);
    while (PyTState_HasPending(mine))
        CHECK_INT_EQ(PyTState_Poll(mine), 0);
    CHECK_INT_EQ(n_run, 250);
    for (int i = 0; i < 250; i++)
        CHECK_INT_EQ(order[i], i);
    CHECK_PTR_EQ(ran_with, mine);
    finish();
}

TEST(
    "a function that fails ends the poll with its error, the rest runs later") {
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyTState_RunOnThread(mine, fail, NULL, 0), 0);
    CHECK_INT_EQ(PyTState_RunOnThread(mine, note, number(7), 0), 0);
    CHECK_INT_EQ(PyTState_Poll(mine), -1);
    check_raised(PyExc_ValueError, "from the call");
    CHECK_INT_EQ(n_run, 0);
    CHECK_INT_EQ(PyTState_Poll(mine), 0);
    CHECK_INT_EQ(n_run, 1);
    CHECK_INT_EQ(PyTState_HasPending(mine), 0);
    finish();
}

TEST("a caller's own state runs it at once when it waits") {
    PyThreadState *mine = begin();
    CHECK_INT_EQ(PyTState_RunOnThread(mine, note, number(1), WAIT), 0);
    CHECK_INT_EQ(PyTState_RunOnThread(mine, note, number(2), TOO), 0);
    CHECK_INT_EQ(n_run, 2);
    CHECK_INT_EQ(PyTState_RunOnThread(mine, fail, NULL, WAIT | TOO), -1);
    check_raised(PyExc_ValueError, "from the call");
    finish();
}

static PyEvent up, go, down;
static PyThreadState *theirs;
static atomic_int over, calls;

static int count(void *unused) {
    (void)unused;
    atomic_fetch_add(&calls, 1);
    return 0;
}

static void poll_until_over(void *unused) {
    (void)unused;
    theirs = PyThreadState_Get();
    PyTState_EventSet(&up);
    while (!atomic_load(&over))
        CHECK_INT_EQ(PyTState_Poll(theirs), 0);
}

static PyThreadHandle *launch(PyInterpreterState *interp,
                              void (*body)(void *)) {
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, body, NULL, 0), 0);
    return handle;
}

static void end(PyThreadHandle *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyThreadHandle_Decref(handle);
}

static void wait_for_poll(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    PyThreadHandle *handle = launch(mine->interp, poll_until_over);
    PyEvent_Wait(&up);
    for (int i = 0; i < 100; i++) {
        CHECK_INT_EQ(PyTState_RunOnThread(theirs, note, number(i),
                                          i & 1 ? WAIT : WAIT | TOO),
                     0);
        CHECK_INT_EQ(n_run, i + 1);
        if (i & 1)
            CHECK_PTR_EQ(ran_with, theirs);
    }
    atomic_store(&over, 1);
    end(handle);
    finish();
}

TEST_MODES("a wait ends when the function was run", wait_for_poll)

static void wait_for_two(void *unused) {
    (void)unused;
    PyThreadState *mine = PyThreadState_Get();
    while (atomic_load(&calls) < 2)
        CHECK_INT_EQ(PyTState_Poll(mine), 0);
}

TEST("a function may be queued before the thread first attaches") {
    PyThreadState *mine = begin();
    PyThreadHandle *handle = launch(mine->interp, wait_for_two);
    PyThreadState *state = PyThreadHandle_ThreadState(handle);
    CHECK_INT_EQ(PyTState_RunOnThread(state, count, NULL, 0), 0);
    CHECK_INT_EQ(PyTState_RunOnThread(state, count, NULL, WAIT), 0);
    end(handle);
    CHECK_INT_EQ(atomic_load(&calls), 2);
    finish();
}

/* ---- Handshakes --------------------------------------------------------- */

static void sleep_detached(void *unused) {
    (void)unused;
    theirs = PyThreadState_Get();
    Py_BEGIN_ALLOW_THREADS
    PyTState_EventSet(&up);
    PyEvent_Wait(&go);
    Py_END_ALLOW_THREADS
    PyTState_EventSet(&down);
}

/* The thread wants its state back meanwhile, and does not get it. */
static int hold_it(void *caller) {
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), caller);
    PyTState_EventSet(&go);
    CHECK_INT_EQ(PyEvent_WaitTimed(&down, 20 * MS, 0), 0);
    CHECK_INT_EQ(PyTState_StopTheWorld(NULL), -1);
    if (caller)
        PyErr_Clear();
    return note(number(9));
}

static void hold_detached(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    PyThreadHandle *handle = launch(mine->interp, sleep_detached);
    PyEvent_Wait(&up);
    CHECK_INT_EQ(PyTState_RunOnThread(theirs, hold_it, mine, WAIT | TOO), 0);
    CHECK_INT_EQ(n_run, 1);
    CHECK_PTR_EQ(ran_with, mine);
    PyEvent_Wait(&down);
    end(handle);
    finish();
}

TEST_MODES("the caller runs it for a detached state, which cannot attach then",
           hold_detached)

TEST("a caller without a state runs it for a detached state, too") {
    PyThreadState *mine = begin();
    PyThreadHandle *handle = launch(mine->interp, sleep_detached);
    PyEvent_Wait(&up);
    Py_BEGIN_ALLOW_THREADS
    CHECK_INT_EQ(PyTState_RunOnThread(theirs, hold_it, NULL, TOO), 0);
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(n_run, 1);
    end(handle);
    finish();
}

static void sleep_after_go(void *unused) {
    (void)unused;
    theirs = PyThreadState_Get();
    PyTState_EventSet(&up);
    while (!PyTState_HasPending(theirs)) /* queued: it was attached */
        sched_yield();
    PyEvent_Wait(&go); /* detached, without a poll */
}

TEST("a waiter runs it itself when the state is detached after all") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    PyThreadHandle *handle = launch(mine->interp, sleep_after_go);
    PyEvent_Wait(&up);
    CHECK_INT_EQ(PyTState_RunOnThread(theirs, note, number(1), WAIT | TOO), 0);
    CHECK_INT_EQ(n_run, 1);
    CHECK_PTR_EQ(ran_with, mine);
    PyTState_EventSet(&go);
    end(handle);
    finish();
}

TEST("within one's own pause every stopped state is at hand") {
    PyThreadState *mine = begin();
    PyThreadState *other = PyThreadState_New(mine->interp);
    CHECK_INT_EQ(PyTState_StopTheWorld(mine->interp), 0);
    CHECK_INT_EQ(PyTState_RunOnThread(other, note, number(1), WAIT | TOO), 0);
    CHECK_INT_EQ(n_run, 1);
    CHECK_INT_EQ(PyTState_RunOnThread(other, note, number(1), WAIT), -1);
    check_raised(PyExc_RuntimeError, "would wait for itself");
    PyTState_StartTheWorld(mine->interp);
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    finish();
}

/* ---- The state goes ----------------------------------------------------- */

TEST("a state that is cleared or deleted takes nothing and drops what it had") {
    PyThreadState *mine = begin();
    PyThreadState *other = PyThreadState_New(mine->interp);
    CHECK_INT_EQ(PyTState_RunOnThread(other, note, NULL, 0), 0);
    PyThreadState_Clear(other);
    CHECK_INT_EQ(PyTState_RunOnThread(other, note, NULL, 0), 1);
    CHECK_INT_EQ(PyTState_RunOnThread(other, note, NULL, WAIT | TOO), 1);
    PyThreadState_Delete(other);
    CHECK_INT_EQ(PyTState_RunOnThread(other, note, NULL, WAIT), 1);
    CHECK_INT_EQ(n_run, 0);
    finish();
}

static atomic_int told;

static void wait_for_it(void *state) {
    atomic_store(&told, 1 + PyTState_RunOnThread(state, note, NULL, WAIT));
}

static void tell_waiter(int clear) {
    PyThreadState *mine = begin();
    PyThreadState *other = PyThreadState_New(mine->interp);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, wait_for_it, other);
    peers_start(&peers);
    WAIT_UNTIL(PyTState_HasPending(other), LIMIT_MS);
    if (clear) {
        PyThreadState_Clear(other);
        PyThreadState_Delete(other);
    } else {
        finish();
    }
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&told), 2);
    CHECK_INT_EQ(n_run, 0);
    if (clear)
        finish();
}

TEST("a waiter is told that the state was cleared") { tell_waiter(1); }

TEST("a waiter is told that finalization gave the state up") { tell_waiter(0); }

TEST("a fork child keeps what no thread waits for") {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, wait_for_it, mine);
    peers_start(&peers);
    WAIT_UNTIL(PyTState_HasPending(mine), LIMIT_MS);
    CHECK_INT_EQ(PyTState_RunOnThread(mine, note, number(5), 0), 0);
    pid_t pid = fork_here();
    if (pid == 0) {
        PyTState_Poll(mine);
        _exit(n_run == 1 && order[0] == 5 ? 0 : 1);
    }
    int status;
    CHECK_INT_EQ(waitpid(pid, &status, 0), pid);
    CHECK_INT_EQ(status, 0);
    CHECK_INT_EQ(PyTState_Poll(mine), 0);
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(n_run, 2);
    finish();
}

/* ---- What it may not be or do ------------------------------------------- */

static int clear_it(void *state) {
    PyThreadState_Clear(state);
    return 0;
}

static int make_interp(void *unused) {
    (void)unused;
    Py_NewInterpreter();
    return 0;
}

static int end_runtime(void *unused) {
    (void)unused;
    return Py_FinalizeEx();
}

TEST("the function ends nothing; arguments are checked") {
    PyThreadState *mine = begin();
    PyThreadState *other = PyThreadState_New(mine->interp);
    EXPECT_FATAL("PyThreadState_Clear", "a function of PyTState_RunOnThread") {
        PyTState_RunOnThread(other, clear_it, other, TOO);
    }
    EXPECT_FATAL("Py_NewInterpreter", "a function of PyTState_RunOnThread") {
        PyTState_RunOnThread(other, make_interp, NULL, TOO);
    }
    EXPECT_FATAL("Py_FinalizeEx", "a function of PyTState_RunOnThread") {
        PyTState_RunOnThread(mine, end_runtime, NULL, WAIT);
    }
    EXPECT_FATAL("PyTState_RunOnThread", "'fn' must not be NULL") {
        PyTState_RunOnThread(mine, NULL, NULL, 0);
    }
    EXPECT_FATAL("PyTState_RunOnThread", "'tstate' must not be NULL") {
        PyTState_RunOnThread(NULL, note, NULL, 0);
    }
    CHECK_INT_EQ(PyTState_RunOnThread(mine, note, NULL, 4), -1);
    check_raised(PyExc_ValueError, "unknown flags");
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    finish();
}

/* ---- All at once -------------------------------------------------------- */

static atomic_int asked, gone, busy;
static PyThreadState *mates[3];
static atomic_int ready;

/* Asks the others, stops the world now and then, polls and detaches. */
static void everything(void *raw) {
    int self = (int)(intptr_t)raw;
    PyThreadState *mine = PyThreadState_Get();
    mates[self] = mine;
    atomic_fetch_add(&ready, 1);
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&ready) == 3, LIMIT_MS);
    Py_END_ALLOW_THREADS
    for (int i = 0; i < 300; i++) {
        int flags = i % 3 == 0 ? 0 : i % 3 == 1 ? TOO : WAIT | TOO;
        int result =
            PyTState_RunOnThread(mates[(self + i) % 3], count, NULL, flags);
        CHECK_INT_EQ(result, 0);
        atomic_fetch_add(&asked, 1);
        if (i % 20 == self) {
            CHECK_INT_EQ(PyTState_StopTheWorld(mine->interp), 0);
            PyTState_StartTheWorld(mine->interp);
        }
        CHECK_INT_EQ(PyTState_Poll(mine), 0);
    }
    atomic_fetch_add(&busy, -1);
    while (atomic_load(&busy) > 0 || PyTState_HasPending(mine))
        CHECK_INT_EQ(PyTState_Poll(mine), 0);
}

static void storm(int gil) {
    PyThreadHandle *handles[3];
    PyThreadState *mine = begin_mode(gil, NULL);
    atomic_store(&busy, 3);
    for (int i = 0; i < 3; i++) {
        handles[i] = PyThreadHandle_New();
        CHECK_INT_EQ(PyThreadHandle_Start(handles[i], mine->interp, everything,
                                          number(i), 0),
                     0);
    }
    for (int i = 0; i < 3; i++)
        end(handles[i]);
    CHECK_INT_EQ(atomic_load(&asked), 900);
    CHECK_INT_EQ(atomic_load(&calls), 900);
    finish();
}

TEST_MODES(
    "three threads ask each other, beside pauses: each call is made once",
    storm)

static void ask_until_gone(void *state) {
    for (int i = 0;; i++) {
        int flags = i & 1 ? WAIT | TOO : i & 2 ? TOO : WAIT;
        if (PyTState_RunOnThread(state, count, NULL, flags) == 1)
            break;
        if (flags & WAIT) /* then 0 means that it was run */
            atomic_fetch_add(&asked, 1);
    }
    atomic_fetch_add(&gone, 1);
}

TEST("finalization ends every wait of threads that ask") {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 3, ask_until_gone, mine);
    peers_start(&peers);
    while (atomic_load(&asked) < 300) {
        PyTState_Poll(mine);
        Py_BEGIN_ALLOW_THREADS
        sched_yield();
        Py_END_ALLOW_THREADS
    }
    finish();
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&gone), 3);
    CHECK_INT_LE(atomic_load(&asked), atomic_load(&calls));
}
