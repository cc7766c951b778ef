/* The clocks, and times as seconds. */
#include <Python.h>

#include "common.h"

#if PY_VERSION_HEX >= V3_13
TEST("the monotonic clock does not go back, attached or raw") {
    PyTime_t last, now;
    begin();
    CHECK_INT_EQ(PyTime_Monotonic(&last), 0);
    for (int i = 0; i < 10000; i++) {
#if PY_VERSION_HEX >= V3_14
        CHECK_INT_EQ(i & 1 ? PyTime_MonotonicRaw(&now) : PyTime_Monotonic(&now),
                     0);
#else
        CHECK_INT_EQ(PyTime_Monotonic(&now), 0);
#endif
        CHECK(now >= last);
        last = now;
    }
    finish();
}

TEST("the performance counter does not go back") {
    PyTime_t last, now;
    begin();
    CHECK_INT_EQ(PyTime_PerfCounter(&last), 0);
    for (int i = 0; i < 10000; i++) {
        CHECK_INT_EQ(PyTime_PerfCounter(&now), 0);
        CHECK(now >= last);
        last = now;
    }
    finish();
}

TEST("the system's clock agrees with time()") {
    PyTime_t now = 0;
    begin();
    const time_t before = time(NULL);
    CHECK_INT_EQ(PyTime_Time(&now), 0);
    const time_t after = time(NULL);
    /* time() may read the clock of the last tick. */
    CHECK(now / 1000000000 >= before - 1 && now / 1000000000 <= after + 1);
    finish();
}

TEST("a time as seconds is rounded to the nearest double") {
    begin();
    CHECK(PyTime_AsSecondsDouble(0) == 0.0);
    CHECK(PyTime_AsSecondsDouble(1500000000) == 1.5);
    CHECK(PyTime_AsSecondsDouble(-250000000) == -0.25);
    CHECK(PyTime_AsSecondsDouble(1) == 1e-9);
    CHECK(PyTime_AsSecondsDouble(PyTime_MAX) == 9223372036.854775807);
    CHECK(PyTime_AsSecondsDouble(9223372036000000000) == 9223372036.0);
    finish();
}
#else
TEST("clocks in the public API") { SKIP("CPython has them from 3.13 on"); }
#endif

#if PY_VERSION_HEX >= V3_14
static void *read_detached(void *failed) {
    PyTime_t now = 0;
    *(int *)failed = PyTime_MonotonicRaw(&now) != 0 || now == 0 ||
                     PyTime_PerfCounterRaw(&now) != 0 ||
                     PyTime_TimeRaw(&now) != 0 || now == 0;
    return NULL;
}

TEST("the raw clocks need no thread state") {
    int failed = 1;
    pthread_t thread;
    CHECK_INT_EQ(pthread_create(&thread, NULL, read_detached, &failed), 0);
    CHECK_INT_EQ(pthread_join(thread, NULL), 0);
    CHECK_INT_EQ(failed, 0);
}
#endif
