/* gh-87135: joining a daemon thread that finalization has ended.
 *
 *  1. A daemon thread runs, detached.
 *  2. Finalization commits; nobody but the finalizing thread attaches again.
 *  3. The daemon wants to attach: its OS thread is ended (up to 3.13.7) or
 *     sleeps for ever (since).
 *  4. A finalizer joins the daemon: the event that says so is set by the
 *     daemon's own last step, which never comes.
 *
 * The old protocol is 3.13's: an event, set at the end of the thread's start
 * routine, and a join that waits for it. */
#include "gallery.h"

#include <unistd.h>

static long task;

/* What the child found, as its exit status. */
enum { JOINED = 0, NO_END = 1 };

static int policy(void) {
    return round_number() % 2 ? PyTState_LATE_EXIT : PyTState_LATE_HANG;
}

static void run(void *arg) {
    (void)arg;
    task = own_task();
    swapped_out("daemon.run");
}

/* Lets the daemon go, and returns when it has met its end. */
static void let_daemon_meet_its_end(void) {
    let_go("daemon.run");
    await_count("late_attach.met", 1);
    if (policy() == PyTState_LATE_EXIT)
        await_task_gone(task);
    else
        await_task_asleep(task);
}

/* ---- Old --------------------------------------------------------------- */

static PyEvent thread_is_exiting;
static int found = -1;

static void thread_run(void *arg) {
    PyThreadState *tstate = arg;
    PyEval_AcquireThread(tstate);
    run(NULL);
    PyThreadState_Clear(tstate);
    PyThreadState_DeleteCurrent();
    _PyEvent_Notify(&thread_is_exiting);
}

static void finalizer_old(void *arg) {
    (void)arg;
    let_daemon_meet_its_end();
    /* For ever, in 3.13. Nobody is left who could set the event. */
    found = PyEvent_WaitTimed(&thread_is_exiting, 5000000, 1) ? JOINED : NO_END;
}

static void finalize_old(void) {
    begin_runtime(COMPAT_3_13);
    PyInterpreterState *interp = PyInterpreterState_Get();
    need(PyTState_SetLateAttachPolicy(policy()) == 0);
    need(PyUnstable_AtExit(interp, finalizer_old, NULL) == 0);
    count("late_attach.met");
    hold("daemon.run");
    need(PyThread_start_new_thread(thread_run,
                                   _PyThreadState_Prealloc(interp)) !=
         PYTHREAD_INVALID_THREAD_ID);
    await_held("daemon.run");
    need(Py_FinalizeEx() == 0);
    need(found >= 0);
    _exit(found);
}

static enum outcome old_round(void) {
    struct ending end;
    in_child(finalize_old, &end);
    return exited_with(&end) == NO_END ? MISBEHAVED : BEHAVED;
}

/* ---- Ours -------------------------------------------------------------- */

static PyThreadHandle *handle;

/* In half of the rounds the joiner waits already when the daemon meets its
 * end. */
static int joins_first(void) { return round_number() / 2 % 2; }

static void finalizer_ours(void *arg) {
    (void)arg;
    if (!joins_first())
        let_daemon_meet_its_end();
    int result = PyThreadHandle_Join(handle, INT64_C(20000000000));
    need(result >= 0);
    found = result == 0 ? JOINED : NO_END;
}

static void finalize_ours(void) {
    begin_runtime(0x030D0000); /* the rules of 3.14 refuse such a join */
    PyInterpreterState *interp = PyInterpreterState_Get();
    need(PyTState_SetLateAttachPolicy(policy()) == 0);
    need(PyUnstable_AtExit(interp, finalizer_ours, NULL) == 0);
    handle = PyThreadHandle_New();
    count("late_attach.met");
    if (joins_first())
        order("join.waiting", "daemon.run");
    else
        hold("daemon.run");
    need(PyThreadHandle_Start(handle, interp, run, NULL,
                              PyThreadHandle_DAEMON) == 0);
    await_held("daemon.run");
    need(Py_FinalizeEx() == 0);
    need(found >= 0);
    await_count("late_attach.met", 1);
    _exit(found);
}

static enum outcome ours_round(void) {
    struct ending end;
    in_child(finalize_ours, &end);
    return exited_with(&end) == NO_END ? MISBEHAVED : BEHAVED;
}

const struct scenario gh_87135 = {
    .name = "gh-87135",
    .story = "a finalizer joins a daemon thread that finalization has ended",
    .old = {.what = "the join came to no end", .every = 1, .round = old_round},
    .ours = {.what = "the join came to no end", .round = ours_round},
};
