/* Which GIL an interpreter runs under, and its configuration. */
#include <Python.h>

#include "common.h"

/* ---- The shared GIL (S-NI-06) ------------------------------------------- */

struct waiter {
    PyInterpreterState *interp;
    atomic_long native_id;
    atomic_int attached;
    atomic_int leave;
};

/* Attaches to an interpreter and stays until told. */
static void occupy(void *arg) {
    struct waiter *me = arg;
    PyThreadState *state = PyThreadState_New(me->interp);
    atomic_store(&me->native_id, test_native_id());
    PyEval_AcquireThread(state);
    atomic_store(&me->attached, 1);
    WAIT_UNTIL(atomic_load(&me->leave), 10000);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

TEST("interpreters with a shared GIL run one at a time") {
    needs_a_gil();
    PyThreadState *first = begin();
    PyThreadState *sub = Py_NewInterpreter();
    struct waiter waiter = {.interp = PyInterpreterState_Get(), .leave = 1};
    struct peers peers = PEERS_INIT;
    PyThreadState_Swap(first);
    peers_add(&peers, 1, occupy, &waiter);
    peers_start(&peers);
    wait_until_asleep(&waiter.native_id);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 0);
    PyEval_SaveThread();
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 1);
    PyEval_RestoreThread(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

#if PY_VERSION_HEX >= V3_12

/* ---- Configuration (S-NI-01, S-NI-05, S-NI-07) -------------------------- */

static const PyInterpreterConfig isolated = _PyInterpreterConfig_INIT;
static const PyInterpreterConfig legacy = _PyInterpreterConfig_LEGACY_INIT;

TEST("without a runtime no interpreter is made, and the status says why") {
    PyThreadState *sub = (PyThreadState *)&sub;
    PyStatus status = Py_NewInterpreterFromConfig(&sub, &isolated);
    CHECK_INT_EQ(PyStatus_IsError(status), 1);
    CHECK_STR_EQ(status.err_msg, "Py_Initialize must be called first");
}

TEST("the presets differ in all that isolates an interpreter") {
    CHECK_INT_EQ(isolated.use_main_obmalloc, 0);
    CHECK_INT_EQ(isolated.allow_fork, 0);
    CHECK_INT_EQ(isolated.allow_exec, 0);
    CHECK_INT_EQ(isolated.allow_threads, 1);
    CHECK_INT_EQ(isolated.allow_daemon_threads, 0);
    CHECK_INT_EQ(isolated.check_multi_interp_extensions, 1);
    CHECK_INT_EQ(isolated.gil, PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(legacy.use_main_obmalloc, 1);
    CHECK_INT_EQ(legacy.allow_fork, 1);
    CHECK_INT_EQ(legacy.allow_exec, 1);
    CHECK_INT_EQ(legacy.allow_threads, 1);
    CHECK_INT_EQ(legacy.allow_daemon_threads, 1);
#ifndef Py_GIL_DISABLED
    CHECK_INT_EQ(legacy.check_multi_interp_extensions, 0);
#endif
    CHECK_INT_EQ(legacy.gil, PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(PyInterpreterConfig_DEFAULT_GIL, 0);
    CHECK_INT_EQ(PyInterpreterConfig_SHARED_GIL, 1);
    CHECK_INT_EQ(PyInterpreterConfig_OWN_GIL, 2);
}

static PyThreadState *make(const PyInterpreterConfig *config) {
    PyThreadState *sub = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&sub, config);
    if (PyStatus_Exception(status))
        FAIL("no interpreter: %s", status.err_msg);
    CHECK_NOT_NULL(sub);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    return sub;
}

TEST("both presets make an interpreter") {
    PyThreadState *first = begin();
    Py_EndInterpreter(make(&isolated));
    PyThreadState_Swap(first);
    Py_EndInterpreter(make(&legacy));
    PyThreadState_Swap(first);
    finish();
}

TEST("an interpreter can be made while nothing is attached") {
    PyThreadState *first = begin();
    PyEval_SaveThread();
    PyThreadState *sub = make(&isolated);
    CHECK_PTR_EQ(PyInterpreterState_Next(PyInterpreterState_Get()),
                 PyInterpreterState_Main());
    Py_EndInterpreter(sub);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(first);
    finish();
}

/* Makes nothing: an error, the caller's state attached, no interpreter. */
static PyStatus refused(PyInterpreterConfig config) {
    PyThreadState *before = PyThreadState_GetUnchecked();
    PyThreadState *sub = before;
    PyStatus status = Py_NewInterpreterFromConfig(&sub, &config);
    CHECK_INT_EQ(PyStatus_IsError(status), 1);
    CHECK_INT_EQ(PyStatus_Exception(status), 1);
    CHECK_INT_EQ(PyStatus_IsExit(status), 0);
    CHECK_NOT_NULL(status.err_msg);
    CHECK_NULL(sub);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), before);
    CHECK_INT_EQ(count_interpreters(), 1);
    return status;
}

/* In 3.12 a refused creation ends in a fatal error about the GIL. */
static void skip_before_3_13(void) {
    if (BEHAVIOUR < V3_13)
        SKIP("3.12 cannot refuse an interpreter without a fatal error");
}

TEST("a private allocator without the check of extensions is refused") {
    skip_before_3_13();
    begin();
    PyInterpreterConfig config = isolated;
    config.check_multi_interp_extensions = 0;
    PyStatus status = refused(config);
    CHECK_STR_LACKS(status.err_msg, "'gil'");
    finish();
}

TEST("a GIL that there is not is refused") {
    skip_before_3_13();
    begin();
    PyInterpreterConfig config = legacy;
    config.check_multi_interp_extensions = 1;
    /* 3 is a kind of GIL of pytstate's own. */
    const int wrong[] = {-1, 4, 99};
    for (int i = 0; i < 3; i++) {
        config.gil = wrong[i];
        PyStatus status = refused(config);
        CHECK_STR_EQ(status.err_msg, "invalid interpreter config 'gil' value");
    }
    finish();
}

TEST("the allocator is checked before the GIL") {
    skip_before_3_13();
    begin();
    PyInterpreterConfig config = isolated;
    config.check_multi_interp_extensions = 0;
    config.gil = 99;
    CHECK_STR_LACKS(refused(config).err_msg, "'gil'");
    finish();
}

TEST("a refused interpreter leaves a detached caller detached") {
    skip_before_3_13();
    PyThreadState *first = begin();
    PyInterpreterConfig config = isolated;
    config.gil = 99;
    PyEval_SaveThread();
    refused(config);
    CHECK_NULL(PyThreadState_GetUnchecked());
    PyEval_RestoreThread(first);
    finish();
}

TEST("a refused interpreter uses up an id") {
    skip_before_3_13();
    PyThreadState *first = begin();
    PyInterpreterConfig config = isolated;
    config.gil = 99;
    refused(config);
    refused(config);
    PyThreadState *sub = make(&isolated);
    CHECK_INT_EQ(PyInterpreterState_GetID(PyInterpreterState_Get()), 3);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("after a refused one an interpreter can be made") {
    skip_before_3_13();
    PyThreadState *first = begin();
    PyInterpreterConfig config = isolated;
    config.gil = -1;
    refused(config);
    PyThreadState *sub = make(&legacy);
    CHECK_INT_EQ(count_interpreters(), 2);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("the configuration is not changed and not kept") {
    PyThreadState *first = begin();
    PyInterpreterConfig config = isolated, copy = isolated;
    PyThreadState *sub = make(&config);
    CHECK_INT_EQ(memcmp(&config, &copy, sizeof(config)), 0);
    memset(&config, 0xff, sizeof(config));
    PyThreadState_Swap(first);
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("the default GIL is the shared one") {
    needs_a_gil();
    PyThreadState *first = begin();
    PyInterpreterConfig config = legacy;
    config.check_multi_interp_extensions = 1;
    config.gil = PyInterpreterConfig_DEFAULT_GIL;
    PyThreadState *sub = make(&config);
    struct waiter waiter = {.interp = PyInterpreterState_Get(), .leave = 1};
    struct peers peers = PEERS_INIT;
    PyThreadState_Swap(first);
    peers_add(&peers, 1, occupy, &waiter);
    peers_start(&peers);
    wait_until_asleep(&waiter.native_id);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 0);
    PyEval_SaveThread();
    peers_join(&peers, 5000);
    PyEval_RestoreThread(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

/* ---- A GIL of its own (S-NI-06, S-NI-14, S-EI-07) ----------------------- */

TEST("an interpreter with a GIL of its own runs beside the main one") {
    PyThreadState *first = begin();
    PyThreadState *sub = make(&isolated);
    struct waiter waiter = {.interp = PyInterpreterState_Get()};
    struct peers peers = PEERS_INIT;
    PyThreadState_Swap(first);
    peers_add(&peers, 1, occupy, &waiter);
    peers_start(&peers);
    /* Both are attached, the main thread all the time. */
    WAIT_UNTIL(atomic_load(&waiter.attached), 5000);
    CHECK_PTR_EQ(PyThreadState_Get(), first);
    atomic_store(&waiter.leave, 1);
    peers_join(&peers, 5000);
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("threads of one interpreter with its own GIL run one at a time") {
    needs_a_gil();
    PyThreadState *first = begin();
    PyThreadState *sub = make(&isolated);
    struct waiter waiter = {.interp = PyInterpreterState_Get(), .leave = 1};
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, occupy, &waiter);
    peers_start(&peers);
    wait_until_asleep(&waiter.native_id);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 0);
    /* Swapping to the main interpreter releases this one's GIL. */
    PyThreadState_Swap(first);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 1);
    PyThreadState_Swap(sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("swapping to an interpreter with its own GIL releases the main one") {
    PyThreadState *first = begin();
    struct waiter waiter = {.interp = PyInterpreterState_Get(), .leave = 1};
    struct peers peers = PEERS_INIT;
    PyThreadState *sub = make(&isolated);
    peers_add(&peers, 1, occupy, &waiter);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 1);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

static void meet_inside(void *arg) {
    struct peers *peers = arg;
    PyThreadState *sub = make(&isolated);
    /* All attached, each to its own interpreter, or nobody gets further. */
    peers_meet(peers);
    CHECK_PTR_EQ(PyThreadState_Get(), sub);
    Py_EndInterpreter(sub);
}

TEST("four interpreters with GILs of their own are attached at once") {
    PyThreadState *first = begin();
    struct peers peers = PEERS_INIT;
    PyEval_SaveThread();
    peers_add(&peers, 4, meet_inside, &peers);
    peers_start(&peers);
    peers_join(&peers, 15000);
    PyEval_RestoreThread(first);
    CHECK_INT_EQ(count_interpreters(), 1);
    finish();
}

TEST("finalization ends the interpreters with GILs of their own") {
    if (BEHAVIOUR < V3_13)
        SKIP("before 3.13 it is fatal to leave an interpreter");
    PyThreadState *first = begin();
    make(&isolated);
    PyThreadState_Swap(first);
    make(&isolated);
    PyThreadState_Swap(first);
    Py_FinalizeEx();
    CHECK_NULL(PyInterpreterState_Head());
    CHECK_NULL(PyThreadState_GetUnchecked());
}

static void ensure_in_own(void *arg) {
    PyInterpreterState *interp = arg;
    PyThreadState *state = PyThreadState_New(interp);
    PyEval_AcquireThread(state);
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, PyGILState_LOCKED);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyGILState_Release(token);
    CHECK_PTR_EQ(PyThreadState_Get(), state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

/* S-GS-05 */
TEST("ensuring stays in the interpreter with a GIL of its own") {
    PyThreadState *first = begin();
    PyThreadState *sub = make(&isolated);
    on_new_thread(ensure_in_own, PyInterpreterState_Get());
    CHECK_INT_EQ(count_states(PyInterpreterState_Main()), 1);
    Py_EndInterpreter(sub);
    PyThreadState_Swap(first);
    finish();
}

TEST("ending an interpreter with its own GIL leaves the main one free") {
    PyThreadState *first = begin();
    struct waiter waiter = {.interp = PyInterpreterState_Get(), .leave = 1};
    struct peers peers = PEERS_INIT;
    PyThreadState *sub = make(&isolated);
    Py_EndInterpreter(sub);
    peers_add(&peers, 1, occupy, &waiter);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&waiter.attached), 1);
    PyEval_RestoreThread(first);
    finish();
}

#endif
