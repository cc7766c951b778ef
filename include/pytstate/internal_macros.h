/* What Rust cannot export of the internal names. internal.h includes this at
 * its end; on its own it brings internal.h first. */
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

#ifdef __cplusplus
}
#endif

#endif /* PYTSTATE_INTERNAL_MACROS_H */
