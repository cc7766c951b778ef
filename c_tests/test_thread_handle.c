/* Threads that can be joined (extension API 3). */
#include "host.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

/* ---- An OS that has no thread to give ---------------------------------
 *
 * This program's own pthread_create stands before the C library's, also for
 * the library under test. */

static atomic_int refusals;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*body)(void *), void *arg) {
    typedef int (*create)(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);
    static _Atomic(create) real;
    if (atomic_load(&refusals) > 0) {
        atomic_fetch_sub(&refusals, 1);
        return EAGAIN;
    }
    if (atomic_load(&real) == NULL) {
        void *found = dlsym(RTLD_NEXT, "pthread_create");
        create as_function;
        memcpy(&as_function, &found, sizeof found);
        atomic_store(&real, as_function);
    }
    return atomic_load(&real)(thread, attributes, body, arg);
}

/* ---- One thread ------------------------------------------------------- */

struct seen {
    PyThreadState *state;
    unsigned long ident;
    long native;
    int is_daemon, is_first_state_word_attached;
};

static void look(void *arg) {
    struct seen *seen = arg;
    seen->state = PyThreadState_Get();
    seen->ident = (unsigned long)pthread_self();
    seen->native = test_native_id();
    seen->is_daemon = seen->state->is_daemon;
    seen->is_first_state_word_attached =
        seen->state->state == PyTState_ATTACHED &&
        seen->state->thread_id == seen->ident &&
        seen->state->native_thread_id == (unsigned long)seen->native &&
        PyGILState_GetThisThreadState() == seen->state;
}

TEST("a handle that was never started is not done and has no thread") {
    PyThreadHandle *handle = PyThreadHandle_New(); /* no runtime needed */
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    CHECK_UINT_EQ(PyThreadHandle_Ident(handle), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    begin();
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), -1); /* S-JN-01 */
    check_raised(PyExc_RuntimeError, "thread not started");
    finish();
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), -1);
    PyThreadHandle_Decref(handle);
}

TEST("the function runs attached to a fresh state of the interpreter") {
    struct seen seen = {0};
    PyThreadState *main_state = begin();
    PyThreadHandle *handle = start(look, &seen);
    join(handle);
    CHECK_PTR_NE(seen.state, main_state);
    CHECK_INT_EQ(seen.is_first_state_word_attached, 1);
    CHECK_INT_EQ(seen.is_daemon, 0);
    CHECK_UINT_EQ(PyThreadHandle_Ident(handle), seen.ident);
    CHECK_UINT_NE(seen.ident, (unsigned long)pthread_self());
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 1);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    CHECK_INT_EQ(test_thread_exists(seen.native), 0);
    CHECK_UINT_EQ(n_states(NULL), 1);
    PyThreadHandle_Decref(handle);
    finish();
}

static atomic_int n_raised;

static void count_raised(PyObject *type, const char *message) {
    (void)message;
    atomic_fetch_add(&n_raised, type == (PyObject *)&n_raised);
}

static void poll_for_exception(void *arg) {
    (void)arg;
    (void)_Py_HandlePending(PyThreadState_Get());
}

static void ignore_object(PyObject *object) { (void)object; }

TEST("an asynchronous exception reaches a thread that was started but does not "
     "run yet") {
    static const PyTState_ObjectHooks hooks = {ignore_object, ignore_object,
                                               NULL, count_raised, NULL};
    begin_mode(PyTState_GIL_SHARED, &hooks);
    hold("thread.entry");
    PyThreadHandle *handle = start(poll_for_exception, NULL);
    PyThreadState *state = PyThreadHandle_ThreadState(handle);
    CHECK_UINT_EQ(state->thread_id, PyThreadHandle_Ident(handle));
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(PyThreadHandle_Ident(handle),
                                           (PyObject *)&n_raised),
                 1);
    let_go("thread.entry");
    join_and_drop(handle);
    CHECK_INT_EQ(n_raised, 1);
    finish();
}

TEST("the handle leads to the state until that is deleted") {
    struct seen seen = {0};
    PyThreadState *main_state = begin();
    hold("thread.func.end");
    PyThreadHandle *handle = start(look, &seen);
    PyEval_SaveThread();
    wait_held("thread.func.end");
    CHECK_PTR_EQ(PyThreadHandle_ThreadState(handle), seen.state);
    hold("delete.unlinked");
    let_go("thread.func.end");
    wait_held("delete.unlinked");
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    let_go("delete.unlinked");
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyThreadHandle_Decref(handle);
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("the handle is filled before the function runs (S-HD-06)") {
    struct seen seen = {0};
    begin();
    for (int i = 0; i < 100; i++) {
        PyThreadHandle *handle = start(look, &seen);
        CHECK_UINT_NE(PyThreadHandle_Ident(handle), 0);
        join(handle);
        CHECK_UINT_EQ(PyThreadHandle_Ident(handle), seen.ident);
        PyThreadHandle_Decref(handle);
    }
    finish();
}

static void detach_for_good(void *arg) {
    (void)arg;
    PyEval_SaveThread();
}

TEST("a function that returns detached ends as any other") {
    begin();
    join_and_drop(start(detach_for_good, NULL));
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void swap_away(void *arg) {
    (void)arg;
    i_die();
    PyThreadState_Swap(PyThreadState_New(PyInterpreterState_Get()));
}

TEST("a function that returns with a foreign state attached is fatal") {
    EXPECT_FATAL("PyThreadHandle_Start", "attached instead of its own") {
        begin();
        join(start(swap_away, NULL));
    }
}

static void delete_myself(void *arg) {
    (void)arg;
    leave();
}

TEST("a function may have deleted its own state") {
    begin();
    for (int i = 0; i < 100; i++)
        join_and_drop(start(delete_myself, NULL));
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

/* ---- Join: the OS thread is gone -------------------------------------- */

static pthread_key_t key;
static atomic_int destroyed;

static void slow_destructor(void *value) {
    (void)value;
    PyTState_Sync_Point("test.destructor");
    atomic_fetch_add(&destroyed, 1);
}

static void use_key(void *arg) {
    struct seen *seen = arg;
    look(seen);
    pthread_setspecific(key, seen);
}

TEST("join returns 0 only when thread-local destructors have run") {
    struct seen seen = {0};
    begin();
    pthread_key_create(&key, slow_destructor);
    hold("test.destructor");
    PyThreadHandle *handle = start(use_key, &seen);
    wait_held("test.destructor");
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 1); /* only the OS is left */
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 10 * MS), 1);
    CHECK_INT_EQ(test_thread_exists(seen.native), 1);
    let_go("test.destructor");
    join(handle);
    CHECK_INT_EQ(atomic_load(&destroyed), 1);
    CHECK_INT_EQ(test_thread_exists(seen.native), 0);
    PyThreadHandle_Decref(handle);
    finish();
}

TEST("the kernel does not list a joined thread, 500 times over") {
    struct seen seen = {0};
    begin();
    for (int i = 0; i < 500; i++) {
        PyThreadHandle *handle = start(look, &seen);
        join(handle);
        CHECK_INT_EQ(test_thread_exists(seen.native), 0);
        PyThreadHandle_Decref(handle);
    }
    finish();
}

TEST("a join times out, not before its deadline, and may be repeated") {
    static PyEvent go;
    begin();
    PyThreadHandle *handle = start(wait_for_event, &go);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 1);
    int64_t begun = test_now_ns();
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 30 * MS), 1);
    CHECK_INT_GE(test_now_ns() - begun, 30 * MS);
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    CHECK_NULL(PyErr_Occurred());
    _PyEvent_Notify(&go);
    join(handle);
    for (int i = 0; i < 3; i++) { /* S-JN-09 */
        CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 0);
        CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), 0);
    }
    PyThreadHandle_Decref(handle);
    finish();
}

struct joining {
    PyThreadHandle *handle;
    struct seen seen;
    atomic_int joined;
};

static void join_detached(void *arg) {
    struct joining *joining = arg;
    CHECK_INT_EQ(PyThreadHandle_Join(joining->handle, LIMIT), 0);
    CHECK_INT_EQ(test_thread_exists(joining->seen.native), 0);
    atomic_fetch_add(&joining->joined, 1);
}

static void join_attached(void *arg) {
    PyThreadState *mine = enter(PyInterpreterState_Main());
    join_detached(arg);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    leave();
}

TEST("sixteen joiners at once all see the OS thread gone (S-JN-07)") {
    begin();
    for (int round = 0; round < 20; round++) {
        struct joining joining = {NULL, {0}, 0};
        struct peers peers = PEERS_INIT;
        hold("thread.func.end");
        joining.handle = start(look, &joining.seen);
        peers_add(&peers, 8, join_detached, &joining);
        peers_add(&peers, 8, join_attached, &joining);
        PyThreadState *mine = PyEval_SaveThread();
        wait_held("thread.func.end"); /* with the GIL */
        peers_start(&peers);
        let_go("thread.func.end");
        peers_join(&peers, LIMIT_MS);
        PyEval_RestoreThread(mine);
        CHECK_INT_EQ(atomic_load(&joining.joined), 16);
        join_and_drop(joining.handle);
    }
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

TEST("while one joiner waits for the OS, others keep their deadlines") {
    struct joining joining = {NULL, {0}, 0};
    struct peers peers = PEERS_INIT;
    begin();
    hold("join.os_join");
    joining.handle = start(look, &joining.seen);
    peers_add(&peers, 1, join_detached, &joining);
    peers_start(&peers);
    wait_held("join.os_join");
    CHECK_INT_EQ(PyThreadHandle_Join(joining.handle, 10 * MS), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(joining.handle, 0), 1);
    CHECK_INT_EQ(atomic_load(&joining.joined), 0);
    let_go("join.os_join");
    join(joining.handle);
    join_peers(&peers);
    PyThreadHandle_Decref(joining.handle);
    finish();
}

static void attach_and_set(void *event) {
    _PyEvent_Notify(event);
    CHECK_PTR_EQ(PyThreadState_Get()->interp, PyInterpreterState_Main());
}

TEST("the joiner is detached while it waits (S-JN-04)") {
    static PyEvent go;
    begin();
    PyThreadHandle *first = start(wait_for_event, &go);
    PyThreadHandle *second = start(attach_and_set, &go);
    join_and_drop(first); /* the second must attach for the first to end */
    join_and_drop(second);
    finish();
}

static void ignore_signal(int number) { (void)number; }

TEST("signals do not end a join early (S-JN-06)") {
    static PyEvent go;
    struct joining joining = {NULL, {0}, 0};
    struct peers peers = PEERS_INIT;
    struct sigaction action = {.sa_handler = ignore_signal}; /* no restart */
    begin();
    sigaction(SIGUSR1, &action, NULL);
    joining.handle = start(wait_for_event, &go);
    peers_add(&peers, 2, join_detached, &joining);
    peers_add(&peers, 2, join_attached, &joining);
    peers_start(&peers);
    for (int i = 0; i < 200; i++) {
        pthread_kill(peers.one[i % 4].thread, SIGUSR1);
        if (i % 10 == 0)
            CHECK_INT_EQ(PyThreadHandle_Join(joining.handle, 1 * MS), 1);
    }
    CHECK_INT_EQ(atomic_load(&joining.joined), 0);
    _PyEvent_Notify(&go);
    join_peers(&peers);
    join_and_drop(joining.handle);
    finish();
}

static void join_myself(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), -1);
    check_raised(PyExc_RuntimeError, "cannot join current thread");
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), -1);
    check_raised(PyExc_RuntimeError, "cannot join current thread");
    PyEval_SaveThread();
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), -1); /* detached as well */
}

TEST("a thread cannot join itself, and is joined by others all the same") {
    begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      join_myself, handle, 0),
                 0);
    join_and_drop(handle);
    finish();
}

/* ---- Start: once, or not at all --------------------------------------- */

TEST("a handle is started once (S-HD-03)") {
    static PyEvent go;
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadHandle *handle = start(wait_for_event, &go);
    unsigned long long ident = PyThreadHandle_Ident(handle);
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, do_nothing, NULL, 0), -1);
    check_raised(PyExc_RuntimeError, "thread already started");
    CHECK_UINT_EQ(n_states(NULL), 2);
    CHECK_UINT_EQ(PyThreadHandle_Ident(handle), ident);
    _PyEvent_Notify(&go);
    join(handle);
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, do_nothing, NULL, 0), -1);
    check_raised(PyExc_RuntimeError, "thread already started");
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 0);
    PyThreadHandle_Decref(handle);
    finish();
}

static atomic_int n_started, n_ran;

static void count_run(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_ran, 1);
}

static void try_to_start(void *handle) {
    int status = PyThreadHandle_Start(handle, PyInterpreterState_Main(),
                                      count_run, NULL, 0);
    CHECK(status == 0 || status == -1);
    if (status == 0)
        atomic_fetch_add(&n_started, 1);
}

TEST("of several who start a handle at once, detached, one succeeds") {
    begin();
    for (int round = 1; round <= 50; round++) {
        struct peers peers = PEERS_INIT;
        PyThreadHandle *handle = PyThreadHandle_New();
        peers_add(&peers, 4, try_to_start, handle);
        peers_start(&peers);
        join_peers(&peers);
        CHECK_INT_EQ(atomic_load(&n_started), round);
        join_and_drop(handle);
        CHECK_INT_EQ(atomic_load(&n_ran), round);
    }
    finish();
}

/* A refused start: the error, nothing linked, the handle as it was. */
static void check_refused(PyThreadHandle *handle, PyInterpreterState *interp,
                          int flags, PyObject *type, const char *text) {
    size_t before = n_states(NULL);
    int threads = test_thread_count();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, do_nothing, NULL, flags),
                 -1);
    check_raised(type, text);
    CHECK_UINT_EQ(n_states(NULL), before);
    CHECK_INT_EQ(test_thread_count(), threads);
    CHECK_UINT_EQ(PyThreadHandle_Ident(handle), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), -1);
    check_raised(PyExc_RuntimeError, "thread not started");
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 0, NULL, 0, NULL), 0);
}

static PyThreadState *new_restricted(int threads, int daemons) {
    PyInterpreterConfig config = {
        1, 1, 1, threads, daemons, 0, PyInterpreterConfig_OWN_GIL};
    PyThreadState *first = NULL;
    CHECK_INT_EQ(
        PyStatus_Exception(Py_NewInterpreterFromConfig(&first, &config)), 0);
    return first;
}

TEST("refused starts leave nothing linked and the handle startable") {
    PyThreadState *main_state = begin();
    PyInterpreterState *no_daemons = new_restricted(1, 0)->interp;
    PyInterpreterState *no_threads = new_restricted(0, 1)->interp;
    PyThreadState_Swap(main_state);
    PyThreadHandle *handle = PyThreadHandle_New();
    check_refused(handle, no_daemons, PyThreadHandle_DAEMON, PyExc_RuntimeError,
                  "daemon threads are not supported in this interpreter");
    check_refused(handle, no_threads, 0, PyExc_RuntimeError,
                  "threads are not supported in this interpreter");
    check_refused(handle, no_threads, PyThreadHandle_DAEMON, PyExc_RuntimeError,
                  "threads are not supported in this interpreter");
    check_refused(handle, main_state->interp, 2, PyExc_ValueError, "flags");
    check_refused(handle, main_state->interp, -1, PyExc_ValueError, "flags");
    struct seen seen = {0};
    CHECK_INT_EQ(PyThreadHandle_Start(handle, no_daemons, look, &seen, 0), 0);
    join_and_drop(handle);
    CHECK_INT_EQ(seen.is_first_state_word_attached, 1);
    finish();
}

TEST("an OS without threads refuses a start, which may be tried again") {
    PyThreadState *main_state = begin();
    PyThreadHandle *handle = PyThreadHandle_New();
    for (int i = 0; i < 3; i++) {
        atomic_store(&refusals, 1);
        check_refused(handle, main_state->interp,
                      i == 1 ? PyThreadHandle_DAEMON : 0, PyExc_RuntimeError,
                      "can't start new thread");
        CHECK_INT_EQ(atomic_load(&refusals), 0);
    }
    struct seen seen = {0};
    CHECK_INT_EQ(
        PyThreadHandle_Start(handle, main_state->interp, look, &seen, 0), 0);
    join_and_drop(handle);
    CHECK_INT_EQ(seen.is_first_state_word_attached, 1);
    finish();
}

static PyThreadHandle *late;

static void start_at_commit(PyInterpreterState *interp, int phase,
                            void *calls) {
    if (phase != PyTState_PHASE_FINALIZING)
        return;
    ++*(int *)calls;
    check_refused(late, interp, 0, PyExc_PythonFinalizationError,
                  "interpreter shutdown");
    check_refused(late, interp, PyThreadHandle_DAEMON,
                  PyExc_PythonFinalizationError, "interpreter shutdown");
}

TEST("an interpreter that committed to its end starts no thread (S-HD-04)") {
    int calls = 0;
    PyThreadState *main_state = begin();
    PyTState_SetShutdownPhaseHook(start_at_commit, &calls);
    late = PyThreadHandle_New();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterState *ended = first->interp;
    Py_EndInterpreter(first);
    CHECK_INT_EQ(calls, 1);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(PyThreadHandle_Start(late, ended, do_nothing, NULL, 0), -1);
    check_raised(PyExc_PythonFinalizationError, "interpreter shutdown");
    finish();
    CHECK_INT_EQ(calls, 2);
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    begin();
    CHECK_INT_EQ(PyThreadHandle_Start(late, PyInterpreterState_Get(),
                                      do_nothing, NULL, 0),
                 0);
    join_and_drop(late);
    finish();
}

/* ---- Who starts, and where -------------------------------------------- */

static void start_another(void *depth) {
    int left = *(int *)depth - 1;
    atomic_fetch_add(&n_ran, 1);
    if (left > 0)
        join_and_drop(start(start_another, &left));
}

TEST("a thread starts a thread that starts a thread, fifty deep") {
    int depth = 50;
    begin();
    join_and_drop(start(start_another, &depth));
    CHECK_INT_EQ(atomic_load(&n_ran), 50);
    finish();
}

static void check_interp(void *interp) {
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    atomic_fetch_add(&n_ran, 1);
}

static void start_without_a_state(void *interp) {
    join_and_drop(start_in(interp, check_interp, interp, 0));
}

TEST("any thread starts threads in any interpreter, attached or not") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyInterpreterState *interps[4] = {main_state->interp};
    for (int gil = 1; gil <= 3; gil++)
        interps[gil] = new_interp(gil)->interp;
    PyThreadState_Swap(main_state);
    for (int i = 0; i < 4; i++) {
        join_and_drop(start_in(interps[i], check_interp, interps[i], 0));
        peers_add(&peers, 2, start_without_a_state, interps[i]);
    }
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(atomic_load(&n_ran), 12);
    CHECK_UINT_EQ(n_states(NULL), 4);
    finish();
}

TEST("two hundred threads run, end and are joined in any order") {
    enum { N = 200 };
    PyThreadHandle *all[N];
    static PyEvent go;
    begin();
    for (int i = 0; i < N; i++)
        all[i] = start(wait_for_event, &go);
    CHECK_UINT_EQ(n_states(NULL), N + 1);
    _PyEvent_Notify(&go);
    for (int i = 0; i < N; i++)
        join_and_drop(all[i * 7 % N]); /* 7 and 200 share no factor */
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}
