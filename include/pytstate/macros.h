/* What a library cannot export: macros that open and close a block, macros that
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

/* ---- PyMutex: the fast paths, inline (lock.h) ---- */

/* One atomic operation on the byte of a mutex, for C11 and C++11: what the
 * standard library of the language offers. Without it (C99,
 * __STDC_NO_ATOMICS__) every call goes to the library. A byte and the atomic
 * type of a byte have the same size and alignment wherever the library runs. */
#ifdef __cplusplus
/* Also where somebody includes this inside extern "C". */
extern "C++" {
#include <atomic>
}
static_assert(sizeof(std::atomic<uint8_t>) == sizeof(uint8_t),
              "an atomic byte is a byte");
static_assert(sizeof(std::atomic<size_t>) == sizeof(size_t),
              "an atomic word is a word");
#define _Py_HAVE_INLINE_ATOMICS 1
/** From `from` to `to`, with acquire order: 1 if it was `from`. */
static inline int _Py_byte_lock_(uint8_t *byte, uint8_t from, uint8_t to) {
    return reinterpret_cast<std::atomic<uint8_t> *>(byte)
        ->compare_exchange_strong(from, to, std::memory_order_acquire,
                                  std::memory_order_relaxed);
}
/** From `from` to `to`, with release order: 1 if it was `from`. */
static inline int _Py_byte_unlock_(uint8_t *byte, uint8_t from, uint8_t to) {
    return reinterpret_cast<std::atomic<uint8_t> *>(byte)
        ->compare_exchange_strong(from, to, std::memory_order_release,
                                  std::memory_order_relaxed);
}
/** The value, with acquire order. */
static inline uint8_t _Py_byte_load_(uint8_t *byte) {
    return reinterpret_cast<std::atomic<uint8_t> *>(byte)->load(
        std::memory_order_acquire);
}
/** The value of a word, with relaxed order. */
static inline size_t _Py_word_load_(size_t *word) {
    return reinterpret_cast<std::atomic<size_t> *>(word)->load(
        std::memory_order_relaxed);
}
#elif __STDC_VERSION__ >= 201112L && !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
_Static_assert(sizeof(_Atomic(uint8_t)) == sizeof(uint8_t),
               "an atomic byte is a byte");
_Static_assert(sizeof(_Atomic(size_t)) == sizeof(size_t),
               "an atomic word is a word");
#define _Py_HAVE_INLINE_ATOMICS 1
/** From `from` to `to`, with acquire order: 1 if it was `from`. */
static inline int _Py_byte_lock_(uint8_t *byte, uint8_t from, uint8_t to) {
    return atomic_compare_exchange_strong_explicit(
        (_Atomic(uint8_t) *)byte, &from, to, memory_order_acquire,
        memory_order_relaxed);
}
/** From `from` to `to`, with release order: 1 if it was `from`. */
static inline int _Py_byte_unlock_(uint8_t *byte, uint8_t from, uint8_t to) {
    return atomic_compare_exchange_strong_explicit(
        (_Atomic(uint8_t) *)byte, &from, to, memory_order_release,
        memory_order_relaxed);
}
/** The value, with acquire order. */
static inline uint8_t _Py_byte_load_(uint8_t *byte) {
    return atomic_load_explicit((_Atomic(uint8_t) *)byte, memory_order_acquire);
}
/** The value of a word, with relaxed order. */
static inline size_t _Py_word_load_(size_t *word) {
    return atomic_load_explicit((_Atomic(size_t) *)word, memory_order_relaxed);
}
#else
/** The value of a word. */
static inline size_t _Py_word_load_(size_t *word) {
    return *(volatile size_t *)word;
}
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_Py_HAVE_INLINE_ATOMICS) && !defined(PYTSTATE_NO_INLINE_FAST_PATHS)
/** PyMutex_Lock(): one atomic read-modify-write if nobody has the mutex. */
static inline void _PyMutex_Lock(PyMutex *m) {
    if (!_Py_byte_lock_(&m->_bits, _Py_UNLOCKED, _Py_LOCKED)) {
        PyMutex_Lock(m);
    }
}
/** PyMutex_Unlock(): one atomic read-modify-write if nobody waits. */
static inline void _PyMutex_Unlock(PyMutex *m) {
    if (!_Py_byte_unlock_(&m->_bits, _Py_LOCKED, _Py_UNLOCKED)) {
        PyMutex_Unlock(m);
    }
}
/** PyMutex_IsLocked(). */
static inline int _PyMutex_IsLocked(PyMutex *m) {
    return (_Py_byte_load_(&m->_bits) & _Py_LOCKED) != 0;
}
#else
#define _PyMutex_Lock(m) (PyMutex_Lock)(m)
#define _PyMutex_Unlock(m) (PyMutex_Unlock)(m)
#define _PyMutex_IsLocked(m) (PyMutex_IsLocked)(m)
#endif
/* The functions of the same names remain: (PyMutex_Lock)(m), &PyMutex_Lock. */
#define PyMutex_Lock(m) _PyMutex_Lock(m)
#define PyMutex_Unlock(m) _PyMutex_Unlock(m)
#define PyMutex_IsLocked(m) _PyMutex_IsLocked(m)

/* ---- Where a call was made ---- */

/** Leaves "file.c:123" for the next state, attach, detach or guard of this
 * thread: reports and dumps name it. PyTState_Here() takes any text. */
#define PyTState_HERE() PyTState_Here(__FILE__ ":" _Py_TEXT_(__LINE__))
#define _Py_TEXT_(x) _Py_TEXT_OF_(x)
#define _Py_TEXT_OF_(x) #x

/* ---- A host's poll ---- */

/** Whether the thread of the state was asked to do something: one relaxed load.
 * Any thread may look, while the state lives. */
static inline int PyTState_HasPending(PyThreadState *tstate) {
    return (_Py_word_load_(&tstate->eval_breaker) & 0xff) != 0;
}
/** _Py_HandlePending(), called only if there is something to do: 0, or -1 with
 * the error indicator set. For a host's loop; `tstate` is the attached state.
 */
static inline int PyTState_Poll(PyThreadState *tstate) {
    return PyTState_HasPending(tstate) ? _Py_HandlePending(tstate) : 0;
}

#ifdef __cplusplus
}
#endif

#endif /* PYTSTATE_MACROS_H */
