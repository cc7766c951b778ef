/* Interpreter states: finding, making, clearing and deleting them by hand. */
#include "host.h"

#include <stdlib.h>

/* ---- Finding ---------------------------------------------------------- */

TEST("there is no interpreter before and after the runtime (S-IN-02)") {
    for (int life = 0; life < 2; life++) {
        CHECK_NULL(PyInterpreterState_Main());
        CHECK_NULL(PyInterpreterState_Head());
        begin();
        PyInterpreterState *main_interp = PyInterpreterState_Main();
        CHECK_NOT_NULL(main_interp);
        CHECK_PTR_EQ(PyInterpreterState_Head(), main_interp);
        CHECK_PTR_EQ(PyInterpreterState_Get(), main_interp);
        CHECK_INT_EQ(PyInterpreterState_GetID(main_interp), 0);
        CHECK_NULL(PyInterpreterState_Next(main_interp));
        finish();
    }
    CHECK_NULL(PyInterpreterState_Main());
}

TEST("interpreters are listed newest first and ids are not reused (S-IN-01)") {
    PyThreadState *main_state = begin();
    PyThreadState *one = new_interp(PyInterpreterConfig_SHARED_GIL);
    PyThreadState *two = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(PyInterpreterState_GetID(one->interp), 1);
    CHECK_INT_EQ(PyInterpreterState_GetID(two->interp), 2);
    CHECK_PTR_EQ(PyInterpreterState_Get(), two->interp);
    CHECK_PTR_EQ(PyInterpreterState_Head(), two->interp);
    CHECK_PTR_EQ(PyInterpreterState_Next(two->interp), one->interp);
    CHECK_PTR_EQ(PyInterpreterState_Next(one->interp), main_state->interp);
    CHECK_NULL(PyInterpreterState_Next(main_state->interp));
    CHECK_PTR_EQ(PyInterpreterState_ThreadHead(one->interp), one);
    PyThreadState_Swap(one);
    Py_EndInterpreter(one); /* the middle one */
    CHECK_PTR_EQ(PyInterpreterState_Next(two->interp), main_state->interp);
    PyEval_RestoreThread(main_state);
    PyThreadState *three = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(PyInterpreterState_GetID(three->interp), 3);
    CHECK_PTR_EQ(PyInterpreterState_Main(), main_state->interp);
    PyThreadState_Swap(main_state);
    finish();
    begin(); /* ids begin again */
    CHECK_INT_EQ(PyInterpreterState_GetID(new_interp(2)->interp), 1);
    finish();
}

TEST("a refused creation uses an id up (S-IN-01)") {
    PyInterpreterConfig bad = {0, 1, 1, 1, 1, 0, 1};
    PyThreadState *none = NULL;
    PyThreadState *main_state = begin();
    for (int i = 0; i < 2; i++) {
        CHECK_INT_EQ(PyStatus_IsError(Py_NewInterpreterFromConfig(&none, &bad)),
                     1);
        bad = (PyInterpreterConfig){1, 1, 1, 1, 1, 0, 77};
    }
    CHECK_INT_EQ(PyInterpreterState_GetID(new_interp(2)->interp), 3);
    PyThreadState_Swap(main_state);
    finish();
}

TEST("an interpreter is found by its id, or is not (S-IN-03, 10)") {
    PyThreadState *main_state = begin();
    PyThreadState *one = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_PTR_EQ(_PyInterpreterState_LookUpID(0), main_state->interp);
    CHECK_PTR_EQ(_PyInterpreterState_LookUpID(1), one->interp);
    const int64_t absent[] = {-1, 2, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        CHECK_NULL(_PyInterpreterState_LookUpID(absent[i]));
        check_raised(PyExc_InterpreterNotFoundError, "unrecognized");
    }
    Py_EndInterpreter(one);
    PyEval_RestoreThread(main_state);
    CHECK_NULL(_PyInterpreterState_LookUpID(1));
    check_raised(PyExc_InterpreterNotFoundError, "unrecognized");
    finish();
}

/* ---- What an interpreter owns ----------------------------------------- */

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

TEST("each interpreter has a dictionary, made once, dropped at its end") {
    PyTState_ObjectHooks hooks = {.incref = incref, .decref = decref};
    PyTState_Config config = {.objects = &hooks};
    hooks.new_dict = new_dict;
    PyThreadState *main_state = begin_with(&config);
    PyObject *of_main = PyInterpreterState_GetDict(main_state->interp);
    CHECK_PTR_EQ(of_main, (PyObject *)(void *)&dicts[0]);
    PyThreadState *one = new_interp(PyInterpreterConfig_OWN_GIL);
    PyObject *of_one = PyInterpreterState_GetDict(one->interp);
    CHECK_PTR_EQ(of_one, (PyObject *)(void *)&dicts[1]);
    CHECK_PTR_EQ(PyInterpreterState_GetDict(one->interp), of_one);
    CHECK_PTR_EQ(PyInterpreterState_GetDict(main_state->interp), of_main);
    Py_EndInterpreter(one);
    CHECK_INT_EQ(dicts[1].counted, 0);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(dicts[0].counted, 1);
    finish();
    CHECK_INT_EQ(dicts[0].counted, 0);
    CHECK_INT_EQ(n_dicts, 2);
}

TEST("without a hook an interpreter has no dictionary") {
    PyThreadState *main_state = begin();
    CHECK_NULL(PyInterpreterState_GetDict(main_state->interp));
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("the flag for the last id reference is 0 or 1 (S-IN-09)") {
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = main_state->interp;
    CHECK_INT_EQ(_PyInterpreterState_RequiresIDRef(interp), 0);
    _PyInterpreterState_RequireIDRef(interp, 77);
    CHECK_INT_EQ(_PyInterpreterState_RequiresIDRef(interp), 1);
    _PyInterpreterState_RequireIDRef(interp, 0);
    CHECK_INT_EQ(_PyInterpreterState_RequiresIDRef(interp), 0);
    finish();
}

static unsigned long features_of(PyInterpreterState *interp) {
    unsigned long found = 0;
    for (int bit = 0; bit < 31; bit++)
        if (_PyInterpreterState_HasFeature(interp, 1ul << bit))
            found |= 1ul << bit;
    return found;
}

TEST("the presets have CPython's feature bits (S-NI-07, 08)") {
    const unsigned long legacy =
        Py_RTFLAGS_USE_MAIN_OBMALLOC | Py_RTFLAGS_THREADS |
        Py_RTFLAGS_DAEMON_THREADS | Py_RTFLAGS_FORK | Py_RTFLAGS_EXEC;
    const unsigned long isolated =
        Py_RTFLAGS_THREADS | Py_RTFLAGS_MULTI_INTERP_EXTENSIONS;
    PyInterpreterConfig config = _PyInterpreterConfig_INIT;
    PyThreadState *first = NULL;
    PyThreadState *main_state = begin();
    CHECK_UINT_EQ(features_of(main_state->interp), legacy);
    CHECK_UINT_EQ(features_of(Py_NewInterpreter()->interp), legacy);
    Py_NewInterpreterFromConfig(&first, &config);
    CHECK_UINT_EQ(features_of(first->interp), isolated);
    CHECK_INT_EQ(_PyInterpreterState_HasFeature(first->interp, isolated), 1);
    CHECK_INT_EQ(_PyInterpreterState_HasFeature(first->interp,
                                                isolated | Py_RTFLAGS_FORK),
                 0); /* all of them, not any */
    PyThreadState_Swap(main_state);
    finish();
}

/* ---- By hand ---------------------------------------------------------- */

static atomic_int n_deleted;

static void count_deleted(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_deleted, 1);
}

TEST("an interpreter is made, used, cleared and deleted by hand (S-IN-07)") {
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = PyInterpreterState_New();
    CHECK_INT_EQ(PyInterpreterState_GetID(interp), 1);
    CHECK_NULL(PyInterpreterState_ThreadHead(interp));
    PyThreadState *one = PyThreadState_New(interp);
    CHECK_UINT_EQ(PyThreadState_GetID(one), 1);
    CHECK_PTR_EQ(PyThreadState_Swap(one), main_state);
    CHECK_PTR_EQ(PyInterpreterState_Get(), interp);
    one->on_delete = count_deleted;
    PyInterpreterState_Clear(interp); /* clears its states: S-IN-14 */
    CHECK_INT_EQ(atomic_load(&n_deleted), 1);
    CHECK_INT_EQ(_PyEvent_IsSet(one->exit_event), 1);
    PyInterpreterState_Delete(interp); /* detaches the caller */
    CHECK_NULL(PyThreadState_GetUnchecked());
    CHECK_INT_EQ(atomic_load(&n_deleted), 1); /* not cleared once more */
    CHECK_PTR_EQ(PyInterpreterState_Head(), main_state->interp);
    PyEval_RestoreThread(main_state);
    finish();
}

TEST("an interpreter is cleared and deleted from another one (S-IN-14)") {
    PyThreadState *main_state = begin();
    PyInterpreterState *interp = PyInterpreterState_New();
    for (int i = 0; i < 10; i++)
        PyThreadState_New(interp)->on_delete = count_deleted;
    PyInterpreterState_Clear(interp);
    CHECK_INT_EQ(atomic_load(&n_deleted), 10);
    CHECK_UINT_EQ(n_states(interp), 10);
    PyEval_SaveThread();
    PyInterpreterState_Delete(interp); /* nothing attached: S-DL-13 */
    CHECK_UINT_EQ(n_states(NULL), 1);
    PyEval_RestoreThread(main_state);
    CHECK_PTR_EQ(PyInterpreterState_Head(), main_state->interp);
    finish();
}

TEST("finalization ends an interpreter that was cleared and not deleted, and "
     "calls its hooks once") {
    for (int attached = 0; attached < 2; attached++) {
        PyThreadState *main_state = begin();
        PyInterpreterState *interp = PyInterpreterState_New();
        PyThreadState *one = PyThreadState_New(interp);
        one->on_delete = count_deleted;
        if (attached)
            PyThreadState_Swap(one);
        atomic_store(&n_deleted, 0);
        PyInterpreterState_Clear(interp);
        CHECK_INT_EQ(atomic_load(&n_deleted), 1);
        if (attached)
            PyThreadState_Swap(main_state);
        finish();
        CHECK_INT_EQ(atomic_load(&n_deleted), 1);
    }
}

TEST("the main interpreter goes last, an unknown one not at all (S-IN-06)") {
    EXPECT_FATAL("PyInterpreterState_Delete", "remaining subinterpreters") {
        begin();
        PyInterpreterState_New();
        PyInterpreterState_Delete(PyInterpreterState_Main());
    }
    EXPECT_FATAL("PyInterpreterState_Delete", "NULL interpreter") {
        begin();
        PyInterpreterState *interp = PyInterpreterState_New();
        PyInterpreterState_Clear(interp);
        PyInterpreterState_Delete(interp);
        PyInterpreterState_Delete(interp);
    }
}

static void stay_attached(void *interp) {
    enter(interp);
    PyTState_Sync_Point("test.attached");
}

TEST("an interpreter in which a thread runs is not deleted (S-FE-07)") {
    EXPECT_FATAL("PyInterpreterState_Delete", "remaining threads") {
        struct peers peers = PEERS_INIT;
        begin();
        PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
        PyEval_SaveThread();
        hold("test.attached");
        peers_add(&peers, 1, stay_attached, first->interp);
        peers_start(&peers);
        wait_held("test.attached");
        PyInterpreterState_Delete(first->interp);
    }
}

TEST("without a runtime no interpreter is made: the process ends (S-IN-05)") {
    EXPECT_EXIT(1, "Fatal Python error: PyInterpreterState_New: failed to get "
                   "an interpreter ID") {
        PyInterpreterState_New();
    }
    EXPECT_EXIT(1, "Fatal Python error: Py_NewInterpreter: Py_Initialize must "
                   "be called first") {
        Py_NewInterpreter();
    }
}

/* ---- At once ---------------------------------------------------------- */

enum { MAKERS = 4, ROUNDS = 25 };
static _Atomic(int64_t) ids[MAKERS * ROUNDS];

static void make_interpreters(void *next) {
    for (int i = 0; i < ROUNDS; i++) {
        PyThreadState *first = new_interp(1 + i % 3);
        int slot = atomic_fetch_add((atomic_int *)next, 1);
        atomic_store(&ids[slot], PyInterpreterState_GetID(first->interp));
        CHECK_PTR_EQ(_PyInterpreterState_LookUpID(ids[slot]), first->interp);
        Py_EndInterpreter(first);
        CHECK_NULL(PyThreadState_GetUnchecked());
    }
}

TEST("threads without a state make and end interpreters at once") {
    atomic_int next = 0;
    struct peers peers = PEERS_INIT;
    begin();
    peers_add(&peers, MAKERS, make_interpreters, &next);
    peers_start(&peers);
    join_peers(&peers);
    char seen[MAKERS * ROUNDS + 1] = {0};
    for (int i = 0; i < MAKERS * ROUNDS; i++) {
        CHECK_INT_GT(ids[i], 0);
        CHECK_INT_LE(ids[i], MAKERS * ROUNDS);
        CHECK_INT_EQ(seen[ids[i]]++, 0);
    }
    CHECK_PTR_EQ(PyInterpreterState_Head(), PyInterpreterState_Main());
    CHECK_UINT_EQ(n_states(NULL), 1);
    finish();
}
