/* CPython's atomic operations (pyatomic.h), made of those of the language: C11
 * or C++11. Without atomics in the language there are none. */
#ifndef PYTSTATE_ATOMICS_H
#define PYTSTATE_ATOMICS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C++" {
#include <atomic>
}
#define _PY_ATOMIC_OF_(type, obj) \
    (reinterpret_cast<std::atomic<type> *>(const_cast<type *>(obj)))
#define _PY_ORDER_(order) std::memory_order_##order
#define _PY_LOAD_(type, obj, order) \
    (_PY_ATOMIC_OF_(type, obj)->load(_PY_ORDER_(order)))
#define _PY_STORE_(type, obj, value, order) \
    (_PY_ATOMIC_OF_(type, obj)->store((value), _PY_ORDER_(order)))
#define _PY_RMW_(type, obj, value, what) \
    (_PY_ATOMIC_OF_(type, obj)->what((value)))
#define _PY_CAS_(type, obj, expected, desired)                         \
    (_PY_ATOMIC_OF_(type, obj)->compare_exchange_strong((*(expected)), \
                                                        (desired)))
#define _PY_FENCE_(order) std::atomic_thread_fence(_PY_ORDER_(order))
#define _PY_HAVE_ATOMICS_ 1
#elif __STDC_VERSION__ >= 201112L && !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
#define _PY_ATOMIC_OF_(type, obj) ((_Atomic(type) *)(uintptr_t)(obj))
#define _PY_ORDER_(order) memory_order_##order
#define _PY_LOAD_(type, obj, order) \
    atomic_load_explicit(_PY_ATOMIC_OF_(type, obj), _PY_ORDER_(order))
#define _PY_STORE_(type, obj, value, order) \
    atomic_store_explicit(_PY_ATOMIC_OF_(type, obj), (value), _PY_ORDER_(order))
#define _PY_RMW_(type, obj, value, what) \
    atomic_##what(_PY_ATOMIC_OF_(type, obj), (value))
#define _PY_CAS_(type, obj, expected, desired)                            \
    atomic_compare_exchange_strong(_PY_ATOMIC_OF_(type, obj), (expected), \
                                   (desired))
#define _PY_FENCE_(order) atomic_thread_fence(_PY_ORDER_(order))
#define _PY_HAVE_ATOMICS_ 1
#endif

#ifdef _PY_HAVE_ATOMICS_
#ifdef __cplusplus
extern "C" {
#endif

/* Loads, stores, exchange and compare-exchange of one type: `name` is the end
 * of each function's name, as in _Py_atomic_load_int(). compare_exchange
 * returns 1 if it stored, else 0 with the value seen in `*expected`. */
#define _PY_ATOMIC_WORD_(name, type)                                       \
    static inline type _Py_atomic_load_##name(const type *obj) {           \
        return _PY_LOAD_(type, obj, seq_cst);                              \
    }                                                                      \
    static inline type _Py_atomic_load_##name##_relaxed(const type *obj) { \
        return _PY_LOAD_(type, obj, relaxed);                              \
    }                                                                      \
    static inline type _Py_atomic_load_##name##_acquire(const type *obj) { \
        return _PY_LOAD_(type, obj, acquire);                              \
    }                                                                      \
    static inline void _Py_atomic_store_##name(type *obj, type value) {    \
        _PY_STORE_(type, obj, value, seq_cst);                             \
    }                                                                      \
    static inline void _Py_atomic_store_##name##_relaxed(type *obj,        \
                                                         type value) {     \
        _PY_STORE_(type, obj, value, relaxed);                             \
    }                                                                      \
    static inline void _Py_atomic_store_##name##_release(type *obj,        \
                                                         type value) {     \
        _PY_STORE_(type, obj, value, release);                             \
    }                                                                      \
    static inline type _Py_atomic_exchange_##name(type *obj, type value) { \
        return _PY_RMW_(type, obj, value, exchange);                       \
    }                                                                      \
    static inline int _Py_atomic_compare_exchange_##name(                  \
        type *obj, type *expected, type desired) {                         \
        return _PY_CAS_(type, obj, expected, desired);                     \
    }                                                                      \
    static inline type _Py_atomic_add_##name(type *obj, type value) {      \
        return _PY_RMW_(type, obj, value, fetch_add);                      \
    }

/* The same, and bits, which are defined for types without a sign. */
#define _PY_ATOMIC_BITS_(name, type)                                  \
    _PY_ATOMIC_WORD_(name, type)                                      \
    static inline type _Py_atomic_and_##name(type *obj, type value) { \
        return _PY_RMW_(type, obj, value, fetch_and);                 \
    }                                                                 \
    static inline type _Py_atomic_or_##name(type *obj, type value) {  \
        return _PY_RMW_(type, obj, value, fetch_or);                  \
    }

/* clang-format off */
_PY_ATOMIC_WORD_(int, int)
_PY_ATOMIC_WORD_(int8, int8_t)
_PY_ATOMIC_WORD_(int16, int16_t)
_PY_ATOMIC_WORD_(int32, int32_t)
_PY_ATOMIC_WORD_(int64, int64_t)
_PY_ATOMIC_WORD_(intptr, intptr_t)
_PY_ATOMIC_WORD_(ssize, ptrdiff_t)
_PY_ATOMIC_WORD_(uint, unsigned int)
_PY_ATOMIC_BITS_(uint8, uint8_t)
_PY_ATOMIC_BITS_(uint16, uint16_t)
_PY_ATOMIC_BITS_(uint32, uint32_t)
_PY_ATOMIC_BITS_(uint64, uint64_t)
_PY_ATOMIC_BITS_(uintptr, uintptr_t)
/* clang-format on */

/* Pointers: `obj` is the address of the pointer. */
#ifdef __cplusplus
#define _PY_PTR_(obj) (static_cast<void *const *>(obj))
#define _PY_PTR_TO_CHANGE_(obj) (static_cast<void **>(obj))
#else
#define _PY_PTR_(obj) ((void *const *)(obj))
#define _PY_PTR_TO_CHANGE_(obj) ((void **)(obj))
#endif
/** The pointer at `obj`, sequentially consistent. */
static inline void *_Py_atomic_load_ptr(const void *obj) {
    return _PY_LOAD_(void *, _PY_PTR_(obj), seq_cst);
}
/** The pointer at `obj`, relaxed. */
static inline void *_Py_atomic_load_ptr_relaxed(const void *obj) {
    return _PY_LOAD_(void *, _PY_PTR_(obj), relaxed);
}
/** The pointer at `obj`, with acquire order. */
static inline void *_Py_atomic_load_ptr_acquire(const void *obj) {
    return _PY_LOAD_(void *, _PY_PTR_(obj), acquire);
}
/** Stores a pointer at `obj`, sequentially consistent. */
static inline void _Py_atomic_store_ptr(void *obj, void *value) {
    _PY_STORE_(void *, _PY_PTR_TO_CHANGE_(obj), value, seq_cst);
}
/** Stores a pointer at `obj`, relaxed. */
static inline void _Py_atomic_store_ptr_relaxed(void *obj, void *value) {
    _PY_STORE_(void *, _PY_PTR_TO_CHANGE_(obj), value, relaxed);
}
/** Stores a pointer at `obj`, with release order. */
static inline void _Py_atomic_store_ptr_release(void *obj, void *value) {
    _PY_STORE_(void *, _PY_PTR_TO_CHANGE_(obj), value, release);
}
/** Stores a pointer at `obj`; returns the one that was there. */
static inline void *_Py_atomic_exchange_ptr(void *obj, void *value) {
    return _PY_RMW_(void *, _PY_PTR_TO_CHANGE_(obj), value, exchange);
}
/** Stores `desired` at `obj` if the pointer at `expected` is there: 1. Else 0,
 * with the pointer seen at `expected`. */
static inline int _Py_atomic_compare_exchange_ptr(void *obj, void *expected,
                                                  void *desired) {
    return _PY_CAS_(void *, _PY_PTR_TO_CHANGE_(obj),
                    _PY_PTR_TO_CHANGE_(expected), desired);
}

/** A sequentially consistent fence. */
static inline void _Py_atomic_fence_seq_cst(void) { _PY_FENCE_(seq_cst); }
/** An acquire fence. */
static inline void _Py_atomic_fence_acquire(void) { _PY_FENCE_(acquire); }
/** A release fence. */
static inline void _Py_atomic_fence_release(void) { _PY_FENCE_(release); }

#ifdef __cplusplus
}
#endif
#endif /* _PY_HAVE_ATOMICS_ */

#endif /* PYTSTATE_ATOMICS_H */
