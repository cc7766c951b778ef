/* Correct: a thread polls a flag with timed waits of a millisecond. */
#include "host.h"

#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int done;

static void *poll_flag(void *arg) {
    pthread_mutex_lock(&mutex);
    while (!done) {
        struct timespec end;
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += 1000000;
        if (end.tv_nsec >= 1000000000) {
            end.tv_sec++;
            end.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&cond, &mutex, &end);
    }
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t thread = start(poll_flag, NULL);
    give_way();
    pthread_mutex_lock(&mutex);
    done = 1;
    pthread_mutex_unlock(&mutex);
    join_detached(thread);
    return Py_FinalizeEx();
}
