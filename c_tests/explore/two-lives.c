/* ABA over two lives: a cache is taken for valid because the interpreter has
 * the address that it had; meanwhile the runtime was finalized and initialized
 * again. */
#include "host.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int life; /* what the cache was made from */

static void *work(void *arg) {
    pthread_mutex_lock(&mutex);
    PyInterpreterState *seen = PyInterpreterState_Main();
    int cached = life;
    pthread_mutex_unlock(&mutex);
    pthread_mutex_lock(&mutex);
    if (seen != NULL && PyInterpreterState_Main() == seen)
        check(cached == life);
    pthread_mutex_unlock(&mutex);
    return arg;
}

static void begin_life(void) {
    pthread_mutex_lock(&mutex);
    begin(0);
    life++;
    pthread_mutex_unlock(&mutex);
}

static void end_life(void) {
    pthread_mutex_lock(&mutex);
    check(Py_FinalizeEx() == 0);
    pthread_mutex_unlock(&mutex);
}

int main(void) {
    begin_life();
    pthread_t thread = start(work, NULL);
    end_life();
    begin_life();
    join_detached(thread);
    end_life();
    return 0;
}
