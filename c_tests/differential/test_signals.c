/* Signals, with the handler that initialization installs. */
#include <Python.h>

#include <signal.h>

#include "common.h"

#define CHECK_HANDLER(a, b) CHECK_UINT_EQ((uintptr_t)(a), (uintptr_t)(b))

static PyThreadState *begin_with_signals(void) {
    signal(SIGINT, SIG_DFL);
    Py_InitializeEx(1);
    return PyThreadState_Get();
}

static void check_interrupted(void) {
    CHECK_INT_NE(PyErr_ExceptionMatches(PyExc_KeyboardInterrupt), 0);
    PyErr_Clear();
}

TEST("SIGINT raises KeyboardInterrupt at the next check, once") {
    begin_with_signals();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    raise(SIGINT);
    raise(SIGINT);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    finish();
}

static int n_called;
static int count(void *unused) {
    (void)unused;
    return n_called++, 0;
}

TEST("pending calls begin with signals, and wait when one fails") {
    begin_with_signals();
    CHECK_INT_EQ(Py_AddPendingCall(count, NULL), 0);
    raise(SIGINT);
    CHECK_INT_EQ(Py_MakePendingCalls(), -1);
    check_interrupted();
    CHECK_INT_EQ(n_called, 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 1);
    finish();
}

TEST("asking whether SIGINT arrived forgets it") {
    begin_with_signals();
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    raise(SIGINT);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 1);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    finish();
}

TEST("a simulated signal acts like one, if there is a handler for it") {
    begin_with_signals();
    PyErr_SetInterrupt();
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGINT), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGUSR1), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    static const int none[] = {0, -1, 65, 1000};
    for (int i = 0; i < 4; i++)
        CHECK_INT_EQ(PyErr_SetInterruptEx(none[i]), -1);
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("an error that is set gives way to the interrupt") {
    begin_with_signals();
    PyErr_SetString(PyExc_ValueError, "before");
    PyErr_SetInterrupt();
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    finish();
}

static void sees_nothing(void *unused) {
    (void)unused;
    PyGILState_STATE state = PyGILState_Ensure();
    PyErr_SetInterrupt();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    CHECK_NULL(PyErr_Occurred());
    PyGILState_Release(state);
}

TEST("only the main thread in the main interpreter sees signals") {
    PyThreadState *main_state = begin_with_signals();
    on_new_thread(sees_nothing, NULL);
    PyThreadState *other = Py_NewInterpreter();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    Py_EndInterpreter(other);
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    finish();
}

TEST("initialization leaves a handler of the host's alone") {
    signal(SIGINT, SIG_IGN);
    Py_InitializeEx(1);
    CHECK_HANDLER(PyOS_getsig(SIGINT), SIG_IGN);
    finish();
    signal(SIGINT, SIG_DFL);
    Py_InitializeEx(0);
    CHECK_HANDLER(PyOS_getsig(SIGINT), SIG_DFL);
    finish();
}

TEST("finalization gives SIGINT back") {
    begin_with_signals();
    CHECK_UINT_NE((uintptr_t)PyOS_getsig(SIGINT), (uintptr_t)SIG_DFL);
    finish();
    CHECK_HANDLER(PyOS_getsig(SIGINT), SIG_DFL);
}

static void handler(int number) { (void)number; }

TEST("handlers of the OS are set and asked for, without a runtime") {
    signal(SIGUSR1, SIG_DFL);
    CHECK_HANDLER(PyOS_getsig(SIGUSR1), SIG_DFL);
    CHECK_HANDLER(PyOS_setsig(SIGUSR1, handler), SIG_DFL);
    CHECK_HANDLER(PyOS_getsig(SIGUSR1), handler);
    struct sigaction now;
    CHECK_INT_EQ(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK_INT_NE(now.sa_flags & SA_ONSTACK, 0);
    CHECK_INT_EQ(now.sa_flags & SA_RESTART, 0);
    CHECK_HANDLER(PyOS_setsig(SIGUSR1, SIG_IGN), handler);
    CHECK_HANDLER(PyOS_setsig(SIGUSR1, SIG_DFL), SIG_IGN);
    static const int none[] = {0, -1, 65, 1000};
    for (int i = 0; i < 4; i++) {
        CHECK_HANDLER(PyOS_getsig(none[i]), SIG_ERR);
        CHECK_HANDLER(PyOS_setsig(none[i], SIG_IGN), SIG_ERR);
    }
    CHECK_HANDLER(PyOS_setsig(SIGKILL, SIG_IGN), SIG_ERR);
}

static atomic_int alone;

static void child_checks(void) {
    PyOS_AfterFork_Child();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    raise(SIGINT);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    atomic_store(&alone, 1);
}

TEST("a fork child forgets what arrived, and handles what arrives") {
    begin_with_signals();
    raise(SIGINT);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        child_checks();
        test_child_done(atomic_load(&alone) ? 5 : 6);
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 5);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_interrupted();
    finish();
}
