/* What Rust cannot export: macros that open and close a block, macros that
 * know where they are used, initialisers, old names. pytstate.h includes this
 * at its end; on its own it brings pytstate.h first. */
#ifndef PYTSTATE_MACROS_H
#define PYTSTATE_MACROS_H

#include "../pytstate.h"

/* ---- Letting other threads run (ceval.h) ---- */

/** Detaches the calling thread until Py_END_ALLOW_THREADS, in the same block.
 * Nothing of the API that needs an attached state may be called between. */
#define Py_BEGIN_ALLOW_THREADS \
    {                          \
        PyThreadState *_save;  \
        _save = PyEval_SaveThread();
/** Between the two: attaches again for a moment. */
#define Py_BLOCK_THREADS PyEval_RestoreThread(_save);
/** Between the two: ends what Py_BLOCK_THREADS began. */
#define Py_UNBLOCK_THREADS _save = PyEval_SaveThread();
/** Attaches again. */
#define Py_END_ALLOW_THREADS     \
    PyEval_RestoreThread(_save); \
    }

/* ---- Thread and interpreter states (pystate.h) ---- */

/** PyThreadState_Get(), under its macro name. */
#define PyThreadState_GET() PyThreadState_Get()
/** The name of PyThreadState_GetUnchecked() before CPython 3.13. */
#define _PyThreadState_UncheckedGet PyThreadState_GetUnchecked
/** The name of PyInterpreterState_Get() before CPython 3.9. */
#define _PyInterpreterState_Get PyInterpreterState_Get

/* ---- Fatal errors (pyerrors.h) ---- */

/** Aborts with a message that names the calling function. The function of the
 * same name remains: (Py_FatalError)(message). */
#define Py_FatalError(message) _Py_FatalErrorFunc(__func__, (message))

/* ---- Threads, locks and thread-specific storage (pythread.h) ---- */

/** PyThread_get_thread_native_id() exists. */
#define PY_HAVE_THREAD_NATIVE_ID
/** What PyThread_start_new_thread() returns when no thread was started. */
#define PYTHREAD_INVALID_THREAD_ID ((unsigned long)-1)
/** `waitflag` of PyThread_acquire_lock(): wait for the lock. */
#define WAIT_LOCK 1
/** `waitflag` of PyThread_acquire_lock(): only try. */
#define NOWAIT_LOCK 0
/** The longest timeout of a lock, in microseconds. */
#define PY_TIMEOUT_MAX (0x7fffffffffffffffLL / 1000)
/** Static initialiser of a Py_tss_t: the key is not created yet. */
#define Py_tss_NEEDS_INIT \
    { 0, 0 }

/* ---- New interpreters (initconfig.h) ---- */

/** Isolated: own allocator and GIL, no fork, no exec, no daemon threads. */
#define _PyInterpreterConfig_INIT \
    { 0, 0, 0, 1, 0, 1, PyInterpreterConfig_OWN_GIL }
/** What the multi-interpreter check is in the legacy preset. */
#define _PyInterpreterConfig_LEGACY_CHECK_MULTI_INTERP_EXTENSIONS 0
/** As Py_NewInterpreter(): everything allowed, everything shared. */
#define _PyInterpreterConfig_LEGACY_INIT                               \
    {                                                                  \
        1, 1, 1, 1, 1,                                                 \
            _PyInterpreterConfig_LEGACY_CHECK_MULTI_INTERP_EXTENSIONS, \
            PyInterpreterConfig_SHARED_GIL                             \
    }

/* ---- Critical sections (critical_section.h) ---- */

/** Locks the object until Py_END_CRITICAL_SECTION(), in the same block. */
#define Py_BEGIN_CRITICAL_SECTION(op) \
    {                                 \
        PyCriticalSection _py_cs;     \
        PyCriticalSection_Begin(&_py_cs, (PyObject *)(op));
/** The same for a mutex. */
#define Py_BEGIN_CRITICAL_SECTION_MUTEX(mutex) \
    {                                          \
        PyCriticalSection _py_cs;              \
        PyCriticalSection_BeginMutex(&_py_cs, (mutex));
/** Ends either. */
#define Py_END_CRITICAL_SECTION()   \
    PyCriticalSection_End(&_py_cs); \
    }
/** Locks two objects, in an order that cannot deadlock. */
#define Py_BEGIN_CRITICAL_SECTION2(a, b) \
    {                                    \
        PyCriticalSection2 _py_cs2;      \
        PyCriticalSection2_Begin(&_py_cs2, (PyObject *)(a), (PyObject *)(b));
/** The same for two mutexes. */
#define Py_BEGIN_CRITICAL_SECTION2_MUTEX(m1, m2) \
    {                                            \
        PyCriticalSection2 _py_cs2;              \
        PyCriticalSection2_BeginMutex(&_py_cs2, (m1), (m2));
/** Ends either. */
#define Py_END_CRITICAL_SECTION2()    \
    PyCriticalSection2_End(&_py_cs2); \
    }

/* ---- PyMutex under its private names (lock.h) ---- */

#define _PyMutex_Lock PyMutex_Lock
#define _PyMutex_Unlock PyMutex_Unlock
#define _PyMutex_IsLocked PyMutex_IsLocked

#endif /* PYTSTATE_MACROS_H */
