/* fork-after-join: fork right after join finds the joined thread alive.
 *
 *  1. A thread ends: its on_delete hook releases the lock that join waits for.
 *  2. Its OS thread goes on: a thread-local destructor takes a mutex.
 *  3. join() returns; the process, single-threaded as far as it knows, forks.
 *  4. The child has the mutex locked, for ever, by a thread that it does not
 *     have, and that thread's frame in the middle of its work.
 *
 * A child tells what it found in its exit status. */
#include "gallery.h"
#include "threading.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASK_LISTED = 1, MUTEX_LOCKED = 2, FRAME_ALIVE = 4, ALL = 7 };
#define MAGIC 0x5eed5eedUL

static pthread_key_t key;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile unsigned long *frame;
static long task;

static void destructor(void *value) {
    volatile unsigned long magic = MAGIC;
    (void)value;
    frame = &magic;
    pthread_mutex_lock(&mutex);
    PyTState_Sync_Point("thread_local.destructor");
    pthread_mutex_unlock(&mutex);
    magic = 0;
}

static void run(void *arg) {
    (void)arg;
    task = own_task();
    need(pthread_setspecific(key, &key) == 0);
}

/* Whether the frame is mapped and in use: write() refuses a bad address. */
static int frame_is_alive(void) {
    unsigned long value = 0;
    int ends[2];
    need(pipe(ends) == 0);
    ssize_t n = write(ends[1], (const void *)frame, sizeof value);
    if (n == (ssize_t)sizeof value)
        need(read(ends[0], &value, sizeof value) == n);
    else
        need(n < 0 && errno == EFAULT);
    return value == MAGIC;
}

static int look_in_child(void) {
    int found = 0;
    if (pthread_mutex_trylock(&mutex) == EBUSY)
        found |= MUTEX_LOCKED;
    if (frame_is_alive())
        found |= FRAME_ALIVE;
    return found;
}

/* Forks as os.fork() does; what was found there. */
static int look_at_fork(void) {
    int found = task_exists(task) ? TASK_LISTED : 0;
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        _exit(look_in_child());
    }
    PyOS_AfterFork_Parent();
    need(pid > 0);
    return found | exit_status(pid);
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
    hold("thread_local.destructor");
    thread_start(thread);
    need(thread_join(thread, -1) == 0);
    thread_decref(thread);
    await_held("thread_local.destructor");
    int found = look_at_fork();
    let_go("thread_local.destructor");
    await_task_gone(task);
    return found == ALL ? MISBEHAVED : BEHAVED;
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
    order("join.os_join", "thread_local.destructor");
    need(PyThreadHandle_Start(handle, PyInterpreterState_Get(), run, NULL, 0) ==
         0);
    await_held("thread_local.destructor");
    need(PyThreadHandle_Join(handle, -1) == 0);
    int found = look_at_fork();
    PyThreadHandle_Decref(handle);
    return found != 0 ? MISBEHAVED : BEHAVED;
}

const struct scenario fork_after_join = {
    .name = "fork-after-join",
    .story = "fork after join: the child inherits the thread's locked mutex",
    .old = {.what = "the joined thread was there at fork, its frame and its "
                    "locked mutex in the child",
            .every = 1,
            .begin = begin,
            .round = old_round,
            .end = end},
    .ours = {.what = "something of the joined thread was there at fork or in "
                     "the child",
             .begin = begin_handles,
             .round = ours_round,
             .end = end_runtime},
};
