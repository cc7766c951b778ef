/* A function of the host and its data are one value: installed again and again
 * while it is called, no function gets the data of another. */
#include "host.h"

static char first_data, second_data;
static atomic_long n_calls, n_torn;
static atomic_int over;

static void note_call(const void *data, const void *wanted) {
    atomic_fetch_add(&n_calls, 1);
    if (data != wanted)
        atomic_fetch_add(&n_torn, 1);
}

/* Installs one after the other until the case is over. */
static void toggle(void *install) {
    void (*const both)(void) = *(void (**)(void))install;
    while (!atomic_load(&over))
        both();
}

static void (*toggled)(void);

static void begin_toggling(struct peers *peers, void (*both)(void)) {
    toggled = both;
    both();
    peers_add(peers, 1, toggle, &toggled);
    peers_start(peers);
}

static void end_toggling(struct peers *peers) {
    atomic_store(&over, 1);
    peers_join(peers, LIMIT_MS);
    CHECK_INT_GT(n_calls, 0);
    CHECK_INT_EQ(n_torn, 0);
}

/* ---- Misuse ----------------------------------------------------------- */

static void first_check(const char *func, const char *text, void *data) {
    (void)func, (void)text;
    note_call(data, &first_data);
}

static void second_check(const char *func, const char *text, void *data) {
    (void)func, (void)text;
    note_call(data, &second_data);
}

static void install_checks(void) {
    PyTState_SetCheckCallback(first_check, &first_data);
    PyTState_SetCheckCallback(second_check, &second_data);
}

TEST("a check callback gets the data that it was installed with") {
    struct peers peers = PEERS_INIT;
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.check_level = PyTState_CHECK_CALLBACK;
    begin_with(&config);
    begin_toggling(&peers, install_checks);
    PyThreadState *state = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_Clear(state);
    for (int i = 0; i < 300000; i++)
        PyThreadState_Clear(state); /* misuse: it was cleared before */
    end_toggling(&peers);
    CHECK_INT_EQ(n_calls, 300000);
    PyThreadState_Delete(state);
    finish();
}

/* ---- Signals ---------------------------------------------------------- */

static int first_handler(int number, void *data) {
    (void)number;
    note_call(data, &first_data);
    return 0;
}

static int second_handler(int number, void *data) {
    (void)number;
    note_call(data, &second_data);
    return 0;
}

static void install_handlers(void) {
    PyTState_SetSignalHandler(first_handler, &first_data);
    PyTState_SetSignalHandler(second_handler, &second_data);
}

TEST("a signal handler gets the data that it was installed with") {
    struct peers peers = PEERS_INIT;
    Py_InitializeEx(1);
    begin_toggling(&peers, install_handlers);
    for (int i = 0; i < 300000; i++) {
        PyErr_SetInterrupt();
        poll_once();
    }
    end_toggling(&peers);
    CHECK_INT_EQ(n_calls, 300000);
    finish();
}

/* ---- The end ---------------------------------------------------------- */

static void first_phase(PyInterpreterState *interp, int phase, void *data) {
    (void)interp, (void)phase;
    note_call(data, &first_data);
}

static void second_phase(PyInterpreterState *interp, int phase, void *data) {
    (void)interp, (void)phase;
    note_call(data, &second_data);
}

static void install_phases(void) {
    PyTState_SetShutdownPhaseHook(first_phase, &first_data);
    PyTState_SetShutdownPhaseHook(second_phase, &second_data);
}

TEST("a phase hook gets the data that it was installed with") {
    struct peers peers = PEERS_INIT;
    begin_toggling(&peers, install_phases);
    for (int life = 0; life < 2000; life++) {
        begin();
        finish();
    }
    end_toggling(&peers);
}

static int first_late(PyThreadState *state, void *data) {
    (void)state;
    note_call(data, &first_data);
    return PyTState_LATE_EXIT;
}

static int second_late(PyThreadState *state, void *data) {
    (void)state;
    note_call(data, &second_data);
    return PyTState_LATE_EXIT;
}

static void install_late(void) {
    PyTState_SetLateAttachHook(first_late, &first_data);
    PyTState_SetLateAttachHook(second_late, &second_data);
}

static void *come_late(void *unused) {
    (void)PyGILState_Ensure(); /* ends the thread */
    return unused;
}

TEST("a late-attach hook gets the data that it was installed with") {
    struct peers peers = PEERS_INIT;
    begin();
    finish();
    begin_toggling(&peers, install_late);
    for (int i = 0; i < 2000; i++) {
        pthread_t thread;
        CHECK_INT_EQ(pthread_create(&thread, NULL, come_late, NULL), 0);
        CHECK_INT_EQ(pthread_join(thread, NULL), 0);
    }
    end_toggling(&peers);
    CHECK_INT_EQ(n_calls, 2000);
}

/* ---- Blocking regions and threads ------------------------------------- */

static void unblock_first(void *data) { note_call(data, &first_data); }
static void unblock_second(void *data) { note_call(data, &second_data); }

static _Atomic(PyThreadState *) in_regions;

static void begin_regions(void *unused) {
    (void)unused;
    PyThreadState *mine = enter(PyInterpreterState_Main());
    atomic_store(&in_regions, mine);
    while (!atomic_load(&over)) {
        PyTState_BeginBlocking(unblock_first, &first_data);
        PyTState_EndBlocking();
        PyTState_BeginBlocking(unblock_second, &second_data);
        PyTState_EndBlocking();
    }
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    leave();
}

TEST("an unblock function gets the argument of its region") {
    struct peers peers = PEERS_INIT;
    PyThreadState *mine = begin();
    peers_add(&peers, 1, begin_regions, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&in_regions) != NULL, LIMIT_MS);
    PyThreadState *other = atomic_load(&in_regions);
    /* A call of the function counts, not a try. */
    for (int64_t end = test_now_ms() + LIMIT_MS;
         atomic_load(&n_calls) < 1000 && test_now_ms() < end;)
        (void)PyTState_Unblock(other);
    end_toggling(&peers);
    PyEval_RestoreThread(mine);
    finish();
}
