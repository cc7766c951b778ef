/* bpo-37266: a daemon thread in a sub-interpreter.
 *
 *  1. A daemon thread of a sub-interpreter runs.
 *  2. threading._shutdown() does not wait for daemons.
 *  3. Py_EndInterpreter() meets its state: "not the last thread", abort.
 *
 * Ours: an interpreter made without allow_daemon_threads refuses the start
 * and ends in peace. */
#include "gallery.h"
#include "threading.h"

#include <string.h>

static void run(void *arg) {
    (void)arg;
    swapped_out("daemon.run");
}

/* ---- Old --------------------------------------------------------------- */

static void shut_down(void) {
    begin_old();
    PyThreadState *sub = Py_NewInterpreter();
    struct threading *module = threading_import(LOCKS);
    struct thread *daemon = thread_new(module, run, NULL, 1);
    hold("daemon.run");
    thread_start(daemon);
    await_held("daemon.run");              /* 1 */
    need(threading_shutdown(module) == 0); /* 2 */
    Py_EndInterpreter(sub);                /* 3 */
}

static enum outcome old_round(void) {
    struct ending end;
    in_child(shut_down, &end);
    return aborted_with(&end, "not the last thread") ? MISBEHAVED : BEHAVED;
}

/* ---- Ours -------------------------------------------------------------- */

/* 1 if a daemon was refused, with RuntimeError and nothing left behind. */
static int refused(PyInterpreterState *interp) {
    PyThreadHandle *handle = PyThreadHandle_New();
    int status =
        PyThreadHandle_Start(handle, interp, run, NULL, PyThreadHandle_DAEMON);
    if (status == 0)
        return 0;
    need(PyErr_ExceptionMatches(PyExc_RuntimeError));
    need(strcmp(PyTState_ErrMessage(), "daemon threads are not supported in "
                                       "this interpreter") == 0);
    PyErr_Clear();
    need(PyTState_Census(interp, NULL, 0) == 1);
    /* The handle is as it was: a thread that is waited for may start. */
    need(PyThreadHandle_Start(handle, interp, run, NULL, 0) == 0);
    PyThreadHandle_Decref(handle);
    return 1;
}

static enum outcome ours_round(void) {
    PyInterpreterConfig config = _PyInterpreterConfig_LEGACY_INIT;
    PyThreadState *main_state = PyThreadState_Get(), *sub;
    config.allow_daemon_threads = 0;
    PyStatus status = Py_NewInterpreterFromConfig(&sub, &config);
    need(!PyStatus_Exception(status));
    int seen = refused(PyThreadState_GetInterpreter(sub));
    Py_EndInterpreter(sub);
    PyThreadState_Swap(main_state);
    return seen ? MISBEHAVED : BEHAVED;
}

const struct scenario bpo_37266 = {
    .name = "bpo-37266",
    .story = "a daemon thread outlives the sub-interpreter that it runs in",
    .old = {.what = "Py_EndInterpreter aborted, \"not the last thread\"",
            .every = 1,
            .round = old_round},
    .ours = {.what = "the daemon was refused with RuntimeError",
             .every = 1,
             .begin = begin_ours,
             .round = ours_round,
             .end = end_runtime},
};
