/* A runtime that is whole: what every life must be able to do. */
#include "stage.h"

size_t stage_states_left;

static atomic_int n_ran;

static void count(void *arg) {
    (void)arg;
    breathe();
    atomic_fetch_add(&n_ran, 1);
}

static int count_call(void *arg) {
    count(arg);
    return 0;
}

static void child_lives(void) {
    PyOS_BeforeFork();
    pid_t pid = fork();
    int status = -1;
    if (pid == 0) {
        PyOS_AfterFork_Child();
        alarm(5);
        breathe();
        _exit(Py_FinalizeEx() == 0 ? 0 : 1);
    }
    PyOS_AfterFork_Parent();
    PyThreadState *mine = PyEval_SaveThread();
    waitpid(pid, &status, 0);
    PyEval_RestoreThread(mine);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        WRONG("a fork child ends with wait status %#x", status);
}

static void *call_in(void *which) {
    PyThreadStateToken *token = PyThreadState_EnsureFromView(which);
    CHECK(token != NULL);
    breathe();
    PyThreadState_Release(token);
    PyGILState_STATE old = PyGILState_Ensure();
    PyGILState_Release(old);
    return NULL;
}

/* `mine` is attached, and its interpreter's only state of a living thread. */
void whole_runtime(PyThreadState *mine) {
    PyInterpreterState *own = mine->interp;
    size_t n_states = PyTState_Census(own, NULL, 0);
    if (n_states != 1 + stage_states_left)
        WRONG("%zu states are left", n_states);
    ptrdiff_t n_guards = _PyInterpreterState_GuardCountdown(own);
    if (n_guards != 0)
        WRONG("%td guards are left", n_guards);
    atomic_store(&n_ran, 0);
    for (int daemon = 0; daemon < 2; daemon++) {
        PyThreadHandle *started = PyThreadHandle_New();
        CHECK(PyThreadHandle_Start(started, own, count, NULL,
                                   daemon * PyThreadHandle_DAEMON) == 0);
        int joined = PyThreadHandle_Join(started, 3000 * MS);
        if (joined != 0)
            WRONG("the join of a new thread returns %d", joined);
        PyThreadHandle_Decref(started);
    }
    size_t n_late = 0;
    CHECK(PyTState_WaitForThreads(own, 3000 * MS, NULL, 0, &n_late) == 0);
    CHECK(Py_AddPendingCall(count_call, NULL) == 0);
    PyInterpreterView *here = PyInterpreterView_FromCurrent();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    CHECK(here != NULL && guard != NULL);
    pthread_t foreign;
    PyEval_SaveThread();
    CHECK(pthread_create(&foreign, NULL, call_in, here) == 0);
    pthread_join(foreign, NULL);
    PyEval_RestoreThread(mine);
    PyInterpreterGuard_Close(guard);
    PyInterpreterView_Close(here);
    PyThreadState *sub = Py_NewInterpreter();
    CHECK(sub != NULL);
    _PyEval_StopTheWorldAll(NULL);
    _PyEval_StartTheWorldAll(NULL);
    Py_EndInterpreter(sub);
    PyEval_RestoreThread(mine);
    child_lives();
    CHECK(PyTState_Census(own, NULL, 0) == 1 + stage_states_left);
}

void next_life(void) {
    stage_states_left = 0;
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    PyTState_SetLateAttachHook(NULL, NULL);
    PyTState_Sync_Clear();
    Py_InitializeEx(0);
    CHECK(Py_IsInitialized());
    CHECK(PyTState_Census(NULL, NULL, 0) == 1);
    whole_runtime(PyThreadState_Get());
    CHECK(Py_MakePendingCalls() == 0);
    if (atomic_load(&n_ran) != 3)
        WRONG("%d of 3 calls were run", atomic_load(&n_ran));
    CHECK(Py_FinalizeEx() == 0);
}
