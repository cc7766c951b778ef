/* Late attach: what a thread meets that wants to run after the end. By which
 * call: test_late_ways.c. */
#include "late_host.h"

#include <stdlib.h>

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
    EXPECT_FATAL("PyTState_LATE_ABORT",
                 "after its interpreter was finalized: 'latecomer'") {
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
