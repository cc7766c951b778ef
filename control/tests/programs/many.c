/* Two hundred threads over one lock. */
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int count;

static void *worker(void *arg) {
    pthread_mutex_lock(&mutex);
    count++;
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    pthread_t threads[200];
    for (int i = 0; i < 200; i++)
        if (pthread_create(&threads[i], NULL, worker, NULL) != 0)
            return 2;
    for (int i = 0; i < 200; i++)
        pthread_join(threads[i], NULL);
    return count == 200 ? 0 : 1;
}
