/* Checks: each prints both values and ends the case's process at once, which
 * is what makes them usable from any thread. */
#include "board.h"
#include "harness.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void write_all(int fd, const char *text, size_t length) {
    while (length > 0) {
        ssize_t n = write(fd, text, length);
        if (n <= 0)
            return;
        text += n;
        length -= (size_t)n;
    }
}

static void write_line_v(int fd, const char *format, va_list args) {
    char line[4096];
    int n = vsnprintf(line, sizeof(line) - 1, format, args);
    if (n < 0)
        return;
    size_t length = (size_t)n < sizeof(line) - 2 ? (size_t)n : sizeof(line) - 2;
    line[length] = '\n';
    write_all(fd, line, length + 1);
}

void test_write_line(int fd, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line_v(fd, format, args);
    va_end(args);
}

void test_fail(const char *file, int line, const char *format, ...) {
    char what[3072];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    test_write_line(STDERR_FILENO, "%s:%d: check failed: %s", file, line, what);
    _exit(TEST_EXIT_FAILED);
}

void test_skip(const char *file, int line, const char *reason) {
    test_here(file, line);
    snprintf(test_board->skip_reason, sizeof(test_board->skip_reason), "%s",
             reason);
    _exit(TEST_EXIT_SKIPPED);
}

void test_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line_v(STDERR_FILENO, format, args);
    va_end(args);
}

void test_here(const char *file, int line) {
    static _Thread_local struct place *mine;
    static _Thread_local pid_t owner;
    if (mine == NULL || owner != getpid()) {
        int slot = atomic_fetch_add(&test_board->places_used, 1);
        mine = &test_board->places[slot % PLACES_MAX];
        owner = getpid();
        atomic_store(&mine->thread, test_native_id());
    }
    atomic_store_explicit(&mine->file, file, memory_order_relaxed);
    atomic_store_explicit(&mine->line, line, memory_order_relaxed);
}

void test_int_failed(const char *file, int line, const char *text, long long a,
                     long long b) {
    test_fail(file, line, "%s; left %lld (0x%llx), right %lld (0x%llx)", text,
              a, (unsigned long long)a, b, (unsigned long long)b);
}

void test_uint_failed(const char *file, int line, const char *text,
                      unsigned long long a, unsigned long long b) {
    test_fail(file, line, "%s; left %llu (0x%llx), right %llu (0x%llx)", text,
              a, a, b, b);
}

void test_ptr_failed(const char *file, int line, const char *text,
                     const volatile void *a, const volatile void *b) {
    test_fail(file, line, "%s; left 0x%" PRIxPTR ", right 0x%" PRIxPTR, text,
              (uintptr_t)a, (uintptr_t)b);
}

static const char *quoted(const char *text, char *room, size_t size) {
    if (text == NULL)
        return "NULL";
    snprintf(room, size, "\"%s\"", text);
    return room;
}

void test_str_eq(const char *file, int line, const char *a_text,
                 const char *b_text, const char *a, const char *b) {
    char left[1024], right[1024];
    if (a == b || (a != NULL && b != NULL && strcmp(a, b) == 0))
        return;
    test_fail(file, line, "%s equals %s; left %s, right %s", a_text, b_text,
              quoted(a, left, sizeof(left)), quoted(b, right, sizeof(right)));
}

void test_str_contains(const char *file, int line, const char *a_text,
                       const char *a, const char *part, int wanted) {
    char room[2048];
    int found = a != NULL && part != NULL && strstr(a, part) != NULL;
    if (found == wanted)
        return;
    test_fail(file, line, "%s %s \"%s\"; it is %s", a_text,
              wanted ? "contains" : "lacks", part ? part : "(NULL)",
              quoted(a, room, sizeof(room)));
}
