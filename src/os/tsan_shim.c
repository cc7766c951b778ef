/*
 * ThreadSanitizer's way to be told of an order that it cannot see. Rust has no
 * stable way to name a symbol that may be missing. A host that is compiled with
 * -fsanitize=thread brings these along; for every other one they are NULL.
 *
 * A library that is itself compiled with the sanitizer tells it nothing: there
 * the sanitizer judges the library's own atomic operations.
 */
typedef void pytstate_tsan_note(void *address);

#ifndef __SANITIZE_THREAD__
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);
#else
#define __tsan_acquire 0
#define __tsan_release 0
#endif

#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN extern pytstate_tsan_note *const pytstate_tsan_acquire;
HIDDEN extern pytstate_tsan_note *const pytstate_tsan_release;
pytstate_tsan_note *const pytstate_tsan_acquire = __tsan_acquire;
pytstate_tsan_note *const pytstate_tsan_release = __tsan_release;
