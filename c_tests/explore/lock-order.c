/* Lock order: one thread takes the GIL, then a mutex of the host's; another
 * has the mutex and wants the GIL. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *callback(void *arg) {
    pthread_mutex_lock(&mutex);
    PyGILState_STATE token = PyGILState_Ensure();
    PyGILState_Release(token);
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t thread = start(callback, NULL);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    join_detached(thread);
    return Py_FinalizeEx();
}
