/* Each case fails with a bug of c_tests/mutants that no other case notices:
 * steps of a few instructions, and orderings that only ThreadSanitizer sees. */
#include "host.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || \
    !defined __GLIBC__
#define OS_IS_OURS 0
#else
#define OS_IS_OURS 1
#endif
#define NEEDS_OUR_OS                                             \
    do {                                                         \
        if (!OS_IS_OURS)                                         \
            SKIP("a sanitizer has these functions of the OS's"); \
    } while (0)

/* ---- The GIL ----------------------------------------------------------- */

static atomic_int n_ran;

static int count_call(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_ran, 1);
    return 0;
}

static void attach_and_poll(void *interp) {
    PyThreadState *mine = enter(interp);
    CHECK_INT_EQ(has_bit(mine, 2), 1);
    CHECK_INT_EQ(_Py_HandlePending(mine), 0);
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    leave();
}

TEST("a call that is queued while no thread has the GIL is found by the state "
     "that takes it next") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyEval_SaveThread();
    CHECK_INT_EQ(
        _PyEval_AddPendingCall(main_state->interp, count_call, NULL, 0), 0);
    peers_add(&peers, 1, attach_and_poll, main_state->interp);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    finish();
}

static atomic_long waiter_native;

static void attach_once(void *interp) {
    PyThreadState *mine = PyThreadState_New(interp);
    atomic_store(&waiter_native, test_native_id());
    PyEval_RestoreThread(mine);
    leave();
}

/* How often a thread of the process went to sleep by itself. */
static long sleeps_of(long native) {
    char path[64], line[128];
    long n = -1;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", native);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
            break;
    fclose(file);
    return n;
}

TEST("a thread that waits for the GIL does not wake up before the switch "
     "interval that was set") {
    NEEDS_GIL();
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    if (sleeps_of(test_native_id()) < 0)
        SKIP("the system does not count the sleeps of a thread");
    _PyEval_SetSwitchInterval(1000000000); /* 1,000 s */
    peers_add(&peers, 1, attach_once, main_state->interp);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&waiter_native) != 0, LIMIT_MS);
    long native = atomic_load(&waiter_native);
    WAIT_UNTIL(test_thread_sleeps(native), LIMIT_MS);
    long before = sleeps_of(native);
    /* The default interval would wake it about 40 times. */
    for (int64_t end = test_now_ms() + 200; test_now_ms() < end;)
        CHECK_INT_EQ(has_bit(main_state, 0), 0);
    CHECK_INT_LE(sleeps_of(native) - before, 4);
    join_peers(&peers);
    finish();
}

/* ---- Late threads ------------------------------------------------------- */

static atomic_int n_met, n_came_back;
static struct latch is_detached = LATCH_INIT(1), may_attach = LATCH_INIT(1);

static void count_met(const char *point, void *arg) {
    (void)point, (void)arg;
    atomic_fetch_add(&n_met, 1);
}

static void *attach_late(void *interp) {
    PyThreadState *mine = enter(interp);
    PyEval_SaveThread();
    latch_arrive(&is_detached);
    CHECK_INT_EQ(latch_wait(&may_attach, LIMIT_MS), 1);
    PyEval_RestoreThread(mine);
    atomic_fetch_add(&n_came_back, 1);
    return NULL;
}

static void start_late(PyInterpreterState *interp) {
    pthread_t thread;
    PyTState_Sync_Hook("late_attach.met", count_met, NULL);
    CHECK_INT_EQ(pthread_create(&thread, NULL, attach_late, interp), 0);
    CHECK_INT_EQ(pthread_detach(thread), 0);
    CHECK_INT_EQ(latch_wait(&is_detached, LIMIT_MS), 1);
}

TEST("a thread that is between the GIL and its state when the end is committed "
     "does not attach") {
    PyThreadState *main_state = begin_mode(PyTState_GIL_NONE, NULL);
    PyInterpreterState *interp = main_state->interp;
    PyEval_SaveThread();
    start_late(interp);
    hold("attach.gil_taken");
    latch_arrive(&may_attach);
    wait_held("attach.gil_taken");
    PyEval_RestoreThread(main_state);
    finish();
    let_go("attach.gil_taken");
    WAIT_UNTIL(atomic_load(&n_met) + atomic_load(&n_came_back) > 0, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_came_back), 0);
}

TEST("a late thread that finds the GIL of others free leaves it free") {
    NEEDS_GIL();
    PyTState_Config config = {.size = sizeof config, .compat = 0x030E0000};
    PyThreadState *main_state = begin_with(&config);
    PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyEval_SaveThread();
    start_late(first->interp);
    PyEval_RestoreThread(first);
    Py_EndInterpreter(first);
    latch_arrive(&may_attach);
    WAIT_UNTIL(atomic_load(&n_met) + atomic_load(&n_came_back) > 0, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_came_back), 0);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- Two threads that end one interpreter ---------------------------------
 */

static atomic_int n_ends;
static atomic_long ender_native;

static void count_end(const char *point, void *arg) {
    (void)point, (void)arg;
    atomic_fetch_add(&n_ends, 1);
}

static void end_own(void *interp) {
    PyThreadState *mine = enter(interp);
    atomic_store(&ender_native, test_native_id());
    Py_EndInterpreter(mine);
}

TEST("of two threads that end an interpreter one does it, the other waits") {
    PyTState_Config config = {.size = sizeof config, .compat = 0x030E0000};
    struct peers first = PEERS_INIT, second = PEERS_INIT;
    PyThreadState *main_state = begin_with(&config);
    PyThreadState *sub = new_interp(PyTState_INTERP_NO_GIL);
    PyEval_SaveThread();
    PyTState_Sync_Hook("interp.end.begin", count_end, NULL);
    hold("interp.end.begin");
    peers_add(&first, 1, end_own, sub->interp);
    peers_start(&first);
    wait_held("interp.end.begin");
    atomic_store(&ender_native, 0);
    peers_add(&second, 1, end_own, sub->interp);
    peers_start(&second);
    wait_asleep(&ender_native);
    CHECK_INT_EQ(atomic_load(&n_ends), 1);
    let_go("interp.end.begin");
    peers_join(&first, LIMIT_MS);
    peers_join(&second, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_ends), 1);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- Joining ---------------------------------------------------------------
 */

static atomic_long last_native;

/* A thread whose end takes the kernel long: a table of files of its own. */
static void end_slowly(void *n_files) {
    int own = unshare(CLONE_FILES) == 0;
    int file = own ? open("/dev/null", O_RDONLY) : -1;
    for (int i = 0; file >= 0 && i < *(int *)n_files; i++)
        if (dup(file) < 0)
            break;
    atomic_store(&last_native, test_native_id());
}

TEST("a joined thread is gone from the process, however long the kernel takes "
     "to end it",
     .limit_s = 60) {
    int n_files = 800;
    struct rlimit limit;
    begin();
    CHECK_INT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 1000)
        n_files = (int)limit.rlim_cur / 2;
    for (int i = 0; i < 200; i++) {
        PyThreadHandle *handle = start(end_slowly, &n_files);
        join(handle);
        CHECK_INT_EQ(test_thread_exists(atomic_load(&last_native)), 0);
        PyThreadHandle_Decref(handle);
    }
    finish();
}

/* ---- An operating system that is slow or refuses ---------------------------
 */

/* 1: the next thread is refused, after a look at the states there are. */
static atomic_int refusing;
static PyEvent *refused_event;

/* Creators of a key that still have to come before any goes on. */
static atomic_int creators, n_keys;

#if OS_IS_OURS
#define REAL(function, type) \
    static type real;        \
    if (real == NULL)        \
        *(void **)&real = dlsym(RTLD_NEXT, #function);

static void keep_event_of_newest(void) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    refused_event =
        PyTState_GetExitEvent(PyInterpreterState_ThreadHead(interp));
}

typedef int create_thread(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*body)(void *), void *arg) {
    REAL(pthread_create, create_thread *)
    if (atomic_exchange(&refusing, 0)) {
        keep_event_of_newest();
        return EAGAIN;
    }
    return real(thread, attributes, body, arg);
}

typedef int create_key(pthread_key_t *, void (*)(void *));

int pthread_key_create(pthread_key_t *key, void (*end)(void *)) {
    REAL(pthread_key_create, create_key *)
    int status = real(key, end);
    if (atomic_load(&creators) > 0) {
        atomic_fetch_add(&n_keys, 1);
        atomic_fetch_sub(&creators, 1);
        for (int64_t limit = test_now_ms() + LIMIT_MS;
             atomic_load(&creators) > 0 && test_now_ms() < limit;)
            sched_yield();
    }
    return status;
}

typedef int delete_key(pthread_key_t);

int pthread_key_delete(pthread_key_t key) {
    REAL(pthread_key_delete, delete_key *)
    atomic_fetch_sub(&n_keys, 1);
    return real(key);
}
#endif

TEST("the exit event of a state whose thread the OS refused is set") {
    NEEDS_OUR_OS;
    PyThreadState *main_state = begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_NOT_NULL(handle);
    atomic_store(&refusing, 1);
    CHECK_INT_NE(
        PyThreadHandle_Start(handle, main_state->interp, do_nothing, NULL, 0),
        0);
    PyErr_Clear();
    CHECK_NOT_NULL(refused_event);
    CHECK_PTR_NE(refused_event, &main_state->exit_event);
    CHECK_INT_EQ(_PyEvent_IsSet(refused_event), 1);
    PyTState_ReleaseExitEvent(refused_event);
    PyThreadHandle_Decref(handle);
    finish();
}

static Py_tss_t shared_key;

static void create_shared(void *arg) {
    (void)arg;
    CHECK_INT_EQ(PyThread_tss_create(&shared_key), 0);
}

TEST("threads that create a key at the same moment leave one key of the OS") {
    NEEDS_OUR_OS;
    for (int round = 0; round < 50; round++) {
        struct peers peers = PEERS_INIT;
        atomic_store(&n_keys, 0);
        atomic_store(&creators, 3);
        peers_add(&peers, 3, create_shared, NULL);
        peers_start(&peers);
        peers_join(&peers, LIMIT_MS);
        CHECK_INT_EQ(atomic_load(&n_keys), 1);
        PyThread_tss_delete(&shared_key);
        CHECK_INT_EQ(atomic_load(&n_keys), 0);
    }
}

/* ---- Plain data that is handed over (ThreadSanitizer, no GIL) -------------
 */

static int plain;

static int read_plain(void *number) {
    CHECK_INT_EQ(plain, (int)(intptr_t)number);
    atomic_store_explicit(&n_ran, (int)(intptr_t)number, memory_order_release);
    return 0;
}

static void add_calls(void *interp) {
    for (int i = 1; i <= 2000; i++) {
        plain = i;
        CHECK_INT_EQ(
            _PyEval_AddPendingCall(interp, read_plain, (void *)(intptr_t)i, 0),
            0);
        while (atomic_load_explicit(&n_ran, memory_order_acquire) < i)
            sched_yield();
    }
}

TEST("a call sees what its adder wrote, with no GIL and no poll in between",
     .limit_s = 60) {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_mode(PyTState_GIL_NONE, NULL);
    peers_add(&peers, 1, add_calls, main_state->interp);
    peers_start(&peers);
    while (atomic_load_explicit(&n_ran, memory_order_relaxed) < 2000)
        CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), 0);
    peers_join(&peers, LIMIT_MS);
    finish();
}

static atomic_int turn;

static void attach_in_turn(void *interp) {
    PyThreadState *mine = enter(interp);
    for (int i = 1; i <= 500; i++) {
        PyEval_SaveThread();
        atomic_store_explicit(&turn, 2 * i - 1, memory_order_relaxed);
        /* Relaxed: the attach alone orders the read behind the pause. */
        while (atomic_load_explicit(&turn, memory_order_relaxed) != 2 * i)
            sched_yield();
        PyEval_RestoreThread(mine);
        CHECK_INT_EQ(plain, i);
    }
    leave();
}

TEST("an attach sees what was written in the pause before it, without a GIL",
     .limit_s = 60) {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin_mode(PyTState_GIL_NONE, NULL);
    peers_add(&peers, 1, attach_in_turn, main_state->interp);
    peers_start(&peers);
    for (int i = 1; i <= 500; i++) {
        while (atomic_load_explicit(&turn, memory_order_relaxed) != 2 * i - 1)
            sched_yield();
        _PyEval_StopTheWorld(main_state->interp);
        plain = i;
        _PyEval_StartTheWorld(main_state->interp);
        atomic_store_explicit(&turn, 2 * i, memory_order_relaxed);
    }
    peers_join(&peers, LIMIT_MS);
    finish();
}

/* ---- Sync points and the trace ----------------------------------------------
 */

static void pass_point(void *name) { PyTState_Sync_Point(name); }

TEST("clearing lets a thread go that an order holds, long before the order's "
     "own limit") {
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Order("first", "then");
    peers_add(&peers, 3, pass_point, "then");
    peers_start(&peers);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("then", LIMIT), 0);
    PyTState_Sync_Clear();
    peers_join(&peers, 2000); /* the order's limit is 10 s */
}

TEST("a point that is passed frees every point that waits for it") {
    struct peers b = PEERS_INIT, c = PEERS_INIT;
    PyTState_Sync_Order("first", "b");
    PyTState_Sync_Order("first", "c");
    peers_add(&b, 1, pass_point, "b");
    peers_add(&c, 1, pass_point, "c");
    peers_start(&b);
    peers_start(&c);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("b", LIMIT), 0);
    CHECK_INT_EQ(PyTState_Sync_WaitParked("c", LIMIT), 0);
    PyTState_Sync_Point("first");
    peers_join(&b, 5000); /* an order's limit is 10 s */
    peers_join(&c, 5000);
}

static long visitor_tid;

static void visit(void *interp) {
    visitor_tid = test_native_id();
    enter(interp);
    leave();
}

/* The trace's row that says this of a thread; NULL if there is none. */
static const char *row_of(const char *rows, const char *phase, const char *name,
                          long tid) {
    char is_phase[32], is_name[64], is_tid[40];
    snprintf(is_phase, sizeof is_phase, "\"ph\":\"%s\"", phase);
    snprintf(is_name, sizeof is_name, "\"name\":\"%s\"", name);
    snprintf(is_tid, sizeof is_tid, "\"tid\":%ld,", tid);
    for (const char *row = rows; row && *row; row = strchr(row, '\n')) {
        char one[512];
        row += *row == '\n';
        snprintf(one, sizeof one, "%.*s", (int)strcspn(row, "\n"), row);
        if (strstr(one, is_phase) && strstr(one, is_name) &&
            strstr(one, is_tid))
            return row;
    }
    return NULL;
}

TEST("a trace shows when a foreign thread was no longer attached") {
    static char rows[1 << 16];
    char path[64];
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    snprintf(path, sizeof path, "/tmp/pytstate-planted-%ld.json",
             (long)getpid());
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    peers_add(&peers, 1, visit, main_state->interp);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    FILE *file = fopen(path, "r");
    CHECK_NOT_NULL(file);
    size_t n = fread(rows, 1, sizeof rows - 1, file);
    fclose(file);
    unlink(path);
    CHECK_UINT_GT(n, 0);
    const char *from = row_of(rows, "B", "attached", visitor_tid);
    CHECK_NOT_NULL(from);
    CHECK_NOT_NULL(row_of(from, "E", "attached", visitor_tid));
    finish();
}
