/* What a late thread has taken, or is given, does not stay taken. */
#include "late_host.h"

static PyMutex mutex, pair[2];
static PyEvent event;
static _PyRWMutex rw;
static _PyOnceFlag once;
static PyThread_type_lock lock;
static struct latch inside = LATCH_INIT(1);

static void lock_mutex(struct late *late) {
    (void)late;
    PyMutex_Lock(&mutex);
}

static void lock_rw_to_write(struct late *late) {
    (void)late;
    _PyRWMutex_Lock(&rw);
}

static void acquire_lock(struct late *late) {
    (void)late;
    PyThread_acquire_lock_timed_with_retries(lock, -1);
}

/* Until a thread that sleeps now is old enough to be handed a mutex. */
static void wait_old(void) {
    int64_t begun = test_now_ns();
    WAIT_UNTIL(test_now_ns() - begun > 2 * MS, LIMIT_MS);
}

/* Starts a daemon that waits, detached, and finalizes meanwhile. */
static void make_late_asleep(struct late *late) {
    late->handle = start_in(PyInterpreterState_Get(), come_late, late,
                            PyThreadHandle_DAEMON);
    wait_asleep(&late->native);
    wait_old();
    finish();
}

static void check_gone(struct late *late) {
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&n_met), 1);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
}

static void begin_lates(void) {
    prepare();
    begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
}

TEST("a mutex that is handed to a late thread is free again") {
    struct late late = {.attach = lock_mutex};
    begin_lates();
    PyMutex_Lock(&mutex);
    make_late_asleep(&late);
    PyMutex_Unlock(&mutex); /* handed over: it is old enough */
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, LIMIT, 0), PY_LOCK_ACQUIRED);
    check_gone(&late);
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 0);
}

static void lock_and_unlock(void *unused) {
    (void)unused;
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

TEST("a late thread passes a mutex on to the next waiter") {
    struct late late = {.attach = lock_mutex};
    struct peers peers = PEERS_INIT;
    begin_lates();
    PyMutex_Lock(&mutex);
    make_late_asleep(&late);
    peers_add(&peers, 3, lock_and_unlock, NULL);
    peers_start(&peers);
    PyMutex_Unlock(&mutex);
    peers_join(&peers, LIMIT_MS);
    check_gone(&late);
}

static void read_and_unlock(void *unused) {
    (void)unused;
    _PyRWMutex_RLock(&rw);
    _PyRWMutex_RUnlock(&rw);
}

TEST("a late writer keeps no reader out") {
    struct late late = {.attach = lock_rw_to_write};
    struct peers peers = PEERS_INIT;
    begin_lates();
    _PyRWMutex_RLock(&rw);
    make_late_asleep(&late);
    peers_add(&peers, 3, read_and_unlock, NULL);
    peers_start(&peers);
    _PyRWMutex_RUnlock(&rw);
    peers_join(&peers, LIMIT_MS);
    check_gone(&late);
    CHECK_UINT_EQ(rw.bits, 0);
}

TEST("a lock that a late thread acquires detached is released") {
    struct late late = {.attach = acquire_lock};
    begin_lates();
    lock = PyThread_allocate_lock();
    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
    make_late_asleep(&late);
    PyThread_release_lock(lock); /* it alone waits, so it acquires it */
    check_gone(&late);
    CHECK_INT_EQ(PyThread_acquire_lock(lock, NOWAIT_LOCK), 1);
    PyThread_release_lock(lock);
    PyThread_free_lock(lock);
}

static int late_in_once(void *arg) {
    restore(arg);
    return 0;
}

static void run_once(struct late *late) {
    _PyOnceFlag_CallOnceSlow(&once, late_in_once, late);
}

static int done_at_once(void *arg) {
    (void)arg;
    return 0;
}

TEST("a once function that is late is run again by the next caller") {
    struct late late = {.attach = run_once};
    begin_lates();
    make_late(&late);
    CHECK_INT_EQ(_PyOnceFlag_CallOnceSlow(&once, done_at_once, NULL), 0);
    check_ended(&late);
}

/* ---- Joins, initialization, forks ---------------------------------------- */

static pthread_key_t slow_key;
static PyThreadHandle *slow;

/* The exit event is set by now; the OS thread goes on. */
static void end_slowly(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyEvent_WaitTimed(&event, LIMIT, 0), 1);
}

static void set_slow_key(void *unused) {
    (void)unused;
    pthread_setspecific(slow_key, &slow_key);
}

static void join_slow(struct late *late) {
    (void)late;
    PyThreadHandle_Join(slow, FOREVER);
}

TEST("a joiner that is late leaves the join to the next one") {
    struct late late = {.attach = join_slow};
    begin_lates();
    pthread_key_create(&slow_key, end_slowly);
    slow = start_in(PyInterpreterState_Get(), set_slow_key, NULL,
                    PyThreadHandle_DAEMON);
    WAIT_DETACHED(PyThreadHandle_IsDone(slow));
    make_late_asleep(&late);
    _PyEvent_Notify(&event);
    CHECK_INT_EQ(PyThreadHandle_Join(slow, LIMIT), 0);
    check_gone(&late);
    PyThreadHandle_Decref(slow);
}

static void *fork_with_handlers(void *unused) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK_CHILD_EXIT(pid, 0);
    return unused;
}

static void fork_here_too(struct late *late) {
    (void)late;
    if (fork() == 0)
        _exit(0);
}

static void initialize_again(struct late *late) {
    (void)late;
    Py_InitializeEx(0);
}

static void be_late_behind_a_fork(void (*attach)(struct late *)) {
    struct late late = {.attach = attach};
    pthread_t forker;
    begin_lates();
    CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0);
    hold("fork.before"); /* it keeps everyone from initializing */
    pthread_create(&forker, NULL, fork_with_handlers, NULL);
    wait_held("fork.before");
    make_late_asleep(&late);
    let_go("fork.before");
    pthread_join(forker, NULL);
    begin();
    fork_with_handlers(NULL);
    finish();
    check_gone(&late);
}

TEST("a thread that is late in an initialization keeps no other out") {
    be_late_behind_a_fork(initialize_again);
}

TEST("a thread that is late on its way to a fork keeps no other out") {
    be_late_behind_a_fork(fork_here_too);
}

/* ---- Critical sections ----------------------------------------------------
 */

static void begin_pair(struct late *late) {
    (void)late;
    PyCriticalSection2 cs;
    PyCriticalSection2_BeginMutex(&cs, &pair[0], &pair[1]);
}

TEST("a section of two that is late between them gives the first back") {
    struct late late = {.attach = begin_pair};
    prepare();
    begin_mode(PyTState_GIL_NONE, NULL);
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    PyMutex_Lock(&pair[1]);
    make_late_asleep(&late);
    CHECK_INT_EQ(PyMutex_IsLocked(&pair[0]), 1);
    PyMutex_Unlock(&pair[1]);
    for (int i = 0; i < 2; i++)
        CHECK_INT_EQ(_PyMutex_LockTimed(&pair[i], LIMIT, 0), PY_LOCK_ACQUIRED);
    check_gone(&late);
}

static atomic_int n_mutex_waits;

static void count_waits(const char *point, void *arg) {
    (void)point, (void)arg;
    atomic_fetch_add(&n_mutex_waits, 1);
}

static void lock_in_section(struct late *late) {
    (void)late;
    PyCriticalSection cs;
    PyCriticalSection_BeginMutex(&cs, &pair[0]);
    latch_arrive(&inside);
    PyMutex_Lock(&mutex); /* gives the section up meanwhile */
}

TEST("a thread that has a mutex and is late in taking its section back gives "
     "both back") {
    struct late late = {.attach = lock_in_section};
    prepare();
    PyThreadState *main_state = begin_mode(PyTState_GIL_NONE, NULL);
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    PyTState_Sync_Hook("mutex.wait", count_waits, NULL);
    PyMutex_Lock(&mutex);
    late.handle =
        start_in(main_state->interp, come_late, &late, PyThreadHandle_DAEMON);
    CHECK_INT_EQ(latch_wait(&inside, LIMIT_MS), 1);
    wait_asleep(&late.native); /* on the mutex */
    wait_old();
    PyMutex_Lock(&pair[0]);
    PyMutex_Unlock(&mutex); /* it has it, and waits for its section */
    WAIT_UNTIL(atomic_load(&n_mutex_waits) == 2, LIMIT_MS);
    wait_asleep(&late.native);
    CHECK_INT_EQ(PyMutex_IsLocked(&mutex), 1);
    finish();
    PyMutex_Unlock(&pair[0]);
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, LIMIT, 0), PY_LOCK_ACQUIRED);
    CHECK_INT_EQ(_PyMutex_LockTimed(&pair[0], LIMIT, 0), PY_LOCK_ACQUIRED);
    check_gone(&late);
}
