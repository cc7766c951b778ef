/* A pre-fork server on the loopback interface: the parent initializes the
 * runtime once, forks workers, and each worker serves with threads. It is its
 * own client, and ends when the workers have answered all requests.
 *
 * Prints:
 *   2 workers with 3 threads each answered 40 of 40 requests
 *   all workers finalized in order
 *   the parent finalized: 0
 */
#include <pytstate.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

enum { WORKERS = 2, THREADS = 3, REQUESTS = 40, LIMIT_S = 30 };

static int listener;
static int stop_pipe[2]; /* closing its write end stops every worker */

static long served; /* of this worker; written by attached threads only */

/* Waits for a connection: a descriptor, or -1 when the worker has to stop.
 * Called detached. */
static int next_connection(void) {
    struct pollfd ready[2] = {{listener, POLLIN, 0}, {stop_pipe[0], POLLIN, 0}};
    for (;;) {
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            return -1;
        if (ready[1].revents != 0)
            return -1;
        /* The listener does not block: another thread, or another worker, may
         * have been faster. */
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0)
            return connection;
    }
}

static void serve(void *unused) {
    char request[32];
    (void)unused;
    for (;;) {
        int connection;
        ssize_t length = 0;
        Py_BEGIN_ALLOW_THREADS
        connection = next_connection();
        if (connection >= 0)
            length = read(connection, request, sizeof(request));
        Py_END_ALLOW_THREADS
        if (connection < 0)
            return;
        served++; /* attached: the part of the host that needs the runtime */
        Py_BEGIN_ALLOW_THREADS
        if (length > 0 && write(connection, request, (size_t)length) != length)
            perror("write");
        close(connection);
        Py_END_ALLOW_THREADS
    }
}

/* The life of a worker, with the runtime as the fork left it: consistent, and
 * with this thread alone. Returns its exit status. */
static int work(void) {
    PyTState_ThreadInfo late[THREADS];
    size_t n_late = 0;
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (int i = 0; i < THREADS; i++) {
        PyThreadHandle *thread = PyThreadHandle_New();
        if (thread == NULL ||
            PyThreadHandle_Start(thread, interp, serve, NULL, 0) != 0) {
            fprintf(stderr, "no thread: %s\n", PyTState_ErrMessage());
            return 1;
        }
        PyThreadHandle_Decref(thread); /* the wait below needs no handle */
    }
    if (PyTState_WaitForThreads(interp, LIMIT_S * SECOND, late, THREADS,
                                &n_late) != 0) {
        fprintf(stderr, "%zu threads of a worker are late\n", n_late);
        return 1;
    }
    return Py_FinalizeEx() == 0 ? 0 : 1;
}

/* Sends one request; 1 if it came back as it was. */
static int ask(const struct sockaddr_in *address, int number) {
    char request[32], answer[32] = "";
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int length = snprintf(request, sizeof(request), "request %d", number);
    int same = 0;
    if (connect(client, (const struct sockaddr *)address, sizeof(*address)) ==
            0 &&
        write(client, request, (size_t)length) == length)
        same = read(client, answer, sizeof(answer) - 1) == length &&
               strcmp(request, answer) == 0;
    close(client);
    return same;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    pid_t workers[WORKERS];
    int answered = 0, in_order = 0;

    alarm(LIMIT_S); /* whatever happens, the example ends */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || pipe(stop_pipe) != 0 ||
        bind(listener, (struct sockaddr *)&address, size) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        listen(listener, REQUESTS) != 0 ||
        fcntl(listener, F_SETFL, O_NONBLOCK) != 0) {
        perror("no server");
        return 1;
    }

    Py_InitializeEx(0);
    for (int i = 0; i < WORKERS; i++) {
        PyOS_BeforeFork();
        workers[i] = fork();
        if (workers[i] == 0) {
            PyOS_AfterFork_Child();
            alarm(LIMIT_S);
            close(stop_pipe[1]);
            _exit(work());
        }
        PyOS_AfterFork_Parent(); /* also when the fork failed */
        if (workers[i] < 0) {
            perror("fork");
            return 1;
        }
    }

    for (int i = 0; i < REQUESTS; i++)
        answered += ask(&address, i);
    printf("%d workers with %d threads each answered %d of %d requests\n",
           WORKERS, THREADS, answered, REQUESTS);
    close(stop_pipe[1]);
    for (int i = 0; i < WORKERS; i++) {
        int status = 1;
        waitpid(workers[i], &status, 0);
        in_order += status == 0;
    }
    if (in_order == WORKERS)
        printf("all workers finalized in order\n");
    printf("the parent finalized: %d\n", Py_FinalizeEx());
    return 0;
}
