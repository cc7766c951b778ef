/* Fork with a held lock, mended: a handler holds the mutex over the fork. */
#include "host.h"

#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void before(void) { pthread_mutex_lock(&mutex); }
static void after(void) { pthread_mutex_unlock(&mutex); }

static void *work(void *arg) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    check(pthread_atfork(before, after, after) == 0);
    pthread_t thread = start(work, NULL);
    int status = 0;
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        check(pthread_mutex_trylock(&mutex) == 0);
        _exit(0);
    }
    PyOS_AfterFork_Parent();
    check(waitpid(pid, &status, 0) == pid);
    check(status == 0);
    join_detached(thread);
    return Py_FinalizeEx();
}
