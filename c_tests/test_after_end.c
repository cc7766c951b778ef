/* After the end: every call has a clear outcome, on every thread, also in what
 * the process runs on its way out. */
#include "host.h"

#include <stdlib.h>

static void look_around(void *interp) {
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_INT_EQ(PyGILState_Check(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_INT_EQ(Py_IsFinalizing(), 1);
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_New(interp));
    CHECK_INT_EQ(PyTState_ShutdownPhase(interp), PyTState_PHASE_GONE);
    CHECK_UINT_EQ(PyTState_Census(NULL, NULL, 0), 0);
    CHECK_UINT_EQ(PyTState_Census(interp, NULL, 0), 0);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, LIMIT, NULL, 0, NULL), 0);
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, do_nothing, NULL, 0), -1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), -1);
    PyThreadHandle_Decref(handle);
    PyInterpreterView *view = PyInterpreterView_FromMain();
    if (view != NULL) { /* either is allowed: S-G8-11 */
        CHECK_NULL(PyInterpreterGuard_FromView(view));
        CHECK_NULL(PyThreadState_EnsureFromView(view));
        PyInterpreterView_Close(view);
    }
    PyMutex m = {0};
    PyMutex_Lock(&m); /* locks need no runtime: S-MX-08 */
    PyMutex_Unlock(&m);
}

TEST("after the end, every call has a clear outcome, on every thread") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = main_state->interp;
    finish();
    look_around(interp);
    peers_add(&peers, 2, look_around, interp);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
}

TEST("the main thread's own state is gone after the end, and says so") {
    EXPECT_FATAL("PyEval_RestoreThread", "was deleted") {
        PyThreadState *main_state = begin();
        finish();
        PyEval_RestoreThread(main_state);
    }
    EXPECT_FATAL("PyThreadState_Delete", "was deleted before") {
        PyThreadState *main_state = begin();
        finish();
        PyThreadState_Delete(main_state);
    }
}

/* ---- Threads that were parked without a state -------------------------- */

static PyMutex mutex;
static PyEvent event;
static _PyRWMutex rw;
static _PyRecursiveMutex recursive;
static _PyOnceFlag once;
static PyThread_type_lock lock;
static uint8_t place;
static atomic_int n_woken;

static void park_mutex(void *unused) {
    (void)unused;
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

static void park_event(void *unused) {
    (void)unused;
    PyEvent_Wait(&event);
}

static void park_rw(void *unused) {
    (void)unused;
    _PyRWMutex_RLock(&rw);
    _PyRWMutex_RUnlock(&rw);
}

static void park_recursive(void *unused) {
    (void)unused;
    _PyRecursiveMutex_Lock(&recursive);
    _PyRecursiveMutex_Unlock(&recursive);
}

static int wait_inside(void *unused) {
    park_event(unused);
    return 0;
}

static void park_once(void *unused) {
    (void)unused;
    CHECK_INT_EQ(_PyOnceFlag_CallOnceSlow(&once, wait_inside, NULL), 0);
}

static void park_lock(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
    PyThread_release_lock(lock);
}

static void park_place(void *unused) {
    (void)unused;
    uint8_t expected = place;
    CHECK_INT_EQ(_PyParkingLot_Park(&place, &expected, 1, -1, NULL, 1),
                 Py_PARK_OK);
}

static void park_join(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
}

static void (*const parks[])(void *) = {park_mutex,     park_event, park_rw,
                                        park_recursive, park_once,  park_once,
                                        park_lock,      park_place, park_join};
enum { PARKS = sizeof parks / sizeof parks[0] };
static atomic_long natives[PARKS];

static void park_then_look(void *interp_and_handle) {
    void **both = interp_and_handle;
    int i = peer_index();
    atomic_store(&natives[i], test_native_id());
    parks[i](both[1]);
    atomic_fetch_add(&n_woken, 1);
    look_around(both[0]);
}

static void sleep_on(void *inside) {
    latch_arrive(inside);
    PyEvent_Wait(&event); /* a daemon: it is late when it wakes */
}

TEST("a thread that slept in a primitive while the runtime ended goes on, and "
     "finds it gone") {
    struct peers peers = PEERS_INIT;
    struct latch inside = LATCH_INIT(1);
    PyThreadState *main_state = begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    void *both[] = {
        main_state->interp,
        start_in(main_state->interp, sleep_on, &inside, PyThreadHandle_DAEMON)};
    PyEval_SaveThread();
    CHECK_INT_EQ(latch_wait(&inside, LIMIT_MS), 1);
    PyEval_RestoreThread(main_state);
    PyMutex_Lock(&mutex);
    _PyRWMutex_Lock(&rw);
    _PyRecursiveMutex_Lock(&recursive);
    lock = PyThread_allocate_lock();
    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
    peers_add(&peers, PARKS, park_then_look, both);
    peers_start(&peers);
    for (int i = 0; i < PARKS; i++)
        wait_asleep(&natives[i]);
    finish();
    CHECK_INT_EQ(atomic_load(&n_woken), 0);
    PyMutex_Unlock(&mutex);
    _PyRWMutex_Unlock(&rw);
    _PyRecursiveMutex_Unlock(&recursive);
    PyThread_release_lock(lock);
    _PyEvent_Notify(&event);
    _PyParkingLot_UnparkAll(&place);
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_woken), PARKS);
    PyThreadHandle_Decref(both[1]);
    PyThread_free_lock(lock);
}

/* ---- On the way out of the process ------------------------------------ */

enum { HANDLER_RAN = 1, DESTRUCTOR_RAN = 2 };
/* A page that the case and its child share; and the same in the child alone. */
static atomic_int *seen, *ways_out;
static PyInterpreterState *ended_interp;
static void (*on_the_way_out)(void);

static void note_way_out(int which) {
    if (ways_out == NULL)
        return;
    atomic_fetch_or(ways_out, which);
    on_the_way_out();
}

static void in_handler(void) { note_way_out(HANDLER_RAN); }

/* As a C++ object with static storage would. */
__attribute__((destructor)) static void in_destructor(void) {
    note_way_out(DESTRUCTOR_RAN);
}

static void find_it_gone(void) { look_around(ended_interp); }

/* Nobody finalized: everything still works, for the thread that exits. */
static void find_it_running(void) {
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_EQ(PyInterpreterState_Get(), ended_interp);
    join_and_drop(start(do_nothing, NULL));
    PyGILState_Release(token);
}

static void find_it_running_and_end_it(void) {
    if (!Py_IsInitialized()) {
        find_it_gone();
        return;
    }
    find_it_running();
    PyGILState_Ensure();
    finish();
}

static void live_in_the_next_one(void) {
    begin();
    join_and_drop(start(do_nothing, NULL));
    finish();
}

static void hang_late(void *unused) {
    (void)unused;
    for (;;)
        PyEval_RestoreThread(PyEval_SaveThread());
}

static void prepare_exit(void (*look)(void)) {
    CHECK_INT_EQ(atexit(in_handler), 0);
    ended_interp = begin()->interp;
    for (int i = 0; i < 2; i++)
        PyThreadHandle_Decref(
            start_in(ended_interp, hang_late, NULL, PyThreadHandle_DAEMON));
    on_the_way_out = look;
    ways_out = seen;
}

static void exit_started(void *unused) {
    (void)unused;
    exit(0);
}

static void *exit_now(void *unused) {
    exit_started(unused);
    return NULL;
}

static void prepare_to_see(void) {
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(seen != MAP_FAILED);
}

static void check_seen(void) {
    CHECK_INT_EQ(atomic_exchange(seen, 0), HANDLER_RAN | DESTRUCTOR_RAN);
}

TEST("exit handlers and static destructors find the runtime gone, while late "
     "threads hang") {
    prepare_to_see();
    EXPECT_CHILD_EXIT(0) {
        prepare_exit(find_it_gone);
        finish();
        exit(0);
    }
    check_seen();
    EXPECT_CHILD_EXIT(0) { /* on another thread than the one that finalized */
        pthread_t thread;
        prepare_exit(find_it_gone);
        finish();
        CHECK_INT_EQ(pthread_create(&thread, NULL, exit_now, NULL), 0);
        for (;;)
            pause();
    }
    check_seen();
}

TEST("they find it running where nobody finalized, and may use it") {
    prepare_to_see();
    EXPECT_CHILD_EXIT(0) { /* attached */
        prepare_exit(find_it_running);
        exit(0);
    }
    check_seen();
    EXPECT_CHILD_EXIT(0) { /* detached */
        prepare_exit(find_it_running);
        PyEval_SaveThread();
        exit(0);
    }
    check_seen();
    EXPECT_CHILD_EXIT(0) { /* a started thread ends the process */
        prepare_exit(find_it_running);
        PyThreadHandle_Decref(start(exit_started, NULL));
        PyEval_SaveThread();
        for (;;)
            pause();
    }
    check_seen();
}

TEST("they may end it, and begin it again") {
    prepare_to_see();
    EXPECT_CHILD_EXIT(0) {
        prepare_exit(find_it_running_and_end_it);
        exit(0);
    }
    check_seen();
    EXPECT_CHILD_EXIT(0) {
        prepare_exit(live_in_the_next_one);
        finish();
        exit(0);
    }
    check_seen();
}
