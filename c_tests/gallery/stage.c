/* What rounds are made of: waits with limits, sync points, children. */
#include "board.h"
#include "gallery.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
/* No wait takes this long unless something is wrong. */
#define LIMIT_NS (30 * SECOND)

struct board *board;

/* ---- Results ----------------------------------------------------------- */

void broken(const char *file, int line, const char *condition) {
    const char *name = strrchr(file, '/');
    snprintf(board->trouble, sizeof board->trouble, "%s:%d: not so: %s",
             name ? name + 1 : file, line, condition);
    _exit(EXIT_BROKEN);
}

void say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(board->what, sizeof board->what, format, args);
    va_end(args);
}

int round_number(void) { return atomic_load(&board->done); }

int rounds_in_all(void) { return board->rounds; }

/* ---- Time -------------------------------------------------------------- */

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* Gives way inside a loop that polls a condition. */
static void nap(void) {
    struct timespec moment = {0, 50 * 1000};
    nanosleep(&moment, NULL);
}

/* Detaches an attached caller; what it returns goes to back(). */
static PyThreadState *away(void) {
    return PyThreadState_GetUnchecked() ? PyEval_SaveThread() : NULL;
}

static void back(PyThreadState *tstate) {
    if (tstate != NULL)
        PyEval_RestoreThread(tstate);
}

/* ---- The runtime ------------------------------------------------------- */

/* How many threads there were before the first round. */
static int threads_before;

static int count_threads(void) {
    char line[64] = "";
    FILE *status = fopen("/proc/self/status", "r");
    need(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "Threads:", 8) == 0)
            break;
    fclose(status);
    return atoi(line + 8);
}

void begin_runtime(int compat) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.compat = compat;
    threads_before = count_threads();
    need(!PyStatus_Exception(PyTState_Initialize(&config)));
}

void begin_old(void) { begin_runtime(COMPAT_3_12); }

void begin_ours(void) { begin_runtime(0); }

void end_runtime(void) {
    int64_t end = now_ns() + LIMIT_NS;
    PyTState_Sync_Clear();
    PyThreadState *tstate = away();
    while (count_threads() > threads_before) {
        need(now_ns() < end);
        nap();
    }
    back(tstate);
    need(Py_FinalizeEx() == 0);
}

/* ---- Sync points ------------------------------------------------------- */

void hold(const char *point) { need(PyTState_Sync_Pause(point) == 0); }

void order(const char *first, const char *then) {
    need(PyTState_Sync_Order(first, then) == 0);
}

void await_held(const char *point) {
    PyThreadState *tstate = away();
    need(PyTState_Sync_WaitParked(point, LIMIT_NS) == 0);
    back(tstate);
}

void let_go(const char *point) { need(PyTState_Sync_Wake(point) == 0); }

void swapped_out(const char *point) {
    Py_BEGIN_ALLOW_THREADS;
    PyTState_Sync_Point(point);
    Py_END_ALLOW_THREADS;
}

/* Who came to a point: a few points are counted at a time. */
struct counter {
    char point[64];
    int came, hold_at;
};
static struct counter counters[32];
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t counted = PTHREAD_COND_INITIALIZER;

static void came(const char *point, void *arg) {
    struct counter *counter = arg;
    pthread_mutex_lock(&counting);
    counter->came++;
    int caught = counter->came == counter->hold_at;
    pthread_cond_broadcast(&counted);
    pthread_mutex_unlock(&counting);
    /* The pause is for this thread: a hook runs before a pause holds. */
    if (caught)
        hold(point);
}

static struct counter *counter_of(const char *point) {
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        struct counter *one = &counters[i];
        if (one->point[0] == 0)
            snprintf(one->point, sizeof one->point, "%s", point);
        if (strcmp(one->point, point) == 0)
            return one;
    }
    need(!"more points are counted than there is room for");
    return NULL;
}

static void start_counting(const char *point, int hold_at) {
    struct counter *counter = counter_of(point);
    pthread_mutex_lock(&counting);
    counter->came = 0;
    counter->hold_at = hold_at;
    pthread_mutex_unlock(&counting);
    need(PyTState_Sync_Hook(point, came, counter) == 0);
}

void count(const char *point) { start_counting(point, 0); }

void hold_nth(const char *point, int n) { start_counting(point, n); }

void await_count(const char *point, int n) {
    PyThreadState *tstate = away();
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += LIMIT_NS / SECOND;
    pthread_mutex_lock(&counting);
    struct counter *counter = counter_of(point);
    while (counter->came < n)
        need(pthread_cond_timedwait(&counted, &counting, &end) == 0);
    pthread_mutex_unlock(&counting);
    back(tstate);
}

/* ---- OS threads -------------------------------------------------------- */

long own_task(void) { return syscall(SYS_gettid); }

int task_exists(long task) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld", task);
    return access(path, F_OK) == 0;
}

/* The letter of its state in the kernel, or 0 when it is gone. */
static char task_state(long task) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", task);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fgets(text, sizeof text, file) == NULL)
        text[0] = 0;
    fclose(file);
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' ? name_end[2] : 0;
}

static void await_task(long task, char wanted) {
    PyThreadState *tstate = away();
    for (int64_t end = now_ns() + LIMIT_NS; task_state(task) != wanted;) {
        need(now_ns() < end);
        nap();
    }
    back(tstate);
}

void await_task_asleep(long task) { await_task(task, 'S'); }

void await_task_gone(long task) { await_task(task, 0); }

/* ---- Child processes --------------------------------------------------- */

void settle(pid_t parent) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_BROKEN);
}

static int wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        need(errno == EINTR);
    /* What a child wrote to the board stays there. */
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_BROKEN)
        _exit(EXIT_BROKEN);
    return status;
}

/* All that comes until the end of the file; the first part is kept. */
static void read_all(int fd, char *kept, size_t size) {
    char chunk[512];
    size_t used = 0;
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        need(n > 0 || errno == EINTR);
        for (ssize_t i = 0; i < n && used + 1 < size; i++)
            kept[used++] = chunk[i];
    }
    kept[used] = 0;
}

void in_child(void (*body)(void), struct ending *end) {
    int ends[2];
    pid_t self = getpid();
    need(pipe(ends) == 0);
    pid_t pid = fork();
    need(pid >= 0);
    if (pid == 0) {
        settle(self);
        need(dup2(ends[1], STDERR_FILENO) >= 0);
        close(ends[0]);
        close(ends[1]);
        body();
        _exit(0);
    }
    close(ends[1]);
    read_all(ends[0], end->errors, sizeof end->errors);
    close(ends[0]);
    end->status = wait_for(pid);
}

int aborted_with(const struct ending *end, const char *text) {
    if (WIFEXITED(end->status)) {
        need(WEXITSTATUS(end->status) == 0);
        return 0;
    }
    need(WIFSIGNALED(end->status) && WTERMSIG(end->status) == SIGABRT);
    need(strstr(end->errors, text) != NULL);
    return 1;
}

int exited_with(const struct ending *end) {
    if (!WIFEXITED(end->status))
        fprintf(stderr, "%s", end->errors);
    need(WIFEXITED(end->status));
    return WEXITSTATUS(end->status);
}

int came_to_its_end(pid_t pid) {
    int status = wait_for(pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return 0;
    need(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 1;
}

int exit_status(pid_t pid) {
    struct ending end = {.status = wait_for(pid)};
    return exited_with(&end);
}
