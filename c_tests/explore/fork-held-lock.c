/* Fork with a held lock: the child finds a mutex locked by a thread that it
 * does not have. */
#include "host.h"

#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *arg) {
    pthread_mutex_lock(&mutex);
    PyGILState_STATE token = PyGILState_Ensure();
    PyGILState_Release(token);
    pthread_mutex_unlock(&mutex);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t thread = start(work, NULL);
    int status = 0;
    give_way();
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        check(pthread_mutex_trylock(&mutex) == 0); /* a lock would not return */
        _exit(0);
    }
    PyOS_AfterFork_Parent();
    check(waitpid(pid, &status, 0) == pid);
    check(status == 0);
    join_detached(thread);
    return Py_FinalizeEx();
}
