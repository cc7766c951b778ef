/* Late attach: foreign threads that race the end of the runtime. */
#include "host.h"

static atomic_int n_survived;

static void *ensure_until_late(void *arg) {
    (void)arg;
    for (;;) {
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_NOT_NULL(PyThreadState_GetUnchecked());
        PyGILState_Release(token);
    }
    return NULL;
}

static void *visit_until_refused(void *view) {
    PyThreadStateToken *token;
    while ((token = PyThreadState_EnsureFromView(view)) != NULL) {
        CHECK_NOT_NULL(PyThreadState_GetUnchecked());
        PyThreadState_Release(token);
    }
    atomic_fetch_add(&n_survived, 1);
    return NULL;
}

TEST("foreign threads race forty ends: late, or refused, and no one crashes") {
    for (int life = 1; life <= 40; life++) {
        pthread_t threads[6];
        PyThreadState *main_state = begin();
        PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
        PyInterpreterView *view = PyInterpreterView_FromCurrent();
        for (int i = 0; i < 6; i++)
            pthread_create(&threads[i], NULL,
                           i % 2 ? visit_until_refused : ensure_until_late,
                           view);
        for (int i = 0; i < 20; i++) {
            PyEval_SaveThread();
            PyEval_RestoreThread(main_state);
        }
        finish();
        for (int i = 0; i < 6; i++)
            pthread_join(threads[i], NULL);
        PyInterpreterView_Close(view);
        CHECK_INT_EQ(atomic_load(&n_survived), 3 * life);
    }
}

/* ---- In the middle of making a state ---------------------------------- */

static void *ensure_too_late(void *arg) {
    PyGILState_Ensure();
    atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

TEST("a state that is being made at the end is kept for its thread") {
    for (int round = 0; round < 10; round++) {
        atomic_int n_attached = 0;
        pthread_t thread;
        PyThreadState *main_state = begin();
        PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
        hold("tstate.created"); /* linked, but bound to nobody yet */
        pthread_create(&thread, NULL, ensure_too_late, &n_attached);
        wait_held("tstate.created");
        PyThreadState *theirs =
            PyInterpreterState_ThreadHead(main_state->interp);
        CHECK_PTR_NE(theirs, main_state);
        finish();
        main_state = begin();
        for (int i = 0; i < 50; i++)
            CHECK_PTR_NE(PyThreadState_New(main_state->interp), theirs);
        let_go("tstate.created");
        PyEval_SaveThread();
        pthread_join(thread, NULL);
        PyEval_RestoreThread(main_state);
        CHECK_INT_EQ(atomic_load(&n_attached), 0);
        CHECK_UINT_EQ(n_states(NULL), 51);
        finish();
    }
}

static void *make_too_late(void *interp) {
    CHECK_NULL(PyThreadState_New(interp));
    CHECK_NULL(_PyThreadState_Prealloc(interp));
    CHECK_NULL(PyThreadState_GetUnchecked());
    return NULL;
}

static int n_commits;

static void make_after_commit(PyInterpreterState *interp, int phase,
                              void *policy) {
    pthread_t thread;
    if (phase != PyTState_PHASE_FINALIZING)
        return;
    n_commits++;
    pthread_create(&thread, NULL, make_too_late, interp);
    pthread_join(thread, NULL);
    if (interp == PyInterpreterState_Main()) {
        pthread_create(&thread, NULL, ensure_too_late, policy);
        pthread_join(thread, NULL);
    }
    /* The finalizer itself may: its callbacks use the API. */
    PyThreadState *mine = PyThreadState_New(interp);
    CHECK_NOT_NULL(mine);
    PyThreadState_Clear(mine);
    PyThreadState_Delete(mine);
}

TEST("after the commit other threads get no state of that interpreter") {
    atomic_int n_attached = 0;
    PyThreadState *main_state = begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    PyTState_SetShutdownPhaseHook(make_after_commit, &n_attached);
    for (int gil = 1; gil <= 3; gil++) {
        Py_EndInterpreter(new_interp(gil));
        PyEval_RestoreThread(main_state);
    }
    finish();
    PyTState_SetShutdownPhaseHook(NULL, NULL);
    CHECK_INT_EQ(n_commits, 4);
    CHECK_INT_EQ(atomic_load(&n_attached), 0);
}
