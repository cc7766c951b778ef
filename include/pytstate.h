/* pytstate: CPython's thread-state API as a library of its own.
 * Generated from src/ by `make header`; not edited by hand. */
/* clang-format off */
#ifndef PYTSTATE_H
#define PYTSTATE_H

#include <stddef.h>
#include <stdint.h>

/** This library's version. */
#define PYTSTATE_VERSION "0.1.0"
#define PYTSTATE_VERSION_HEX 0x00010000

/** The CPython API that these headers mirror. */
#define PY_MAJOR_VERSION 3
#define PY_MINOR_VERSION 15
#define PY_MICRO_VERSION 0
#define PY_VERSION "3.15.0"
#define PY_VERSION_HEX 0x030F0000

/** Before a function that never comes back. */
#if defined(__cplusplus)
#define _Py_NO_RETURN [[noreturn]]
#else
#define _Py_NO_RETURN _Noreturn
#endif

#ifdef __cplusplus
extern "C" {
#endif



#ifdef __cplusplus
}
#endif

#include "pytstate/macros.h"

#endif /* PYTSTATE_H */
