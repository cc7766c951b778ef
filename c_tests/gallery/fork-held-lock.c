/* fork-held-lock: fork while another thread is inside a lock.
 *
 *  1. B starts a thread: it takes the lock of threading's lists, and is
 *     swapped out with it.
 *  2. A forks.
 *  3. In the child there is no B, and its lock is locked for ever: whatever
 *     looks at the lists waits, to start a thread or to shut down.
 *
 * This was issue 874900, up to 2.6: since then threading._after_fork() makes
 * new locks. Ours: B is held inside each operation of the library that a fork
 * can cut in two, and the child must be able to start a thread, to join it, to
 * join what B left, and to finalize. */
#include "gallery.h"
#include "threading.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static void nothing(void *arg) { (void)arg; }

/* ---- Old --------------------------------------------------------------- */

static struct threading *module;

static void begin(void) {
    begin_old();
    module = threading_import(SWEPT_LOCKS);
}

static void start_another(void *arg) { thread_start(arg); }

static enum outcome old_round(void) {
    struct thread *other = thread_new(module, nothing, NULL, 0);
    struct thread *b = thread_new(module, start_another, other, 0);
    hold_nth("threading.limbo", 2); /* the first comes by for B itself */
    thread_start(b);
    await_held("threading.limbo"); /* 1 */
    PyOS_BeforeFork();
    pid_t pid = fork(); /* 2 */
    if (pid == 0) {
        PyOS_AfterFork_Child();
        /* For ever, there. This process has one thread. */
        _exit(threading_active_count(module, 1000) < 0); /* 3 */
    }
    PyOS_AfterFork_Parent();
    int waits = exit_status(pid);
    let_go("threading.limbo");
    need(thread_join(b, -1) == 0);
    need(thread_join(other, -1) == 0);
    await_task_gone(thread_native_id(b));
    await_task_gone(thread_native_id(other));
    thread_decref(b);
    thread_decref(other);
    return waits ? MISBEHAVED : BEHAVED;
}

static void end(void) {
    need(threading_shutdown(module) == 0);
    end_runtime();
}

/* ---- Ours -------------------------------------------------------------- */

static PyInterpreterState *interp;
static PyThreadHandle *handle;
static PyMutex mutex; /* the forking thread has it */
static PyEvent event;
static PyInterpreterView *view;

static void body(void *arg) {
    (void)arg;
    swapped_out("thread_of_b.run");
}

static void start_it(void) {
    need(PyThreadHandle_Start(handle, interp, body, NULL, 0) == 0);
}

static void join_it(void) { need(PyThreadHandle_Join(handle, -1) == 0); }

static void lock_it(void) {
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

static void wait_for_it(void) { PyEvent_Wait(&event); }

static void guard_it(void) {
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    need(guard != NULL);
    PyTState_Sync_Point("b.has_guard");
    PyInterpreterGuard_Close(guard);
}

/* Where the fork finds B, and what B does there; NULL: it is a thread that the
 * library started. ASLEEP: B is past the point, and sleeps. */
enum where { HELD, ASLEEP };
static const struct {
    const char *point;
    void (*b)(void);
    enum where where;
} places[] = {
    {"thread.start.begin", start_it, HELD},
    {"tstate.created", start_it, HELD},
    {"thread.start.created", start_it, HELD},
    {"thread.entry", NULL, HELD},
    {"tstate.bound", NULL, HELD},
    {"thread.bound", NULL, HELD},
    {"thread_of_b.run", NULL, HELD},
    {"delete.gil_released", NULL, HELD},
    {"delete.done", NULL, HELD},
    {"thread.state_deleted", NULL, HELD},
    {"thread.event_set", NULL, HELD},
    {"thread.tail", NULL, HELD},
    {"join.waiting", join_it, HELD},
    {"join.waiting", join_it, ASLEEP},
    {"mutex.wait", lock_it, HELD},
    {"mutex.wait", lock_it, ASLEEP},
    {"event.wait", wait_for_it, HELD},
    {"event.wait", wait_for_it, ASLEEP},
    {"b.has_guard", guard_it, HELD},
};
#define N_PLACES ((int)(sizeof places / sizeof *places))

/* Who sleeps is not alone: a new thread may get the stack of one that is gone,
 * and stand in for it by chance. */
#define SLEEPERS 3

static atomic_long b_tasks[SLEEPERS], fresh_task;

static void *run_b(void *task) {
    atomic_store((atomic_long *)task, own_task());
    places[round_number() % N_PLACES].b();
    return NULL;
}

static void run_fresh(void *arg) {
    (void)arg;
    atomic_store(&fresh_task, own_task());
    lock_it();
}

static void start_and_join(PyThreadHandle *one, void (*func)(void *)) {
    need(PyThreadHandle_Start(one, interp, func, NULL, 0) == 0);
    need(PyThreadHandle_Join(one, -1) == 0);
}

/* All that a child may want to do. A hang ends in SIGALRM. */
static _Noreturn void live_in_child(void) {
    PyThreadHandle *fresh = PyThreadHandle_New();
    alarm(20);
    /* A new thread sleeps for the mutex that the survivor has, and gets it. */
    atomic_store(&fresh_task, 0);
    need(PyThreadHandle_Start(fresh, interp, run_fresh, NULL, 0) == 0);
    while (atomic_load(&fresh_task) == 0)
        swapped_out("child.waits");
    await_task_asleep(atomic_load(&fresh_task));
    PyMutex_Unlock(&mutex);
    need(PyThreadHandle_Join(fresh, -1) == 0);
    PyThreadHandle_Decref(fresh);
    /* What B left is over, or was never begun. */
    if (PyThreadHandle_Join(handle, -1) < 0) {
        PyErr_Clear();
        start_and_join(handle, body);
    }
    PyThreadHandle_Decref(handle);
    need(PyTState_Census(NULL, NULL, 0) == 1);
    need(Py_FinalizeEx() == 0);
    begin_ours();
    need(Py_FinalizeEx() == 0);
    _exit(0);
}

/* 1 if the child came to no end. */
static int fork_now(void) {
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        live_in_child();
    }
    PyOS_AfterFork_Parent();
    need(pid > 0);
    return !came_to_its_end(pid);
}

/* Starts B, or several of them, and returns when they are in their place;
 * how many plain threads that is. */
static int bring_b(int at, pthread_t *threads) {
    const char *point = places[at].point;
    int n = places[at].where == ASLEEP ? SLEEPERS : 1;
    if (places[at].b == join_it) {
        hold("thread_of_b.run");
        start_it();
        await_held("thread_of_b.run");
    }
    count(point);
    if (places[at].where == HELD)
        hold(point);
    if (places[at].b == NULL) {
        start_it();
        await_held(point);
        return 0;
    }
    for (int i = 0; i < n; i++)
        need(pthread_create(&threads[i], NULL, run_b, &b_tasks[i]) == 0);
    await_count(point, n);
    if (places[at].where == HELD)
        await_held(point);
    else
        for (int i = 0; i < n; i++)
            await_task_asleep(atomic_load(&b_tasks[i]));
    return n;
}

static enum outcome ours_round(void) {
    pthread_t threads[SLEEPERS];
    begin_ours();
    interp = PyInterpreterState_Get();
    view = PyInterpreterView_FromMain();
    handle = PyThreadHandle_New();
    event = (PyEvent){0};
    PyMutex_Lock(&mutex);
    int n = bring_b(round_number() % N_PLACES, threads);
    int hung = fork_now();
    PyTState_Sync_Clear();
    PyMutex_Unlock(&mutex);
    _PyEvent_Notify(&event);
    Py_BEGIN_ALLOW_THREADS;
    for (int i = 0; i < n; i++)
        need(pthread_join(threads[i], NULL) == 0);
    Py_END_ALLOW_THREADS;
    if (PyThreadHandle_Join(handle, -1) < 0)
        PyErr_Clear();
    PyThreadHandle_Decref(handle);
    PyInterpreterView_Close(view);
    end_runtime();
    return hung ? MISBEHAVED : BEHAVED;
}

const struct scenario fork_held_lock = {
    .name = "fork-held-lock",
    .story = "fork while another thread is inside a lock of the runtime",
    .old = {.what = "the child waited for the lock of a thread it has not",
            .every = 1,
            .begin = begin,
            .round = old_round,
            .end = end},
    .ours = {.what = "the child waited for ever", .round = ours_round},
};
