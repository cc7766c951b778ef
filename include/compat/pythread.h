/* Stands in for CPython's <pythread.h>: threads, locks and thread-specific
 * storage. */
#ifndef Py_COMPAT_PYTHREAD_H
#define Py_COMPAT_PYTHREAD_H
#include "Python.h"
#endif /* Py_COMPAT_PYTHREAD_H */
