/* One run: the victim, the conductor that ends what it wants to attach to, and
 * what must be true afterwards. */
#include "stage.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

struct setting setting;
const struct scenario *scenario;
PyInterpreterState *interp;
PyInterpreterView *view;
const char *const policy_names[] = {"HANG", "EXIT", "hook", "ABORT"};

static int wanted;            /* n */
static atomic_int n_attaches; /* of the victim, so far */
static atomic_int held, committed, victim_done, survived, helper_done;
static atomic_int destroyed; /* thread-local destructors of the victim */
static atomic_int met;       /* late_attach.met was passed by the victim */
static atomic_long victim_tid;
static _Thread_local int is_victim, exempt;
static PyThreadState *main_state, *sub_state;
static PyThreadHandle *handle;
static pthread_t foreign;
static pthread_key_t key;
static PyEvent *exit_event;
static const char *volatile step = "setup";
atomic_int about_to_wait;

void stage_wrong(const char *file, int line, const char *format, ...) {
    char text[512];
    va_list rest;
    va_start(rest, format);
    int n = snprintf(text, sizeof text, "%s:%d: (%s) ", file, line, step);
    n += vsnprintf(text + n, sizeof text - (size_t)n, format, rest);
    va_end(rest);
    dprintf(2, "%s\n", text);
    _exit(1);
}

static void on_alarm(int signum) {
    (void)signum;
    dprintf(2,
            "the time limit passed; the conductor is at: %s; held %d, "
            "committed %d, met the policy %d\n",
            step, atomic_load(&held), atomic_load(&committed),
            atomic_load(&met));
    _exit(1);
}

/* ---- Small tools ------------------------------------------------------ */

void nap(void) {
    struct timespec moment = {0, 100000};
    nanosleep(&moment, NULL);
}

static void until_set(atomic_int *flag, const char *what) {
    for (int i = 0; atomic_load(flag) == 0; i++) {
        if (i > 20000)
            WRONG("not so within the limit: %s", what);
        nap();
    }
}

void until(atomic_int *flag) {
    for (int i = 0; !atomic_load(flag) && !atomic_load(&held); i++) {
        if (i > 40000)
            WRONG("a flag of the scenario is not set within its limit");
        nap();
    }
}

void breathe(void) {
    PyThreadState *mine = PyEval_SaveThread();
    PyEval_RestoreThread(mine);
}

void stage_exempt(int by) { exempt += by; }

int victim_is_late(void) { return atomic_load(&held); }

static int sleeps(long tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *after = strrchr(text, ')');
    return after != NULL && after[2] == 'S';
}

void wait_victim_sleeps(void) {
    until(&about_to_wait);
    /* It may also be held at its n-th attach before it comes to its wait. */
    for (int twice = 0; twice < 2;) {
        if (atomic_load(&held))
            return;
        twice = sleeps(atomic_load(&victim_tid)) ? twice + 1 : 0;
        nap();
    }
}

struct bounded {
    void (*body)(void);
    atomic_int done;
};

static void *run_bounded(void *arg) {
    struct bounded *one = arg;
    one->body();
    atomic_store(&one->done, 1);
    return NULL;
}

void must_return(void (*body)(void), const char *what) {
    static struct bounded some[32];
    static int used;
    struct bounded *one = &some[used++ % 32];
    pthread_t thread;
    *one = (struct bounded){.body = body};
    if (pthread_create(&thread, NULL, run_bounded, one) != 0)
        WRONG("no thread");
    for (int i = 0; !atomic_load(&one->done); i++) {
        if (i > 15000)
            WRONG("never returns: %s", what);
        nap();
    }
    pthread_join(thread, NULL);
}

/* ---- The victim ------------------------------------------------------- */

static void at_attach(const char *point, void *arg) {
    (void)point, (void)arg;
    if (!is_victim || exempt > 0 || atomic_load(&held))
        return;
    if (atomic_fetch_add(&n_attaches, 1) + 1 != wanted)
        return;
    atomic_store(&held, 1);
    while (!atomic_load(&committed))
        nap();
}

static void at_verdict(const char *point, void *arg) {
    (void)point, (void)arg;
    if (is_victim)
        atomic_fetch_add(&met, 1);
}

static void at_phase(PyInterpreterState *which, int phase, void *arg) {
    (void)arg;
    if (which == interp && phase == PyTState_PHASE_FINALIZING)
        atomic_store(&committed, 1);
}

static void at_thread_end(void *value) {
    (void)value;
    atomic_fetch_add(&destroyed, 1);
}

static int choose(PyThreadState *state, void *arg) {
    (void)state, (void)arg;
    return PyTState_LATE_EXIT;
}

static void victim_body(void *unused) {
    (void)unused;
    is_victim = 1;
    pthread_setspecific(key, &key);
    atomic_store(&victim_tid, syscall(SYS_gettid));
    exit_event = PyTState_GetExitEvent(PyThreadState_Get());
    scenario->victim();
    if (atomic_load(&held))
        atomic_store(&survived, 1);
    is_victim = 0;
    atomic_store(&victim_done, 1);
}

static void *foreign_body(void *unused) {
    PyThreadState *mine = PyThreadState_New(interp);
    CHECK(mine != NULL);
    PyEval_RestoreThread(mine);
    victim_body(unused);
    PyThreadState_Clear(mine);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void *helper_body(void *unused) {
    (void)unused;
    scenario->helper();
    atomic_store(&helper_done, 1);
    return NULL;
}

/* ---- The conductor ---------------------------------------------------- */

static void initialize(void) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.compat = 0x030E0000; /* leftovers of a sub-interpreter are late */
    if (!setting.sub && setting.gil == PyTState_INTERP_NO_GIL)
        config.gil = PyTState_GIL_NONE;
    config.late_attach = setting.policy == EXIT    ? PyTState_LATE_EXIT
                         : setting.policy == ABORT ? PyTState_LATE_ABORT
                                                   : PyTState_LATE_HANG;
    CHECK(!PyStatus_Exception(PyTState_Initialize(&config)));
    main_state = PyThreadState_Get();
    interp = main_state->interp;
    if (setting.policy == BY_HOOK)
        PyTState_SetLateAttachHook(choose, NULL);
    if (setting.sub) {
        PyInterpreterConfig sub = _PyInterpreterConfig_LEGACY_INIT;
        sub.gil = setting.gil;
        sub.use_main_obmalloc = setting.gil == PyInterpreterConfig_SHARED_GIL;
        sub.check_multi_interp_extensions = !sub.use_main_obmalloc;
        CHECK(
            !PyStatus_Exception(Py_NewInterpreterFromConfig(&sub_state, &sub)));
        interp = sub_state->interp;
    }
    view = PyInterpreterView_FromCurrent();
    PyTState_SetShutdownPhaseHook(at_phase, NULL);
    PyTState_Sync_Hook("attach.begin", at_attach, NULL);
    PyTState_Sync_Hook("late_attach.met", at_verdict, NULL);
    pthread_key_create(&key, at_thread_end);
    if (scenario->before != NULL)
        scenario->before();
}

/* Starts helper and victim; attached before, detached after. */
static void start(void) {
    if (setting.thread == DAEMON) {
        handle = PyThreadHandle_New();
        CHECK(PyThreadHandle_Start(handle, interp, victim_body, NULL,
                                   PyThreadHandle_DAEMON) == 0);
    }
    if (setting.thread != MAIN_THREAD)
        PyEval_SaveThread();
    if (setting.thread == FOREIGN)
        CHECK(pthread_create(&foreign, NULL, foreign_body, NULL) == 0);
    pthread_t helper;
    if (scenario->helper != NULL)
        CHECK(pthread_create(&helper, NULL, helper_body, NULL) == 0);
}

static void check_victim(void) {
    step = "the victim's fate";
    while (setting.policy == ABORT)
        nap(); /* until the process ends */
    for (int i = 0; atomic_load(&met) == 0; i++) {
        if (atomic_load(&survived) || atomic_load(&victim_done))
            WRONG("the victim came back from an attach that was late");
        if (i > 20000)
            WRONG("the victim never met the policy");
        nap();
    }
    int exits = setting.policy == EXIT || setting.policy == BY_HOOK;
    if (setting.thread == DAEMON) {
        /* Before that a join is refused, under the rules of 3.14. */
        for (int i = 0; !PyThreadHandle_IsDone(handle); i++) {
            if (i > 20000)
                WRONG("the handle of the late thread is never done");
            nap();
        }
        int joined = PyThreadHandle_Join(handle, 3000 * MS);
        if (joined != 0)
            WRONG("the join of the late thread returns %d", joined);
        CHECK(PyThreadHandle_ThreadState(handle) == NULL);
        CHECK(PyThreadHandle_IsDone(handle) == 1);
        PyThreadHandle_Decref(handle);
    } else if (setting.thread == FOREIGN && exits) {
        pthread_join(foreign, NULL);
    }
    if (exits)
        until_set(&destroyed, "the late thread ran its destructors");
    for (int i = 0; !exits && !sleeps(atomic_load(&victim_tid)); i++) {
        if (i > 20000)
            WRONG("the late thread does not sleep");
        nap();
    }
    CHECK(atomic_load(&survived) == 0 && atomic_load(&met) == 1);
    CHECK(exits || atomic_load(&destroyed) == 0);
    if (exit_event != NULL) {
        if (!_PyEvent_IsSet(exit_event))
            WRONG("the exit event of the late thread's state is not set");
        PyTState_ReleaseExitEvent(exit_event);
    }
}

static void end_it(void) {
    step = "the end";
    if (setting.ending == BY_END_INTERPRETER) {
        PyEval_RestoreThread(sub_state);
        Py_EndInterpreter(sub_state);
        CHECK(PyThreadState_GetUnchecked() == NULL);
        check_victim();
        PyEval_RestoreThread(main_state);
        step = "the runtime after the end of the sub-interpreter";
        whole_runtime(main_state);
        step = "the end of the runtime";
    } else if (setting.thread != MAIN_THREAD) {
        PyEval_RestoreThread(setting.sub ? sub_state : main_state);
    }
    CHECK(Py_FinalizeEx() == 0);
    CHECK(!Py_IsInitialized());
    if (setting.ending == BY_FINALIZE)
        check_victim();
}

static void *conduct(void *unused) {
    (void)unused;
    step = "waiting for the victim";
    while (!atomic_load(&held) && !atomic_load(&victim_done))
        nap();
    if (!atomic_load(&held))
        _exit(3); /* no n-th attach */
    end_it();
    step = "the helper";
    if (scenario->helper != NULL)
        until_set(&helper_done, "the helper went on");
    step = "after the end";
    CHECK(PyTState_Census(NULL, NULL, 0) == 0);
    if (scenario->after != NULL)
        scenario->after();
    CHECK(PyThreadState_EnsureFromView(view) == NULL);
    step = "the next life";
    next_life();
    PyInterpreterView_Close(view);
    _exit(0);
}

void stage_run(int n) {
    signal(SIGALRM, on_alarm);
    alarm(LIMIT_S);
    wanted = n;
    initialize();
    start();
    if (setting.thread == MAIN_THREAD) {
        pthread_t conductor;
        CHECK(pthread_create(&conductor, NULL, conduct, NULL) == 0);
        victim_body(NULL);
        PyEval_SaveThread();
        pthread_join(conductor, NULL);
        abort();
    }
    conduct(NULL);
    abort();
}
