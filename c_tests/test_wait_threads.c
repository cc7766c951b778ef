/* Waiting until the threads of an interpreter are gone: whom, until when. */
#include "host.h"

static int wait_for(PyInterpreterState *interp, PyTime_t timeout_ns) {
    return PyTState_WaitForThreads(interp, timeout_ns, NULL, 0, NULL);
}

/* ---- Until when: unlinked, and the OS thread gone --------------------- */

static atomic_long native;

static void note_native(void *arg) {
    (void)arg;
    atomic_store(&native, test_native_id());
}

static const char *const steps[] = {
    "thread.entry",        "thread.bound",     "thread.func.begin",
    "thread.func.end",     "clear.begin",      "exit_event.set",
    "clear.done",          "delete.begin",     "delete.unlinked",
    "delete.gil_released", "delete.done",      "thread.state_deleted",
    "thread.tail",         "thread.event_set",
};

static void check_waited_for_at(const char *step) {
    PyTState_ThreadInfo one[2];
    size_t n = 99;
    PyInterpreterState *interp = PyInterpreterState_Get();
    hold(step);
    PyThreadHandle *handle = start(note_native, NULL);
    unsigned long ident = (unsigned long)PyThreadHandle_Ident(handle);
    PyThreadState *mine = PyEval_SaveThread();
    wait_held(step);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 2 * MS, one, 2, &n), 1);
    CHECK_UINT_EQ(n, 1);
    if (one[0].thread_id != 0) /* 0 before it is bound */
        CHECK_UINT_EQ(one[0].thread_id, ident);
    CHECK_INT_EQ(one[0].is_daemon, 0);
    CHECK_INT_EQ(one[0].interp_id, 0);
    CHECK_INT_EQ(wait_for(interp, 0), 1);
    let_go(step);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, LIMIT, one, 2, &n), 0);
    CHECK_UINT_EQ(n, 0);
    CHECK_INT_EQ(test_thread_exists(atomic_load(&native)), 0);
    CHECK_UINT_EQ(n_states(interp), 1);
    PyEval_RestoreThread(mine);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 0), 0);
    PyThreadHandle_Decref(handle);
}

TEST("a thread is waited for at every step of its life, to the last") {
    begin();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        check_waited_for_at(steps[i]);
    finish();
}

static pthread_key_t key;

static void held_destructor(void *value) {
    (void)value;
    PyTState_Sync_Point("test.destructor");
}

static void use_key(void *arg) {
    note_native(arg);
    pthread_setspecific(key, &key);
}

TEST("thread-local destructors are waited for, joined or dropped handles") {
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    pthread_key_create(&key, held_destructor);
    for (int dropped = 0; dropped < 2; dropped++) {
        hold("test.destructor");
        PyThreadHandle *handle = start(use_key, NULL);
        if (dropped)
            PyThreadHandle_Decref(handle);
        wait_held("test.destructor");
        CHECK_UINT_EQ(n_states(interp), 1);
        CHECK_INT_EQ(wait_for(interp, 5 * MS), 1);
        let_go("test.destructor");
        CHECK_INT_EQ(wait_for(interp, LIMIT), 0);
        CHECK_INT_EQ(test_thread_exists(atomic_load(&native)), 0);
        if (!dropped)
            PyThreadHandle_Decref(handle);
    }
    finish();
}

TEST("a daemon whose handle is gone is not waited for in its destructors") {
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    pthread_key_create(&key, held_destructor);
    hold("test.destructor");
    PyThreadHandle_Decref(
        start_in(interp, use_key, NULL, PyThreadHandle_DAEMON));
    wait_held("test.destructor");
    CHECK_INT_EQ(wait_for(interp, LIMIT), 0);
    CHECK_INT_EQ(test_thread_exists(atomic_load(&native)), 1);
    let_go("test.destructor");
    WAIT_DETACHED(!test_thread_exists(atomic_load(&native)));
    finish();
}

/* ---- Whom ------------------------------------------------------------- */

static atomic_int n_ran;

static void start_next(void *left) {
    int mine = *(int *)left;
    atomic_fetch_add(&n_ran, 1);
    if (mine > 1) {
        static int all[64];
        all[mine] = mine - 1;
        PyThreadHandle_Decref(start(start_next, &all[mine]));
    }
}

TEST("threads that start meanwhile are waited for as well (S-WT-06)") {
    int left = 50;
    begin();
    PyThreadHandle_Decref(start(start_next, &left));
    _PyInterpreterState_WaitForThreads(PyInterpreterState_Get());
    CHECK_INT_EQ(atomic_load(&n_ran), 50);
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}

static void wait_from_inside(void *interp) {
    PyThreadState *mine = PyThreadState_Get();
    _PyInterpreterState_WaitForThreads(interp);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    atomic_fetch_add(&n_ran, 1);
}

static atomic_int stayed;

static void stay_a_while(void *go) {
    wait_for_event(go);
    atomic_fetch_add(&stayed, 1);
}

TEST("the caller and the first state are never waited for (S-WT-07)") {
    static PyEvent go;
    begin();
    PyThreadHandle *other = start(stay_a_while, &go);
    hold("wait_threads.scan");
    PyThreadHandle *waiter = start(wait_from_inside, PyInterpreterState_Get());
    wait_passing("wait_threads.scan");
    CHECK_INT_EQ(PyThreadHandle_Join(waiter, 5 * MS), 1);
    _PyEvent_Notify(&go);
    join_and_drop(waiter);
    CHECK_INT_EQ(atomic_load(&stayed), 1);
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    join_and_drop(other);
    finish();
}

TEST("daemons and foreign threads are not waited for") {
    static PyEvent go;
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadHandle *handle =
        start_in(interp, wait_for_event, &go, PyThreadHandle_DAEMON);
    PyThreadState_New(interp);
    _PyInterpreterState_WaitForThreads(interp);
    CHECK_INT_EQ(wait_for(interp, 0), 0);
    CHECK_UINT_EQ(n_states(interp), 3);
    _PyEvent_Notify(&go);
    join_and_drop(handle);
    finish();
}

struct flip {
    int to;
    PyEvent flipped, go;
};

static void flip_and_stay(void *arg) {
    struct flip *flip = arg;
    set_daemon(PyThreadState_Get(), flip->to);
    note_native(NULL);
    _PyEvent_Notify(&flip->flipped);
    wait_for_event(&flip->go);
}

TEST("a thread that makes itself a daemon is not waited for") {
    static struct flip flip = {.to = 1};
    begin();
    PyThreadHandle *handle = start(flip_and_stay, &flip);
    wait_for_event(&flip.flipped);
    _PyInterpreterState_WaitForThreads(PyInterpreterState_Get());
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    _PyEvent_Notify(&flip.go);
    join_and_drop(handle);
    finish();
}

TEST("a daemon that makes itself a thread to wait for is, OS thread and all") {
    static struct flip flip = {.to = 0};
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadHandle_Decref(
        start_in(interp, flip_and_stay, &flip, PyThreadHandle_DAEMON));
    wait_for_event(&flip.flipped);
    CHECK_INT_EQ(wait_for(interp, 5 * MS), 1);
    _PyEvent_Notify(&flip.go);
    _PyInterpreterState_WaitForThreads(interp);
    CHECK_INT_EQ(test_thread_exists(atomic_load(&native)), 0);
    finish();
}

static void flip_when_told(void *arg) {
    struct flip *flip = arg;
    _PyEvent_Notify(&flip->flipped);
    PyTState_Sync_Point("test.flip");
    set_daemon(PyThreadState_Get(), 1);
    wait_for_event(&flip->go);
}

TEST("a wait under way notices that the last one became a daemon") {
    static struct flip flip;
    PyThreadState *main_state = begin();
    hold("test.flip");
    PyThreadHandle *handle = start(flip_when_told, &flip);
    PyEval_SaveThread(); /* the thread is held attached */
    wait_held("test.flip");
    CHECK_INT_EQ(wait_for(main_state->interp, 5 * MS), 1);
    let_go("test.flip");
    CHECK_INT_EQ(wait_for(main_state->interp, LIMIT), 0);
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    _PyEvent_Notify(&flip.go);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyThreadHandle_Decref(handle);
    PyEval_RestoreThread(main_state);
    PyTState_Sync_Clear();
    finish();
}

static void visit(void *arg) {
    struct flip *flip = arg;
    PyThreadState *mine = enter(PyInterpreterState_Main());
    set_daemon(mine, 0);
    mine->on_delete = wait_for_event; /* even in its hook */
    mine->on_delete_data = &flip->go;
    _PyEvent_Notify(&flip->flipped);
    leave();
}

TEST("a foreign thread that asks for it is waited for until it is unlinked") {
    static struct flip flip;
    struct peers peers = PEERS_INIT;
    PyTState_ThreadInfo one;
    size_t n = 0;
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    peers_add(&peers, 1, visit, &flip);
    peers_start(&peers);
    wait_for_event(&flip.flipped);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 5 * MS, &one, 1, &n), 1);
    CHECK_UINT_EQ(n, 1);
    CHECK_UINT_EQ(one.thread_id, (unsigned long)peers.one[0].thread);
    hold("delete.begin");
    _PyEvent_Notify(&flip.go);
    PyThreadState *mine = PyEval_SaveThread();
    wait_held("delete.begin"); /* cleared, its event set; still linked */
    CHECK_INT_EQ(wait_for(interp, 5 * MS), 1);
    let_go("delete.begin");
    CHECK_INT_EQ(wait_for(interp, LIMIT), 0);
    CHECK_UINT_EQ(n_states(interp), 1);
    PyEval_RestoreThread(mine);
    join_peers(&peers);
    finish();
}

TEST("a state that is deleted by another thread wakes who waits for it") {
    PyThreadState *main_state = begin();
    PyThreadState *one = _PyThreadState_Prealloc(main_state->interp);
    set_daemon(one, 0);
    hold("wait_threads.scan");
    PyThreadHandle *handle = start(wait_from_inside, main_state->interp);
    wait_passing("wait_threads.scan");
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 5 * MS), 1);
    PyThreadState_Clear(one);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, 5 * MS), 1);
    PyThreadState_Delete(one);
    join_and_drop(handle);
    CHECK_INT_EQ(atomic_load(&n_ran), 1);
    finish();
}

/* ---- How -------------------------------------------------------------- */

static void look_at_waiter(void *state) {
    PyThreadState *waiter = state;
    CHECK_INT_EQ(__atomic_load_n(&waiter->state, __ATOMIC_ACQUIRE),
                 PyTState_DETACHED);
    atomic_fetch_add(&n_ran, 1);
}

TEST("the caller is detached while it waits, and attached again after") {
    NEEDS_GIL();
    PyThreadState *main_state = begin();
    for (int i = 0; i < 100; i++) {
        PyThreadHandle_Decref(start(look_at_waiter, main_state));
        _PyInterpreterState_WaitForThreads(main_state->interp);
        CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    }
    CHECK_INT_EQ(atomic_load(&n_ran), 100);
    finish();
}

TEST("the deadline is kept, who is left is listed, and a second call goes on") {
    enum { N = 5 };
    static PyEvent go[N];
    PyThreadHandle *all[N];
    PyTState_ThreadInfo alive[N + 1];
    size_t n = 0;
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (int i = 0; i < N; i++)
        all[i] = start(wait_for_event, &go[i]);
    int64_t begun = test_now_ns();
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 30 * MS, alive, N + 1, &n), 1);
    CHECK_INT_GE(test_now_ns() - begun, 30 * MS);
    CHECK_UINT_EQ(n, N);
    for (int i = 0; i < N; i++) {
        int found = 0;
        for (int k = 0; k < N; k++)
            found += alive[k].thread_id == PyThreadHandle_Ident(all[i]);
        CHECK_INT_EQ(found, 1);
    }
    /* Less room than threads: the first ones, and the true number. */
    memset(alive, 0x5A, sizeof alive);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 0, alive, 2, &n), 1);
    CHECK_UINT_EQ(n, N);
    CHECK_UINT_EQ(alive[2].id, UINT64_C(0x5A5A5A5A5A5A5A5A));
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 0, NULL, 2, &n), 1);
    CHECK_UINT_EQ(n, N);
    for (int i = 0; i < N - 1; i++) {
        _PyEvent_Notify(&go[i]);
        join_and_drop(all[i]);
    }
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, 5 * MS, alive, 1, &n), 1);
    CHECK_UINT_EQ(n, 1);
    CHECK_UINT_EQ(alive[0].thread_id, PyThreadHandle_Ident(all[N - 1]));
    CHECK_NULL(PyErr_Occurred());
    _PyEvent_Notify(&go[N - 1]);
    CHECK_INT_EQ(PyTState_WaitForThreads(interp, FOREVER, alive, 1, &n), 0);
    CHECK_UINT_EQ(n, 0);
    join_and_drop(all[N - 1]);
    finish();
}

static void wait_detached(void *interp) {
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(wait_for(interp, LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&stayed), 20);
}

static void wait_attached(void *interp) {
    PyThreadState *mine = enter(PyInterpreterState_Main());
    _PyInterpreterState_WaitForThreads(interp);
    CHECK_INT_EQ(atomic_load(&stayed), 20);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    leave();
}

TEST("many wait at once, attached and without any state") {
    static PyEvent go;
    PyThreadHandle *all[20];
    struct peers peers = PEERS_INIT;
    begin();
    for (int i = 0; i < 20; i++)
        all[i] = start(stay_a_while, &go);
    peers_add(&peers, 4, wait_detached, PyInterpreterState_Get());
    peers_add(&peers, 4, wait_attached, PyInterpreterState_Get());
    peers_start(&peers);
    CHECK_INT_EQ(wait_for(PyInterpreterState_Get(), 5 * MS), 1);
    for (int i = 0; i < 10; i++)
        PyThreadHandle_Decref(all[i]);
    _PyEvent_Notify(&go);
    join_peers(&peers);
    for (int i = 10; i < 20; i++)
        join_and_drop(all[i]);
    CHECK_INT_EQ(test_thread_count(), 1);
    finish();
}

TEST("two hundred threads are waited for, half of their handles dropped") {
    enum { N = 200 };
    static PyEvent go;
    PyThreadHandle *all[N];
    begin();
    for (int i = 0; i < N; i++) {
        all[i] = start(stay_a_while, &go);
        if (i % 2)
            PyThreadHandle_Decref(all[i]);
    }
    _PyEvent_Notify(&go);
    _PyInterpreterState_WaitForThreads(PyInterpreterState_Get());
    CHECK_INT_EQ(atomic_load(&stayed), N);
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(test_thread_count(), 1);
    for (int i = 0; i < N; i += 2) {
        CHECK_INT_EQ(PyThreadHandle_Join(all[i], 0), 0);
        PyThreadHandle_Decref(all[i]);
    }
    finish();
}

static void start_and_drop(void *rounds) {
    for (int i = 0; i < *(int *)rounds; i++) {
        PyThreadHandle_Decref(
            start_in(PyInterpreterState_Main(), note_native, NULL, 0));
        if (i % 16 == 15) /* not more threads than the machine has room for */
            CHECK_INT_EQ(wait_for(PyInterpreterState_Main(), LIMIT), 0);
    }
}

TEST("handles are dropped and ended while three threads wait for them all") {
    int rounds = 400;
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 3, start_and_drop, &rounds);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(wait_for(PyInterpreterState_Get(), LIMIT), 0);
    CHECK_INT_EQ(test_thread_count(), 1);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

/* ---- In other interpreters -------------------------------------------- */

TEST("only the threads of the interpreter asked for count") {
    static PyEvent go;
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterState *sub = first->interp;
    PyThreadHandle *in_main =
        start_in(main_state->interp, wait_for_event, &go, 0);
    CHECK_INT_EQ(wait_for(sub, LIMIT), 0);
    CHECK_INT_EQ(wait_for(main_state->interp, 5 * MS), 1);
    _PyEvent_Notify(&go);
    CHECK_INT_EQ(wait_for(main_state->interp, LIMIT), 0);
    join_and_drop(in_main);
    Py_EndInterpreter(first);
    PyEval_RestoreThread(main_state);
    finish();
}

static void check_interpreter(int gil) {
    static PyEvent go;
    go = (PyEvent){0};
    atomic_store(&stayed, 0);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *first = new_interp(gil);
    PyInterpreterState *sub = first->interp;
    for (int i = 0; i < 20; i++)
        PyThreadHandle_Decref(start_in(sub, stay_a_while, &go, 0));
    CHECK_INT_EQ(wait_for(sub, 2 * MS), 1); /* attached to it */
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(wait_for(sub, 2 * MS), 1); /* attached elsewhere */
    CHECK_UINT_EQ(n_states(sub), 21);
    _PyEvent_Notify(&go);
    _PyInterpreterState_WaitForThreads(sub);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    CHECK_INT_EQ(atomic_load(&stayed), 20);
    CHECK_UINT_EQ(n_states(sub), 1);
    CHECK_INT_EQ(test_thread_count(), 1);
    PyThreadState_Swap(first);
    Py_EndInterpreter(first);
    PyEval_RestoreThread(main_state);
}

TEST("threads of interpreters with any kind of GIL are waited for") {
    begin();
    for (int gil = PyInterpreterConfig_DEFAULT_GIL;
         gil <= PyTState_INTERP_NO_GIL; gil++)
        check_interpreter(gil);
    finish();
}

/* ---- Signals ---------------------------------------------------------- */

struct alarm {
    pthread_t main_thread;
    atomic_long main_native;
};

static void interrupt(void *arg) {
    struct alarm *alarm = arg;
    wait_asleep(&alarm->main_native);
    pthread_kill(alarm->main_thread, SIGINT);
}

TEST("Ctrl-C ends a wait early, with KeyboardInterrupt set (S-WT-05)") {
    static PyEvent go;
    struct alarm alarm = {pthread_self(), test_native_id()};
    size_t n = 0;
    Py_InitializeEx(1);
    PyThreadHandle *handle = start(wait_for_event, &go);
    for (int call = 0; call < 2; call++) {
        struct peers peers = PEERS_INIT;
        peers_add(&peers, 1, interrupt, &alarm);
        peers_start(&peers);
        if (call == 0)
            CHECK_INT_EQ(PyTState_WaitForThreads(PyInterpreterState_Get(),
                                                 LIMIT, NULL, 0, &n),
                         -1);
        else
            _PyInterpreterState_WaitForThreads(PyInterpreterState_Get());
        check_raised(PyExc_KeyboardInterrupt, "");
        peers_join(&peers, LIMIT_MS);
    }
    CHECK_UINT_EQ(n, 1);
    CHECK_INT_EQ(PyThreadHandle_IsDone(handle), 0);
    _PyEvent_Notify(&go);
    join_and_drop(handle);
    finish();
}
