/* Stands in for CPython's <pyerrors.h>: the error indicator. */
#ifndef Py_COMPAT_PYERRORS_H
#define Py_COMPAT_PYERRORS_H
#include "Python.h"
#endif /* Py_COMPAT_PYERRORS_H */
