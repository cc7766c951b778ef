/* The atomic operations of <Python.h>, which CPython has from 3.13 on. */
#include <Python.h>

#include "common.h"

#if PY_VERSION_HEX >= V3_13

/* Every operation that all types of numbers have. */
#define CHECK_WORD(name, type)                                                \
    do {                                                                      \
        type word = 5, seen = 6;                                              \
        CHECK_INT_EQ(_Py_atomic_load_##name(&word), 5);                       \
        _Py_atomic_store_##name(&word, 7);                                    \
        CHECK_INT_EQ(_Py_atomic_load_##name##_relaxed(&word), 7);             \
        CHECK_INT_EQ(_Py_atomic_exchange_##name(&word, 9), 7);                \
        CHECK_INT_EQ(_Py_atomic_add_##name(&word, 2), 9);                     \
        CHECK_INT_EQ(_Py_atomic_compare_exchange_##name(&word, &seen, 1), 0); \
        CHECK_INT_EQ(seen, 11);                                               \
        CHECK_INT_EQ(_Py_atomic_compare_exchange_##name(&word, &seen, 1), 1); \
        CHECK_INT_EQ(word, 1);                                                \
        CHECK_INT_EQ(seen, 11);                                               \
    } while (0)

TEST("numbers of every width are loaded, stored, exchanged and added to") {
    CHECK_WORD(int, int);
    CHECK_WORD(int8, int8_t);
    CHECK_WORD(int16, int16_t);
    CHECK_WORD(int32, int32_t);
    CHECK_WORD(int64, int64_t);
    CHECK_WORD(intptr, intptr_t);
    CHECK_WORD(uint8, uint8_t);
    CHECK_WORD(uint16, uint16_t);
    CHECK_WORD(uint32, uint32_t);
    CHECK_WORD(uint64, uint64_t);
    CHECK_WORD(uintptr, uintptr_t);
}

TEST("bits are set and cleared, and the old value is returned") {
    uint8_t byte = 0x0f;
    uint64_t word = 1;
    CHECK_INT_EQ(_Py_atomic_or_uint8(&byte, 0x30), 0x0f);
    CHECK_INT_EQ(_Py_atomic_and_uint8(&byte, 0x18), 0x3f);
    CHECK_INT_EQ(byte, 0x18);
    CHECK_UINT_EQ(_Py_atomic_or_uint64(&word, 1ull << 63), 1);
    CHECK_UINT_EQ(_Py_atomic_and_uint64(&word, 1ull << 63), (1ull << 63) | 1);
    CHECK_UINT_EQ(word, 1ull << 63);
}

TEST("pointers are loaded, stored and exchanged") {
    int one, two;
    void *pointer = &one, *expected = &two;
    CHECK_PTR_EQ(_Py_atomic_load_ptr(&pointer), &one);
    CHECK_INT_EQ(_Py_atomic_compare_exchange_ptr(&pointer, &expected, NULL), 0);
    CHECK_PTR_EQ(expected, &one);
    CHECK_INT_EQ(_Py_atomic_compare_exchange_ptr(&pointer, &expected, &two), 1);
    CHECK_PTR_EQ(_Py_atomic_exchange_ptr(&pointer, &one), &two);
    _Py_atomic_store_ptr_release(&pointer, &two);
    CHECK_PTR_EQ(_Py_atomic_load_ptr_acquire(&pointer), &two);
    _Py_atomic_store_ptr_relaxed(&pointer, NULL);
    CHECK_NULL(_Py_atomic_load_ptr_relaxed(&pointer));
}

static uint32_t counter;

static void count(void *unused) {
    (void)unused;
    for (int i = 0; i < 100000; i++)
        _Py_atomic_add_uint32(&counter, 1);
}

TEST("no addition of four threads is lost") {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, count, NULL);
    peers_start(&peers);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(_Py_atomic_load_uint32(&counter), 400000);
}

/* What a writer stored before the flag is visible to a thread that sees the
 * flag. */
static int flag, message;

static void hear(void *unused) {
    (void)unused;
    while (_Py_atomic_load_int_acquire(&flag) == 0)
        sched_yield();
    CHECK_INT_EQ(message, 42);
}

TEST("a release store publishes what came before it") {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 2, hear, NULL);
    peers_start(&peers);
    message = 42;
    _Py_atomic_store_int_release(&flag, 1);
    peers_join(&peers, 10000);
    _Py_atomic_fence_seq_cst();
    _Py_atomic_fence_release();
}

#else
TEST("atomic operations in <Python.h>") {
    SKIP("CPython has them from 3.13 on");
}
#endif
