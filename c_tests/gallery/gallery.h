/* The gallery of historic races: what a scenario is, and what its rounds use.
 *
 * A scenario is one race under two protocols: the old one, rebuilt over
 * on_delete (threading.h), and the library's own. A protocol runs its rounds
 * in a process of its own; a round that may kill its process runs in a child
 * of that. Orders are forced by sync points; every wait has a limit.
 */
#ifndef PYTSTATE_GALLERY_H
#define PYTSTATE_GALLERY_H

#include <pytstate.h>
#include <pytstate/internal.h>

#include <stddef.h>
#include <sys/types.h>

/* What one round showed. Anything else ends the protocol: need(). */
enum outcome { BEHAVED, MISBEHAVED };

struct protocol {
    /* What a counted round showed; say() may replace it by a measurement. */
    const char *what;
    /* 1: every round must count, 0: none may. */
    int every;
    /* Once per process, before and after the rounds; may be NULL. */
    void (*begin)(void);
    void (*end)(void);
    enum outcome (*round)(void);
};

struct scenario {
    const char *name;
    const char *story; /* for people, one line */
    struct protocol old, ours;
};

/* All of them, in the order of the lines: c_tests/gallery/<name>.c each. The
 * selftest has its own. */
#ifndef SCENARIOS
#define SCENARIOS(X)   \
    X(gh_116372)       \
    X(bpo_36402)       \
    X(bpo_37266)       \
    X(bpo_37788)       \
    X(join_os_exit)    \
    X(fork_after_join) \
    X(late_attach)     \
    X(leaked_guard)    \
    X(fork_held_lock)  \
    X(gh_87135)        \
    X(stw_starvation)
#endif
#define DECLARE(symbol) extern const struct scenario symbol;
SCENARIOS(DECLARE)
#undef DECLARE

/* ---- Inside a protocol ------------------------------------------------- */

/* Ends the protocol, as failed, unless the condition holds. */
#define need(condition) \
    ((condition) ? (void)0 : broken(__FILE__, __LINE__, #condition))
_Noreturn void broken(const char *file, int line, const char *condition);

/* Replaces the protocol's `what` (printf format). */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The number of the round under way, from 0, and how many there will be. */
int round_number(void);
int rounds_in_all(void);

/* ---- The runtime ------------------------------------------------------- */

/* Initializes it with the rules of the version (0: the library's default). */
void begin_runtime(int compat);
#define COMPAT_3_12 0x030C0000
#define COMPAT_3_13 0x030D0000
#define COMPAT_3_14 0x030E0000
#define COMPAT_3_15 0x030F0000
/* begin_runtime() as a protocol's `begin`. */
void begin_old(void);
void begin_ours(void);
/* Waits until the OS threads of the rounds are gone, then finalizes. */
void end_runtime(void);

/* ---- Sync points ------------------------------------------------------- */

/* The next thread that comes to the point is held there. */
void hold(const char *point);
/* The n-th thread from now on that comes to the point is held there. */
void hold_nth(const char *point, int n);
/* `then` waits until `first` was passed. */
void order(const char *first, const char *then);
/* Returns when a thread is held at the point. Detaches meanwhile. */
void await_held(const char *point);
void let_go(const char *point);
/* Starts to count who comes to the point; the sum is waited for, detached. */
void count(const char *point);
void await_count(const char *point, int n);

/* For a thread that runs with an attached state: a place where it may lose the
 * GIL, as between any two bytecodes. Held here, it holds nothing. */
void swapped_out(const char *point);

/* ---- OS threads -------------------------------------------------------- */

long own_task(void);
int64_t now_ns(void);
/* Whether /proc/self/task lists it. */
int task_exists(long task);
/* Detached waits, until the task sleeps in the kernel or is gone. */
void await_task_asleep(long task);
void await_task_gone(long task);

/* ---- Child processes --------------------------------------------------- */

struct ending {
    int status; /* of waitpid() */
    char errors[2048];
};
/* Runs body() in a child, with what it writes to stderr kept. The child exits
 * with 0 at the end of body(). need() in it ends the protocol. */
void in_child(void (*body)(void), struct ending *end);
/* Whether it died of SIGABRT and said `text`. Needs that, or exit status 0. */
int aborted_with(const struct ending *end, const char *text);
/* With which status it exited. Needs that it did. */
int exited_with(const struct ending *end);
/* Waits for a child that the round forked itself; the same. */
int exit_status(pid_t pid);
/* Waits for such a child: whether it exited with 0 before its alarm(). */
int came_to_its_end(pid_t pid);

#endif
