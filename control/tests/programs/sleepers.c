/* Sleeps a day in all; time is virtual, and never goes back. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void *sleeper(void *arg) {
    for (int i = 0; i < 6; i++) {
        long long before = now();
        sleep(3600);
        if (now() - before < 3600 * 1000000000LL)
            return &sleeper;
    }
    return arg;
}

int main(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, sleeper, NULL);
    for (int i = 0; i < 4; i++) {
        void *value;
        pthread_join(threads[i], &value);
        if (value != NULL)
            return 1;
    }
    return 0;
}
