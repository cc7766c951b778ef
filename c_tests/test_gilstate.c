/* PyGILState: a state for whatever thread asks. */
#include "host.h"

/* Runs body(arg) in a thread that has no state, while nothing is attached. */
static void in_foreign_thread(void (*body)(void *), void *arg) {
    struct peers peers = PEERS_INIT;
    PyThreadState *mine = PyThreadState_GetUnchecked();
    if (mine != NULL)
        PyEval_SaveThread();
    peers_add(&peers, 1, body, arg);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    if (mine != NULL)
        PyEval_RestoreThread(mine);
}

static void ensure_and_release(void *unused) {
    (void)unused;
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_INT_EQ(PyGILState_Check(), 0);
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_UNLOCKED);
    PyThreadState *mine = PyThreadState_Get();
    CHECK_PTR_EQ(mine->interp, PyInterpreterState_Main());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);
    CHECK_INT_EQ(mine->gilstate_counter, 1);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    CHECK_UINT_EQ(mine->thread_id, (unsigned long)pthread_self());
    PyGILState_Release(PyGILState_UNLOCKED);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_INT_EQ(PyGILState_Check(), 0);
}

TEST("a thread without a state gets one, and loses it at the last release") {
    begin();
    in_foreign_thread(ensure_and_release, NULL);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void nest(void *unused) {
    (void)unused;
    PyGILState_STATE outer = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_LOCKED); /* S-GS-03 */
    CHECK_INT_EQ(mine->gilstate_counter, 2);
    PyEval_SaveThread();
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);    /* S-GS-14 */
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_UNLOCKED); /* S-GS-04 */
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    CHECK_INT_EQ(mine->gilstate_counter, 3);
    PyGILState_Release(PyGILState_UNLOCKED); /* S-GS-11: detaches */
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(mine->gilstate_counter, 2);
    PyEval_RestoreThread(mine);
    PyGILState_Release(PyGILState_LOCKED); /* ... or leaves it attached */
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    CHECK_INT_EQ(mine->gilstate_counter, 1);
    PyGILState_Release(outer);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("ensures nest, around and inside of detached stretches (S-GS-12)") {
    begin();
    in_foreign_thread(nest, NULL);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void nest_in_thread(void *unused) {
    (void)unused;
    PyThreadState *mine = PyThreadState_Get();
    for (int i = 0; i < 100; i++) {
        CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_LOCKED);
        PyGILState_Release(PyGILState_LOCKED);
        PyEval_SaveThread();
        CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_UNLOCKED);
        PyGILState_Release(PyGILState_UNLOCKED);
        PyEval_RestoreThread(mine);
    }
    CHECK_INT_EQ(mine->gilstate_counter, 1);
}

TEST("a state that Ensure did not make is never deleted by Release") {
    PyThreadState *main_state = begin();
    nest_in_thread(NULL); /* the main state: S-GS-13 */
    CHECK_PTR_EQ(PyThreadState_Get(), main_state);
    join_and_drop(start(nest_in_thread, NULL));
    PyThreadState *one = PyThreadState_New(main_state->interp);
    PyThreadState_Swap(one);
    nest_in_thread(NULL);
    CHECK_PTR_EQ(PyThreadState_Get(), one);
    leave();
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("the state attached last is the one that Ensure uses (S-BD-06)") {
    PyThreadState *main_state = begin();
    PyThreadState *one = PyThreadState_New(main_state->interp);
    /* Making a state does not take the slot from one that has it. */
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), main_state);
    PyThreadState_Swap(one);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one);
    PyEval_SaveThread();
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one); /* S-BD-07 */
    PyGILState_Ensure();
    CHECK_PTR_EQ(PyThreadState_Get(), one);
    PyGILState_Release(PyGILState_UNLOCKED);
    PyEval_RestoreThread(main_state);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), main_state);
    finish();
}

static void bind_first(void *unused) {
    (void)unused;
    PyThreadState *one = PyThreadState_New(PyInterpreterState_Main());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one); /* S-BD-05 */
    PyThreadState *two = PyThreadState_New(PyInterpreterState_Main());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one);
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), one);
    PyThreadState_Clear(two);
    PyThreadState_Delete(two);
    PyGILState_Release(PyGILState_UNLOCKED);
    PyEval_RestoreThread(one);
    leave();
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("the first state of a thread takes the slot as soon as it is made") {
    begin();
    in_foreign_thread(bind_first, NULL);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void ensure_elsewhere(void *interp) {
    PyThreadState *mine = enter(interp);
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_LOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    PyGILState_Release(PyGILState_LOCKED);
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get()->interp, (PyInterpreterState *)interp);
    PyGILState_Release(PyGILState_UNLOCKED);
    PyEval_RestoreThread(mine);
    leave();
    /* None is left: a new one goes to the main interpreter. */
    PyGILState_Ensure();
    CHECK_PTR_EQ(PyThreadState_Get()->interp, PyInterpreterState_Main());
    PyGILState_Release(PyGILState_UNLOCKED);
}

TEST("Ensure uses the thread's own state, of whatever interpreter (S-GS-05)") {
    PyThreadState *main_state = begin();
    PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
    PyThreadState_Swap(main_state);
    in_foreign_thread(ensure_elsewhere, first->interp);
    CHECK_UINT_EQ(n_states(NULL), 2);
    finish();
}

TEST("making a sub-interpreter disables PyGILState_Check (S-GS-15)") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Check(), 0);
    PyEval_RestoreThread(main_state);
    Py_EndInterpreter(Py_NewInterpreter());
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyEval_RestoreThread(main_state);
    finish();
    CHECK_INT_EQ(PyGILState_Check(), 1); /* for the rest of that life */
    begin();
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Check(), 0);
    PyGILState_Ensure();
    finish();
}

/* ---- Other threads ---------------------------------------------------- */

struct visitor {
    PyThreadState *state;
    struct latch made, deleted;
};

static void lose_the_state(void *arg) {
    struct visitor *visitor = arg;
    visitor->state = PyThreadState_New(PyInterpreterState_Main());
    latch_arrive(&visitor->made);
    CHECK_INT_EQ(latch_wait(&visitor->deleted, LIMIT_MS), 1);
    CHECK_NULL(PyGILState_GetThisThreadState());
    ensure_and_release(NULL);
}

TEST("deleting another thread's state empties that thread's slot (S-BD-07)") {
    struct visitor visitor = {NULL, LATCH_INIT(1), LATCH_INIT(1)};
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    peers_add(&peers, 1, lose_the_state, &visitor);
    peers_start(&peers);
    CHECK_INT_EQ(latch_wait(&visitor.made, LIMIT_MS), 1);
    PyThreadState_Clear(visitor.state);
    PyThreadState_Delete(visitor.state);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), main_state); /* S-DL-15 */
    latch_arrive(&visitor.deleted);
    join_peers(&peers);
    finish();
}

static void abandon_a_state(void *where) {
    *(PyThreadState **)where = PyThreadState_New(PyInterpreterState_Main());
}

TEST("a state may outlive its thread, and is deleted by another") {
    begin();
    for (int i = 0; i < 50; i++) {
        PyThreadState *left = NULL;
        in_foreign_thread(abandon_a_state, &left);
        CHECK(is_linked(PyInterpreterState_Main(), left));
        PyThreadState_Clear(left);
        PyThreadState_Delete(left);
    }
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

/* The C library runs four rounds of destructors: each that leaves a value for
 * its key is called again, and in the last round no other comes after it. */
static pthread_key_t again_key;
static int n_rounds, used_before;
static PyThreadState *left_in_last_round;

static void in_each_round(void *value) {
    if (++n_rounds < 4) {
        pthread_setspecific(again_key, value);
        return;
    }
    left_in_last_round = PyThreadState_New(PyInterpreterState_Main());
    PyEval_RestoreThread(left_in_last_round);
    PyEval_SaveThread();
}

static void *end_in_rounds(void *unused) {
    if (used_before)
        PyGILState_Release(PyGILState_Ensure());
    pthread_setspecific(again_key, &again_key);
    return unused;
}

TEST("a state of a thread's last destructor outlives the thread and is deleted "
     "by another") {
#ifdef __SANITIZE_THREAD__
    SKIP("ThreadSanitizer gives its own thread up in the last round");
#endif
    begin();
    CHECK_INT_EQ(pthread_key_create(&again_key, in_each_round), 0);
    for (used_before = 0; used_before < 2; used_before++) {
        pthread_attr_t big; /* more than the C library keeps: it is unmapped */
        pthread_t thread;
        n_rounds = 0;
        pthread_attr_init(&big);
        pthread_attr_setstacksize(&big, (size_t)128 << 20);
        PyThreadState *mine = PyEval_SaveThread();
        CHECK_INT_EQ(pthread_create(&thread, &big, end_in_rounds, NULL), 0);
        CHECK_INT_EQ(pthread_join(thread, NULL), 0);
        PyEval_RestoreThread(mine);
        CHECK_INT_EQ(n_rounds, 4);
        PyThreadState_Clear(left_in_last_round);
        PyThreadState_Delete(left_in_last_round);
        CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);
        CHECK_UINT_EQ(n_states(NULL), 1);
    }
    finish();
}

struct stale {
    PyThreadState *state;
    struct latch made, ended;
};

static void keep_a_stale_slot(void *arg) {
    struct stale *stale = arg;
    stale->state = PyThreadState_New(PyInterpreterState_Main());
    latch_arrive(&stale->made);
    CHECK_INT_EQ(latch_wait(&stale->ended, LIMIT_MS), 1);
    CHECK_NULL(PyGILState_GetThisThreadState());
    ensure_and_release(NULL);
}

TEST("a thread whose state was deleted in a life with states of another size "
     "has none in the next") {
    struct stale stale = {NULL, LATCH_INIT(1), LATCH_INIT(1)};
    struct peers peers = PEERS_INIT;
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.host_tstate_size = 1 << 20; /* given back, it would be unmapped */
    begin_with(&config);
    peers_add(&peers, 1, keep_a_stale_slot, &stale);
    peers_start(&peers);
    CHECK_INT_EQ(latch_wait(&stale.made, LIMIT_MS), 1);
    PyThreadState_Clear(stale.state);
    PyThreadState_Delete(stale.state);
    finish();
    begin();
    latch_arrive(&stale.ended);
    join_peers(&peers);
    finish();
}

static atomic_int inside;
static long turns;

static void take_turns(void *rounds) {
    for (int i = 0; i < *(int *)rounds; i++) {
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_INT_EQ(atomic_fetch_add(&inside, 1), 0);
        turns++;
        CHECK_INT_EQ(atomic_fetch_sub(&inside, 1), 1);
        PyGILState_Release(token);
    }
}

TEST("eight threads ensure and release at once, one of them at a time") {
    NEEDS_GIL();
    int rounds = 500;
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, 8, take_turns, &rounds);
    peers_start(&peers);
    join_peers(&peers);
    CHECK_INT_EQ(turns, 8 * 500);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

#define TOO_MANY \
    "PyGILState_Release: called more times than PyGILState_Ensure()"

static void release_with_host_state(void) {
    PyThreadState_Swap(PyThreadState_New(PyInterpreterState_Get()));
    PyGILState_Release(PyGILState_UNLOCKED);
}

static void release_with_ensured_state(void) {
    PyInterpreterView *view = PyInterpreterView_FromMain();
    PyEval_SaveThread();
    PyThreadState_Swap(PyThreadState_New(PyInterpreterState_Main()));
    leave(); /* the thread has no gilstate now */
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK_NOT_NULL(PyThreadState_EnsureFromView(view));
    PyGILState_Release(PyGILState_UNLOCKED);
}

static void release_once_more(void *unused) {
    (void)unused;
    PyGILState_Release(PyGILState_UNLOCKED);
}

static void release_in_hook(void) {
    PyThreadState *state = PyEval_SaveThread();
    PyThreadState_Delete(state); /* misuse, passed over */
    CHECK_INT_EQ(PyGILState_Ensure(), PyGILState_UNLOCKED);
    PyThreadState_Get()->on_delete = release_once_more;
    PyGILState_Release(PyGILState_UNLOCKED);
}

TEST("one Release too many deletes no state: it is fatal, by name") {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.check_level = PyTState_CHECK_OFF;
    begin_with(&config);
    EXPECT_ABORT(TOO_MANY) { PyGILState_Release(PyGILState_LOCKED); }
    EXPECT_ABORT(TOO_MANY) { release_with_host_state(); }
    EXPECT_ABORT(TOO_MANY) { release_with_ensured_state(); }
    EXPECT_ABORT(TOO_MANY) { release_in_hook(); }
    finish();
}
