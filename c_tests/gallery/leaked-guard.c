/* leaked-guard: shutdown waits for a guard that nobody will close.
 *
 *  1. A thread takes a guard on the interpreter and forgets it.
 *  2. Py_FinalizeEx() waits until no guard is open: for ever, by 3.15's rules,
 *     and without a word about whose guard it is.
 *
 * Ours says who took it and where, every so often, while it waits. */
#include "gallery.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define REPORT_EVERY (5 * MS)

static PyInterpreterGuard *guard;
static long main_task;
static char place[64];

static void leak(void *arg) {
    (void)arg;
    need(PyTState_SetName(PyThreadState_Get(), "leaker") == 0);
    snprintf(place, sizeof place, "leaked-guard.c:%d", __LINE__ + 2);
    PyTState_Here(place);
    guard = PyInterpreterGuard_FromCurrent();
    need(guard != NULL);
}

/* Runs the leaker, which ends, and watch() beside the finalization to come. */
static void prepare(void *(*watch)(void *)) {
    pthread_t watcher;
    PyThreadHandle *leaker = PyThreadHandle_New();
    need(PyThreadHandle_Start(leaker, PyInterpreterState_Get(), leak, NULL,
                              0) == 0);
    need(PyThreadHandle_Join(leaker, -1) == 0);
    PyThreadHandle_Decref(leaker);
    main_task = own_task();
    count("finalize.subinterpreters"); /* the guards are next */
    need(pthread_create(&watcher, NULL, watch, NULL) == 0);
}

/* ---- Old --------------------------------------------------------------- */

enum { RETURNED = 0, WAITS = 1 };

static void *watch_silence(void *arg) {
    struct timespec two_reports = {0, 2 * REPORT_EVERY};
    await_count("finalize.subinterpreters", 1);
    await_task_asleep(main_task);
    nanosleep(&two_reports, NULL); /* long enough for two of our reports */
    _exit(WAITS);
    return arg;
}

static void finalize_old(void) {
    begin_runtime(COMPAT_3_15);
    prepare(watch_silence);
    need(Py_FinalizeEx() == 0);
    _exit(RETURNED);
}

static enum outcome old_round(void) {
    struct ending end;
    in_child(finalize_old, &end);
    int waits = exited_with(&end) == WAITS;
    return waits && end.errors[0] == 0 ? MISBEHAVED : BEHAVED;
}

/* ---- Ours -------------------------------------------------------------- */

static int report_fd;
static int64_t waits_since;
static int worst_ms;

/* Reads reports until one has the guard's line; 0 if it is not all there. */
static int report_names_it(void) {
    char text[4096] = "", wanted[160];
    size_t used = 0;
    char *line = NULL;
    while (line == NULL || strchr(line, '\n') == NULL) {
        ssize_t n = read(report_fd, text + used, sizeof text - 1 - used);
        need(n > 0);
        used += (size_t)n;
        text[used] = 0;
        line = strstr(text, "guard on interp 0");
    }
    snprintf(wanted, sizeof wanted, ", at %s\n", place);
    return strstr(line, "taken by thread 'leaker'") != NULL &&
           strstr(line, wanted) != NULL;
}

/* The exit status: 0 if nothing was named, else 1 + the milliseconds. */
static int after_ms;

static void *watch_reports(void *arg) {
    await_count("finalize.subinterpreters", 1);
    waits_since = now_ns();
    if (report_names_it()) {
        int64_t ms = (now_ns() - waits_since) / MS;
        after_ms = ms < 100 ? (int)ms : 100;
        after_ms++;
    }
    PyInterpreterGuard_Close(guard);
    return arg;
}

static void finalize_ours(void) {
    int ends[2];
    begin_ours();
    need(pipe(ends) == 0);
    report_fd = ends[0];
    need(PyTState_SetShutdownReport(REPORT_EVERY, ends[1]) == 0);
    prepare(watch_reports);
    need(Py_FinalizeEx() == 0);
    _exit(after_ms);
}

static enum outcome ours_round(void) {
    struct ending end;
    in_child(finalize_ours, &end);
    int ms = exited_with(&end) - 1;
    if (ms > worst_ms)
        worst_ms = ms;
    return ms >= 0 ? MISBEHAVED : BEHAVED;
}

static void end_ours(void) {
    say("the report, every 5 ms, named the guard's thread and place within "
        "%d ms",
        worst_ms + 1);
}

const struct scenario leaked_guard = {
    .name = "leaked-guard",
    .story = "shutdown waits for a guard that nobody will close",
    .old = {.what = "finalization waited for ever, without a word",
            .every = 1,
            .round = old_round},
    .ours = {.what = "the report named the guard's thread and place",
             .every = 1,
             .round = ours_round,
             .end = end_ours},
};
