/* Lost wake-up: the flag is looked at before the mutex is locked for the wait,
 * so the signal may come in between. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int ready;

static int is_ready(void) {
    pthread_mutex_lock(&mutex);
    int result = ready;
    pthread_mutex_unlock(&mutex);
    return result;
}

static void *consumer(void *arg) {
    if (!is_ready()) {
        pthread_mutex_lock(&mutex);
        pthread_cond_wait(&cond, &mutex);
        pthread_mutex_unlock(&mutex);
    }
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
