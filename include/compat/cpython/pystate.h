/* Stands in for CPython's <cpython/pystate.h>:
 * thread and interpreter states. */
#ifndef Py_COMPAT_CPYTHON_PYSTATE_H
#define Py_COMPAT_CPYTHON_PYSTATE_H
#include "../Python.h"
#endif /* Py_COMPAT_CPYTHON_PYSTATE_H */
