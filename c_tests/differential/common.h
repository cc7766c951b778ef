/* What the differential cases share. Include it after <Python.h>. */
#ifndef PYTSTATE_DIFFERENTIAL_COMMON_H
#define PYTSTATE_DIFFERENTIAL_COMMON_H

#include "harness.h"

/* The version whose behaviour is expected: that of the CPython, or the one that
 * a host of ours asks for (3.15 if it does not). PY_VERSION_HEX says which
 * names there are, BEHAVIOUR what they do. */
#ifdef PYTSTATE_UNDER_TEST
#include <stdlib.h>
static inline long behaviour(void) {
    const char *asked = getenv("PYTSTATE_COMPAT");
    return asked == NULL ? 0x030F0000 : 0x03000000 | atol(asked + 2) << 16;
}
#define BEHAVIOUR behaviour()
#else
#define BEHAVIOUR PY_VERSION_HEX
#endif
#define V3_12 0x030C0000
#define V3_13 0x030D0000
#define V3_14 0x030E0000
#define V3_15 0x030F0000

/* Names that are younger than the functions. */
#if PY_VERSION_HEX < V3_13
#define PyThreadState_GetUnchecked _PyThreadState_UncheckedGet
#define Py_IsFinalizing _Py_IsFinalizing
#endif

/* For cases in which one thread keeps another one out. */
static inline void needs_a_gil(void) {
#ifdef Py_GIL_DISABLED
    SKIP("this build has no GIL");
#endif
}

/* Initializes the runtime without touching signals: the attached main state. */
static inline PyThreadState *begin(void) {
    Py_InitializeEx(0);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    return PyThreadState_Get();
}

/* Ends the runtime, which must succeed. */
static inline void finish(void) { CHECK_INT_EQ(Py_FinalizeEx(), 0); }

/* How many states the interpreter has. Nobody else makes or deletes any. */
static inline int count_states(PyInterpreterState *interp) {
    int count = 0;
    for (PyThreadState *one = PyInterpreterState_ThreadHead(interp);
         one != NULL; one = PyThreadState_Next(one))
        count++;
    return count;
}

/* How many interpreters there are. */
static inline int count_interpreters(void) {
    int count = 0;
    for (PyInterpreterState *one = PyInterpreterState_Head(); one != NULL;
         one = PyInterpreterState_Next(one))
        count++;
    return count;
}

/* Ends the life of a state that is not attached; another state of the same
 * interpreter is. */
static inline void drop_state(PyThreadState *state) {
    PyThreadState_Clear(state);
    PyThreadState_Delete(state);
}

/* Runs body(arg) on a new OS thread, to its end, with nothing attached. */
static inline void on_new_thread(void (*body)(void *), void *arg) {
    PyThreadState *save = PyThreadState_GetUnchecked();
    struct peers peers = PEERS_INIT;
    if (save != NULL)
        PyEval_SaveThread();
    peers_add(&peers, 1, body, arg);
    peers_start(&peers);
    peers_join(&peers, 10000);
    if (save != NULL)
        PyEval_RestoreThread(save);
}

/* A thread that tells its kernel id and attaches, for cases that want to see
 * it wait. */
static inline void wait_until_asleep(atomic_long *native_id) {
    WAIT_UNTIL(atomic_load(native_id) != 0, 5000);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(native_id)), 5000);
}

#endif
