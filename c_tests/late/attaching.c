/* Scenarios: attaching itself, and what attaches inside. */
#include "stage.h"

static void save_restore(void) {
    breathe();
    breathe();
    PyThreadState *mine = PyThreadState_Get();
    PyEval_ReleaseThread(mine);
    PyEval_AcquireThread(mine);
    _PyThreadState_Detach(mine);
    _PyThreadState_Attach(mine);
}
SCENARIO("save, restore, acquire", .victim = save_restore);

static void swap(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *other = PyThreadState_New(interp);
    CHECK(PyThreadState_Swap(other) == mine);
    CHECK(PyThreadState_Swap(mine) == other);
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    PyThreadState_Swap(NULL);
    PyThreadState_Swap(mine);
}
SCENARIO("swaps between two states", .victim = swap);

static void delete_current(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *other = PyThreadState_New(interp);
    PyThreadState_Swap(other);
    PyThreadState_Clear(other);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(mine);
}
SCENARIO("the deletion of a current state", .victim = delete_current);

static void gilstate(void) {
    PyThreadState *mine = PyEval_SaveThread();
    PyGILState_STATE one = PyGILState_Ensure();
    PyGILState_STATE two = PyGILState_Ensure();
    breathe();
    PyGILState_Release(two);
    PyGILState_Release(one);
    PyEval_RestoreThread(mine);
}
SCENARIO("nested PyGILState calls", ONLY_MAIN, .victim = gilstate);

static void kept(void) {
    PyThreadState *mine = PyEval_SaveThread();
    PyTState_KeepThreadState(1);
    for (int i = 0; i < 2; i++) {
        stage_exempt(1); /* it opens a guard before it attaches */
        PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
        CHECK(token != NULL);
        PyThreadStateToken *inner = PyThreadState_EnsureFromView(view);
        CHECK(inner != NULL);
        breathe();
        PyThreadState_Release(inner);
        PyThreadState_Release(token);
        stage_exempt(-1);
    }
    PyTState_KeepThreadState(0);
    PyEval_RestoreThread(mine);
}
SCENARIO("a kept state beside PEP 788", .victim = kept);

static void guards(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    CHECK(guard != NULL);
    stage_exempt(1);
    breathe();
    PyThreadStateToken *token = PyThreadState_Ensure(guard);
    breathe();
    PyThreadState_Release(token);
    PyThreadState_Swap(NULL);
    token = PyThreadState_Ensure(guard);
    CHECK(token != NULL);
    PyThreadState_Release(token);
    PyInterpreterGuard_Close(guard);
    stage_exempt(-1);
    PyEval_RestoreThread(mine);
    breathe();
}
SCENARIO("guards, and attaches after them", .victim = guards);

/* A guard that is closed under an Ensure: the thread counts as a daemon. */
static void closed_guard(void) {
    PyThreadState *mine = PyEval_SaveThread();
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    if (guard != NULL) {
        stage_exempt(1);
        PyThreadStateToken *token = PyThreadState_Ensure(guard);
        PyInterpreterGuard_Close(guard);
        stage_exempt(-1);
        breathe();
        breathe();
        PyThreadState_Release(token);
    }
    PyEval_RestoreThread(mine);
}
SCENARIO("a guard that is closed before the release", .victim = closed_guard);

static PyThreadState *handed_on;

static void make_one(void) { handed_on = PyThreadState_New(interp); }

static void rebind(void) {
    PyThreadState *mine = PyEval_SaveThread();
    CHECK(PyTState_Rebind(handed_on) == 0);
    PyEval_RestoreThread(handed_on);
    breathe();
    PyThreadState_Clear(handed_on);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(mine);
}
SCENARIO("a state that another thread handed on", .before = make_one,
         .victim = rebind);

static void unblock(void *flag) { atomic_store((atomic_int *)flag, 1); }

static void blocking(void) {
    static atomic_int unblocked;
    CHECK(PyTState_BeginBlocking(unblock, &unblocked) == 0);
    PyTState_EndBlocking();
    CHECK(PyTState_BeginBlocking(NULL, NULL) == 0);
    PyTState_EndBlocking();
    breathe();
}
SCENARIO("blocking regions", .victim = blocking);

static int n_deleted;

static void on_delete(void *unused) {
    (void)unused;
    n_deleted++;
    breathe();
}

static void delete_hook(void) {
    PyThreadState *other = PyThreadState_New(interp);
    other->on_delete = on_delete;
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    CHECK(n_deleted == 1);
    PyThreadState *mine = PyThreadState_Get();
    other = PyThreadState_New(interp);
    other->on_delete = on_delete;
    PyThreadState_Swap(other);
    PyThreadState_Clear(other);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(mine);
}
static void deleted_once(void) {
    /* The second one's hook runs when it is cleared: by whom, says the n. */
    CHECK(n_deleted >= 1 && n_deleted <= 2);
}
SCENARIO("an on_delete hook that detaches", .victim = delete_hook,
         .after = deleted_once);

static int call(void *unused) {
    (void)unused;
    breathe();
    return 0;
}

static void pending(void) {
    PyThreadState *mine = PyThreadState_Get();
    for (int i = 0; i < 2; i++) {
        CHECK(_PyEval_AddPendingCall(interp, call, NULL, 0) == 0);
        CHECK(PyTState_Poll(mine) == 0);
    }
    CHECK(_PyEval_AddPendingCall(interp, call, NULL, 0) == 0);
    breathe();
    CHECK(_PyEval_MakePendingCalls(mine) == 0);
}
SCENARIO("pending calls that detach", .victim = pending);

static void raise_and_poll(void) {
    PyThreadState *mine = PyThreadState_Get();
    CHECK(PyThreadState_SetAsyncExc(mine->thread_id, PyExc_RuntimeError) == 1);
    CHECK(PyTState_Poll(mine) != 0);
    PyErr_Clear();
    breathe();
}
SCENARIO("an asynchronous exception", .victim = raise_and_poll);

static atomic_int asked;

static void ask_for_gil(void) {
    until(&about_to_wait);
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    if (token != NULL) {
        atomic_store(&asked, 1);
        PyThreadState_Release(token);
    }
    atomic_store(&asked, 1);
}

static void give_way(void) {
    PyThreadState *mine = PyThreadState_Get();
    atomic_store(&about_to_wait, 1);
    while (!atomic_load(&asked))
        CHECK(PyTState_Poll(mine) == 0);
}
SCENARIO("a poll that gives the GIL away", ONLY_GIL, .victim = give_way,
         .helper = ask_for_gil);

static void freed(void *block) { free(block); }

static void reclamation(void) {
    for (int i = 0; i < 4; i++) {
        CHECK(PyTState_QSBR_FreeLater(malloc(16), freed) == 0);
        breathe();
        PyTState_QSBR_Process();
    }
}
SCENARIO("memory that is freed later", .victim = reclamation);
