/* The raw memory functions. */
#include <Python.h>

#include "common.h"

TEST("raw memory needs no runtime and no thread state") {
    char *block = PyMem_RawMalloc(5);
    CHECK_PTR_NE(block, NULL);
    memcpy(block, "four", 5);
    block = PyMem_RawRealloc(block, 1 << 16);
    CHECK_PTR_NE(block, NULL);
    CHECK_STR_EQ(block, "four");
    PyMem_RawFree(block);
    PyMem_RawFree(NULL);
}

TEST("an array is zeroed, and one that does not fit a size is refused") {
    int *numbers = PyMem_RawCalloc(100, sizeof *numbers);
    CHECK_PTR_NE(numbers, NULL);
    for (int i = 0; i < 100; i++) {
        CHECK_INT_EQ(numbers[i], 0);
    }
    PyMem_RawFree(numbers);
    CHECK_NULL(PyMem_RawCalloc(SIZE_MAX / 2, 3));
}

TEST("a size of 0 gives a block of its own") {
    void *one = PyMem_RawMalloc(0), *other = PyMem_RawCalloc(0, 7);
    CHECK_PTR_NE(one, NULL);
    CHECK_PTR_NE(other, NULL);
    CHECK_PTR_NE(one, other);
    one = PyMem_RawRealloc(one, 0);
    CHECK_PTR_NE(one, NULL);
    PyMem_RawFree(one);
    PyMem_RawFree(other);
    void *fresh = PyMem_RawRealloc(NULL, 10);
    CHECK_PTR_NE(fresh, NULL);
    PyMem_RawFree(fresh);
}
