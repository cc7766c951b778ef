/* rustc's ThreadSanitizer calls these; the runtime of older gcc (12) has only
 * the interceptors of the plain functions, which do the same. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

void *__tsan_memcpy(void *to, const void *from, size_t n);
void *__tsan_memmove(void *to, const void *from, size_t n);
void *__tsan_memset(void *to, int byte, size_t n);

#define GAP __attribute__((weak, no_sanitize("thread")))

GAP void *__tsan_memcpy(void *to, const void *from, size_t n) {
    return memcpy(to, from, n);
}

GAP void *__tsan_memmove(void *to, const void *from, size_t n) {
    return memmove(to, from, n);
}

GAP void *__tsan_memset(void *to, int byte, size_t n) {
    return memset(to, byte, n);
}

/* It does not know this one either: it would miss the join, call the thread
 * leaked, and stumble over the next thread with the same identity. */
int pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock,
                         const struct timespec *end) {
    const long long second = 1000000000;
    struct timespec now, wall;
    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &wall);
    long long left =
        (end->tv_sec - now.tv_sec) * second + (end->tv_nsec - now.tv_nsec);
    long long ns = wall.tv_nsec + left % second;
    wall.tv_sec += left / second + (ns < 0 ? -1 : ns / second);
    wall.tv_nsec = ns < 0 ? ns + second : ns % second;
    return pthread_timedjoin_np(thread, value, &wall);
}

/* In a fork child glibc gives new threads the stacks, and so the identities,
 * of the parent's threads, which no runtime has forgotten by then ("dup thread
 * with used id"). In the child of a process with threads, and only there, a
 * thread gets a stack of its own. Linked with --wrap=pthread_create. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*body)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*body)(void *), void *arg);

static int had_threads, in_fork_child;

static void note_child(void) { in_fork_child = had_threads; }

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, note_child);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*body)(void *), void *arg) {
    pthread_attr_t own;
    size_t size;
    int detached;
    __atomic_store_n(&had_threads, 1, __ATOMIC_RELAXED);
    if (!in_fork_child)
        return __real_pthread_create(thread, attr, body, arg);
    pthread_getattr_default_np(&own);
    pthread_attr_getstacksize(attr != NULL ? attr : &own, &size);
    pthread_attr_getdetachstate(attr != NULL ? attr : &own, &detached);
    /* Never given back: a child is short-lived, and nobody knows when. */
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return __real_pthread_create(thread, attr, body, arg);
    pthread_attr_setstack(&own, stack, size);
    pthread_attr_setdetachstate(&own, detached);
    int error = __real_pthread_create(thread, &own, body, arg);
    pthread_attr_destroy(&own);
    return error;
}
