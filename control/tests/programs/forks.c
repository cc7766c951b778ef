/* A fork copies the lock that another thread holds: the child waits for it for
 * good, which its own engine tells. */
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *holder(void *arg) {
    pthread_mutex_lock(&mutex);
    sched_yield();
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    pthread_t thread;
    int status;
    pthread_create(&thread, NULL, holder, NULL);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(&mutex);
        _exit(0);
    }
    waitpid(child, &status, 0);
    pthread_join(thread, NULL);
    return status == 0 ? 0 : 1;
}
