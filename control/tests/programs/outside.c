/* Threads block in what is not controlled: a lock of the C library, a pipe. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static int ends[2];

static void *holder(void *arg) {
    flockfile(stdout);
    sched_yield();
    usleep(20);
    funlockfile(stdout);
    char byte = 'x';
    return write(ends[1], &byte, 1) == 1 ? arg : &ends;
}

static void *reader(void *arg) {
    char byte;
    return read(ends[0], &byte, 1) == 1 ? arg : &ends;
}

int main(void) {
    pthread_t threads[4];
    if (pipe(ends) != 0)
        return 2;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, i < 2 ? holder : reader, NULL);
    for (int i = 0; i < 4; i++) {
        void *value;
        if (pthread_join(threads[i], &value) != 0 || value != NULL)
            return 1;
    }
    return 0;
}
