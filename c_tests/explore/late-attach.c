/* late attach: a foreign thread checks that the runtime is there, then attaches
 * to one that is not. In 3.12 it is ended there, with a mutex of the host's
 * locked. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *callback(void *arg) {
    pthread_mutex_lock(&mutex);
    if (Py_IsInitialized() && !Py_IsFinalizing()) {
        PyGILState_STATE token = PyGILState_Ensure();
        PyGILState_Release(token);
    }
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(COMPAT_3_12);
    pthread_t thread = start(callback, NULL);
    check(Py_FinalizeEx() == 0);
    pthread_join(thread, NULL);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return 0;
}
