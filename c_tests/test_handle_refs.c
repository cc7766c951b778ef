/* References to thread handles, and threads that nobody joins. */
#include "host.h"

#include <malloc.h>

static atomic_int n_ran;

static void count_run(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_ran, 1);
}

/* ---- References ------------------------------------------------------- */

TEST("a handle that is dropped at once leaves its thread to run to its end") {
    begin();
    for (int i = 0; i < 100; i++)
        PyThreadHandle_Decref(start(count_run, NULL));
    CHECK_INT_EQ(
        PyTState_WaitForThreads(PyInterpreterState_Get(), LIMIT, NULL, 0, NULL),
        0);
    CHECK_INT_EQ(atomic_load(&n_ran), 100);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}

TEST("the last reference may go at any step of the thread's end") {
    static const char *const steps[] = {
        "thread.entry",         "thread.bound",        "thread.func.begin",
        "thread.func.end",      "clear.begin",         "exit_event.set",
        "delete.unlinked",      "delete.gil_released", "delete.done",
        "thread.state_deleted", "thread.tail",         "thread.event_set"};
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        hold(steps[i]);
        PyThreadHandle *handle = start(count_run, NULL);
        PyThreadState *mine = PyEval_SaveThread();
        wait_held(steps[i]);
        PyThreadHandle_Incref(handle);
        PyThreadHandle_Decref(handle);
        PyThreadHandle_Decref(handle);
        let_go(steps[i]);
        CHECK_INT_EQ(PyTState_WaitForThreads(interp, LIMIT, NULL, 0, NULL), 0);
        CHECK_INT_EQ(test_thread_count(), 1);
        PyEval_RestoreThread(mine);
        CHECK_UINT_EQ(n_states(NULL), 1);
    }
    finish();
}

static void drop_while_joining(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
}

TEST("a joiner keeps the handle alive that others drop") {
    static PyEvent go;
    struct peers peers = PEERS_INIT;
    begin();
    PyThreadHandle *handle = start(wait_for_event, &go);
    hold("join.event_seen");
    peers_add(&peers, 1, drop_while_joining, handle);
    peers_start(&peers);
    _PyEvent_Notify(&go);
    wait_held("join.event_seen");
    PyThreadHandle_Decref(handle);
    let_go("join.event_seen");
    join_peers(&peers);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}

static long resident_kib(void) {
    long pages = 0, size = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK_NOT_NULL(file);
    CHECK_INT_EQ(fscanf(file, "%ld %ld", &size, &pages), 2);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Bytes that malloc has given out, or -1 where it does not tell. */
static long allocated(void) {
#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
    return (long)mallinfo2().uordblks;
#else
    return -1;
#endif
}

static void run_unjoined(int n) {
    for (int i = 0; i < n; i++) {
        PyThreadHandle_Decref(start_in(PyInterpreterState_Get(), count_run,
                                       NULL,
                                       i % 2 ? PyThreadHandle_DAEMON : 0));
        if (i % 50 == 49)
            WAIT_DETACHED(test_thread_count() == 1);
    }
}

TEST("threads that nobody joins leave no memory behind (bpo-37788)") {
    begin();
    run_unjoined(1000);
    long resident = resident_kib(), bytes = allocated();
    run_unjoined(3000);
    long grown = resident_kib() - resident;
    NOTE("in 3000 threads: %ld KiB resident, %ld bytes", grown,
         allocated() - bytes);
    /* A sanitizer keeps records; else a stack alone would be more. */
    CHECK_INT_LT(grown, bytes < 0 ? 64 * 1024 : 2048);
    CHECK_INT_LT(allocated() - bytes, 32 * 1024); /* 11 for each thread */
    CHECK_INT_EQ(atomic_load(&n_ran), 4000);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}

TEST("handles outlive the runtime (S-IM-06)") {
    begin();
    PyThreadHandle *handle = start(do_nothing, NULL);
    PyThreadHandle *never = PyThreadHandle_New();
    finish(); /* waits for it */
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(never, FOREVER), -1);
    PyThreadHandle_Decref(handle);
    begin();
    CHECK_INT_EQ(PyThreadHandle_Start(never, PyInterpreterState_Get(),
                                      count_run, NULL, 0),
                 0);
    join_and_drop(never);
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    finish();
}
