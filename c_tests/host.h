/* What the tests of the runtime's life share: a host around the library.
 *
 * Every case runs in a process of its own, so a case may leave the runtime as
 * it likes; the ones that call begin() and finish() prove on the way that a
 * runtime in that condition can be finalized. */
#ifndef PYTSTATE_TEST_HOST_H
#define PYTSTATE_TEST_HOST_H

#include "board.h"
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pytstate.h>
#include <pytstate/internal.h>

#define MS INT64_C(1000000)
#define LIMIT_MS 15000
#define LIMIT (LIMIT_MS * MS)
#define FOREVER INT64_C(-1)

/* ---- Beginning and end ------------------------------------------------ */

static inline PyThreadState *begin(void) {
    Py_InitializeEx(0);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    return PyThreadState_Get();
}

static inline void finish(void) {
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_NULL(PyThreadState_GetUnchecked());
}

/* Another life of the runtime, with settings. */
static inline PyThreadState *begin_with(const PyTState_Config *config) {
    PyStatus status = PyTState_Initialize(config);
    if (PyStatus_Exception(status))
        FAIL("PyTState_Initialize: %s", status.err_msg);
    return PyThreadState_Get();
}

/* ... whose main interpreter has a GIL (PyTState_GIL_SHARED) or has none. */
static inline PyThreadState *begin_mode(int gil,
                                        const PyTState_ObjectHooks *objects) {
    PyTState_Config config = {0};
    config.size = sizeof config;
    config.gil = gil;
    config.objects = objects;
    return begin_with(&config);
}

/* The error indicator holds this; then it is emptied. */
static inline void check_raised(PyObject *type, const char *text) {
    CHECK_PTR_EQ(PyErr_Occurred(), type);
    CHECK_STR_CONTAINS(PyTState_ErrMessage(), text);
    PyErr_Clear();
    CHECK_NULL(PyErr_Occurred());
}

/* A fork that the host announces, attached to the main interpreter. */
static inline pid_t fork_here(void) {
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    return pid;
}

/* ---- States ----------------------------------------------------------- */

/* A foreign thread's first steps: a state of `interp`, attached. */
static inline PyThreadState *enter(PyInterpreterState *interp) {
    PyThreadState *mine = PyThreadState_New(interp);
    CHECK_NOT_NULL(mine);
    PyEval_RestoreThread(mine);
    return mine;
}

/* ... and its last ones. */
static inline void leave(void) {
    PyThreadState_Clear(PyThreadState_Get());
    PyThreadState_DeleteCurrent();
}

static inline int is_linked(PyInterpreterState *interp, PyThreadState *wanted) {
    PyTState_ThreadInfo all[512];
    size_t n = PyTState_Census(interp, all, 512);
    CHECK_UINT_LT(n, 512);
    for (size_t i = 0; i < n; i++)
        if (all[i].id == PyThreadState_GetID(wanted))
            return 1;
    return 0;
}

static inline size_t n_states(PyInterpreterState *interp) {
    return PyTState_Census(interp, NULL, 0);
}

/* As a host writes the field that others may be reading. */
static inline void set_daemon(PyThreadState *state, int is_daemon) {
    __atomic_store_n(&state->is_daemon, is_daemon, __ATOMIC_RELAXED);
}

/* A sub-interpreter, attached; the caller's state is left detached. */
static inline PyThreadState *new_interp(int gil) {
    PyInterpreterConfig config = {1, 1, 1, 1, 1, 0, gil};
    PyThreadState *first = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&first, &config);
    if (PyStatus_Exception(status))
        FAIL("Py_NewInterpreterFromConfig: %s", status.err_msg);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    return first;
}

/* ---- Threads ---------------------------------------------------------- */

static inline PyThreadHandle *start_in(PyInterpreterState *interp,
                                       void (*func)(void *), void *arg,
                                       int flags) {
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_NOT_NULL(handle);
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, func, arg, flags), 0);
    return handle;
}

static inline PyThreadHandle *start(void (*func)(void *), void *arg) {
    return start_in(PyInterpreterState_Get(), func, arg, 0);
}

static inline void join(PyThreadHandle *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
}

static inline void join_and_drop(PyThreadHandle *handle) {
    join(handle);
    PyThreadHandle_Decref(handle);
}

static inline void do_nothing(void *arg) { (void)arg; }

/* For a started thread: stays, detached, until the event is set. */
static inline void wait_for_event(void *event) {
    CHECK_INT_EQ(PyEvent_WaitTimed(event, LIMIT, 1), 1);
}

/* WAIT_UNTIL for a caller that may be attached: it lets go meanwhile. */
#define WAIT_DETACHED(x)                         \
    do {                                         \
        PyThreadState *s_ = PyEval_SaveThread(); \
        WAIT_UNTIL(x, LIMIT_MS);                 \
        PyEval_RestoreThread(s_);                \
    } while (0)

/* Joins peers that need to attach, from an attached thread. */
static inline void join_peers(struct peers *peers) {
    PyThreadState *mine = PyEval_SaveThread();
    peers_join(peers, LIMIT_MS);
    PyEval_RestoreThread(mine);
}

/* A poll, as a host's loop makes it. */
static inline void poll_once(void) {
    PyThreadState *mine = PyThreadState_Get();
    if (__atomic_load_n(&mine->eval_breaker, __ATOMIC_RELAXED) != 0)
        CHECK_INT_EQ(_Py_HandlePending(mine), 0);
}

/* Snapshots that a sanitizer accepts. */
static inline int word_of(PyThreadState *state) {
    return __atomic_load_n(&state->state, __ATOMIC_ACQUIRE);
}
static inline int has_bit(PyThreadState *state, int bit) {
    return (__atomic_load_n(&state->eval_breaker, __ATOMIC_RELAXED) >> bit) & 1;
}

/* ---- Sync points ------------------------------------------------------ */

static inline void hold(const char *point) {
    CHECK_INT_EQ(PyTState_Sync_Pause(point), 0);
}

/* Until somebody is held there; an attached caller lets go meanwhile. */
static inline void wait_held(const char *point) {
    PyThreadState *mine = PyThreadState_GetUnchecked();
    if (mine != NULL)
        PyEval_SaveThread();
    if (PyTState_Sync_WaitParked(point, LIMIT) != 0)
        FAIL("nobody came to %s", point);
    if (mine != NULL)
        PyEval_RestoreThread(mine);
}

static inline void let_go(const char *point) {
    CHECK_INT_EQ(PyTState_Sync_Wake(point), 0);
}

/* Both, detached in between: for points where who is held has the GIL. */
static inline void wait_passing(const char *point) {
    PyThreadState *mine = PyEval_SaveThread();
    wait_held(point);
    let_go(point);
    PyEval_RestoreThread(mine);
}

/* Until a thread of the process sleeps in the kernel. */
static inline void wait_asleep(atomic_long *native_id) {
    PyThreadState *mine = PyThreadState_GetUnchecked();
    if (mine != NULL)
        PyEval_SaveThread();
    WAIT_UNTIL(atomic_load(native_id) != 0, LIMIT_MS);
    WAIT_UNTIL(test_thread_sleeps(atomic_load(native_id)), LIMIT_MS);
    if (mine != NULL)
        PyEval_RestoreThread(mine);
}

/* Until the thread of a state sleeps in the kernel. */
static inline int is_sleeping(PyThreadState *state) {
    long native =
        (long)__atomic_load_n(&state->native_thread_id, __ATOMIC_RELAXED);
    return native != 0 && test_thread_sleeps(native);
}

static inline void wait_sleeping(PyThreadState *state) {
    WAIT_DETACHED(is_sleeping(state));
}

/* ---- Fatal errors ----------------------------------------------------- */

/* Runs the block that follows in a child. It must die of SIGABRT after
 *     Fatal Python error: FUNC: ...TEXT...
 * and name the thread that died: its identity and its kernel id. That is the
 * block's own thread unless another one called i_die(). */
#define EXPECT_FATAL(func, text)                              \
    for (struct fatal_child child_ =                          \
             fatal_start(__FILE__, __LINE__, (func), (text)); \
         fatal_runs(&child_);)

struct fatal_dying {
    atomic_long native;
    _Atomic(unsigned long) ident;
};

struct fatal_child {
    const char *file;
    int line;
    const char *func, *text;
    struct fatal_dying *dying;
    pid_t pid;
    int fd;
    int ran;
};

static struct fatal_dying *fatal_dying;

static inline void i_die(void) {
    atomic_store(&fatal_dying->native, test_native_id());
    atomic_store(&fatal_dying->ident, (unsigned long)pthread_self());
}

static inline struct fatal_child
fatal_start(const char *file, int line, const char *func, const char *text) {
    int ends[2];
    test_here(file, line);
    fatal_dying = mmap(NULL, sizeof *fatal_dying, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fatal_dying == MAP_FAILED || pipe(ends) != 0)
        test_fail(file, line, "no page or no pipe");
    fflush(NULL);
    struct fatal_child child = {file,        line,   func,    text,
                                fatal_dying, fork(), ends[0], 0};
    if (child.pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        i_die();
    }
    close(ends[1]);
    return child;
}

static inline int fatal_runs(struct fatal_child *child) {
    if (child->pid == 0) {
        if (child->ran++ == 0)
            return 1;
        test_write_line(STDERR_FILENO, "the block came to its end");
        _exit(0);
    }
    char errors[4096], wanted[512];
    size_t used = 0;
    ssize_t n;
    while ((n = read(child->fd, errors + used, sizeof errors - 1 - used)) > 0)
        used += (size_t)n;
    errors[used] = 0;
    close(child->fd);
    int status = 0;
    if (waitpid(child->pid, &status, 0) != child->pid || !WIFSIGNALED(status) ||
        WTERMSIG(status) != SIGABRT)
        test_fail(child->file, child->line,
                  "%s should abort; wait status 0x%x; stderr: %s", child->func,
                  (unsigned)status, errors);
    snprintf(wanted, sizeof wanted, "Fatal Python error: %s: ", child->func);
    test_str_contains(child->file, child->line, "stderr", errors, wanted, 1);
    test_str_contains(child->file, child->line, "stderr", errors, child->text,
                      1);
    snprintf(wanted, sizeof wanted, "Current thread 0x%016lx (tid %ld)",
             atomic_load(&child->dying->ident),
             atomic_load(&child->dying->native));
    test_str_contains(child->file, child->line, "stderr", errors, wanted, 1);
    munmap(child->dying, sizeof *child->dying);
    return 0;
}

#endif
