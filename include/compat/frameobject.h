/* Stands in for CPython's <frameobject.h>: nothing beyond <Python.h>, since
 * there are no frames. */
#ifndef Py_COMPAT_FRAMEOBJECT_H
#define Py_COMPAT_FRAMEOBJECT_H
#include "Python.h"
#endif /* Py_COMPAT_FRAMEOBJECT_H */
