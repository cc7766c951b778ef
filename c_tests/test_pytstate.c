/* Our own calls: census, names, places, dumps, phases, versions. */
#include "host.h"

#include <stdlib.h>
#include <time.h>

/* ---- Census ----------------------------------------------------------- */

static void stay(void *go) { wait_for_event(go); }

static const PyTState_ThreadInfo *find(const PyTState_ThreadInfo *all, size_t n,
                                       int64_t interp_id, uint64_t id) {
    for (size_t i = 0; i < n; i++)
        if (all[i].interp_id == interp_id && all[i].id == id)
            return &all[i];
    FAIL("no state %d of interpreter %d", (int)id, (int)interp_id);
}

TEST("the census says of every state what is known about it (2)") {
    static PyEvent go;
    PyTState_ThreadInfo all[8];
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = main_state->interp;
    PyThreadHandle *handle = start_in(interp, stay, &go, PyThreadHandle_DAEMON);
    PyThreadState *theirs = PyThreadHandle_ThreadState(handle);
    wait_sleeping(theirs);
    PyThreadState *made = PyThreadState_New(interp);
    CHECK_UINT_EQ(PyTState_Census(interp, all, 8), 3);
    const PyTState_ThreadInfo *mine = find(all, 3, 0, 1);
    CHECK_UINT_EQ(mine->thread_id, (unsigned long)pthread_self());
    CHECK_UINT_EQ(mine->native_thread_id, (unsigned long)getpid());
    CHECK_INT_EQ(mine->is_daemon, 0);
    CHECK_INT_EQ(mine->state, PyTState_ATTACHED);
    CHECK_INT_EQ(mine->guards, 0);
    CHECK_STR_EQ(mine->name, "");
    CHECK_STR_EQ(mine->created_at, "");
    CHECK_STR_EQ(mine->last_at, "");
    const PyTState_ThreadInfo *other = find(all, 3, 0, theirs->id);
    CHECK_UINT_EQ(other->thread_id, PyThreadHandle_Ident(handle));
    CHECK_INT_EQ(other->is_daemon, 1);
    CHECK_INT_EQ(other->state, PyTState_DETACHED);
    /* Newest first. */
    CHECK_UINT_EQ(all[0].id, PyThreadState_GetID(made));
    CHECK_UINT_EQ(all[2].id, 1);
    _PyEvent_Notify(&go);
    join_and_drop(handle);
    finish();
}

TEST("the census counts all, fills what there is room for, or nothing") {
    PyTState_ThreadInfo all[8];
    PyThreadState *main_state = begin();
    for (int i = 0; i < 4; i++)
        PyThreadState_New(main_state->interp);
    CHECK_UINT_EQ(PyTState_Census(main_state->interp, NULL, 0), 5);
    CHECK_UINT_EQ(PyTState_Census(main_state->interp, NULL, 8), 5);
    memset(all, 0x5A, sizeof all);
    CHECK_UINT_EQ(PyTState_Census(main_state->interp, all, 2), 5);
    CHECK_UINT_EQ(all[1].id, 4);
    CHECK_UINT_EQ(all[2].id, UINT64_C(0x5A5A5A5A5A5A5A5A));
    finish();
    CHECK_UINT_EQ(PyTState_Census(NULL, all, 8), 0);
}

TEST("the census of NULL covers all interpreters, that of one only itself") {
    PyTState_ThreadInfo all[8];
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_New(first->interp);
    CHECK_UINT_EQ(PyTState_Census(NULL, all, 8), 3);
    find(all, 3, 0, 1);
    find(all, 3, 1, 1);
    find(all, 3, 1, 2);
    CHECK_INT_EQ(find(all, 3, 1, 1)->state, PyTState_ATTACHED);
    CHECK_INT_EQ(find(all, 3, 0, 1)->state, PyTState_DETACHED);
    CHECK_UINT_EQ(PyTState_Census(main_state->interp, all, 8), 1);
    CHECK_UINT_EQ(PyTState_Census(first->interp, all, 8), 2);
    PyThreadState_Swap(main_state);
    finish();
}

static PyTState_ThreadInfo census_of(PyThreadState *state) {
    PyTState_ThreadInfo all[8];
    size_t n = PyTState_Census(state->interp, all, 8);
    return *find(all, n, PyInterpreterState_GetID(state->interp),
                 PyThreadState_GetID(state));
}

static int64_t coarse_step_ns(void) {
    struct timespec step;
    clock_getres(CLOCK_MONOTONIC_COARSE, &step);
    return step.tv_sec * 1000000000 + step.tv_nsec;
}

TEST("ages grow, and an attach or detach begins the time in a state anew") {
    PyThreadState *main_state = begin();
    const int64_t step = coarse_step_ns();
    int64_t made = test_now_ns();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    WAIT_UNTIL(census_of(one).age_ns > 3 * step, LIMIT_MS);
    PyTState_ThreadInfo before = census_of(one);
    CHECK_INT_LE(before.age_ns, test_now_ns() - made + 2 * step);
    CHECK_INT_GE(before.in_state_ns, before.age_ns - step);
    int64_t swapped = test_now_ns();
    PyThreadState_Swap(one);
    PyThreadState_Swap(main_state);
    PyTState_ThreadInfo after = census_of(one);
    CHECK_INT_GE(after.age_ns, before.age_ns);
    CHECK_INT_LE(after.in_state_ns, test_now_ns() - swapped + 2 * step);
    finish();
}

TEST("the census counts the open guards that a state took (2)") {
    PyThreadState *main_state = begin();
    PyInterpreterGuard *one = PyInterpreterGuard_FromCurrent();
    PyInterpreterGuard *two = PyInterpreterGuard_FromCurrent();
    CHECK_INT_EQ(census_of(main_state).guards, 2);
    PyInterpreterGuard_Close(one);
    CHECK_INT_EQ(census_of(main_state).guards, 1);
    PyInterpreterGuard_Close(two);
    CHECK_INT_EQ(census_of(main_state).guards, 0);
    finish();
}

static atomic_int stop;

static void come_and_go(void *interp) {
    while (!atomic_load(&stop)) {
        enter(interp);
        leave();
    }
}

TEST("a census is taken while states come and go") {
    struct peers peers = PEERS_INIT;
    PyTState_ThreadInfo all[64];
    PyThreadState *main_state = begin();
    peers_add(&peers, 3, come_and_go, main_state->interp);
    peers_start(&peers);
    PyEval_SaveThread();
    for (int i = 0; i < 2000; i++) {
        size_t n = PyTState_Census(NULL, all, 64);
        CHECK_UINT_LT(n, 5);
        find(all, n, 0, 1);
    }
    atomic_store(&stop, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- Names ------------------------------------------------------------ */

static void read_comm(long native, char *comm, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/comm", native);
    FILE *file = fopen(path, "r");
    CHECK_NOT_NULL(file);
    CHECK_NOT_NULL(fgets(comm, (int)size, file));
    fclose(file);
    comm[strcspn(comm, "\n")] = 0;
}

struct naming {
    const char *name;
    PyThreadState *_Atomic state;
    atomic_long native;
    PyEvent go;
};

static void name_myself(void *arg) {
    struct naming *naming = arg;
    if (naming->name != NULL)
        CHECK_INT_EQ(PyTState_SetName(PyThreadState_Get(), naming->name), 0);
    atomic_store(&naming->native, test_native_id());
    atomic_store(&naming->state, PyThreadState_Get());
    wait_for_event(&naming->go);
}

TEST("a started thread is named for the census and for the OS, by itself") {
    static struct naming naming = {.name = "db-pool-3-with-a-long-name"};
    char comm[64];
    begin();
    PyThreadHandle *handle = start(name_myself, &naming);
    WAIT_DETACHED(atomic_load(&naming.state) != NULL);
    CHECK_STR_EQ(census_of(naming.state).name, "db-pool-3-with-a-long-name");
    read_comm(atomic_load(&naming.native), comm, sizeof comm);
    CHECK_STR_EQ(comm, "db-pool-3-with-"); /* what the OS keeps of it */
    _PyEvent_Notify(&naming.go);
    join_and_drop(handle);
    finish();
}

TEST("... or by another one, and once more") {
    static struct naming naming;
    char comm[64];
    begin();
    PyThreadHandle *handle = start(name_myself, &naming);
    WAIT_DETACHED(atomic_load(&naming.state) != NULL);
    CHECK_INT_EQ(PyTState_SetName(naming.state, "first"), 0);
    CHECK_INT_EQ(PyTState_SetName(naming.state, "second"), 0);
    CHECK_STR_EQ(census_of(naming.state).name, "second");
    read_comm(atomic_load(&naming.native), comm, sizeof comm);
    CHECK_STR_EQ(comm, "second");
    CHECK_INT_EQ(PyTState_SetName(naming.state, ""), 0);
    CHECK_STR_EQ(census_of(naming.state).name, "");
    _PyEvent_Notify(&naming.go);
    join_and_drop(handle);
    finish();
}

TEST("a foreign thread keeps the name that the OS knows") {
    char before[64], after[64];
    PyThreadState *main_state = begin();
    read_comm(test_native_id(), before, sizeof before);
    CHECK_INT_EQ(PyTState_SetName(main_state, "only-here"), 0);
    read_comm(test_native_id(), after, sizeof after);
    CHECK_STR_EQ(after, before);
    CHECK_STR_EQ(census_of(main_state).name, "only-here");
    finish();
}

TEST("a name is cut to 63 bytes, and the cut is reported") {
    char name[80];
    PyThreadState *main_state = begin();
    memset(name, 'x', sizeof name);
    name[63] = 0;
    CHECK_INT_EQ(PyTState_SetName(main_state, name), 0);
    CHECK_STR_EQ(census_of(main_state).name, name);
    name[63] = 'y';
    name[64] = 0;
    CHECK_INT_EQ(PyTState_SetName(main_state, name), -1);
    check_raised(PyExc_ValueError, "63");
    name[63] = 0;
    CHECK_STR_EQ(census_of(main_state).name, name);
    finish();
}

TEST("a name does not outlive its state") {
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyTState_SetName(one, "short-lived");
    PyThreadState_Clear(one);
    CHECK_STR_EQ(census_of(one).name, "short-lived"); /* to Delete */
    PyThreadState_Delete(one);
    CHECK_STR_EQ(census_of(PyThreadState_New(main_state->interp)).name, "");
    finish();
}

/* ---- Places ----------------------------------------------------------- */

TEST("places say where a state was made, attached and detached (2)") {
    PyThreadState *main_state = begin();
    PyTState_Here("pool.c:88");
    PyThreadState *one = PyThreadState_New(main_state->interp);
    CHECK_STR_EQ(census_of(one).created_at, "pool.c:88");
    CHECK_STR_EQ(census_of(one).last_at, "");
    CHECK_STR_EQ(census_of(main_state).last_at, "");
    PyTState_Here("pool.c:131");
    PyEval_SaveThread();
    CHECK_STR_EQ(census_of(main_state).last_at, "pool.c:131");
    PyTState_Here("pool.c:140");
    PyEval_RestoreThread(main_state);
    CHECK_STR_EQ(census_of(main_state).last_at, "pool.c:140");
    PyEval_SaveThread(); /* a place is used once; the last one is kept */
    PyEval_RestoreThread(main_state);
    CHECK_STR_EQ(census_of(main_state).last_at, "pool.c:140");
    PyTState_Here("forgotten");
    PyTState_Here(NULL);
    PyEval_SaveThread();
    PyEval_RestoreThread(main_state);
    CHECK_STR_EQ(census_of(main_state).last_at, "pool.c:140");
    finish();
}

static void pass_a_place(void *arg) {
    (void)arg;
    PyTState_Here("other.c:1");
}

TEST("a place is of the thread that left it") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    peers_add(&peers, 1, pass_a_place, NULL);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    CHECK_STR_EQ(census_of(PyThreadState_New(main_state->interp)).created_at,
                 "");
    finish();
}

/* ---- Dumps ------------------------------------------------------------ */

static char dumped[16384];

/* What PyTState_DumpThreads prints, through a file. */
static const char *dump(void) {
    FILE *file = tmpfile();
    CHECK_NOT_NULL(file);
    PyTState_DumpThreads(fileno(file));
    rewind(file);
    dumped[fread(dumped, 1, sizeof dumped - 1, file)] = 0;
    fclose(file);
    return dumped;
}

TEST("a dump has a line for every state and every open guard") {
    char line[128];
    PyThreadState *main_state = begin();
    PyTState_SetName(main_state, "main");
    PyTState_Here("pool.c:88");
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyTState_SetName(one, "db-pool-3");
    PyTState_Here("host.c:7");
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    const char *text = dump();
    snprintf(line, sizeof line,
             "thread 'main' (tid %d, non-daemon, state 1 of interp 0, attached",
             (int)getpid());
    CHECK_STR_CONTAINS(text, line);
    CHECK_STR_CONTAINS(text, "holds 1 guard\n");
    snprintf(line, sizeof line,
             "thread 'db-pool-3' (tid %d, daemon, state 2 of interp 0, "
             "detached for 0.",
             (int)getpid());
    CHECK_STR_CONTAINS(text, line);
    CHECK_STR_CONTAINS(text, "s), created at pool.c:88\n");
    CHECK_STR_CONTAINS(text, "taken by thread 'main'");
    CHECK_STR_CONTAINS(text, "at host.c:7");
    CHECK_STR_LACKS(text, "waiting");
    PyInterpreterGuard_Close(guard);
    CHECK_STR_LACKS(dump(), "guard");
    finish();
    CHECK_STR_EQ(dump(), "");
}

TEST("a dump to a bad descriptor does nothing") {
    begin();
    PyTState_DumpThreads(-1);
    PyTState_DumpThreads(9999);
    finish();
}

static FILE *dump_file;
static atomic_int n_dumps;

static void dump_on_signal(int number) {
    (void)number;
    PyTState_DumpThreads(fileno(dump_file));
    atomic_fetch_add(&n_dumps, 1);
}

TEST("a signal handler may dump, whatever it interrupts (2)") {
    struct peers peers = PEERS_INIT;
    struct sigaction action = {.sa_handler = dump_on_signal,
                               .sa_flags = SA_RESTART};
    PyThreadState *main_state = begin();
    CHECK_NOT_NULL(dump_file = tmpfile());
    sigaction(SIGUSR1, &action, NULL);
    peers_add(&peers, 3, come_and_go, main_state->interp);
    peers_start(&peers);
    PyEval_SaveThread();
    /* Signals that come faster than they are handled are one. */
    for (int i = 0; atomic_load(&n_dumps) < 200; i++) {
        pthread_kill(peers.one[i % 3].thread, SIGUSR1);
        test_nap();
    }
    atomic_store(&stop, 1);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    rewind(dump_file);
    dumped[fread(dumped, 1, sizeof dumped - 1, dump_file)] = 0;
    CHECK_STR_CONTAINS(dumped, "state 1 of interp 0");
    finish();
}

TEST("a signal may interrupt whoever holds the runtime's own locks") {
    struct sigaction action = {.sa_handler = dump_on_signal};
    PyThreadState *main_state = begin();
    CHECK_NOT_NULL(dump_file = tmpfile());
    sigaction(SIGUSR1, &action, NULL);
    PyInterpreterGuard *guard = PyInterpreterGuard_FromCurrent();
    PyOS_BeforeFork(); /* the world is stopped, the lists are locked */
    raise(SIGUSR1);
    PyOS_AfterFork_Parent();
    CHECK_INT_EQ(atomic_load(&n_dumps), 1);
    PyInterpreterGuard_Close(guard);
    (void)main_state;
    finish();
}

/* ---- Phases, versions ------------------------------------------------- */

TEST("the phase of a running interpreter is RUNNING, of none it is GONE") {
    CHECK_INT_EQ(PyTState_ShutdownPhase(NULL), PyTState_PHASE_GONE);
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = main_state->interp;
    CHECK_INT_EQ(PyTState_ShutdownPhase(interp), PyTState_PHASE_RUNNING);
    finish();
    CHECK_INT_EQ(PyTState_ShutdownPhase(interp), PyTState_PHASE_GONE);
}

static void stay_detached(void *point) {
    PyEval_SaveThread();
    PyTState_Sync_Point(point); /* and nobody wakes it */
}

static void join_during_end(PyInterpreterState *interp, int phase, void *arg) {
    (void)interp;
    struct naming *naming = arg;
    if (phase != PyTState_PHASE_FINALIZING)
        return;
    /* The daemon is detached and not told of anything: not done. */
    PyThreadHandle *handle = (PyThreadHandle *)(void *)naming->name;
    int status = PyThreadHandle_Join(handle, 1 * MS);
    if (status == -1) {
        check_raised(PyExc_PythonFinalizationError, "join");
        status = 2;
    }
    atomic_store(&naming->native, status);
}

TEST("from 3.14 on, joining while the runtime ends is refused (S-JN-03)") {
    static const int all[][2] = {
        {0x030C0000, 1}, {0x030D0000, 1}, {0x030E0000, 2}, {0x030F0000, 2}};
    for (int i = 0; i < 4; i++) {
        static struct naming naming;
        PyTState_Config config = {.compat = all[i][0]};
        PyThreadState *main_state = begin_with(&config);
        char point[16];
        snprintf(point, sizeof point, "test.stay.%d", i);
        hold(point);
        PyThreadHandle *handle = start_in(main_state->interp, stay_detached,
                                          point, PyThreadHandle_DAEMON);
        wait_held(point);
        naming.name = (const char *)handle;
        PyTState_SetShutdownPhaseHook(join_during_end, &naming);
        finish();
        PyTState_SetShutdownPhaseHook(NULL, NULL);
        CHECK_INT_EQ(atomic_load(&naming.native), all[i][1]);
        PyThreadHandle_Decref(handle);
    }
}

TEST("a version in the environment that is none is ignored") {
    static const char *const bad[] = {"", "3.11", "3.16", "junk", "3.140"};
    for (int i = 0; i < 5; i++) {
        EXPECT_FATAL("PyThread_release_lock", "not locked") {
            setenv("PYTSTATE_COMPAT", bad[i], 1);
            begin();
            PyThread_release_lock(PyThread_allocate_lock()); /* as in 3.15 */
        }
    }
}

TEST("the host's setting goes before the environment") {
    setenv("PYTSTATE_COMPAT", "3.13", 1);
    PyTState_Config config = {.compat = 0x030E0000};
    PyThreadState *main_state = begin_with(&config);
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_New(first->interp);
    Py_EndInterpreter(first); /* gives the other one up */
    PyEval_RestoreThread(main_state);
    finish();
}
