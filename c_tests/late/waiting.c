/* Scenarios: events, the parking lot, joins, waits for threads, pauses. */
#include "stage.h"

static PyEvent event;

static void set_event(void) {
    wait_victim_sleeps();
    _PyEvent_Notify(&event);
}

static void wait_event(void) {
    CHECK(PyEvent_WaitTimed(&event, 1 * MS, 1) == 0 || victim_is_late());
    atomic_store(&about_to_wait, 1);
    PyEvent_Wait(&event);
    CHECK(PyEvent_WaitTimed(&event, 5000 * MS, 1) == 1);
    breathe();
}

static void event_is_set(void) { CHECK(_PyEvent_IsSet(&event)); }

static void set_at_last(void) {
    atomic_store(&about_to_wait, 1);
    for (int i = 0; i < 50000 && !_PyEvent_IsSet(&event); i++)
        nap();
    event_is_set();
}
SCENARIO("an event", .helper = set_event, .victim = wait_event,
         .after = set_at_last);

/* ---- The parking lot -------------------------------------------------- */

static uint8_t word;
static atomic_int n_unparked, n_found_nobody;

static void unparked(void *arg, void *park_arg, int more) {
    (void)arg, (void)more;
    atomic_fetch_add(park_arg != NULL ? &n_unparked : &n_found_nobody, 1);
}

static void unpark(void) {
    wait_victim_sleeps();
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    _PyParkingLot_Unpark(&word, unparked, NULL);
}

static void park(void) {
    uint8_t zero = 0;
    _PyParkingLot_Park(&word, &zero, 1, 1 * MS, &zero, 1);
    atomic_store(&about_to_wait, 1);
    _PyParkingLot_Park(&word, &zero, 1, 5000 * MS, &zero, 1);
    breathe();
}

static void nothing_parks(void) {
    atomic_store(&n_found_nobody, 0);
    _PyParkingLot_Unpark(&word, unparked, NULL);
    CHECK(atomic_load(&n_found_nobody) == 1);
}

static void unparked_at_last(void) {
    nothing_parks();
    _PyParkingLot_UnparkAll(&word);
}
SCENARIO("the parking lot", .helper = unpark, .victim = park,
         .after = unparked_at_last);

/* ---- Joins ------------------------------------------------------------ */

static PyThreadHandle *joined;
static atomic_int may_end;

static void until_allowed(void *unused) {
    (void)unused;
    /* Without a state attached, so that it is late only at its own end. */
    PyThreadState *mine = PyEval_SaveThread();
    until(&may_end);
    PyEval_RestoreThread(mine);
}

static void start_joined(void) {
    joined = PyThreadHandle_New();
    CHECK(PyThreadHandle_Start(joined, interp, until_allowed, NULL,
                               PyThreadHandle_DAEMON) == 0);
}

static void allow(void) {
    wait_victim_sleeps();
    atomic_store(&may_end, 1);
}

static void join_it(void) {
    CHECK(PyThreadHandle_Join(joined, 1 * MS) != -1);
    atomic_store(&about_to_wait, 1);
    CHECK(PyThreadHandle_Join(joined, -1) == 0);
    CHECK(PyThreadHandle_Join(joined, -1) == 0);
    breathe();
}

static void join_from_outside(void) {
    /* Refused before the thread has met the policy, under the rules of 3.14. */
    int outcome;
    while ((outcome = PyThreadHandle_Join(joined, 5000 * MS)) == -1)
        nap();
    CHECK(outcome == 0 && PyThreadHandle_IsDone(joined) == 1);
}

static void can_be_joined(void) {
    atomic_store(&about_to_wait, 1);
    must_return(join_from_outside, "a join after another joiner was late");
    PyThreadHandle_Decref(joined);
}
SCENARIO("a join", .before = start_joined, .helper = allow, .victim = join_it,
         .after = can_be_joined);

static void second_joiner(void) {
    wait_victim_sleeps();
    atomic_store(&may_end, 1);
    /* Refused while the runtime finalizes, under the rules of 3.14. */
    int outcome;
    while ((outcome = PyThreadHandle_Join(joined, 5000 * MS)) == -1)
        nap();
    CHECK(outcome == 0);
}
SCENARIO("two joins of one thread", .before = start_joined,
         .helper = second_joiner, .victim = join_it, .after = can_be_joined);

static void no_body(void *unused) {
    (void)unused;
    breathe();
}

static void start_and_join(void) {
    for (int i = 0; i < 2; i++) {
        PyThreadHandle *one = PyThreadHandle_New();
        if (PyThreadHandle_Start(one, interp, no_body, NULL,
                                 PyThreadHandle_DAEMON) == 0 &&
            i == 0)
            PyThreadHandle_Join(one, -1);
        PyThreadHandle_Decref(one);
    }
    breathe();
}
SCENARIO("a start and a join", .victim = start_and_join);

/* A wait for threads that has a limit, for a thread that makes itself known. */
static void nondaemon_for_a_while(void) {
    PyThreadState *mine = PyThreadState_Get();
    mine->is_daemon = 0;
    size_t n = 0;
    CHECK(PyTState_WaitForThreads(interp, 1 * MS, NULL, 0, &n) == 0);
    mine->is_daemon = 1;
    _PyInterpreterState_WaitForThreads(interp);
    breathe();
}
SCENARIO("a wait for threads", .victim = nondaemon_for_a_while);

/* ---- Pauses ----------------------------------------------------------- */

static void pauses(void) {
    _PyEval_StopTheWorld(interp);
    _PyEval_StartTheWorld(interp);
    breathe();
    _PyEval_StopTheWorldAll(NULL);
    _PyEval_StartTheWorldAll(NULL);
    breathe();
}
SCENARIO("pauses", .victim = pauses);

/* A plain thread pauses the world while the victim runs in it. */
static atomic_int paused;

static void pause_beside(void) {
    until(&about_to_wait);
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    if (token != NULL) {
        _PyEval_StopTheWorld(interp);
        nap();
        _PyEval_StartTheWorld(interp);
        PyThreadState_Release(token);
    }
    atomic_store(&paused, 1);
}

static void run_beside_pause(void) {
    PyThreadState *mine = PyThreadState_Get();
    atomic_store(&about_to_wait, 1);
    for (int i = 0; i < 3; i++)
        breathe();
    while (!atomic_load(&paused))
        CHECK(PyTState_Poll(mine) == 0);
    breathe();
}
SCENARIO("the pause of another thread", .helper = pause_beside,
         .victim = run_beside_pause);
