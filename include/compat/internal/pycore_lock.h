/* Stands in for CPython's internal header of the same name. */
#ifndef Py_INTERNAL_LOCK_H
#define Py_INTERNAL_LOCK_H
#include "../../pytstate/internal.h"
#endif /* Py_INTERNAL_LOCK_H */
