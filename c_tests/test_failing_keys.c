/* An OS that has no keys of thread-specific storage left to give. */
#include "host.h"

#include "failing_os.h"

#define NEEDS_FAILING_OS                                             \
    do {                                                             \
        if (!OS_CAN_FAIL)                                            \
            SKIP("the OS cannot be made to fail under a sanitizer"); \
    } while (0)

static void check_uninitialized(void) {
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

/* ---- Keys of thread-specific storage ---------------------------------- */

static pthread_key_t keys[2000];
static int n_keys;

static void take_all_keys(void) {
    while (pthread_key_create(&keys[n_keys], NULL) == 0)
        n_keys++;
    CHECK_INT_GT(n_keys, 100);
}

static void give_keys_back(void) {
    while (n_keys > 0)
        CHECK_INT_EQ(pthread_key_delete(keys[--n_keys]), 0);
}

TEST("without keys thread-specific storage says so, and works the next time") {
    Py_tss_t key = Py_tss_NEEDS_INIT;
    begin();
    take_all_keys();
    for (int i = 0; i < 3; i++) {
        CHECK_INT_EQ(PyThread_tss_create(&key), -1);
        CHECK_INT_EQ(PyThread_tss_is_created(&key), 0);
        CHECK_INT_EQ(PyThread_tss_set(&key, &key), -1);
        CHECK_NULL(PyThread_tss_get(&key));
        CHECK_INT_EQ(PyThread_create_key(), -1);
    }
    give_keys_back();
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    CHECK_INT_EQ(PyThread_tss_set(&key, &key), 0);
    CHECK_PTR_EQ(PyThread_tss_get(&key), &key);
    PyThread_tss_delete(&key);
    finish();
}

TEST("without keys initialization fails with a status, and works the next "
     "time") {
    take_all_keys();
    for (int i = 0; i < 3; i++) {
        PyStatus status = PyTState_Initialize(NULL);
        CHECK(PyStatus_Exception(status));
        CHECK_STR_CONTAINS(status.err_msg, "key");
        check_uninitialized();
    }
    EXPECT_EXIT(1, "key") { Py_InitializeEx(0); }
    give_keys_back();
    begin();
    join_and_drop(start(do_nothing, NULL));
    finish();
}

TEST("without memory for a thread's value of a key, setting it says so") {
    NEEDS_FAILING_OS;
    Py_tss_t key = Py_tss_NEEDS_INIT;
    /* The C library has room for a few keys in every thread. */
    for (n_keys = 0; n_keys < 100; n_keys++)
        CHECK_INT_EQ(pthread_key_create(&keys[n_keys], NULL), 0);
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    fail_after(&fail_memory, 0, 1);
    CHECK_INT_NE(PyThread_tss_set(&key, &key), 0);
    fail_no_more(&fail_memory);
    CHECK_INT_EQ(fail_memory.failed, 1);
    CHECK_NULL(PyThread_tss_get(&key));
    CHECK_INT_EQ(PyThread_tss_set(&key, &key), 0);
    PyThread_tss_delete(&key);
    give_keys_back();
}

/* The library's own key comes behind those that every thread has room for:
 * with its memory refused, a thread's end is not seen. One spare state. */
static void begin_unseen(void) {
    for (n_keys = 0; n_keys < 100; n_keys++)
        CHECK_INT_EQ(pthread_key_create(&keys[n_keys], NULL), 0);
    begin();
    give_keys_back();
    PyThreadState *spare = PyThreadState_New(PyInterpreterState_Main());
    PyThreadState_Clear(spare);
    PyThreadState_Delete(spare);
}

static PyThreadState *unseen;

static void make_unseen(void) {
    fail_after(&fail_memory, 0, 1);
    unseen = PyThreadState_New(PyInterpreterState_Main());
    CHECK_INT_GT(fail_memory.failed, 0);
    fail_no_more(&fail_memory);
    CHECK_NOT_NULL(unseen);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), unseen);
}

static void *end_unseen(void *arg) {
    make_unseen();
    PyEval_RestoreThread(unseen);
    PyGILState_Release(PyGILState_Ensure());
    PyEval_SaveThread();
    return arg;
}

TEST("the end of a thread that the OS does not tell of does no harm") {
    NEEDS_FAILING_OS;
    const size_t size = 1 << 20;
    pthread_attr_t attributes;
    pthread_t thread;
    begin_unseen();
    /* Its thread-local block is in its stack, and gone with that. */
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(stack != MAP_FAILED);
    CHECK_INT_EQ(pthread_attr_init(&attributes), 0);
    CHECK_INT_EQ(pthread_attr_setstack(&attributes, stack, size), 0);
    CHECK_INT_EQ(pthread_create(&thread, &attributes, end_unseen, NULL), 0);
    WAIT_DETACHED(pthread_tryjoin_np(thread, NULL) == 0);
    CHECK_INT_EQ(munmap(stack, size), 0);
    PyThreadState_Clear(unseen);
    PyThreadState_Delete(unseen);
    finish();
}

static atomic_int step;

static void look_again(void *arg) {
    (void)arg;
    make_unseen();
    atomic_store(&step, 1);
    WAIT_UNTIL(atomic_load(&step) == 2, LIMIT_MS);
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), PyThreadState_Get());
    PyGILState_Release(token);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("a state deleted by another thread leaves the slot of such a thread, "
     "too") {
    NEEDS_FAILING_OS;
    struct peers peers = PEERS_INIT;
    begin_unseen();
    peers_add(&peers, 1, look_again, NULL);
    peers_start(&peers);
    WAIT_DETACHED(atomic_load(&step) == 1);
    PyThreadState_Clear(unseen);
    PyThreadState_Delete(unseen);
    /* The same block again, for this thread. */
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Main());
    CHECK_PTR_EQ(other, unseen);
    atomic_store(&step, 2);
    join_peers(&peers);
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    finish();
}
