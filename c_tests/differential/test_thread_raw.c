/* What embedders do on threads of their own: the documented ways for a plain
 * OS thread to live with thread states (S-TS-09, S-BD, S-AT, S-DL). */
#include <Python.h>

#include "common.h"

static PyInterpreterState *interp;

/* ---- The life of a state on a plain thread ------------------------------ */

static void new_restore_clear_delete_current(void *unused) {
    (void)unused;
    PyThreadState *state = PyThreadState_New(interp);
    PyEval_RestoreThread(state);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("new, restore, clear, delete current") {
    begin();
    interp = PyInterpreterState_Get();
    on_new_thread(new_restore_clear_delete_current, NULL);
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

static void new_acquire_clear_release_delete(void *unused) {
    (void)unused;
    PyThreadState *state = PyThreadState_New(interp);
    PyEval_AcquireThread(state);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyThreadState_Clear(state);
    PyEval_ReleaseThread(state);
    PyThreadState_Delete(state);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("new, acquire, clear, release, delete") {
    begin();
    interp = PyInterpreterState_Get();
    on_new_thread(new_acquire_clear_release_delete, NULL);
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

static void both_ways_often(void *unused) {
    for (int i = 0; i < 50; i++) {
        new_restore_clear_delete_current(unused);
        new_acquire_clear_release_delete(unused);
        PyGILState_Release(PyGILState_Ensure());
    }
}

TEST("many threads live through all the ways at once") {
    begin();
    interp = PyInterpreterState_Get();
    struct peers peers = PEERS_INIT;
    Py_BEGIN_ALLOW_THREADS
    peers_add(&peers, 8, both_ways_often, NULL);
    peers_start(&peers);
    peers_join(&peers, 15000);
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

/* ---- A state that stays ------------------------------------------------- */

struct stay {
    PyThreadState *state;
    uint64_t id;
    int visits;
};

static void keep_one_state(void *arg) {
    struct stay *stay = arg;
    stay->state = PyThreadState_New(interp);
    stay->id = PyThreadState_GetID(stay->state);
    for (int i = 0; i < 100; i++) {
        PyEval_RestoreThread(stay->state);
        CHECK_PTR_EQ(PyThreadState_Get(), stay->state);
        CHECK_UINT_EQ(PyThreadState_GetID(stay->state), stay->id);
        stay->visits++;
        CHECK_PTR_EQ(PyEval_SaveThread(), stay->state);
    }
    PyEval_RestoreThread(stay->state);
    PyThreadState_Clear(stay->state);
    PyThreadState_DeleteCurrent();
}

TEST("a thread keeps one state over many visits") {
    begin();
    interp = PyInterpreterState_Get();
    struct stay stay[4] = {{0}};
    struct peers peers = PEERS_INIT;
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < 4; i++)
        peers_add(&peers, 1, keep_one_state, &stay[i]);
    peers_start(&peers);
    peers_join(&peers, 15000);
    Py_END_ALLOW_THREADS
    for (int i = 0; i < 4; i++)
        CHECK_INT_EQ(stay[i].visits, 100);
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

static void ensure_on_a_kept_state(void *unused) {
    (void)unused;
    PyThreadState *state = PyThreadState_New(interp);
    for (int i = 0; i < 20; i++) {
        PyGILState_STATE token = PyGILState_Ensure();
        CHECK_PTR_EQ(PyThreadState_Get(), state);
        PyGILState_Release(token);
    }
    PyEval_RestoreThread(state);
    CHECK_INT_EQ(state->gilstate_counter, 1);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

TEST("a kept state makes ensuring cheap: no other one is made") {
    begin();
    interp = PyInterpreterState_Get();
    on_new_thread(ensure_on_a_kept_state, NULL);
    PyThreadState *next = PyThreadState_New(interp);
    CHECK_UINT_EQ(PyThreadState_GetID(next), 3);
    drop_state(next);
    finish();
}

static void leave_state_behind(void *state) {
    *(PyThreadState **)state = PyThreadState_New(interp);
}

TEST("finalization copes with the state of a thread that is over") {
    begin();
    interp = PyInterpreterState_Get();
    PyThreadState *left[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++) {
        on_new_thread(leave_state_behind, &left[i]);
        CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), left[i]);
    }
    CHECK_INT_EQ(count_states(interp), 4);
    finish();
}

static void ensure_without_release(void *unused) {
    (void)unused;
    PyGILState_Ensure();
    PyEval_SaveThread();
}

TEST("finalization copes with a thread that ended between its calls") {
    begin();
    interp = PyInterpreterState_Get();
    on_new_thread(ensure_without_release, NULL);
    CHECK_INT_EQ(count_states(interp), 2);
    finish();
}

/* ---- Threads of the library's own kind ---------------------------------- */

struct started {
    struct latch counted, ended;
    int sum;
};

static void raw_body(void *arg) {
    struct started *all = arg;
    CHECK_NULL(PyGILState_GetThisThreadState());
    CHECK(latch_wait(&all->counted, 5000));
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_EQ(PyInterpreterState_Get(), PyInterpreterState_Main());
    all->sum++;
    PyGILState_Release(token);
    latch_arrive(&all->ended);
}

TEST("a thread that PyThread starts has no state until it ensures") {
    begin();
    interp = PyInterpreterState_Get();
    struct started all = {.counted = LATCH_INIT(1), .ended = LATCH_INIT(4)};
    for (int i = 0; i < 4; i++)
        CHECK_UINT_NE(PyThread_start_new_thread(raw_body, &all),
                      PYTHREAD_INVALID_THREAD_ID);
    CHECK_INT_EQ(count_states(interp), 1);
    latch_arrive(&all.counted);
    Py_BEGIN_ALLOW_THREADS
    CHECK(latch_wait(&all.ended, 5000));
    Py_END_ALLOW_THREADS
    CHECK_INT_EQ(all.sum, 4);
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

/* ---- One thread, several interpreters (S-TS-09, S-NI-14) ---------------- */

struct places {
    PyInterpreterState *interp[3];
};

static void visit_all(void *arg) {
    struct places *places = arg;
    PyThreadState *state[3];
    for (int i = 0; i < 3; i++) {
        state[i] = PyThreadState_New(places->interp[i]);
        CHECK_PTR_EQ(PyThreadState_GetInterpreter(state[i]), places->interp[i]);
        CHECK_UINT_EQ(state[i]->thread_id, state[0]->thread_id);
    }
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < 3; i++) {
            PyEval_AcquireThread(state[i]);
            CHECK_PTR_EQ(PyInterpreterState_Get(), places->interp[i]);
            PyEval_ReleaseThread(state[i]);
        }
    PyEval_RestoreThread(state[0]);
    for (int i = 0; i < 3; i++) {
        PyThreadState_Swap(state[i]);
        PyThreadState_Clear(state[i]);
    }
    PyThreadState_DeleteCurrent();
    PyThreadState_Delete(state[1]);
    PyThreadState_Delete(state[0]);
}

TEST("a thread can have a state in each of several interpreters") {
    PyThreadState *first = begin();
    struct places places;
    PyThreadState *sub[2];
    places.interp[0] = PyInterpreterState_Get();
    for (int i = 0; i < 2; i++) {
        sub[i] = Py_NewInterpreter();
        places.interp[i + 1] = PyInterpreterState_Get();
    }
    on_new_thread(visit_all, &places);
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(count_states(places.interp[i]), 1);
    for (int i = 0; i < 2; i++) {
        PyThreadState_Swap(sub[i]);
        Py_EndInterpreter(sub[i]);
    }
    PyThreadState_Swap(first);
    finish();
}

#if PY_VERSION_HEX >= V3_12
static void visit_all_with_gils(void *arg) {
    for (int i = 0; i < 10; i++)
        visit_all(arg);
}

TEST("threads go from interpreter to interpreter, each with its own GIL") {
    PyThreadState *first = begin();
    PyInterpreterConfig config = _PyInterpreterConfig_INIT;
    struct places places;
    struct peers peers = PEERS_INIT;
    PyThreadState *sub[2];
    places.interp[0] = PyInterpreterState_Get();
    for (int i = 0; i < 2; i++) {
        PyStatus status = Py_NewInterpreterFromConfig(&sub[i], &config);
        CHECK_INT_EQ(PyStatus_Exception(status), 0);
        places.interp[i + 1] = PyInterpreterState_Get();
    }
    PyEval_SaveThread();
    peers_add(&peers, 4, visit_all_with_gils, &places);
    peers_start(&peers);
    peers_join(&peers, 15000);
    for (int i = 0; i < 2; i++) {
        PyThreadState_Swap(sub[i]);
        CHECK_INT_EQ(count_states(places.interp[i + 1]), 1);
        Py_EndInterpreter(sub[i]);
    }
    PyThreadState_Swap(first);
    CHECK_INT_EQ(count_states(places.interp[0]), 1);
    finish();
}
#endif
