/* Stands in for CPython's <ceval.h>: the GIL, pending calls and recursion. */
#ifndef Py_COMPAT_CEVAL_H
#define Py_COMPAT_CEVAL_H
#include "Python.h"
#endif /* Py_COMPAT_CEVAL_H */
