/* Sync points: random sleeps, asked for by a call or by the environment. */
#include "harness.h"

#include <stdlib.h>

#include <pytstate.h>

#define MS INT64_C(1000000)

/* How long 200 arrivals take; 200 even draws from 0 to 1 ms need 100 ms. */
static int64_t time_of_200_arrivals(void) {
    int64_t begin = test_now_ns();
    for (int i = 0; i < 200; i++)
        PyTState_Sync_Point("my.point");
    return test_now_ns() - begin;
}

TEST("a perturbation makes arrivals slow until it is turned off") {
    CHECK_INT_EQ(PyTState_Sync_Perturb(7, 1000, MS), 0);
    int64_t slow = time_of_200_arrivals();
    CHECK_INT_GT(slow, 50 * MS);
    CHECK_INT_EQ(PyTState_Sync_Perturb(7, 100, MS), 0);
    int64_t tenth = time_of_200_arrivals();
    CHECK_INT_GT(tenth, MS);
    CHECK_INT_LT(tenth, slow);
    CHECK_INT_EQ(PyTState_Sync_Perturb(0, 1000, MS), 0);
    CHECK_INT_LT(time_of_200_arrivals(), tenth);
}

TEST("clearing ends a perturbation") {
    CHECK_INT_EQ(PyTState_Sync_Perturb(7, 1000, MS), 0);
    PyTState_Sync_Clear();
    CHECK_INT_LT(time_of_200_arrivals(), 50 * MS);
}

TEST("a perturbation with a number out of range is refused") {
    CHECK_INT_EQ(PyTState_Sync_Perturb(1, -1, MS), -1);
    CHECK_INT_EQ(PyTState_Sync_Perturb(1, 1001, MS), -1);
    CHECK_INT_EQ(PyTState_Sync_Perturb(1, 1000, -1), -1);
    CHECK_INT_LT(time_of_200_arrivals(), 50 * MS);
}

TEST("the environment perturbs a program that asks for nothing") {
    EXPECT_CHILD_EXIT(0) {
        setenv("PYTSTATE_PERTURB", "7:1000:1000", 1);
        CHECK_INT_GT(time_of_200_arrivals(), 50 * MS);
        PyTState_Sync_Clear(); /* goes back to what the environment asks */
        CHECK_INT_GT(time_of_200_arrivals(), 50 * MS);
        PyTState_Sync_Perturb(0, 0, 0);
        CHECK_INT_LT(time_of_200_arrivals(), 50 * MS);
    }
}

TEST("a value in the environment that makes no sense is reported") {
    EXPECT_EXIT(0, "PYTSTATE_PERTURB is ignored") {
        setenv("PYTSTATE_PERTURB", "7:1001:1000", 1);
        PyTState_Sync_Point("my.point");
        exit(0);
    }
    EXPECT_EXIT(0, "PYTSTATE_SYNC_LIMIT is ignored") {
        setenv("PYTSTATE_SYNC_LIMIT", "soon", 1);
        PyTState_Sync_Point("my.point");
        exit(0);
    }
}
