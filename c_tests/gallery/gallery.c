/* The gallery: runs each historic race under the old protocol and under ours.
 *
 *     gallery [--rounds N] [--list] [name ...]
 *
 * Prints one line for each protocol:
 *     <name> <old|ours> <what happened> <count>/<rounds>
 * and exits with 0 only if every round of every old protocol misbehaved and no
 * round of ours did. On a terminal it also shows progress and a summary.
 */
#include "gallery.h"
#include "board.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENTRY(symbol) &symbol,
static const struct scenario *const scenarios[] = {SCENARIOS(ENTRY)};
#define N_SCENARIOS (sizeof scenarios / sizeof *scenarios)

/* Seconds after which a protocol is given up. */
#define PROTOCOL_LIMIT_S 120

static int on_terminal;

/* ---- One protocol ------------------------------------------------------ */

/* In the protocol's own process. */
static _Noreturn void play(const struct protocol *protocol) {
    if (protocol->begin != NULL)
        protocol->begin();
    while (atomic_load(&board->done) < board->rounds) {
        if (protocol->round() == MISBEHAVED)
            atomic_fetch_add(&board->counted, 1);
        PyTState_Sync_Clear();
        atomic_fetch_add(&board->done, 1);
    }
    if (protocol->end != NULL)
        protocol->end();
    _exit(0);
}

static void show_progress(const char *name, const char *which) {
    printf("\r%s %s ... %d/%d", name, which, atomic_load(&board->done),
           board->rounds);
    fflush(stdout);
}

/* Waits for the protocol's process; 0 and a text in board->trouble if it did
 * not come to its end. */
static int watch(pid_t pid, const char *name, const char *which) {
    const struct timespec moment = {0, 100 * 1000 * 1000};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    int status = 0;
    for (int tenths = 0; waitpid(pid, &status, WNOHANG) == 0; tenths++) {
        if (on_terminal)
            show_progress(name, which);
        if (tenths == PROTOCOL_LIMIT_S * 10) {
            kill(pid, SIGKILL);
            snprintf(board->trouble, sizeof board->trouble,
                     "round %d came to no end in %d s", round_number(),
                     PROTOCOL_LIMIT_S);
        }
        sigtimedwait(&child, NULL, &moment);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 1;
    if (board->trouble[0] == 0 && WIFSIGNALED(status))
        snprintf(board->trouble, sizeof board->trouble,
                 "round %d died of signal %d (%s)", round_number(),
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    return 0;
}

/* Plays one protocol and prints its line; 1 if it did what it must. */
static int run(const struct scenario *scenario, const char *which,
               const struct protocol *protocol, int *counted) {
    memset(board->what, 0, sizeof board->what);
    memset(board->trouble, 0, sizeof board->trouble);
    atomic_store(&board->done, 0);
    atomic_store(&board->counted, 0);
    fflush(NULL);
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        perror("gallery: fork");
        exit(2);
    }
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        settle(self);
        play(protocol);
    }
    int complete = watch(pid, scenario->name, which);
    *counted = atomic_load(&board->counted);
    if (on_terminal)
        printf("\r\033[K");
    printf("%s %s %s %d/%d\n", scenario->name, which,
           board->what[0] ? board->what : protocol->what, *counted,
           board->rounds);
    fflush(stdout);
    if (!complete)
        fprintf(stderr, "gallery: %s %s: %s\n", scenario->name, which,
                board->trouble);
    return complete && *counted == (protocol->every ? board->rounds : 0);
}

/* ---- All of them ------------------------------------------------------- */

struct result {
    const struct scenario *scenario;
    int old_count, ours_count, right;
};

/* How often, in words. */
static const char *times(const struct protocol *protocol, int counted,
                         char *room, size_t size) {
    const char *verb = protocol->every ? "prevented in " : "";
    if (counted == 0 && !protocol->every)
        return "never";
    snprintf(room, size, "%s%d of %d rounds", verb, counted, board->rounds);
    return room;
}

static void summarize(const struct result *results, size_t n) {
    printf("\nWhat these races were, and how often they happened under "
           "CPython's\nold protocols and under ours:\n\n");
    for (size_t i = 0; i < n; i++) {
        const struct result *one = &results[i];
        const struct scenario *scenario = one->scenario;
        char room[64];
        printf("%-16s %s\n%-16s old: %d of %d rounds; ours: %s%s\n",
               scenario->name, scenario->story, "", one->old_count,
               board->rounds,
               times(&scenario->ours, one->ours_count, room, sizeof room),
               one->right ? "" : " -- NOT AS IT MUST BE");
    }
}

static const struct scenario *find(const char *name) {
    for (size_t i = 0; i < N_SCENARIOS; i++)
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    fprintf(stderr, "gallery: no scenario is called '%s'\n", name);
    exit(2);
}

static int parse_rounds(const char *text) {
    char *end = NULL;
    long rounds = text != NULL ? strtol(text, &end, 10) : 0;
    if (rounds < 1 || rounds > 1000000 || *end != 0) {
        fprintf(stderr, "gallery: --rounds wants a number from 1\n");
        exit(2);
    }
    return (int)rounds;
}

int main(int argc, char **argv) {
    struct result results[N_SCENARIOS + 1] = {0};
    size_t n = 0;
    int wrong = 0;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("gallery: mmap");
        return 2;
    }
    board->rounds = 200;
    /* The protocols choose these themselves. */
    unsetenv("PYTSTATE_COMPAT");
    unsetenv("PYTHON_GIL");
    unsetenv("PYTSTATE_SHUTDOWN_REPORT");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rounds") == 0) {
            board->rounds = parse_rounds(argv[++i]);
        } else if (strcmp(argv[i], "--list") == 0) {
            for (size_t s = 0; s < N_SCENARIOS; s++)
                printf("%-16s %s\n", scenarios[s]->name, scenarios[s]->story);
            return 0;
        } else if (n < N_SCENARIOS) {
            results[n++].scenario = find(argv[i]);
        }
    }
    if (n == 0)
        for (; n < N_SCENARIOS; n++)
            results[n].scenario = scenarios[n];
    on_terminal = isatty(STDOUT_FILENO);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    for (size_t i = 0; i < n; i++) {
        struct result *one = &results[i];
        one->right =
            run(one->scenario, "old", &one->scenario->old, &one->old_count);
        one->right &=
            run(one->scenario, "ours", &one->scenario->ours, &one->ours_count);
        wrong += !one->right;
    }
    if (on_terminal)
        summarize(results, n);
    if (wrong > 0)
        fprintf(stderr,
                "gallery: %d of %zu scenarios are not as they must be\n", wrong,
                n);
    return wrong > 0;
}
