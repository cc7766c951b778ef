/* What a block of a case writes to the standard error, as a string. */
#ifndef PYTSTATE_TEST_CAPTURED_H
#define PYTSTATE_TEST_CAPTURED_H

#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct capture {
    FILE *file;
    int kept;
    char text[1 << 16];
};

static inline void capture_begin(struct capture *one) {
    one->file = tmpfile();
    CHECK_NOT_NULL(one->file);
    one->kept = dup(STDERR_FILENO);
    CHECK_INT_GE(one->kept, 0);
    CHECK_INT_GE(dup2(fileno(one->file), STDERR_FILENO), 0);
}

/* What was written since, also by other threads and by signal handlers. */
static inline const char *capture_look(struct capture *one) {
    ssize_t n = pread(fileno(one->file), one->text, sizeof one->text - 1, 0);
    CHECK_INT_GE(n, 0);
    one->text[n] = 0;
    return one->text;
}

static inline const char *capture_end(struct capture *one) {
    capture_look(one);
    CHECK_INT_GE(dup2(one->kept, STDERR_FILENO), 0);
    close(one->kept);
    fclose(one->file);
    return one->text;
}

/* How often `part` is in `text`. */
static inline int count_of(const char *text, const char *part) {
    int n = 0;
    while ((text = strstr(text, part)) != NULL) {
        n++;
        text += strlen(part);
    }
    return n;
}

#endif
