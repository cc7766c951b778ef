/* What locks cost, row by row. The same source is built against us and against
 * a libpython; `compare` runs both in turns and prints ratios.
 *
 *     locks [row ...]      prints "row nanoseconds [fairness]"
 *
 * Uncontended rows are the minimum of many short batches. Contended rows are
 * the time per operation of all threads together; fairness is what the slowest
 * thread did over what the fastest did. */
#include <Python.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#ifndef PYTSTATE_UNDER_TEST
#define Py_BUILD_CORE
#include <internal/pycore_lock.h>
#else
#include <pytstate/internal.h>
#endif

#define BATCH 2000
#define BATCHES 2000
#define CONTENDED_NS INT64_C(600000000)
#define THREADS_MAX 16
#define WAITERS 1000

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- The locks --------------------------------------------------------- */

static PyMutex mutex;
static PyThread_type_lock thread_lock;
static pthread_mutex_t posix = PTHREAD_MUTEX_INITIALIZER;
static _PyRWMutex rw;

/* In the caller, as C code has it: the lock's fast path is inlined. */
#define INLINE_LOCK PyMutex_Lock(&mutex)
#define INLINE_UNLOCK PyMutex_Unlock(&mutex)
/* Through the exported function, as other languages have it. */
#define CALL_LOCK (*lock_function)(&mutex)
#define CALL_UNLOCK (*unlock_function)(&mutex)
#define THREAD_LOCK PyThread_acquire_lock(thread_lock, WAIT_LOCK)
#define THREAD_UNLOCK PyThread_release_lock(thread_lock)
#define POSIX_LOCK pthread_mutex_lock(&posix)
#define POSIX_UNLOCK pthread_mutex_unlock(&posix)
#define READ_LOCK _PyRWMutex_RLock(&rw)
#define READ_UNLOCK _PyRWMutex_RUnlock(&rw)
#define WRITE_LOCK _PyRWMutex_Lock(&rw)
#define WRITE_UNLOCK _PyRWMutex_Unlock(&rw)

/* Without the macros of these names. */
#undef PyMutex_Lock
#undef PyMutex_Unlock
static void (*volatile lock_function)(PyMutex *) = PyMutex_Lock;
static void (*volatile unlock_function)(PyMutex *) = PyMutex_Unlock;
#define PyMutex_Lock _PyMutex_Lock
#define PyMutex_Unlock _PyMutex_Unlock

/* ---- Uncontended ------------------------------------------------------- */

/* What an uncontended row does under its lock: the same for every lock. */
static long counted;

#define UNCONTENDED(name, lock, unlock)                               \
    static double name(void) {                                        \
        double best = 1e9;                                            \
        for (int batch = 0; batch < BATCHES; batch++) {               \
            int64_t start = now_ns();                                 \
            for (int i = 0; i < BATCH; i++) {                         \
                lock;                                                 \
                counted++;                                            \
                unlock;                                               \
            }                                                         \
            double each = (double)(now_ns() - start) / (double)BATCH; \
            best = each < best ? each : best;                         \
        }                                                             \
        return best;                                                  \
    }

UNCONTENDED(mutex_inline, INLINE_LOCK, INLINE_UNLOCK)
UNCONTENDED(mutex_call, CALL_LOCK, CALL_UNLOCK)
UNCONTENDED(thread_lock_alone, THREAD_LOCK, THREAD_UNLOCK)
UNCONTENDED(posix_alone, POSIX_LOCK, POSIX_UNLOCK)
UNCONTENDED(rw_read, READ_LOCK, READ_UNLOCK)
UNCONTENDED(rw_write, WRITE_LOCK, WRITE_UNLOCK)

/* ---- Contended --------------------------------------------------------- */

static struct {
    atomic_int ready, go, stop;
    /* What the lock guards; on a line of its own. */
    _Alignas(64) long guarded;
} arena;

struct worker {
    pthread_t thread;
    void (*work)(struct worker *);
    _Alignas(64) long done;
};

#define CONTENDED(name, lock, unlock)                                      \
    static void name(struct worker *me) {                                  \
        while (!atomic_load_explicit(&arena.stop, memory_order_relaxed)) { \
            lock;                                                          \
            arena.guarded++;                                               \
            unlock;                                                        \
            me->done++;                                                    \
        }                                                                  \
    }

CONTENDED(mutex_work, INLINE_LOCK, INLINE_UNLOCK)
CONTENDED(thread_lock_work, THREAD_LOCK, THREAD_UNLOCK)
CONTENDED(posix_work, POSIX_LOCK, POSIX_UNLOCK)

/* Most of the time outside: the lock is taken now and then, as programs do. */
static void sparse_work(struct worker *me) {
    volatile unsigned sink = 0;
    while (!atomic_load_explicit(&arena.stop, memory_order_relaxed)) {
        for (int i = 0; i < 300; i++)
            sink += (unsigned)i;
        INLINE_LOCK;
        arena.guarded++;
        INLINE_UNLOCK;
        me->done++;
    }
}

static void *run(void *arg) {
    struct worker *me = arg;
    atomic_fetch_add(&arena.ready, 1);
    while (!atomic_load(&arena.go))
        sched_yield();
    me->work(me);
    return NULL;
}

static double contend(int threads, void (*work)(struct worker *),
                      double *fairness) {
    static struct worker workers[THREADS_MAX];
    atomic_store(&arena.ready, 0);
    atomic_store(&arena.go, 0);
    atomic_store(&arena.stop, 0);
    arena.guarded = 0;
    for (int i = 0; i < threads; i++) {
        workers[i].work = work;
        workers[i].done = 0;
        pthread_create(&workers[i].thread, NULL, run, &workers[i]);
    }
    while (atomic_load(&arena.ready) < threads)
        sched_yield();
    int64_t start = now_ns();
    atomic_store(&arena.go, 1);
    struct timespec nap = {0, CONTENDED_NS};
    nanosleep(&nap, NULL);
    atomic_store(&arena.stop, 1);
    int64_t took = now_ns() - start;
    long total = 0, least = workers[0].done, most = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        long done = workers[i].done;
        total += done;
        least = done < least || i == 0 ? done : least;
        most = done > most ? done : most;
    }
    if (total != arena.guarded) {
        fprintf(stderr, "the lock let two in: %ld != %ld\n", total,
                arena.guarded);
        exit(1);
    }
    *fairness = most ? (double)least / (double)most : 0;
    return (double)took / (double)(total ? total : 1);
}

/* ---- Waking many ------------------------------------------------------- */

static PyEvent event;
static sem_t may_end;
static atomic_int woken;
static long native[WAITERS];

static void *wait_for_event(void *arg) {
    *(long *)arg = (long)syscall(SYS_gettid);
    PyEvent_Wait(&event);
    atomic_fetch_add(&woken, 1);
    /* The end of a thread costs more than its wake-up: it comes later. */
    sem_wait(&may_end);
    return NULL;
}

static int sleeps(long id) {
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", id);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = 0;
    char *end = strrchr(text, ')');
    return end && end[2] == 'S';
}

/* From the notify until the last of 1,000 threads runs; per thread. */
static double wake_many(void) {
    static pthread_t threads[WAITERS];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    sem_init(&may_end, 0, 0);
    pthread_attr_setstacksize(&attr, 65536);
    double best = 1e12;
    for (int round = 0; round < 5; round++) {
        memset(&event, 0, sizeof(event));
        atomic_store(&woken, 0);
        memset(native, 0, sizeof(native));
        for (int i = 0; i < WAITERS; i++)
            pthread_create(&threads[i], &attr, wait_for_event, &native[i]);
        for (int i = 0; i < WAITERS; i++)
            while (!*(volatile long *)&native[i] || !sleeps(native[i]))
                sched_yield();
        int64_t start = now_ns();
        _PyEvent_Notify(&event);
        while (atomic_load(&woken) < WAITERS)
            sched_yield();
        double each = (double)(now_ns() - start) / WAITERS;
        best = each < best ? each : best;
        for (int i = 0; i < WAITERS; i++)
            sem_post(&may_end);
        for (int i = 0; i < WAITERS; i++)
            pthread_join(threads[i], NULL);
    }
    pthread_attr_destroy(&attr);
    return best;
}

/* ---- Other work on the machine ----------------------------------------- */

static double own_cpu_s(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* All processes of the machine; 0 where it does not say. */
static double all_cpu_s(void) {
    unsigned long long user = 0, nice = 0, system = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (file) {
        if (fscanf(file, "cpu %llu %llu %llu", &user, &nice, &system) != 3)
            user = nice = system = 0;
        fclose(file);
    }
    return (double)(user + nice + system) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- Rows -------------------------------------------------------------- */

static const struct {
    const char *name;
    double (*alone)(void);
    void (*work)(struct worker *);
    int threads;
} rows[] = {
    {"mutex", mutex_inline, NULL, 0},
    {"mutex-call", mutex_call, NULL, 0},
    {"thread-lock", thread_lock_alone, NULL, 0},
    {"rw-read", rw_read, NULL, 0},
    {"rw-write", rw_write, NULL, 0},
    {"pthread", posix_alone, NULL, 0},
    {"mutex-4", NULL, mutex_work, 4},
    {"mutex-16", NULL, mutex_work, 16},
    {"mutex-4-sparse", NULL, sparse_work, 4},
    {"mutex-16-sparse", NULL, sparse_work, 16},
    {"thread-lock-4", NULL, thread_lock_work, 4},
    {"thread-lock-16", NULL, thread_lock_work, 16},
    {"pthread-4", NULL, posix_work, 4},
    {"pthread-16", NULL, posix_work, 16},
    {"event-1000", wake_many, NULL, 0},
};

int main(int argc, char **argv) {
    thread_lock = PyThread_allocate_lock();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int wanted = argc < 2;
        for (int k = 1; k < argc; k++)
            wanted |= strcmp(argv[k], rows[i].name) == 0;
        if (!wanted)
            continue;
        double each, fairness = 1;
        double own = own_cpu_s(), all = all_cpu_s();
        int64_t start = now_ns();
        if (rows[i].alone)
            each = rows[i].alone();
        else
            each = contend(rows[i].threads, rows[i].work, &fairness);
        own = own_cpu_s() - own;
        double others =
            (all_cpu_s() - all - own) / ((double)(now_ns() - start) / 1e9);
        printf("%s %.3f %.3f %.2f\n", rows[i].name, each, fairness,
               others > 0 ? others : 0);
        fflush(stdout);
    }
    PyThread_free_lock(thread_lock);
    return 0;
}
