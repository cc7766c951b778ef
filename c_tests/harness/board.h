/* What a case process and its parent share, through one shared page. */
#ifndef PYTSTATE_TEST_BOARD_H
#define PYTSTATE_TEST_BOARD_H

#include <stdatomic.h>

enum {
    TEST_EXIT_SKIPPED = 77,
    TEST_EXIT_FAILED = 99,
    PLACES_MAX = 128,
};

struct place {
    atomic_long thread; /* 0: never used */
    _Atomic(const char *) file;
    atomic_int line;
};

struct board {
    char skip_reason[256];
    atomic_int places_used;
    struct place places[PLACES_MAX];
};

/* Set by main() before any case runs; valid in all its children. */
extern struct board *test_board;

/* Writes one finished line to a descriptor, in one call. */
void test_write_line(int fd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
