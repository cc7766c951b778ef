// Stub of pybind11/detail/common.h: what gil_simple.h uses of it.
#pragma once
#include <Python.h>
#define PYBIND11_NAMESPACE pybind11
#define PYBIND11_NAMESPACE_BEGIN(name) namespace name {
#define PYBIND11_NAMESPACE_END(name) }
