/* Scenarios: a lock that the victim waits for. What it has when it is late it
 * gives back; what is free then must be free for everybody. */
#include "stage.h"

static struct owned owned;

static int is_owned(void) { return atomic_load(&owned.by_victim); }
static void own(int yes) { atomic_store(&owned.by_victim, yes); }

/* ---- PyMutex ---------------------------------------------------------- */

static PyMutex mutex;

static void hold_mutex(void) { PyMutex_Lock(&mutex); }

static void let_mutex_go(void) {
    wait_victim_sleeps();
    PyMutex_Unlock(&mutex);
}

static void lock_mutex(void) {
    atomic_store(&about_to_wait, 1);
    PyMutex_Lock(&mutex);
    own(1);
    breathe();
    own(0);
    PyMutex_Unlock(&mutex);
    breathe();
}

static void take_mutex(void) {
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

static void mutex_is_free(void) {
    if (is_owned()) {
        CHECK(PyMutex_IsLocked(&mutex));
        PyMutex_Unlock(&mutex);
    }
    must_return(take_mutex, "a PyMutex that no living thread holds");
    must_return(take_mutex, "a PyMutex that was taken once more");
    CHECK(!PyMutex_IsLocked(&mutex));
}
SCENARIO("PyMutex_Lock", .before = hold_mutex, .helper = let_mutex_go,
         .victim = lock_mutex, .after = mutex_is_free);

static void lock_mutex_timed(void) {
    atomic_store(&about_to_wait, 1);
    if (_PyMutex_LockTimed(&mutex, 2 * MS, _PY_LOCK_DETACH) == PY_LOCK_ACQUIRED)
        PyMutex_Unlock(&mutex);
    PyLockStatus got = _PyMutex_LockTimed(
        &mutex, 5000 * MS, _PY_LOCK_DETACH | _PY_LOCK_HANDLE_SIGNALS);
    CHECK(got == PY_LOCK_ACQUIRED);
    own(1);
    breathe();
    own(0);
    PyMutex_Unlock(&mutex);
}
SCENARIO("_PyMutex_LockTimed", .before = hold_mutex, .helper = let_mutex_go,
         .victim = lock_mutex_timed, .after = mutex_is_free);

/* The helper is in the queue behind the victim, and has no state. */
static void queue_behind(void) {
    wait_victim_sleeps();
    PyMutex_Unlock(&mutex);
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

static void lock_and_unlock(void) {
    atomic_store(&about_to_wait, 1);
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
    breathe();
}
SCENARIO("PyMutex_Lock with another waiter behind", .before = hold_mutex,
         .helper = queue_behind, .victim = lock_and_unlock,
         .after = mutex_is_free);

/* ---- Read-write ------------------------------------------------------- */

static _PyRWMutex rw;

static void read_rw(void) { _PyRWMutex_RLock(&rw); }
static void write_rw(void) { _PyRWMutex_Lock(&rw); }

static void end_read(void) {
    wait_victim_sleeps();
    _PyRWMutex_RUnlock(&rw);
}

static void end_write(void) {
    wait_victim_sleeps();
    _PyRWMutex_Unlock(&rw);
}

static void be_writer(void) {
    atomic_store(&about_to_wait, 1);
    _PyRWMutex_Lock(&rw);
    own(1);
    breathe();
    own(0);
    _PyRWMutex_Unlock(&rw);
}

static void be_reader(void) {
    atomic_store(&about_to_wait, 1);
    _PyRWMutex_RLock(&rw);
    own(2);
    breathe();
    own(0);
    _PyRWMutex_RUnlock(&rw);
}

static void use_rw(void) {
    _PyRWMutex_RLock(&rw);
    _PyRWMutex_RLock(&rw);
    _PyRWMutex_RUnlock(&rw);
    _PyRWMutex_RUnlock(&rw);
    _PyRWMutex_Lock(&rw);
    _PyRWMutex_Unlock(&rw);
}

static void rw_is_free(void) {
    if (is_owned() == 1)
        _PyRWMutex_Unlock(&rw);
    else if (is_owned() == 2)
        _PyRWMutex_RUnlock(&rw);
    must_return(use_rw, "a read-write lock that no living thread holds");
    CHECK(rw.bits == 0);
}
SCENARIO("a writer behind a reader", .before = read_rw, .helper = end_read,
         .victim = be_writer, .after = rw_is_free);
SCENARIO("a reader behind a writer", .before = write_rw, .helper = end_write,
         .victim = be_reader, .after = rw_is_free);
SCENARIO("a writer behind a writer", .before = write_rw, .helper = end_write,
         .victim = be_writer, .after = rw_is_free);

/* ---- Recursive -------------------------------------------------------- */

static _PyRecursiveMutex recursive;

static void hold_recursive(void) {
    until(&about_to_wait);
    wait_victim_sleeps();
    _PyRecursiveMutex_Unlock(&recursive);
}

static atomic_int is_held;

static void hold_and_let_go(void) {
    _PyRecursiveMutex_Lock(&recursive);
    atomic_store(&is_held, 1);
    hold_recursive();
}

static void lock_recursive(void) {
    PyThreadState *mine = PyEval_SaveThread();
    until(&is_held);
    PyEval_RestoreThread(mine);
    atomic_store(&about_to_wait, 1);
    _PyRecursiveMutex_Lock(&recursive);
    own(1);
    _PyRecursiveMutex_Lock(&recursive);
    breathe();
    _PyRecursiveMutex_Unlock(&recursive);
    own(0);
    _PyRecursiveMutex_Unlock(&recursive);
}

static void use_recursive(void) {
    _PyRecursiveMutex_Lock(&recursive);
    _PyRecursiveMutex_Unlock(&recursive);
}

static void recursive_is_free(void) {
    if (is_owned())
        return; /* only the dead could unlock it */
    must_return(use_recursive, "a recursive mutex that no living thread holds");
    CHECK(!PyMutex_IsLocked(&recursive.mutex));
}
SCENARIO("a recursive mutex", .helper = hold_and_let_go,
         .victim = lock_recursive, .after = recursive_is_free);

/* ---- Once flag -------------------------------------------------------- */

static _PyOnceFlag once;
static atomic_int in_once, n_once;

static int slow_once(void *unused) {
    (void)unused;
    atomic_fetch_add(&n_once, 1);
    atomic_store(&in_once, 1);
    until(&about_to_wait);
    wait_victim_sleeps();
    return 0;
}

static void call_once_first(void) {
    CHECK(_PyOnceFlag_CallOnceSlow(&once, slow_once, NULL) == 0);
}

static void wait_for_once(void) {
    PyThreadState *mine = PyEval_SaveThread();
    until(&in_once);
    PyEval_RestoreThread(mine);
    atomic_store(&about_to_wait, 1);
    CHECK(_PyOnceFlag_CallOnceSlow(&once, slow_once, NULL) == 0);
    breathe();
}

static void once_is_done(void) {
    must_return(call_once_first, "a once flag that was run by another thread");
    CHECK(atomic_load(&n_once) == 1);
}

static void run_once_helper(void) { call_once_first(); }

static void after_once(void) {
    atomic_store(&about_to_wait, 1);
    once_is_done();
}
SCENARIO("a once flag that another thread runs", .helper = run_once_helper,
         .victim = wait_for_once, .after = after_once);

/* ---- PyThread locks --------------------------------------------------- */

static PyThread_type_lock lock;

static void make_lock(void) {
    lock = PyThread_allocate_lock();
    CHECK(PyThread_acquire_lock(lock, WAIT_LOCK) == 1);
}

static void let_lock_go(void) {
    wait_victim_sleeps();
    PyThread_release_lock(lock);
}

static void wait_for_lock(void) {
    atomic_store(&about_to_wait, 1);
    CHECK(PyThread_acquire_lock_timed_with_retries(lock, 5000000) ==
          PY_LOCK_ACQUIRED);
    own(1);
    breathe();
    own(0);
    PyThread_release_lock(lock);
    breathe();
}

static void use_lock(void) {
    PyThread_acquire_lock(lock, WAIT_LOCK);
    PyThread_release_lock(lock);
}

static void lock_is_free(void) {
    if (is_owned())
        PyThread_release_lock(lock);
    must_return(use_lock, "a PyThread lock that no living thread holds");
}
SCENARIO("a PyThread lock", .before = make_lock, .helper = let_lock_go,
         .victim = wait_for_lock, .after = lock_is_free);

/* ---- Sequence lock ---------------------------------------------------- */

static _PySeqLock sequence;

static void write_sequence(void) {
    _PySeqLock_LockWrite(&sequence);
    _PySeqLock_UnlockWrite(&sequence);
}

static void use_sequence(void) {
    write_sequence();
    breathe();
    uint32_t seen = _PySeqLock_BeginRead(&sequence);
    CHECK(_PySeqLock_EndRead(&sequence, seen));
    _PySeqLock_LockWrite(&sequence);
    _PySeqLock_AbandonWrite(&sequence);
    breathe();
}

static void sequence_is_free(void) {
    must_return(write_sequence, "a sequence lock that no thread writes");
}
SCENARIO("a sequence lock", .victim = use_sequence, .after = sequence_is_free);

/* ---- Critical sections ------------------------------------------------ */

static PyMutex first, second;

static void sections(void) {
    PyCriticalSection one;
    PyCriticalSection2 two;
    PyCriticalSection_BeginMutex(&one, &first);
    breathe(); /* lets go of it, and takes it again */
    PyCriticalSection2_BeginMutex(&two, &first, &second);
    breathe();
    PyCriticalSection2_End(&two);
    breathe();
    PyCriticalSection_End(&one);
    breathe();
}

static void use_sections(void) {
    PyMutex_Lock(&first);
    PyMutex_Lock(&second);
    PyMutex_Unlock(&second);
    PyMutex_Unlock(&first);
}

static void sections_are_free(void) {
    must_return(use_sections, "mutexes of critical sections of the dead");
}
SCENARIO("critical sections", .victim = sections, .after = sections_are_free);

/* Taking a section again inside of an attach has to wait. */
static void hold_first(void) { PyMutex_Lock(&first); }

static void let_first_go(void) {
    wait_victim_sleeps();
    PyMutex_Unlock(&first);
}

static void contended_section(void) {
    PyCriticalSection one;
    PyCriticalSection2 two;
    PyCriticalSection2_BeginMutex(&two, &second, &second);
    atomic_store(&about_to_wait, 1);
    PyCriticalSection_BeginMutex(&one, &first);
    breathe();
    PyCriticalSection_End(&one);
    PyCriticalSection2_End(&two);
}
SCENARIO("a critical section that has to wait", .before = hold_first,
         .helper = let_first_go, .victim = contended_section,
         .after = sections_are_free);
