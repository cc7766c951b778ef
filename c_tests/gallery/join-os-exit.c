/* join-os-exit: join returns while the OS thread still exists.
 *
 *  1. A thread ends: its on_delete hook releases the lock that join waits for.
 *  2. Its OS thread goes on: thread-local destructors of C and C++ run.
 *  3. join() returns, and /proc/self/task still lists the thread.
 *
 * The thread is held in a thread-local destructor. Under ours it goes on only
 * when the joiner is about to wait for the end of the OS thread. */
#include "gallery.h"
#include "threading.h"

#include <pthread.h>
#include <stdatomic.h>

static pthread_key_t key;
static atomic_int destructor_done;
static long task;

static void destructor(void *value) {
    (void)value;
    PyTState_Sync_Point("thread_local.destructor");
    atomic_store(&destructor_done, 1);
}

static void run(void *arg) {
    (void)arg;
    task = own_task();
    need(pthread_setspecific(key, &key) == 0);
}

static int still_there(void) {
    return task_exists(task) || !atomic_load(&destructor_done);
}

/* ---- Old --------------------------------------------------------------- */

static struct threading *module;

static void begin(void) {
    need(pthread_key_create(&key, destructor) == 0);
    begin_old();
    module = threading_import(SWEPT_LOCKS);
}

static enum outcome old_round(void) {
    struct thread *thread = thread_new(module, run, NULL, 0);
    atomic_store(&destructor_done, 0);
    hold("thread_local.destructor");
    thread_start(thread);
    need(thread_join(thread, -1) == 0);
    thread_decref(thread);
    int there = still_there();
    await_held("thread_local.destructor");
    let_go("thread_local.destructor");
    await_task_gone(task);
    return there ? MISBEHAVED : BEHAVED;
}

static void end(void) {
    need(threading_shutdown(module) == 0);
    end_runtime();
}

/* ---- Ours -------------------------------------------------------------- */

static void begin_handles(void) {
    need(pthread_key_create(&key, destructor) == 0);
    begin_ours();
}

static enum outcome ours_round(void) {
    PyThreadHandle *handle = PyThreadHandle_New();
    atomic_store(&destructor_done, 0);
    order("join.os_join", "thread_local.destructor");
    need(PyThreadHandle_Start(handle, PyInterpreterState_Get(), run, NULL, 0) ==
         0);
    await_held("thread_local.destructor");
    need(PyThreadHandle_Join(handle, -1) == 0);
    int there = still_there();
    PyThreadHandle_Decref(handle);
    return there ? MISBEHAVED : BEHAVED;
}

const struct scenario join_os_exit = {
    .name = "join-os-exit",
    .story = "join returns while the OS thread still runs destructors",
    .old = {.what = "the joined thread was still in /proc/self/task",
            .every = 1,
            .begin = begin,
            .round = old_round,
            .end = end},
    .ours = {.what = "the joined thread was still in /proc/self/task",
             .begin = begin_handles,
             .round = ours_round,
             .end = end_runtime},
};
