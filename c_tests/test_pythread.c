/* Plain OS threads: started, joined, ended, hung. */
#include "host.h"

#include <limits.h>
#include <stdlib.h>

/* ---- Starting and joining --------------------------------------------- */

struct seen {
    atomic_ulong ident;
    atomic_long native;
    atomic_int stateless;
    struct latch done;
};

static void look(void *arg) {
    struct seen *seen = arg;
    atomic_store(&seen->ident, PyThread_get_thread_ident());
    atomic_store(&seen->native, (long)PyThread_get_thread_native_id());
    atomic_store(&seen->stateless, PyThreadState_GetUnchecked() == NULL);
    latch_arrive(&seen->done);
}

TEST("a plain thread has the identity it was started with, and no state "
     "(S-TH-01)") {
    struct seen seen = {.done = LATCH_INIT(1)};
    PyThread_init_thread();
    unsigned long ident = PyThread_start_new_thread(look, &seen);
    CHECK_UINT_NE(ident, 0);
    CHECK_UINT_NE(ident, PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_EQ(latch_wait(&seen.done, LIMIT_MS), 1);
    CHECK_UINT_EQ(atomic_load(&seen.ident), ident);
    CHECK_INT_EQ(atomic_load(&seen.stateless), 1);
    WAIT_UNTIL(!test_thread_exists(atomic_load(&seen.native)), LIMIT_MS);
}

TEST("a joinable thread is joined once it has ended (S-TH-03)") {
    for (int i = 0; i < 50; i++) {
        struct seen seen = {.done = LATCH_INIT(1)};
        PyThread_ident_t ident = 0;
        PyThread_handle_t handle = 0;
        CHECK_INT_EQ(
            PyThread_start_joinable_thread(look, &seen, &ident, &handle), 0);
        CHECK_INT_EQ(PyThread_join_thread(handle), 0);
        CHECK_UINT_EQ(atomic_load(&seen.ident), ident);
    }
}

TEST("a detached thread is gone when it ends") {
    struct seen seen = {.done = LATCH_INIT(1)};
    PyThread_ident_t ident;
    PyThread_handle_t handle;
    CHECK_INT_EQ(PyThread_start_joinable_thread(look, &seen, &ident, &handle),
                 0);
    CHECK_INT_EQ(PyThread_detach_thread(handle), 0);
    CHECK_INT_EQ(latch_wait(&seen.done, LIMIT_MS), 1);
    WAIT_UNTIL(!test_thread_exists(atomic_load(&seen.native)), LIMIT_MS);
}

static atomic_int self_join;
static atomic_int may_join;

static void join_itself(void *handle) {
    WAIT_UNTIL(atomic_load(&may_join), LIMIT_MS);
    atomic_store(&self_join,
                 PyThread_join_thread(*(PyThread_handle_t *)handle));
}

TEST("a thread cannot join itself") {
    PyThread_ident_t ident;
    PyThread_handle_t handle;
    atomic_store(&self_join, 7);
    CHECK_INT_EQ(
        PyThread_start_joinable_thread(join_itself, &handle, &ident, &handle),
        0);
    atomic_store(&may_join, 1);
    CHECK_INT_EQ(PyThread_join_thread(handle), 0);
    CHECK_INT_EQ(atomic_load(&self_join), -1);
}

TEST("when the OS has no thread to give, nothing is left behind") {
    const size_t absurd = (size_t)1 << 46;
    struct seen seen = {.done = LATCH_INIT(1)};
    PyThread_ident_t ident = 1;
    PyThread_handle_t handle = 1;
    begin();
    CHECK_INT_EQ(PyThread_set_stacksize(absurd), 0);
    CHECK_UINT_EQ(PyThread_start_new_thread(look, &seen),
                  PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_NE(PyThread_start_joinable_thread(look, &seen, &ident, &handle),
                 0);
    CHECK_UINT_EQ(ident, 1);
    CHECK_UINT_EQ(handle, 1);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyThread_set_stacksize(0), 0);
    CHECK_INT_EQ(PyThread_start_joinable_thread(look, &seen, &ident, &handle),
                 0);
    CHECK_INT_EQ(PyThread_join_thread(handle), 0);
    finish();
}

/* ---- Stack size ------------------------------------------------------- */

static void measure(void *size) {
    pthread_attr_t attributes;
    void *low;
    CHECK_INT_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_INT_EQ(pthread_attr_getstack(&attributes, &low, size), 0);
    pthread_attr_destroy(&attributes);
}

TEST("a new thread's stack is what its interpreter asks for (S-TH-02)") {
    /* So small that the C library does not take a usual one it has left. */
    const size_t wanted = (size_t)1 << 20;
    PyThreadState *main_state = begin();
    size_t size = 0;
    PyThread_ident_t ident;
    PyThread_handle_t handle;
    CHECK_INT_EQ(PyThread_set_stacksize(wanted), 0);
    CHECK_UINT_EQ(PyThread_get_stacksize(), wanted);
    join_and_drop(start(measure, &size));
    CHECK_UINT_GT(size, wanted - 65536);
    CHECK_UINT_LT(size, wanted + 65536);
    CHECK_INT_EQ(
        PyThread_start_joinable_thread(measure, &size, &ident, &handle), 0);
    CHECK_INT_EQ(PyThread_join_thread(handle), 0);
    CHECK_UINT_LT(size, wanted + 65536);
    /* Another interpreter has its own setting; no interpreter has none. */
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 0);
    Py_EndInterpreter(other);
    size_t usual;
    CHECK_INT_EQ(
        PyThread_start_joinable_thread(measure, &usual, &ident, &handle), 0);
    CHECK_INT_EQ(PyThread_join_thread(handle), 0);
    CHECK_UINT_GT(usual, wanted + 65536);
    PyEval_RestoreThread(main_state);
    CHECK_UINT_EQ(PyThread_get_stacksize(), wanted);
    finish();
}

TEST("a stack that is too small is refused, and nothing changes") {
    begin();
    CHECK_INT_EQ(PyThread_set_stacksize(1 << 20), 0);
    CHECK_INT_EQ(PyThread_set_stacksize(1), -1);
    CHECK_INT_EQ(PyThread_set_stacksize(32767), -1);
    CHECK_INT_EQ(PyThread_set_stacksize((size_t)PTHREAD_STACK_MIN - 1), -1);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 1 << 20);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyThread_set_stacksize(0), 0);
    CHECK_UINT_EQ(PyThread_get_stacksize(), 0);
    EXPECT_FATAL("PyThread_set_stacksize", "thread state is NULL") {
        PyEval_SaveThread();
        PyThread_set_stacksize(0);
    }
    EXPECT_FATAL("PyThread_get_stacksize", "thread state is NULL") {
        PyEval_SaveThread();
        PyThread_get_stacksize();
    }
    finish();
}

/* ---- Ending a thread from within -------------------------------------- */

static pthread_key_t key;
static atomic_int destroyed;
static atomic_int passed;

static void count_destroyed(void *value) {
    (void)value;
    atomic_fetch_add(&destroyed, 1);
}

static void (*volatile end_thread)(void) = PyThread_exit_thread;

/* Some frames of C between the thread's function and its end. */
__attribute__((noinline)) static void go_down(int frames) {
    volatile char room[256];
    room[0] = (char)frames;
    if (frames > 0)
        go_down(frames - 1);
    else
        end_thread();
    atomic_fetch_add(&passed, 1 + room[0]);
}

static atomic_long left[8];
static atomic_int n_left;

static void leaves_deep_below(void *unused) {
    (void)unused;
    atomic_store(&left[atomic_fetch_add(&n_left, 1)], test_native_id());
    pthread_setspecific(key, &key);
    go_down(20);
}

TEST("a plain thread ends where it says so, and its destructors run") {
    PyThread_ident_t ident;
    PyThread_handle_t handle;
    pthread_key_create(&key, count_destroyed);
    CHECK_INT_EQ(PyThread_start_joinable_thread(leaves_deep_below, NULL, &ident,
                                                &handle),
                 0);
    CHECK_INT_EQ(PyThread_join_thread(handle), 0);
    CHECK_INT_EQ(atomic_load(&destroyed), 1);
    CHECK_INT_EQ(atomic_load(&passed), 0);
}

static atomic_int deleted_attached;

static void on_delete(void *unused) {
    (void)unused;
    atomic_fetch_add(&deleted_attached, PyGILState_Check());
}

static void leaves_attached(void *unused) {
    PyThreadState *mine = PyThreadState_Get();
    mine->on_delete = on_delete;
    leaves_deep_below(unused);
}

static void leaves_detached(void *unused) {
    PyThreadState_Get()->on_delete = on_delete;
    PyEval_SaveThread();
    leaves_deep_below(unused);
}

static void leaves_stateless(void *unused) {
    PyThreadState_Get()->on_delete = on_delete;
    leave();
    leaves_deep_below(unused);
}

TEST("a started thread that ends itself ends as if its function returned") {
    void (*const ways[])(void *) = {leaves_attached, leaves_detached,
                                    leaves_stateless};
    PyThreadState *main_state = begin();
    pthread_key_create(&key, count_destroyed);
    for (int i = 0; i < 3; i++) {
        PyThreadHandle *handle = start(ways[i], NULL);
        join(handle);
        CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 1);
        CHECK_NULL(PyThreadHandle_ThreadState(handle));
        PyThreadHandle_Decref(handle);
        CHECK_INT_EQ(atomic_load(&deleted_attached), i + 1);
        CHECK_INT_EQ(atomic_load(&destroyed), i + 1);
        CHECK_UINT_EQ(n_states(main_state->interp), 1);
    }
    CHECK_INT_EQ(atomic_load(&passed), 0);
    finish();
}

TEST("finalization waits for threads that end themselves") {
    NEEDS_GIL();
    PyThreadState *main_state = begin();
    pthread_key_create(&key, count_destroyed);
    hold("thread.func.begin");
    for (int i = 0; i < 8; i++)
        PyThreadHandle_Decref(
            start(i % 2 ? leaves_attached : leaves_detached, NULL));
    CHECK_UINT_EQ(n_states(main_state->interp), 9);
    let_go("thread.func.begin");
    finish();
    CHECK_INT_EQ(atomic_load(&deleted_attached), 8);
    CHECK_INT_EQ(atomic_load(&destroyed), 8);
    CHECK_INT_EQ(atomic_load(&n_left), 8);
    for (int i = 0; i < 8; i++)
        CHECK_INT_EQ(test_thread_exists(atomic_load(&left[i])), 0);
}

static void leaves_with_a_state_of_its_own(void *interp) {
    i_die();
    enter(interp);
    PyThread_exit_thread();
}

TEST("a foreign thread that ends itself while attached is fatal: nobody could "
     "run any more") {
    PyThreadState *main_state = begin();
    EXPECT_FATAL("PyThread_exit_thread", "is still attached") {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, leaves_with_a_state_of_its_own,
                  main_state->interp);
        peers_start(&peers);
        join_peers(&peers);
    }
    finish();
}

static void outlives_main(void *native_of_main) {
    WAIT_UNTIL(!test_thread_exists(*(long *)native_of_main) ||
                   !test_thread_sleeps(*(long *)native_of_main),
               LIMIT_MS);
    exit(23);
}

TEST("the process goes on when its main thread ends itself") {
    EXPECT_EXIT(23, "") {
        static long native_of_main;
        native_of_main = test_native_id();
        CHECK_UINT_NE(PyThread_start_new_thread(outlives_main, &native_of_main),
                      PYTHREAD_INVALID_THREAD_ID);
        PyThread_exit_thread();
    }
}

/* ---- Hanging ---------------------------------------------------------- */

static void no_handler(int number) { (void)number; }

static atomic_long hung_native;

static void hangs(void *unused) {
    (void)unused;
    atomic_store(&hung_native, test_native_id());
    PyThread_hang_thread();
}

TEST("a thread that is hung sleeps for ever, signals or not") {
    EXPECT_EXIT(0, "") {
        PyThread_ident_t ident;
        PyThread_handle_t handle;
        struct sigaction action = {.sa_handler = no_handler};
        sigaction(SIGUSR1, &action, NULL);
        CHECK_INT_EQ(
            PyThread_start_joinable_thread(hangs, NULL, &ident, &handle), 0);
        wait_asleep(&hung_native);
        for (int i = 0; i < 10; i++) {
            pthread_kill((pthread_t)handle, SIGUSR1);
            WAIT_UNTIL(test_thread_sleeps(atomic_load(&hung_native)), LIMIT_MS);
        }
        CHECK_INT_EQ(test_thread_exists(atomic_load(&hung_native)), 1);
    }
}

TEST("hanging while attached is fatal: nobody could run any more") {
    begin();
    EXPECT_FATAL("PyThread_hang_thread", "is still attached") {
        PyThread_hang_thread();
    }
    finish();
}

/* ---- NULL, identities ------------------------------------------------- */

TEST("a thread needs a function and places for its identity") {
    PyThread_ident_t ident;
    PyThread_handle_t handle;
    EXPECT_FATAL("PyThread_start_new_thread", "'func' must not be NULL") {
        PyThread_start_new_thread(NULL, NULL);
    }
    EXPECT_FATAL("PyThread_start_joinable_thread", "'func'") {
        PyThread_start_joinable_thread(NULL, NULL, &ident, &handle);
    }
    EXPECT_FATAL("PyThread_start_joinable_thread", "'ident'") {
        PyThread_start_joinable_thread(do_nothing, NULL, NULL, &handle);
    }
    EXPECT_FATAL("PyThread_start_joinable_thread", "'handle'") {
        PyThread_start_joinable_thread(do_nothing, NULL, &ident, NULL);
    }
}

TEST("the identity is pthread's, in both widths") {
    CHECK_UINT_EQ(PyThread_get_thread_ident(), (unsigned long)pthread_self());
    CHECK_UINT_EQ(PyThread_get_thread_ident_ex(), PyThread_get_thread_ident());
    CHECK_INT_EQ(PyThread_get_thread_native_id(), test_native_id());
}
