/* The runtime in one of its three modes: shared GIL, own GIL, no GIL. */
#ifndef PYTSTATE_TEST_MODES_H
#define PYTSTATE_TEST_MODES_H

#include "harness.h"

#include <pytstate.h>

/* Initializes the runtime; the main interpreter has a GIL or has none. */
static inline void start_main(int gil, const PyTState_ObjectHooks *objects) {
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.gil = gil;
    config.objects = objects;
    PyStatus status = PyTState_Initialize(&config);
    if (PyStatus_Exception(status))
        FAIL("no runtime: %s", status.err_msg);
}

/* Makes an interpreter with PyInterpreterConfig.gil = `gil` and its first
 * state, which is attached on return; what was attached is detached. */
static inline PyThreadState *new_interp(int gil) {
    PyInterpreterConfig config = _PyInterpreterConfig_LEGACY_INIT;
    PyThreadState *state = NULL;
    config.gil = gil;
    PyStatus status = Py_NewInterpreterFromConfig(&state, &config);
    if (PyStatus_Exception(status))
        FAIL("no interpreter: %s", status.err_msg);
    return state;
}

/* Makes and attaches a state for the calling thread. */
static inline PyThreadState *enter(PyInterpreterState *interp) {
    PyThreadState *state = PyThreadState_New(interp);
    CHECK_NOT_NULL(state);
    PyEval_RestoreThread(state);
    return state;
}

/* Undoes it. */
static inline void leave(PyThreadState *state) {
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

/* A snapshot of a mutex, whole or one bit, that a sanitizer accepts. */
static inline int mutex_bits(PyMutex *m) {
    return __atomic_load_n(&m->_bits, __ATOMIC_ACQUIRE);
}
static inline int is_locked(PyMutex *m) { return mutex_bits(m) & _Py_LOCKED; }

#endif
