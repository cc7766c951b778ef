/* Joins that wait for each other: the one that closes the cycle is refused. */
#include "host.h"

enum { MOST = 3 };

/* Threads 0 .. size-1; each joins the next one, and the last joins the first
 * once all others have entered their joins. */
static struct {
    int size;
    PyThreadHandle *handles[MOST];
    PyEvent all_started, refused;
    atomic_int joining;
    int results[MOST], timed, raised;
    char text[512];
} ring;

static int numbers[MOST] = {0, 1, 2};

static void count_joining(const char *point, void *arg) {
    (void)point;
    (void)arg;
    atomic_fetch_add(&ring.joining, 1);
}

static void join_next(void *arg) {
    int me = *(int *)arg, last = ring.size - 1;
    PyEvent_Wait(&ring.all_started);
    if (me != last) {
        ring.results[me] = PyThreadHandle_Join(ring.handles[me + 1], FOREVER);
        return;
    }
    WAIT_DETACHED(atomic_load(&ring.joining) == last);
    ring.timed = PyThreadHandle_Join(ring.handles[0], 1 * MS);
    ring.results[me] = PyThreadHandle_Join(ring.handles[0], FOREVER);
    ring.raised = PyErr_Occurred() == PyExc_RuntimeError;
    snprintf(ring.text, sizeof ring.text, "%s", PyTState_ErrMessage());
    PyErr_Clear();
    _PyEvent_Notify(&ring.refused);
}

static void run_ring(int size) {
    static const char *const names[MOST] = {"ann", "bob", "cat"};
    begin();
    CHECK_INT_EQ(PyTState_Sync_Hook("join.waiting", count_joining, NULL), 0);
    ring.size = size;
    for (int i = 0; i < size; i++) {
        ring.handles[i] = start(join_next, &numbers[i]);
        CHECK_INT_EQ(PyThreadHandle_SetName(ring.handles[i], names[i]), 0);
    }
    _PyEvent_Notify(&ring.all_started);
    /* No join of this thread is counted before. */
    CHECK_INT_EQ(PyEvent_WaitTimed(&ring.refused, LIMIT, 1), 1);
    for (int i = 0; i < size; i++)
        join(ring.handles[i]);
    CHECK_INT_EQ(ring.timed, 1);
    CHECK_INT_EQ(ring.results[size - 1], -1);
    CHECK_INT_EQ(ring.raised, 1);
    for (int i = 0; i < size - 1; i++)
        CHECK_INT_EQ(ring.results[i], 0);
}

static void end_ring(void) {
    for (int i = 0; i < ring.size; i++)
        PyThreadHandle_Decref(ring.handles[i]);
    finish();
}

TEST("of two threads that join each other the second is refused, and the "
     "first joins it") {
    run_ring(2);
    CHECK_STR_CONTAINS(ring.text, "cannot join thread 'ann' (tid ");
    CHECK_STR_CONTAINS(ring.text, "): it waits to join thread 'bob' (tid ");
    CHECK_STR_CONTAINS(ring.text, "), the calling thread");
    end_ring();
}

TEST("the message of a refused join names every thread of the cycle") {
    run_ring(3);
    CHECK_STR_CONTAINS(ring.text, "cannot join thread 'ann' (tid ");
    CHECK_STR_CONTAINS(ring.text, "): it waits to join thread 'bob' (tid ");
    CHECK_STR_CONTAINS(ring.text, "), which waits to join thread 'cat' (tid ");
    CHECK_STR_CONTAINS(ring.text, "), the calling thread");
    end_ring();
}

/* ---- No cycle --------------------------------------------------------- */

static void join_arg(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), 0);
}

TEST("threads that join one thread, some through others, are no cycle") {
    PyEvent go = {0};
    begin();
    PyThreadHandle *last = start(wait_for_event, &go);
    PyThreadHandle *middle = start(join_arg, last);
    PyThreadHandle *first = start(join_arg, middle);
    PyThreadHandle *other = start(join_arg, last);
    _PyEvent_Notify(&go);
    CHECK_INT_EQ(PyThreadHandle_Join(first, FOREVER), 0);
    join_and_drop(other);
    join_and_drop(first);
    join_and_drop(middle);
    join_and_drop(last);
    finish();
}
