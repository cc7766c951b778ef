/* Thread identities and thread-specific storage, on both sides. */
#include <Python.h>

#include "harness.h"

static void store_ident(void *arg) {
    *(unsigned long *)arg = PyThread_get_thread_ident();
}

TEST("a thread's identity is not zero, is not the invalid one and stays") {
    unsigned long first = PyThread_get_thread_ident();
    CHECK_UINT_NE(first, 0);
    CHECK_UINT_NE(first, PYTHREAD_INVALID_THREAD_ID);
    CHECK_UINT_EQ(PyThread_get_thread_ident(), first);
}

TEST("two threads that run at the same time have different identities") {
    unsigned long other = 0;
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, store_ident, &other);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_UINT_NE(other, 0);
    CHECK_UINT_NE(other, PyThread_get_thread_ident());
}

TEST("the native identity is the kernel's") {
    CHECK_UINT_EQ(PyThread_get_thread_native_id(),
                  (unsigned long)test_native_id());
}

static Py_tss_t key = Py_tss_NEEDS_INIT;

static void use_key(void *arg) {
    CHECK_NULL(PyThread_tss_get(&key));
    CHECK_INT_EQ(PyThread_tss_set(&key, arg), 0);
    CHECK_PTR_EQ(PyThread_tss_get(&key), arg);
}

TEST("a TSS key holds one value per thread and is created once") {
    int mine, others;
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(PyThread_tss_is_created(&key), 0);
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    CHECK_INT_NE(PyThread_tss_is_created(&key), 0);
    CHECK_INT_EQ(PyThread_tss_set(&key, &mine), 0);
    peers_add(&peers, 2, use_key, &others);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_PTR_EQ(PyThread_tss_get(&key), &mine);
    PyThread_tss_delete(&key);
    CHECK_INT_EQ(PyThread_tss_is_created(&key), 0);
}

TEST("asking for the current state while detached is fatal") {
    EXPECT_ABORT("Fatal Python error: PyThreadState_Get: ") {
        PyThreadState_Get();
    }
}
