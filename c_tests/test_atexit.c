/* What runs at the end: of the runtime, of an interpreter, before its commit.
 */
#include "host.h"

#include <stdlib.h>

static int order[128], n_run;

static void note(void *number) { order[n_run++] = (int)(intptr_t)number; }
static void *as_arg(int number) { return (void *)(intptr_t)number; }

static void note_attached(void *number) {
    CHECK_INT_EQ(PyGILState_Check(), 1);
    note(number);
}

/* ---- Py_AtExit (S-AE-01) ------------------------------------------------- */

static void one(void) { note(as_arg(1)); }
static void two(void) { note(as_arg(2)); }
static void three(void) { note(as_arg(3)); }

static void without_a_runtime(void) {
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyThreadState_GetUnchecked());
    two();
}

TEST("the newest function runs first, last of all, without a runtime") {
    CHECK_INT_EQ(Py_AtExit(one), 0);
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(Py_AtExit(without_a_runtime), 0);
    CHECK_INT_EQ(Py_AtExit(three), 0);
    CHECK_INT_EQ(
        PyUnstable_AtExit(main_state->interp, note_attached, as_arg(4)), 0);
    CHECK_INT_EQ(
        PyTState_AtShutdown(main_state->interp, note_attached, as_arg(5)), 0);
    finish();
    static const int wanted[] = {5, 4, 3, 2, 1};
    CHECK_INT_EQ(n_run, 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT_EQ(order[i], wanted[i]);
    /* They ran once and for all. */
    begin();
    finish();
    CHECK_INT_EQ(n_run, 5);
}

TEST("32 functions are taken, the next is refused; all slots come back") {
    for (int round = 0; round < 3; round++) {
        n_run = 0;
        for (int i = 0; i < 32; i++)
            CHECK_INT_EQ(Py_AtExit(one), 0);
        CHECK_INT_EQ(Py_AtExit(one), -1);
        begin();
        CHECK_INT_EQ(Py_AtExit(one), -1);
        CHECK_NULL(PyErr_Occurred());
        finish();
        CHECK_INT_EQ(n_run, 32);
    }
}

static void adds_three(void) {
    two();
    CHECK_INT_EQ(Py_AtExit(three), 0);
}

TEST("a function may register another, which runs next") {
    CHECK_INT_EQ(Py_AtExit(one), 0);
    CHECK_INT_EQ(Py_AtExit(adds_three), 0);
    begin();
    finish();
    CHECK_INT_EQ(n_run, 3);
    CHECK_INT_EQ(order[0], 2);
    CHECK_INT_EQ(order[1], 3);
    CHECK_INT_EQ(order[2], 1);
}

TEST("ending a sub-interpreter runs none of them") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(Py_AtExit(one), 0);
    Py_EndInterpreter(new_interp(PyInterpreterConfig_SHARED_GIL));
    CHECK_INT_EQ(n_run, 0);
    PyEval_RestoreThread(main_state);
    finish();
    CHECK_INT_EQ(n_run, 1);
}

/* ---- PyUnstable_AtExit (S-AE-02) ------------------------------------------
 */

TEST("an interpreter's functions run attached, newest first, at its end") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(
        PyUnstable_AtExit(main_state->interp, note_attached, as_arg(1)), 0);
    PyThreadState *other = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(PyUnstable_AtExit(other->interp, note, as_arg(2)), 0);
    CHECK_INT_EQ(PyUnstable_AtExit(other->interp, note, as_arg(3)), 0);
    Py_EndInterpreter(other);
    CHECK_INT_EQ(n_run, 2);
    CHECK_INT_EQ(order[0], 3);
    CHECK_INT_EQ(order[1], 2);
    PyEval_RestoreThread(main_state);
    finish();
    CHECK_INT_EQ(n_run, 3);
    CHECK_INT_EQ(order[2], 1);
}

static void adds_more(void *left) {
    note(left);
    if ((intptr_t)left > 0)
        CHECK_INT_EQ(PyUnstable_AtExit(PyInterpreterState_Get(), adds_more,
                                       as_arg((int)(intptr_t)left - 1)),
                     0);
}

TEST("one of them may register another, which runs next") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(PyUnstable_AtExit(main_state->interp, note, as_arg(77)), 0);
    CHECK_INT_EQ(PyUnstable_AtExit(main_state->interp, adds_more, as_arg(5)),
                 0);
    finish();
    CHECK_INT_EQ(n_run, 7);
    for (int i = 0; i < 6; i++)
        CHECK_INT_EQ(order[i], 5 - i);
    CHECK_INT_EQ(order[6], 77);
}

TEST("clearing an interpreter by hand runs them") {
    PyThreadState *main_state = begin();
    PyInterpreterState *bare = PyInterpreterState_New();
    PyThreadState *first = PyThreadState_New(bare);
    PyThreadState_Swap(first);
    CHECK_INT_EQ(PyUnstable_AtExit(bare, note, as_arg(1)), 0);
    PyInterpreterState_Clear(bare);
    CHECK_INT_EQ(n_run, 1);
    PyThreadState_Swap(main_state);
    PyInterpreterState_Delete(bare);
    CHECK_INT_EQ(n_run, 1);
    finish();
}

/* ---- PyTState_AtShutdown ---------------------------------------------------
 */

static atomic_int n_threads;

static void count_thread(void *unused) {
    (void)unused;
    atomic_fetch_add(&n_threads, 1);
}

static void starts_a_thread(void *number) {
    note_attached(number);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    PyThreadHandle_Decref(start(count_thread, NULL));
}

TEST("before the commit threads can still start, and are waited for") {
    PyThreadState *main_state = begin();
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(
            PyTState_AtShutdown(main_state->interp, starts_a_thread, as_arg(i)),
            0);
    finish();
    CHECK_INT_EQ(atomic_load(&n_threads), 3);
    CHECK_INT_EQ(n_run, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(order[i], 2 - i);
}

static void registers_for_shutdown(void *interp) {
    CHECK_INT_EQ(PyTState_AtShutdown(interp, starts_a_thread, as_arg(9)), 0);
}

static void starts_one_that_registers(void *interp) {
    note(as_arg(8));
    PyThreadHandle_Decref(start(registers_for_shutdown, interp));
}

TEST("what is registered meanwhile runs as well, whoever registers it") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(PyTState_AtShutdown(main_state->interp,
                                     starts_one_that_registers,
                                     main_state->interp),
                 0);
    finish();
    CHECK_INT_EQ(n_run, 2);
    CHECK_INT_EQ(order[0], 8);
    CHECK_INT_EQ(order[1], 9);
    CHECK_INT_EQ(atomic_load(&n_threads), 1);
}

static void is_too_late(void *interp) {
    note(as_arg(1));
    CHECK_INT_EQ(PyTState_AtShutdown(interp, note, NULL), -1);
    check_raised(PyExc_PythonFinalizationError, "finalizing");
}

TEST("after the commit it is refused, not forgotten") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(
        PyUnstable_AtExit(main_state->interp, is_too_late, main_state->interp),
        0);
    finish();
    CHECK_INT_EQ(n_run, 1);
}

static void registers_detached(void *interp) {
    CHECK_NULL(PyThreadState_GetUnchecked());
    registers_for_shutdown(interp);
}

TEST("a thread without a state may register; another interpreter's end runs "
     "only its own") {
    PyThreadState *main_state = begin();
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyThreadState_Swap(main_state);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, registers_detached, other->interp);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(PyTState_AtShutdown(main_state->interp, note, as_arg(1)), 0);
    PyThreadState_Swap(other);
    Py_EndInterpreter(other);
    CHECK_INT_EQ(n_run, 4);
    CHECK_INT_EQ(atomic_load(&n_threads), 4);
    PyEval_RestoreThread(main_state);
    finish();
    CHECK_INT_EQ(n_run, 5);
}

/* ---- Misuse -----------------------------------------------------------------
 */

TEST("NULL, a missing state and a foreign interpreter are fatal") {
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = main_state->interp;
    EXPECT_FATAL("Py_AtExit", "'func' must not be NULL") { Py_AtExit(NULL); }
    EXPECT_FATAL("PyUnstable_AtExit", "'func' must not be NULL") {
        PyUnstable_AtExit(interp, NULL, NULL);
    }
    EXPECT_FATAL("PyUnstable_AtExit", "'interp' must not be NULL") {
        PyUnstable_AtExit(NULL, note, NULL);
    }
    EXPECT_FATAL("PyTState_AtShutdown", "'func' must not be NULL") {
        PyTState_AtShutdown(interp, NULL, NULL);
    }
    EXPECT_FATAL("PyTState_AtShutdown", "'interp' must not be NULL") {
        PyTState_AtShutdown(NULL, note, NULL);
    }
    EXPECT_FATAL("PyUnstable_AtExit", "thread state is NULL") {
        PyEval_SaveThread();
        PyUnstable_AtExit(interp, note, NULL);
    }
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    EXPECT_FATAL("PyUnstable_AtExit", "interpreter 0 is not the attached one") {
        PyUnstable_AtExit(interp, note, NULL);
    }
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    finish();
}
