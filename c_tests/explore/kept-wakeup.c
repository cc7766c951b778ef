/* Lost wake-up mended: flag and wait under one mutex, in a loop. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int ready;

static void *consumer(void *arg) {
    pthread_mutex_lock(&mutex);
    while (!ready)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    PyGILState_STATE token = PyGILState_Ensure();
    PyGILState_Release(token);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t thread = start(consumer, NULL);
    pthread_mutex_lock(&mutex);
    ready = 1;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    join_detached(thread);
    return Py_FinalizeEx();
}
