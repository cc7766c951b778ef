/* Stands in for CPython's internal header of the same name. */
#ifndef Py_INTERNAL_PARKING_LOT_H
#define Py_INTERNAL_PARKING_LOT_H
#include "../../pytstate/internal.h"
#endif /* Py_INTERNAL_PARKING_LOT_H */
