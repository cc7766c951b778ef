/* Thread states: identities, lists, Swap, creation and deletion (S-TS, S-DL).
 */
#include <Python.h>

#include "common.h"

/* ---- Identities (S-TS-15) --------------------------------------------- */

TEST("the first state of the main interpreter has id 1") {
    CHECK_UINT_EQ(PyThreadState_GetID(begin()), 1);
    finish();
}

TEST("ids grow by one for every state that is made") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    uint64_t last = PyThreadState_GetID(first);
    PyThreadState *made[5];
    for (int i = 0; i < 5; i++) {
        made[i] = PyThreadState_New(interp);
        CHECK_UINT_EQ(PyThreadState_GetID(made[i]), last + 1 + (uint64_t)i);
    }
    for (int i = 0; i < 5; i++)
        drop_state(made[i]);
    finish();
}

TEST("the id of a deleted state is not given to another one") {
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    uint64_t last = 0;
    for (int i = 0; i < 10; i++) {
        PyThreadState *state = PyThreadState_New(interp);
        CHECK_UINT_GT(PyThreadState_GetID(state), last);
        last = PyThreadState_GetID(state);
        drop_state(state);
    }
    finish();
}

TEST("every interpreter counts the ids of its states from 1") {
    PyThreadState *first = begin();
    for (int i = 0; i < 3; i++)
        drop_state(PyThreadState_New(PyInterpreterState_Get()));
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_UINT_EQ(PyThreadState_GetID(sub), 1);
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    CHECK_UINT_EQ(PyThreadState_GetID(second), 2);
    drop_state(second);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

/* ---- The new state (S-TS-02, S-TS-18, S-BD-01, S-BD-02, S-GS-01) ------- */

TEST("making a state does not change what is attached") {
    PyThreadState *first = begin();
    PyThreadState *state = PyThreadState_New(PyInterpreterState_Get());
    CHECK_PTR_NE(state, first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    drop_state(state);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("a state can be made while nothing is attached") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyEval_SaveThread();
    PyThreadState *state = PyThreadState_New(interp);
    CHECK_NOT_NULL(state);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), state);
    PyEval_RestoreThread(first);
    drop_state(state);
    finish();
}

struct bound {
    PyInterpreterState *interp;
    unsigned long thread_id, ident, native_thread_id, native_id;
};

static void make_bound(void *arg) {
    struct bound *seen = arg;
    PyThreadState *state = PyThreadState_New(seen->interp);
    seen->ident = PyThread_get_thread_ident();
    seen->native_id = (unsigned long)test_native_id();
    seen->thread_id = state->thread_id;
    seen->native_thread_id = state->native_thread_id;
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

TEST("a new state is bound to the OS thread that makes it") {
    PyThreadState *first = begin();
    struct bound other = {.interp = PyInterpreterState_Get()};
    CHECK_UINT_EQ(first->thread_id, PyThread_get_thread_ident());
    CHECK_UINT_EQ(first->native_thread_id, (unsigned long)test_native_id());
    on_new_thread(make_bound, &other);
    CHECK_UINT_EQ(other.thread_id, other.ident);
    CHECK_UINT_EQ(other.native_thread_id, other.native_id);
    CHECK_UINT_NE(other.thread_id, first->thread_id);
    finish();
}

TEST("the nesting counter of every new state is 1") {
    PyThreadState *first = begin();
    PyThreadState *state = PyThreadState_New(PyInterpreterState_Get());
    CHECK_INT_EQ(first->gilstate_counter, 1);
    CHECK_INT_EQ(state->gilstate_counter, 1);
    drop_state(state);
    finish();
}

/* ---- The list (S-TS-16) ------------------------------------------------ */

TEST("the only state of an interpreter is its head and has no next one") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), first);
    CHECK_NULL(PyThreadState_Next(first));
    CHECK_NULL(first->prev);
    CHECK_NULL(first->next);
    finish();
}

TEST("the states of an interpreter are listed newest first") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *second = PyThreadState_New(interp);
    PyThreadState *third = PyThreadState_New(interp);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), third);
    CHECK_PTR_EQ(PyThreadState_Next(third), second);
    CHECK_PTR_EQ(PyThreadState_Next(second), first);
    CHECK_NULL(PyThreadState_Next(first));
    drop_state(second);
    drop_state(third);
    finish();
}

TEST("the list is linked both ways") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *second = PyThreadState_New(interp);
    PyThreadState *third = PyThreadState_New(interp);
    CHECK_NULL(third->prev);
    CHECK_PTR_EQ(second->prev, third);
    CHECK_PTR_EQ(first->prev, second);
    CHECK_PTR_EQ(third->next, second);
    CHECK_PTR_EQ(third->interp, interp);
    drop_state(second);
    CHECK_PTR_EQ(first->prev, third);
    CHECK_PTR_EQ(third->next, first);
    drop_state(third);
    finish();
}

TEST("deleting a state in the middle of the list keeps the others in order") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *made[4];
    for (int i = 0; i < 4; i++)
        made[i] = PyThreadState_New(interp);
    drop_state(made[1]);
    drop_state(made[2]);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), made[3]);
    CHECK_PTR_EQ(PyThreadState_Next(made[3]), made[0]);
    CHECK_PTR_EQ(PyThreadState_Next(made[0]), first);
    drop_state(made[3]);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), made[0]);
    drop_state(made[0]);
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

TEST("attaching does not move a state in the list") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *second = PyThreadState_New(interp);
    PyThreadState_Swap(second);
    PyThreadState_Swap(first);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), second);
    CHECK_PTR_EQ(PyThreadState_Next(second), first);
    drop_state(second);
    finish();
}

TEST("each interpreter has a list of its own") {
    PyThreadState *first = begin();
    PyInterpreterState *main_interp = PyInterpreterState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    PyInterpreterState *sub_interp = PyInterpreterState_Get();
    PyThreadState *more = PyThreadState_New(main_interp);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(sub_interp), sub);
    CHECK_NULL(PyThreadState_Next(sub));
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(main_interp), more);
    CHECK_PTR_EQ(PyThreadState_Next(more), first);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    drop_state(more);
    finish();
}

/* ---- Asking (S-TS-20, S-TS-22) ----------------------------------------- */

TEST("an attached state is what both ways of asking return") {
    PyThreadState *first = begin();
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), first);
    CHECK_PTR_EQ(PyThreadState_GET(), first);
    finish();
}

TEST("asking unchecked while nothing is attached returns NULL") {
    PyThreadState *first = begin();
    PyEval_SaveThread();
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), first);
    finish();
}

static void ask_unchecked(void *arg) {
    *(PyThreadState **)arg = PyThreadState_GetUnchecked();
}

TEST("a thread that never had a state has none attached") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 the answer is whoever holds the GIL");
    PyThreadState *first = begin(), *seen = first;
    struct peers peers = PEERS_INIT;
    /* The main thread stays attached meanwhile: the slot is per thread. */
    peers_add(&peers, 1, ask_unchecked, &seen);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_NULL(seen);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), first);
    finish();
}

TEST("a state knows its interpreter and its id also while it is detached") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    uint64_t id = PyThreadState_GetID(first);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(first), interp);
    PyEval_SaveThread();
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(first), interp);
    CHECK_UINT_EQ(PyThreadState_GetID(first), id);
    PyEval_RestoreThread(first);
    finish();
}

TEST("states of two interpreters know which one is theirs") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(first),
                 PyInterpreterState_Main());
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(sub), PyInterpreterState_Get());
    CHECK_PTR_NE(PyThreadState_GetInterpreter(sub), PyInterpreterState_Main());
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("the per-thread dictionary is NULL while nothing is attached") {
    PyThreadState *first = begin();
    PyEval_SaveThread();
    CHECK_NULL(PyThreadState_GetDict());
    PyEval_RestoreThread(first);
    finish();
}

/* ---- Swap (S-TS-21) ---------------------------------------------------- */

TEST("swapping to NULL detaches and returns the state") {
    PyThreadState *first = begin();
    CHECK_PTR_EQ(PyThreadState_Swap(NULL), first);
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_NULL(PyThreadState_Swap(first));
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("swapping to NULL while nothing is attached does nothing") {
    PyThreadState *first = begin();
    PyThreadState_Swap(NULL);
    CHECK_NULL(PyThreadState_Swap(NULL));
    CHECK_NULL(PyThreadState_Swap(NULL));
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyThreadState_Swap(first);
    finish();
}

TEST("swapping to another state attaches that one and returns the old one") {
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    CHECK_PTR_EQ(PyThreadState_Swap(second), first);
    CHECK_PTR_EQ(PyThreadState_Get(), second);
    CHECK_PTR_EQ(PyThreadState_Swap(first), second);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    drop_state(second);
    finish();
}

TEST("swapping to the attached state returns it and leaves it attached") {
    PyThreadState *first = begin();
    CHECK_PTR_EQ(PyThreadState_Swap(first), first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    CHECK_PTR_EQ(PyThreadState_Swap(first), first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

TEST("swapping changes the interpreter that is asked for") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState_Swap(first);
    CHECK_PTR_EQ(PyInterpreterState_Get(), PyInterpreterState_Main());
    PyThreadState_Swap(sub);
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

static void attach_and_leave(void *arg) {
    PyGILState_STATE token = PyGILState_Ensure();
    *(int *)arg = 1;
    PyGILState_Release(token);
}

/* Before 3.12 Swap changed the pointer only and kept the GIL. */
TEST("swapping to NULL lets other threads attach") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 Swap does not release the GIL");
    PyThreadState *first = begin();
    struct peers peers = PEERS_INIT;
    int ran = 0;
    PyThreadState_Swap(NULL);
    peers_add(&peers, 1, attach_and_leave, &ran);
    peers_start(&peers);
    peers_join(&peers, 5000);
    PyThreadState_Swap(first);
    CHECK_INT_EQ(ran, 1);
    finish();
}

TEST("what Save detached Swap can attach, and the other way round") {
    if (BEHAVIOUR < V3_12)
        SKIP("before 3.12 Swap does not take or release the GIL");
    PyThreadState *first = begin();
    CHECK_PTR_EQ(PyEval_SaveThread(), first);
    CHECK_NULL(PyThreadState_Swap(first));
    CHECK_PTR_EQ(PyThreadState_Swap(NULL), first);
    PyEval_RestoreThread(first);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    finish();
}

/* ---- Clear and delete (S-DL) ------------------------------------------- */

TEST("a cleared state stays in the list until it is deleted") {
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *state = PyThreadState_New(interp);
    PyThreadState_Clear(state);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), state);
    CHECK_INT_EQ(count_states(interp), 2);
    PyThreadState_Delete(state);
    CHECK_INT_EQ(count_states(interp), 1);
    finish();
}

TEST("clearing a state keeps its id, its interpreter and its thread") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *state = PyThreadState_New(interp);
    uint64_t id = PyThreadState_GetID(state);
    PyThreadState_Clear(state);
    CHECK_UINT_EQ(PyThreadState_GetID(state), id);
    CHECK_PTR_EQ(PyThreadState_GetInterpreter(state), interp);
    CHECK_UINT_EQ(state->thread_id, first->thread_id);
    PyThreadState_Delete(state);
    finish();
}

TEST("a cleared state can be deleted while nothing is attached") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *state = PyThreadState_New(interp);
    PyThreadState_Clear(state);
    PyEval_SaveThread();
    PyThreadState_Delete(state);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), first);
    PyEval_RestoreThread(first);
    finish();
}

TEST("the attached state can be cleared, and is attached until deleted") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *state = PyThreadState_New(interp);
    PyThreadState_Swap(state);
    PyThreadState_Clear(state);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyThreadState_DeleteCurrent();
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), first);
    PyEval_RestoreThread(first);
    finish();
}

TEST("deleting the attached state lets other threads attach") {
    PyThreadState *first = begin();
    PyThreadState *state = PyThreadState_New(PyInterpreterState_Get());
    struct peers peers = PEERS_INIT;
    int ran = 0;
    PyThreadState_Swap(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    peers_add(&peers, 1, attach_and_leave, &ran);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(ran, 1);
    PyEval_RestoreThread(first);
    finish();
}

TEST("a state is cleared before its thread ends and deleted after that") {
    begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (int i = 0; i < 3; i++) {
        struct bound seen = {.interp = interp};
        on_new_thread(make_bound, &seen);
        CHECK_INT_EQ(count_states(interp), 1);
    }
    finish();
}

TEST("many states can be alive and be deleted in any order") {
    PyThreadState *first = begin();
    PyInterpreterState *interp = PyInterpreterState_Get();
    enum { N = 1000 };
    static PyThreadState *made[N];
    for (int i = 0; i < N; i++)
        made[i] = PyThreadState_New(interp);
    CHECK_INT_EQ(count_states(interp), N + 1);
    /* 7 and 1000 have no common divisor: every state once. */
    for (int i = 0; i < N; i++)
        drop_state(made[i * 7 % N]);
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(interp), first);
    CHECK_NULL(PyThreadState_Next(first));
    finish();
}

/* ---- The slot for an asynchronous exception (S-AX-01 to S-AX-03) -------- */

TEST(
    "an asynchronous exception goes to the state of the thread that is meant") {
    PyThreadState *first = begin();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(first->thread_id, NULL), 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(12345, NULL), 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(first->thread_id, PyExc_ValueError),
                 1);
    CHECK_PTR_EQ(first->async_exc, PyExc_ValueError);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(first->thread_id, NULL), 1);
    CHECK_NULL(first->async_exc);
    finish();
}

TEST("of two states of one thread the newest gets the exception") {
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(first->thread_id, PyExc_ValueError),
                 1);
    CHECK_NULL(first->async_exc);
    CHECK_PTR_EQ(second->async_exc, PyExc_ValueError);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(first->thread_id, PyExc_SystemError),
                 1);
    CHECK_PTR_EQ(second->async_exc, PyExc_SystemError);
    drop_state(second);
    finish();
}

TEST("the states of other interpreters get no exception") {
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(first->thread_id, PyExc_ValueError),
                 1);
    CHECK_NULL(first->async_exc);
    CHECK_PTR_EQ(sub->async_exc, PyExc_ValueError);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(sub->thread_id, NULL), 1);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("clearing a state drops its asynchronous exception") {
    PyThreadState *first = begin();
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Get());
    PyThreadState_SetAsyncExc(first->thread_id, PyExc_ValueError);
    CHECK_NOT_NULL(second->async_exc);
    PyThreadState_Clear(second);
    CHECK_NULL(second->async_exc);
    PyThreadState_Delete(second);
    finish();
}
