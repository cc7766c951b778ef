/* Stands in for CPython's <critical_section.h>: critical sections. */
#ifndef Py_COMPAT_CRITICAL_SECTION_H
#define Py_COMPAT_CRITICAL_SECTION_H
#include "Python.h"
#endif /* Py_COMPAT_CRITICAL_SECTION_H */
