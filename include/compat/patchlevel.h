/* Stands in for CPython's <patchlevel.h>: the version of the API. */
#ifndef Py_COMPAT_PATCHLEVEL_H
#define Py_COMPAT_PATCHLEVEL_H
#include "pytstate.h"
#endif /* Py_COMPAT_PATCHLEVEL_H */
