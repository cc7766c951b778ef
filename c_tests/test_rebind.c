/* PyTState_Rebind: a state handed from one thread to another. */
#include "host.h"

#include <string.h>
#include <unistd.h>

static void in_other_thread(void (*body)(void *), void *arg) {
    struct peers peers = PEERS_INIT;
    PyThreadState *mine = PyThreadState_GetUnchecked();
    if (mine)
        PyEval_SaveThread();
    peers_add(&peers, 1, body, arg);
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    if (mine)
        PyEval_RestoreThread(mine);
}

/* ---- Handing over
 * ------------------------------------------------------------ */

static void take_over(void *raw) {
    PyThreadState *state = raw;
    CHECK_UINT_NE(state->thread_id, (unsigned long)pthread_self());
    CHECK_INT_EQ(PyTState_Rebind(state), 0);
    CHECK_UINT_EQ(state->thread_id, (unsigned long)pthread_self());
    CHECK_UINT_EQ(state->native_thread_id, (unsigned long)test_native_id());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), state);
    CHECK_INT_EQ(PyTState_Rebind(state), 0); /* it is its own already */
    PyEval_RestoreThread(state);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    leave();
}

TEST("a detached state goes to the thread that asks for it") {
    PyThreadState *mine = begin();
    PyThreadState *state = PyThreadState_New(mine->interp);
    CHECK_INT_EQ(PyTState_SetName(state, "wanderer"), 0);
    in_other_thread(take_over, state);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static PyThreadState *handed;
static struct latch given = LATCH_INIT(1), taken = LATCH_INIT(1);

static void give_away(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    handed = PyThreadState_Get();
    PyEval_SaveThread();
    latch_arrive(&given);
    CHECK(latch_wait(&taken, LIMIT_MS));
    /* It is another thread's: this one gets a new state. */
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyGILState_STATE again = PyGILState_Ensure();
    CHECK_PTR_NE(PyThreadState_Get(), handed);
    PyGILState_Release(again);
    (void)token;
}

TEST("the thread that had it loses it, also as its gilstate") {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, give_away, NULL);
    peers_start(&peers);
    WAIT_DETACHED(latch_wait(&given, 0));
    CHECK_INT_EQ(PyTState_Rebind(handed), 0);
    /* This thread has a gilstate: it keeps that one. */
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);
    latch_arrive(&taken);
    join_peers(&peers);
    PyThreadState_Swap(handed);
    PyThreadState_Clear(handed);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(mine);
    finish();
}

/* A state goes round; what each thread does with it comes before the next. */
enum { RUNNERS = 4, LAPS = 300 };
static struct {
    PyThreadState *state;
    _Atomic(int) turn;
    long laps; /* touched with the state attached only */
} baton;

static void run(void *raw) {
    int me = (int)(uintptr_t)raw;
    for (int lap = 0; lap < LAPS; lap++) {
        WAIT_UNTIL(atomic_load(&baton.turn) == me, LIMIT_MS);
        CHECK_INT_EQ(PyTState_Rebind(baton.state), 0);
        PyEval_RestoreThread(baton.state);
        baton.laps++;
        poll_once();
        PyEval_SaveThread();
        atomic_store(&baton.turn, (me + 1) % RUNNERS);
    }
}

static void relay(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    baton.state = PyThreadState_New(mine->interp);
    for (uintptr_t i = 0; i < RUNNERS; i++)
        peers_add(&peers, 1, run, (void *)i);
    PyEval_SaveThread();
    peers_start(&peers);
    /* Pauses meanwhile: a suspended state can be handed on as well. */
    while (peers_running(&peers)) {
        _PyEval_StopTheWorldAll(NULL);
        _PyEval_StartTheWorldAll(NULL);
        test_nap();
    }
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(baton.laps, RUNNERS * LAPS);
    CHECK_INT_EQ(PyTState_Rebind(baton.state), 0);
    PyEval_RestoreThread(baton.state);
    leave();
    PyEval_RestoreThread(mine);
    finish();
}

TEST("a state goes round among threads, with a GIL") {
    relay(PyTState_GIL_SHARED);
}
TEST("a state goes round among threads, without a GIL") {
    relay(PyTState_GIL_NONE);
}

/* ---- Refusals
 * -------------------------------------------------------------------- */

static void check_refused(PyThreadState *state, const char *text) {
    unsigned long thread = state->thread_id;
    CHECK_INT_EQ(PyTState_Rebind(state), -1);
    check_raised(PyExc_RuntimeError, text);
    CHECK_UINT_EQ(state->thread_id, thread);
}

static atomic_int over;
static PyThreadState *busy;
static struct latch in_place = LATCH_INIT(1);

static void stay_attached(void *interp) {
    busy = enter(interp);
    latch_arrive(&in_place);
    while (!atomic_load(&over))
        poll_once();
    leave();
}

TEST("an attached state is refused, whoever asks") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, stay_attached, mine->interp);
    peers_start(&peers);
    CHECK(latch_wait(&in_place, LIMIT_MS));
    check_refused(busy, "is attached");
    check_refused(mine, "is attached");
    /* Stopped at its poll it is still its thread's. */
    _PyEval_StopTheWorld(mine->interp);
    WAIT_UNTIL(test_thread_sleeps((long)busy->native_thread_id), LIMIT_MS);
    check_refused(busy, "about to attach");
    _PyEval_StartTheWorld(mine->interp);
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
}

static PyMutex a_mutex;

static void wait_for_mutex(void *interp) {
    busy = enter(interp);
    latch_arrive(&in_place);
    PyMutex_Lock(&a_mutex);
    PyMutex_Unlock(&a_mutex);
    leave();
}

TEST(
    "a state whose thread sleeps in a call that attaches it again is refused") {
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    PyTState_Sync_Perturb(0, 0, 0); /* it sleeps there and nowhere else */
    PyMutex_Lock(&a_mutex);
    peers_add(&peers, 1, wait_for_mutex, mine->interp);
    PyEval_SaveThread();
    peers_start(&peers);
    CHECK(latch_wait(&in_place, LIMIT_MS));
    WAIT_UNTIL(test_thread_sleeps((long)busy->native_thread_id), LIMIT_MS);
    PyEval_RestoreThread(mine);
    check_refused(busy, "about to attach");
    PyMutex_Unlock(&a_mutex);
    join_peers(&peers);
    finish();
}

/* ---- Attached on another thread, without asking ----------------------- */

static void check_is_own(PyThreadState *state) {
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    CHECK_UINT_EQ(state->thread_id, (unsigned long)pthread_self());
    CHECK_UINT_EQ(state->native_thread_id, (unsigned long)test_native_id());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), state);
    CHECK_INT_EQ(PyGILState_Check(), 1);
}

static int reports;

static void note_report(const char *func, const char *text, void *count) {
    CHECK_STR_EQ(func, "PyEval_RestoreThread");
    CHECK_NOT_NULL(strstr(text, "belongs to thread 0x"));
    ++*(int *)count;
}

static void attach_what_is_not_its_own(void *state) {
    PyEval_RestoreThread(state);
    check_is_own(state);
    PyEval_SaveThread();
}

TEST("a state that another thread attaches is that thread's from then on") {
    PyThreadState *mine = begin();
    in_other_thread(attach_what_is_not_its_own, mine);
    check_is_own(mine);
    PyThreadState *other = PyThreadState_New(mine->interp);
    in_other_thread(attach_what_is_not_its_own, other);
    /* Its owner has ended. */
    PyThreadState_Swap(other);
    check_is_own(other);
    PyThreadState_Swap(mine);
    check_is_own(mine);
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    finish();
}

static void ensure_anew(void *state) {
    PyThreadState *before = PyThreadState_Swap(state);
    CHECK_NULL(before);
    PyThreadState_Swap(NULL);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(token);
    atomic_store((atomic_int *)PyTState_HostData(state), 1);
}

TEST("the thread that had it has no gilstate any more, and its Ensure makes "
     "a new one") {
    PyTState_Config config = {.host_tstate_size = sizeof(atomic_int)};
    PyThreadState *mine = begin_with(&config);
    PyEval_SaveThread();
    in_other_thread(ensure_anew, mine);
    CHECK_INT_EQ(atomic_load((atomic_int *)PyTState_HostData(mine)), 1);
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_NE(PyThreadState_Get(), mine);
    PyGILState_Release(token);
    PyEval_RestoreThread(mine);
    finish();
}

TEST("a host that wants to know is told, and goes on") {
    PyTState_Config config = {.check_level = PyTState_CHECK_CALLBACK};
    PyThreadState *mine = begin_with(&config);
    PyTState_SetCheckCallback(note_report, &reports);
    PyEval_RestoreThread(PyEval_SaveThread());
    CHECK_INT_EQ(reports, 0);
    in_other_thread(attach_what_is_not_its_own,
                    PyThreadState_New(mine->interp));
    CHECK_INT_EQ(reports, 1);
    finish();
}

TEST(
    "a state in the middle of a call of its thread is refused at every level") {
    for (int level = PyTState_CHECK_FATAL; level <= PyTState_CHECK_STRICT;
         level++)
        EXPECT_ABORT("which is in the middle of a call") {
            PyTState_Config config = {.check_level = level};
            struct peers peers = PEERS_INIT;
            PyThreadState *mine = begin_with(&config);
            PyTState_Sync_Perturb(0, 0, 0);
            PyMutex_Lock(&a_mutex);
            peers_add(&peers, 1, wait_for_mutex, mine->interp);
            PyEval_SaveThread();
            peers_start(&peers);
            CHECK(latch_wait(&in_place, LIMIT_MS));
            WAIT_UNTIL(test_thread_sleeps((long)busy->native_thread_id),
                       LIMIT_MS);
            PyEval_RestoreThread(busy);
        }
}

/* What embedders with one shared state do: swap it for one of their own. */
static void borrow(void *shared) {
    for (int i = 0; i < 200; i++) {
        PyEval_RestoreThread(shared);
        PyThreadState *own =
            PyThreadState_New(PyThreadState_GetInterpreter(shared));
        CHECK_PTR_EQ(PyThreadState_Swap(own), shared);
        poll_once();
        check_is_own(own);
        CHECK_PTR_EQ(PyThreadState_Swap(shared), own);
        PyThreadState_Clear(own);
        PyThreadState_Delete(own);
        PyEval_SaveThread();
    }
}

TEST("threads that borrow one state from one another take turns by the GIL") {
    NEEDS_GIL();
    PyThreadState *mine = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 3, borrow, mine);
    PyEval_SaveThread();
    peers_start(&peers);
    borrow(mine);
    peers_join(&peers, LIMIT_MS);
    PyEval_RestoreThread(mine);
    check_is_own(mine);
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}

static void come_later(void *interp) {
    busy = PyThreadState_New(interp);
    latch_arrive(&in_place);
    PyEval_RestoreThread(busy);
    leave();
}

TEST("a state whose thread waits for the GIL, or for a pause, is refused") {
    NEEDS_GIL();
    PyThreadState *mine = begin();
    PyTState_Sync_Perturb(0, 0, 0); /* the thread sleeps there, not before */
    struct peers peers = PEERS_INIT, again = PEERS_INIT;
    peers_add(&peers, 1, come_later, mine->interp);
    peers_start(&peers);
    CHECK(latch_wait(&in_place, LIMIT_MS));
    WAIT_UNTIL(__atomic_load_n(&busy->gil_requested, __ATOMIC_RELAXED) == 1,
               LIMIT_MS);
    check_refused(busy, "about to attach");
    join_peers(&peers);

    PyThreadState *none = new_interp(PyTState_INTERP_NO_GIL);
    atomic_store(&in_place.left, 1);
    peers_add(&again, 1, come_later, none->interp);
    _PyEval_StopTheWorld(none->interp);
    peers_start(&again);
    CHECK(latch_wait(&in_place, LIMIT_MS));
    WAIT_UNTIL(test_thread_sleeps((long)busy->native_thread_id), LIMIT_MS);
    check_refused(busy, "about to attach");
    _PyEval_StartTheWorld(none->interp);
    join_peers(&again);
    Py_EndInterpreter(none);
    PyEval_RestoreThread(mine);
    finish();
}

static void stay_detached(void *unused) {
    (void)unused;
    PyThreadState *state = PyEval_SaveThread();
    latch_arrive(&in_place);
    WAIT_UNTIL(atomic_load(&over), LIMIT_MS);
    PyEval_RestoreThread(state);
}

TEST("states that are cleared, unbound or the runtime's own are refused") {
    PyThreadState *mine = begin();
    PyThreadState *state = PyThreadState_New(mine->interp);
    PyThreadState_Clear(state);
    check_refused(state, "was cleared, deleted or given up");
    PyThreadState_Delete(state);

    state = _PyThreadState_Prealloc(mine->interp);
    check_refused(state, "belongs to no thread yet");
    PyThreadState_Clear(state);
    PyThreadState_Delete(state);

    PyThreadHandle *handle = start(stay_detached, NULL);
    WAIT_DETACHED(latch_wait(&in_place, 0));
    check_refused(PyThreadHandle_ThreadState(handle), "the runtime started");
    atomic_store(&over, 1);
    join_and_drop(handle);
    finish();
}

TEST("a refusal without an attached state is only -1") {
    PyThreadState *mine = begin();
    PyThreadState *state = PyThreadState_New(mine->interp);
    PyThreadState_Clear(state);
    PyEval_SaveThread();
    CHECK_INT_EQ(PyTState_Rebind(state), -1);
    PyEval_RestoreThread(mine);
    CHECK_NULL(PyErr_Occurred());
    PyThreadState_Delete(state);
    EXPECT_ABORT("PyTState_Rebind") { PyTState_Rebind(NULL); }
    finish();
}

/* ---- The main thread's own state
 * ----------------------------------------------- */

static int called;

static int count_call(void *unused) {
    (void)unused;
    called++;
    return 0;
}

static void use_for_a_while(void *state) {
    CHECK_INT_EQ(PyTState_Rebind(state), 0);
    PyEval_RestoreThread(state);
    CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(_Py_HandlePending(state), 0);
    CHECK_INT_EQ(called, 0); /* meant for the main thread */
    PyEval_SaveThread();
}

TEST("the main thread's state can be lent and comes back") {
    PyThreadState *mine = begin();
    PyEval_SaveThread();
    in_other_thread(use_for_a_while, mine);
    CHECK_INT_EQ(PyTState_Rebind(mine), 0);
    PyEval_RestoreThread(mine);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(called, 1);
    CHECK_INT_EQ(Py_AddPendingCall(count_call, NULL), 0);
    poll_once(); /* its polls notice such calls again */
    CHECK_INT_EQ(called, 2);
    finish();
}

static void finalize_with(void *state) {
    CHECK_INT_EQ(PyTState_Rebind(state), 0);
    PyEval_RestoreThread(state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static atomic_int n_called;

static int count_called(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_called, 1);
    return 0;
}

static void take_and_ask_main_thread(void *main_state) {
    CHECK_INT_EQ(PyTState_Rebind(main_state), 0);
    CHECK_INT_EQ(Py_AddPendingCall(count_called, NULL), 0);
    PyErr_SetInterrupt();
}

TEST("what came for the main thread while its state was lent is served after "
     "it came back") {
    Py_InitializeEx(1);
    PyThreadState *mine = PyEval_SaveThread();
    in_other_thread(take_and_ask_main_thread, mine);
    CHECK_INT_EQ(PyTState_Rebind(mine), 0);
    PyEval_RestoreThread(mine);
    CHECK_INT_NE(mine->eval_breaker, 0);
    CHECK_INT_EQ(_Py_HandlePending(mine), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    CHECK_INT_NE(mine->eval_breaker, 0);
    CHECK_INT_EQ(_Py_HandlePending(mine), 0);
    CHECK_INT_EQ(n_called, 1);
    finish();
}

TEST("the main thread's state can be given away, and either side finalizes") {
    for (int round = 0; round < 2; round++) {
        PyThreadState *mine = begin();
        PyEval_SaveThread();
        called = 0;
        if (round == 0) {
            in_other_thread(finalize_with, mine);
        } else {
            in_other_thread(use_for_a_while, mine);
            CHECK_INT_EQ(Py_FinalizeEx(), 0);
            CHECK_INT_EQ(called, 1);
        }
        CHECK_INT_EQ(Py_IsInitialized(), 0);
    }
}
