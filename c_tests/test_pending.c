/* Pending calls, polling, asynchronous exceptions. */
#include "host.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

/* ---- A log of calls ----------------------------------------------------- */

static int order[1024], n_called;

static int note(void *number) {
    CHECK_INT_EQ(PyGILState_Check(), 1);
    order[n_called++] = (int)(intptr_t)number;
    return 0;
}

static void *as_arg(int number) { return (void *)(intptr_t)number; }

static void add(int number) {
    CHECK_INT_EQ(Py_AddPendingCall(note, as_arg(number)), 0);
}

/* ---- The main thread's queue -------------------------------------------- */

TEST("calls run in the order of their adding, at a poll (S-PC-01, 02)") {
    PyThreadState *main_state = begin();
    add(1);
    add(2);
    CHECK_UINT_NE(main_state->eval_breaker, 0);
    CHECK_INT_EQ(n_called, 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 2);
    CHECK_INT_EQ(order[0], 1);
    CHECK_INT_EQ(order[1], 2);
    CHECK_INT_EQ(PyTState_HasPending(main_state), 0);
    add(3);
    CHECK_INT_EQ(PyTState_HasPending(main_state), 1);
    CHECK_INT_EQ(_Py_HandlePending(main_state), 0);
    CHECK_INT_EQ(PyTState_HasPending(main_state), 0);
    CHECK_INT_EQ(order[2], 3);
    add(4);
    CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), 0);
    CHECK_INT_EQ(order[3], 4);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 4);
    CHECK_UINT_EQ(main_state->eval_breaker, 0);
    finish();
}

TEST("32 calls are queued, the next is refused and still asks for a poll "
     "(S-PC-02, 04)") {
    PyThreadState *main_state = begin();
    for (int round = 0; round < 20; round++) {
        n_called = 0;
        for (int i = 0; i < 32; i++)
            add(i);
        CHECK_INT_EQ(Py_AddPendingCall(note, NULL), -1);
        CHECK_NULL(PyErr_Occurred());
        CHECK_UINT_NE(main_state->eval_breaker, 0);
        CHECK_INT_EQ(Py_MakePendingCalls(), 0);
        CHECK_INT_EQ(n_called, 32);
        for (int i = 0; i < 32; i++)
            CHECK_INT_EQ(order[i], i);
    }
    finish();
}

static int fails(void *number) {
    note(number);
    PyErr_SetString(PyExc_ValueError, "the call failed");
    return -1;
}

TEST("a call that fails ends the pass; what is left stays (S-PC-08, 09)") {
    PyThreadState *main_state = begin();
    add(1);
    CHECK_INT_EQ(Py_AddPendingCall(fails, as_arg(2)), 0);
    add(3);
    CHECK_INT_EQ(Py_MakePendingCalls(), -1);
    check_raised(PyExc_ValueError, "the call failed");
    CHECK_INT_EQ(n_called, 2);
    CHECK_UINT_NE(main_state->eval_breaker, 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 3);
    CHECK_INT_EQ(order[2], 3);
    finish();
}

static int adds_another(void *left) {
    note(left);
    if ((intptr_t)left > 0)
        CHECK_INT_EQ(
            Py_AddPendingCall(adds_another, as_arg((int)(intptr_t)left - 1)),
            0);
    return 0;
}

TEST("calls may add calls, which run in the same pass up to its limit "
     "(S-PC-01, 10)") {
    PyThreadState *main_state = begin();
    CHECK_INT_EQ(Py_AddPendingCall(adds_another, as_arg(10)), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 11);
    n_called = 0;
    CHECK_INT_EQ(Py_AddPendingCall(adds_another, as_arg(100)), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 32);
    CHECK_UINT_NE(main_state->eval_breaker, 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 64);
    _Py_FinishPendingCalls(main_state);
    CHECK_INT_EQ(n_called, 101);
    finish();
}

static int polls_within(void *number) {
    note(number);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(_Py_HandlePending(PyThreadState_Get()), 0);
    CHECK_INT_EQ(n_called, 1);
    return 0;
}

TEST("a call that polls runs no other call (S-PC-07)") {
    begin();
    CHECK_INT_EQ(Py_AddPendingCall(polls_within, NULL), 0);
    add(2);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 2);
    finish();
}

static void adds_detached(void *number) {
    CHECK_NULL(PyThreadState_GetUnchecked());
    for (int i = 0; i < 4; i++)
        add((int)(intptr_t)number);
}

static void polls_in_vain(void *interp) {
    enter(interp);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(_Py_HandlePending(PyThreadState_Get()), 0);
    CHECK_INT_EQ(n_called, 0);
    leave();
}

TEST("any thread adds, without a state; the main thread alone runs (S-PC-05)") {
    PyThreadState *main_state = begin();
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 8, adds_detached, as_arg(1));
    peers_start(&peers);
    peers_join(&peers, LIMIT_MS);
    struct peers others = PEERS_INIT;
    peers_add(&others, 2, polls_in_vain, main_state->interp);
    peers_start(&others);
    join_peers(&others);
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 0);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 32);
    finish();
}

/* ---- An interpreter's queue ---------------------------------------------- */

static int add_to(PyInterpreterState *interp, int number, int flags) {
    return _PyEval_AddPendingCall(interp, note, as_arg(number), flags);
}

TEST("an interpreter's queue takes 300 calls, a pass runs 100 (S-PC-01)") {
    PyThreadState *main_state = begin();
    for (int i = 0; i < 300; i++)
        CHECK_INT_EQ(add_to(main_state->interp, i, 0), _Py_ADD_PENDING_SUCCESS);
    CHECK_INT_EQ(add_to(main_state->interp, 0, 0), _Py_ADD_PENDING_FULL);
    for (int pass = 1; pass <= 3; pass++) {
        CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), 0);
        CHECK_INT_EQ(n_called, pass * 100);
        CHECK_INT_EQ(
            _Py_eval_breaker_bit_is_set(main_state, _PY_CALLS_TO_DO_BIT),
            pass < 3);
    }
    for (int i = 0; i < 300; i++)
        CHECK_INT_EQ(order[i], i);
    finish();
}

TEST("both queues are run, the interpreter's first, to its failure") {
    PyThreadState *main_state = begin();
    add(2);
    CHECK_INT_EQ(add_to(main_state->interp, 1, 0), 0);
    CHECK_INT_EQ(add_to(main_state->interp, 3, _Py_PENDING_MAINTHREADONLY), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT_EQ(order[i], i + 1);
    n_called = 0;
    add(2);
    CHECK_INT_EQ(
        _PyEval_AddPendingCall(main_state->interp, fails, as_arg(1), 0), 0);
    CHECK_INT_EQ(Py_MakePendingCalls(), -1);
    PyErr_Clear();
    CHECK_INT_EQ(n_called, 1);
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 2);
    finish();
}

static _Atomic(PyThreadState *) ran_on;

static int note_state(void *unused) {
    (void)unused;
    atomic_store(&ran_on, PyThreadState_Get());
    return 0;
}

static void polls_until_called(void *expected) {
    PyThreadState *mine = PyThreadState_Get();
    atomic_store((_Atomic(PyThreadState *) *)expected, mine);
    int64_t end = test_now_ms() + LIMIT_MS;
    while (atomic_load(&ran_on) == NULL && test_now_ms() < end)
        CHECK_INT_EQ(PyTState_Poll(mine), 0);
    CHECK_PTR_EQ(atomic_load(&ran_on), mine);
}

TEST("whoever polls in the interpreter runs its calls (S-PC-03)") {
    PyThreadState *main_state = begin();
    static _Atomic(PyThreadState *) poller;
    PyThreadHandle *handle = start(polls_until_called, &poller);
    PyEval_SaveThread();
    WAIT_UNTIL(atomic_load(&poller) != NULL, LIMIT_MS);
    CHECK_INT_EQ(
        _PyEval_AddPendingCall(main_state->interp, note_state, NULL, 0), 0);
    CHECK_INT_EQ(PyThreadHandle_Join(handle, LIMIT), 0);
    PyEval_RestoreThread(main_state);
    CHECK_PTR_NE(atomic_load(&ran_on), main_state);
    PyThreadHandle_Decref(handle);
    finish();
}

TEST("a call that was added while all were detached is seen at the next "
     "attach (S-EB-06)") {
    PyThreadState *main_state = begin();
    PyEval_SaveThread();
    CHECK_INT_EQ(add_to(main_state->interp, 1, 0), 0);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(_Py_eval_breaker_bit_is_set(main_state, _PY_CALLS_TO_DO_BIT),
                 1);
    CHECK_INT_EQ(_Py_HandlePending(main_state), 0);
    CHECK_INT_EQ(n_called, 1);
    finish();
}

TEST("another interpreter's calls run there") {
    PyThreadState *main_state = begin();
    PyThreadState *other = new_interp(PyInterpreterConfig_OWN_GIL);
    CHECK_INT_EQ(add_to(main_state->interp, 1, 0), 0);
    CHECK_INT_EQ(add_to(other->interp, 2, 0), 0);
    CHECK_INT_EQ(_PyEval_MakePendingCalls(other), 0);
    CHECK_INT_EQ(n_called, 1);
    CHECK_INT_EQ(order[0], 2);
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), 0);
    CHECK_INT_EQ(order[1], 1);
    PyThreadState_Swap(other);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    finish();
}

static int keep_arg(void *arg) {
    CHECK_STR_EQ(arg, "allocated");
    n_called++;
    return 0;
}
static int fail_with_arg(void *arg) {
    keep_arg(arg);
    PyErr_SetNone(PyExc_ValueError);
    return 1;
}

TEST("an argument that is to be freed is freed, also after a failure "
     "(S-PC-11)") {
    PyThreadState *main_state = begin();
    /* The sanitizers and valgrind see a leak, or a double free. */
    for (int i = 0; i < 2; i++) {
        char *text = malloc(16);
        CHECK_NOT_NULL(text);
        strcpy(text, "allocated");
        CHECK_INT_EQ(_PyEval_AddPendingCall(main_state->interp,
                                            i ? fail_with_arg : keep_arg, text,
                                            _Py_PENDING_RAWFREE),
                     0);
        CHECK_INT_EQ(_PyEval_MakePendingCalls(main_state), -i);
        CHECK_INT_EQ(n_called, i + 1);
        PyErr_Clear();
    }
    finish();
}

/* ---- The end --------------------------------------------------------------
 */

TEST("finalization runs what is left, and reports failures (S-PC-12)") {
    EXPECT_EXIT(0, "Exception ignored in a pending call during finalization: "
                   "ValueError: the call failed\n") {
        PyThreadState *main_state = begin();
        add(1);
        CHECK_INT_EQ(Py_AddPendingCall(fails, as_arg(2)), 0);
        for (int i = 3; i < 260; i++)
            CHECK_INT_EQ(add_to(main_state->interp, i, 0), 0);
        finish();
        CHECK_INT_EQ(n_called, 259);
    }
}

TEST("calls of one life of the runtime do not reach the next") {
    CHECK_INT_EQ(Py_AddPendingCall(note, NULL), 0);
    begin();
    CHECK_INT_EQ(Py_MakePendingCalls(), 0);
    CHECK_INT_EQ(n_called, 0);
    finish();
}

/* ---- Asynchronous exceptions (S-AX) ---------------------------------------
 */

TEST("an asynchronous exception is raised at the next poll, once (S-AX-05)") {
    PyThreadState *main_state = begin();
    unsigned long me = PyThread_get_thread_ident();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, PyExc_TimeoutError), 1);
    CHECK_NULL(PyErr_Occurred());
    CHECK_PTR_EQ(main_state->async_exc, PyExc_TimeoutError);
    CHECK_INT_EQ(_Py_HandlePending(main_state), -1);
    check_raised(PyExc_TimeoutError, "");
    CHECK_NULL(main_state->async_exc);
    CHECK_INT_EQ(_Py_HandlePending(main_state), 0);
    finish();
}

TEST("the last one counts, NULL takes it back, nobody means 0 (S-AX-02, 03)") {
    PyThreadState *main_state = begin();
    unsigned long me = PyThread_get_thread_ident();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, PyExc_TimeoutError), 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, PyExc_ValueError), 1);
    CHECK_INT_EQ(_Py_HandlePending(main_state), -1);
    check_raised(PyExc_ValueError, "");
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, PyExc_ValueError), 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, NULL), 1);
    CHECK_INT_EQ(_Py_HandlePending(main_state), 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(0, PyExc_ValueError), 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me + 1, PyExc_ValueError), 0);
    CHECK_NULL(PyErr_Occurred());
    finish();
}

TEST("only the attached interpreter is looked in, the newest state first "
     "(S-AX-01)") {
    PyThreadState *main_state = begin();
    unsigned long me = PyThread_get_thread_ident();
    PyThreadState *older = PyThreadState_New(main_state->interp);
    PyThreadState *newer = PyThreadState_New(main_state->interp);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, PyExc_ValueError), 1);
    CHECK_PTR_EQ(newer->async_exc, PyExc_ValueError);
    CHECK_NULL(older->async_exc);
    CHECK_NULL(main_state->async_exc);
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, PyExc_TimeoutError), 1);
    CHECK_PTR_EQ(newer->async_exc, PyExc_ValueError);
    CHECK_PTR_EQ(other->async_exc, PyExc_TimeoutError);
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    PyThreadState_Clear(newer);
    CHECK_NULL(newer->async_exc);
    PyThreadState_Delete(newer);
    PyThreadState_Clear(older);
    PyThreadState_Delete(older);
    finish();
}

static atomic_ulong target;
static atomic_int was_raised;

static void polls_until_raised(void *unused) {
    (void)unused;
    PyThreadState *mine = PyThreadState_Get();
    int64_t end = test_now_ms() + LIMIT_MS;
    atomic_store(&target, PyThread_get_thread_ident());
    while (_Py_HandlePending(mine) == 0 && test_now_ms() < end) {
        PyEval_SaveThread();
        test_nap();
        PyEval_RestoreThread(mine);
    }
    check_raised(PyExc_KeyboardInterrupt, "");
    atomic_store(&was_raised, 1);
}

TEST("another thread's poll raises it") {
    begin();
    PyThreadHandle *handle = start(polls_until_raised, NULL);
    WAIT_DETACHED(atomic_load(&target) != 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(atomic_load(&target),
                                           PyExc_KeyboardInterrupt),
                 1);
    join_and_drop(handle);
    CHECK_INT_EQ(atomic_load(&was_raised), 1);
    finish();
}

static int counts[2];
static void count_up(PyObject *object) { ((int *)object)[0]++; }
static void count_down(PyObject *object) {
    /* A destructor may call back: no lock is held (S-AX-04). */
    PyThreadState_SetAsyncExc(1, NULL);
    ((int *)object)[1]++;
}

TEST("references to a host's exception are counted out in every case") {
    static const PyTState_ObjectHooks hooks = {.incref = count_up,
                                               .decref = count_down};
    PyTState_Config config = {.size = sizeof config, .objects = &hooks};
    PyObject *mine = (PyObject *)counts;
    PyThreadState *main_state = begin_with(&config);
    unsigned long me = PyThread_get_thread_ident();
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, mine), 1); /* replaced */
    CHECK_INT_EQ(counts[0] - counts[1], 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, mine), 1); /* taken back */
    CHECK_INT_EQ(counts[0] - counts[1], 1);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, NULL), 1);
    CHECK_INT_EQ(counts[0] - counts[1], 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me + 1, mine), 0); /* nobody */
    CHECK_INT_EQ(counts[0] - counts[1], 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, mine), 1); /* raised */
    CHECK_INT_EQ(_Py_HandlePending(main_state), -1);
    CHECK_PTR_EQ(PyErr_Occurred(), mine);
    CHECK_INT_EQ(counts[0] - counts[1], 1);
    PyErr_Clear();
    CHECK_INT_EQ(counts[0] - counts[1], 0);
    PyThreadState *other = PyThreadState_New(main_state->interp);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, mine), 1); /* cleared */
    PyThreadState_Clear(other);
    CHECK_INT_EQ(counts[0] - counts[1], 0);
    CHECK_INT_EQ(PyThreadState_SetAsyncExc(me, mine), 1); /* too late */
    CHECK_INT_EQ(counts[0] - counts[1], 0);
    PyThreadState_Delete(other);
    finish();
    CHECK_INT_EQ(counts[0], counts[1]);
}

/* ---- Misuse ----------------------------------------------------------------
 */

static void make_calls(void) { Py_MakePendingCalls(); }
static void make_calls_of(void) { _PyEval_MakePendingCalls(NULL); }
static void finish_calls(void) { _Py_FinishPendingCalls(NULL); }
static void poll(void) { _Py_HandlePending(NULL); }
static void async(void) { PyThreadState_SetAsyncExc(1, NULL); }

TEST("polling needs the attached state") {
    static const struct {
        const char *func;
        void (*call)(void);
    } all[] = {
        {"Py_MakePendingCalls", make_calls},
        {"_PyEval_MakePendingCalls", make_calls_of},
        {"_Py_FinishPendingCalls", finish_calls},
        {"_Py_HandlePending", poll},
        {"PyThreadState_SetAsyncExc", async},
    };
    begin();
    for (size_t i = 1; i < 4; i++)
        EXPECT_FATAL(all[i].func, "is not the attached one") { all[i].call(); }
    PyEval_SaveThread();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        EXPECT_FATAL(all[i].func, "thread state is NULL") { all[i].call(); }
}

TEST("a call needs a function and an interpreter that fits its flags") {
    PyThreadState *main_state = begin();
    EXPECT_FATAL("Py_AddPendingCall", "'func' must not be NULL") {
        Py_AddPendingCall(NULL, NULL);
    }
    EXPECT_FATAL("_PyEval_AddPendingCall", "'func' must not be NULL") {
        _PyEval_AddPendingCall(main_state->interp, NULL, NULL, 0);
    }
    EXPECT_FATAL("_PyEval_AddPendingCall", "'interp' must not be NULL") {
        _PyEval_AddPendingCall(NULL, note, NULL, 0);
    }
    PyThreadState *other = new_interp(PyInterpreterConfig_SHARED_GIL);
    EXPECT_FATAL("_PyEval_AddPendingCall", "is not the main one") {
        add_to(other->interp, 1, _Py_PENDING_MAINTHREADONLY);
    }
    Py_EndInterpreter(other);
    PyEval_RestoreThread(main_state);
    finish();
}

/* ---- From a signal handler --------------------------------------------- */

static atomic_int n_from_handler;

static int count_from_handler(void *counter) {
    if (counter != NULL)
        atomic_fetch_add((atomic_int *)counter, 1);
    return 0;
}

static void add_from_handler(int signal) {
    (void)signal;
    (void)Py_AddPendingCall(count_from_handler, &n_from_handler);
}

TEST("a signal handler may add a call, whatever the interrupted thread does") {
    Py_InitializeEx(0);
    PyThreadState *mine = PyThreadState_Get();
    struct sigaction action = {.sa_handler = add_from_handler};
    struct sigaction before;
    CHECK_INT_EQ(sigaction(SIGALRM, &action, &before), 0);
    struct itimerval often = {{0, 100}, {0, 100}};
    CHECK_INT_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    int64_t end = test_now_ms() + 10000;
    /* In adds, in runs, with the head lock held by New and Delete. */
    while (atomic_load(&n_from_handler) < 300 && test_now_ms() < end) {
        (void)Py_AddPendingCall(count_from_handler, NULL);
        CHECK_INT_EQ(Py_MakePendingCalls(), 0);
        PyThreadState *state = PyThreadState_New(mine->interp);
        PyThreadState_Clear(state);
        PyThreadState_Delete(state);
    }
    struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &before, NULL);
    CHECK_INT_GE(atomic_load(&n_from_handler), 300);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}
