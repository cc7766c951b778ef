/* PyGILState and the slot that it uses (S-GS, S-BD). */
#include <Python.h>

#include "common.h"

/* ---- The slot (S-BD-05, S-BD-06, S-BD-07, S-GS-14) ---------------------- */

TEST("before initialization no thread has a gilstate") {
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("after finalization no thread has a gilstate") {
    begin();
    finish();
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("the main state is the gilstate of the main thread") {
    PyThreadState *first = begin();
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    finish();
}

TEST("a detached thread keeps its gilstate") {
    PyThreadState *first = begin();
    PyEval_SaveThread();
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    finish();
}

static void see_no_gilstate(void *unused) {
    (void)unused;
    CHECK_NULL(PyGILState_GetThisThreadState());
    /* Asking made nothing. */
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("asking for the gilstate of a new thread makes none") {
    begin();
    on_new_thread(see_no_gilstate, NULL);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

static void bind_two(void *arg) {
    PyInterpreterState *interp = arg;
    PyThreadState *one = PyThreadState_New(interp);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one);
    PyThreadState *two = PyThreadState_New(interp);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one);
    PyEval_RestoreThread(one);
    PyThreadState_Clear(two);
    PyThreadState_Delete(two);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), one);
    PyThreadState_Clear(one);
    PyThreadState_DeleteCurrent();
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("the first state made on a thread is its gilstate, the second is not") {
    begin();
    on_new_thread(bind_two, PyInterpreterState_Get());
    finish();
}

/* Before 3.12 the first state of a thread stayed its gilstate for good. */
TEST("the state that was attached last is the gilstate") {
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    int last_counts = BEHAVIOUR >= V3_12;
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    PyThreadState_Swap(second);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), last_counts ? second : first);
    PyThreadState_Swap(first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    drop_state(second);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    finish();
}

TEST("a detached state stays the gilstate though another one is made") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the first state of a thread stays its gilstate");
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_Swap(second);
    PyEval_SaveThread();
    PyThreadState *third = PyThreadState_New(PyInterpreterState_Main());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), second);
    PyEval_RestoreThread(first);
    drop_state(third);
    drop_state(second);
    finish();
}

TEST("deleting the attached gilstate empties the slot") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the first state of a thread stays its gilstate");
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_Swap(second);
    PyThreadState_Clear(second);
    PyThreadState_DeleteCurrent();
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    finish();
}

static void delete_detached(void *arg) {
    PyInterpreterState *interp = arg;
    PyThreadState *state = PyThreadState_New(interp);
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyEval_SaveThread();
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), state);
    PyThreadState_Delete(state);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("deleting the detached gilstate on its own thread empties the slot") {
    begin();
    on_new_thread(delete_detached, PyInterpreterState_Get());
    finish();
}

/* ---- The main thread (S-GS-03, S-GS-04, S-GS-11, S-GS-13) --------------- */

TEST("ensuring while attached counts and says locked") {
    PyThreadState *first = begin();
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_LOCKED);
    CHECK_INT_EQ(first->gilstate_counter, 2);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyGILState_Release(token);
    CHECK_INT_EQ(first->gilstate_counter, 1);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("ensuring while detached attaches and says unlocked") {
    PyThreadState *first = begin();
    PyEval_SaveThread();
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    CHECK_INT_EQ(first->gilstate_counter, 2);
    PyGILState_Release(token);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(first->gilstate_counter, 1);
    PyEval_RestoreThread(first);
    finish();
}

TEST("the tokens are 0 for locked and 1 for unlocked") {
    CHECK_INT_EQ(PyGILState_LOCKED, 0);
    CHECK_INT_EQ(PyGILState_UNLOCKED, 1);
}

TEST("releasing never deletes the state of the main thread") {
    PyThreadState *first = begin();
    for (int i = 0; i < 100; i++) {
        PyEval_SaveThread();
        PyGILState_Release(PyGILState_Ensure());
        PyEval_RestoreThread(first);
    }
    CHECK_INT_EQ(first->gilstate_counter, 1);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(PyInterpreterState_Get()),
                 first);
    finish();
}

/* ---- A foreign thread (S-GS-02, S-GS-10, S-GS-12) ----------------------- */

static void ensure_once(void *arg) {
    uint64_t *id = arg;
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(token, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), state);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(state),
                 PyInterpreterState_Main());
    CHECK_INT_EQ(state->gilstate_counter, 1);
    CHECK_UINT_EQ(state->thread_id, PyThread_get_thread_ident());
    CHECK_INT_EQ(count_states(PyInterpreterState_Main()), 2);
    *id = PyThreadState_GetID(state);
    PyGILState_Release(token);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("a thread without a state gets one until it releases") {
    begin();
    uint64_t id = 0;
    on_new_thread(ensure_once, &id);
    CHECK_UINT_EQ(id, 2);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

static void ensure_twice_in_a_row(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    uint64_t id = PyThreadState_GetID(PyThreadState_Get());
    PyGILState_Release(token);
    token = PyGILState_Ensure();
    CHECK_UINT_EQ(PyThreadState_GetID(PyThreadState_Get()), id + 1);
    PyGILState_Release(token);
}

TEST("a thread that released gets a new state the next time") {
    begin();
    on_new_thread(ensure_twice_in_a_row, NULL);
    finish();
}

static void nest(void *unused) {
    (void)unused;
    PyGILState_STATE outer = PyGILState_Ensure();
    PyThreadState *state = PyThreadState_Get();
    PyGILState_STATE middle = PyGILState_Ensure();
    PyGILState_STATE inner = PyGILState_Ensure();
    CHECK_INT_EQ(outer, PyGILState_UNLOCKED);
    CHECK_INT_EQ(middle, PyGILState_LOCKED);
    CHECK_INT_EQ(inner, PyGILState_LOCKED);
    CHECK_INT_EQ(state->gilstate_counter, 3);
    PyGILState_Release(inner);
    CHECK_INT_EQ(state->gilstate_counter, 2);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(middle);
    CHECK_INT_EQ(state->gilstate_counter, 1);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(outer);
    CHECK_NULL(PyThreadState_GetUnchecked());
}

TEST("ensuring nests on one state, which ends with the outermost release") {
    begin();
    on_new_thread(nest, NULL);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

static void nest_around_detach(void *unused) {
    (void)unused;
    PyGILState_STATE outer = PyGILState_Ensure();
    PyThreadState *state = PyEval_SaveThread();
    PyGILState_STATE inner = PyGILState_Ensure();
    CHECK_INT_EQ(inner, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    CHECK_INT_EQ(state->gilstate_counter, 2);
    PyThreadState *again = PyEval_SaveThread();
    PyGILState_STATE innermost = PyGILState_Ensure();
    CHECK_INT_EQ(innermost, PyGILState_UNLOCKED);
    CHECK_INT_EQ(state->gilstate_counter, 3);
    PyGILState_Release(innermost);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(again);
    PyGILState_Release(inner);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), state);
    CHECK_INT_EQ(state->gilstate_counter, 1);
    PyEval_RestoreThread(state);
    PyGILState_Release(outer);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("pairs of ensure and release may enclose pairs of save and restore") {
    begin();
    on_new_thread(nest_around_detach, NULL);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

static void nest_deep(void *unused) {
    (void)unused;
    enum { DEPTH = 500 };
    static PyGILState_STATE token[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
        token[i] = PyGILState_Ensure();
        CHECK_INT_EQ(PyThreadState_Get()->gilstate_counter, i + 1);
    }
    for (int i = DEPTH - 1; i >= 0; i--)
        PyGILState_Release(token[i]);
    CHECK_NULL(PyGILState_GetThisThreadState());
}

TEST("ensuring nests 500 times") {
    begin();
    on_new_thread(nest_deep, NULL);
    finish();
}

/* A state that the host made (S-GS-01, S-GS-04). */
static void ensure_with_own_state(void *arg) {
    PyInterpreterState *interp = arg;
    PyThreadState *mine = PyThreadState_New(interp);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), mine);
    CHECK_INT_EQ(mine->gilstate_counter, 2);
    PyGILState_Release(token);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(mine->gilstate_counter, 1);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), mine);
    PyEval_RestoreThread(mine);
    token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_LOCKED);
    PyGILState_Release(token);
    PyThreadState_Clear(mine);
    PyThreadState_DeleteCurrent();
}

TEST("a state that the host made is used, and not deleted by release") {
    begin();
    on_new_thread(ensure_with_own_state, PyInterpreterState_Get());
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

struct pair {
    struct latch first_in, second_done;
    PyThreadState *seen[2];
};

static void stay(void *arg) {
    struct pair *pair = arg;
    PyGILState_STATE token = PyGILState_Ensure();
    pair->seen[0] = PyThreadState_Get();
    latch_arrive(&pair->first_in);
    Py_BEGIN_ALLOW_THREADS
    CHECK(latch_wait(&pair->second_done, 5000));
    Py_END_ALLOW_THREADS
    CHECK_PTR_EQ(PyThreadState_Get(), pair->seen[0]);
    PyGILState_Release(token);
}

static void come_and_go(void *arg) {
    struct pair *pair = arg;
    CHECK(latch_wait(&pair->first_in, 5000));
    PyGILState_STATE token = PyGILState_Ensure();
    pair->seen[1] = PyThreadState_Get();
    CHECK_PTR_NE(pair->seen[0], pair->seen[1]);
    CHECK_INT_EQ(pair->seen[1]->gilstate_counter, 1);
    PyGILState_Release(token);
    latch_arrive(&pair->second_done);
}

TEST("one thread's release leaves the state of another thread alone") {
    PyThreadState *first = begin();
    struct pair pair = {.first_in = LATCH_INIT(1),
                        .second_done = LATCH_INIT(1)};
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 1, stay, &pair);
    peers_add(&peers, 1, come_and_go, &pair);
    peers_start(&peers);
    peers_join(&peers, 10000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

static void add_up(void *arg) {
    volatile int *sum = arg;
    for (int i = 0; i < 100; i++) {
        PyGILState_STATE token = PyGILState_Ensure();
        int before = *sum;
        sched_yield();
        *sum = before + 1;
        PyGILState_Release(token);
    }
}

TEST("between ensure and release a thread is alone") {
    needs_a_gil();
    PyThreadState *first = begin();
    struct peers peers = PEERS_INIT;
    int sum = 0;
    PyEval_SaveThread();
    peers_add(&peers, 8, add_up, &sum);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(sum, 800);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

/* ---- Sub-interpreters (S-GS-05) ----------------------------------------- */

/* Before 3.12 PyGILState knew the main interpreter only. */
TEST("ensuring uses the sub-interpreter that the thread was in last") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 PyGILState supports the main interpreter only");
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), sub);
    PyEval_SaveThread();
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_UNLOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    PyGILState_Release(token);
    PyEval_RestoreThread(first);
    token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_LOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    PyGILState_Release(token);
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

static void ensure_in_main(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_PTR_EQ(PyInterpreterState_Get(), PyInterpreterState_Main());
    PyGILState_Release(token);
}

TEST("a new state goes to the main interpreter though a sub-interpreter ran") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    on_new_thread(ensure_in_main, NULL);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("ending a sub-interpreter empties the slot that its state was in") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the first state of a thread stays its gilstate");
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    Py_EndInterpreter(sub);
    CHECK_NULL(PyGILState_GetThisThreadState());
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), first);
    finish();
}

static void visit_sub_interpreter(void *unused) {
    (void)unused;
    PyGILState_STATE token = PyGILState_Ensure();
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_PTR_NE(sub, mine);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(mine);
    PyGILState_Release(token);
    CHECK_NULL(PyThreadState_GetUnchecked());
}

TEST("between ensure and release a sub-interpreter may come and go") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 unchecked asking sees the state of other threads");
    begin();
    on_new_thread(visit_sub_interpreter, NULL);
    CHECK_INT_EQ(count_interpreters(), 1);
    CHECK_INT_EQ(count_states(PyInterpreterState_Get()), 1);
    finish();
}

/* ---- Check (S-GS-15) ---------------------------------------------------- */

TEST("the check is 1 while attached and 0 while detached") {
    PyThreadState *first = begin();
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Check(), 0);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    finish();
}

static void check_around_ensure(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyGILState_Check(), 0);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyGILState_Release(token);
    CHECK_INT_EQ(PyGILState_Check(), 0);
}

TEST("the check is 0 on a thread that has no state") {
    begin();
    on_new_thread(check_around_ensure, NULL);
    finish();
}

TEST("the check is 1 for every state that was attached last") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the first state of a thread stays its gilstate");
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_Swap(second);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyThreadState_Swap(first);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    drop_state(second);
    finish();
}

static void check_is_1(void *unused) {
    (void)unused;
    CHECK_INT_EQ(PyGILState_Check(), 1);
}

TEST("a sub-interpreter, even one that is gone, turns the check off") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyThreadState_Swap(first);
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyEval_RestoreThread(first);
    on_new_thread(check_is_1, NULL);
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Check(), 1);
    PyEval_RestoreThread(first);
    finish();
}

TEST("the check works again in the next life of the runtime") {
    PyThreadState *first = begin();
    Py_EndInterpreter(Py_NewInterpreter());
    PyThreadState_Swap(first);
    finish();
    first = begin();
    PyEval_SaveThread();
    CHECK_INT_EQ(PyGILState_Check(), 0);
    PyEval_RestoreThread(first);
    finish();
}
