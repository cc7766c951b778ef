/* A thread that comes too late: held, detached, while the runtime ends. */
#ifndef PYTSTATE_LATE_HOST_H
#define PYTSTATE_LATE_HOST_H

#include "host.h"

/* One thread that is held, detached, while the runtime is finalized. */
struct late {
    void (*attach)(struct late *); /* the call that comes too late */
    PyThreadState *state;
    PyEvent *exit_event;
    atomic_long native;
    PyThreadHandle *handle;
    pthread_t foreign;
};

static pthread_key_t key;
static atomic_int n_destroyed, n_met, n_survived;

static inline void count_destroyed(void *value) {
    (void)value;
    atomic_fetch_add(&n_destroyed, 1);
}

static inline void count_met(const char *point, void *arg) {
    (void)point, (void)arg;
    atomic_fetch_add(&n_met, 1);
}

static inline void come_late(void *arg) {
    struct late *late = arg;
    pthread_setspecific(key, late);
    late->state = PyThreadState_Get();
    late->exit_event = PyTState_GetExitEvent(late->state);
    PyTState_SetName(late->state, "latecomer");
    atomic_store(&late->native, test_native_id());
    late->attach(late);
    atomic_fetch_add(&n_survived, 1);
}

/* Saves, is held at a point of the test's, then restores. */
static inline void restore(struct late *late) {
    PyEval_SaveThread();
    PyTState_Sync_Point("test.late");
    PyEval_RestoreThread(late->state);
}

static inline void prepare(void) {
    pthread_key_create(&key, count_destroyed);
    PyTState_Sync_Hook("late_attach.met", count_met, NULL);
    hold("test.late");
}

/* Starts the daemon, finalizes while it is held, and lets it go. */
static inline void make_late(struct late *late) {
    late->handle = start_in(PyInterpreterState_Get(), come_late, late,
                            PyThreadHandle_DAEMON);
    wait_held("test.late");
    finish();
    CHECK_INT_EQ(_PyEvent_IsSet(late->exit_event), 1);
    let_go("test.late");
}

static inline void check_hung(struct late *late) {
    /* Under the rules of 3.14 a join is refused until then: S-JN-03. */
    WAIT_UNTIL(PyThreadHandle_IsDone(late->handle), LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_met), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, LIMIT), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(late->handle));
    long native = atomic_load(&late->native);
    WAIT_UNTIL(test_thread_sleeps(native), LIMIT_MS); /* uses no CPU */
    CHECK_INT_EQ(test_thread_exists(native), 1);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_destroyed), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, FOREVER), 0);
    PyThreadHandle_Decref(late->handle);
    PyTState_ReleaseExitEvent(late->exit_event);
}

static inline void check_ended(struct late *late) {
    WAIT_UNTIL(PyThreadHandle_IsDone(late->handle), LIMIT_MS);
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, LIMIT), 0);
    CHECK_INT_EQ(test_thread_exists(atomic_load(&late->native)), 0);
    CHECK_INT_EQ(atomic_load(&n_met), 1);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_destroyed), 1);
    PyThreadHandle_Decref(late->handle);
    PyTState_ReleaseExitEvent(late->exit_event);
}

#endif
