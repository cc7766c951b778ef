/* Signals at every call that blocks: a handler runs again and again while the
 * caller sleeps, and the call does what it promises all the same. */
#include "host.h"

#include <errno.h>

enum { SIGNALS = 30 };

static atomic_int n_handled;

static void on_signal(int number) {
    (void)number;
    atomic_fetch_add(&n_handled, 1);
#ifndef __SANITIZE_THREAD__ /* which reports a handler that does this */
    errno = EINTR;          /* whoever is interrupted keeps its own */
#endif
}

/* ---- One blocked caller, one helper ----------------------------------- */

/* The helper takes what the caller will wait for, then sends signals to the
 * sleeping caller, then gives it back. */
struct scene {
    void (*take)(void);
    void (*block)(void);
    void (*give)(void);
    int detached; /* the caller blocks without a state attached */
    int ends;     /* each signal is to end a wait: until all are ended */
};

static const struct scene *scene;
static int keeps_errno = 1; /* what every lock and every attach does */
static pthread_t caller;
static atomic_long caller_native;
static atomic_int is_through;
static struct latch taken;

/* A signal that met the caller before or after its wait ended none. */
static int enough(int sent) {
    return scene->ends ? atomic_load(&is_through) : sent >= SIGNALS;
}

static void help(void *arg) {
    (void)arg;
    if (scene->take != NULL)
        scene->take();
    latch_arrive(&taken);
    WAIT_UNTIL(atomic_load(&caller_native), LIMIT_MS);
    for (int sent = 0; !enough(sent); sent++) {
        int before = atomic_load(&n_handled);
        WAIT_UNTIL(test_thread_sleeps(caller_native) ||
                       atomic_load(&is_through),
                   LIMIT_MS);
        CHECK_INT_EQ(pthread_kill(caller, SIGUSR1), 0);
        WAIT_UNTIL(atomic_load(&n_handled) > before, LIMIT_MS);
    }
    if (scene->give != NULL)
        scene->give();
}

static void play(const struct scene *which) {
    struct peers peers = PEERS_INIT;
    struct sigaction action = {.sa_handler = on_signal};
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    scene = which;
    caller = pthread_self();
    taken = (struct latch)LATCH_INIT(1);
    atomic_store(&caller_native, 0);
    atomic_store(&n_handled, 0);
    atomic_store(&is_through, 0);
    peers_add(&peers, 1, help, NULL);
    PyThreadState *mine = PyEval_SaveThread();
    peers_start(&peers);
    CHECK(latch_wait(&taken, LIMIT_MS));
    if (!scene->detached)
        PyEval_RestoreThread(mine);
    errno = ERANGE;
    atomic_store(&caller_native, test_native_id());
    scene->block();
    int error = errno;
    atomic_store(&is_through, 1);
    PyThreadState *now = PyThreadState_GetUnchecked();
    CHECK_PTR_EQ(now, scene->detached ? NULL : mine);
    /* One signal too many may come between the last wait and the look. */
    if (keeps_errno && !scene->ends)
        CHECK_INT_EQ(error, ERANGE);
    if (now != NULL)
        PyEval_SaveThread();
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_GE(atomic_load(&n_handled), SIGNALS);
    PyEval_RestoreThread(mine);
}

#define PLAY_AS(...)                          \
    do {                                      \
        const struct scene one = __VA_ARGS__; \
        HERE();                               \
        play(&one);                           \
    } while (0)
#define PLAY(take, block, give) PLAY_AS({(take), (block), (give), 0, 0})
#define PLAY_DETACHED(take, block, give) \
    PLAY_AS({(take), (block), (give), 1, 0})
#define PLAY_TO_END(detached, take, block, give) \
    PLAY_AS({(take), (block), (give), (detached), 1})

/* ---- Locks ------------------------------------------------------------ */

static PyMutex mutex;
static PyEvent event;
static _PyRawMutex raw;
static _PyRWMutex rw;
static _PyRecursiveMutex recursive;
static _PyOnceFlag once;
static PyThread_type_lock lock;

static void take_mutex(void) { PyMutex_Lock(&mutex); }
static void give_mutex(void) { PyMutex_Unlock(&mutex); }
static void block_mutex(void) {
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}
static void block_mutex_flags(void) {
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, -1, _PY_LOCK_DETACH),
                 PY_LOCK_ACQUIRED);
    PyMutex_Unlock(&mutex);
}
static void block_mutex_signals(void) {
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, -1,
                                    _PY_LOCK_DETACH | _PY_LOCK_HANDLE_SIGNALS),
                 PY_LOCK_ACQUIRED);
    PyMutex_Unlock(&mutex);
}
static void give_event(void) { _PyEvent_Notify(&event); }
static void block_event(void) {
    PyEvent_Wait(&event);
    CHECK_INT_EQ(_PyEvent_IsSet(&event), 1);
}
static void take_raw(void) { _PyRawMutex_LockSlow(&raw); }
static void give_raw(void) { _PyRawMutex_UnlockSlow(&raw); }
static void block_raw(void) {
    take_raw();
    give_raw();
}
static void take_rw(void) { _PyRWMutex_Lock(&rw); }
static void give_rw(void) { _PyRWMutex_Unlock(&rw); }
static void block_rw(void) {
    take_rw();
    give_rw();
}
static void block_read(void) {
    _PyRWMutex_RLock(&rw);
    _PyRWMutex_RUnlock(&rw);
}
static void take_recursive(void) { _PyRecursiveMutex_Lock(&recursive); }
static void give_recursive(void) { _PyRecursiveMutex_Unlock(&recursive); }
static void block_recursive(void) {
    take_recursive();
    give_recursive();
}

TEST("locks and events: the wait goes on") {
    begin();
    PLAY(take_mutex, block_mutex, give_mutex);
    PLAY_DETACHED(take_mutex, block_mutex, give_mutex);
    PLAY(take_mutex, block_mutex_flags, give_mutex);
    PLAY(take_mutex, block_mutex_signals, give_mutex);
    PLAY(NULL, block_event, give_event);
    PLAY_DETACHED(take_raw, block_raw, give_raw);
    PLAY(take_rw, block_rw, give_rw);
    PLAY(take_rw, block_read, give_rw);
    PLAY(take_recursive, block_recursive, give_recursive);
    finish();
}

static struct latch running, go_on;

static int run_once(void *arg) {
    (void)arg;
    latch_arrive(&running);
    CHECK(latch_wait(&go_on, LIMIT_MS));
    return 0;
}

static void call_once(void *arg) {
    (void)arg;
    CHECK_INT_EQ(_PyOnceFlag_CallOnceSlow(&once, run_once, NULL), 0);
}

static void block_once(void) { call_once(NULL); }
static void give_once(void) { latch_arrive(&go_on); }

TEST("a flag that another thread works on: the wait goes on") {
    struct peers first = PEERS_INIT;
    running = go_on = (struct latch)LATCH_INIT(1);
    begin();
    peers_add(&first, 1, call_once, NULL);
    peers_start(&first);
    CHECK(latch_wait(&running, LIMIT_MS));
    PLAY(NULL, block_once, give_once);
    peers_join(&first, LIMIT_MS);
    finish();
}

static void take_lock(void) {
    CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
}
static void give_lock(void) { PyThread_release_lock(lock); }
static void block_lock(void) {
    take_lock();
    give_lock();
}
static void block_lock_timed(void) {
    CHECK_INT_EQ(PyThread_acquire_lock_timed(lock, -1, 0), PY_LOCK_ACQUIRED);
    give_lock();
}
static void block_lock_retries(void) {
    CHECK_INT_EQ(PyThread_acquire_lock_timed_with_retries(lock, -1),
                 PY_LOCK_ACQUIRED);
    give_lock();
}

TEST("the locks of before PyMutex: the wait goes on") {
    begin();
    lock = PyThread_allocate_lock();
    PLAY_DETACHED(take_lock, block_lock, give_lock);
    PLAY_DETACHED(take_lock, block_lock_timed, give_lock);
    PLAY(take_lock, block_lock_retries, give_lock);
    PyThread_free_lock(lock);
    finish();
}

/* ---- Calls that a signal is documented to end ------------------------- */

static void ends_event(void) {
    for (int i = 0; i < SIGNALS; i++)
        CHECK_INT_EQ(PyEvent_WaitTimed(&event, -1, 1), 0);
}
static void ends_mutex(void) {
    for (int i = 0; i < SIGNALS; i++)
        CHECK_INT_EQ(_PyMutex_LockTimed(
                         &mutex, -1, _PY_LOCK_DETACH | _PY_FAIL_IF_INTERRUPTED),
                     PY_LOCK_INTR);
}
static void ends_lock(void) {
    for (int i = 0; i < SIGNALS; i++)
        CHECK_INT_EQ(PyThread_acquire_lock_timed(lock, -1, 1), PY_LOCK_INTR);
}
static void ends_park(void) {
    for (int i = 0; i < SIGNALS; i++)
        CHECK_INT_EQ(_PyParkingLot_Park(&raw, &raw, 1, -1, NULL, 1),
                     Py_PARK_INTR);
}

TEST("waits that a signal ends say so, each time") {
    begin();
    lock = PyThread_allocate_lock();
    PLAY_TO_END(0, NULL, ends_event, NULL);
    PLAY_TO_END(0, take_mutex, ends_mutex, give_mutex);
    PLAY_TO_END(1, take_lock, ends_lock, give_lock);
    PLAY_TO_END(0, NULL, ends_park, NULL);
    PyThread_free_lock(lock);
    finish();
}

/* ---- Attaching -------------------------------------------------------- */

static PyThreadState *helpers_state;

static void take_gil(void) {
    helpers_state = PyThreadState_New(PyInterpreterState_Main());
    PyEval_RestoreThread(helpers_state);
}
static void give_gil(void) {
    PyThreadState_Clear(helpers_state);
    PyThreadState_DeleteCurrent();
}
static void block_attach(void) {
    PyThreadState *mine = PyGILState_GetThisThreadState();
    PyEval_RestoreThread(mine);
    PyEval_SaveThread();
}
static void block_ensure(void) { PyGILState_Release(PyGILState_Ensure()); }

TEST("attaching while another thread has the GIL: the wait goes on") {
    begin();
    PLAY_DETACHED(take_gil, block_attach, give_gil);
    PLAY_DETACHED(take_gil, block_ensure, give_gil);
    finish();
}

static struct latch in_function;

static void stay_in_function(void *arg) {
    (void)arg;
    latch_arrive(&in_function);
    CHECK(latch_wait(&go_on, LIMIT_MS));
}

static PyThreadState *unblocked;

static void unblock(void *arg) {
    (void)arg;
    CHECK_INT_EQ(PyTState_Unblock(unblocked), 1);
}

static void block_end(void) { PyTState_EndBlocking(); }

TEST("the end of a blocking region whose function runs: the wait goes on") {
    struct peers caller_of_it = PEERS_INIT, helper = PEERS_INIT;
    struct sigaction action = {.sa_handler = on_signal};
    const struct scene one = {NULL, block_end, give_once, 0, 0};
    in_function = go_on = taken = (struct latch)LATCH_INIT(1);
    unblocked = begin();
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_INT_EQ(PyTState_BeginBlocking(stay_in_function, NULL), 0);
    peers_add(&caller_of_it, 1, unblock, NULL);
    peers_start(&caller_of_it);
    CHECK(latch_wait(&in_function, LIMIT_MS));
    scene = &one;
    caller = pthread_self();
    peers_add(&helper, 1, help, NULL);
    peers_start(&helper);
    errno = ERANGE;
    atomic_store(&caller_native, test_native_id());
    PyTState_EndBlocking();
    CHECK_INT_EQ(errno, ERANGE);
    CHECK_PTR_EQ(PyThreadState_Get(), unblocked);
    CHECK_INT_GE(atomic_load(&n_handled), SIGNALS);
    join_peers(&helper);
    join_peers(&caller_of_it);
    finish();
}

/* ---- Threads and ends ------------------------------------------------- */

static PyThreadHandle *handle;
static PyThread_handle_t plain_thread;

static void give_thread(void) { _PyEvent_Notify(&event); }
static void block_join(void) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, -1), 0);
}
static void block_join_timed(void) {
    int64_t before = test_now_ns();
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    CHECK_INT_LT(test_now_ns() - before, LIMIT);
}
static void block_wait(void) {
    _PyInterpreterState_WaitForThreads(PyInterpreterState_Main());
}
static void block_wait_deadline(void) {
    CHECK_INT_EQ(PyTState_WaitForThreads(PyInterpreterState_Main(), LIMIT, NULL,
                                         0, NULL),
                 0);
}
static void block_plain_join(void) {
    CHECK_INT_EQ(PyThread_join_thread(plain_thread), 0);
}

TEST("joins and waits for threads: the wait goes on") {
    static void (*const blocks[])(void) = {block_join, block_join_timed,
                                           block_wait, block_wait_deadline};
    begin();
    keeps_errno = 0;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        event = (PyEvent){0};
        handle = start(wait_for_event, &event);
        PLAY(NULL, blocks[i], give_thread);
        join_and_drop(handle);
    }
    PyThread_ident_t ident;
    event = (PyEvent){0};
    CHECK_INT_EQ(PyThread_start_joinable_thread(wait_for_event, &event, &ident,
                                                &plain_thread),
                 0);
    PLAY_DETACHED(NULL, block_plain_join, give_thread);
    finish();
}

static void block_short_join(void) {
    const int64_t limit = 200 * MS;
    int64_t before = test_now_ns();
    CHECK_INT_EQ(PyThreadHandle_Join(handle, limit), 1);
    CHECK_INT_GE(test_now_ns() - before, limit);
    before = test_now_ns();
    CHECK_INT_EQ(PyTState_WaitForThreads(PyInterpreterState_Main(), limit, NULL,
                                         0, NULL),
                 1);
    CHECK_INT_GE(test_now_ns() - before, limit);
    before = test_now_ns();
    CHECK_INT_EQ(PyThread_acquire_lock_timed_with_retries(lock, limit / 1000),
                 PY_LOCK_FAILURE);
    CHECK_INT_GE(test_now_ns() - before, limit);
    before = test_now_ns();
    CHECK_INT_EQ(_PyMutex_LockTimed(&mutex, limit, _PY_LOCK_DETACH),
                 PY_LOCK_FAILURE);
    CHECK_INT_GE(test_now_ns() - before, limit);
    /* However many signals are left. */
    while (atomic_load(&n_handled) < SIGNALS)
        test_nap();
}

TEST("waits with a deadline are not cut short") {
    begin();
    lock = PyThread_allocate_lock();
    take_lock();
    take_mutex();
    handle = start(wait_for_event, &event);
    keeps_errno = 0;
    PLAY(NULL, block_short_join, NULL);
    _PyEvent_Notify(&event);
    join_and_drop(handle);
    PyThread_free_lock(lock);
    finish();
}

static PyInterpreterGuard *guard;

static void give_guard(void) { PyInterpreterGuard_Close(guard); }

static PyThreadState *ended;

static void block_end_interpreter(void) {
    PyThreadState *mine = PyThreadState_Swap(ended);
    Py_EndInterpreter(ended);
    PyEval_RestoreThread(mine);
}

TEST("the end of an interpreter that waits for a thread, then for a guard") {
    PyThreadState *mine = begin();
    keeps_errno = 0;
    ended = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadHandle_Decref(start(wait_for_event, &event));
    PyThreadState_Swap(mine);
    PLAY(NULL, block_end_interpreter, give_thread);
    ended = new_interp(PyInterpreterConfig_OWN_GIL);
    guard = PyInterpreterGuard_FromCurrent();
    PyThreadState_Swap(mine);
    PLAY(NULL, block_end_interpreter, give_guard);
    finish();
}

static void finalize(void (*give)(void)) {
    struct peers helper = PEERS_INIT;
    struct sigaction action = {.sa_handler = on_signal};
    const struct scene one = {NULL, NULL, give, 0, 0};
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    scene = &one;
    caller = pthread_self();
    taken = (struct latch)LATCH_INIT(1);
    peers_add(&helper, 1, help, NULL);
    peers_start(&helper);
    atomic_store(&caller_native, test_native_id());
    finish();
    CHECK_INT_GE(atomic_load(&n_handled), SIGNALS);
    peers_join(&helper, LIMIT_MS);
}

TEST("finalization that waits for a thread") {
    begin();
    PyThreadHandle_Decref(start(wait_for_event, &event));
    finalize(give_thread);
}

TEST("finalization that waits for a guard") {
    begin();
    guard = PyInterpreterGuard_FromCurrent();
    finalize(give_guard);
}

/* ---- Pauses and forks ------------------------------------------------- */

static PyThreadState *free_state;

/* Attached without a GIL, and not polling. */
static void take_world(void) {
    free_state = PyThreadState_New(PyInterpreterState_Main());
    PyEval_RestoreThread(free_state);
}
static void give_world(void) {
    PyThreadState_Clear(free_state);
    PyThreadState_DeleteCurrent();
}
static void block_stop(void) {
    _PyEval_StopTheWorldAll(NULL);
    _PyEval_StartTheWorldAll(NULL);
}
static void block_fork(void) {
    PyOS_BeforeFork();
    int error = errno;
    PyOS_AfterFork_Parent();
    errno = error;
}

static void stop_world(void) { _PyEval_StopTheWorldAll(NULL); }
static void start_world(void) { _PyEval_StartTheWorldAll(NULL); }
static void block_section(void) {
    PyCriticalSection section;
    PyCriticalSection_BeginMutex(&section, &mutex);
    PyCriticalSection_End(&section);
}

TEST("attaching in a pause, and a critical section: the wait goes on") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PLAY_DETACHED(stop_world, block_attach, start_world);
    PLAY_DETACHED(stop_world, block_ensure, start_world);
    PLAY(take_mutex, block_section, give_mutex);
    finish();
}

TEST("a pause, and a fork, that wait for an attached thread") {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.gil = PyTState_GIL_NONE;
    begin_with(&config);
    PLAY(take_world, block_stop, give_world);
    PLAY(take_world, block_fork, give_world);
    finish();
}

/* ---- Sync points ------------------------------------------------------ */

static void block_point(void) { PyTState_Sync_Point("test.held"); }
static void give_point(void) { let_go("test.held"); }

TEST("a thread that is held at a sync point stays there") {
    begin();
    hold("test.held");
    PLAY_DETACHED(NULL, block_point, give_point);
    finish();
}
