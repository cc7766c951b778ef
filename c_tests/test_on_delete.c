/* on_delete, exit_event: what is told of a state's end, when, and by whom. */
#include "host.h"

/* What one hook saw. */
struct told {
    atomic_int calls;
    PyThreadState *of; /* whose hook it is */
    PyThreadState *attached;
    unsigned long by;
    int linked, event_set, n_deleted_at_call;
};

static void tell(void *data) {
    struct told *told = data;
    told->attached = PyThreadState_GetUnchecked();
    told->by = (unsigned long)pthread_self();
    told->linked = is_linked(told->of->interp, told->of);
    told->event_set = _PyEvent_IsSet(told->of->exit_event);
    atomic_fetch_add(&told->calls, 1);
}

static void watch(PyThreadState *state, struct told *told) {
    told->of = state;
    state->on_delete = tell;
    state->on_delete_data = told;
}

/* Called once, attached, the state linked, its event not set yet. */
static void check_told(struct told *told, PyThreadState *attached,
                       unsigned long by) {
    CHECK_INT_EQ(atomic_load(&told->calls), 1);
    CHECK_PTR_EQ(told->attached, attached);
    CHECK_UINT_EQ(told->by, by);
    CHECK_INT_EQ(told->linked, 1);
    CHECK_INT_EQ(told->event_set, 0);
}

/* ---- The hook --------------------------------------------------------- */

TEST("the hook runs in Clear, then the event is set, then comes Delete") {
    struct told told = {0};
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    watch(one, &told);
    PyEvent *event = PyTState_GetExitEvent(one);
    CHECK_PTR_EQ(event, one->exit_event);
    CHECK_INT_EQ(_PyEvent_IsSet(event), 0);
    PyThreadState_Clear(one);
    check_told(&told, main_state, (unsigned long)pthread_self());
    CHECK_INT_EQ(_PyEvent_IsSet(event), 1);
    CHECK_INT_EQ(is_linked(main_state->interp, one), 1); /* until Delete */
    PyThreadState_Delete(one);
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(atomic_load(&told.calls), 1);
    CHECK_INT_EQ(_PyEvent_IsSet(event), 1); /* it outlives the state */
    PyTState_ReleaseExitEvent(event);
    finish();
}

static struct {
    const char *name[16];
    int n;
} passed;

static void note_point(const char *point, void *arg) {
    (void)arg;
    if (passed.n < 16)
        passed.name[passed.n++] = point;
}

static void note_hook(void *arg) { note_point("(hook)", arg); }

TEST("the order of a thread's end is the documented one (S-DL-01)") {
    static const char *const wanted[] = {
        "clear.begin",     "on_delete.before", "(hook)",
        "on_delete.after", "exit_event.set",   "clear.done",
        "delete.begin",    "delete.unlinked",  "delete.gil_released",
        "delete.done"};
    PyThreadState *main_state = begin();
    for (int i = 0; i < 10; i++)
        if (i != 2)
            CHECK_INT_EQ(PyTState_Sync_Hook(wanted[i], note_point, NULL), 0);
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(one);
    one->on_delete = note_hook;
    leave();
    CHECK_INT_EQ(passed.n, 10);
    for (int i = 0; i < 10; i++)
        CHECK_STR_EQ(passed.name[i], wanted[i]);
    PyTState_Sync_Clear();
    PyEval_RestoreThread(main_state);
    finish();
}

static void look_at_references(void *state) {
    PyThreadState *mine = state;
    CHECK_NULL(mine->dict);
    CHECK_NULL(mine->async_exc);
    CHECK_NULL(mine->current_exception);
    PyErr_SetString(PyExc_RuntimeError, "left behind by the hook");
}

TEST("the hook comes after the references; an error it leaves is dropped") {
    static int object;
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(one);
    one->dict = one->async_exc = (PyObject *)(void *)&object;
    PyErr_SetString(PyExc_ValueError, "of the state");
    one->on_delete = look_at_references;
    one->on_delete_data = one;
    PyThreadState_Clear(one);
    CHECK_NULL(one->current_exception);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(main_state);
    finish();
}

struct request {
    PyThreadState *state;
    struct told told;
    unsigned long by;
};

static void clear_it(void *arg) {
    struct request *request = arg;
    request->by = (unsigned long)pthread_self();
    PyThreadState *mine = enter(PyInterpreterState_Main());
    PyThreadState_Clear(request->state);
    check_told(&request->told, mine, request->by);
    PyThreadState_Delete(request->state);
    leave();
}

TEST("the hook is called by the thread that clears, with its state attached") {
    struct request request = {0};
    struct peers peers = PEERS_INIT;
    begin();
    request.state = PyThreadState_New(PyInterpreterState_Get());
    watch(request.state, &request.told);
    peers_add(&peers, 1, clear_it, &request);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_NE(request.told.by, (unsigned long)pthread_self());
    CHECK_INT_EQ(atomic_load(&request.told.calls), 1);
    finish();
}

static void ensure_in_hook(void *calls) {
    PyThreadState *mine = PyThreadState_Get();
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_LOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyGILState_Release(token);
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
    PyThreadState *more = PyThreadState_New(mine->interp);
    PyThreadState_Clear(more);
    PyThreadState_Delete(more);
    ++*(int *)calls;
}

TEST("the hook may ensure, detach and make states (S-DL-05)") {
    int calls = 0;
    PyThreadState *main_state = begin();
    PyEval_SaveThread();
    PyThreadState *mine = PyThreadState_New(main_state->interp);
    PyEval_RestoreThread(mine);
    mine->on_delete = ensure_in_hook;
    mine->on_delete_data = &calls;
    leave();
    CHECK_INT_EQ(calls, 1);
    PyEval_RestoreThread(main_state);
    finish();
}

static void ensure_with_hook(void *arg) {
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    mine->on_delete = ensure_in_hook;
    mine->on_delete_data = arg;
    PyGILState_Release(token); /* S-GS-10: the hook may nest */
    CHECK_INT_EQ(*(int *)arg, 1);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("the last PyGILState_Release calls the hook, in which Ensure nests") {
    int calls = 0;
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 1, ensure_with_hook, &calls);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void set_again(void *arg) {
    PyThreadState *mine = PyThreadState_Get();
    mine->on_delete = set_again;
    mine->on_delete_data = arg;
    ++*(int *)arg;
}

TEST("a hook that sets itself again is still called once") {
    int calls = 0;
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(one);
    one->on_delete = set_again;
    one->on_delete_data = &calls;
    leave();
    CHECK_INT_EQ(calls, 1);
    PyEval_RestoreThread(main_state);
    finish();
    CHECK_INT_EQ(calls, 1);
}

static void watch_myself(void *arg) { watch(PyThreadState_Get(), arg); }

TEST("a started thread's hook runs once, at its end, on that thread") {
    struct told told = {0};
    begin();
    PyThreadHandle *handle = start(watch_myself, &told);
    join(handle);
    check_told(&told, told.of, (unsigned long)PyThreadHandle_Ident(handle));
    CHECK_UINT_NE(told.by, (unsigned long)pthread_self());
    PyThreadHandle_Decref(handle);
    finish();
    CHECK_INT_EQ(atomic_load(&told.calls), 1);
}

TEST("the first state of a sub-interpreter is told of when that ends") {
    struct told told = {0};
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    watch(first, &told);
    PyEvent *event = PyTState_GetExitEvent(first);
    Py_EndInterpreter(first);
    check_told(&told, first, (unsigned long)pthread_self());
    CHECK_INT_EQ(_PyEvent_IsSet(event), 1);
    PyTState_ReleaseExitEvent(event);
    PyEval_RestoreThread(main_state);
    finish();
}

static void watch_and_stay(void *told) {
    watch(PyThreadState_Get(), told);
    PyEval_SaveThread();
    PyTState_Sync_Point("test.stay"); /* and nobody wakes it */
}

TEST("finalization tells of every state that is left, once, itself") {
    static struct told host, mine, daemon;
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    watch(one, &host);
    watch(main_state, &mine);
    PyEvent *events[] = {PyTState_GetExitEvent(one),
                         PyTState_GetExitEvent(main_state)};
    hold("test.stay");
    PyThreadHandle *handle = start_in(main_state->interp, watch_and_stay,
                                      &daemon, PyThreadHandle_DAEMON);
    wait_held("test.stay");
    finish();
    unsigned long me = (unsigned long)pthread_self();
    CHECK_INT_EQ(atomic_load(&host.calls), 1);
    CHECK_UINT_EQ(host.by, me);
    CHECK_INT_EQ(host.event_set, 0);
    CHECK_INT_EQ(atomic_load(&daemon.calls), 1);
    CHECK_UINT_EQ(daemon.by, me);
    check_told(&mine, main_state, me);
    for (int i = 0; i < 2; i++) {
        CHECK_INT_EQ(_PyEvent_IsSet(events[i]), 1);
        PyTState_ReleaseExitEvent(events[i]);
    }
    PyThreadHandle_Decref(handle);
}

/* ---- The event -------------------------------------------------------- */

static atomic_int n_woken;

static atomic_int n_waiting;

static void count_waiter(const char *point, void *arg) {
    (void)point, (void)arg;
    atomic_fetch_add(&n_waiting, 1);
}

static void nobody_woke(void *arg) {
    (void)arg;
    CHECK_INT_EQ(atomic_load(&n_woken), 0);
}

static void wait_on(void *event) {
    CHECK_INT_EQ(PyEvent_WaitTimed(event, LIMIT, 1), 1);
    atomic_fetch_add(&n_woken, 1);
}

static void wait_on_for_ever(void *event) {
    PyEvent_Wait(event);
    atomic_fetch_add(&n_woken, 1);
}

static void wait_attached(void *event) {
    enter(PyInterpreterState_Main());
    wait_on(event);
    leave();
}

static void hold_the_hook(void *arg) {
    (void)arg;
    PyTState_Sync_Point("test.in_hook");
}

TEST("all who wait wake when the event is set, none while the hook runs") {
    struct peers peers = PEERS_INIT;
    begin();
    PyThreadState *one = PyThreadState_New(PyInterpreterState_Get());
    one->on_delete = nobody_woke;
    PyEvent *event = PyTState_GetExitEvent(one);
    peers_add(&peers, 10, wait_on, event);
    peers_add(&peers, 5, wait_on_for_ever, event);
    peers_add(&peers, 5, wait_attached, event);
    PyTState_Sync_Hook("event.wait", count_waiter, NULL);
    peers_start(&peers);
    WAIT_DETACHED(atomic_load(&n_waiting) == 20);
    CHECK_INT_EQ(PyEvent_WaitTimed(event, 1 * MS, 1), 0);
    CHECK_INT_EQ(atomic_load(&n_woken), 0);
    PyThreadState_Clear(one);
    PyThreadState_Delete(one);
    join_peers(&peers); /* the state is gone, its event is not */
    CHECK_INT_EQ(atomic_load(&n_woken), 20);
    PyTState_ReleaseExitEvent(event);
    PyTState_Sync_Clear();
    finish();
}

static void end_in_hook_of(void *unused) {
    (void)unused;
    PyThreadState *mine = enter(PyInterpreterState_Main());
    mine->on_delete = hold_the_hook;
    leave();
}

TEST("a waiter with a deadline gives up while the hook still runs") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    hold("test.in_hook");
    PyEval_SaveThread();
    peers_add(&peers, 1, end_in_hook_of, NULL);
    peers_start(&peers);
    wait_held("test.in_hook"); /* the peer holds the GIL there */
    PyTState_ThreadInfo all[2];
    CHECK_UINT_EQ(PyTState_Census(main_state->interp, all, 2), 2);
    PyThreadState *one = PyInterpreterState_ThreadHead(main_state->interp);
    PyEvent *event = PyTState_GetExitEvent(one);
    int64_t begun = test_now_ns();
    CHECK_INT_EQ(PyEvent_WaitTimed(event, 20 * MS, 1), 0);
    CHECK_INT_GE(test_now_ns() - begun, 20 * MS);
    let_go("test.in_hook");
    CHECK_INT_EQ(PyEvent_WaitTimed(event, LIMIT, 1), 1);
    peers_join(&peers, LIMIT_MS);
    PyTState_ReleaseExitEvent(event);
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("an event is kept by its references alone, also past the next life") {
    PyEvent *events[64];
    begin();
    PyThreadState *one = PyThreadState_New(PyInterpreterState_Get());
    for (int i = 0; i < 64; i++)
        CHECK_PTR_EQ(events[i] = PyTState_GetExitEvent(one), one->exit_event);
    PyThreadState_Clear(one);
    PyThreadState_Delete(one);
    for (int i = 0; i < 300; i++) { /* the block must not be used again */
        PyThreadState *next = PyThreadState_New(PyInterpreterState_Get());
        CHECK_PTR_NE(next->exit_event, events[0]);
        CHECK_INT_EQ(_PyEvent_IsSet(next->exit_event), 0);
        if (i % 2 == 0) {
            PyThreadState_Clear(next);
            PyThreadState_Delete(next);
        }
    }
    finish();
    CHECK_INT_EQ(_PyEvent_IsSet(events[0]), 1);
    begin();
    for (int i = 0; i < 64; i++) {
        CHECK_INT_EQ(PyEvent_WaitTimed(events[i], 0, 1), 1);
        PyTState_ReleaseExitEvent(events[i]);
    }
    PyTState_ReleaseExitEvent(NULL); /* nothing */
    finish();
}

TEST("a state that is never cleared never sets its event") {
    begin();
    PyThreadState *one = PyThreadState_New(PyInterpreterState_Get());
    PyEvent *event = PyTState_GetExitEvent(one);
    CHECK_INT_EQ(PyEvent_WaitTimed(event, 5 * MS, 1), 0);
    CHECK_INT_EQ(PyEvent_WaitTimed(event, 0, 1), 0);
    finish(); /* gives it up, and says so */
    CHECK_INT_EQ(_PyEvent_IsSet(event), 1);
    PyTState_ReleaseExitEvent(event);
}
