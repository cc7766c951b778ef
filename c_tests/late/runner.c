/* Runs every scenario in every setting, for n = 1, 2, 3 ..., and prints TAP:
 * one line for each pair, which names the first n that went wrong.
 *
 * usage: late [--short] [--only PART_OF_A_NAME] [--n N] [-v] */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "stage.h"

#define N_MAX 200
#define WRONG_MAX 3 /* a pair is given up after so many */

static struct scenario *all, **last = &all;
static int verbose, only_n;
static const char *only = "";

void scenario_add(struct scenario *one) {
    *last = one;
    last = &one->next;
}

static const struct setting settings[] = {
    {DAEMON, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, HANG},
    {DAEMON, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, EXIT},
    {DAEMON, PyInterpreterConfig_OWN_GIL, 1, BY_FINALIZE, HANG},
    {DAEMON, PyTState_INTERP_NO_GIL, 0, BY_FINALIZE, EXIT},
    /* The short form ends here. */
    {DAEMON, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, BY_HOOK},
    {DAEMON, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, ABORT},
    {FOREIGN, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, HANG},
    {FOREIGN, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, EXIT},
    {FOREIGN, PyTState_INTERP_NO_GIL, 0, BY_FINALIZE, HANG},
    {MAIN_THREAD, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, HANG},
    {MAIN_THREAD, PyInterpreterConfig_SHARED_GIL, 0, BY_FINALIZE, EXIT},
    {DAEMON, PyTState_INTERP_NO_GIL, 0, BY_FINALIZE, HANG},
    {DAEMON, PyInterpreterConfig_SHARED_GIL, 1, BY_FINALIZE, EXIT},
    {DAEMON, PyTState_INTERP_NO_GIL, 1, BY_FINALIZE, EXIT},
    {FOREIGN, PyInterpreterConfig_OWN_GIL, 1, BY_FINALIZE, EXIT},
    {DAEMON, PyInterpreterConfig_OWN_GIL, 1, BY_END_INTERPRETER, HANG},
    {DAEMON, PyInterpreterConfig_OWN_GIL, 1, BY_END_INTERPRETER, EXIT},
    {DAEMON, PyInterpreterConfig_SHARED_GIL, 1, BY_END_INTERPRETER, HANG},
    {FOREIGN, PyTState_INTERP_NO_GIL, 1, BY_END_INTERPRETER, EXIT},
};
#define N_SETTINGS ((int)(sizeof settings / sizeof *settings))
#define N_SHORT 4

static const char *describe(const struct setting *one, char *text,
                            size_t size) {
    static const char *const threads[] = {"daemon", "foreign", "main thread"};
    static const char *const gils[] = {"?", "GIL", "own GIL", "no GIL"};
    static const char *const ends[] = {"Finalize", "EndInterpreter"};
    snprintf(text, size, "%s, %s, %s of %s, %s", policy_names[one->policy],
             threads[one->thread], gils[one->gil],
             one->sub ? "sub-interpreter" : "main interpreter",
             ends[one->ending]);
    return text;
}

static int fits(const struct scenario *one, const struct setting *how) {
    if (one->needs & ONLY_MAIN && how->sub)
        return 0;
    if (one->needs & ONLY_GIL && how->gil == PyTState_INTERP_NO_GIL)
        return 0;
    return !(one->needs & ONLY_FOREIGN && how->thread != FOREIGN);
}

/* The exit status of run `n`, 128 + signal if it died of one, 99 if it hung;
 * what it printed is in `said`. */
static int run_one(int n, char *said, size_t size) {
    int ends[2];
    size_t used = 0;
    fflush(stdout);
    if (pipe(ends) != 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]), close(ends[1]);
        stage_run(n);
    }
    setpgid(pid, pid);
    close(ends[1]);
    int limit_ms = (LIMIT_S + 2) * 1000, status;
    struct pollfd from = {.fd = ends[0], .events = POLLIN};
    /* The pipe closes when the whole group is gone. */
    while (poll(&from, 1, limit_ms) == 1) {
        char rest[512];
        ssize_t got = read(ends[0], rest, sizeof rest);
        if (got <= 0)
            break;
        if (used + (size_t)got < size - 1) {
            memcpy(said + used, rest, (size_t)got);
            used += (size_t)got;
        }
    }
    said[used] = 0;
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(ends[0]);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return WTERMSIG(status) == SIGKILL ? 99 : 128 + WTERMSIG(status);
}

/* Whether a run that was meant to end in a fatal error did so, by name. */
static int died_by_name(int status, const char *said) {
    return status == 128 + SIGABRT && strstr(said, "Fatal Python error: ") &&
           strstr(said, "after its interpreter was finalized");
}

static void print_said(const char *said) {
    for (const char *line = said; *line != 0;) {
        size_t length = strcspn(line, "\n");
        printf("#   %.*s\n", (int)length, line);
        line += length + (line[length] != 0);
    }
}

/* All n of one pair; 1 if all went well. `runs` counts. */
static int run_pair(int number, const char *how, int *runs) {
    static char said[8192];
    int n = only_n ? only_n : 1, wrong = 0, first = 0, ended = 0;
    for (; n < N_MAX && !ended && wrong < WRONG_MAX; n++) {
        int status = run_one(n, said, sizeof said);
        int well =
            setting.policy == ABORT ? died_by_name(status, said) : status == 0;
        ended = status == 3 || only_n;
        if (status == 3 || well) {
            *runs += well;
            if (verbose)
                printf("# n=%d: %s\n", n, well ? "well" : "end");
            continue;
        }
        ++*runs;
        printf("# %s, n=%d (%s): ", scenario->name, n, how);
        if (status == 99)
            printf("hangs\n");
        else if (status > 128)
            printf("signal %d\n", status - 128);
        else
            printf("exit status %d\n", status);
        print_said(said);
        if (wrong++ == 0)
            first = n;
    }
    if (n == 2 && !only_n && !wrong) {
        printf("not ok %d - %s (%s): it never attaches\n", number,
               scenario->name, how);
        return 0;
    }
    if (wrong)
        printf("not ok %d - %s (%s): %d wrong, the first is n=%d\n", number,
               scenario->name, how, wrong, first);
    else
        printf("ok %d - %s (%s): n=1..%d\n", number, scenario->name, how,
               n - 2);
    fflush(stdout);
    return !wrong;
}

int main(int argc, char **argv) {
    int n_settings = N_SETTINGS, planned = 0, number = 0, failed = 0, runs = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            n_settings = N_SHORT;
        else if (strcmp(argv[i], "-v") == 0)
            verbose = 1;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--n") == 0 && i + 1 < argc)
            only_n = atoi(argv[++i]);
        else
            return fprintf(stderr, "late: what is %s?\n", argv[i]), 2;
    }
    if (getenv("LATE_SHORT") != NULL)
        n_settings = N_SHORT;
    for (int counting = 1; counting >= 0; counting--) {
        for (scenario = all; scenario != NULL; scenario = scenario->next)
            for (int i = 0; i < n_settings; i++) {
                char how[128];
                if (!fits(scenario, &settings[i]) ||
                    strstr(scenario->name, only) == NULL)
                    continue;
                if (counting) {
                    planned++;
                    continue;
                }
                setting = settings[i];
                describe(&setting, how, sizeof how);
                failed += !run_pair(++number, how, &runs);
            }
        if (counting)
            printf("1..%d\n", planned);
    }
    printf("# late: %d runs, %d scenarios in settings, %d failed\n", runs,
           number, failed);
    return failed != 0;
}
