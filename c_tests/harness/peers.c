/* Threads that start together, gates, and waiting for conditions. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t test_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t test_now_ms(void) { return test_now_ns() / 1000000; }

void test_nap(void) {
    struct timespec moment = {0, 100000};
    nanosleep(&moment, NULL);
}

int wait_until(int (*predicate)(void *), void *arg, int limit_ms) {
    int64_t end = test_now_ms() + limit_ms;
    while (!predicate(arg)) {
        if (test_now_ms() > end)
            return 0;
        test_nap();
    }
    return 1;
}

/* ---- Gates ------------------------------------------------------------ */

void latch_arrive(struct latch *gate) { atomic_fetch_sub(&gate->left, 1); }

static int is_open(void *gate) {
    return atomic_load(&((struct latch *)gate)->left) <= 0;
}

int latch_wait(struct latch *gate, int limit_ms) {
    return wait_until(is_open, gate, limit_ms);
}

/* ---- Peers ------------------------------------------------------------ */

static _Thread_local int this_peer = -1;

int peer_index(void) { return this_peer; }

void peers_add(struct peers *all, int n, void (*body)(void *), void *arg) {
    for (int i = 0; i < n; i++) {
        if (all->count == PEERS_MAX)
            FAIL("more than %d peers", PEERS_MAX);
        all->one[all->count].body = body;
        all->one[all->count].arg = arg;
        all->one[all->count].all = all;
        all->count++;
    }
}

struct start {
    struct peers *all;
    int index;
};

static void *run_peer(void *raw) {
    struct start start = *(struct start *)raw;
    free(raw);
    struct peers *all = start.all;
    this_peer = start.index;
    atomic_fetch_add(&all->arrived, 1);
    while (!atomic_load(&all->go))
        sched_yield();
    all->one[start.index].body(all->one[start.index].arg);
    atomic_store(&all->one[start.index].done, 1);
    return NULL;
}

void peers_start(struct peers *all) {
    for (int i = 0; i < all->count; i++) {
        struct start *start = malloc(sizeof(*start));
        CHECK_NOT_NULL(start);
        *start = (struct start){all, i};
        int error = pthread_create(&all->one[i].thread, NULL, run_peer, start);
        if (error != 0)
            FAIL("peer %d does not start: %s", i, strerror(error));
    }
    WAIT_UNTIL(atomic_load(&all->arrived) == all->count, 20000);
    atomic_store(&all->go, 1);
}

int peers_running(struct peers *all) {
    int running = 0;
    for (int i = 0; i < all->count; i++)
        running += !atomic_load(&all->one[i].done);
    return running;
}

static int all_done(void *all) { return peers_running(all) == 0; }

void test_peers_join(const char *file, int line, struct peers *all,
                     int limit_ms) {
    test_here(file, line);
    if (!wait_until(all_done, all, limit_ms))
        test_fail(file, line, "%d of %d peers still run after %d ms",
                  peers_running(all), all->count, limit_ms);
    for (int i = 0; i < all->count; i++)
        pthread_join(all->one[i].thread, NULL);
}

void peers_meet(struct peers *all) {
    int number = atomic_fetch_add(&all->meetings, 1);
    int wanted = (number / all->count + 1) * all->count;
    WAIT_UNTIL(atomic_load(&all->meetings) >= wanted, 20000);
}

/* ---- Threads as the kernel sees them ---------------------------------- */

long test_native_id(void) {
#ifdef SYS_gettid
    return syscall(SYS_gettid);
#else
    return (long)getpid();
#endif
}

int test_thread_exists(long native_id) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%ld", native_id);
    return access(path, F_OK) == 0;
}

/* Whether a thread is in a sleep of fixed length, as PYTSTATE_PERTURB makes. */
static int naps(long native_id) {
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%ld/wchan", native_id);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = 0;
    return strstr(text, "nanosleep") != NULL;
}

int test_thread_sleeps(long native_id) {
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", native_id);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = 0;
    /* pid (name, which may hold anything) state ... */
    char *after = strrchr(text, ')');
    return after != NULL && after[1] == ' ' && after[2] == 'S' &&
           !naps(native_id);
}

/* Whether a thread is of ThreadSanitizer's own: those block every signal. */
static int is_runtimes(const char *task) {
#ifdef __SANITIZE_THREAD__
    char path[64], line[256];
    unsigned long long blocked = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", task);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
            break;
    fclose(file);
    return blocked >> 33 == 0x7fffffff;
#else
    (void)task;
    return 0;
#endif
}

int test_thread_count(void) {
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    if (tasks == NULL)
        FAIL("/proc/self/task: %s", strerror(errno));
    for (struct dirent *one; (one = readdir(tasks)) != NULL;)
        count += one->d_name[0] != '.' && !is_runtimes(one->d_name);
    closedir(tasks);
    return count;
}
