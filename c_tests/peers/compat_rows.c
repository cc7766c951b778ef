/* Prints one line for each row of docs/compat.md that a libpython can show as
 * well: "row: what happened". Compiled against a CPython and against us; the
 * script `compat` compares the lines and makes a table of them. */
#include <Python.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if PY_VERSION_HEX < 0x030D0000
#define PyThreadState_GetUnchecked _PyThreadState_UncheckedGet
#endif

/* Each row runs in a child. What it writes is its outcome; one that dies or
 * sleeps says so by that. */
static void say(const char *outcome) {
    if (write(STDOUT_FILENO, outcome, strlen(outcome)) < 0)
        _exit(3);
}

static PyThreadState *begin(void) {
    Py_InitializeEx(0);
    return PyThreadState_Get();
}

static void check_without_runtime(void) {
    say(PyGILState_Check() ? "1, then " : "0, then ");
    begin();
    Py_FinalizeEx();
    say(PyGILState_Check() ? "1" : "0");
}

static void check_signals(void) {
    begin();
    PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), PyExc_ValueError);
    say(PyErr_CheckSignals() == 0 ? "leaves it" : "raises it");
}

static int nothing(void *unused) {
    (void)unused;
    return 0;
}

static void pending_calls(void) {
    char text[16];
    int n = 0;
    begin();
    while (n < 100 && Py_AddPendingCall(nothing, NULL) == 0)
        n++;
    snprintf(text, sizeof text, "%d", n);
    say(text);
}

static void release_unlocked(void) {
    begin();
    PyThread_type_lock lock = PyThread_allocate_lock();
    PyThread_release_lock(lock);
    say("lets one more in");
}

static void end_with_state_left(void) {
    begin();
    PyThreadState *sub = Py_NewInterpreter();
    PyThreadState_New(PyThreadState_GetInterpreter(sub));
    Py_EndInterpreter(sub);
    say("given up");
}

static void ensure_first(void) {
    PyGILState_Ensure();
    say("returns");
}

/* ---- Threads that are late -------------------------------------------- */

static int ready[2], go[2];

static void *ensure_late(void *unused) {
    char byte = 0;
    (void)unused;
    if (read(go[0], &byte, 1) != 1)
        _exit(3);
    PyGILState_Ensure();
    say("attaches");
    return NULL;
}

static void *attach_late(void *interp) {
    char byte = 0;
    PyThreadState *mine = PyThreadState_New(interp);
    PyEval_RestoreThread(mine);
    PyEval_SaveThread();
    if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
        _exit(3);
    PyEval_RestoreThread(mine);
    say("attaches");
    return NULL;
}

static void wait_for_late(pthread_t thread) {
    struct timespec soon;
    if (write(go[1], "", 1) != 1)
        _exit(3);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += 2;
    say(pthread_timedjoin_np(thread, NULL, &soon) == 0 ? "the thread ends"
                                                       : "hangs");
}

static void leftover_thread(void) {
    char byte;
    pthread_t thread;
    PyThreadState *mine = begin();
    pthread_create(&thread, NULL, attach_late,
                   PyThreadState_GetInterpreter(mine));
    PyEval_SaveThread();
    if (read(ready[0], &byte, 1) != 1)
        _exit(3);
    PyEval_RestoreThread(mine);
    Py_FinalizeEx();
    wait_for_late(thread);
}

static void ensure_after_end(void) {
    pthread_t thread;
    begin();
    pthread_create(&thread, NULL, ensure_late, NULL);
    Py_FinalizeEx();
    wait_for_late(thread);
}

/* ---- What initialization does to signals ------------------------------- */

static void ignored_signals(void) {
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    Py_InitializeEx(1);
    say(signal(SIGPIPE, SIG_DFL) == SIG_IGN ? "SIGPIPE " : "");
    say(signal(SIGXFSZ, SIG_DFL) == SIG_IGN ? "SIGXFSZ " : "");
    say("ignored");
}

static void *use_other(void *state) {
    PyEval_RestoreThread(state);
    say(PyThreadState_GetUnchecked() == state ? "attaches it" : "does not");
    PyEval_SaveThread();
    return NULL;
}

static void attach_elsewhere(void) {
    pthread_t thread;
    PyThreadState *mine = begin();
    PyEval_SaveThread();
    pthread_create(&thread, NULL, use_other, mine);
    pthread_join(thread, NULL);
    PyEval_RestoreThread(mine);
}

static const struct {
    const char *name;
    void (*run)(void);
} rows[] = {
    {"a leftover thread that attaches", leftover_thread},
    {"Py_EndInterpreter() while other states are left", end_with_state_left},
    {"PyThread_release_lock() of a lock that no thread has", release_unlocked},
    {"PyGILState_Ensure() before the first initialization", ensure_first},
    {"PyGILState_Ensure() after finalization", ensure_after_end},
    {"PyGILState_Check() before the first life and after it",
     check_without_runtime},
    {"PyErr_CheckSignals() with an asynchronous exception", check_signals},
    {"calls that Py_AddPendingCall() queues at most", pending_calls},
    {"signals that Py_InitializeEx(1) ignores", ignored_signals},
    {"a state of another OS thread", attach_elsewhere},
};

int main(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int out[2], status;
        char text[256];
        ssize_t length = 0, n;
        if (pipe(out) != 0 || pipe(ready) != 0 || pipe(go) != 0)
            return 2;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            dup2(out[1], STDOUT_FILENO);
            close(out[1]);
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(3);
            alarm(6);
            rows[i].run();
            _exit(0);
        }
        close(out[1]);
        while ((n = read(out[0], text + length,
                         sizeof text - 1 - (size_t)length)) > 0)
            length += n;
        text[length] = 0;
        waitpid(child, &status, 0);
        /* A child that returned from its row, or was ended in it: exits; one
         * that died of anything else than an abort: crashes. */
        const char *end = WIFEXITED(status) ? (length > 0 ? "" : "exits")
                          : WTERMSIG(status) == SIGALRM ? "hangs"
                          : WTERMSIG(status) == SIGABRT ? "fatal"
                                                        : "crashes";
        printf("%s: %s%s\n", rows[i].name, text, end);
    }
    return 0;
}
