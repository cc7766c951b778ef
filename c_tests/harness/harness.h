/* A test program is one C file: cases in any number, no main().
 *
 *     #include "harness.h"
 *     #include <Python.h>
 *
 *     TEST("a fresh event is not set") {
 *         PyEvent event = {0};
 *         CHECK_INT_EQ(_PyEvent_IsSet(&event), 0);
 *     }
 *     TEST("a slow one", .limit_s = 60) { ... }
 *
 * Every case runs in a process of its own, in its own process group, with a
 * time limit (20 s unless the case says otherwise; TEST_LIMIT_SCALE in the
 * environment multiplies it). Checks are alive in every build, print both
 * values and end the case at once, from whichever thread they run in.
 *
 * ./program [-v] [--list] [--no-fork] [part-of-a-name ...]     prints TAP
 */
#ifndef PYTSTATE_TEST_HARNESS_H
#define PYTSTATE_TEST_HARNESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

/* ---- Cases ------------------------------------------------------------ */

struct test_case {
    const char *name;
    int limit_s;
    const char *file;
    int line;
    void (*body)(void);
    struct test_case *next;
};

void test_register(struct test_case *one);

/* Defines and registers a case. The sentence may be followed by designated
 * fields of struct test_case: TEST("sentence", .limit_s = 60) { ... } */
#define TEST(...) TEST_NUMBERED_(__COUNTER__, __VA_ARGS__)
#define TEST_NUMBERED_(n, ...) TEST_EXPANDED_(n, __VA_ARGS__)
#define TEST_EXPANDED_(n, ...)                                      \
    static void test_body_##n(void);                                \
    __attribute__((constructor)) static void test_enter_##n(void) { \
        static struct test_case one = {.file = __FILE__,            \
                                       .line = __LINE__,            \
                                       .body = test_body_##n,       \
                                       .name = __VA_ARGS__};        \
        test_register(&one);                                        \
    }                                                               \
    static void test_body_##n(void)

/* Ends the case as skipped; the reason is printed. */
#define SKIP(reason) test_skip(__FILE__, __LINE__, (reason))
/* First in a case about the GIL of the main interpreter: the suite also runs
 * with PYTHON_GIL=0 in the environment (make suite-nogil). */
#define NEEDS_GIL()                                  \
    do {                                             \
        const char *gil_ = getenv("PYTHON_GIL");     \
        if (gil_ != NULL && gil_[0] == '0')          \
            SKIP("the main interpreter has no GIL"); \
    } while (0)
/* First in a case that forks while other threads end: whatever lock of its own
 * a sanitizer's runtime holds then for one of them, it holds in the child for
 * ever. (While they start: c_tests/tsan/forks.c.) */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define FORKS_WHILE_THREADS_END() \
    SKIP("a sanitizer's allocator may stay locked in a fork child")
#else
#define FORKS_WHILE_THREADS_END() (void)0
#endif
/* Ends the case as failed, with a message (printf format). */
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
/* A line for the reader; shown when the case fails, or with -v. */
#define NOTE(...) test_note(__VA_ARGS__)
/* Marks the place that a time-out report gives for this thread. */
#define HERE() test_here(__FILE__, __LINE__)

_Noreturn void test_skip(const char *file, int line, const char *reason);
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void test_here(const char *file, int line);

/* ---- Checks ----------------------------------------------------------- */

#define CHECK(x) (HERE(), (x) ? (void)0 : FAIL("CHECK(%s) is false", #x))

#define CHECK_INT_EQ(a, b) TEST_INT_(a, ==, b, #a " == " #b)
#define CHECK_INT_NE(a, b) TEST_INT_(a, !=, b, #a " != " #b)
#define CHECK_INT_LT(a, b) TEST_INT_(a, <, b, #a " < " #b)
#define CHECK_INT_LE(a, b) TEST_INT_(a, <=, b, #a " <= " #b)
#define CHECK_INT_GT(a, b) TEST_INT_(a, >, b, #a " > " #b)
#define CHECK_INT_GE(a, b) TEST_INT_(a, >=, b, #a " >= " #b)
/* The same for values that do not fit in a long long. */
#define CHECK_UINT_EQ(a, b) TEST_UINT_(a, ==, b, #a " == " #b)
#define CHECK_UINT_NE(a, b) TEST_UINT_(a, !=, b, #a " != " #b)
#define CHECK_UINT_LT(a, b) TEST_UINT_(a, <, b, #a " < " #b)
#define CHECK_UINT_GT(a, b) TEST_UINT_(a, >, b, #a " > " #b)

#define CHECK_PTR_EQ(a, b) TEST_PTR_(a, ==, b, #a " == " #b)
#define CHECK_PTR_NE(a, b) TEST_PTR_(a, !=, b, #a " != " #b)
#define CHECK_NULL(a) TEST_PTR_(a, ==, NULL, #a " == NULL")
#define CHECK_NOT_NULL(a) TEST_PTR_(a, !=, NULL, #a " != NULL")

/* Strings may be NULL; NULL equals NULL and contains nothing. */
#define CHECK_STR_EQ(a, b) \
    (HERE(), test_str_eq(__FILE__, __LINE__, #a, #b, (a), (b)))
#define CHECK_STR_CONTAINS(a, part) \
    (HERE(), test_str_contains(__FILE__, __LINE__, #a, (a), (part), 1))
#define CHECK_STR_LACKS(a, part) \
    (HERE(), test_str_contains(__FILE__, __LINE__, #a, (a), (part), 0))

#define TEST_INT_(a, op, b, text)                              \
    do {                                                       \
        HERE();                                                \
        long long a_ = (long long)(a), b_ = (long long)(b);    \
        if (!(a_ op b_))                                       \
            test_int_failed(__FILE__, __LINE__, text, a_, b_); \
    } while (0)
#define TEST_UINT_(a, op, b, text)                              \
    do {                                                        \
        HERE();                                                 \
        unsigned long long a_ = (unsigned long long)(a);        \
        unsigned long long b_ = (unsigned long long)(b);        \
        if (!(a_ op b_))                                        \
            test_uint_failed(__FILE__, __LINE__, text, a_, b_); \
    } while (0)
#define TEST_PTR_(a, op, b, text)                              \
    do {                                                       \
        HERE();                                                \
        const volatile void *a_ = (a), *b_ = (b);              \
        if (!(a_ op b_))                                       \
            test_ptr_failed(__FILE__, __LINE__, text, a_, b_); \
    } while (0)

_Noreturn void test_int_failed(const char *file, int line, const char *text,
                               long long a, long long b);
_Noreturn void test_uint_failed(const char *file, int line, const char *text,
                                unsigned long long a, unsigned long long b);
_Noreturn void test_ptr_failed(const char *file, int line, const char *text,
                               const volatile void *a, const volatile void *b);
void test_str_eq(const char *file, int line, const char *a_text,
                 const char *b_text, const char *a, const char *b);
void test_str_contains(const char *file, int line, const char *a_text,
                       const char *a, const char *part, int wanted);

/* ---- Child processes -------------------------------------------------- */

/* Runs the block that follows in a child, which must die of SIGABRT after it
 * wrote `text` to stderr. Leave the block only by its end. */
#define EXPECT_ABORT(text) TEST_CHILD_(-1, (text))
/* The same for a child that must call exit(status); "" is any text. */
#define EXPECT_EXIT(status, text) TEST_CHILD_((status), (text))
/* The same; what the child prints goes to this case's own output. A block
 * that is left by its end exits with 0. */
#define EXPECT_CHILD_EXIT(status) TEST_CHILD_((status), NULL)

/* For a fork that the case makes itself (calls before and after it): ends the
 * child, and checks in the parent how it ended. */
_Noreturn void test_child_done(int status);
#define CHECK_CHILD_EXIT(pid, status) \
    (HERE(), test_child_exit(__FILE__, __LINE__, (pid), (status)))
void test_child_exit(const char *file, int line, pid_t pid, int status);

struct test_child {
    const char *file;
    int line;
    int status; /* expected exit status, -1 for SIGABRT */
    const char *text;
    pid_t pid; /* 0 in the child */
    int error_fd;
    int ran;
};

#define TEST_CHILD_(status, text)                                    \
    for (struct test_child child_ =                                  \
             test_child_start(__FILE__, __LINE__, (status), (text)); \
         test_child_runs(&child_);)
struct test_child test_child_start(const char *file, int line, int status,
                                   const char *text);
int test_child_runs(struct test_child *child);

/* ---- Peers: plain OS threads that start together ---------------------- */

#define PEERS_MAX 64

struct peers {
    int count;
    struct {
        void (*body)(void *);
        void *arg;
        struct peers *all;
        pthread_t thread;
        atomic_int done;
    } one[PEERS_MAX];
    atomic_int arrived, meetings;
    atomic_int go;
};

#define PEERS_INIT \
    { 0 }

/* Adds `n` threads that will run body(arg). */
void peers_add(struct peers *all, int n, void (*body)(void *), void *arg);
/* Creates them; none runs its body before all exist. */
void peers_start(struct peers *all);
/* Joins all; fails the case if one still runs after `limit_ms`. */
#define peers_join(all, limit_ms) \
    test_peers_join(__FILE__, __LINE__, (all), (limit_ms))
void test_peers_join(const char *file, int line, struct peers *all,
                     int limit_ms);
/* How many bodies have not returned yet. */
int peers_running(struct peers *all);
/* For a peer: waits until every peer of `all` is here (20 s at most). */
void peers_meet(struct peers *all);
/* For a peer: its number, 0 is the first added. -1 in other threads. */
int peer_index(void);

/* ---- Waiting: always for a condition, always with a limit ------------- */

/* A gate that `count` arrivals open: struct latch gate = LATCH_INIT(1). */
struct latch {
    atomic_int left;
};
#define LATCH_INIT(n) \
    { (n) }
void latch_arrive(struct latch *gate);
/* 1 when it is open, 0 when `limit_ms` passed first. */
int latch_wait(struct latch *gate, int limit_ms);

/* 1 as soon as predicate(arg) is true, 0 when `limit_ms` passed first. */
int wait_until(int (*predicate)(void *), void *arg, int limit_ms);

/* Fails the case unless the expression becomes true within `limit_ms`. */
#define WAIT_UNTIL(x, limit_ms)                                         \
    do {                                                                \
        HERE();                                                         \
        int64_t end_ = test_now_ms() + (limit_ms);                      \
        while (!(x)) {                                                  \
            if (test_now_ms() > end_)                                   \
                FAIL("not true within %d ms: %s", (int)(limit_ms), #x); \
            test_nap();                                                 \
        }                                                               \
    } while (0)

int64_t test_now_ms(void);
int64_t test_now_ns(void);
/* Gives way for a moment inside a loop that polls a condition. */
void test_nap(void);

/* The kernel's number of the calling thread; whether the process has such a
 * thread; whether it sleeps in the kernel now, not for a fixed time as under
 * PYTSTATE_PERTURB; how many threads there are,
 * without those of a sanitizer's runtime. */
long test_native_id(void);
int test_thread_exists(long native_id);
int test_thread_sleeps(long native_id);
int test_thread_count(void);

#endif
