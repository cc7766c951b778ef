/* A thread pool whose jobs call back into the host, and whose shutdown has a
 * deadline: the threads that are still busy then are named.
 *
 * Jobs run detached, several at once. Their call-backs run attached, one at a
 * time, so they need no lock of their own.
 *
 * Prints:
 *   still busy after the deadline: pool-thread, which called at thread_pool.c
 *   it was woken, and all threads have exited
 *   21 jobs called back, with a sum of 1210
 *   finalized: 0
 */
#include <pytstate.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS INT64_C(1000000)

enum { THREADS = 4, QUICK_JOBS = 20 };

typedef struct Job {
    long (*work)(long); /* runs detached */
    long argument;
    void (*call_back)(long); /* runs attached, with what `work` returned */
    struct Job *next;
} Job;

/* The queue. Its lock is taken by detached threads only, so a thread that
 * waits for it never keeps the GIL from another. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Job *first, **last;
    int closed;
} queue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL,
           &queue.first, 0};

static void submit(long (*work)(long), long argument, void (*call_back)(long)) {
    Job *job = malloc(sizeof(*job));
    if (job == NULL)
        abort();
    *job = (Job){work, argument, call_back, NULL};
    pthread_mutex_lock(&queue.lock);
    *queue.last = job;
    queue.last = &job->next;
    pthread_cond_signal(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}

/* No more jobs: threads return when the queue is empty. */
static void close_queue(void) {
    pthread_mutex_lock(&queue.lock);
    queue.closed = 1;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}

/* The next job, or NULL when the queue is closed and empty. */
static Job *next_job(void) {
    pthread_mutex_lock(&queue.lock);
    while (queue.first == NULL && !queue.closed)
        pthread_cond_wait(&queue.changed, &queue.lock);
    Job *job = queue.first;
    if (job != NULL && (queue.first = job->next) == NULL)
        queue.last = &queue.first;
    pthread_mutex_unlock(&queue.lock);
    return job;
}

/* What a job that blocks in the OS waits for. */
static int slow_input[2];

static void wake_slow_input(void *unused) {
    (void)unused;
    if (write(slow_input[1], "", 1) != 1)
        perror("write");
}

static void run_jobs(void *unused) {
    (void)unused;
    PyTState_SetName(PyThreadState_Get(), "pool-thread");
    for (;;) {
        PyTState_HERE(); /* reports name this line */
        /* A finalization that waits for this thread may call the function. */
        PyTState_BeginBlocking(wake_slow_input, NULL);
        Job *job = next_job();
        long outcome = job != NULL ? job->work(job->argument) : 0;
        PyTState_EndBlocking(); /* attached again */
        if (job == NULL)
            return; /* the library clears and deletes the state */
        job->call_back(outcome);
        free(job);
    }
}

static long jobs, sum; /* written by attached threads only */

static void count(long outcome) {
    jobs++;
    sum += outcome;
}

static long quick(long number) { return number; }

static long wait_for_input(long number) {
    char byte;
    while (read(slow_input[0], &byte, 1) < 0 && errno == EINTR) {
    }
    return number;
}

/* `last_at` is "path/file.c:line", or empty. */
static void print_busy(const PyTState_ThreadInfo *thread) {
    const char *slash = strrchr(thread->last_at, '/');
    const char *file = slash != NULL ? slash + 1 : thread->last_at;
    printf("still busy after the deadline: %s, which called at %.*s\n",
           thread->name, (int)strcspn(file, ":"), file);
}

int main(void) {
    PyThreadHandle *threads[THREADS];
    PyTState_ThreadInfo busy[THREADS];
    size_t n_busy = 0;

    if (pipe(slow_input) != 0)
        return 1;
    Py_InitializeEx(0);
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (int i = 0; i < THREADS; i++) {
        threads[i] = PyThreadHandle_New();
        if (threads[i] == NULL ||
            PyThreadHandle_Start(threads[i], interp, run_jobs, NULL, 0) != 0) {
            fprintf(stderr, "no thread: %s\n", PyTState_ErrMessage());
            return 1;
        }
    }
    submit(wait_for_input, 1000, count);
    for (int i = 1; i <= QUICK_JOBS; i++)
        submit(quick, i, count);
    close_queue();

    /* Wait with a deadline, until only the slow one is left, and name it. */
    while (PyTState_WaitForThreads(interp, 20 * MS, busy, THREADS, &n_busy) ==
               1 &&
           n_busy > 1) {
    }
    for (size_t i = 0; i < n_busy; i++)
        print_busy(&busy[i]);

    /* Wake the thread that blocks; the handle leads to its state. */
    for (int i = 0; i < THREADS; i++) {
        PyThreadState *state = PyThreadHandle_ThreadState(threads[i]);
        if (n_busy == 1 && state != NULL && !PyThreadHandle_IsDone(threads[i]))
            PyTState_Unblock(state);
    }
    for (int i = 0; i < THREADS; i++) {
        if (PyThreadHandle_Join(threads[i], 10000 * MS) != 0)
            return 1;
        PyThreadHandle_Decref(threads[i]);
    }
    printf("it was woken, and all threads have exited\n");
    printf("%ld jobs called back, with a sum of %ld\n", jobs, sum);
    printf("finalized: %d\n", Py_FinalizeEx());
    return 0;
}
