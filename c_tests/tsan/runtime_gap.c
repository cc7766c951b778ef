/* rustc's ThreadSanitizer calls these; the runtime of older gcc (12) has only
 * the interceptors of the plain functions, which do the same. */
#include <string.h>

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
