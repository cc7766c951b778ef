/* Stands in for CPython's <pylifecycle.h>: initialization and finalization. */
#ifndef Py_COMPAT_PYLIFECYCLE_H
#define Py_COMPAT_PYLIFECYCLE_H
#include "Python.h"
#endif /* Py_COMPAT_PYLIFECYCLE_H */
