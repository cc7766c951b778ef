/* Late attach: what a thread meets that wants to run after the end. */
#include "host.h"

#include <stdlib.h>

/* ---- A daemon that comes too late ------------------------------------- */

/* One thread that is held, detached, while the runtime is finalized. */
struct late {
    void (*attach)(struct late *); /* the call that comes too late */
    PyThreadState *state;
    PyEvent *exit_event;
    atomic_long native;
    PyThreadHandle *handle;
    pthread_t foreign;
};

static pthread_key_t key;
static atomic_int n_destroyed, n_met, n_survived;

static void count_destroyed(void *value) {
    (void)value;
    atomic_fetch_add(&n_destroyed, 1);
}

static void count_met(const char *point, void *arg) {
    (void)point, (void)arg;
    atomic_fetch_add(&n_met, 1);
}

static void come_late(void *arg) {
    struct late *late = arg;
    pthread_setspecific(key, late);
    late->state = PyThreadState_Get();
    late->exit_event = PyTState_GetExitEvent(late->state);
    PyTState_SetName(late->state, "latecomer");
    atomic_store(&late->native, test_native_id());
    late->attach(late);
    atomic_fetch_add(&n_survived, 1);
}

/* Saves, is held at a point of the test's, then restores. */
static void restore(struct late *late) {
    PyEval_SaveThread();
    PyTState_Sync_Point("test.late");
    PyEval_RestoreThread(late->state);
}

static void prepare(void) {
    pthread_key_create(&key, count_destroyed);
    PyTState_Sync_Hook("late_attach.met", count_met, NULL);
    hold("test.late");
}

/* Starts the daemon, finalizes while it is held, and lets it go. */
static void make_late(struct late *late) {
    late->handle = start_in(PyInterpreterState_Get(), come_late, late,
                            PyThreadHandle_DAEMON);
    wait_held("test.late");
    finish();
    CHECK_INT_EQ(_PyEvent_IsSet(late->exit_event), 1);
    let_go("test.late");
}

static void check_hung(struct late *late) {
    /* Under the rules of 3.14 a join is refused until then: S-JN-03. */
    WAIT_UNTIL(PyThreadHandle_IsDone(late->handle), LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_met), 1);
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, LIMIT), 0);
    CHECK_NULL(PyThreadHandle_ThreadState(late->handle));
    long native = atomic_load(&late->native);
    WAIT_UNTIL(test_thread_sleeps(native), LIMIT_MS); /* uses no CPU */
    CHECK_INT_EQ(test_thread_exists(native), 1);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_destroyed), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, FOREVER), 0);
    PyThreadHandle_Decref(late->handle);
    PyTState_ReleaseExitEvent(late->exit_event);
}

static void check_ended(struct late *late) {
    WAIT_UNTIL(PyThreadHandle_IsDone(late->handle), LIMIT_MS);
    CHECK_INT_EQ(PyThreadHandle_Join(late->handle, LIMIT), 0);
    CHECK_INT_EQ(test_thread_exists(atomic_load(&late->native)), 0);
    CHECK_INT_EQ(atomic_load(&n_met), 1);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_destroyed), 1);
    PyThreadHandle_Decref(late->handle);
    PyTState_ReleaseExitEvent(late->exit_event);
}

TEST("by default a late thread hangs, asleep, and can be joined (S-DT-03)") {
    struct late late = {.attach = restore};
    prepare();
    begin();
    make_late(&late);
    check_hung(&late);
}

TEST("with EXIT it ends, its thread-local destructors run (S-DT-02)") {
    struct late late = {.attach = restore};
    prepare();
    begin();
    CHECK_INT_EQ(PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT), 0);
    make_late(&late);
    check_ended(&late);
}

TEST("the settings choose the policy, and the rules of 3.12 mean EXIT (5.3)") {
    static const struct {
        PyTState_Config config;
        int ends;
    } all[] = {
        {{.compat = 0x030C0000}, 1},
        {{.compat = 0x030D0000}, 0},
        {{.compat = 0x030F0000}, 0},
        {{.late_attach = PyTState_LATE_EXIT}, 1},
        {{.compat = 0x030E0000, .late_attach = PyTState_LATE_EXIT}, 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        EXPECT_CHILD_EXIT(0) {
            struct late late = {.attach = restore};
            prepare();
            begin_with(&all[i].config);
            make_late(&late);
            if (all[i].ends)
                check_ended(&late);
            else
                check_hung(&late);
        }
    EXPECT_CHILD_EXIT(0) {
        struct late late = {.attach = restore};
        PyTState_Config config = {.compat = 0x030C0000};
        prepare();
        begin_with(&config);
        CHECK_INT_EQ(PyTState_SetLateAttachPolicy(PyTState_LATE_HANG), 0);
        make_late(&late);
        check_hung(&late);
    }
}

static void restore_and_die(struct late *late) {
    PyEval_SaveThread();
    i_die();
    PyTState_Sync_Point("test.late");
    PyEval_RestoreThread(late->state);
}

TEST("with ABORT it ends the process, by name") {
    EXPECT_FATAL("attach", "after its interpreter was finalized: 'latecomer'") {
        struct late late = {.attach = restore_and_die};
        prepare();
        begin();
        CHECK_INT_EQ(PyTState_SetLateAttachPolicy(PyTState_LATE_ABORT), 0);
        make_late(&late);
        for (;;)
            pause();
    }
}

TEST("an unknown policy is refused") {
    begin();
    const int bad[] = {-1, 3, 99};
    for (int i = 0; i < 3; i++) {
        CHECK_INT_EQ(PyTState_SetLateAttachPolicy(bad[i]), -1);
        check_raised(PyExc_ValueError, "policy");
    }
    finish();
}

/* ---- The hook --------------------------------------------------------- */

struct choice {
    int policy;
    atomic_int calls;
    PyThreadState *_Atomic state;
};

static int choose(PyThreadState *state, void *data) {
    struct choice *choice = data;
    CHECK_NULL(PyThreadState_GetUnchecked());
    atomic_store(&choice->state, state);
    atomic_fetch_add(&choice->calls, 1);
    return choice->policy;
}

static int leave_myself(PyThreadState *state, void *data) {
    choose(state, data);
    pthread_exit(NULL); /* the hook need not return */
}

TEST("a hook chooses for each thread, before the policy (5.1)") {
    EXPECT_CHILD_EXIT(0) {
        struct choice choice = {.policy = PyTState_LATE_EXIT};
        struct late late = {.attach = restore};
        prepare();
        begin();
        PyTState_SetLateAttachPolicy(PyTState_LATE_ABORT);
        PyTState_SetLateAttachHook(choose, &choice);
        make_late(&late);
        check_ended(&late);
        CHECK_INT_EQ(atomic_load(&choice.calls), 1);
        CHECK_PTR_EQ(atomic_load(&choice.state), late.state);
    }
    EXPECT_CHILD_EXIT(0) {
        struct choice choice = {.policy = 77}; /* unknown: it hangs */
        struct late late = {.attach = restore};
        prepare();
        begin();
        PyTState_SetLateAttachHook(choose, &choice);
        make_late(&late);
        check_hung(&late);
        CHECK_INT_EQ(atomic_load(&choice.calls), 1);
    }
    EXPECT_CHILD_EXIT(0) {
        struct choice choice = {.policy = PyTState_LATE_HANG};
        struct late late = {.attach = restore};
        prepare();
        begin();
        PyTState_SetLateAttachHook(leave_myself, &choice);
        make_late(&late);
        check_ended(&late);
        CHECK_INT_EQ(atomic_load(&choice.calls), 1);
    }
}

/* ---- Every way to come late ------------------------------------------- */

static PyMutex mutex;
static PyEvent event;
static PyThreadHandle *other;

static void acquire(struct late *late) {
    PyEval_ReleaseThread(late->state);
    PyTState_Sync_Point("test.late");
    PyEval_AcquireThread(late->state);
}

static void swap(struct late *late) {
    PyThreadState_Swap(NULL);
    PyTState_Sync_Point("test.late");
    PyThreadState_Swap(late->state);
}

static void attach(struct late *late) {
    _PyThreadState_Detach(late->state);
    PyTState_Sync_Point("test.late");
    _PyThreadState_Attach(late->state);
}

static void ensure(struct late *late) {
    (void)late;
    PyEval_SaveThread();
    PyTState_Sync_Point("test.late");
    PyGILState_Ensure();
}

static void lock_mutex(struct late *late) {
    (void)late;
    PyMutex_Lock(&mutex); /* held by the main thread, to the end */
}

static void wait_event(struct late *late) {
    (void)late;
    PyEvent_Wait(&event);
}

static void wait_event_timed(struct late *late) {
    (void)late;
    PyEvent_WaitTimed(&event, LIMIT, 1);
}

static void join_other(struct late *late) {
    (void)late;
    PyThreadHandle_Join(other, FOREVER);
}

static void stay(void *started) {
    _PyEvent_Notify(started);
    PyEvent_Wait(&event);
}

/* At a step of the thread's own start. */
static void nothing(struct late *late) { (void)late; }

static const struct {
    const char *name;
    void (*attach)(struct late *);
    const char *held_at; /* where it is when the runtime ends */
    int skips;           /* it just ends: S-HD-08 */
} ways[] = {
    {"RestoreThread", restore, "test.late", 0},
    {"AcquireThread", acquire, "test.late", 0},
    {"Swap", swap, "test.late", 0},
    {"_Attach", attach, "test.late", 0},
    {"PyGILState_Ensure", ensure, "test.late", 0},
    {"PyMutex_Lock", lock_mutex, NULL, 0},
    {"PyEvent_Wait", wait_event, NULL, 0},
    {"PyEvent_WaitTimed", wait_event_timed, NULL, 0},
    {"join", join_other, NULL, 0},
    {"the start, before it is bound", nothing, "thread.entry", 1},
    {"the start, before it attaches", nothing, "thread.bound", 0},
};

static void check_way(size_t i) {
    struct late late = {.attach = ways[i].attach};
    const char *held_at = ways[i].held_at;
    if (held_at != NULL && strcmp(held_at, "test.late") != 0)
        hold(held_at);
    begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    PyMutex_Lock(&mutex);
    if (ways[i].attach == join_other) {
        static PyEvent started;
        other = start_in(PyInterpreterState_Get(), stay, &started,
                         PyThreadHandle_DAEMON);
        wait_for_event(&started);
    }
    late.handle = start_in(PyInterpreterState_Get(), come_late, &late,
                           PyThreadHandle_DAEMON);
    if (held_at != NULL)
        wait_held(held_at);
    else
        wait_asleep(&late.native);
    finish();
    if (held_at != NULL)
        let_go(held_at);
    PyMutex_Unlock(&mutex);
    _PyEvent_Notify(&event);
    if (PyThreadHandle_Join(late.handle, LIMIT) != 0)
        FAIL("%s: the thread does not end", ways[i].name);
    if (other != NULL)
        CHECK_INT_EQ(PyThreadHandle_Join(other, LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_met), 1 - ways[i].skips + (other != NULL));
    CHECK_INT_EQ(test_thread_count(), 1);
}

TEST("whichever call attaches, a late thread does not come back (S-DT-09)") {
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        EXPECT_CHILD_EXIT(0) {
            prepare();
            NOTE("%s", ways[i].name);
            check_way(i);
        }
}

TEST("a thread that waits for the GIL does not get it any more (S-GIL-15)") {
    NEEDS_GIL();
    struct late late = {.attach = restore};
    PyThreadState *main_state = begin();
    prepare();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    late.handle =
        start_in(main_state->interp, come_late, &late, PyThreadHandle_DAEMON);
    wait_held("test.late");
    hold("gil.wait");
    let_go("test.late"); /* it finds the GIL taken: this thread has it */
    CHECK_INT_EQ(PyTState_Sync_WaitParked("gil.wait", LIMIT), 0);
    let_go("gil.wait");
    WAIT_UNTIL(test_thread_sleeps(atomic_load(&late.native)), LIMIT_MS);
    finish();
    check_ended(&late);
}

/* ---- Foreign threads -------------------------------------------------- */

static void *foreign_body(void *arg) {
    struct late *late = arg;
    enter(PyInterpreterState_Main());
    come_late(late);
    return NULL;
}

TEST("a foreign thread with a state meets the policy as well (S-DT-01)") {
    static struct late late = {.attach = restore};
    begin();
    prepare();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    pthread_create(&late.foreign, NULL, foreign_body, &late);
    wait_held("test.late");
    finish();
    CHECK_INT_EQ(_PyEvent_IsSet(late.exit_event), 1);
    let_go("test.late");
    pthread_join(late.foreign, NULL);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_destroyed), 1);
    PyTState_ReleaseExitEvent(late.exit_event);
}

static void *ensure_without_state(void *arg) {
    pthread_setspecific(key, arg);
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyGILState_Ensure();
    atomic_fetch_add(&n_survived, 1);
    return NULL;
}

TEST("Ensure of a thread without a state is late after the end (S-GS-17)") {
    struct choice choice = {.policy = PyTState_LATE_EXIT};
    pthread_t thread;
    begin();
    prepare();
    PyTState_SetLateAttachHook(choose, &choice);
    finish();
    pthread_create(&thread, NULL, ensure_without_state, &choice);
    pthread_join(thread, NULL);
    CHECK_INT_EQ(atomic_load(&choice.calls), 1);
    CHECK_NULL(atomic_load(&choice.state));
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
    CHECK_INT_EQ(atomic_load(&n_destroyed), 1);
}

static void look_around(void *interp) {
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_INT_EQ(PyGILState_Check(), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    CHECK_INT_EQ(Py_IsFinalizing(), 1);
    CHECK_NULL(PyInterpreterState_Main());
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_New(interp));
    CHECK_INT_EQ(PyTState_ShutdownPhase(interp), PyTState_PHASE_GONE);
    CHECK_UINT_EQ(PyTState_Census(NULL, NULL, 0), 0);
    CHECK_UINT_EQ(PyTState_Census(interp, NULL, 0), 0);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, LIMIT, NULL, 0, NULL), 0);
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_Start(handle, interp, do_nothing, NULL, 0), -1);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), -1);
    PyThreadHandle_Decref(handle);
    PyInterpreterView *view = PyInterpreterView_FromMain();
    if (view != NULL) { /* either is allowed: S-G8-11 */
        CHECK_NULL(PyInterpreterGuard_FromView(view));
        CHECK_NULL(PyThreadState_EnsureFromView(view));
        PyInterpreterView_Close(view);
    }
    PyMutex m = {0};
    PyMutex_Lock(&m); /* locks need no runtime: S-MX-08 */
    PyMutex_Unlock(&m);
}

TEST("after the end, every call has a clear outcome, on every thread") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = main_state->interp;
    finish();
    look_around(interp);
    peers_add(&peers, 2, look_around, interp);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
}

TEST("the main thread's own state is gone after the end, and says so") {
    EXPECT_FATAL("PyEval_RestoreThread", "was deleted") {
        PyThreadState *main_state = begin();
        finish();
        PyEval_RestoreThread(main_state);
    }
    EXPECT_FATAL("PyThreadState_Delete", "was deleted before") {
        PyThreadState *main_state = begin();
        finish();
        PyThreadState_Delete(main_state);
    }
}

/* ---- The next life ---------------------------------------------------- */

TEST("a late thread of the last life does not come back in the next one") {
    struct late late = {.attach = restore};
    prepare();
    begin();
    PyTState_SetLateAttachPolicy(PyTState_LATE_EXIT);
    late.handle = start_in(PyInterpreterState_Get(), come_late, &late,
                           PyThreadHandle_DAEMON);
    wait_held("test.late");
    finish();
    for (int life = 0; life < 3; life++) {
        begin();
        for (int i = 0; i < 50; i++) /* its state's block is not used again */
            CHECK_PTR_NE(PyThreadState_New(PyInterpreterState_Get()),
                         late.state);
        finish();
    }
    begin();
    let_go("test.late");
    PyThreadState *mine = PyEval_SaveThread();
    CHECK_INT_EQ(PyThreadHandle_Join(late.handle, LIMIT), 0);
    PyEval_RestoreThread(mine);
    check_ended(&late);
    finish();
}

static void *two_lives(void *arg) {
    (void)arg;
    PyThreadState *first = enter(PyInterpreterState_Main());
    PyEvent *gone = PyTState_GetExitEvent(first);
    PyEval_SaveThread();
    PyTState_Sync_Point("test.first_life");
    /* It was given up, and it is not in this thread's slot any more. */
    CHECK_INT_EQ(_PyEvent_IsSet(gone), 1);
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyTState_ReleaseExitEvent(gone);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_EQ(PyInterpreterState_Get(), PyInterpreterState_Main());
    PyGILState_Release(token);
    return NULL;
}

TEST("a foreign thread of the last life may ensure anew in the next one") {
    pthread_t thread;
    begin();
    hold("test.first_life");
    pthread_create(&thread, NULL, two_lives, NULL);
    wait_held("test.first_life");
    finish();
    PyThreadState *main_state = begin();
    let_go("test.first_life");
    PyEval_SaveThread();
    pthread_join(thread, NULL);
    PyEval_RestoreThread(main_state);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

TEST("lives go on while threads of earlier ones hang") {
    enum { N = 20 };
    static struct late all[N];
    prepare();
    for (int life = 0; life < N; life++) {
        all[life].attach = restore;
        hold("test.late");
        begin();
        all[life].handle = start_in(PyInterpreterState_Get(), come_late,
                                    &all[life], PyThreadHandle_DAEMON);
        wait_held("test.late");
        finish();
        PyTState_ReleaseExitEvent(all[life].exit_event);
        let_go("test.late");
        CHECK_INT_EQ(PyThreadHandle_Join(all[life].handle, LIMIT), 0);
        PyThreadHandle_Decref(all[life].handle);
    }
    WAIT_UNTIL(atomic_load(&n_met) == N, LIMIT_MS);
    CHECK_INT_EQ(test_thread_count(), N + 1);
    CHECK_INT_EQ(atomic_load(&n_survived), 0);
}

/* ---- A sub-interpreter that ends -------------------------------------- */

TEST("threads left in an ended sub-interpreter are late too (S-EI-04)") {
    struct late late = {.attach = restore};
    PyTState_Config config = {.compat = 0x030E0000,
                              .late_attach = PyTState_LATE_EXIT};
    prepare();
    PyThreadState *main_state = begin_with(&config);
    for (int gil = 1; gil <= 3; gil++) {
        atomic_store(&n_met, 0);
        atomic_store(&n_destroyed, 0);
        hold("test.late");
        PyThreadState *first = new_interp(gil);
        late.handle =
            start_in(first->interp, come_late, &late, PyThreadHandle_DAEMON);
        wait_held("test.late");
        Py_EndInterpreter(first);
        CHECK_INT_EQ(_PyEvent_IsSet(late.exit_event), 1);
        CHECK_INT_EQ(Py_IsFinalizing(), 0);
        let_go("test.late");
        check_ended(&late);
        PyEval_RestoreThread(main_state);
    }
    finish();
}
