/* Blocks and forks that run in a child, and what is expected of their end. */
#include "board.h"
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct test_child test_child_start(const char *file, int line, int status,
                                   const char *text) {
    struct test_child child = {.file = file,
                               .line = line,
                               .status = status,
                               .text = text,
                               .pid = -1,
                               .error_fd = -1};
    int ends[2] = {-1, -1};
    test_here(file, line);
    fflush(NULL);
    if (text != NULL && pipe(ends) != 0)
        test_fail(file, line, "pipe: %s", strerror(errno));
    child.pid = fork();
    if (child.pid < 0)
        test_fail(file, line, "fork: %s", strerror(errno));
    if (child.pid == 0 && text != NULL) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
    }
    if (text != NULL)
        close(ends[1]);
    child.error_fd = ends[0];
    return child;
}

static int wait_for(const char *file, int line, pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            test_fail(file, line, "waitpid: %s", strerror(errno));
    return status;
}

static const char *describe(int status, char *room, size_t size) {
    if (WIFSIGNALED(status))
        snprintf(room, size, "died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == TEST_EXIT_FAILED)
        snprintf(room, size, "failed a check");
    else
        snprintf(room, size, "exited with %d", WEXITSTATUS(status));
    return room;
}

static void expect_status(const char *file, int line, int status, int expected,
                          const char *errors) {
    char room[128];
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_EXIT_SKIPPED &&
        test_board->skip_reason[0] != 0)
        _exit(TEST_EXIT_SKIPPED);
    int right = expected < 0
                    ? WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT
                    : WIFEXITED(status) && WEXITSTATUS(status) == expected;
    if (right)
        return;
    const char *found = describe(status, room, sizeof(room));
    if (expected < 0)
        test_fail(file, line, "the child should abort; it %s; its stderr: %s",
                  found, errors);
    test_fail(file, line, "the child should exit with %d; it %s%s%s", expected,
              found, errors[0] ? "; its stderr: " : "", errors);
}

/* Reads to the end of file, keeping the first part: enough for a message,
 * and the child never blocks on a full pipe. */
static void read_errors(int fd, char *kept, size_t size) {
    char chunk[512];
    size_t used = 0;
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0 ||
           (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        size_t room = size - 1 - used;
        size_t take = (size_t)n < room ? (size_t)n : room;
        memcpy(kept + used, chunk, take);
        used += take;
    }
    kept[used] = 0;
    close(fd);
}

int test_child_runs(struct test_child *child) {
    if (child->pid == 0) {
        if (child->ran++ == 0)
            return 1;
        /* The block was left by its end. */
        if (child->status < 0)
            test_write_line(STDERR_FILENO, "the block came to its end");
        test_child_done(0);
    }
    char errors[2048] = "";
    if (child->text != NULL)
        read_errors(child->error_fd, errors, sizeof(errors));
    int status = wait_for(child->file, child->line, child->pid);
    expect_status(child->file, child->line, status, child->status, errors);
    if (child->text != NULL)
        test_str_contains(child->file, child->line, "the child's stderr",
                          errors, child->text, 1);
    return 0;
}

void test_child_done(int status) {
    fflush(NULL);
    _exit(status);
}

void test_child_exit(const char *file, int line, pid_t pid, int status) {
    if (pid < 0)
        test_fail(file, line, "there is no child: fork returned %d", (int)pid);
    expect_status(file, line, wait_for(file, line, pid), status, "");
}
