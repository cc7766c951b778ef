/* Correct: a thread tries a mutex until it has it. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int counter;

static void *work(void *arg) {
    while (pthread_mutex_trylock(&mutex) != 0)
        ;
    counter++;
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t first = start(work, NULL), second = start(work, NULL);
    join_detached(first);
    join_detached(second);
    check(counter == 2);
    return Py_FinalizeEx();
}
