/* Scenarios of which the n-th attach comes too late, for every n.
 *
 * A scenario is a body that one thread, the victim, runs attached. A hook on
 * the sync point "attach.begin" counts the attaches of the victim; the n-th is
 * held until the interpreter that it is for has committed to its end, and then
 * goes on to the verdict that every late thread meets. The library has no
 * switch for this: the verdict is the real one.
 *
 * Each run is a process of its own with a time limit. */
#ifndef PYTSTATE_TEST_LATE_STAGE_H
#define PYTSTATE_TEST_LATE_STAGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pytstate.h>
#include <pytstate/internal.h>

#define MS INT64_C(1000000)
#define LIMIT_S 6

/* ---- A scenario ------------------------------------------------------- */

#define ONLY_MAIN 1    /* the main interpreter alone: PyGILState and the like */
#define ONLY_FOREIGN 2 /* the victim is no thread that the library started */
#define ONLY_GIL 4     /* the interpreter under test has a GIL */

struct scenario {
    const char *name;
    int needs;
    void (*victim)(void); /* attached to `interp` at its begin and at its end */
    void (*helper)(void); /* on a plain thread without a state; may be NULL */
    void (*before)(void); /* by the conductor, attached, before the victim */
    void (*after)(void);  /* by the conductor, when all is over; detached */
    struct scenario *next;
};

void scenario_add(struct scenario *one);

/* SCENARIO("name", .victim = f, ...): registers it. */
#define SCENARIO(...) SCENARIO_NUMBERED_(__COUNTER__, __VA_ARGS__)
#define SCENARIO_NUMBERED_(n, ...) SCENARIO_EXPANDED_(n, __VA_ARGS__)
#define SCENARIO_EXPANDED_(n, ...)                                      \
    __attribute__((constructor)) static void scenario_enter_##n(void) { \
        static struct scenario one = {.name = __VA_ARGS__};             \
        scenario_add(&one);                                             \
    }                                                                   \
    extern int scenario_end_##n

/* ---- What a run varies ------------------------------------------------ */

enum thread_kind { DAEMON, FOREIGN, MAIN_THREAD };
enum ending { BY_FINALIZE, BY_END_INTERPRETER };
enum policy { HANG, EXIT, BY_HOOK, ABORT };

struct setting {
    enum thread_kind thread;
    int gil; /* of the interpreter under test: a PyInterpreterConfig gil */
    int sub; /* the interpreter under test is a sub-interpreter */
    enum ending ending;
    enum policy policy;
};

extern struct setting setting;
extern const struct scenario *scenario;
extern PyInterpreterState *interp; /* under test */
extern PyInterpreterView *view;    /* of it */

/* ---- For scenarios ---------------------------------------------------- */

/* Ends the run as failed. */
#define WRONG(...) stage_wrong(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void stage_wrong(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define CHECK(x) ((x) ? (void)0 : WRONG("not true: %s", #x))

/* Between these the victim's attaches cannot be late (it has a guard): they
 * are not counted. Nests. */
void stage_exempt(int by);
/* Detaches and attaches again, as a thread does around a blocking call. */
void breathe(void);
/* Waits, 5 s at most, until the flag is not 0 or the victim is late. */
void until(atomic_int *flag);
void nap(void);

/* For a helper: waits until the victim, which set this before, sleeps. */
extern atomic_int about_to_wait;
void wait_victim_sleeps(void);
/* Whether the victim was held at its n-th attach. */
int victim_is_late(void);

/* A lock of a scenario, as the victim sees it: what it holds when it never
 * comes back stays locked, and that is no defect. */
struct owned {
    atomic_int by_victim;
};

/* How many states the victim has in the main interpreter when it is late in
 * another: they stay until that one ends, as those of any thread that ended
 * without deleting them. */
extern size_t stage_states_left;

/* Runs `body` on a plain thread; WRONG(what) unless it returns within 3 s. */
void must_return(void (*body)(void), const char *what);

/* ---- Between runner and stage ----------------------------------------- */

/* One run, in this process; never returns. Exit status: 0 late and all well,
 * 1 wrong, 3 the victim came to its end before its n-th attach. */
_Noreturn void stage_run(int n);
extern const char *const policy_names[];
/* After the end: another life of the runtime must be whole. */
void next_life(void);
void whole_runtime(PyThreadState *mine);

#endif
