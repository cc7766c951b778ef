/* An end gets its turn, however many threads open and close guards meanwhile.
 */
#include "host.h"

enum { THREADS = 8 };

static atomic_int n_opened, n_refused;
static struct latch attached;

static void opened(void) { atomic_fetch_add(&n_opened, 1); }

/* ---- Loops without a break, until they are refused -------------------- */

static void open_and_close(void *view) {
    PyInterpreterGuard *guard;
    while ((guard = PyInterpreterGuard_FromView(view)) != NULL) {
        opened();
        PyInterpreterGuard_Close(guard);
    }
    atomic_fetch_add(&n_refused, 1);
}

static void open_and_ensure(void *view) {
    PyInterpreterGuard *guard;
    while ((guard = PyInterpreterGuard_FromView(view)) != NULL) {
        PyThreadStateToken *token = PyThreadState_Ensure(guard);
        CHECK_NOT_NULL(token);
        opened();
        PyThreadState_Release(token);
        PyInterpreterGuard_Close(guard);
    }
    CHECK_NULL(PyThreadState_GetUnchecked());
    atomic_fetch_add(&n_refused, 1);
}

static void ensure_from_view(void *view) {
    PyThreadStateToken *token;
    while ((token = PyThreadState_EnsureFromView(view)) != NULL) {
        opened();
        PyThreadState_Release(token);
    }
    CHECK_NULL(PyThreadState_GetUnchecked());
    atomic_fetch_add(&n_refused, 1);
}

/* Attached all the time, but for moments in which it has a guard: so it is
 * never late, and a refusal finds it attached. */
static void open_attached(void *unused) {
    (void)unused;
    PyInterpreterGuard *guard;
    enter(PyInterpreterState_Main());
    latch_arrive(&attached);
    while ((guard = PyInterpreterGuard_FromCurrent()) != NULL) {
        opened();
        PyThreadStateToken *token = PyThreadState_Ensure(guard);
        PyEval_RestoreThread(PyEval_SaveThread());
        PyThreadState_Release(token);
        PyInterpreterGuard_Close(guard);
    }
    check_raised(PyExc_PythonFinalizationError, "finalizing");
    leave();
    atomic_fetch_add(&n_refused, 1);
}

static void (*const loops[])(void *) = {open_and_close, open_and_ensure,
                                        ensure_from_view, open_attached};
enum { LOOPS = sizeof loops / sizeof loops[0] };

/* Threads 0 to 7 run the one loop, or with `LOOPS` all of them. */
static void end_against(int loop) {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    PyInterpreterView *view = PyInterpreterView_FromCurrent();
    atomic_store(&n_opened, 0);
    atomic_store(&n_refused, 0);
    int n_attached = 0;
    for (int i = 0; i < THREADS; i++) {
        void (*body)(void *) = loops[loop == LOOPS ? i % LOOPS : loop];
        n_attached += body == open_attached;
        peers_add(&peers, 1, body, view);
    }
    attached = (struct latch)LATCH_INIT(n_attached);
    PyEval_SaveThread();
    peers_start(&peers);
    CHECK_INT_EQ(latch_wait(&attached, LIMIT_MS), 1);
    WAIT_UNTIL(atomic_load(&n_opened) > 1000, LIMIT_MS);
    PyEval_RestoreThread(main_state);
    int64_t began = test_now_ms();
    finish();
    NOTE("the end took %lld ms, %d guards were opened",
         (long long)(test_now_ms() - began), atomic_load(&n_opened));
    peers_join(&peers, LIMIT_MS);
    CHECK_INT_EQ(atomic_load(&n_refused), THREADS);
    PyInterpreterView_Close(view);
}

TEST("eight threads open and close guards without a break") {
    for (int life = 0; life < 5; life++)
        end_against(0);
}

TEST("... and attach through them") {
    for (int life = 0; life < 5; life++)
        end_against(1);
}

TEST("... or through a view") {
    for (int life = 0; life < 5; life++)
        end_against(2);
}

TEST("... or are attached when they open them, and not detached to wait") {
    for (int life = 0; life < 5; life++)
        end_against(3);
}

TEST("... or all of that at once") {
    for (int life = 0; life < 5; life++)
        end_against(LOOPS);
}

/* ---- While the door is shut ------------------------------------------- */

static PyInterpreterView *the_view;
static struct latch arrived = LATCH_INIT(2), shut = LATCH_INIT(1),
                    served = LATCH_INIT(1);

static void meet(struct latch *gate) {
    CHECK_INT_EQ(latch_wait(gate, LIMIT_MS), 1);
}

static int waits_for_guards(void) {
    return PyTState_ShutdownPhase(PyInterpreterState_Main()) ==
           PyTState_PHASE_WAITING_GUARDS;
}

/* Has a guard at every moment, never one for long: the end is overtaken. */
static void overtake(void *unused) {
    (void)unused;
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(the_view);
    latch_arrive(&arrived);
    while (atomic_load(&shut.left) > 0) {
        PyInterpreterGuard *next = PyInterpreterGuard_FromView(the_view);
        CHECK_NOT_NULL(next); /* who has one gets more */
        PyInterpreterGuard_Close(guard);
        guard = next;
    }
    meet(&served);
    PyInterpreterGuard_Close(guard);
}

/* Attached, without a guard: refused at last, although nothing is committed. */
static void try_attached(void *unused) {
    (void)unused;
    enter(PyInterpreterState_Main());
    PyThreadState *mine = PyEval_SaveThread();
    latch_arrive(&arrived);
    WAIT_UNTIL(waits_for_guards(), LIMIT_MS);
    PyEval_RestoreThread(mine);
    PyInterpreterGuard *guard;
    while ((guard = PyInterpreterGuard_FromCurrent()) != NULL) {
        PyInterpreterGuard_Close(guard);
        PyEval_RestoreThread(PyEval_SaveThread());
    }
    check_raised(PyExc_PythonFinalizationError, "finalizing");
    CHECK_INT_EQ(waits_for_guards(), 1);
    CHECK_INT_EQ(Py_IsFinalizing(), 0);
    leave();
    latch_arrive(&shut);
}

/* Neither: waits, and gets one although the end waits for another's guard. */
static void try_detached(void *unused) {
    (void)unused;
    meet(&shut);
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(the_view);
    CHECK_NOT_NULL(guard);
    PyInterpreterGuard_Close(guard);
    latch_arrive(&served);
}

TEST("an end that was overtaken refuses attached threads, lets others wait for "
     "a while, and hinders nobody who has a guard") {
    struct peers peers = PEERS_INIT;
    PyThreadState *main_state = begin();
    the_view = PyInterpreterView_FromCurrent();
    peers_add(&peers, 1, overtake, NULL);
    peers_add(&peers, 1, try_attached, NULL);
    peers_add(&peers, 1, try_detached, NULL);
    PyEval_SaveThread();
    peers_start(&peers);
    meet(&arrived);
    PyEval_RestoreThread(main_state);
    finish();
    peers_join(&peers, LIMIT_MS);
    PyInterpreterView_Close(the_view);
}
