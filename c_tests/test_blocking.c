/* Blocking regions: who blocks in the OS leaves a function that wakes it. */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pytstate.h>

#define MS INT64_C(1000000)

/* A thread that reads from a pipe inside a region, as often as asked. */
struct reader {
    int in, out; /* the two ends of the pipe */
    int rounds;  /* how many bytes it wants, each in a region of its own */
    int deaf;    /* calls of the function that do nothing */
    atomic_int calls, inside, done;
    pthread_t called_on;
    int called_attached;
};

static void open_pipe(struct reader *reader) {
    int ends[2];
    CHECK_INT_EQ(pipe(ends), 0);
    reader->in = ends[0];
    reader->out = ends[1];
}

static void wake(void *arg) {
    struct reader *reader = arg;
    reader->called_on = pthread_self();
    reader->called_attached = PyThreadState_GetUnchecked() != NULL;
    if (atomic_fetch_add(&reader->calls, 1) < reader->deaf)
        return;
    CHECK_INT_EQ(write(reader->out, "x", 1), 1);
}

static void read_in_region(struct reader *reader) {
    char byte;
    CHECK_INT_EQ(PyTState_BeginBlocking(wake, reader), 0);
    CHECK_NULL(PyThreadState_GetUnchecked());
    atomic_fetch_add(&reader->inside, 1);
    CHECK_INT_EQ(read(reader->in, &byte, 1), 1);
    PyTState_EndBlocking();
    CHECK_NOT_NULL(PyThreadState_GetUnchecked());
}

static void read_all(void *arg) {
    struct reader *reader = arg;
    for (int i = 0; i < (reader->rounds ? reader->rounds : 1); i++)
        read_in_region(reader);
    atomic_store(&reader->done, 1);
}

static PyThreadHandle *start(PyInterpreterState *interp, struct reader *reader,
                             int flags) {
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_NOT_NULL(handle);
    open_pipe(reader);
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, read_all, reader, flags),
                 0);
    return handle;
}

static void until_inside(struct reader *reader) {
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&reader->inside), 5000);
    Py_END_ALLOW_THREADS
}

/* ---- The end of an interpreter ---------------------------------------- */

TEST("finalization wakes a thread that it waits for, from the ending thread, "
     "detached") {
    struct reader reader = {0};
    Py_InitializeEx(0);
    PyThreadHandle *handle = start(PyInterpreterState_Get(), &reader, 0);
    until_inside(&reader);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(reader.done, 1);
    CHECK_INT_GE(reader.calls, 1);
    CHECK(pthread_equal(reader.called_on, pthread_self()));
    CHECK_INT_EQ(reader.called_attached, 0);
    PyThreadHandle_Decref(handle);
}

TEST("a region that begins while finalization waits is ended, too") {
    struct reader reader = {.rounds = 3};
    Py_InitializeEx(0);
    PyThreadHandle *handle = start(PyInterpreterState_Get(), &reader, 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(reader.done, 1);
    CHECK_INT_EQ(reader.inside, 3);
    PyThreadHandle_Decref(handle);
}

TEST("a call that came before the thread blocked is not the last") {
    struct reader reader = {.deaf = 2};
    Py_InitializeEx(0);
    PyThreadHandle *handle = start(PyInterpreterState_Get(), &reader, 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_GE(reader.calls, 3);
    PyThreadHandle_Decref(handle);
}

TEST("a daemon is left where it is") {
    struct reader reader = {0};
    Py_InitializeEx(0);
    PyThreadHandle *handle =
        start(PyInterpreterState_Get(), &reader, PyThreadHandle_DAEMON);
    until_inside(&reader);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(reader.calls, 0);
    CHECK_INT_EQ(reader.done, 0);
    PyThreadHandle_Decref(handle);
}

TEST("a wait of the host's calls no function") {
    struct reader reader = {0};
    size_t left = 0;
    Py_InitializeEx(0);
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadHandle *handle = start(interp, &reader, 0);
    until_inside(&reader);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 150 * MS, NULL, 0, &left), 1);
    CHECK_INT_EQ(left, 1);
    CHECK_INT_EQ(reader.calls, 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    PyThreadHandle_Decref(handle);
}

TEST("the end of a sub-interpreter wakes its threads alone") {
    struct reader here = {0}, there = {0};
    Py_InitializeEx(0);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadHandle *first = start(PyInterpreterState_Get(), &here, 0);
    PyThreadState *sub = Py_NewInterpreter();
    PyThreadHandle *second = start(PyInterpreterState_Get(), &there, 0);
    until_inside(&there);
    Py_EndInterpreter(sub);
    CHECK_INT_EQ(there.done, 1);
    CHECK_INT_EQ(here.calls, 0);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(here.done, 1);
    PyThreadHandle_Decref(first);
    PyThreadHandle_Decref(second);
}

struct guarded {
    struct reader reader;
    PyInterpreterView *view;
};

static void read_with_guard(void *arg) {
    struct guarded *guarded = arg;
    PyThreadStateToken *token = PyThreadState_EnsureFromView(guarded->view);
    CHECK_NOT_NULL(token);
    read_in_region(&guarded->reader);
    atomic_store(&guarded->reader.done, 1);
    PyThreadState_Release(token);
}

TEST("finalization wakes a foreign thread whose guard it waits for") {
    struct guarded guarded = {{0}, NULL};
    struct peers peers = PEERS_INIT;
    Py_InitializeEx(0);
    open_pipe(&guarded.reader);
    guarded.view = PyInterpreterView_FromMain();
    peers_add(&peers, 1, read_with_guard, &guarded);
    peers_start(&peers);
    until_inside(&guarded.reader);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(guarded.reader.done, 1);
    peers_join(&peers, 5000);
    PyInterpreterView_Close(guarded.view);
}

/* ---- On demand -------------------------------------------------------- */

TEST("a state is unblocked on demand, in its region only") {
    struct reader reader = {0};
    Py_InitializeEx(0);
    CHECK_INT_EQ(PyTState_Unblock(PyThreadState_Get()), 0);
    PyThreadHandle *handle = start(PyInterpreterState_Get(), &reader, 0);
    until_inside(&reader);
    CHECK_INT_EQ(PyTState_Unblock(PyThreadHandle_ThreadState(handle)), 1);
    CHECK_NOT_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(reader.called_attached, 0);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, -1), 0);
    CHECK_INT_EQ(reader.calls, 1);
    PyThreadHandle_Decref(handle);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a region without a function is nobody's to end") {
    Py_InitializeEx(0);
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_BeginBlocking(NULL, NULL), 0);
    CHECK_INT_EQ(PyTState_Unblock(state), 0);
    PyTState_EndBlocking();
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- The end of the region against the function ----------------------- */

static struct latch entered = LATCH_INIT(1), leave = LATCH_INIT(1);
static atomic_int returned;
static _Atomic(PyThreadState *) region_state;
static atomic_long region_thread;

static void stay(void *arg) {
    (void)arg;
    latch_arrive(&entered);
    CHECK(latch_wait(&leave, 10000));
    CHECK_INT_EQ(atomic_load(&returned), 0);
}

static void leave_at_once(void *arg) {
    (void)arg;
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(PyTState_BeginBlocking(stay, NULL), 0);
    atomic_store(&region_thread, test_native_id());
    atomic_store(&region_state, PyGILState_GetThisThreadState());
    CHECK(latch_wait(&entered, 10000));
    PyTState_EndBlocking();
    atomic_store(&returned, 1);
    PyGILState_Release(token);
}

static void unblock_it(void *arg) {
    (void)arg;
    WAIT_UNTIL(atomic_load(&region_state), 10000);
    CHECK_INT_EQ(PyTState_Unblock(region_state), 1);
}

TEST("the end of a region waits for the function that runs, without the GIL") {
    struct peers peers = PEERS_INIT;
    Py_InitializeEx(0);
    PyThreadState *main_state = PyEval_SaveThread();
    peers_add(&peers, 1, leave_at_once, NULL);
    peers_add(&peers, 1, unblock_it, NULL);
    peers_start(&peers);
    CHECK(latch_wait(&entered, 10000));
    WAIT_UNTIL(test_thread_sleeps(region_thread), 10000);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(atomic_load(&returned), 0);
    /* Somebody runs it already. */
    CHECK_INT_EQ(PyTState_Unblock(region_state), 0);
    PyEval_SaveThread();
    latch_arrive(&leave);
    peers_join(&peers, 10000);
    CHECK_INT_EQ(atomic_load(&returned), 1);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

enum { LAPS = 20000 };
static atomic_int laps_left, calls_seen, callers;
static _Atomic(PyThreadState *) lapping;

static void touch(void *arg) {
    atomic_int *alive = arg;
    CHECK_INT_EQ(atomic_load(alive), 1);
    atomic_fetch_add(&calls_seen, 1);
}

static void lap(void *arg) {
    (void)arg;
    PyGILState_STATE token = PyGILState_Ensure();
    atomic_store(&lapping, PyThreadState_Get());
    while (atomic_load(&laps_left) > 0 || atomic_load(&calls_seen) == 0 ||
           atomic_load(&callers) < 2) {
        atomic_int alive = 1;
        CHECK_INT_EQ(PyTState_BeginBlocking(touch, &alive), 0);
        PyTState_EndBlocking();
        atomic_store(&alive, 0);
        atomic_fetch_sub(&laps_left, 1);
    }
    PyThreadState *state = atomic_exchange(&lapping, NULL);
    /* Who had read the pointer is done with it. */
    Py_BEGIN_ALLOW_THREADS
    WAIT_UNTIL(atomic_load(&returned) == 2, 10000);
    Py_END_ALLOW_THREADS
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(token);
}

static void unblock_always(void *arg) {
    (void)arg;
    WAIT_UNTIL(atomic_load(&lapping), 10000);
    atomic_fetch_add(&callers, 1);
    for (PyThreadState *state; (state = atomic_load(&lapping)) != NULL;)
        PyTState_Unblock(state);
    atomic_fetch_add(&returned, 1);
}

TEST("a function never runs after the end of its region", .limit_s = 60) {
    struct peers peers = PEERS_INIT;
    Py_InitializeEx(0);
    PyThreadState *main_state = PyEval_SaveThread();
    atomic_store(&laps_left, LAPS);
    peers_add(&peers, 1, lap, NULL);
    peers_add(&peers, 2, unblock_always, NULL);
    peers_start(&peers);
    peers_join(&peers, 50000);
    NOTE("%d calls in %d regions", calls_seen, LAPS);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- One thread ------------------------------------------------------- */

static void nothing(void *arg) { (void)arg; }

TEST("a region keeps errno") {
    Py_InitializeEx(0);
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), 0);
    errno = ERANGE;
    PyTState_EndBlocking();
    CHECK_INT_EQ(errno, ERANGE);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a region is ended after its thread used another interpreter") {
    Py_InitializeEx(0);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), 0);
    PyEval_RestoreThread(sub);
    EXPECT_ABORT("PyTState_EndBlocking: non-NULL old thread state") {
        PyTState_EndBlocking();
    }
    CHECK_PTR_EQ(PyEval_SaveThread(), sub);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), sub);
    PyTState_EndBlocking();
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    CHECK_INT_EQ(PyTState_Unblock(main_state), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a region may be left attached: it ends, and the state stays attached") {
    Py_InitializeEx(0);
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), 0);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(PyTState_Unblock(state), 1);
    PyTState_EndBlocking();
    CHECK_INT_EQ(PyTState_Unblock(state), 0);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(token);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static int begins, ends;

static void count_point(const char *point, void *arg) {
    (void)arg;
    if (strcmp(point, "blocking.begin") == 0)
        begins++;
    else
        ends++;
    CHECK_NULL(PyThreadState_GetUnchecked());
}

TEST("a region passes its two sync points, detached") {
    Py_InitializeEx(0);
    PyTState_Sync_Hook("blocking.begin", count_point, NULL);
    PyTState_Sync_Hook("blocking.end", count_point, NULL);
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), 0);
    CHECK_INT_EQ(begins, 1);
    CHECK_INT_EQ(ends, 0);
    PyTState_EndBlocking();
    CHECK_INT_EQ(ends, 1);
    PyTState_Sync_Clear();
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static void steal(void *state) { CHECK_INT_EQ(PyTState_Rebind(state), -1); }

TEST("a state in a blocking region is not handed to another thread") {
    struct peers peers = PEERS_INIT;
    Py_InitializeEx(0);
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), 0);
    peers_add(&peers, 1, steal, state);
    peers_start(&peers);
    peers_join(&peers, 10000);
    PyTState_EndBlocking();
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- Misuse ----------------------------------------------------------- */

TEST("nesting is misuse") {
    EXPECT_ABORT("PyTState_BeginBlocking: thread state 0x") {
        Py_InitializeEx(0);
        PyTState_BeginBlocking(nothing, NULL);
        PyGILState_Ensure();
        PyTState_BeginBlocking(nothing, NULL);
    }
}

static int complaints;

static void complain(const char *function, const char *message, void *data) {
    (void)data;
    NOTE("%s: %s", function, message);
    complaints++;
}

TEST("nesting that is let pass changes nothing") {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.check_level = PyTState_CHECK_CALLBACK;
    PyTState_SetCheckCallback(complain, NULL);
    CHECK(!PyStatus_Exception(PyTState_Initialize(&config)));
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), 0);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(PyTState_BeginBlocking(nothing, NULL), -1);
    CHECK_INT_EQ(complaints, 1);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(token);
    PyTState_EndBlocking();
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyTState_EndBlocking();
    CHECK_INT_EQ(complaints, 2);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("ending a region that did not begin is misuse") {
    EXPECT_ABORT("PyTState_EndBlocking: the calling thread is in no blocking "
                 "region") {
        Py_InitializeEx(0);
        PyTState_EndBlocking();
    }
}

TEST("a region begins attached only") {
    EXPECT_ABORT("Fatal Python error: PyTState_BeginBlocking: ") {
        Py_InitializeEx(0);
        PyEval_SaveThread();
        PyTState_BeginBlocking(nothing, NULL);
    }
    EXPECT_ABORT("Fatal Python error: PyTState_Unblock: ") {
        PyTState_Unblock(NULL);
    }
}
