/* A trace's file, and a reader that only says whether it is JSON. */
#ifndef PYTSTATE_TRACE_HOST_H
#define PYTSTATE_TRACE_HOST_H

#include "harness.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pytstate.h>

/* ---- A reader of JSON that only says whether it is JSON ---------------- */

static inline const char *value(const char *p);

static inline const char *blank(const char *p) {
    while (*p && strchr(" \t\r\n", *p))
        p++;
    return p;
}

static inline const char *string(const char *p) {
    if (*p++ != '"')
        return NULL;
    while (*p != '"') {
        if ((unsigned char)*p < ' ')
            return NULL;
        if (*p == '\\' && !(*++p && strchr("\"\\/bfnrt", *p)))
            return NULL;
        p++;
    }
    return p + 1;
}

static inline const char *number(const char *p) {
    char *end;
    if (*p != '-' && !isdigit((unsigned char)*p))
        return NULL;
    strtod(p, &end);
    return end;
}

/* "[" values "]" or "{" members "}" */
static inline const char *items(const char *p, char last, int members) {
    p = blank(p + 1);
    if (*p == last)
        return p + 1;
    for (;;) {
        if (members) {
            p = string(blank(p));
            if (!p || *(p = blank(p)) != ':')
                return NULL;
            p++;
        }
        p = value(p);
        if (!p)
            return NULL;
        p = blank(p);
        if (*p == last)
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

static inline const char *value(const char *p) {
    p = blank(p);
    switch (*p) {
    case '[':
        return items(p, ']', 0);
    case '{':
        return items(p, '}', 1);
    case '"':
        return string(p);
    default:
        return number(p);
    }
}

static inline int is_json(const char *text) {
    const char *end = value(text);
    return end && *blank(end) == 0;
}

/* ---- The file --------------------------------------------------------- */

static char folder[64], path[96];
static char text[1 << 20];

/* A folder of the case's own; `path` is a file in it. */
static inline void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/pytstate-trace-XXXXXX");
    CHECK_NOT_NULL(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/trace.json", folder);
}

static inline void remove_folder(void) {
    unlink(path);
    CHECK_INT_EQ(rmdir(folder), 0);
}

/* Reads the file into `text`; it must be JSON. */
static inline const char *read_trace(const char *from) {
    int fd = open(from, O_RDONLY);
    CHECK_INT_GE(fd, 0);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    CHECK_INT_EQ(n, 0);
    close(fd);
    text[len] = 0;
    if (!is_json(text))
        FAIL("not JSON: %s", text);
    CHECK_INT_EQ(text[0], '[');
    return text;
}

#endif
