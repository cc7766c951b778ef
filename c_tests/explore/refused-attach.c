/* late attach mended: an attach through a view can fail, and says so. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static PyInterpreterView *view;

static void *callback(void *arg) {
    pthread_mutex_lock(&mutex);
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    if (token != NULL)
        PyThreadState_Release(token);
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    view = PyInterpreterView_FromMain();
    check(view != NULL);
    pthread_t thread = start(callback, NULL);
    check(Py_FinalizeEx() == 0);
    check(pthread_join(thread, NULL) == 0);
    PyInterpreterView_Close(view);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return 0;
}
