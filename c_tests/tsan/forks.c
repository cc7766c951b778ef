/* What sanitizers need to live with forks. Not instrumented itself. Linked with
 * --wrap=pthread_create.
 *
 * - Whatever lock of its own a sanitizer's allocator holds at a fork for
 *   another thread, it holds in the child for ever. Threads take those first of
 *   all while they start: a fork waits until every created thread has come to
 *   its function, and no other is created meanwhile.
 * - In a fork child glibc gives new threads the stacks, and so the identities,
 *   of the parent's threads, which no runtime has forgotten by then ("dup
 *   thread with used id"). In the child of a process with threads, and only
 *   there, a thread gets a stack of its own. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef void *body_of_thread(void *);

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          body_of_thread *body, void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          body_of_thread *body, void *arg);

static atomic_int forks_under_way, starting;
static int had_threads, in_fork_child;

static void before_fork(void) {
    atomic_fetch_add(&forks_under_way, 1);
    while (atomic_load(&starting) > 0)
        sched_yield();
}

static void after_in_parent(void) { atomic_fetch_sub(&forks_under_way, 1); }

static void after_in_child(void) {
    atomic_store(&forks_under_way, 0);
    atomic_store(&starting, 0);
    in_fork_child = had_threads;
}

/* First of all, so that it runs last before a fork, and first after it. */
__attribute__((constructor(101))) static void watch_forks(void) {
    pthread_atfork(before_fork, after_in_parent, after_in_child);
}

static void begin_start(void) {
    for (;;) {
        atomic_fetch_add(&starting, 1);
        if (atomic_load(&forks_under_way) == 0)
            return;
        atomic_fetch_sub(&starting, 1);
        sched_yield();
    }
}

static void end_start(void) { atomic_fetch_sub(&starting, 1); }

struct start {
    body_of_thread *body;
    void *arg;
};

static void *enter(void *arg) {
    struct start start = *(struct start *)arg;
    free(arg);
    end_start();
    return start.body(start.arg);
}

static int create_with_own_stack(pthread_t *thread, const pthread_attr_t *attr,
                                 struct start *start) {
    pthread_attr_t own;
    size_t size;
    int detached;
    pthread_getattr_default_np(&own);
    pthread_attr_getstacksize(attr != NULL ? attr : &own, &size);
    pthread_attr_getdetachstate(attr != NULL ? attr : &own, &detached);
    /* Never given back: a child is short-lived, and nobody knows when. */
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return __real_pthread_create(thread, attr, enter, start);
    pthread_attr_setstack(&own, stack, size);
    pthread_attr_setdetachstate(&own, detached);
    int error = __real_pthread_create(thread, &own, enter, start);
    pthread_attr_destroy(&own);
    return error;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          body_of_thread *body, void *arg) {
    begin_start();
    had_threads = 1;
    struct start *start = malloc(sizeof *start);
    if (start == NULL)
        abort();
    *start = (struct start){body, arg};
    int error = in_fork_child
                    ? create_with_own_stack(thread, attr, start)
                    : __real_pthread_create(thread, attr, enter, start);
    if (error != 0) {
        free(start);
        end_start();
    }
    return error;
}
