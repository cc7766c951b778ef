/* Storms: forks, lives and ends by the thousand. The suite runs a short form
 * of each; STORM=full in the environment (`make soak`) runs them whole. */
#include "host.h"

#include <fcntl.h>
#include <stdlib.h>

static int scale(int whole, int brief) {
    const char *storm = getenv("STORM");
    return storm != NULL && strcmp(storm, "full") == 0 ? whole : brief;
}

/* Under a sanitizer memory is held back before it is used again. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define MEMORY_IS_REUSED 0
#else
#define MEMORY_IS_REUSED 1
#endif

/* ---- Threads that never rest ------------------------------------------ */

static atomic_int resting;
static PyMutex a_mutex;
static _PyRWMutex an_rw;

static void lock_it_all(void) {
    PyMutex_Lock(&a_mutex);
    PyMutex_Unlock(&a_mutex);
    _PyRWMutex_RLock(&an_rw);
    _PyRWMutex_RUnlock(&an_rw);
    _PyRWMutex_Lock(&an_rw);
    _PyRWMutex_Unlock(&an_rw);
}

static void make_and_delete(PyInterpreterState *interp) {
    PyThreadState *state = PyThreadState_New(interp);
    CHECK_NOT_NULL(state);
    PyThreadState_Clear(state);
    PyThreadState_Delete(state);
}

static void never_rest(void *arg) {
    int kind = peer_index() % 3;
    PyInterpreterState *interp = arg;
    PyGILState_STATE token = PyGILState_Ensure();
    while (!atomic_load(&resting)) {
        if (kind != 1)
            lock_it_all();
        PyEval_RestoreThread(PyEval_SaveThread());
        if (kind != 2)
            make_and_delete(interp);
        if (kind == 2)
            join_and_drop(start(do_nothing, NULL));
        _Py_HandlePending(PyThreadState_Get());
    }
    PyGILState_Release(token);
}

static void live_and_end(void) {
    join_and_drop(start(do_nothing, NULL));
    make_and_delete(PyInterpreterState_Get());
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void fork_in_a_storm(int forks, pid_t (*fork_one)(void)) {
    struct peers peers = PEERS_INIT;
    PyThreadState *mine = begin();
    peers_add(&peers, 6, never_rest, mine->interp);
    peers_start(&peers);
    for (int i = 0; i < forks; i++) {
        pid_t pid = fork_one();
        if (pid == 0) {
            CHECK_PTR_EQ(PyThreadState_Get(), mine);
            live_and_end();
            test_child_done(0);
        }
        PyEval_SaveThread();
        CHECK_CHILD_EXIT(pid, 0);
        PyEval_RestoreThread(mine);
    }
    atomic_store(&resting, 1);
    join_peers(&peers);
    finish();
}

TEST("2,000 forks while six threads lock, attach, make and delete states",
     .limit_s = 900) {
    FORKS_WHILE_THREADS_END();
    fork_in_a_storm(scale(2000, 100), fork_here);
}

TEST("as many that nobody announces", .limit_s = 900) {
    FORKS_WHILE_THREADS_END();
    CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0);
    fork_in_a_storm(scale(2000, 100), fork);
}

/* ---- Lives ------------------------------------------------------------ */

static long resident_kib(void) {
    long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK_NOT_NULL(file);
    CHECK_INT_EQ(fscanf(file, "%ld %ld", &total, &resident), 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

enum { THREADS = 10, INTERPRETERS = 200 };

static void use_it(void *arg) {
    (void)arg;
    PyEval_RestoreThread(PyEval_SaveThread());
}

/* Half of the threads are joined; half of the sub-interpreters are ended. */
static void live_one_life(int interpreters) {
    PyThreadHandle *handles[THREADS];
    PyThreadState *mine = begin();
    for (int i = 0; i < THREADS; i++)
        handles[i] = start(use_it, NULL);
    for (int i = 0; i < interpreters; i++) {
        PyThreadState *sub = new_interp(i % 4 ? PyInterpreterConfig_OWN_GIL
                                              : PyInterpreterConfig_SHARED_GIL);
        if (i % 20 == 0)
            PyThreadHandle_Decref(start(use_it, NULL));
        if (i % 2) {
            Py_EndInterpreter(sub);
            PyEval_RestoreThread(mine);
        } else {
            PyThreadState_Swap(mine);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        if (i % 2)
            join(handles[i]);
        PyThreadHandle_Decref(handles[i]);
    }
    finish();
}

TEST("1,000 lives with 10 threads and 200 sub-interpreters each: memory stays "
     "flat",
     .limit_s = 900) {
    int lives = scale(1000, 20), interpreters = scale(INTERPRETERS, 50);
    long before = 0;
    for (int i = 0; i < lives; i++) {
        live_one_life(interpreters);
        if (i == lives / 10)
            before = resident_kib();
    }
    long after = resident_kib();
    NOTE("%ld KiB after a tenth of the lives, %ld KiB after all", before,
         after);
    CHECK_INT_EQ(test_thread_count(), 1);
    if (MEMORY_IS_REUSED)
        CHECK_INT_LE(after, before + 512);
}

TEST("a joined run leaves nothing behind") {
    /* For valgrind and LeakSanitizer: `make leaks`. */
    for (int i = 0; i < 3; i++)
        live_one_life(10);
}

/* ---- Ends that foreign threads race ----------------------------------- */

struct racers {
    PyInterpreterView *view;
    struct latch started;
    atomic_int refused, late;
    int policy;
};

static int meet_policy(PyThreadState *state, void *data) {
    struct racers *racers = data;
    (void)state;
    atomic_fetch_add(&racers->late, 1);
    return racers->policy;
}

/* PEP 788: NULL, sooner or later, and nothing else. */
static void ensure_by_view(void *arg) {
    struct racers *racers = arg;
    latch_arrive(&racers->started);
    PyThreadStateToken *token;
    while ((token = PyThreadState_EnsureFromView(racers->view)) != NULL) {
        CHECK_NOT_NULL(PyThreadState_Get());
        PyThreadState_Release(token);
    }
    CHECK_NULL(PyThreadState_GetUnchecked());
    atomic_fetch_add(&racers->refused, 1);
}

/* A plain thread: the late-attach policy, sooner or later. */
static void *ensure_by_gilstate(void *arg) {
    struct racers *racers = arg;
    latch_arrive(&racers->started);
    for (;;) {
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_NOT_NULL(PyThreadState_Get());
        PyGILState_Release(token);
    }
    return NULL;
}

enum { RACERS = 4 };

static void race_one_end(int round, int policy) {
    struct racers racers = {.started = LATCH_INIT(2 * RACERS),
                            .policy = policy};
    struct peers by_view = PEERS_INIT;
    pthread_t by_gilstate[RACERS];
    begin();
    racers.view = PyInterpreterView_FromMain();
    PyTState_SetLateAttachHook(meet_policy, &racers);
    peers_add(&by_view, RACERS, ensure_by_view, &racers);
    PyThreadState *mine = PyEval_SaveThread();
    peers_start(&by_view);
    for (int i = 0; i < RACERS; i++)
        CHECK_INT_EQ(
            pthread_create(&by_gilstate[i], NULL, ensure_by_gilstate, &racers),
            0);
    CHECK(latch_wait(&racers.started, LIMIT_MS));
    for (int i = 0; i < round % 50; i++)
        sched_yield();
    PyEval_RestoreThread(mine);
    finish();
    peers_join(&by_view, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&racers.refused), RACERS);
    WAIT_UNTIL(atomic_load(&racers.late) == RACERS, LIMIT_MS);
    if (policy == PyTState_LATE_EXIT)
        for (int i = 0; i < RACERS; i++)
            CHECK_INT_EQ(pthread_join(by_gilstate[i], NULL), 0);
    PyTState_SetLateAttachHook(NULL, NULL);
    PyInterpreterView_Close(racers.view);
}

TEST("500 ends raced by 8 foreign threads: PEP 788 refuses, others end",
     .limit_s = 900) {
    int ends = scale(500, 15);
    for (int i = 0; i < ends; i++)
        race_one_end(i, PyTState_LATE_EXIT);
    CHECK_INT_EQ(test_thread_count(), 1);
}

TEST("as many where the others hang", .limit_s = 900) {
    int ends = scale(500, 15);
    for (int i = 0; i < ends; i++)
        EXPECT_CHILD_EXIT(0) { race_one_end(i, PyTState_LATE_HANG); }
}

/* ---- Dumps from a signal handler -------------------------------------- */

static int dump_to;
static atomic_int n_dumps;

static void dump(int number) {
    (void)number;
    PyTState_DumpThreads(dump_to);
    atomic_fetch_add(&n_dumps, 1);
}

static void dump_on_sigusr1(int fd) {
    struct sigaction action = {.sa_handler = dump, .sa_flags = SA_RESTART};
    dump_to = fd;
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

static int is_dumped(void *before) {
    return atomic_load(&n_dumps) > *(int *)before;
}

/* ThreadSanitizer may put off a signal that comes just before a sleep in the
 * kernel, up to the end of that sleep; the next signal ends it. */
#ifdef __SANITIZE_THREAD__
enum { SIGNALS = 15 };
#else
enum { SIGNALS = 1 };
#endif

static void dump_in(pthread_t thread) {
    int before = atomic_load(&n_dumps);
    for (int i = 0; i < SIGNALS; i++) {
        CHECK_INT_EQ(pthread_kill(thread, SIGUSR1), 0);
        if (wait_until(is_dumped, &before, LIMIT_MS / SIGNALS))
            return;
        NOTE("no dump after %d signals", i + 1);
    }
    FAIL("no dump in %d ms", LIMIT_MS);
}

static void guard_and_lock(void *arg) {
    (void)arg;
    PyGILState_STATE token = PyGILState_Ensure();
    while (!atomic_load(&resting)) {
        PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
        CHECK_NOT_NULL(guard);
        lock_it_all();
        PyThreadState *mine = PyThreadState_Get();
        PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
        Py_EndInterpreter(sub);
        PyEval_RestoreThread(mine);
        PyInterpreterGuard_Close(guard);
    }
    PyGILState_Release(token);
}

TEST("a dump from SIGUSR1, whatever its thread was in the middle of",
     .limit_s = 300) {
    struct peers peers = PEERS_INIT;
    int dumps = scale(20000, 300);
    PyThreadState *mine = begin();
    dump_on_sigusr1(open("/dev/null", O_WRONLY));
    CHECK_INT_GE(dump_to, 0);
    peers_add(&peers, 3, never_rest, mine->interp);
    peers_add(&peers, 2, guard_and_lock, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    for (int i = 0; i < dumps; i++) {
        dump_in(peers.one[i % 5].thread);
    }
    atomic_store(&resting, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
}

static PyEvent all_held, let_all_go;
static _PyRawMutex a_raw;
static _PyRecursiveMutex a_recursive;
static PyMutex other_mutex;

static void hold_every_lock(void *arg) {
    PyThread_type_lock lock = arg;
    PyGILState_STATE token = PyGILState_Ensure();
    PyTState_SetName(PyThreadState_Get(), "holder");
    PyMutex_Lock(&a_mutex);
    _PyRWMutex_Lock(&an_rw);
    _PyRawMutex_LockSlow(&a_raw);
    _PyRecursiveMutex_Lock(&a_recursive);
    CHECK_INT_EQ(PyThread_acquire_lock(lock, WAIT_LOCK), 1);
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    _PyEvent_Notify(&all_held);
    PyEvent_Wait(&let_all_go);
    PyInterpreterGuard_Close(guard);
    PyThread_release_lock(lock);
    _PyRecursiveMutex_Unlock(&a_recursive);
    _PyRawMutex_UnlockSlow(&a_raw);
    _PyRWMutex_Unlock(&an_rw);
    PyMutex_Unlock(&a_mutex);
    PyGILState_Release(token);
}

static atomic_long waiter;

static void wait_for_mutex(void *arg) {
    (void)arg;
    PyGILState_STATE token = PyGILState_Ensure();
    PyTState_SetName(PyThreadState_Get(), "waiter");
    PyEvent_Wait(&all_held);
    atomic_store(&waiter, test_native_id());
    PyMutex_Lock(&a_mutex);
    PyMutex_Unlock(&a_mutex);
    PyGILState_Release(token);
}

static size_t read_all(int fd, char *text, size_t size) {
    ssize_t n = read(fd, text, size - 1);
    CHECK_INT_GT(n, 0);
    text[n] = 0;
    return (size_t)n;
}

TEST("a dump from SIGUSR1 while every lock is held, the library's own too") {
    static char text[65536];
    struct peers peers = PEERS_INIT;
    int ends[2];
    CHECK_INT_EQ(pipe(ends), 0);
    PyThreadState *mine = begin();
    PyTState_SetName(mine, "dumper");
    PyThread_type_lock lock = PyThread_allocate_lock();
    dump_on_sigusr1(ends[1]);
    peers_add(&peers, 1, hold_every_lock, lock);
    peers_add(&peers, 1, wait_for_mutex, NULL);
    peers_start(&peers);
    PyEvent_Wait(&all_held);
    wait_asleep(&waiter);
    PyMutex_Lock(&other_mutex);
    /* The world stands, and the lock of the library's lists is held. */
    PyOS_BeforeFork();
    CHECK_INT_EQ(raise(SIGUSR1), 0);
    PyOS_AfterFork_Parent();
    PyMutex_Unlock(&other_mutex);
    CHECK_INT_EQ(atomic_load(&n_dumps), 1);
    read_all(ends[0], text, sizeof text);
    NOTE("%s", text);
    CHECK_STR_CONTAINS(text, "thread 'dumper' (tid ");
    CHECK_STR_CONTAINS(text, "thread 'holder' (tid ");
    CHECK_STR_CONTAINS(text, "thread 'waiter' (tid ");
    CHECK_STR_CONTAINS(text, "holds 1 guard");
    CHECK_STR_CONTAINS(text, "guard on interp 0");
    _PyEvent_Notify(&let_all_go);
    join_peers(&peers);
    PyThread_free_lock(lock);
    finish();
}
