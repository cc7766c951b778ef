/* Every way to come late: whatever a thread was in when the runtime ended. */
#include "late_host.h"

static PyMutex mutex;
static PyEvent event;
static _PyRWMutex rw;
static _PyRecursiveMutex recursive;
static _PyOnceFlag once;
static PyThread_type_lock lock;
static uint8_t place;
static PyThreadHandle *other;

static void acquire(struct late *late) {
    PyEval_ReleaseThread(late->state);
    PyTState_Sync_Point("test.late");
    PyEval_AcquireThread(late->state);
}

static void swap(struct late *late) {
    PyThreadState_Swap(NULL);
    PyTState_Sync_Point("test.late");
    PyThreadState_Swap(late->state);
}

static void attach(struct late *late) {
    _PyThreadState_Detach(late->state);
    PyTState_Sync_Point("test.late");
    _PyThreadState_Attach(late->state);
}

static void ensure(struct late *late) {
    (void)late;
    PyEval_SaveThread();
    PyTState_Sync_Point("test.late");
    PyGILState_Ensure();
}

static void lock_mutex(struct late *late) {
    (void)late;
    PyMutex_Lock(&mutex); /* held by the main thread, to the end */
}

static void wait_event(struct late *late) {
    (void)late;
    PyEvent_Wait(&event);
}

static void wait_event_timed(struct late *late) {
    (void)late;
    PyEvent_WaitTimed(&event, LIMIT, 1);
}

static void lock_rw(struct late *late) {
    (void)late;
    _PyRWMutex_Lock(&rw);
}

static void lock_rw_to_read(struct late *late) {
    (void)late;
    _PyRWMutex_RLock(&rw);
}

static void lock_recursive(struct late *late) {
    (void)late;
    _PyRecursiveMutex_Lock(&recursive);
}

static int never_again(void *arg) {
    (void)arg;
    FAIL("called although another thread has done it");
}

static void call_once(struct late *late) {
    (void)late;
    _PyOnceFlag_CallOnceSlow(&once, never_again, NULL);
}

static void acquire_lock(struct late *late) {
    (void)late;
    PyThread_acquire_lock_timed_with_retries(lock, -1);
}

static void park(struct late *late) {
    (void)late;
    uint8_t expected = place;
    _PyParkingLot_Park(&place, &expected, 1, -1, NULL, 1);
}

static void end_blocking(struct late *late) {
    (void)late;
    CHECK_INT_EQ(PyTState_BeginBlocking(NULL, NULL), 0);
    PyTState_Sync_Point("test.late");
    PyTState_EndBlocking();
}

static void ensure_without_guard(struct late *late) {
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyThreadState_Ensure(guard);
    PyInterpreterGuard_Close(guard);
    restore(late); /* S-G8-09 */
}

static void join_other(struct late *late) {
    (void)late;
    PyThreadHandle_Join(other, FOREVER);
}

static void stay(void *started) {
    _PyEvent_Notify(started);
    PyEvent_Wait(&event);
}

/* At a step of the thread's own start. */
static void nothing(struct late *late) { (void)late; }

static const struct {
    const char *name;
    void (*attach)(struct late *);
    const char *held_at; /* where it is when the runtime ends */
    int skips;           /* it just ends: S-HD-08 */
} ways[] = {
    {"RestoreThread", restore, "test.late", 0},
    {"AcquireThread", acquire, "test.late", 0},
    {"Swap", swap, "test.late", 0},
    {"_Attach", attach, "test.late", 0},
    {"PyGILState_Ensure", ensure, "test.late", 0},
    {"PyMutex_Lock", lock_mutex, NULL, 0},
    {"PyEvent_Wait", wait_event, NULL, 0},
    {"PyEvent_WaitTimed", wait_event_timed, NULL, 0},
    {"_PyRWMutex_Lock", lock_rw, NULL, 0},
    {"_PyRWMutex_RLock", lock_rw_to_read, NULL, 0},
    {"_PyRecursiveMutex_Lock", lock_recursive, NULL, 0},
    {"_PyOnceFlag_CallOnce", call_once, NULL, 0},
    {"PyThread_acquire_lock_timed", acquire_lock, NULL, 0},
    {"_PyParkingLot_Park", park, NULL, 0},
    {"PyTState_EndBlocking", end_blocking, "test.late", 0},
    {"a guard that was closed early", ensure_without_guard, "test.late", 0},
    {"join", join_other, NULL, 0},
    {"the start, before it is bound", nothing, "thread.entry", 1},
    {"the start, before it attaches", nothing, "thread.bound", 0},
};

/* By a thread without a state, so that nothing else waits for it. */
static int stay_in_once(void *inside) {
    latch_arrive(inside);
    return PyEvent_WaitTimed(&event, LIMIT, 0) ? 0 : -1;
}

static void do_once(void *inside) {
    _PyOnceFlag_CallOnceSlow(&once, stay_in_once, inside);
}

/* Everything that a way may wait for, held by others; and given back. */
static void take_all(struct peers *peers) {
    struct latch inside = LATCH_INIT(1);
    PyMutex_Lock(&mutex);
    _PyRWMutex_Lock(&rw);
    _PyRecursiveMutex_Lock(&recursive);
    lock = PyThread_allocate_lock();
    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
    peers_add(peers, 1, do_once, &inside);
    peers_start(peers);
    CHECK_INT_EQ(latch_wait(&inside, LIMIT_MS), 1);
}

static void give_all(struct peers *peers) {
    PyMutex_Unlock(&mutex);
    _PyRWMutex_Unlock(&rw);
    _PyRecursiveMutex_Unlock(&recursive);
    PyThread_release_lock(lock);
    _PyEvent_Notify(&event);
    _PyParkingLot_UnparkAll(&place);
    peers_join(peers, LIMIT_MS);
}

static void check_way(size_t i) {
    struct peers peers = PEERS_INIT;
    struct late late = {.attach = ways[i].attach};
    const char *held_at = ways[i].held_at;
    if (held_at != NULL && strcmp(held_at, "test.late") != 0)
        hold(held_at);
    begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    take_all(&peers);
    if (ways[i].attach == join_other) {
        static PyEvent started;
        other = start_in(PyInterpreterState_Get(), stay, &started,
                         PyThreadHandle_DAEMON);
        wait_for_event(&started);
    }
    late.handle = start_in(PyInterpreterState_Get(), come_late, &late,
                           PyThreadHandle_DAEMON);
    if (held_at != NULL)
        wait_held(held_at);
    else
        wait_asleep(&late.native);
    finish();
    if (held_at != NULL)
        let_go(held_at);
    give_all(&peers);
    if (PyThreadHandle_Join(late.handle, LIMIT) != 0)
        FAIL("%s: the thread does not end", ways[i].name);
    if (other != NULL)
        CHECK_INT_EQ(PyThreadHandle_Join(other, LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_met), 1 - ways[i].skips + (other != NULL));
    CHECK_INT_EQ(test_thread_count(), 1);
}

TEST("whichever call attaches, a late thread does not come back (S-DT-09)") {
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        EXPECT_CHILD_EXIT(0) {
            prepare();
            NOTE("%s", ways[i].name);
            check_way(i);
        }
}

/* While the end is clearing what it has just taken out of its lists. */
static void let_it_come(void *arg) {
    struct late *late = arg;
    CHECK_INT_EQ(PyTState_Sync_WaitParked("delete.unlinked", LIMIT), 0);
    let_go("test.late");
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, LIMIT), 0);
    let_go("delete.unlinked");
}

TEST("a blocking region may end while the end gives its state up") {
    struct late late = {.attach = end_blocking};
    struct peers peers = PEERS_INIT;
    prepare();
    begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    late.handle = start_in(PyInterpreterState_Get(), come_late, &late,
                           PyThreadHandle_DAEMON);
    wait_held("test.late");
    hold("delete.unlinked");
    peers_add(&peers, 1, let_it_come, &late);
    peers_start(&peers);
    finish();
    peers_join(&peers, LIMIT_MS);
    check_ended(&late);
}

TEST("a thread that waits for the GIL does not get it any more (S-GIL-15)") {
    NEEDS_GIL();
    struct late late = {.attach = restore};
    PyThreadState *main_state = begin();
    prepare();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    late.handle =
        start_in(main_state->interp, come_late, &late, PyThreadHandle_DAEMON);
    wait_held("test.late");
    hold("gil.wait");
    let_go("test.late"); /* it finds the GIL taken: this thread has it */
    CHECK_INT_EQ(PyTState_Sync_WaitParked("gil.wait", LIMIT), 0);
    let_go("gil.wait");
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&late.native)), LIMIT_MS);
    finish();
    check_ended(&late);
}
