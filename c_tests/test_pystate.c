/* Thread states: making, finding, attaching, clearing, deleting. */
#include "host.h"

/* ---- Making ----------------------------------------------------------- */

TEST("a new state is the newest, detached, bound to its maker (S-TS-15, 16)") {
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    CHECK_UINT_EQ(PyThreadState_GetID(main_state), 1);
    PyThreadState *one = PyThreadState_New(interp);
    PyThreadState *two = PyThreadState_New(interp);
    CHECK_UINT_EQ(PyThreadState_GetID(one), 2);
    CHECK_UINT_EQ(PyThreadState_GetID(two), 3);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), two);
    CHECK_PTR_EQ(PyThreadState_Next(two), one);
    CHECK_PTR_EQ(PyThreadState_Next(one), main_state);
    CHECK_NULL(PyThreadState_Next(main_state));
    CHECK_PTR_EQ(two->next, one);
    CHECK_PTR_EQ(one->prev, two);
    CHECK_NULL(two->prev);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(two), interp);
    CHECK_PTR_EQ(two->interp, interp);
    CHECK_INT_EQ(two->state, PyTState_DETACHED);
    CHECK_UINT_EQ(two->thread_id, (unsigned long)pthread_self());
    CHECK_UINT_EQ(two->native_thread_id, (unsigned long)test_native_id());
    CHECK_INT_EQ(two->gilstate_counter, 1);
    CHECK_NULL(two->dict);
    CHECK_NULL(two->async_exc);
    CHECK_NULL(two->current_exception);
    CHECK_NULL((void *)(uintptr_t)two->on_delete);
    CHECK_INT_EQ(_PyEvent_IsSet(two->exit_event), 0);
    finish();
}

TEST("the middle of the list is unlinked and ids are never used again") {
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *one = PyThreadState_New(interp);
    PyThreadState *two = PyThreadState_New(interp);
    PyThreadState_Clear(one);
    PyThreadState_Delete(one);
    CHECK_PTR_EQ(PyThreadState_Next(two), main_state);
    CHECK_PTR_EQ(main_state->prev, two);
    PyThreadState_Clear(two);
    PyThreadState_Delete(two);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), main_state);
    CHECK_NULL(main_state->prev);
    for (uint64_t id = 4; id < 1004; id++) {
        PyThreadState *next = PyThreadState_New(interp);
        CHECK_UINT_EQ(PyThreadState_GetID(next), id);
        PyThreadState_Clear(next);
        PyThreadState_Delete(next);
    }
    finish();
}

TEST("ids count in each interpreter alone, and begin at 1 in the next life") {
    begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_UINT_EQ(PyThreadState_GetID(first), 1);
    PyThreadState *second = PyThreadState_New(first->interp);
    CHECK_UINT_EQ(PyThreadState_GetID(second), 2);
    PyThreadState_Clear(second);
    PyThreadState_Delete(second);
    finish();
    CHECK_UINT_EQ(PyThreadState_GetID(begin()), 1);
    finish();
}

static void note_origin(void *where) {
    PyThreadState *mine = PyThreadState_Get();
    ((int *)where)[0] = mine->is_daemon;
    ((int *)where)[1] = mine->_whence;
}

static void ensure_origin(void *where) {
    PyGILState_STATE token = PyGILState_Ensure();
    note_origin(where);
    PyGILState_Release(token);
}

static void ensure_from_view(void *where) {
    PyInterpreterView *view = PyInterpreterView_FromMain();
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    CHECK_NOT_NULL(token);
    note_origin(where);
    PyThreadState_Release(token);
    PyInterpreterView_Close(view);
}

TEST("is_daemon and origin say how a state was made (S-TS-14, S-WT-07)") {
    int found[2];
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(main_state->is_daemon, 0);
    CHECK_INT_EQ(main_state->_whence, 1);
    PyThreadState *made = PyThreadState_New(main_state->interp);
    CHECK_INT_EQ(made->is_daemon, 1);
    CHECK_INT_EQ(made->_whence, 0);
    PyThreadState *early = _PyThreadState_Prealloc(main_state->interp);
    CHECK_INT_EQ(early->is_daemon, 1);
    CHECK_INT_EQ(early->_whence, 0);
    join_and_drop(start(note_origin, found));
    CHECK_INT_EQ(found[0], 0);
    CHECK_INT_EQ(found[1], 3);
    join_and_drop(start_in(main_state->interp, note_origin, found,
                           PyThreadHandle_DAEMON));
    CHECK_INT_EQ(found[0], 1);
    CHECK_INT_EQ(found[1], 6);
    static void (*const ensures[])(void *) = {ensure_origin, ensure_from_view};
    for (int i = 0; i < 2; i++) {
        struct peers peers = PEERS_INIT;
        found[0] = found[1] = -1;
        peers_add(&peers, 1, ensures[i], found);
        peers_start(&peers);
        join_peers(&peers);
        CHECK_INT_EQ(found[0], 1);
        CHECK_INT_EQ(found[1], 4);
    }
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(first->is_daemon, 0);
    CHECK_INT_EQ(first->_whence, 1);
    finish();
}

static void make_detached(void *arg) {
    PyThreadState **made = arg;
    *made = PyThreadState_New(PyInterpreterState_Main());
    CHECK_NOT_NULL(*made);
    CHECK_NULL(PyThreadState_GetUnchecked());
}

TEST("a state is made without being attached, while another has the GIL") {
    PyThreadState *made = NULL;
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 1, make_detached, &made);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS); /* this thread stays attached: S-TS-18 */
    CHECK(is_linked(PyInterpreterState_Main(), made));
    PyThreadState_Clear(made);
    PyThreadState_Delete(made); /* by another thread than the one it is of */
    finish();
}

TEST("an interpreter that is gone gives no state, and no error") {
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyInterpreterState *interp = first->interp;
    Py_EndInterpreter(first);
    CHECK_NULL(PyThreadState_New(interp));
    CHECK_NULL(_PyThreadState_Prealloc(interp));
    PyEval_RestoreThread(main_state);
    CHECK_NULL(PyErr_Occurred());
    finish();
}

static void attach_first(void *state) {
    PyEval_AcquireThread(state);
    CHECK_UINT_EQ(((PyThreadState *)state)->thread_id,
                  (unsigned long)pthread_self());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

TEST("a preallocated state is bound by the thread that attaches it first") {
    struct peers peers = PEERS_INIT;
    begin();
    PyThreadState *early = _PyThreadState_Prealloc(PyInterpreterState_Get());
    CHECK_UINT_EQ(early->thread_id, 0);
    CHECK_UINT_EQ(early->native_thread_id, 0);
    peers_add(&peers, 1, attach_first, early);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

TEST("a thousand states are made, listed and deleted in any order") {
    enum { N = 1000 };
    static PyThreadState *all[N];
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (int i = 0; i < N; i++)
        CHECK_NOT_NULL(all[i] = PyThreadState_New(interp));
    CHECK_UINT_EQ(n_states(interp), N + 1);
    for (int i = 0; i < N; i++) {
        PyThreadState *one = all[i * 7 % N]; /* 7 and 1000 share no factor */
        PyThreadState_Clear(one);
        PyThreadState_Delete(one);
    }
    CHECK_UINT_EQ(n_states(interp), 1);
    CHECK_NULL(PyThreadState_Next(PyInterpreterState_ThreadHead(interp)));
    finish();
}

static void make_and_delete(void *interp) {
    for (int i = 0; i < 200; i++) {
        PyThreadState *mine = enter(interp);
        PyThreadState *more = PyThreadState_New(interp);
        CHECK_UINT_GT(PyThreadState_GetID(more), PyThreadState_GetID(mine));
        PyThreadState_Clear(more);
        PyThreadState_Delete(more);
        leave();
    }
}

TEST("eight threads make and delete states at once, and none is lost") {
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 8, make_and_delete, PyInterpreterState_Get());
    peers_start(&peers);
    join_peers(&peers);
    CHECK_UINT_EQ(n_states(NULL), 1);
    PyThreadState *next = PyThreadState_New(PyInterpreterState_Get());
    CHECK_UINT_EQ(PyThreadState_GetID(next), 2 + 8 * 400);
    finish();
}

/* ---- Which one is attached -------------------------------------------- */

TEST("the attached state is known, and nothing is when detached (S-TS-20)") {
    NEEDS_GIL();
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyThreadState *main_state = begin();
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), main_state);
    CHECK_PTR_EQ(PyThreadState_GET(), main_state);
    CHECK_PTR_EQ(_PyThreadState_UncheckedGet(), main_state);
    CHECK_INT_EQ(main_state->state, PyTState_ATTACHED);
    CHECK_INT_EQ(main_state->holds_gil, 1);
    CHECK_PTR_EQ(PyEval_SaveThread(), main_state);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(main_state->state, PyTState_DETACHED);
    CHECK_INT_EQ(main_state->holds_gil, 0);
    CHECK_UINT_EQ(PyThreadState_GetID(main_state), 1); /* works detached */
    CHECK_NOT_NULL(PyThreadState_GetInterpreter(main_state));
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("Swap detaches, attaches and tells what was attached (S-TS-21)") {
    PyThreadState *main_state = begin();
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Get());
    CHECK_PTR_EQ(PyThreadState_Swap(NULL), main_state);
    CHECK_NULL(PyThreadState_Swap(NULL)); /* nothing attached: nothing done */
    CHECK_NULL(PyThreadState_Swap(other));
    CHECK_PTR_EQ(PyThreadState_Get(), other);
    CHECK_INT_EQ(other->state, PyTState_ATTACHED);
    CHECK_PTR_EQ(PyThreadState_Swap(other), other); /* itself, again */
    CHECK_INT_EQ(other->state, PyTState_ATTACHED);
    CHECK_PTR_EQ(PyThreadState_Swap(main_state), other);
    CHECK_INT_EQ(other->state, PyTState_DETACHED);
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    finish();
}

static void take_gil(void *count) {
    PyThreadState *mine = enter(PyInterpreterState_Main());
    atomic_fetch_add((atomic_int *)count, 1);
    (void)mine;
    leave();
}

TEST("Swap to the attached state lets who waits for the GIL run (S-TS-21)") {
    NEEDS_GIL();
    atomic_int count = 0;
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    hold("gil.wait");
    peers_add(&peers, 1, take_gil, &count);
    peers_start(&peers);
    /* Stays attached: the peer finds the GIL taken and is held there. */
    CHECK_INT_EQ(PyTState_Sync_WaitParked("gil.wait", LIMIT), 0);
    CHECK_INT_EQ(atomic_load(&count), 0);
    let_go("gil.wait");
    HERE();
    for (int64_t end = test_now_ms() + LIMIT_MS;
         atomic_load(&count) == 0 && test_now_ms() < end;)
        CHECK_PTR_EQ(PyThreadState_Swap(main_state), main_state);
    CHECK_INT_EQ(atomic_load(&count), 1);
    join_peers(&peers);
    finish();
}

TEST("several states of one interpreter on one thread take turns (S-TS-09)") {
    PyThreadState *all[5];
    PyThreadState *main_state = begin();
    for (int i = 0; i < 5; i++)
        all[i] = PyThreadState_New(main_state->interp);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 5; i++) {
            PyThreadState_Swap(all[i]);
            CHECK_PTR_EQ(PyGILState_GetThisThreadState(), all[i]);
        }
    PyThreadState_Swap(main_state);
    for (int i = 0; i < 5; i++) {
        PyThreadState_Clear(all[i]);
        PyThreadState_Delete(all[i]);
    }
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), main_state);
    finish();
}

/* ---- What a state owns ------------------------------------------------ */

struct object {
    int counted;
};
static struct object dicts[8];
static int n_dicts;

static void incref(PyObject *o) { ((struct object *)(void *)o)->counted++; }
static void decref(PyObject *o) { ((struct object *)(void *)o)->counted--; }
static PyObject *new_dict(void) {
    dicts[n_dicts].counted = 1;
    return (PyObject *)(void *)&dicts[n_dicts++];
}
static PyObject *no_dict(void) {
    n_dicts++;
    return NULL;
}

static void begin_with_objects(PyObject *(*make)(void)) {
    PyTState_ObjectHooks hooks = {0};
    PyTState_Config config = {0};
    PyTState_Config_Init(&config);
    hooks.incref = incref;
    hooks.decref = decref;
    hooks.new_dict = make;
    config.objects = &hooks; /* copied */
    begin_with(&config);
}

TEST("the dictionary of a state is made once, and dropped by Clear") {
    begin_with_objects(new_dict);
    PyThreadState *main_state = PyThreadState_Get();
    PyObject *dict = PyThreadState_GetDict();
    CHECK_PTR_EQ(dict, (PyObject *)(void *)&dicts[0]);
    CHECK_PTR_EQ(PyThreadState_GetDict(), dict);
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(other);
    CHECK_PTR_EQ(PyThreadState_GetDict(), (PyObject *)(void *)&dicts[1]);
    CHECK_PTR_EQ(other->dict, (PyObject *)(void *)&dicts[1]);
    PyThreadState_Clear(other);
    CHECK_INT_EQ(dicts[1].counted, 0);
    CHECK_NULL(other->dict);
    CHECK_INT_EQ(dicts[0].counted, 1);
    PyThreadState_DeleteCurrent();
    CHECK_NULL(PyThreadState_GetDict()); /* detached: none is made */
    CHECK_INT_EQ(n_dicts, 2);
    PyEval_RestoreThread(main_state);
    finish();
    CHECK_INT_EQ(dicts[0].counted, 0);
}

TEST("no hook, or a hook that fails, means no dictionary and no error") {
    begin();
    CHECK_NULL(PyThreadState_GetDict());
    CHECK_NULL(PyErr_Occurred());
    finish();
    begin_with_objects(no_dict);
    CHECK_NULL(PyThreadState_GetDict());
    CHECK_NULL(PyThreadState_GetDict());
    CHECK_INT_EQ(n_dicts, 2); /* asked again */
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("Clear drops the pending exceptions too (S-DL-05)") {
    static struct object asynchronous = {1}, raised = {0};
    begin_with_objects(new_dict);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(other);
    other->async_exc = (PyObject *)(void *)&asynchronous;
    PyErr_SetString((PyObject *)(void *)&raised, "text");
    CHECK_INT_EQ(raised.counted, 1);
    CHECK_PTR_EQ(other->current_exception, (PyObject *)(void *)&raised);
    PyThreadState_Clear(other);
    CHECK_INT_EQ(asynchronous.counted, 0);
    CHECK_INT_EQ(raised.counted, 0);
    CHECK_NULL(other->async_exc);
    CHECK_NULL(other->current_exception);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("the error indicator belongs to the state, not to the thread") {
    PyThreadState *main_state = begin();
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyErr_SetString(PyExc_ValueError, "of the main state");
    PyThreadState_Swap(other);
    CHECK_NULL(PyErr_Occurred());
    PyErr_SetString(PyExc_MemoryError, "of the other");
    PyThreadState_Swap(main_state);
    check_raised(PyExc_ValueError, "of the main state");
    PyThreadState_Swap(other);
    check_raised(PyExc_MemoryError, "of the other");
    PyThreadState_Swap(main_state);
    finish();
}

/* ---- Deleting --------------------------------------------------------- */

TEST("DeleteCurrent leaves nothing attached and the GIL free (S-DL-02, 03)") {
    PyThreadState *main_state = begin();
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(other);
    leave();
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_UINT_EQ(n_states(NULL), 1);
    PyEval_RestoreThread(main_state); /* would wait for ever */
    finish();
}

TEST("a state is deleted while nothing is attached (S-DL-01)") {
    PyThreadState *main_state = begin();
    PyThreadState *other = PyThreadState_New(main_state->interp);
    PyThreadState_Clear(other);
    PyEval_SaveThread();
    PyThreadState_Delete(other);
    CHECK_UINT_EQ(n_states(NULL), 1);
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("a deleted main state does not stop finalization (S-FZ-02)") {
    begin();
    leave();
    CHECK_UINT_EQ(n_states(NULL), 0);
    CHECK_INT_EQ(Py_IsInitialized(), 1);
    finish();
    begin();
    finish();
}

TEST("host data is zeroed, aligned and as large as asked (5)") {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.host_tstate_size = 100;
    PyThreadState *main_state = begin_with(&config);
    char zero[100] = {0};
    for (int round = 0; round < 3; round++) {
        PyThreadState *one = PyThreadState_New(main_state->interp);
        char *data = PyTState_HostData(one);
        CHECK_INT_EQ((uintptr_t)data % _Alignof(max_align_t), 0);
        CHECK_INT_EQ(memcmp(data, zero, sizeof zero), 0);
        memset(data, 0xA5, 100); /* the next state has it zeroed again */
        PyThreadState_Clear(one);
        CHECK_INT_EQ(data[99], (char)0xA5); /* lives until Delete */
        PyThreadState_Delete(one);
    }
    CHECK_PTR_NE(PyTState_HostData(main_state), NULL);
    finish();
    CHECK_NULL(PyTState_HostData(begin())); /* none was asked for */
    finish();
}

static void *grow(int rounds, PyInterpreterState *interp) {
    char *lowest = NULL, *highest = NULL;
    for (int i = 0; i < rounds; i++) {
        PyThreadState *one = PyThreadState_New(interp);
        lowest = lowest == NULL || (char *)one < lowest ? (char *)one : lowest;
        highest = (char *)one > highest ? (char *)one : highest;
        PyThreadState_Clear(one);
        PyThreadState_Delete(one);
    }
    return (void *)(highest - lowest);
}

TEST("the memory of deleted states is used again") {
    begin();
    CHECK_NULL(grow(2000, PyInterpreterState_Get()));
    finish();
}
