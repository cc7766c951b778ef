/* leaked guard: each of two threads thinks that the other closes it.
 *
 * A worker leaves an open guard for its successor to close. The worker checks
 * first that the successor has not ended, but the successor may end between
 * the check and the guard. Finalization then waits for ever. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static PyInterpreterView *view;
static PyInterpreterGuard *left;
static int successor_gone;

static void *successor(void *arg) {
    pthread_mutex_lock(&mutex);
    PyInterpreterGuard *guard = left;
    left = NULL;
    successor_gone = 1;
    pthread_mutex_unlock(&mutex);
    if (guard != NULL)
        PyInterpreterGuard_Close(guard);
    return arg;
}

static int is_gone(void) {
    pthread_mutex_lock(&mutex);
    int gone = successor_gone;
    pthread_mutex_unlock(&mutex);
    return gone;
}

static void *worker(void *arg) {
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    if (guard == NULL)
        return arg;
    if (is_gone()) {
        PyInterpreterGuard_Close(guard);
        return arg;
    }
    pthread_mutex_lock(&mutex);
    left = guard;
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    view = PyInterpreterView_FromMain();
    pthread_t first = start(worker, NULL), second = start(successor, NULL);
    join_detached(first);
    join_detached(second);
    PyInterpreterView_Close(view);
    return Py_FinalizeEx();
}
