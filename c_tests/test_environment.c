/* The environment: one reader, which says what it cannot read. */
#include "captured.h"
#include "host.h"

#include <signal.h>

static struct capture errors;

/* What one life of the runtime writes with the variable set to `value`. */
static const char *life_with(const char *name, const char *value) {
    setenv(name, value, 1);
    capture_begin(&errors);
    begin();
    finish();
    return capture_end(&errors);
}

TEST("a value that cannot be read is reported with what it may be") {
    static const struct {
        const char *name, *value, *line;
    } all[] = {
        {"PYTSTATE_COMPAT", "3.99", "3.12, 3.13, 3.14 or 3.15"},
        {"PYTSTATE_COMPAT", "junk", "3.12, 3.13, 3.14 or 3.15"},
        {"PYTSTATE_SHUTDOWN_REPORT", "abc", "a number of seconds"},
        {"PYTSTATE_SHUTDOWN_REPORT", "1e3", "a number of seconds"},
        {"PYTHON_GIL", "2", "0 or 1"},
        {"PYTSTATE_CHECK", "loud", "off, warn, fatal or strict"},
        {"PYTSTATE_LATE", "never", "hang, exit or abort"},
        {"PYTSTATE_WATCHDOG", "-1", "a number of seconds"},
        {"PYTSTATE_DUMP_SIGNAL", "12", "the name of a signal"},
        {"PYTSTATE_PERTURB", "1:2", "seed:permille:max_us"},
        {"PYTSTATE_SYNC_LIMIT", "soon", "a number of seconds"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        EXPECT_CHILD_EXIT(0) {
            char wanted[128];
            snprintf(wanted, sizeof wanted,
                     "pytstate: %s is ignored: '%s' is not %s", all[i].name,
                     all[i].value, all[i].line);
            const char *text = life_with(all[i].name, all[i].value);
            CHECK_STR_CONTAINS(text, wanted);
            CHECK_INT_EQ(count_of(text, "\n"), 1);
        }
}

TEST("a value is reported once, another one again, in whatever life") {
    CHECK_INT_EQ(count_of(life_with("PYTSTATE_COMPAT", "2.7"), "'2.7'"), 1);
    CHECK_STR_EQ(life_with("PYTSTATE_COMPAT", "2.7"), "");
    CHECK_INT_EQ(count_of(life_with("PYTSTATE_COMPAT", "3.11"), "'3.11'"), 1);
    CHECK_STR_EQ(life_with("PYTSTATE_COMPAT", "3.14"), "");
}

TEST("a variable that is set to nothing is as one that is not set") {
    static const char *const names[] = {
        "PYTSTATE_COMPAT",  "PYTSTATE_CHECK",   "PYTSTATE_LATE",
        "PYTSTATE_TRACE",   "PYTHON_GIL",       "PYTSTATE_DUMP_SIGNAL",
        "PYTSTATE_PERTURB", "PYTSTATE_WATCHDOG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], "", 1);
    CHECK_STR_EQ(life_with("PYTSTATE_SHUTDOWN_REPORT", ""), "");
}

TEST("a name that no variable has is reported with the nearest one") {
    setenv("PYTSTATE_COMPTA", "3.12", 1);
    setenv("PYTSTATE_something_else_1", "", 1);
    const char *text = life_with("PYTSTATE_WATCHDOGS", "1");
    CHECK_STR_CONTAINS(text, "PYTSTATE_COMPTA is ignored: there is no such "
                             "variable; is PYTSTATE_COMPAT meant?\n");
    CHECK_STR_CONTAINS(text, "; is PYTSTATE_WATCHDOG meant?\n");
    CHECK_STR_CONTAINS(text, "PYTSTATE_something_else_1 is ignored: there is "
                             "no such variable\n");
    CHECK_INT_EQ(count_of(text, "\n"), 3);
}

TEST("a value from outside can neither end a line nor speak to a terminal") {
    const char *text = life_with("PYTSTATE_COMPAT", "3\n\033[2Jforged\r");
    CHECK_STR_CONTAINS(text, "'3??[2Jforged?'");
    CHECK_INT_EQ(count_of(text, "\n"), 1);
    CHECK_STR_LACKS(text, "\033");
}

TEST("a host that ignores the environment is told of nothing in it") {
    setenv("PYTSTATE_COMPAT", "3.99", 1);
    setenv("PYTSTATE_CHECK", "off", 1);
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    capture_begin(&errors);
    CHECK_INT_EQ(PyStatus_Exception(Py_InitializeFromConfig(&config)), 0);
    CHECK_STR_EQ(capture_end(&errors), "");
    EXPECT_ABORT("PyThreadState_Clear") {
        PyThreadState *other = PyThreadState_New(PyInterpreterState_Main());
        PyThreadState_Clear(other);
        PyThreadState_Clear(other);
    }
    finish();
}

/* ---- PYTSTATE_CHECK ---------------------------------------------------- */

static void misuse(void) {
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Main());
    PyThreadState_Clear(other);
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
}

TEST("PYTSTATE_CHECK decides what a misuse leads to") {
    EXPECT_ABORT("PyThreadState_Clear") {
        setenv("PYTSTATE_CHECK", "fatal", 1);
        begin();
        misuse();
    }
    setenv("PYTSTATE_CHECK", "warn", 1);
    begin();
    capture_begin(&errors);
    misuse();
    CHECK_STR_CONTAINS(capture_end(&errors), "pytstate: misuse: ");
    finish();
    setenv("PYTSTATE_CHECK", "off", 1);
    begin();
    capture_begin(&errors);
    misuse();
    CHECK_STR_EQ(capture_end(&errors), "");
    finish();
    /* What the host chose goes before it. */
    PyTState_Config config = {.size = sizeof config,
                              .check_level = PyTState_CHECK_WARN};
    begin_with(&config);
    capture_begin(&errors);
    misuse();
    CHECK_STR_CONTAINS(capture_end(&errors), "pytstate: misuse: ");
    finish();
}

/* ---- PYTSTATE_LATE ----------------------------------------------------- */

static atomic_int over;
static atomic_long late_tid;
static struct peers late = PEERS_INIT;

static void attach_late(void *interp) {
    PyTState_SetName(enter(interp), "latecomer");
    PyThreadState *mine = PyEval_SaveThread();
    atomic_store(&late_tid, test_native_id());
    WAIT_UNTIL(atomic_load(&over), LIMIT_MS);
    PyEval_RestoreThread(mine);
    FAIL("a late thread was let in");
}

/* A thread attaches after the end, with the policy of the environment. */
static void attach_after_the_end(const char *policy) {
    setenv("PYTSTATE_LATE", policy, 1);
    PyThreadState *mine = begin();
    peers_add(&late, 1, attach_late, mine->interp);
    peers_start(&late);
    mine = PyEval_SaveThread();
    WAIT_UNTIL(atomic_load(&late_tid) != 0, LIMIT_MS);
    PyEval_RestoreThread(mine);
    finish();
    atomic_store(&over, 1);
}

TEST("PYTSTATE_LATE=exit ends a late thread") {
    attach_after_the_end("exit");
    CHECK_INT_EQ(pthread_join(late.one[0].thread, NULL), 0);
}

TEST("PYTSTATE_LATE=abort ends the process and names the late thread") {
    EXPECT_ABORT("latecomer") {
        attach_after_the_end("abort");
        pthread_join(late.one[0].thread, NULL);
    }
}

TEST("PYTSTATE_LATE=hang holds where the version would end the thread") {
    setenv("PYTSTATE_COMPAT", "3.12", 1);
    attach_after_the_end("hang");
    /* By the rules of 3.12 alone it would be gone. */
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&late_tid)), LIMIT_MS);
    CHECK_INT_EQ(test_thread_exists(atomic_load(&late_tid)), 1);
}

TEST("the host's late-attach policy goes before PYTSTATE_LATE") {
    EXPECT_ABORT("latecomer") {
        PyTState_SetLateAttachPolicy(PyTState_LATE_ABORT);
        attach_after_the_end("hang");
        pthread_join(late.one[0].thread, NULL);
    }
}

/* ---- PYTSTATE_WATCHDOG ------------------------------------------------- */

static void want_the_gil(void *interp) {
    enter(interp);
    leave();
}

TEST("PYTSTATE_WATCHDOG names who holds the GIL that long, unless the host "
     "chose otherwise") {
    NEEDS_GIL();
    setenv("PYTSTATE_WATCHDOG", "0.02", 1);
    PyThreadState *mine = begin();
    PyTState_SetName(mine, "greedy");
    capture_begin(&errors);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, want_the_gil, mine->interp);
    peers_start(&peers);
    WAIT_UNTIL(strstr(capture_look(&errors), "has held the GIL") != NULL,
               LIMIT_MS);
    CHECK_STR_CONTAINS(capture_look(&errors), "thread 'greedy'");
    capture_end(&errors);
    PyThreadState *saved = PyEval_SaveThread();
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(saved);
    finish();
}

/* ---- PYTSTATE_DUMP_SIGNAL ---------------------------------------------- */

static void on_signal(int number) { (void)number; }

TEST("PYTSTATE_DUMP_SIGNAL prints all threads when the signal comes") {
    setenv("PYTSTATE_DUMP_SIGNAL", "USR2", 1);
    PyThreadState *mine = begin();
    PyTState_SetName(mine, "forge\n\033[1mme");
    capture_begin(&errors);
    CHECK_INT_EQ(raise(SIGUSR2), 0);
    const char *text = capture_end(&errors);
    CHECK_STR_CONTAINS(text, "thread 'forge??[1mme'");
    CHECK_INT_EQ(count_of(text, "\n"), 1);
    finish();
    CHECK_INT_EQ(raise(SIGUSR2), 0); /* also when the runtime is gone */
    CHECK_STR_EQ(life_with("PYTSTATE_DUMP_SIGNAL", "SIGUSR2"), "");
}

TEST("a signal that the program handles, or that cannot be caught, is refused "
     "by message") {
    const char *text = life_with("PYTSTATE_DUMP_SIGNAL", "KILL");
    CHECK_STR_CONTAINS(text, "PYTSTATE_DUMP_SIGNAL is ignored: the signal "
                             "'KILL' cannot be caught");
    text = life_with("PYTSTATE_DUMP_SIGNAL", "SEGV");
    CHECK_STR_CONTAINS(text, "'SEGV' cannot be caught");
    signal(SIGUSR1, on_signal);
    text = life_with("PYTSTATE_DUMP_SIGNAL", "USR1");
    CHECK_STR_CONTAINS(text, "the signal 'USR1' is handled, or ignored, by "
                             "the program already");
    CHECK(signal(SIGUSR1, SIG_DFL) == on_signal);
    signal(SIGHUP, SIG_IGN);
    text = life_with("PYTSTATE_DUMP_SIGNAL", "HUP");
    CHECK_STR_CONTAINS(text, "the signal 'HUP' is handled, or ignored, by ");
    CHECK(signal(SIGHUP, SIG_DFL) == SIG_IGN);
}
