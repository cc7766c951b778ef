/* rustc's ThreadSanitizer calls these; the runtime of older gcc (12) has only
 * the interceptors of the plain functions, which do the same. */
#include <pthread.h>
#include <string.h>
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
