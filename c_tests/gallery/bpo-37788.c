/* bpo-37788: shutdown's bookkeeping grows with every thread never joined.
 *
 * To wait for threads, threading._shutdown() had a set of locks, one for each
 * non-daemon thread. A lock left the set in join() or is_alive(), so the lock
 * of a thread that nobody asked about stayed there until the process ended.
 *
 * A round starts a thread, drops it, and looks at what malloc counts as in
 * use when the OS thread is gone. */
#include "gallery.h"
#include "threading.h"

#include <malloc.h>

#if !__GLIBC_PREREQ(2, 33)
#define mallinfo2 mallinfo
#endif

/* Threads before the first round: the C library keeps what it needs again. */
#define WARM_UP 16

static size_t bytes_in_use(void) { return (size_t)mallinfo2().uordblks; }

static long task;
static size_t bytes_before, bytes_first;

static void run(void *arg) {
    (void)arg;
    task = own_task();
    swapped_out("thread_of_37788.run");
}

/* Starts a thread by start(), and waits until its OS thread is gone. */
static void one_thread(void (*start)(void)) {
    hold("thread_of_37788.run");
    start();
    await_held("thread_of_37788.run");
    let_go("thread_of_37788.run");
    await_task_gone(task);
}

static void warm_up(void (*start)(void)) {
    for (int i = 0; i < WARM_UP; i++)
        one_thread(start);
    bytes_first = bytes_before = bytes_in_use();
}

/* ---- Old --------------------------------------------------------------- */

static struct threading *module;

static void start_old(void) {
    struct thread *thread = thread_new(module, run, NULL, 0);
    thread_start(thread);
    thread_decref(thread);
}

static void begin(void) {
    begin_old();
    module = threading_import(LOCKS);
    warm_up(start_old);
}

static enum outcome old_round(void) {
    size_t locks = threading_shutdown_locks(module);
    one_thread(start_old);
    size_t bytes = bytes_in_use();
    int grown =
        threading_shutdown_locks(module) == locks + 1 && bytes > bytes_before;
    bytes_before = bytes;
    return grown ? MISBEHAVED : BEHAVED;
}

static void end(void) {
    need(threading_shutdown_locks(module) ==
         1 + WARM_UP + (size_t)rounds_in_all()); /* 1: the main thread's */
    say("bookkeeping grew by one lock, %zu bytes, per thread",
        (bytes_in_use() - bytes_first) / (size_t)rounds_in_all());
    need(threading_shutdown(module) == 0);
    end_runtime();
}

/* ---- Ours -------------------------------------------------------------- */

static void start_ours(void) {
    PyThreadHandle *handle = PyThreadHandle_New();
    need(PyThreadHandle_Start(handle, PyInterpreterState_Get(), run, NULL, 0) ==
         0);
    PyThreadHandle_Decref(handle);
}

static void begin_flat(void) {
    begin_ours();
    warm_up(start_ours);
}

static enum outcome ours_round(void) {
    one_thread(start_ours);
    return bytes_in_use() > bytes_first ? MISBEHAVED : BEHAVED;
}

static void end_flat(void) {
    long long grown = (long long)bytes_in_use() - (long long)bytes_first;
    say("bookkeeping grew, by %lld bytes in all", grown > 0 ? grown : 0);
    PyTState_WaitForThreads(PyInterpreterState_Get(), -1, NULL, 0, NULL);
    end_runtime();
}

const struct scenario bpo_37788 = {
    .name = "bpo-37788",
    .story = "shutdown remembers every thread that nobody joined, for ever",
    .old = {.what = "bookkeeping grew",
            .every = 1,
            .begin = begin,
            .round = old_round,
            .end = end},
    .ours = {.what = "bookkeeping grew",
             .begin = begin_flat,
             .round = ours_round,
             .end = end_flat},
};
