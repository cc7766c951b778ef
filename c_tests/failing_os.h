/* An operating system that fails on request: these definitions come before the
 * C library's for everybody in the process, the library under test included.
 * Only the thread that asked meets failures. */
#ifndef PYTSTATE_TEST_FAILING_OS_H
#define PYTSTATE_TEST_FAILING_OS_H

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

/* Sanitizers define the same functions. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || \
    !defined __GLIBC__
#define OS_CAN_FAIL 0
#else
#define OS_CAN_FAIL 1
#endif

/* What may fail, per thread. `left`: how many calls succeed before; -1: none
 * fails. `all`: every later one fails, too. `calls` counts. */
struct failing {
    int left;
    int all;
    int calls;
    int failed;
};

#define FAILING static _Thread_local __attribute__((unused)) struct failing
FAILING fail_memory = {.left = -1};
FAILING fail_threads = {.left = -1};
FAILING fail_keys = {.left = -1};
FAILING fail_stack_size = {.left = -1};

static inline int fails_now(struct failing *what) {
    what->calls++;
    if (what->left < 0 || what->left-- > 0)
        return 0;
    if (what->all)
        what->left = 0;
    what->failed++;
    return 1;
}

/* From here on the call after `n` more fails, alone or with all behind it. */
static inline void fail_after(struct failing *what, int n, int all) {
    *what = (struct failing){.left = n, .all = all};
}

static inline void fail_no_more(struct failing *what) { what->left = -1; }

#if OS_CAN_FAIL

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

void *malloc(size_t size) {
    if (fails_now(&fail_memory)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    if (fails_now(&fail_memory)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    if (fails_now(&fail_memory)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(block, size);
}

/* The C library's own function of that name. */
#define REAL(function, type) \
    static type real;        \
    if (real == NULL)        \
        *(void **)&real = dlsym(RTLD_NEXT, #function);

typedef int create_thread(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*body)(void *), void *arg) {
    REAL(pthread_create, create_thread *)
    if (fails_now(&fail_threads))
        return EAGAIN;
    return real(thread, attributes, body, arg);
}

typedef int create_key(pthread_key_t *, void (*)(void *));

int pthread_key_create(pthread_key_t *key, void (*end)(void *)) {
    REAL(pthread_key_create, create_key *)
    if (fails_now(&fail_keys))
        return EAGAIN;
    return real(key, end);
}

typedef int set_stack_size(pthread_attr_t *, size_t);

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size) {
    REAL(pthread_attr_setstacksize, set_stack_size *)
    if (fails_now(&fail_stack_size))
        return EINVAL;
    return real(attributes, size);
}

/* Bytes that are allocated now. */
static inline size_t bytes_in_use(void) { return mallinfo2().uordblks; }

#else

static inline size_t bytes_in_use(void) { return 0; }

#endif
#endif
