/* What a library cannot export of the internal names. internal.h includes this
 * at its end; on its own it brings internal.h first. */
#ifndef PYTSTATE_INTERNAL_MACROS_H
#define PYTSTATE_INTERNAL_MACROS_H

#include "internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Parking lot (pycore_parking_lot.h) ---- */

/** What _PyParkingLot_Park() returns. */
enum {
    /** Woken by an unpark. */
    Py_PARK_OK = 0,
    /** The value was not the expected one: no sleep. */
    Py_PARK_AGAIN = -1,
    /** The time passed. */
    Py_PARK_TIMEOUT = -2,
    /** A signal arrived. */
    Py_PARK_INTR = -3
};

/** What _PyParkingLot_Unpark() calls under the bucket's lock: `park_arg` is
 * what the chosen waiter gave, NULL when nobody waits. */
typedef void _Py_unpark_fn_t(void *arg, void *park_arg, int has_more_waiters);

/* ---- PyMutex, beyond what is public (pycore_lock.h) ---- */

/** _PyMutex_LockTimed() without a limit. */
static inline void PyMutex_LockFlags(PyMutex *m, _PyLockFlags flags) {
    _PyMutex_LockTimed(m, -1, flags);
}
/** In a fork child: frees the mutex, whoever held it in the parent. */
static inline void _PyMutex_at_fork_reinit(PyMutex *m) {
    m->_bits = _Py_UNLOCKED;
}

/* ---- Once flag (pycore_lock.h) ---- */

/** What _PyOnceFlag_CallOnce() calls: 0 when done, -1 to be tried again. */
typedef int _Py_once_fn_t(void *arg);

/** Calls `fn` unless an earlier call has succeeded: one load if so. 0 when it
 * is done, -1 when this call's `fn` failed. */
static inline int _PyOnceFlag_CallOnce(_PyOnceFlag *flag, _Py_once_fn_t *fn,
                                       void *arg) {
#ifdef _Py_HAVE_INLINE_ATOMICS
    if (_Py_byte_load_(&flag->v) == _Py_ONCE_INITIALIZED) {
        return 0;
    }
#endif
    return _PyOnceFlag_CallOnceSlow(flag, fn, arg);
}

/* ---- Raw mutex (pycore_lock.h) ---- */

/** Locks the mutex; never detaches. */
static inline void _PyRawMutex_Lock(_PyRawMutex *m) { _PyRawMutex_LockSlow(m); }
/** Unlocks the mutex; fatal if it is not locked. */
static inline void _PyRawMutex_Unlock(_PyRawMutex *m) {
    _PyRawMutex_UnlockSlow(m);
}

/* ---- What a thread is asked to do (pycore_ceval.h) ---- */

/* Bits of PyThreadState.eval_breaker, which PyTState_HasPending() tests. */
#define _PY_GIL_DROP_REQUEST_BIT (1U << 0)
#define _PY_SIGNALS_PENDING_BIT (1U << 1)
#define _PY_CALLS_TO_DO_BIT (1U << 2)
#define _PY_ASYNC_EXCEPTION_BIT (1U << 3)
#define _PY_GC_SCHEDULED_BIT (1U << 4)
#define _PY_EVAL_PLEASE_STOP_BIT (1U << 5)
#define _PY_EVAL_EXPLICIT_MERGE_BIT (1U << 6)
#define _PY_EVAL_JIT_INVALIDATE_COLD_BIT (1U << 7)
/** How many bits are events. */
#define _PY_EVAL_EVENTS_BITS 8
/** All of them. */
#define _PY_EVAL_EVENTS_MASK ((1U << _PY_EVAL_EVENTS_BITS) - 1)

/** Whether one of the bits is set: one relaxed load. */
static inline int _Py_eval_breaker_bit_is_set(PyThreadState *tstate,
                                              uintptr_t bit) {
    return (_Py_word_load_(&tstate->eval_breaker) & bit) != 0;
}

/** Whether the caller handles signals: it is the main thread, and `interp` the
 * main interpreter. */
static inline int _Py_ThreadCanHandleSignals(PyInterpreterState *interp) {
    return _Py_IsMainThread() && interp == PyInterpreterState_Main();
}

/* ---- The attached state (pycore_pystate.h) ---- */

/** The attached state of the calling thread, or NULL. */
static inline PyThreadState *_PyThreadState_GET(void) {
    return PyThreadState_GetUnchecked();
}
/** The interpreter of the attached state; fatal if nothing is attached. */
static inline PyInterpreterState *_PyInterpreterState_GET(void) {
    return PyInterpreterState_Get();
}
/** Whether the interpreter is the main one. */
static inline int _Py_IsMainInterpreter(PyInterpreterState *interp) {
    return interp == PyInterpreterState_Main();
}

/** Fatal, naming `func`, if `tstate` is NULL. */
static inline void _Py_EnsureFuncTstateNotNULL(const char *func,
                                               PyThreadState *tstate) {
    if (tstate == NULL) {
        _Py_FatalErrorFunc(func,
                           "the function must be called with an attached "
                           "thread state, but there is none (it is NULL)");
    }
}
/** The same, naming the calling function. */
#define _Py_EnsureTstateNotNULL(tstate) \
    _Py_EnsureFuncTstateNotNULL(__func__, (tstate))

/** Fatal, naming `func`, if nothing is attached. */
static inline void _Py_AssertHoldsTstateFunc(const char *func) {
    _Py_EnsureFuncTstateNotNULL(func, PyThreadState_GetUnchecked());
}
/** The same, naming the calling function; nothing with NDEBUG. */
#ifdef NDEBUG
#define _Py_AssertHoldsTstate()
#else
#define _Py_AssertHoldsTstate() _Py_AssertHoldsTstateFunc(__func__)
#endif

/* ---- Threads and ends (pycore_pythread.h, pycore_atexit.h) ---- */

/** For printf: a PyThread_ident_t. */
#define PY_FORMAT_THREAD_IDENT_T "llu"
/** No timeout was given: minus one second. */
#define PyThread_UNSET_TIMEOUT ((PyTime_t)(-1 * 1000 * 1000 * 1000))
/** What Py_AtExit() takes. */
typedef void (*atexit_callbackfunc)(void);
/** The name of PyUnstable_AtExit() before CPython 3.13. */
#define _Py_AtExit PyUnstable_AtExit

#ifdef __cplusplus
}
#endif

#endif /* PYTSTATE_INTERNAL_MACROS_H */
