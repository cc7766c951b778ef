/* Stands in for CPython's <pytypedefs.h>: names of types. */
#ifndef Py_COMPAT_PYTYPEDEFS_H
#define Py_COMPAT_PYTYPEDEFS_H
#include "Python.h"
#endif /* Py_COMPAT_PYTYPEDEFS_H */
