/* Stands in for CPython's <structmember.h>: nothing beyond <Python.h>, since
 * there are no objects. */
#ifndef Py_COMPAT_STRUCTMEMBER_H
#define Py_COMPAT_STRUCTMEMBER_H
#include "Python.h"
#endif /* Py_COMPAT_STRUCTMEMBER_H */
