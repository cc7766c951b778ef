/* Scenarios: interpreters that the victim makes and ends, forks, callbacks. */
#include "stage.h"

static void interpreters(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    if (sub == NULL) {
        breathe();
        return;
    }
    PyThreadState_Swap(mine);
    PyThreadState_Swap(sub);
    breathe();
    Py_EndInterpreter(sub);
    PyEval_RestoreThread(mine);
    breathe();
}
SCENARIO("a sub-interpreter of the victim's", .victim = interpreters);

static void callback(void *unused) {
    (void)unused;
    breathe();
}

static void ends_with_callbacks(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyInterpreterConfig config = _PyInterpreterConfig_INIT;
    PyThreadState *sub = NULL;
    if (PyStatus_Exception(Py_NewInterpreterFromConfig(&sub, &config)) ||
        sub == NULL) {
        PyThreadState_Swap(mine);
        breathe();
        return;
    }
    CHECK(PyTState_AtShutdown(sub->interp, callback, NULL) == 0);
    CHECK(PyUnstable_AtExit(sub->interp, callback, NULL) == 0);
    stage_exempt(1); /* finalization waits until the victim has ended it */
    Py_EndInterpreter(sub);
    stage_exempt(-1);
    PyEval_RestoreThread(mine);
}
SCENARIO("callbacks of an interpreter's end", .victim = ends_with_callbacks);

/* A guard on the main interpreter, and late in another one. */
static void guard_elsewhere(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyInterpreterView *main_view = PyInterpreterView_FromMain();
    stage_exempt(1); /* it opens a guard before it attaches */
    PyThreadStateToken *token = PyThreadState_EnsureFromView(main_view);
    CHECK(token != NULL);
    int is_main = mine->interp == PyInterpreterState_Main();
    if (!is_main)
        stage_exempt(-1);
    PyThreadState *there = PyThreadState_Get();
    if (!is_main) {
        /* Late here, with the guard on the main interpreter open. */
        stage_states_left = 1;
        PyThreadState_Swap(mine);
        stage_exempt(1);
        PyThreadState_Swap(there);
        stage_states_left = 0;
        PyThreadState_Release(token);
        stage_exempt(-1);
    } else {
        breathe();
        PyThreadState_Release(token);
        stage_exempt(-1);
    }
    PyInterpreterView_Close(main_view);
    breathe();
}
SCENARIO("a guard on the main interpreter", .victim = guard_elsewhere);

static void forks(void) {
    breathe();
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        stage_exempt(1); /* the child is not late */
        PyOS_AfterFork_Child();
        alarm(5);
        breathe();
        _exit(Py_FinalizeEx() == 0 ? 0 : 1);
    }
    PyOS_AfterFork_Parent();
    PyThreadState *mine = PyEval_SaveThread();
    int status = -1;
    waitpid(pid, &status, 0);
    if (!victim_is_late())
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    PyEval_RestoreThread(mine);
}
SCENARIO("a fork", ONLY_MAIN, .victim = forks);

/* Two threads, one after the other, in the queue of one mutex, both late. */
static PyMutex shared;
static atomic_int peer_waits;

static void hold_shared(void) { PyMutex_Lock(&shared); }

static void peer(void *unused) {
    (void)unused;
    atomic_store(&peer_waits, 1);
    PyMutex_Lock(&shared);
    PyMutex_Unlock(&shared);
}

static void two_in_line(void) {
    PyThreadHandle *other = PyThreadHandle_New();
    if (PyThreadHandle_Start(other, interp, peer, NULL,
                             PyThreadHandle_DAEMON) == 0) {
        PyThreadState *mine = PyEval_SaveThread();
        until(&peer_waits);
        PyEval_RestoreThread(mine);
    }
    PyThreadHandle_Decref(other);
    atomic_store(&about_to_wait, 1);
    PyMutex_Lock(&shared);
    PyMutex_Unlock(&shared);
    breathe();
}

static void let_shared_go(void) {
    wait_victim_sleeps();
    PyMutex_Unlock(&shared);
}

static void use_shared(void) {
    PyMutex_Lock(&shared);
    PyMutex_Unlock(&shared);
}

static void shared_is_free(void) {
    must_return(use_shared, "a mutex that two late threads waited for");
}
SCENARIO("two threads in the queue of one mutex", .before = hold_shared,
         .helper = let_shared_go, .victim = two_in_line,
         .after = shared_is_free);
