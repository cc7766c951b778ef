/* Functions that run at the end. */
#include <Python.h>

#include "common.h"

static int order[64], n_run;

static void note(void *number) { order[n_run++] = (int)(intptr_t)number; }
static void *as_arg(int number) { return (void *)(intptr_t)number; }
static void one(void) { note(as_arg(1)); }
static void two(void) { note(as_arg(2)); }

TEST("32 functions are taken, the next is refused, also before there is a "
     "runtime") {
    int n = 0;
    if (BEHAVIOUR < V3_13 && BEHAVIOUR >= V3_12)
        SKIP("3.12 crashes before there is a runtime");
    while (n < 100 && Py_AtExit(one) == 0)
        n++;
    /* What CPython registers itself, none in 3.13, takes a slot. */
    CHECK_INT_GE(n, 30);
    CHECK_INT_LE(n, 32);
    begin();
    CHECK_INT_EQ(Py_AtExit(one), -1);
    CHECK_NULL(PyErr_Occurred());
    finish();
    CHECK_INT_EQ(n_run, n);
    /* The slots are free again. */
    CHECK_INT_EQ(Py_AtExit(two), 0);
}

static void adds_two(void) {
    note(as_arg(3));
    CHECK_INT_EQ(Py_AtExit(two), 0);
}

TEST("a function may register another, which runs next") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 the table is not ready for that");
    CHECK_INT_EQ(Py_AtExit(one), 0);
    CHECK_INT_EQ(Py_AtExit(adds_two), 0);
    begin();
    finish();
    CHECK_INT_EQ(n_run, 3);
    CHECK_INT_EQ(order[0], 3);
    CHECK_INT_EQ(order[1], 2);
    CHECK_INT_EQ(order[2], 1);
}

#if PY_VERSION_HEX >= V3_13

static void note_attached(void *number) {
    PyThreadState *mine = PyThreadState_GetUnchecked();
    CHECK_NOT_NULL(mine);
    CHECK_NOT_NULL(PyThreadState_GetInterpreter(mine));
    note(number);
}

TEST("an interpreter's function runs attached, at its end") {
    PyThreadState *main_state = begin();
    PyInterpreterState *main_interp = PyThreadState_GetInterpreter(main_state);
    CHECK_INT_EQ(Py_AtExit(one), 0);
    CHECK_INT_EQ(PyUnstable_AtExit(main_interp, note_attached, as_arg(4)), 0);
    PyThreadState *other = Py_NewInterpreter();
    CHECK_INT_EQ(PyUnstable_AtExit(PyThreadState_GetInterpreter(other),
                                   note_attached, as_arg(5)),
                 0);
    CHECK_INT_EQ(n_run, 0);
    Py_EndInterpreter(other);
    CHECK_INT_EQ(n_run, 1);
    PyThreadState_Swap(main_state);
    finish();
    static const int wanted[] = {5, 4, 1};
    CHECK_INT_EQ(n_run, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(order[i], wanted[i]);
}

TEST("several of them run newest first, and none is lost") {
#ifndef PYTSTATE_UNDER_TEST
    if (PY_VERSION_HEX < 0x030D0200)
        SKIP("up to 3.13.1 only the first and the last run (gh-127791)");
#endif
    PyThreadState *main_state = begin();
    for (int i = 0; i < 5; i++)
        CHECK_INT_EQ(PyUnstable_AtExit(PyThreadState_GetInterpreter(main_state),
                                       note_attached, as_arg(i)),
                     0);
    finish();
    CHECK_INT_EQ(n_run, 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT_EQ(order[i], 4 - i);
}

#endif
