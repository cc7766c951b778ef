/* Forks while a trace runs and other threads write into it. */
#include "fork_host.h"
#include "trace_host.h"

static atomic_int over;

/* So often that the file stays below the reader's size. */
static void trace_without_a_break(void *unused) {
    (void)unused;
    PyThreadState *mine = enter(PyInterpreterState_Main());
    for (int i = 0; i < 10000 && !atomic_load(&over); i++) {
        PyEval_SaveThread();
        PyInterpreterView *view = PyInterpreterView_FromMain();
        PyInterpreterGuard_Close(PyInterpreterGuard_FromView(view));
        PyInterpreterView_Close(view);
        PyEval_RestoreThread(mine);
    }
    leave();
}

/* Its own trace is its own; the parent's is nobody's here. */
static void trace_in_child(const char *own) {
    CHECK_INT_EQ(PyTState_TraceStop(), -1);
    CHECK_INT_EQ(PyTState_TraceStart(own), 0);
    live_on();
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    CHECK_STR_CONTAINS(read_trace(own), "\"thread start\"");
    CHECK_STR_LACKS(text, "\"fork\"");
    CHECK_INT_EQ(unlink(own), 0);
}

static void fork_while_tracing(void (*fork_once)(const char *own)) {
    enum { FORKS = 30 };
    struct peers peers = PEERS_INIT;
    char own[128];
    make_folder();
    snprintf(own, sizeof own, "%s/child.json", folder);
    begin();
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    atomic_store(&over, 0);
    peers_add(&peers, 4, trace_without_a_break, NULL);
    peers_start(&peers);
    for (int i = 0; i < FORKS; i++)
        fork_once(own);
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    struct stat file;
    CHECK_INT_EQ(stat(path, &file), 0);
    NOTE("the file has %lld bytes", (long long)file.st_size);
    static char all[64 << 20];
    int fd = open(path, O_RDONLY);
    ssize_t n, len = 0;
    while ((n = read(fd, all + len, sizeof all - 1 - (size_t)len)) > 0)
        len += n;
    close(fd);
    CHECK_INT_EQ(len, file.st_size);
    CHECK(is_json(all));
    int forks = 0;
    for (const char *at = all; (at = strstr(at, "\"name\":\"fork\"")); at++)
        forks++;
    CHECK_INT_EQ(forks, FORKS);
    remove_folder();
}

static void announced(const char *own) {
    IN_CHILD { trace_in_child(own); }
}

static void unannounced(const char *own) {
    pid_t pid = fork();
    if (pid == 0) {
        trace_in_child(own);
        test_child_done(0);
    }
    PyThreadState *mine = PyEval_SaveThread();
    CHECK_CHILD_EXIT(pid, 0);
    PyEval_RestoreThread(mine);
}

TEST("forks while threads trace without a break leave the parent's file whole, "
     "and the child may trace anew",
     .limit_s = 60) {
    fork_while_tracing(announced);
}

TEST("... also forks that nobody announces", .limit_s = 60) {
    CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0);
    fork_while_tracing(unannounced);
}
