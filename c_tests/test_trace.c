/* The lifecycle trace: its file is JSON whatever happens to the process. */
#include "harness.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pytstate.h>

/* ---- A reader of JSON that only says whether it is JSON ---------------- */

static const char *value(const char *p);

static const char *blank(const char *p) {
    while (*p && strchr(" \t\r\n", *p))
        p++;
    return p;
}

static const char *string(const char *p) {
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

static const char *number(const char *p) {
    char *end;
    if (*p != '-' && !isdigit((unsigned char)*p))
        return NULL;
    strtod(p, &end);
    return end;
}

/* "[" values "]" or "{" members "}" */
static const char *items(const char *p, char last, int members) {
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

static const char *value(const char *p) {
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

static int is_json(const char *text) {
    const char *end = value(text);
    return end && *blank(end) == 0;
}

/* ---- The file --------------------------------------------------------- */

static char folder[64], path[96];
static char text[1 << 20];

/* A folder of the case's own; `path` is a file in it. */
static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/pytstate-trace-XXXXXX");
    CHECK_NOT_NULL(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/trace.json", folder);
}

static void remove_folder(void) {
    unlink(path);
    CHECK_INT_EQ(rmdir(folder), 0);
}

/* Reads the file into `text`; it must be JSON. */
static const char *read_trace(const char *from) {
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

TEST("the reader of this test tells JSON from other text") {
    CHECK(is_json("[]"));
    CHECK(is_json("[\n{\"a\":1.5,\"b\":[\"x\\\"y\",{}]},\n{}\n]\n"));
    CHECK(!is_json("[\n{\"a\":1}"));
    CHECK(!is_json("[{\"a\":1},]"));
    CHECK(!is_json("[{\"a\":1}]]"));
    CHECK(!is_json("[{\"a:1}]"));
    CHECK(!is_json("[\"\n\"]"));
}

TEST("a trace that starts and stops leaves a JSON array") {
    make_folder();
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    CHECK_STR_EQ(read_trace(path), "[\n]\n"); /* complete at any time */
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    CHECK_STR_EQ(read_trace(path), "[\n]\n");
    CHECK_INT_EQ(PyTState_TraceStart(path), 0); /* and once more */
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    remove_folder();
}

TEST("a trace that cannot start says so and leaves no trace running") {
    make_folder();
    char bad[128];
    CHECK_INT_EQ(PyTState_TraceStart(NULL), -1);
    CHECK_INT_EQ(PyTState_TraceStart(""), -1);
    snprintf(bad, sizeof bad, "%s/missing/trace.json", folder);
    errno = 0;
    CHECK_INT_EQ(PyTState_TraceStart(bad), -1);
    CHECK_INT_EQ(errno, ENOENT);
    char too_long[2000];
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    CHECK_INT_EQ(PyTState_TraceStart(too_long), -1);
    CHECK_INT_EQ(PyTState_TraceStop(), -1);
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    CHECK_INT_EQ(PyTState_TraceStart(path), -1); /* one is running */
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    CHECK_INT_EQ(PyTState_TraceStop(), -1);
    remove_folder();
}

TEST("a full disk is reported and leaves no trace running") {
    if (access("/dev/full", W_OK) != 0)
        SKIP("no /dev/full here");
    CHECK_INT_EQ(PyTState_TraceStart("/dev/full"), -1);
    CHECK_INT_EQ(errno, ENOSPC);
    CHECK_INT_EQ(PyTState_TraceStop(), -1);
}

TEST("%p in a path is the process's id") {
    make_folder();
    char pattern[128], own[128];
    snprintf(pattern, sizeof pattern, "%s/%%p.json", folder);
    snprintf(own, sizeof own, "%s/%ld.json", folder, (long)getpid());
    CHECK_INT_EQ(PyTState_TraceStart(pattern), 0);
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    read_trace(own);
    CHECK_INT_EQ(unlink(own), 0);
    remove_folder();
}

TEST("the environment traces a program that asks for nothing, to its end") {
    make_folder();
    EXPECT_CHILD_EXIT(0) {
        setenv("PYTSTATE_TRACE", path, 1);
        PyTState_Sync_Point("anything");
        CHECK_INT_EQ(PyTState_TraceStart(path), -1); /* it is running */
        exit(0);
    }
    read_trace(path);
    EXPECT_EXIT(0, "PYTSTATE_TRACE is ignored") {
        setenv("PYTSTATE_TRACE", "/no/such/folder/trace.json", 1);
        PyTState_Sync_Point("anything");
        exit(0);
    }
    remove_folder();
}

TEST("a fork child that knows nothing leaves the parent's file alone") {
    make_folder();
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    pid_t child = fork();
    if (child == 0)
        exit(0); /* runs what was registered for the end of a process */
    int status;
    CHECK_INT_EQ(waitpid(child, &status, 0), child);
    CHECK_INT_EQ(status, 0);
    CHECK_STR_EQ(read_trace(path), "[\n]\n");
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    CHECK_STR_EQ(read_trace(path), "[\n]\n");
    remove_folder();
}

static void *read_pipe(void *arg) {
    int fd = open(arg, O_RDONLY);
    ssize_t n = 0, len = 0;
    while (fd >= 0 && (n = read(fd, text + len, 100)) > 0)
        len += n;
    close(fd);
    text[len] = 0;
    return NULL;
}

TEST("a trace can go into a pipe") {
    make_folder();
    pthread_t reader;
    CHECK_INT_EQ(mkfifo(path, 0600), 0);
    CHECK_INT_EQ(pthread_create(&reader, NULL, read_pipe, path), 0);
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    CHECK_INT_EQ(pthread_join(reader, NULL), 0);
    CHECK_STR_EQ(text, "[\n]\n");
    remove_folder();
}
