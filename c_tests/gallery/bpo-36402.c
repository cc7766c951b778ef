/* bpo-36402: shutdown trusts the list of active threads.
 *
 *  1. A thread of a sub-interpreter ends: it leaves threading._active.
 *  2. It is swapped out; its thread state is still linked.
 *  3. threading._shutdown() finds nobody to wait for.
 *  4. Py_EndInterpreter() meets the state: "not the last thread", abort.
 *
 * Under ours the thread is held at one place after the other between its last
 * step and the end of its OS thread, and goes on only when Py_EndInterpreter()
 * waits for it. */
#include "gallery.h"
#include "threading.h"

#include <stddef.h>

/* ---- Old --------------------------------------------------------------- */

static void run(void *arg) { (void)arg; }

static void shut_down_old(void) {
    begin_old();
    PyThreadState *sub = Py_NewInterpreter();
    struct threading *module = threading_import(TRUSTS_ACTIVE);
    struct thread *thread = thread_new(module, run, NULL, 0);
    hold("threading.deleted");
    thread_start(thread);
    await_held("threading.deleted");       /* 1, 2 */
    need(threading_shutdown(module) == 0); /* 3 */
    Py_EndInterpreter(sub);                /* 4 */
}

static enum outcome old_round(void) {
    struct ending end;
    in_child(shut_down_old, &end);
    return aborted_with(&end, "not the last thread") ? MISBEHAVED : BEHAVED;
}

/* ---- Ours -------------------------------------------------------------- */

static long task;

static void run_ours(void *arg) {
    (void)arg;
    task = own_task();
    swapped_out("body.over");
}

/* Where the thread is held, and where its waiter is when it goes on. */
static const struct {
    const char *held, *until;
} windows[] = {
    {"body.over", "join.waiting"},
    {"delete.gil_released", "join.waiting"},
    {"thread.state_deleted", "join.waiting"},
    {"thread.event_set", "join.os_join"},
    {"thread.tail", "join.os_join"},
};
#define N_WINDOWS ((int)(sizeof windows / sizeof *windows))

static void shut_down_ours(void) {
    int window = round_number() % N_WINDOWS;
    begin_ours();
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    PyThreadHandle *handle = PyThreadHandle_New();
    order(windows[window].until, windows[window].held);
    need(PyThreadHandle_Start(handle, PyThreadState_GetInterpreter(sub),
                              run_ours, NULL, 0) == 0);
    await_held(windows[window].held);
    Py_EndInterpreter(sub);
    need(!task_exists(task));
    PyThreadState_Swap(main_state);
    PyThreadHandle_Decref(handle);
    need(Py_FinalizeEx() == 0);
}

static enum outcome ours_round(void) {
    struct ending end;
    in_child(shut_down_ours, &end);
    return aborted_with(&end, "not the last thread") ? MISBEHAVED : BEHAVED;
}

const struct scenario bpo_36402 = {
    .name = "bpo-36402",
    .story = "shutdown trusts a list that the ending thread has left",
    .old = {.what = "Py_EndInterpreter aborted, \"not the last thread\"",
            .every = 1,
            .round = old_round},
    .ours = {.what = "Py_EndInterpreter aborted, \"not the last thread\"",
             .round = ours_round},
};
