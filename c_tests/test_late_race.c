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
