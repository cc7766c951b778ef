// Stub of Ceph's log and assertion: what Gil.cc uses of them.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#define dout(level) \
    if (true) {     \
    } else          \
        std::cerr
#define dendl std::endl
#define ceph_assert(x)                                \
    do {                                              \
        if (!(x)) {                                   \
            fprintf(stderr, "ceph_assert: %s\n", #x); \
            abort();                                  \
        }                                             \
    } while (0)
