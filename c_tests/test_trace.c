/* The lifecycle trace: its file is JSON whatever happens to the process. */
#include "trace_host.h"

#include <stdlib.h>
#include <sys/wait.h>

#include <pytstate/internal.h>

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

/* ---- What a run leaves ------------------------------------------------- */

#define LIMIT INT64_C(10000000000)

/* Text of a member's value in one row, "" if there is none. */
static void member(const char *row, const char *name, char *out, size_t size) {
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(row, key);
    const char *end = strchr(row, '\n');
    size_t n = 0;
    if (at && at < end) {
        at += strlen(key);
        at += *at == '"';
        n = strcspn(at, "\",}");
        if (n >= size)
            FAIL("%s of %.80s is too long", name, row);
        memcpy(out, at, n);
    }
    out[n] = 0;
}

/* How many rows say this; "" stands for anything. */
static int rows_with(const char *phase, const char *name, const char *pid) {
    int n = 0;
    for (const char *row = strstr(text, "{\"ph\""); row;
         row = strstr(row + 1, "\n{\"ph\"")) {
        char is_phase[8], is_name[64], is_pid[24];
        row += *row == '\n';
        member(row, "ph", is_phase, sizeof is_phase);
        member(row, "name", is_name, sizeof is_name);
        member(row, "pid", is_pid, sizeof is_pid);
        n += (!*phase || !strcmp(phase, is_phase)) &&
             (!*name || !strcmp(name, is_name)) &&
             (!*pid || !strcmp(pid, is_pid));
    }
    return n;
}

/* On every track, ends match beginnings, and times do not go back. */
static void check_nesting(void) {
    static struct track {
        char id[48];
        double at;
        int depth;
        char open[32][64];
    } tracks[32];
    int n = 0;
    for (const char *row = strstr(text, "{\"ph\""); row;
         row = strstr(row + 1, "\n{\"ph\"")) {
        char phase[8], name[64], pid[24], tid[24], at[32], id[48];
        row += *row == '\n';
        member(row, "ph", phase, sizeof phase);
        if (*phase == 'M')
            continue;
        member(row, "name", name, sizeof name);
        member(row, "pid", pid, sizeof pid);
        member(row, "tid", tid, sizeof tid);
        member(row, "ts", at, sizeof at);
        snprintf(id, sizeof id, "%s/%s", pid, tid);
        int i = 0;
        while (i < n && strcmp(tracks[i].id, id))
            i++;
        CHECK_INT_LT(i, 32);
        if (i == n)
            strcpy(tracks[n++].id, id);
        CHECK(strtod(at, NULL) >= tracks[i].at);
        tracks[i].at = strtod(at, NULL);
        if (*phase == 'B') {
            CHECK_INT_LT(tracks[i].depth, 32);
            strcpy(tracks[i].open[tracks[i].depth++], name);
        } else if (*phase == 'E') {
            CHECK_INT_GT(tracks[i].depth, 0);
            CHECK_STR_EQ(tracks[i].open[--tracks[i].depth], name);
        }
    }
    CHECK_INT_GT(n, 2);
}

static void do_nothing(void *arg) { (void)arg; }

/* A thread that has to wait for the caller's GIL, and its join. */
static void start_and_join(void) {
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_NOT_NULL(handle);
    PyTState_Sync_Pause("gil.wait");
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      do_nothing, NULL, 0),
                 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("gil.wait", LIMIT), 0);
    PyTState_Sync_Wake("gil.wait");
    CHECK_INT_EQ(PyThreadHandle_Join(handle, -1), 0);
    PyThreadHandle_Decref(handle);
}

/* A child that was told of the fork traces to a file of its own, or not. */
static void fork_once(void) {
    char own[128];
    snprintf(own, sizeof own, "%s/child.json", folder);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK_INT_EQ(PyTState_TraceStop(), -1); /* it has none */
        CHECK_INT_EQ(PyTState_TraceStart(own), 0);
        start_and_join();
        CHECK_INT_EQ(PyTState_TraceStop(), 0);
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 0);
    read_trace(own);
    CHECK_INT_EQ(rows_with("i", "thread start", "0"), 1);
    CHECK_INT_EQ(rows_with("B", "joining", "0") > 0, 1);
    CHECK_INT_EQ(rows_with("i", "fork", ""), 0);
    CHECK_INT_EQ(unlink(own), 0);
}

TEST("a run from initialization to finalization is all there") {
    NEEDS_GIL();
    make_folder();
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    Py_Initialize();
    PyThreadState *main_state = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_SetName(main_state, "the \"main\" thread"), 0);
    start_and_join();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_NOT_NULL(sub);
    start_and_join();
    Py_EndInterpreter(sub);
    PyThreadState_Swap(main_state);
    fork_once();
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    /* Complete after a finalization, while the trace goes on. */
    read_trace(path);
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    read_trace(path);
    check_nesting();
    CHECK_STR_CONTAINS(text, "\"name\":\"the \\\"main\\\" thread\"");
    const char *const both[] = {"0", "1"};
    for (int i = 0; i < 2; i++) {
        NOTE("interpreter %s", both[i]);
        CHECK_INT_EQ(rows_with("M", "process_name", both[i]), 1);
        CHECK_INT_GE(rows_with("M", "thread_name", both[i]), 2);
        CHECK_INT_EQ(rows_with("i", "interpreter new", both[i]), 1);
        CHECK_INT_EQ(rows_with("i", "interpreter gone", both[i]), 1);
        CHECK_INT_EQ(rows_with("i", "thread start", both[i]), 1);
        CHECK_INT_EQ(rows_with("i", "thread end", both[i]), 1);
        CHECK_INT_GE(rows_with("B", "waiting for GIL", both[i]), 1);
        CHECK_INT_GE(rows_with("B", "attached", both[i]), 3);
        CHECK_INT_GE(rows_with("B", "detached", both[i]), 1);
        CHECK_INT_GE(rows_with("B", "joining", both[i]), 1);
        CHECK_INT_GE(rows_with("B", "stop-the-world", both[i]), 1);
        CHECK_INT_GE(rows_with("i", "state created", both[i]), 2);
        CHECK_INT_GE(rows_with("i", "exit event", both[i]), 2);
        CHECK_INT_GE(rows_with("i", "deletion", both[i]), 1);
        CHECK_INT_GE(rows_with("B", "waiting for threads", both[i]), 1);
        CHECK_INT_GE(rows_with("B", "finalize: finalizing", both[i]), 1);
    }
    CHECK_INT_EQ(rows_with("i", "fork", "0"), 1);
    remove_folder();
}

/* ---- The rest of what docs/trace.md names ------------------------------ */

/* Number of the first row from `from` on that says this of a thread; -1. */
static int row_of(long tid, const char *phase, const char *name, int from) {
    int n = 0;
    for (const char *row = strstr(text, "{\"ph\""); row;
         row = strstr(row + 1, "\n{\"ph\""), n++) {
        char is_phase[8], is_name[64], is_tid[24];
        row += *row == '\n';
        member(row, "ph", is_phase, sizeof is_phase);
        member(row, "name", is_name, sizeof is_name);
        member(row, "tid", is_tid, sizeof is_tid);
        if (n >= from && !strcmp(phase, is_phase) && !strcmp(name, is_name) &&
            strtol(is_tid, NULL, 10) == tid)
            return n;
    }
    return -1;
}

/* The thread's rows of one table, each after the one before. */
struct row {
    const char *phase, *name;
};

static void check_rows(long tid, const struct row *rows, size_t count) {
    int at = -1;
    for (size_t i = 0; i < count; i++) {
        NOTE("row %s of '%s', thread %ld", rows[i].phase, rows[i].name, tid);
        at = row_of(tid, rows[i].phase, rows[i].name, at + 1);
        CHECK_INT_GE(at, 0);
    }
}
#define CHECK_ROWS(tid, ...)                                      \
    do {                                                          \
        const struct row rows_[] = {__VA_ARGS__};                 \
        check_rows((tid), rows_, sizeof rows_ / sizeof rows_[0]); \
    } while (0)

static struct visitor {
    long tid;
    struct latch runs, stands, parked, over;
} visitor = {0, LATCH_INIT(1), LATCH_INIT(1), LATCH_INIT(1), LATCH_INIT(1)};

static void unblock_nothing(void *unused) { (void)unused; }

/* Is paused, blocks, holds a guard, and comes too late. */
static void *visit(void *interp) {
    visitor.tid = test_native_id();
    PyThreadState *mine = PyThreadState_New(interp);
    PyEval_RestoreThread(mine);
    latch_arrive(&visitor.runs);
    while (atomic_load(&visitor.stands.left) > 0)
        CHECK_INT_EQ(_Py_HandlePending(mine), 0);
    CHECK_INT_EQ(PyTState_BeginBlocking(unblock_nothing, NULL), 0);
    PyTState_EndBlocking();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyEval_SaveThread();
    PyInterpreterGuard_Close(guard);
    latch_arrive(&visitor.parked);
    CHECK_INT_EQ(latch_wait(&visitor.over, 15000), 1);
    PyEval_RestoreThread(mine); /* ends the thread */
    FAIL("a late thread came back");
}

TEST("pauses, blocking regions, guards, the phases of an end and late threads "
     "are there") {
    make_folder();
    pthread_t thread;
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.gil = PyTState_GIL_NONE; /* so that only a pause stops anybody */
    config.late_attach = PyTState_LATE_EXIT;
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    CHECK(!PyStatus_Exception(PyTState_Initialize(&config)));
    PyInterpreterState *interp = PyInterpreterState_Get();
    CHECK_INT_EQ(pthread_create(&thread, NULL, visit, interp), 0);
    CHECK_INT_EQ(latch_wait(&visitor.runs, 15000), 1);
    _PyEval_StopTheWorld(interp);
    _PyEval_StartTheWorld(interp);
    latch_arrive(&visitor.stands);
    CHECK_INT_EQ(latch_wait(&visitor.parked, 15000), 1);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    latch_arrive(&visitor.over);
    CHECK_INT_EQ(pthread_join(thread, NULL), 0);
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    read_trace(path);
    CHECK_ROWS(visitor.tid, {"i", "state created"}, {"B", "attached"},
               {"B", "suspended"}, {"B", "attached"}, {"B", "blocking"},
               {"E", "blocking"}, {"i", "guard open"}, {"B", "detached"},
               {"i", "guard close"}, {"i", "late attach"});
    CHECK_ROWS(test_native_id(), {"i", "interpreter new"},
               {"B", "stop-the-world"}, {"E", "stop-the-world"},
               {"B", "finalize: waiting for threads"},
               {"B", "waiting for threads"}, {"E", "waiting for threads"},
               {"B", "finalize: atexit"}, {"B", "finalize: waiting for guards"},
               {"B", "stop-the-world"}, {"E", "stop-the-world"},
               {"B", "finalize: finalizing"}, {"i", "interpreter gone"});
    CHECK_INT_EQ(rows_with("i", "guard open", "0"), 1);
    CHECK_INT_EQ(rows_with("i", "guard close", "0"), 1);
    CHECK_INT_EQ(rows_with("i", "late attach", ""), 1);
    /* A late thread leaves nothing open; the phases follow each other. */
    int late = row_of(visitor.tid, "i", "late attach", 0);
    CHECK_INT_EQ(row_of(visitor.tid, "B", "attached", late), -1);
    CHECK_INT_EQ(row_of(visitor.tid, "E", "detached", late), -1);
    CHECK_INT_GE(row_of(visitor.tid, "E", "detached", 0), 0);
    const char *const spans[] = {
        "suspended",        "blocking",
        "detached",         "finalize: waiting for threads",
        "finalize: atexit", "finalize: waiting for guards"};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
        CHECK_INT_EQ(rows_with("B", spans[i], ""),
                     rows_with("E", spans[i], ""));
    remove_folder();
}
