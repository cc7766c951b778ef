/* main(): picks the cases, runs each in a process of its own, prints TAP. */
#include "harness.h"
#include "board.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct board *test_board;

static struct test_case *first_case, **last_link = &first_case;

void test_register(struct test_case *one) {
    *last_link = one;
    last_link = &one->next;
}

/* ---- The case's own process ------------------------------------------- */

static void enter_case(struct test_case *one, int output) {
    struct rlimit no_core = {0, 0};
    setpgid(0, 0);
#ifdef PR_SET_PDEATHSIG
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close(output);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    test_here(one->file, one->line);
    one->body();
    exit(0);
}

/* ---- Its parent ------------------------------------------------------- */

/* What a case printed; the first part is kept. */
struct output {
    char text[64 * 1024];
    size_t used;
    size_t lost;
};

static int child_event[2];
static volatile sig_atomic_t running_group;

static void on_child(int signal_number) {
    int saved = errno;
    (void)signal_number;
    if (write(child_event[1], "", 1) < 0) {
        /* The pipe is full: there is an event to read already. */
    }
    errno = saved;
}

static void on_end(int signal_number) {
    if (running_group > 0)
        kill(-running_group, SIGKILL);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void catch (int signal_number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

/* Takes what is there; 0 at the end of the file. */
static int read_output(int fd, struct output *out) {
    char chunk[4096];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n == 0)
            return 0;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        size_t room = sizeof(out->text) - out->used;
        size_t take = (size_t)n < room ? (size_t)n : room;
        memcpy(out->text + out->used, chunk, take);
        out->used += take;
        out->lost += (size_t)n - take;
    }
}

static void add_line(struct output *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_line(struct output *out, const char *format, ...) {
    va_list args;
    char line[512];
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n > 0 && out->used + (size_t)n + 1 < sizeof(out->text)) {
        memcpy(out->text + out->used, line, (size_t)n);
        out->used += (size_t)n;
        out->text[out->used++] = '\n';
    }
}

/* The first line of a file under /proc, or "?". */
static void read_word(pid_t pid, const char *task, const char *name, char *word,
                      size_t size) {
    char path[128];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", (int)pid, task, name);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(word, (int)size, file) == NULL)
        snprintf(word, size, "?");
    if (file != NULL)
        fclose(file);
    word[strcspn(word, "\n")] = 0;
}

static void report_places(pid_t pid, struct output *out) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return;
    for (struct dirent *one; (one = readdir(tasks)) != NULL;) {
        char name[64], where[64], text[256] = "at no check yet";
        if (one->d_name[0] == '.')
            continue;
        long thread = atol(one->d_name);
        for (int i = 0; i < PLACES_MAX; i++) {
            struct place *place = &test_board->places[i];
            if (atomic_load(&place->thread) == thread)
                snprintf(text, sizeof(text), "last at %s:%d",
                         atomic_load(&place->file), atomic_load(&place->line));
        }
        read_word(pid, one->d_name, "comm", name, sizeof(name));
        read_word(pid, one->d_name, "wchan", where, sizeof(where));
        add_line(out, "  thread %ld '%s': %s; in the kernel: %s", thread, name,
                 text, where[0] == '0' ? "(running)" : where);
    }
    closedir(tasks);
}

static int limit_scale(void) {
    const char *text = getenv("TEST_LIMIT_SCALE");
    int scale = text == NULL ? 1 : atoi(text);
    return scale < 1 ? 1 : scale;
}

/* Waits for the end of the case, killing it at its limit: its wait status. */
static int watch(pid_t pid, int fd, int limit_s, struct output *out) {
    int64_t end = test_now_ms() + (int64_t)limit_s * 1000;
    int status = 0, open = 1, killed = 0;
    for (;;) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            break;
        int64_t left = end - test_now_ms();
        if (left <= 0 && !killed) {
            add_line(out, "time limit of %d s passed", limit_s);
            report_places(pid, out);
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            killed = 1;
        }
        struct pollfd events[2] = {{child_event[0], POLLIN, 0},
                                   {open ? fd : -1, POLLIN, 0}};
        poll(events, 2, killed ? -1 : (int)(left < 0 ? 0 : left));
        char dropped[64];
        while (read(child_event[0], dropped, sizeof(dropped)) > 0) {
        }
        if (open && events[1].revents != 0)
            open = read_output(fd, out);
    }
    kill(-pid, SIGKILL); /* what it may have left behind */
    read_output(fd, out);
    return status;
}

enum verdict { PASSED, FAILED, SKIPPED };

static enum verdict run_case(struct test_case *one, int scale,
                             struct output *out) {
    int ends[2];
    int limit_s = (one->limit_s > 0 ? one->limit_s : 20) * scale;
    memset(test_board, 0, sizeof(*test_board));
    out->used = out->lost = 0;
    fflush(NULL);
    if (pipe(ends) != 0) {
        add_line(out, "pipe: %s", strerror(errno));
        return FAILED;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        enter_case(one, ends[1]);
    }
    close(ends[1]);
    if (pid < 0) {
        add_line(out, "fork: %s", strerror(errno));
        close(ends[0]);
        return FAILED;
    }
    setpgid(pid, pid);
    running_group = pid;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int status = watch(pid, ends[0], limit_s, out);
    running_group = 0;
    close(ends[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return PASSED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_EXIT_SKIPPED &&
        test_board->skip_reason[0] != 0)
        return SKIPPED;
    if (WIFSIGNALED(status))
        add_line(out, "the case died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != TEST_EXIT_FAILED)
        add_line(out, "the case exited with %d", WEXITSTATUS(status));
    return FAILED;
}

/* ---- Choosing and reporting ------------------------------------------- */

static void print_output(const struct output *out) {
    int at_start = 1;
    for (size_t i = 0; i < out->used; i++) {
        if (at_start)
            fputs("#   ", stdout);
        at_start = out->text[i] == '\n';
        putchar(out->text[i]);
    }
    if (!at_start)
        putchar('\n');
    if (out->lost > 0)
        printf("#   (%zu bytes more)\n", out->lost);
}

static int chosen(const struct test_case *one, int parts, char **part) {
    for (int i = 0; i < parts; i++)
        if (strstr(one->name, part[i]) != NULL)
            return 1;
    return parts == 0;
}

static int run_all(int verbose, int parts, char **part) {
    static struct output out;
    int number = 0, failed = 0, total = 0, scale = limit_scale();
    for (struct test_case *one = first_case; one != NULL; one = one->next)
        total += chosen(one, parts, part);
    printf("1..%d\n", total);
    for (struct test_case *one = first_case; one != NULL; one = one->next) {
        if (!chosen(one, parts, part))
            continue;
        int64_t begin = test_now_ms();
        enum verdict verdict = run_case(one, scale, &out);
        int64_t spent = test_now_ms() - begin;
        printf("%s %d - %s", verdict == FAILED ? "not ok" : "ok", ++number,
               one->name);
        if (verdict == SKIPPED)
            printf(" # SKIP %s", test_board->skip_reason);
        printf("\n");
        if (verbose || spent >= 1000)
            printf("#   %lld ms\n", (long long)spent);
        if (verdict == FAILED)
            printf("#   %s:%d\n", one->file, one->line);
        if (verdict == FAILED || verbose)
            print_output(&out);
        fflush(stdout);
        failed += verdict == FAILED;
    }
    return failed == 0 && total > 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    int verbose = 0, list = 0, here = 0, i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            verbose = 1;
        } else if (strcmp(argv[i], "--list") == 0) {
            list = 1;
        } else if (strcmp(argv[i], "--no-fork") == 0) {
            here = 1; /* for a debugger: cases run in this process */
        } else {
            fprintf(stderr, "usage: %s [-v] [--list] [--no-fork] [part...]\n",
                    argv[0]);
            return 2;
        }
    }
    test_board = mmap(NULL, sizeof(*test_board), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (test_board == MAP_FAILED || pipe(child_event) != 0) {
        perror("harness");
        return 2;
    }
    fcntl(child_event[0], F_SETFL, O_NONBLOCK);
    fcntl(child_event[1], F_SETFL, O_NONBLOCK);
    if (list || here) {
        for (struct test_case *one = first_case; one != NULL; one = one->next)
            if (chosen(one, argc - i, argv + i)) {
                printf("%s\n", one->name);
                if (here)
                    one->body();
            }
        return 0;
    }
    catch (SIGCHLD, on_child);
    catch (SIGINT, on_end);
    catch (SIGTERM, on_end);
    return run_all(verbose, argc - i, argv + i);
}
