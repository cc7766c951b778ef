/* Thread-specific storage: Py_tss_t and the older integer keys (S-TH-04). */
#include "host.h"

#include <stdlib.h>

static Py_tss_t key = Py_tss_NEEDS_INIT;
static int values[64];

TEST("a key has CPython's size, and zeroes are a key that is not created") {
    Py_tss_t zeroes;
    memset(&zeroes, 0, sizeof zeroes);
    CHECK_UINT_EQ(sizeof(Py_tss_t), sizeof(int) + sizeof(NATIVE_TSS_KEY_T));
    CHECK_INT_EQ(PyThread_tss_is_created(&zeroes), 0);
    CHECK_INT_EQ(PyThread_tss_create(&zeroes), 0);
    CHECK_INT_NE(zeroes._is_initialized, 0);
    PyThread_tss_delete(&zeroes);
    CHECK_INT_EQ(zeroes._is_initialized, 0);
}

TEST("a key that is not created has no value and takes none") {
    CHECK_NULL(PyThread_tss_get(&key));
    CHECK_INT_NE(PyThread_tss_set(&key, values), 0);
    CHECK_NULL(PyThread_tss_get(&key));
    PyThread_tss_delete(&key);
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    CHECK_INT_EQ(PyThread_tss_set(&key, values), 0);
    PyThread_tss_delete(&key);
    CHECK_NULL(PyThread_tss_get(&key));
    CHECK_INT_NE(PyThread_tss_set(&key, values), 0);
}

TEST("a key that is created again has forgotten its values") {
    for (int i = 0; i < 3000; i++) {
        CHECK_INT_EQ(PyThread_tss_create(&key), 0);
        CHECK_NULL(PyThread_tss_get(&key));
        CHECK_INT_EQ(PyThread_tss_set(&key, values), 0);
        PyThread_tss_delete(&key);
    }
}

static Py_tss_t shared[64];

static void create_and_use(void *all) {
    for (int i = 0; i < 64; i++) {
        peers_meet(all);
        CHECK_INT_EQ(PyThread_tss_create(&shared[i]), 0);
        CHECK_NULL(PyThread_tss_get(&shared[i]));
        CHECK_INT_EQ(PyThread_tss_set(&shared[i], &values[i]), 0);
        peers_meet(all);
        /* Another key would have no value here. */
        CHECK_PTR_EQ(PyThread_tss_get(&shared[i]), &values[i]);
    }
}

TEST("threads that create the same key at once get the same one") {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 6, create_and_use, &peers);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    for (int i = 0; i < 64; i++) {
        CHECK_NULL(PyThread_tss_get(&shared[i]));
        PyThread_tss_delete(&shared[i]);
    }
}

/* How many keys the OS still gives, up to `most`; they are kept. */
static int take_keys(Py_tss_t *keys, int most) {
    int n = 0;
    while (n < most && PyThread_tss_create(&keys[n]) == 0)
        n++;
    return n;
}

TEST("when the OS has no key left, creating fails and works again later") {
    enum { MOST = 4096 };
    static Py_tss_t keys[MOST];
    int n = take_keys(keys, MOST);
    if (n == MOST)
        SKIP("this OS has more keys than anybody asks for");
    CHECK_INT_GT(n, 0);
    CHECK_INT_EQ(PyThread_tss_create(&keys[n]), -1);
    CHECK_INT_EQ(PyThread_tss_is_created(&keys[n]), 0);
    CHECK_INT_EQ(PyThread_create_key(), -1);
    PyThread_tss_delete(&keys[0]);
    CHECK_INT_EQ(PyThread_tss_create(&keys[n]), 0);
    for (int i = 1; i <= n; i++)
        PyThread_tss_delete(&keys[i]);
    /* None is lost: as many fit as before. */
    CHECK_INT_EQ(take_keys(keys, MOST), n);
}

TEST("a key on the heap begins not created, and is deleted when it is freed") {
    enum { MOST = 4096 };
    PyThread_tss_free(NULL);
    for (int i = 0; i < MOST; i++) {
        Py_tss_t *one = PyThread_tss_alloc();
        CHECK_NOT_NULL(one);
        CHECK_INT_EQ(PyThread_tss_is_created(one), 0);
        if (PyThread_tss_create(one) != 0)
            FAIL("no key left after %d: freeing leaks them", i);
        PyThread_tss_free(one);
    }
    PyThread_tss_free(PyThread_tss_alloc());
}

TEST("a fork child keeps the survivor's values, and can make keys") {
    begin();
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    CHECK_INT_EQ(PyThread_tss_set(&key, values), 0);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        Py_tss_t another = Py_tss_NEEDS_INIT;
        PyOS_AfterFork_Child();
        PyThread_ReInitTLS();
        CHECK_PTR_EQ(PyThread_tss_get(&key), values);
        CHECK_INT_EQ(PyThread_tss_create(&another), 0);
        CHECK_INT_EQ(PyThread_tss_set(&another, &values[1]), 0);
        CHECK_PTR_EQ(PyThread_tss_get(&another), &values[1]);
        CHECK_PTR_EQ(PyThread_tss_get(&key), values);
        test_child_done(Py_FinalizeEx());
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 0);
    CHECK_PTR_EQ(PyThread_tss_get(&key), values);
    finish();
}

TEST("keys need no runtime, and outlive one") {
    CHECK_INT_EQ(PyThread_tss_create(&key), 0);
    CHECK_INT_EQ(PyThread_tss_set(&key, values), 0);
    begin();
    CHECK_PTR_EQ(PyThread_tss_get(&key), values);
    finish();
    CHECK_PTR_EQ(PyThread_tss_get(&key), values);
}

/* ---- Integer keys ------------------------------------------------------ */

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
    peers_join(&peers, LIMIT_MS);
    CHECK_PTR_EQ(PyThread_get_key_value(number), &values[1]);
    PyThread_delete_key(number);
    CHECK_NULL(PyThread_get_key_value(number));
    CHECK_INT_EQ(PyThread_set_key_value(number, &values[1]), -1);
}

TEST("a number that is no key is refused") {
    static const int none[] = {-1, -2, 1 << 20, 0x7fffffff};
    for (int i = 0; i < 4; i++) {
        CHECK_NULL(PyThread_get_key_value(none[i]));
        CHECK_INT_EQ(PyThread_set_key_value(none[i], values), -1);
        PyThread_delete_key_value(none[i]);
        PyThread_delete_key(none[i]);
    }
}

/* ---- NULL --------------------------------------------------------------- */

TEST("a key may not be NULL") {
    EXPECT_FATAL("PyThread_tss_is_created", "'key' must not be NULL") {
        PyThread_tss_is_created(NULL);
    }
    EXPECT_FATAL("PyThread_tss_create", "'key'") { PyThread_tss_create(NULL); }
    EXPECT_FATAL("PyThread_tss_delete", "'key'") { PyThread_tss_delete(NULL); }
    EXPECT_FATAL("PyThread_tss_set", "'key'") {
        PyThread_tss_set(NULL, values);
    }
    EXPECT_FATAL("PyThread_tss_get", "'key'") { PyThread_tss_get(NULL); }
}
