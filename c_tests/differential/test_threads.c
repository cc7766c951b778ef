/* Plain threads, their stacks, and thread-specific storage. */
#include <Python.h>

#include <limits.h>

#include "common.h"

/* The old keys are deprecated there, not here. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

struct seen {
    atomic_ulong ident;
    atomic_int stateless;
    struct latch done;
};

static void look(void *arg) {
    struct seen *seen = arg;
    atomic_store(&seen->ident, PyThread_get_thread_ident());
    atomic_store(&seen->stateless, PyThreadState_GetUnchecked() == NULL);
    latch_arrive(&seen->done);
}

TEST("a new thread has the identity it was started with, and no state") {
    struct seen seen = {.done = LATCH_INIT(1)};
    begin();
    PyThreadState *save = PyEval_SaveThread();
    unsigned long ident = PyThread_start_new_thread(look, &seen);
    CHECK_UINT_NE(ident, PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_EQ(latch_wait(&seen.done, 10000), 1);
    CHECK_UINT_EQ(atomic_load(&seen.ident), ident);
    CHECK_INT_EQ(atomic_load(&seen.stateless), 1);
    PyEval_RestoreThread(save);
    finish();
}

static atomic_size_t measured;
static struct latch was_measured = LATCH_INIT(1);

static void measure(void *unused) {
    (void)unused;
    pthread_attr_t attributes;
    void *low;
    size_t size;
    CHECK_INT_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_INT_EQ(pthread_attr_getstack(&attributes, &low, &size), 0);
    pthread_attr_destroy(&attributes);
    atomic_store(&measured, size);
    latch_arrive(&was_measured);
}

TEST("the stack of a new thread is what its interpreter asks for") {
    /* So small that the C library does not take a usual one it has left. */
    const size_t wanted = (size_t)1 << 20;
    begin();
    CHECK_UINT_EQ(PyThread_get_stacksize(), 0);
    CHECK_INT_EQ(PyThread_set_stacksize(wanted), 0);
    CHECK_UINT_EQ(PyThread_get_stacksize(), wanted);
    CHECK_UINT_NE(PyThread_start_new_thread(measure, NULL),
                  PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_EQ(latch_wait(&was_measured, 10000), 1);
    CHECK_UINT_GT(atomic_load(&measured), wanted - 65536);
    CHECK_UINT_LT(atomic_load(&measured), wanted + 65536);
    finish();
}

TEST("a stack size is refused below 32 KiB, and 0 is always taken") {
    begin();
    CHECK_INT_EQ(PyThread_set_stacksize(1 << 20), 0);
    CHECK_INT_EQ(PyThread_set_stacksize(1), -1);
    CHECK_INT_EQ(PyThread_set_stacksize(32767), -1);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 1 << 20);
    CHECK_NULL(PyErr_Occurred());
    size_t least = (size_t)PTHREAD_STACK_MIN;
    CHECK_INT_EQ(PyThread_set_stacksize(least > 32768 ? least : 32768), 0);
    CHECK_INT_EQ(PyThread_set_stacksize(65537), 0);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 65537);
    CHECK_INT_EQ(PyThread_set_stacksize(0), 0);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 0);
    finish();
}

TEST("when the OS has no thread to give, that is said") {
    struct seen seen = {.done = LATCH_INIT(1)};
    begin();
    CHECK_INT_EQ(PyThread_set_stacksize((size_t)1 << 46), 0);
    CHECK_UINT_EQ(PyThread_start_new_thread(look, &seen),
                  PYTHREAD_INVALID_THREAD_ID);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyThread_set_stacksize(0), 0);
    CHECK_UINT_NE(PyThread_start_new_thread(look, &seen),
                  PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_EQ(latch_wait(&seen.done, 10000), 1);
    finish();
}

static pthread_key_t key;
static atomic_int destroyed, passed;

static void count_destroyed(void *value) {
    (void)value;
    atomic_store(&destroyed, 1);
}

static void (*volatile end_thread)(void) = PyThread_exit_thread;

__attribute__((noinline)) static void go_down(int frames) {
    volatile char room[256];
    room[0] = (char)frames;
    if (frames > 0)
        go_down(frames - 1);
    else
        end_thread();
    atomic_fetch_add(&passed, 1 + room[0]);
}

static void leaves(void *unused) {
    (void)unused;
    pthread_setspecific(key, &key);
    go_down(20);
}

TEST("a thread ends where it says so, and its destructors run") {
    PyThread_init_thread();
    pthread_key_create(&key, count_destroyed);
    CHECK_UINT_NE(PyThread_start_new_thread(leaves, NULL),
                  PYTHREAD_INVALID_THREAD_ID);
    WAIT_UNTIL(atomic_load(&destroyed), 10000);
    CHECK_INT_EQ(atomic_load(&passed), 0);
}

/* ---- Thread-specific storage ----------------------------------------------
 */

static int values[4];

TEST("a key that is deleted forgets its values, and can be created again") {
    Py_tss_t one = Py_tss_NEEDS_INIT;
    PyThread_tss_delete(&one);
    for (int i = 0; i < 3000; i++) {
        CHECK_INT_EQ(PyThread_tss_create(&one), 0);
        CHECK_NULL(PyThread_tss_get(&one));
        CHECK_INT_EQ(PyThread_tss_set(&one, values), 0);
        CHECK_PTR_EQ(PyThread_tss_get(&one), values);
        PyThread_tss_delete(&one);
        CHECK_INT_EQ(PyThread_tss_is_created(&one), 0);
    }
}

TEST("a key on the heap begins not created, and is deleted when it is freed") {
    PyThread_tss_free(NULL);
    for (int i = 0; i < 3000; i++) {
        Py_tss_t *one = PyThread_tss_alloc();
        CHECK_NOT_NULL(one);
        CHECK_INT_EQ(PyThread_tss_is_created(one), 0);
        CHECK_INT_EQ(PyThread_tss_create(one), 0);
        CHECK_INT_NE(PyThread_tss_is_created(one), 0);
        PyThread_tss_free(one);
    }
}

TEST("when the OS has no key left, creating fails") {
    enum { MOST = 4096 };
    static Py_tss_t keys[MOST];
    int n = 0;
    while (n < MOST && PyThread_tss_create(&keys[n]) == 0)
        n++;
    if (n == MOST)
        SKIP("this OS has more keys than anybody asks for");
    CHECK_INT_EQ(PyThread_tss_is_created(&keys[n]), 0);
    CHECK_INT_EQ(PyThread_create_key(), -1);
    PyThread_tss_delete(&keys[0]);
    CHECK_INT_EQ(PyThread_tss_create(&keys[n]), 0);
}

static int number;

static void has_its_own(void *value) {
    CHECK_NULL(PyThread_get_key_value(number));
    CHECK_INT_EQ(PyThread_set_key_value(number, value), 0);
    CHECK_PTR_EQ(PyThread_get_key_value(number), value);
    PyThread_delete_key_value(number);
    CHECK_NULL(PyThread_get_key_value(number));
}

TEST("an integer key holds one value per thread, the last one set") {
    number = PyThread_create_key();
    CHECK_INT_GE(number, 0);
    CHECK_NULL(PyThread_get_key_value(number));
    CHECK_INT_EQ(PyThread_set_key_value(number, &values[0]), 0);
    CHECK_INT_EQ(PyThread_set_key_value(number, &values[1]), 0);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, has_its_own, &values[2]);
    peers_start(&peers);
    peers_join(&peers, 10000);
    PyThread_ReInitTLS();
    CHECK_PTR_EQ(PyThread_get_key_value(number), &values[1]);
    PyThread_delete_key(number);
}
