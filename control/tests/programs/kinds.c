/* Every kind of object that is controlled, used correctly: no schedule fails. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static void need(int condition) {
    if (!condition)
        abort();
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t semaphore;
static pthread_key_t key;
static mtx_t plain;
static int shared, started, serial, ended;
static atomic_int made, rounds;

/* Runs after a thread's function: it locks. */
static void destructor(void *value) {
    (void)value;
    pthread_mutex_lock(&mutex);
    ended++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
}

static void make(void) {
    sched_yield();
    atomic_fetch_add(&made, 1);
}

static void *worker(void *arg) {
    pthread_setspecific(key, &key);
    pthread_once(&once, make);
    need(atomic_load(&made) == 1);

    pthread_rwlock_wrlock(&rwlock);
    int seen = shared;
    sched_yield();
    shared = seen + 1;
    pthread_rwlock_unlock(&rwlock);
    pthread_rwlock_rdlock(&rwlock);
    need(shared >= 1);
    pthread_rwlock_unlock(&rwlock);

    need(sem_wait(&semaphore) == 0);
    usleep(50);
    sem_post(&semaphore);

    mtx_lock(&plain);
    mtx_unlock(&plain);

    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
        pthread_mutex_lock(&mutex);
        serial++;
        pthread_mutex_unlock(&mutex);
    }
    atomic_fetch_add(&rounds, 1);
    if (arg != NULL)
        pthread_exit(arg);
    return NULL;
}

static void *cancelled(void *arg) {
    (void)arg;
    pthread_mutex_lock(&mutex);
    started = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    while (started)
        sleep(1);
    return NULL;
}

static void poll_once(int *word) {
    pthread_mutex_lock(&mutex);
    while (!*word) {
        struct timespec when;
        clock_gettime(CLOCK_REALTIME, &when);
        when.tv_nsec += 1000000;
        if (when.tv_nsec >= 1000000000) {
            when.tv_sec++;
            when.tv_nsec -= 1000000000;
        }
        int status = pthread_cond_timedwait(&cond, &mutex, &when);
        need(status == 0 || status == ETIMEDOUT);
    }
    pthread_mutex_unlock(&mutex);
}

int main(void) {
    pthread_t threads[3], loser;
    sem_init(&semaphore, 0, 1);
    pthread_barrier_init(&barrier, NULL, 3);
    pthread_key_create(&key, destructor);
    mtx_init(&plain, mtx_plain);
    for (int i = 0; i < 3; i++)
        need(pthread_create(&threads[i], NULL, worker,
                            i == 1 ? &threads : NULL) == 0);
    for (int i = 0; i < 3; i++) {
        void *value;
        need(pthread_join(threads[i], &value) == 0);
        need(value == (i == 1 ? (void *)&threads : NULL));
    }
    need(shared == 3 && serial == 1 && ended == 3);
    need(atomic_load(&rounds) == 3);

    need(pthread_create(&loser, NULL, cancelled, NULL) == 0);
    poll_once(&started);
    need(pthread_cancel(loser) == 0);
    void *value;
    need(pthread_join(loser, &value) == 0 && value == PTHREAD_CANCELED);
    return 0;
}
