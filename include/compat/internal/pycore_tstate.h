/* Stands in for CPython's internal header of the same name: all internal names
 * that this library has. */
#ifndef Py_INTERNAL_TSTATE_H
#define Py_INTERNAL_TSTATE_H
#include "../Python.h"
#include "pytstate/internal.h"
#endif /* Py_INTERNAL_TSTATE_H */
