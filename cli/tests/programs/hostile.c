/* Programs that make an explorer's life hard: hostile MODE MARKER. Each has a
 * second thread, so that there is something to control. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *mode;

static int is(const char *name) { return strcmp(mode, name) == 0; }

static void *work(void *arg) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    if (is("thread-exits"))
        _exit(3);
    return arg;
}

static _Noreturn void stay(void) {
    for (;;)
        pause();
}

static void megabytes(FILE *to) {
    for (int i = 0; i < 100000; i++)
        fprintf(to, "line %d of very many that nobody reads\n", i);
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc < 3)
        return 2;
    mode = argv[1];
    if (is("ignores-sigterm"))
        signal(SIGTERM, SIG_IGN);
    if (is("single"))
        return 0;
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    if (is("forks")) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
    }
    if (is("leaves-children")) {
        for (int i = 0; i < 3; i++)
            if (fork() == 0) {
                if (i > 0)
                    setsid();
                if (i > 1 && fork() != 0)
                    _exit(0);
                stay();
            }
        return 0;
    }
    if (is("execs")) {
        char *words[] = {argv[0], "fine", argv[2], NULL};
        execv(argv[0], words);
        return 1;
    }
    if (is("exits-raw"))
        _exit(4);
    if (is("closes-all")) {
        for (int fd = 0; fd < 1024; fd++)
            close(fd);
        return 0;
    }
    if (is("prints")) {
        megabytes(stdout);
        megabytes(stderr);
        fprintf(stderr, "Assertion failed: the last line counts\n");
        abort();
    }
    if (is("ignores-sigterm"))
        stay();
    if (is("crashes"))
        raise(SIGSEGV);
    return 0;
}
