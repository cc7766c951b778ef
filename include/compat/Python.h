/* Stands in for CPython's <Python.h>, so that C written for its thread API
 * compiles unmodified: cc -Iinclude/compat -Iinclude ... -lpytstate
 *
 * As in CPython, the internal names come only with Py_BUILD_CORE. */
#ifndef Py_PYTHON_H
#define Py_PYTHON_H

/* What <Python.h> brings of the standard library. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#ifndef _WIN32
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>
#endif

#include "pyconfig.h"
#include "pytstate.h"
#include "pytstate/atomics.h"
#if defined(Py_BUILD_CORE)
#include "pytstate/internal.h"
#endif

/* What code for <Python.h> expects of its small macros. */
#define PyAPI_FUNC(type) extern type
#define PyAPI_DATA(type) extern type
#define Py_CHARMASK(c) ((unsigned char)((c)&0xff))
#define Py_STRINGIFY_(x) #x
#define Py_STRINGIFY(x) Py_STRINGIFY_(x)
#define Py_MIN(x, y) (((x) > (y)) ? (y) : (x))
#define Py_MAX(x, y) (((x) > (y)) ? (x) : (y))
#define Py_ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/** A size with a sign. */
typedef ptrdiff_t Py_ssize_t;
#define PY_SSIZE_T_MAX PTRDIFF_MAX
#define PY_SSIZE_T_MIN PTRDIFF_MIN
#define SIZEOF_VOID_P (UINTPTR_MAX > 0xffffffffUL ? 8 : 4)
#define PY_FORMAT_SIZE_T "z"

/** Threads can be started. */
#define Py_CAN_START_THREADS 1

/** The longest and the shortest PyTime_t. */
#define PyTime_MIN INT64_MIN
#define PyTime_MAX INT64_MAX

/** The program never comes here: fatal if it does. */
#define Py_UNREACHABLE() \
    _Py_FatalErrorFunc(__func__, "Unreachable C code path reached")
/** Marks a declaration that new code should not use. */
#if defined(__GNUC__)
#define Py_DEPRECATED(version) __attribute__((__deprecated__))
#define Py_ALWAYS_INLINE __attribute__((always_inline))
#define Py_NO_INLINE __attribute__((noinline))
#else
#define Py_DEPRECATED(version)
#define Py_ALWAYS_INLINE
#define Py_NO_INLINE
#endif
#define Py_NO_RETURN _Py_NO_RETURN
#define Py_LOCAL(type) static type
#define Py_LOCAL_INLINE(type) static inline type

/** Marks a parameter that the function does not use. */
#if defined(__GNUC__)
#define Py_UNUSED(name) _unused_##name __attribute__((unused))
#else
#define Py_UNUSED(name) _unused_##name
#endif

/* Counting references: through the host's hooks (PyTState_ObjectHooks), on an
 * attached thread. */
#define Py_INCREF(op) Py_IncRef((PyObject *)(op))
#define Py_DECREF(op) Py_DecRef((PyObject *)(op))
#define Py_XINCREF(op) Py_IncRef((PyObject *)(op))
#define Py_XDECREF(op) Py_DecRef((PyObject *)(op))
/** Empties a variable before it drops the reference: a destructor that looks at
 * the variable finds NULL. */
#define Py_CLEAR(op)                          \
    do {                                      \
        PyObject *_py_old = (PyObject *)(op); \
        if (_py_old != NULL) {                \
            (op) = NULL;                      \
            Py_DecRef(_py_old);               \
        }                                     \
    } while (0)

#ifdef __cplusplus
extern "C" {
#endif
/** One more reference to an object, which is returned. */
static inline PyObject *Py_NewRef(PyObject *o) {
    Py_IncRef(o);
    return o;
}
/** Py_NewRef() for an object that may be NULL. */
static inline PyObject *Py_XNewRef(PyObject *o) { return Py_NewRef(o); }

/** PyErr_SetString() with a text made as printf() makes it; the formats that
 * print objects are not known. Returns NULL. A text longer than 511 bytes is
 * cut. */
static inline PyObject *PyErr_FormatV(PyObject *exception, const char *format,
                                      va_list arguments) {
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    PyErr_SetString(exception, text);
    return NULL;
}
/** PyErr_FormatV() with the arguments themselves. */
static inline PyObject *PyErr_Format(PyObject *exception, const char *format,
                                     ...) {
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(exception, format, arguments);
    va_end(arguments);
    return NULL;
}
#ifdef __cplusplus
}
#endif

#endif /* Py_PYTHON_H */
