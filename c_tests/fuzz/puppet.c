/* Runs calls on threads, one line of its input each, for a model that says what
 * they must return (c_tests/fuzz/fuzz).
 *
 *     in:  THREAD CALL [NUMBER...]      out: THREAD RESULT
 *          new THREAD                        THREAD tid NATIVE_ID
 *          quit
 *
 * Thread 0 is the main thread; the others are made by "new" or by a call of
 * `start`. A thread runs one call at a time; which one waits is the model's to
 * know. Everything that a call makes or uses has a number. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pytstate.h>
#include <pytstate/internal.h>

#define N 64
#define MS INT64_C(1000000)

struct worker {
    int number;
    sem_t has_work;
    char line[128];
    int ends;
};

static struct worker workers[N];
static PyThreadState *states[N * 4];
static PyInterpreterState *interps[N];
static PyThreadHandle *handles[N];
static PyInterpreterGuard *guards[N];
static PyInterpreterView *views[N];
static PyThreadStateToken *tokens[N * 4];
static PyEvent *exit_events[N * 4];
static PyMutex mutexes[4];
static PyEvent events[N];
static PyThread_type_lock locks[4];
static _PyRWMutex rws[4];
static atomic_int n_called, n_deleted, n_at_exit;
static pthread_mutex_t out = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...) {
    char text[256];
    va_list rest;
    va_start(rest, format);
    int n = vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    pthread_mutex_lock(&out);
    if (write(1, text, (size_t)n) != n)
        _exit(2);
    pthread_mutex_unlock(&out);
}

/* ---- Callbacks -------------------------------------------------------- */

static int called(void *unused) {
    (void)unused;
    atomic_fetch_add(&n_called, 1);
    return 0;
}

static void deleted(void *unused) {
    (void)unused;
    /* A hook may call back. */
    (void)PyTState_Census(NULL, NULL, 0);
    (void)PyErr_Occurred();
    atomic_fetch_add(&n_deleted, 1);
}

static void at_exit(void *unused) {
    (void)unused;
    atomic_fetch_add(&n_at_exit, 1);
}

static void unblock(void *unused) { (void)unused; }

static int number_of(PyThreadState *state) {
    for (int i = 0; state != NULL && i < N * 4; i++)
        if (states[i] == state)
            return i;
    return -1;
}

/* A block may have been another state's before. */
static int remember(long number, PyThreadState *state) {
    for (int i = number_of(state); i >= 0; i = number_of(state))
        states[i] = NULL;
    states[number] = state;
    return state != NULL;
}

/* ---- Calls that are more than one -------------------------------------- */

static long new_interp(long state, long interp, long gil) {
    PyInterpreterConfig config = _PyInterpreterConfig_LEGACY_INIT;
    config.gil = (int)gil;
    config.use_main_obmalloc = gil == PyInterpreterConfig_SHARED_GIL;
    config.check_multi_interp_extensions = !config.use_main_obmalloc;
    PyThreadState *first = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&first, &config);
    if (PyStatus_Exception(status) || !remember(state, first))
        return -1;
    interps[interp] = states[state]->interp;
    return PyInterpreterState_GetID(interps[interp]);
}

static long initialize(long gil, long compat, long late) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.gil = (int)gil;
    config.compat = (int)compat;
    config.late_attach = (int)late;
    PyStatus status = PyTState_Initialize(&config);
    if (PyStatus_Exception(status))
        return -1;
    remember(0, PyThreadState_Get());
    interps[0] = states[0]->interp;
    return 0;
}

/* A child that goes on, detaches, starts a thread and ends its runtime. */
static void idle(void *unused) { (void)unused; }

static long fork_and_check(void) {
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        alarm(5);
        PyThreadState *mine = PyThreadState_Get();
        int wrong = PyTState_Census(NULL, NULL, 0) != 1;
        PyEval_SaveThread();
        PyEval_RestoreThread(mine);
        PyThreadHandle *one = PyThreadHandle_New();
        wrong |= 2 * (PyThreadHandle_Start(one, mine->interp, idle, NULL, 0) ||
                      PyThreadHandle_Join(one, -1));
        PyThreadHandle_Decref(one);
        PyThreadState *sub = Py_NewInterpreter();
        if (sub != NULL)
            Py_EndInterpreter(sub);
        wrong |= 4 * (sub == NULL);
        PyEval_RestoreThread(mine);
        /* Guards of the thread that forked are open in the child, too. */
        if (_PyInterpreterState_GuardCountdown(mine->interp) == 0)
            wrong |= 8 * (Py_FinalizeEx() != 0);
        _exit(wrong);
    }
    PyOS_AfterFork_Parent();
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static long pause_and_look(long interp) {
    PyTState_ThreadInfo all[N * 4];
    if (interp < 0)
        _PyEval_StopTheWorldAll(NULL);
    else
        _PyEval_StopTheWorld(interps[interp]);
    size_t n = PyTState_Census(interp < 0 ? NULL : interps[interp], all, N * 4);
    long attached = 0;
    for (size_t i = 0; i < n; i++)
        attached += all[i].state == PyTState_ATTACHED;
    if (interp < 0)
        _PyEval_StartTheWorldAll(NULL);
    else
        _PyEval_StartTheWorld(interps[interp]);
    return attached;
}

/* Many short visits with a lock, beside whatever the others do. */
static long visits(long view, long rounds, long mutex) {
    long served = 0;
    for (long i = 0; i < rounds; i++) {
        PyThreadStateToken *token = PyThreadState_EnsureFromView(views[view]);
        if (token == NULL)
            continue;
        PyMutex_Lock(&mutexes[mutex]);
        served++;
        PyMutex_Unlock(&mutexes[mutex]);
        PyThreadState_Release(token);
    }
    return served;
}

/* ---- One call --------------------------------------------------------- */

static void work(void *worker);

static PyObject *kind(long number) {
    PyObject *all[] = {NULL, PyExc_RuntimeError, PyExc_ValueError};
    return all[number];
}

static long error_number(void) {
    PyObject *now = PyErr_Occurred();
    return now == NULL                 ? 0
           : now == PyExc_RuntimeError ? 1
           : now == PyExc_ValueError   ? 2
                                       : 3;
}

static void *foreign(void *worker) {
    say("%d tid %ld\n", ((struct worker *)worker)->number,
        (long)syscall(SYS_gettid));
    work(worker);
    return NULL;
}

static void started(void *worker) {
    say("%d tid %ld\n", ((struct worker *)worker)->number,
        (long)syscall(SYS_gettid));
    work(worker);
}

#define IS(name) (strcmp(call, #name) == 0)
#define LONG(name, value) \
    if (IS(name))         \
        return (long)(value);
#define VOID(name, statement) \
    if (IS(name)) {           \
        statement;            \
        return 0;             \
    }

static long run_state(const char *call, long a, long b) {
    LONG(new_state, remember(a, PyThreadState_New(interps[b])))
    VOID(save, PyEval_SaveThread())
    VOID(restore, PyEval_RestoreThread(states[a]))
    VOID(acquire, PyEval_AcquireThread(states[a]))
    VOID(release, PyEval_ReleaseThread(states[a]))
    LONG(swap, number_of(PyThreadState_Swap(a < 0 ? NULL : states[a])))
    VOID(clear, PyThreadState_Clear(states[a]))
    VOID(delete,
         (PyThreadState_Clear(states[a]), PyThreadState_Delete(states[a])))
    VOID(delete_current, (PyThreadState_Clear(PyThreadState_Get()),
                          PyThreadState_DeleteCurrent()))
    LONG(rebind, PyTState_Rebind(states[a]))
    LONG(keep, PyTState_KeepThreadState((int)a))
    LONG(ensure, PyGILState_Ensure())
    VOID(unensure, PyGILState_Release((int)a))
    LONG(gil_check, PyGILState_Check())
    LONG(current, number_of(PyThreadState_GetUnchecked()))
    LONG(gilstate, number_of(PyGILState_GetThisThreadState()))
    VOID(learn, states[a] = PyThreadState_GetUnchecked())
    VOID(daemon, states[a]->is_daemon = (int)b)
    VOID(hook, states[a]->on_delete = deleted)
    VOID(exit_event, exit_events[a] = PyTState_GetExitEvent(states[a]))
    LONG(exited, _PyEvent_IsSet(exit_events[a]))
    LONG(poll, PyTState_Poll(PyThreadState_Get()))
    LONG(begin_blocking, PyTState_BeginBlocking(unblock, NULL))
    VOID(end_blocking, PyTState_EndBlocking())
    VOID(error_set, PyErr_SetString(kind(a), "fuzz"))
    VOID(error_clear, PyErr_Clear())
    LONG(error, error_number())
    LONG(async, PyThreadState_SetAsyncExc(states[a]->thread_id, kind(b)))
    return -1000;
}

static long run_interp(const char *call, long a, long b, long c) {
    LONG(initialize, initialize(a, b, c))
    LONG(finalize, Py_FinalizeEx())
    LONG(new_interp, new_interp(a, b, c))
    VOID(end_interp, Py_EndInterpreter(PyThreadState_Get()))
    LONG(is_initialized, Py_IsInitialized())
    LONG(census, PyTState_Census(a < 0 ? NULL : interps[a], NULL, 0))
    LONG(count_guards, _PyInterpreterState_GuardCountdown(interps[a]))
    LONG(phase, PyTState_ShutdownPhase(interps[a]))
    LONG(look_up, _PyInterpreterState_LookUpID(a) != NULL)
    LONG(guard, (guards[a] = PyInterpreterGuard_FromCurrent()) != NULL)
    LONG(guard_view,
         (guards[a] = PyInterpreterGuard_FromView(views[b])) != NULL)
    VOID(guard_close, PyInterpreterGuard_Close(guards[a]))
    LONG(view, (views[a] = PyInterpreterView_FromCurrent()) != NULL)
    LONG(view_main, (views[a] = PyInterpreterView_FromMain()) != NULL)
    VOID(view_close, PyInterpreterView_Close(views[a]))
    LONG(visit_guard, (tokens[a] = PyThreadState_Ensure(guards[b])) != NULL)
    LONG(visit_view,
         (tokens[a] = PyThreadState_EnsureFromView(views[b])) != NULL)
    VOID(leave, PyThreadState_Release(tokens[a]))
    LONG(visits, visits(a, b, c))
    LONG(pending, Py_AddPendingCall(called, NULL))
    LONG(pending_here, _PyEval_AddPendingCall(interps[a], called, NULL, 0))
    LONG(make_pending, Py_MakePendingCalls())
    LONG(n_called, atomic_load(&n_called))
    LONG(n_deleted, atomic_load(&n_deleted))
    LONG(n_at_exit, atomic_load(&n_at_exit))
    LONG(at_exit, PyUnstable_AtExit(interps[a], at_exit, NULL))
    LONG(at_shutdown, PyTState_AtShutdown(interps[a], at_exit, NULL))
    LONG(pause, pause_and_look(a))
    LONG(fork, fork_and_check())
    return -1000;
}

static long run_lock(const char *call, long a, long b, long c) {
    VOID(lock, PyMutex_Lock(&mutexes[a]))
    LONG(lock_timed, _PyMutex_LockTimed(&mutexes[a], b * MS, _PY_LOCK_DETACH))
    VOID(unlock, PyMutex_Unlock(&mutexes[a]))
    LONG(is_locked, PyMutex_IsLocked(&mutexes[a]))
    VOID(read, _PyRWMutex_RLock(&rws[a]))
    VOID(unread, _PyRWMutex_RUnlock(&rws[a]))
    VOID(write, _PyRWMutex_Lock(&rws[a]))
    VOID(unwrite, _PyRWMutex_Unlock(&rws[a]))
    VOID(event_wait, PyEvent_Wait(&events[a]))
    LONG(event_timed, PyEvent_WaitTimed(&events[a], b * MS, 1))
    VOID(event_set, _PyEvent_Notify(&events[a]))
    LONG(thread_lock, PyThread_acquire_lock_timed_with_retries(locks[a], -1))
    VOID(thread_unlock, PyThread_release_lock(locks[a]))
    LONG(new_handle, (handles[a] = PyThreadHandle_New()) != NULL)
    LONG(start, PyThreadHandle_Start(handles[a], interps[b % 100], started,
                                     &workers[c], (int)(b / 100)))
    LONG(join, PyThreadHandle_Join(handles[a], b < 0 ? -1 : b * MS))
    LONG(is_done, PyThreadHandle_IsDone(handles[a]))
    LONG(handle_state, number_of(PyThreadHandle_ThreadState(handles[a])))
    VOID(decref, PyThreadHandle_Decref(handles[a]))
    LONG(wait_threads,
         PyTState_WaitForThreads(interps[a], b * MS, NULL, 0, &(size_t){0}))
    return -1000;
}

static void work(void *worker) {
    struct worker *mine = worker;
    while (!mine->ends) {
        char call[32] = "";
        long a = 0, b = 0, c = 0;
        while (sem_wait(&mine->has_work) != 0) {
        }
        if (sscanf(mine->line, "%31s %ld %ld %ld", call, &a, &b, &c) < 1)
            abort();
        if (IS(end)) {
            mine->ends = 1;
            say("%d 0\n", mine->number);
            return;
        }
        long result = run_state(call, a, b);
        if (result == -1000)
            result = run_interp(call, a, b, c);
        if (result == -1000)
            result = run_lock(call, a, b, c);
        if (result == -1000)
            fprintf(stderr, "puppet: what is %s?\n", call);
        say("%d %ld\n", mine->number, result);
    }
}

/* One line of standard input. Not by stdio: finalization flushes its streams,
 * and a thread that reads one has it locked. */
static int read_line(char *line, size_t size) {
    size_t n = 0;
    while (n < size - 1 && read(0, line + n, 1) == 1)
        if (line[n++] == '\n')
            break;
    line[n] = 0;
    return n > 0;
}

static void *control(void *unused) {
    char line[128];
    (void)unused;
    while (read_line(line, sizeof line)) {
        int number;
        char *rest;
        if (strncmp(line, "quit", 4) == 0)
            break;
        if (sscanf(line, "new %d", &number) == 1) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, foreign, &workers[number]) != 0)
                abort();
            pthread_detach(thread);
            continue;
        }
        number = (int)strtol(line, &rest, 10);
        snprintf(workers[number].line, sizeof line, "%s", rest);
        sem_post(&workers[number].has_work);
    }
    _exit(0);
}

int main(void) {
    pthread_t thread;
    for (int i = 0; i < N; i++) {
        workers[i].number = i;
        sem_init(&workers[i].has_work, 0, 0);
    }
    for (int i = 0; i < 4; i++)
        locks[i] = PyThread_allocate_lock();
    if (pthread_create(&thread, NULL, control, NULL) != 0)
        abort();
    say("0 tid %ld\n", (long)syscall(SYS_gettid));
    work(&workers[0]);
    pthread_exit(NULL);
}
