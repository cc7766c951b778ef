/* Lock order mended: the GIL is given up before the mutex is waited for. */
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
    Py_BEGIN_ALLOW_THREADS;
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    Py_END_ALLOW_THREADS;
    join_detached(thread);
    return Py_FinalizeEx();
}
