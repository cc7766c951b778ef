/* gh-116372: a joiner looks at the lock while another joiner holds it.
 *
 *  1. A starts.
 *  2. B joins A and sleeps for its lock.
 *  3. C joins A and sleeps for its lock.
 *  4. A ends: its lock is released.
 *  5. B takes the lock, gives it back, and is swapped out before _stop().
 *  6. C takes the lock, and is swapped out before it gives it back.
 *  7. B goes on: _stop() asserts that nobody holds the lock. C does.
 *
 * B is whichever of the two comes first; the steps are the same. */
#include "gallery.h"
#include "threading.h"

static void run_a(void *arg) {
    (void)arg;
    swapped_out("a.run");
}

/* ---- Old --------------------------------------------------------------- */

static struct threading *module;
static struct thread *a;
static int assertions, joined;

static void begin(void) {
    begin_old();
    module = threading_import(SWEPT_LOCKS);
}

static void join_a(void *arg) {
    (void)arg;
    if (thread_join(a, -1) < 0)
        assertions++;
    else
        joined++;
    swapped_out("joiner.done");
}

static enum outcome old_round(void) {
    struct thread *joiners[2];
    assertions = joined = 0;
    hold("a.run");
    hold("threading.join.released");
    hold_nth("threading.join.acquired", 2);
    count("threading.lock.wait");
    count("joiner.done");
    a = thread_new(module, run_a, NULL, 0);
    thread_start(a); /* 1 */
    await_held("a.run");
    for (int i = 0; i < 2; i++) {
        joiners[i] = thread_new(module, join_a, NULL, 0);
        thread_start(joiners[i]); /* 2, 3 */
        await_count("threading.lock.wait", i + 1);
        await_task_asleep(thread_native_id(joiners[i]));
    }
    let_go("a.run");                       /* 4 */
    await_held("threading.join.released"); /* 5 */
    await_held("threading.join.acquired"); /* 6 */
    need(assertions == 0 && joined == 0);
    let_go("threading.join.released"); /* 7 */
    await_count("joiner.done", 1);
    int failed = assertions;
    need(failed + joined == 1);
    let_go("threading.join.acquired");
    await_count("joiner.done", 2);
    need(failed + joined == 2); /* C comes to its end either way */
    for (int i = 0; i < 2; i++) {
        need(thread_join(joiners[i], -1) == 0);
        thread_decref(joiners[i]);
    }
    thread_decref(a);
    return failed == 1 ? MISBEHAVED : BEHAVED;
}

static void end(void) {
    need(threading_shutdown(module) == 0);
    end_runtime();
}

/* ---- Ours -------------------------------------------------------------- */

static PyThreadHandle *handle;
static int results[2];

/* In half of the rounds the joiners are detached before they join: one that is
 * held on its way back from a wait does not keep the GIL as well then. */
static int joins_detached(void) { return round_number() % 2 == 0; }

static void join_handle(void *arg) {
    PyThreadState *tstate = joins_detached() ? PyEval_SaveThread() : NULL;
    int result = PyThreadHandle_Join(handle, -1);
    if (tstate != NULL)
        PyEval_RestoreThread(tstate);
    *(int *)arg = result;
}

/* 5 to 7: B has seen the end; C is in the middle of its join; B goes on. */
static void cross(void) {
    await_held("join.event_seen");
    await_held("join.os_join");
    hold("mutex.wait");
    let_go("join.event_seen");
    await_held("mutex.wait"); /* B has met C */
    let_go("mutex.wait");
    let_go("join.os_join");
}

static enum outcome ours_round(void) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadHandle *joiners[2];
    hold("a.run");
    handle = PyThreadHandle_New();
    need(PyThreadHandle_Start(handle, interp, run_a, NULL, 0) == 0); /* 1 */
    await_held("a.run");
    count("join.waiting");
    hold("join.event_seen");
    if (joins_detached())
        hold("join.os_join");
    for (int i = 0; i < 2; i++) {
        results[i] = 1;
        joiners[i] = PyThreadHandle_New();
        need(PyThreadHandle_Start(joiners[i], interp, join_handle, &results[i],
                                  0) == 0); /* 2, 3 */
        await_count("join.waiting", i + 1);
    }
    let_go("a.run"); /* 4 */
    Py_BEGIN_ALLOW_THREADS;
    if (joins_detached()) {
        cross();
    } else {
        await_held("join.event_seen"); /* with the GIL: C cannot be anywhere */
        let_go("join.event_seen");
    }
    Py_END_ALLOW_THREADS;
    for (int i = 0; i < 2; i++) {
        need(PyThreadHandle_Join(joiners[i], -1) == 0);
        PyThreadHandle_Decref(joiners[i]);
    }
    int failed = results[0] != 0 || results[1] != 0;
    need(PyThreadHandle_Join(handle, 0) == 0);
    PyThreadHandle_Decref(handle);
    return failed ? MISBEHAVED : BEHAVED;
}

const struct scenario gh_116372 = {
    .name = "gh-116372",
    .story = "one joiner asserts that the lock is free while another has it",
    .old = {.what = "assertion \"lock not held\" failed",
            .every = 1,
            .begin = begin,
            .round = old_round,
            .end = end},
    .ours = {.what = "a join failed",
             .begin = begin_ours,
             .round = ours_round,
             .end = end_runtime},
};
