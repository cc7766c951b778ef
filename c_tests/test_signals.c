/* Signals: tripped anywhere, handled at a poll of the main thread. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define CHECK_HANDLER(a, b) CHECK_UINT_EQ((uintptr_t)(a), (uintptr_t)(b))

/* The runtime with its SIGINT handler. */
static PyThreadState *begin_with_signals(void) {
    signal(SIGINT, SIG_DFL);
    Py_InitializeEx(1);
    return PyThreadState_Get();
}

/* ---- SIGINT without a host's handler ----------------------------------- */

TEST("SIGINT raises KeyboardInterrupt at the next check, once") {
    begin_with_signals();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    raise(SIGINT);
    raise(SIGINT);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    finish();
}

TEST("a poll and a pass of pending calls find it as well (S-EB-03)") {
    PyThreadState *main_state = begin_with_signals();
    raise(SIGINT);
    CHECK_UINT_NE(main_state->eval_breaker, 0);
    CHECK_INT_EQ(_Py_HandlePending(main_state), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    /* A failure asks for another look. */
    CHECK_UINT_NE(main_state->eval_breaker, 0);
    CHECK_INT_EQ(_Py_HandlePending(main_state), 0);
    CHECK_UINT_EQ(main_state->eval_breaker, 0);
    raise(SIGINT);
    CHECK_INT_EQ(Py_MakePendingCalls(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    raise(SIGINT);
    CHECK_INT_EQ(_PyErr_CheckSignalsTstate(main_state), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    raise(SIGINT);
    CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    finish();
}

TEST("a host that took SIGINT, or asked for no handlers, keeps it") {
    signal(SIGINT, SIG_IGN);
    Py_InitializeEx(1);
    CHECK_HANDLER(PyOS_getsig(SIGINT), SIG_IGN);
    finish();
    signal(SIGINT, SIG_DFL);
    Py_InitializeEx(0);
    CHECK_HANDLER(PyOS_getsig(SIGINT), SIG_DFL);
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGINT), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    finish();
}

TEST("asking whether SIGINT arrived forgets it") {
    PyThreadState *main_state = begin_with_signals();
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    raise(SIGINT);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 1);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    raise(SIGINT);
    CHECK_INT_EQ(_PyOS_InterruptOccurred(main_state), 1);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    finish();
}

/* ---- Simulated signals (S-PC-15) --------------------------------------- */

TEST("a simulated signal acts like one, if the runtime has it") {
    begin_with_signals();
    PyErr_SetInterrupt();
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGUSR1), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    static const int none[] = {0, -1, 65, 1000};
    for (int i = 0; i < 4; i++)
        CHECK_INT_EQ(PyErr_SetInterruptEx(none[i]), -1);
    CHECK_INT_EQ(PyErr_SetInterruptEx(64), 0);
    CHECK_NULL(PyErr_Occurred());
    finish();
}

static void interrupt(int number) {
    (void)number;
    PyErr_SetInterrupt();
}

static void interrupts(void *unused) {
    (void)unused;
    PyErr_SetInterrupt();
}

TEST("interrupting works from a signal handler and from a thread without a "
     "state") {
    begin_with_signals();
    signal(SIGUSR2, interrupt);
    raise(SIGUSR2);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    PyErr_Clear();
    PyThread_ident_t ident;
    PyThread_handle_t thread;
    CHECK_INT_EQ(
        PyThread_start_joinable_thread(interrupts, NULL, &ident, &thread), 0);
    CHECK_INT_EQ(PyThread_join_thread(thread), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    finish();
}

/* ---- Only the main thread in the main interpreter (S-PC-13, 14) --------- */

static void sees_nothing(void *main_interp) {
    enter(main_interp);
    CHECK_INT_EQ(_PyOS_IsMainThread(), 0);
    CHECK_INT_EQ(_Py_ThreadCanHandleSignals(main_interp), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    CHECK_INT_EQ(_Py_HandlePending(PyThreadState_Get()), 0);
    CHECK_NULL(PyErr_Occurred());
    leave();
}

TEST("other threads and other interpreters see no signals") {
    PyThreadState *main_state = begin_with_signals();
    raise(SIGINT);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 2, sees_nothing, main_state->interp);
    peers_start(&peers);
    join_peers(&peers);
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(_PyOS_IsMainThread(), 0);
    CHECK_INT_EQ(_Py_ThreadCanHandleSignals(other->interp), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(PyOS_InterruptOccurred(), 0);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(_PyOS_IsMainThread(), 1);
    CHECK_INT_EQ(_Py_ThreadCanHandleSignals(main_state->interp), 1);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    finish();
}

/* ---- A host's handler --------------------------------------------------- */

static int arrived[65], n_arrived, fail_on;
static PyThreadState *handled_by;

static int handle(int number, void *data) {
    CHECK_PTR_EQ(data, arrived);
    CHECK_INT_EQ(PyGILState_Check(), 1);
    handled_by = PyThreadState_Get();
    arrived[n_arrived++] = number;
    if (number != fail_on)
        return 0;
    PyErr_SetString(PyExc_ValueError, "the handler failed");
    return -1;
}

TEST("a host's handler gets every signal that is routed to the runtime") {
    PyThreadState *main_state = begin_with_signals();
    PyTState_SetSignalHandler(handle, arrived);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR1, 1), 0);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR2, 1), 0);
    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGINT);
    CHECK_INT_EQ(n_arrived, 0); /* not in the OS's handler */
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(n_arrived, 3);
    CHECK_INT_EQ(arrived[0], SIGINT);
    CHECK_INT_EQ(arrived[1], SIGUSR1);
    CHECK_INT_EQ(arrived[2], SIGUSR2);
    CHECK_PTR_EQ(handled_by, main_state);
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGUSR1), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(n_arrived, 4);
    /* Without it, SIGINT raises again and the others do nothing. */
    PyTState_SetSignalHandler(NULL, NULL);
    raise(SIGUSR1);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    raise(SIGINT);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    CHECK_INT_EQ(n_arrived, 4);
    finish();
}

static int never_called(void *unused) {
    (void)unused;
    n_arrived += 100;
    return 0;
}

TEST("a handler that fails leaves the rest for the next time (S-PC-06)") {
    PyThreadState *main_state = begin_with_signals();
    PyTState_SetSignalHandler(handle, arrived);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR1, 1), 0);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR2, 1), 0);
    fail_on = SIGUSR1;
    raise(SIGUSR1);
    raise(SIGUSR2);
    CHECK_INT_EQ(Py_AddPendingCall(never_called, NULL), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), -1);
    check_raised(PyExc_ValueError, "the handler failed");
    CHECK_INT_EQ(n_arrived, 1);
    CHECK_UINT_NE(main_state->eval_breaker, 0);
    fail_on = 0;
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(arrived[1], SIGUSR2);
    CHECK_INT_EQ(n_arrived, 102);
    finish();
}

TEST("a signal that is routed elsewhere since it arrived is not handled") {
    begin_with_signals();
    PyTState_SetSignalHandler(handle, arrived);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR1, 1), 0);
    raise(SIGUSR1);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR1, 0), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(n_arrived, 0);
    CHECK_HANDLER(PyOS_getsig(SIGUSR1), SIG_DFL);
    CHECK_INT_EQ(PyErr_SetInterruptEx(SIGUSR1), 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(n_arrived, 0);
    finish();
}

TEST("signals that cannot be caught are refused") {
    static const int none[] = {0, -1, 65, SIGKILL, SIGSTOP};
    begin();
    for (int i = 0; i < 5; i++) {
        errno = 0;
        CHECK_INT_EQ(PyTState_RouteSignal(none[i], 1), -1);
        CHECK_INT_EQ(errno, EINVAL);
    }
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("finalization gives back what still comes to the runtime, and forgets") {
    begin_with_signals();
    PyTState_SetSignalHandler(handle, arrived);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR1, 1), 0);
    CHECK_INT_EQ(PyTState_RouteSignal(SIGUSR2, 1), 0);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR1);
    finish();
    CHECK_INT_LE(n_arrived, 1);
    n_arrived = 0;
    CHECK_HANDLER(PyOS_getsig(SIGINT), SIG_DFL);
    CHECK_HANDLER(PyOS_getsig(SIGUSR1), SIG_DFL);
    CHECK_HANDLER(PyOS_getsig(SIGUSR2), SIG_IGN);
    begin();
    CHECK_INT_EQ(PyErr_CheckSignals(), 0);
    CHECK_INT_EQ(n_arrived, 0);
    finish();
}

TEST("a fork child forgets what arrived, and handles what arrives") {
    begin_with_signals();
    raise(SIGINT);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK_INT_EQ(PyErr_CheckSignals(), 0);
        raise(SIGINT);
        CHECK_INT_EQ(PyErr_CheckSignals(), -1);
        check_raised(PyExc_KeyboardInterrupt, "");
        test_child_done(Py_FinalizeEx());
    }
    PyOS_AfterFork_Parent();
    CHECK_CHILD_EXIT(child, 0);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    PyErr_Clear();
    finish();
}

/* ---- The OS's own handlers ---------------------------------------------- */

static atomic_int n_handled;
static void os_handler(int number) {
    (void)number;
    atomic_fetch_add(&n_handled, 1);
}

TEST("handlers of the OS are set and asked for") {
    signal(SIGUSR1, SIG_DFL);
    CHECK_HANDLER(PyOS_getsig(SIGUSR1), SIG_DFL);
    CHECK_HANDLER(PyOS_setsig(SIGUSR1, os_handler), SIG_DFL);
    CHECK_HANDLER(PyOS_getsig(SIGUSR1), os_handler);
    raise(SIGUSR1);
    CHECK_INT_EQ(atomic_load(&n_handled), 1);
    CHECK_HANDLER(PyOS_setsig(SIGUSR1, SIG_IGN), os_handler);
    CHECK_HANDLER(PyOS_setsig(SIGUSR1, SIG_DFL), SIG_IGN);
    static const int none[] = {0, -1, 65, 1000};
    for (int i = 0; i < 4; i++) {
        CHECK_HANDLER(PyOS_getsig(none[i]), SIG_ERR);
        CHECK_HANDLER(PyOS_setsig(none[i], SIG_IGN), SIG_ERR);
    }
    CHECK_HANDLER(PyOS_setsig(SIGKILL, SIG_IGN), SIG_ERR);
}

TEST("a handler set here may run on an alternate stack, and interrupts") {
    struct sigaction now;
    PyOS_setsig(SIGUSR1, os_handler);
    CHECK_INT_EQ(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK_INT_NE(now.sa_flags & SA_ONSTACK, 0);
    CHECK_INT_EQ(now.sa_flags & SA_RESTART, 0);
}

/* ---- Misuse ------------------------------------------------------------- */

static void check_signals(void) { PyErr_CheckSignals(); }
static void interrupt_occurred(void) { PyOS_InterruptOccurred(); }
static void is_main_thread(void) { _PyOS_IsMainThread(); }
static void check_tstate(void) { _PyErr_CheckSignalsTstate(NULL); }
static void occurred_tstate(void) { _PyOS_InterruptOccurred(NULL); }

TEST("signals are not looked at without a state, or with another's") {
    static const struct {
        const char *func;
        void (*call)(void);
    } all[] = {
        {"PyErr_CheckSignals", check_signals},
        {"PyOS_InterruptOccurred", interrupt_occurred},
        {"_PyOS_IsMainThread", is_main_thread},
        {"_PyErr_CheckSignalsTstate", check_tstate},
        {"_PyOS_InterruptOccurred", occurred_tstate},
    };
    PyThreadState *main_state = begin();
    PyThreadState *other = PyThreadState_New(main_state->interp);
    EXPECT_FATAL("_PyErr_CheckSignalsTstate", "is not the attached one") {
        _PyErr_CheckSignalsTstate(other);
    }
    PyEval_SaveThread();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        EXPECT_FATAL(all[i].func, "thread state is NULL") { all[i].call(); }
}

/* ---- What initialization and hosts do beside handlers ------------------ */

TEST("a signal that arrives is written to the wakeup descriptor") {
    int ends[2];
    unsigned char byte = 0;
    begin_with_signals();
    CHECK_INT_EQ(pipe2(ends, O_NONBLOCK), 0);
    CHECK_INT_EQ(PySignal_SetWakeupFd(ends[1]), -1);
    raise(SIGINT);
    CHECK_INT_EQ(read(ends[0], &byte, 1), 1);
    CHECK_INT_EQ(byte, SIGINT);
    CHECK_INT_EQ(PySignal_SetWakeupFd(-7), ends[1]);
    raise(SIGINT);
    CHECK_INT_EQ(read(ends[0], &byte, 1), -1);
    CHECK_INT_EQ(PySignal_SetWakeupFd(ends[1]), -1);
    CHECK_INT_EQ(PyErr_CheckSignals(), -1);
    check_raised(PyExc_KeyboardInterrupt, "");
    finish();
    CHECK_INT_EQ(PySignal_SetWakeupFd(-1), -1);
}

TEST("signals of broken pipes and of large files are ignored by an "
     "initialization that installs handlers, and by no other") {
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    begin();
    CHECK_HANDLER(PyOS_getsig(SIGPIPE), SIG_DFL);
    finish();
    begin_with_signals();
    CHECK_HANDLER(PyOS_getsig(SIGPIPE), SIG_IGN);
    CHECK_HANDLER(PyOS_getsig(SIGXFSZ), SIG_IGN);
    finish();
    CHECK_HANDLER(PyOS_getsig(SIGPIPE), SIG_IGN);
}
