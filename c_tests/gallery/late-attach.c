/* late-attach: check, then attach.
 *
 *  1. A foreign thread takes a mutex of the host's.
 *  2. It checks that the runtime is there: Py_IsInitialized() is 1,
 *     Py_IsFinalizing() is 0.
 *  3. Finalization commits.
 *  4. The thread attaches. It is ended there (3.12) or hangs there (3.14), with
 *     the mutex locked for ever.
 *
 * No check can help: what it saw is over when the attach begins. A guard makes
 * finalization wait; without one, an attach that can fail says so. */
#include "gallery.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_long task;
static atomic_int went_on;

/* The thread is held after its check, until finalization has committed. */
static void hold_until_commit(void) {
    order("finalize.commit.after", "host.checked");
}

/* ---- Old --------------------------------------------------------------- */

/* What the rounds vary: what the version does with the thread, and whether it
 * has a state already (a callback inside a callback) or gets one. */
static int ends_threads(void) { return round_number() % 2; }
static int has_state(void) { return round_number() / 2 % 2; }

static void callback(void) {
    pthread_mutex_lock(&mutex);
    if (Py_IsInitialized() && !Py_IsFinalizing()) {
        PyTState_Sync_Point("host.checked");
        PyGILState_STATE token = PyGILState_Ensure();
        PyGILState_Release(token);
    }
    pthread_mutex_unlock(&mutex);
    atomic_store(&went_on, 1);
}

static void *foreign_old(void *arg) {
    atomic_store(&task, own_task());
    if (!has_state()) {
        callback();
        return arg;
    }
    PyGILState_STATE token = PyGILState_Ensure();
    Py_BEGIN_ALLOW_THREADS;
    callback();
    Py_END_ALLOW_THREADS;
    PyGILState_Release(token);
    return arg;
}

static void finalize_old(void) {
    pthread_t thread;
    begin_runtime(ends_threads() ? COMPAT_3_12 : COMPAT_3_14);
    count("late_attach.met");
    hold_until_commit();
    need(pthread_create(&thread, NULL, foreign_old, NULL) == 0);
    await_held("host.checked");
    need(Py_FinalizeEx() == 0);
    await_count("late_attach.met", 1);
    if (ends_threads())
        await_task_gone(atomic_load(&task));
    else
        await_task_asleep(atomic_load(&task));
    _exit(!atomic_load(&went_on) && pthread_mutex_trylock(&mutex) == EBUSY);
}

static enum outcome old_round(void) {
    struct ending end;
    in_child(finalize_old, &end);
    return exited_with(&end) ? MISBEHAVED : BEHAVED;
}

/* ---- Ours -------------------------------------------------------------- */

static PyInterpreterView *view;
static atomic_int refused, guarded;

static void *foreign_ours(void *arg) {
    pthread_mutex_lock(&mutex);
    PyTState_Sync_Point("host.checked");
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    if (token != NULL)
        PyThreadState_Release(token);
    else
        atomic_store(&refused, 1);
    pthread_mutex_unlock(&mutex);
    return arg;
}

/* One that has a guard attaches as late as finalization lets it: it waits. */
static void *foreign_guarded(void *arg) {
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    need(guard != NULL);
    PyTState_Sync_Point("host.guarded");
    PyThreadStateToken *token = PyThreadState_Ensure(guard);
    if (token != NULL) {
        atomic_store(&guarded, 1);
        PyThreadState_Release(token);
    }
    PyInterpreterGuard_Close(guard);
    return arg;
}

static enum outcome ours_round(void) {
    pthread_t late, in_time;
    begin_ours();
    view = PyInterpreterView_FromMain();
    need(view != NULL);
    atomic_store(&refused, 0);
    atomic_store(&guarded, 0);
    hold_until_commit();
    order("finalize.subinterpreters", "host.guarded");
    need(pthread_create(&late, NULL, foreign_ours, NULL) == 0);
    need(pthread_create(&in_time, NULL, foreign_guarded, NULL) == 0);
    await_held("host.checked");
    await_held("host.guarded");
    need(Py_FinalizeEx() == 0);
    need(pthread_join(late, NULL) == 0);
    need(pthread_join(in_time, NULL) == 0);
    need(atomic_load(&guarded));
    need(pthread_mutex_trylock(&mutex) == 0);
    pthread_mutex_unlock(&mutex);
    PyInterpreterView_Close(view);
    return atomic_load(&refused) ? MISBEHAVED : BEHAVED;
}

const struct scenario late_attach = {
    .name = "late-attach",
    .story = "a thread checks that the runtime is there, then attaches to none",
    .old = {.what = "the thread never came back, its mutex locked for ever",
            .every = 1,
            .round = old_round},
    .ours = {.what = "the attach was refused, the thread went on",
             .every = 1,
             .round = ours_round},
};
