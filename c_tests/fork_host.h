/* Forking as a host does it, and what a child must be able to do. */
#ifndef PYTSTATE_FORK_HOST_H
#define PYTSTATE_FORK_HOST_H

#include "host.h"

/* Runs what follows in a fork child, which must come to its end. */
#define IN_CHILD \
    for (pid_t pid_ = fork_here(), ran_ = 0; child_runs(pid_, ran_); ran_ = 1)

static inline int child_runs(pid_t pid, int ran) {
    if (pid == 0 && ran == 0)
        return 1;
    if (pid == 0)
        test_child_done(0);
    /* Detached: other threads of the parent go on meanwhile. */
    PyThreadState *mine = PyEval_SaveThread();
    CHECK_CHILD_EXIT(pid, 0);
    PyEval_RestoreThread(mine);
    return 0;
}

static atomic_int n_ran;

static inline void count_run(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_ran, 1);
}

static atomic_int n_deleted;

static inline void count_deleted(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_deleted, 1);
}

static inline void start_some(void) {
    atomic_store(&n_ran, 0);
    join_and_drop(start(count_run, NULL));
    PyThreadHandle_Decref(start(count_run, NULL));
    _PyInterpreterState_WaitForThreads(PyInterpreterState_Get());
    CHECK_INT_EQ(atomic_load(&n_ran), 2);
}

/* What every child must be able to do, to the end and into another life. */
static inline void live_on(void) {
    PyThreadState *mine = PyThreadState_Get();
    PyInterpreterState *interp = mine->interp;
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(_Py_IsMainThread(), 1);
    CHECK_UINT_EQ(mine->native_thread_id, (unsigned long)getpid());
    CHECK_UINT_EQ(mine->thread_id, (unsigned long)pthread_self());
    CHECK_INT_EQ(mine->state, PyTState_ATTACHED);
    CHECK_PTR_EQ(PyInterpreterState_Head(), interp);
    CHECK_NULL(PyInterpreterState_Next(interp));
    PyEval_SaveThread();
    PyEval_RestoreThread(mine);
    start_some();
    Py_EndInterpreter(new_interp(PyInterpreterConfig_OWN_GIL));
    PyEval_RestoreThread(mine);
    finish();
    begin();
    start_some();
    finish();
    CHECK_INT_EQ(test_thread_count(), 1);
}

static inline void check_done(PyThreadHandle *handle) {
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      count_run, NULL, 0),
                 -1);
    check_raised(PyExc_RuntimeError, "thread already started");
    PyThreadHandle_Incref(handle);
    PyThreadHandle_Decref(handle);
    PyThreadHandle_Decref(handle);
}

/* What note_progress() looks at: not 0 ends it. */
static atomic_int stop;

static inline void note_progress(void *progress) {
    while (!atomic_load(&stop)) {
        PyGILState_STATE token = PyGILState_Ensure();
        atomic_fetch_add((atomic_int *)progress, 1);
        PyGILState_Release(token);
    }
}

#endif
