/* Finalization and the streams: output that cannot be written, exits, reports.
 */
#include "host.h"

#include <fcntl.h>
#include <stdlib.h>

/* ---- Streams and exits ------------------------------------------------ */

TEST("output that cannot be written makes finalization return -1 (S-FZ-01)") {
    if (access("/dev/full", W_OK) != 0)
        SKIP("no /dev/full here");
    EXPECT_CHILD_EXIT(0) {
        begin();
        CHECK_NOT_NULL(freopen("/dev/full", "w", stdout));
        setvbuf(stdout, NULL, _IOFBF, 4096);
        printf("does not fit\n");
        CHECK_INT_EQ(Py_FinalizeEx(), -1);
        CHECK_INT_EQ(Py_IsInitialized(), 0);
        _exit(0);
    }
    EXPECT_CHILD_EXIT(120) {
        begin();
        CHECK_NOT_NULL(freopen("/dev/full", "w", stdout));
        setvbuf(stdout, NULL, _IOFBF, 4096);
        printf("does not fit\n");
        Py_Exit(7);
    }
}

static void finalize_in_exit(void) {
    if (Py_IsInitialized())
        finish();
}

TEST("Py_Exit finalizes and exits; exit(3) handlers may finalize") {
    EXPECT_CHILD_EXIT(7) {
        begin();
        Py_Exit(7);
    }
    EXPECT_CHILD_EXIT(5) { Py_Exit(5); /* without a runtime */ }
    EXPECT_CHILD_EXIT(3) {
        begin();
        atexit(finalize_in_exit);
        exit(3);
    }
    EXPECT_CHILD_EXIT(4) {
        static PyEvent never;
        begin();
        start_in(PyInterpreterState_Get(), wait_for_event, &never,
                 PyThreadHandle_DAEMON);
        PyEval_SaveThread();
        exit(4); /* nobody finalizes: the process just ends */
    }
}

/* ---- Reports ---------------------------------------------------------- */

static void name_and_wait(void *go) {
    PyTState_Here("pool.c:88");
    PyTState_SetName(PyThreadState_Get(), "db-pool-3");
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load((atomic_int *)go) != 0, LIMIT_MS);
    Py_END_ALLOW_THREADS
}

static int report_ends[2];

static void read_reports(void *go) {
    char text[4096] = "";
    size_t used = 0;
    /* Two reports come while it waits; then the thread may go. */
    while (strstr(text, "has waited") == NULL ||
           strstr(strstr(text, "has waited") + 1, "has waited") == NULL) {
        ssize_t n = read(report_ends[0], text + used, sizeof text - 1 - used);
        CHECK_INT_GT(n, 0);
        used += (size_t)n;
        text[used] = 0;
    }
    CHECK_STR_CONTAINS(text, "shutdown of interpreter 0 has waited");
    CHECK_STR_CONTAINS(text, " s for thread 'db-pool-3' (tid ");
    CHECK_STR_CONTAINS(text, "last detached at pool.c:88");
    atomic_store((atomic_int *)go, 1);
}

TEST("a finalization that waits says for whom, every so often (2)") {
    atomic_int go = 0;
    struct peers peers = PEERS_INIT;
    CHECK_INT_EQ(pipe(report_ends), 0);
    begin();
    CHECK_INT_EQ(PyTState_SetShutdownReport(10 * MS, report_ends[1]), 0);
    hold("thread.func.begin");
    PyThreadHandle_Decref(start(name_and_wait, &go));
    wait_passing("thread.func.begin");
    peers_add(&peers, 1, read_reports, &go);
    peers_start(&peers);
    finish();
    peers_join(&peers, LIMIT_MS);
    PyTState_SetShutdownReport(0, 2);
}

TEST("the environment asks for the same report, on the standard error") {
    EXPECT_CHILD_EXIT(0) {
        static atomic_int go;
        struct peers peers = PEERS_INIT;
        setenv("PYTSTATE_SHUTDOWN_REPORT", "0.01", 1);
        CHECK_INT_EQ(pipe(report_ends), 0);
        begin();
        PyThreadHandle_Decref(start(name_and_wait, &go));
        dup2(report_ends[1], STDERR_FILENO);
        peers_add(&peers, 1, read_reports, &go);
        peers_start(&peers);
        finish();
        peers_join(&peers, LIMIT_MS);
    }
}
