/* Random illegal calls. Each is made in a fork child, in a world that a random
 * legal prefix left behind, and must end in a fatal error that names a
 * function, or return; never in another signal, never in a hang.
 *
 * usage: illegal [--seconds S] [--seed SEED]       SEED replays one call */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pytstate.h>
#include <pytstate/internal.h>

#define LIMIT_S 3

static uint64_t random_state;

static unsigned pick(unsigned n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % n;
}

/* ---- A world ---------------------------------------------------------- */

static PyThreadState *main_state, *own, *cleared, *others, *sub;
static PyInterpreterState *interp, *gone_interp;
static PyInterpreterGuard *guard;
static PyInterpreterView *view;
static PyThreadStateToken *token;
static PyThreadHandle *handle, *fresh;
static PyMutex mutex;
static PyThread_type_lock lock;
static _PyRWMutex rw;
static _PyRecursiveMutex recursive;
static PyEvent event;

static void no_body(void *unused) { (void)unused; }
static int no_call(void *unused) { return unused != NULL; }

static void *make_others(void *unused) {
    others = PyThreadState_New(interp);
    return unused;
}

static void at_verdict(const char *point, void *unused) {
    (void)point, (void)unused;
    fprintf(stderr, "# met the late-attach policy\n");
}

static void make_world(void) {
    pthread_t thread;
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.gil = pick(3) == 0 ? PyTState_GIL_NONE : PyTState_GIL_SHARED;
    config.compat =
        (int[]){0, 0x030C0000, 0x030D0000, 0x030E0000, 0x030F0000}[pick(5)];
    config.late_attach = (int)pick(3);
    PyTState_Initialize(&config);
    PyTState_Sync_Hook("late_attach.met", at_verdict, NULL);
    main_state = PyThreadState_Get();
    interp = main_state->interp;
    own = PyThreadState_New(interp);
    cleared = PyThreadState_New(interp);
    PyThreadState_Clear(cleared);
    pthread_create(&thread, NULL, make_others, NULL);
    pthread_join(thread, NULL);
    sub = Py_NewInterpreter();
    gone_interp = sub->interp;
    if (pick(2)) {
        Py_EndInterpreter(sub);
        sub = NULL;
        PyEval_RestoreThread(main_state);
    } else {
        PyThreadState_Swap(main_state);
    }
    view = PyInterpreterView_FromCurrent();
    if (pick(2))
        guard = PyInterpreterGuard_FromCurrent();
    if (pick(3) == 0)
        token = PyThreadState_EnsureFromView(view);
    handle = PyThreadHandle_New();
    fresh = PyThreadHandle_New();
    PyThreadHandle_Start(handle, interp, no_body, NULL, 0);
    PyThreadHandle_Join(handle, -1);
    lock = PyThread_allocate_lock();
}

/* ---- Calls ------------------------------------------------------------ */

static PyThreadState *a_state(void) {
    PyThreadState *all[] = {NULL, main_state, own, cleared, others, sub};
    return all[pick(6)];
}

static PyInterpreterState *an_interp(void) {
    PyInterpreterState *all[] = {NULL, interp, gone_interp};
    return all[pick(3)];
}

static PyThreadHandle *a_handle(void) {
    PyThreadHandle *all[] = {NULL, handle, fresh};
    return all[pick(3)];
}

static long a_number(void) {
    return (long[]){
        0, 1, -1, 2, 3, 99, 1 << 20, -1000, INT32_MAX, INT32_MIN}[pick(10)];
}

/* A time that does not keep the child past its limit. */
static PyTime_t a_time(void) {
    return (PyTime_t[]){0, 1, 1000000, 2000000}[pick(4)];
}

static void (*a_function(void))(void *) { return pick(2) ? no_body : NULL; }
static int (*a_call(void))(void *) { return pick(2) ? no_call : NULL; }

static const char *called;

#define CALLS(X)                                                              \
    X(PyEval_SaveThread())                                                    \
    X(PyEval_RestoreThread(a_state()))                                        \
    X(PyEval_AcquireThread(a_state()))                                        \
    X(PyEval_ReleaseThread(a_state()))                                        \
    X(PyEval_ReleaseLock())                                                   \
    X(PyThreadState_Swap(a_state()))                                          \
    X(PyThreadState_Clear(a_state()))                                         \
    X(PyThreadState_Delete(a_state()))                                        \
    X(PyThreadState_DeleteCurrent())                                          \
    X(PyThreadState_Get())                                                    \
    X(PyThreadState_GetInterpreter(a_state()))                                \
    X(PyThreadState_GetID(a_state()))                                         \
    X(PyThreadState_Next(a_state()))                                          \
    X(PyThreadState_New(an_interp()))                                         \
    X(PyThreadState_SetAsyncExc((unsigned long)a_number(), PyExc_ValueError)) \
    X(PyThreadState_EnterTracing(a_state()))                                  \
    X(PyThreadState_LeaveTracing(a_state()))                                  \
    X(_PyThreadState_Attach(a_state()))                                       \
    X(_PyThreadState_Detach(a_state()))                                       \
    X(_PyThreadState_Prealloc(an_interp()))                                   \
    X(PyGILState_Ensure())                                                    \
    X(PyGILState_Release((int)a_number()))                                    \
    X(PyTState_Rebind(a_state()))                                             \
    X(PyTState_SetName(a_state(), pick(2) ? NULL : "x\n\x1b[31m"))            \
    X(PyTState_HostData(a_state()))                                           \
    X(PyTState_GetExitEvent(a_state()))                                       \
    X(PyTState_BeginBlocking(a_function(), NULL))                             \
    X(PyTState_EndBlocking())                                                 \
    X(PyTState_Unblock(a_state()))                                            \
    X(PyTState_SetLateAttachPolicy((int)a_number()))                          \
    X(PyTState_ShutdownPhase(an_interp()))                                    \
    X(PyTState_Census(an_interp(), NULL, (size_t)pick(2) * 3))                \
    X(PyTState_WaitForThreads(an_interp(), a_time(), NULL, 0, NULL))          \
    X(PyInterpreterState_Clear(an_interp()))                                  \
    X(PyInterpreterState_Delete(an_interp()))                                 \
    X(PyInterpreterState_GetID(an_interp()))                                  \
    X(PyInterpreterState_ThreadHead(an_interp()))                             \
    X(PyInterpreterState_GetDict(an_interp()))                                \
    X(_PyInterpreterState_LookUpID(a_number()))                               \
    X(_PyInterpreterState_GuardCountdown(an_interp()))                        \
    X(PyInterpreterGuard_FromCurrent())                                       \
    X(PyInterpreterGuard_FromView(pick(2) ? view : NULL))                     \
    X(PyInterpreterGuard_Close(pick(2) ? guard : NULL))                       \
    X(PyInterpreterView_FromCurrent())                                        \
    X(PyThreadState_Ensure(pick(2) ? guard : NULL))                           \
    X(PyThreadState_EnsureFromView(pick(2) ? view : NULL))                    \
    X(PyThreadState_Release(pick(2) ? token : NULL))                          \
    X(Py_EndInterpreter(a_state()))                                           \
    X(Py_NewInterpreter())                                                    \
    X(Py_FinalizeEx())                                                        \
    X(Py_Initialize())                                                        \
    X(Py_AddPendingCall(a_call(), NULL))                                      \
    X(Py_MakePendingCalls())                                                  \
    X(_Py_HandlePending(a_state()))                                           \
    X(_Py_FinishPendingCalls(a_state()))                                      \
    X(_PyEval_AddPendingCall(an_interp(), a_call(), NULL, (int)a_number()))   \
    X(Py_AtExit(NULL))                                                        \
    X(PyUnstable_AtExit(an_interp(), a_function(), NULL))                     \
    X(PyTState_AtShutdown(an_interp(), a_function(), NULL))                   \
    X(PyThreadHandle_Start(a_handle(), an_interp(), a_function(), NULL,       \
                           (int)a_number()))                                  \
    X(PyThreadHandle_Join(a_handle(), a_time()))                              \
    X(PyThreadHandle_IsDone(a_handle()))                                      \
    X(PyThreadHandle_Ident(a_handle()))                                       \
    X(PyThreadHandle_ThreadState(a_handle()))                                 \
    X(PyMutex_Unlock(&mutex))                                                 \
    X(_PyMutex_LockTimed(&mutex, a_time(), (int)a_number()))                  \
    X(_PyRWMutex_RUnlock(&rw))                                                \
    X(_PyRWMutex_Unlock(&rw))                                                 \
    X(_PyRecursiveMutex_Unlock(&recursive))                                   \
    X(PyThread_release_lock(lock))                                            \
    X(PyThread_acquire_lock(NULL, 1))                                         \
    X(PyEvent_WaitTimed(&event, a_time(), (int)a_number()))                   \
    X(PyErr_SetString(PyExc_ValueError, NULL))                                \
    X(PyErr_Occurred())                                                       \
    X(PyErr_Clear())                                                          \
    X(PyErr_Print())                                                          \
    X(PyErr_CheckSignals())                                                   \
    X(PyErr_SetInterruptEx((int)a_number()))                                  \
    X(PyTState_RouteSignal((int)a_number(), 1))                               \
    X(Py_EnterRecursiveCall(NULL))                                            \
    X(Py_SetRecursionLimit((int)a_number()))                                  \
    X(PyThread_set_stacksize((size_t)a_number()))                             \
    X(PyThread_tss_get(NULL))                                                 \
    X(PyThread_tss_create(NULL))                                              \
    X(PyTState_Sync_Pause(pick(2) ? NULL : "gil.wiat"))                       \
    X(PyTState_Sync_Perturb(1, (int)a_number(), a_time()))                    \
    X(PyTState_QSBR_Poll((uint64_t)a_number()))                               \
    X(PyTState_QSBR_FreeLater(NULL, a_function()))                            \
    X(PyOS_AfterFork_Parent())                                                \
    X(PyOS_AfterFork_Child())                                                 \
    X(_PyEval_StartTheWorld(interp))                                          \
    X(own != NULL ? PyTState_Poll(own) : 0)

/* Some are macros, inline functions or void: all are made for their effect. */
static void make_call(void) {
    unsigned chosen = 0, count = 0;
#define COUNT(call) count++;
    CALLS(COUNT)
    chosen = pick(count);
    count = 0;
#define MAKE(call)                         \
    if (count++ == chosen) {               \
        called = #call;                    \
        fprintf(stderr, "# %s\n", called); \
        (void)(call);                      \
    }
    CALLS(MAKE)
}

static int hook_call(void *unused) {
    make_call();
    return unused != NULL;
}

static void hook(void *unused) { (void)hook_call(unused); }

static void *on_a_thread(void *unused) {
    if (pick(2)) {
        PyGILState_Ensure();
        make_call();
    }
    make_call();
    return unused;
}

/* One child: a world, a place to stand, a call. */
static void child(void) {
    pthread_t thread;
    signal(SIGALRM, SIG_DFL);
    alarm(LIMIT_S);
    if (pick(12) != 0) /* else: never initialized */
        make_world();
    switch (interp == NULL ? 0 : pick(9)) {
    case 0:
    case 1:
        break;
    case 2:
        fprintf(stderr, "# detached\n");
        PyEval_SaveThread();
        break;
    case 3:
        fprintf(stderr, "# after finalization\n");
        if (token != NULL)
            PyThreadState_Release(token);
        if (guard != NULL)
            PyInterpreterGuard_Close(guard);
        Py_FinalizeEx();
        break;
    case 4:
        fprintf(stderr, "# on a thread of its own\n");
        PyEval_SaveThread();
        if (pthread_create(&thread, NULL, on_a_thread, NULL) == 0)
            pthread_join(thread, NULL);
        return;
    case 5:
        fprintf(stderr, "# in an on_delete hook\n");
        own->on_delete = hook;
        PyThreadState_Clear(own);
        return;
    case 6:
        fprintf(stderr, "# in a pending call\n");
        Py_AddPendingCall(hook_call, NULL);
        Py_MakePendingCalls();
        return;
    case 7:
        fprintf(stderr, "# in a callback of finalization\n");
        if (token != NULL)
            PyThreadState_Release(token);
        if (guard != NULL)
            PyInterpreterGuard_Close(guard);
        if (pick(2))
            PyTState_AtShutdown(interp, hook, NULL);
        else
            PyUnstable_AtExit(interp, hook, NULL);
        Py_FinalizeEx();
        return;
    default:
        fprintf(stderr, "# in a pause\n");
        _PyEval_StopTheWorld(interp);
        make_call();
        return;
    }
    make_call();
    make_call();
}

/* ---- The parent ------------------------------------------------------- */

/* Calls that wait for what never comes, or that are late: no defect. */
static int may_wait(const char *said) {
    static const char *const waits[] = {"Py_FinalizeEx", "Py_EndInterpreter",
                                        "met the late-attach policy",
                                        "in a pause"};
    /* A guard that a callback leaves open is waited for. */
    if (strstr(said, "in a callback of finalization") != NULL &&
        (strstr(said, "Guard_From") != NULL ||
         strstr(said, "PyThreadState_Ensure") != NULL))
        return 1;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
        if (strstr(said, waits[i]) != NULL)
            return 1;
    return 0;
}

static int run(uint64_t seed, int loud) {
    static char said[16384];
    int ends[2], status;
    size_t used = 0;
    if (pipe(ends) != 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        dup2(ends[1], 1), dup2(ends[1], 2);
        close(ends[0]), close(ends[1]);
        random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
        child();
        _exit(0);
    }
    setpgid(pid, pid);
    close(ends[1]);
    for (ssize_t n;
         used < sizeof said - 1 &&
         (n = read(ends[0], said + used, sizeof said - 1 - used)) > 0;)
        used += (size_t)n;
    said[used] = 0;
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    kill(-pid, SIGKILL);
    const char *why = NULL;
    static char text[64];
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        if (!may_wait(said))
            why = "hangs";
    } else if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
        if (WTERMSIG(status) != SIGABRT)
            why = text;
        else if (strstr(said, "Fatal Python error: ") == NULL)
            why = "SIGABRT without a fatal error by name";
    } else if (WEXITSTATUS(status) == 1 && strstr(said, "Py_Initialize")) {
        /* Ends a process whose initialization failed, as in CPython. */
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(status));
        why = text;
    }
    if (why != NULL || loud)
        printf("%s seed %llu: %s\n%s\n", why ? "FAILED" : "well",
               (unsigned long long)seed, why ? why : "ends as it must", said);
    fflush(stdout);
    return why != NULL;
}

int main(int argc, char **argv) {
    double seconds = 5;
    uint64_t seed = 0;
    uint64_t first = 0;
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--first") == 0)
            first = strtoull(argv[i + 1], NULL, 10);
    if (seed != 0)
        return run(seed, 1);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (first == 0)
        first = (uint64_t)now.tv_nsec + 1;
    seed = first;
    double end = (double)now.tv_sec + (double)now.tv_nsec / 1e9 + seconds;
    int failed = 0;
    do {
        failed += run(seed++, 0);
        clock_gettime(CLOCK_REALTIME, &now);
    } while (failed < 5 &&
             (double)now.tv_sec + (double)now.tv_nsec / 1e9 < end);
    printf("illegal: %llu children from seed %llu on, %d failed\n",
           (unsigned long long)(seed - first), (unsigned long long)first,
           failed);
    return failed != 0;
}
