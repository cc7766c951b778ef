/* Uses every macro of the hand-written headers once; compiled as C and as C++
 * by tests/headers.rs. */
#include <Python.h>
#include <pytstate/internal.h>

static Py_tss_t key = Py_tss_NEEDS_INIT;
static const PyInterpreterConfig isolated = _PyInterpreterConfig_INIT;
static const PyInterpreterConfig legacy = _PyInterpreterConfig_LEGACY_INIT;

static inline int use_ceval(void) {
    int n = 0;
    Py_BEGIN_ALLOW_THREADS
    n++;
    Py_BLOCK_THREADS
    n++;
    Py_UNBLOCK_THREADS
    Py_END_ALLOW_THREADS
    return n;
}

static inline int use_pystate(void) {
    return PyThreadState_GET() == _PyThreadState_UncheckedGet() &&
           PyInterpreterState_Get() == _PyInterpreterState_Get();
}

static inline void use_pythread(PyThread_type_lock lock) {
    const long long longest = PY_TIMEOUT_MAX;
    const unsigned long nobody = PYTHREAD_INVALID_THREAD_ID;
    PyThread_acquire_lock(lock, WAIT_LOCK);
    PyThread_acquire_lock(lock, NOWAIT_LOCK);
    if (PyThread_acquire_lock_timed(lock, longest, 0) == PY_LOCK_ACQUIRED)
        PyThread_release_lock(lock);
#ifdef PY_HAVE_THREAD_NATIVE_ID
    if (PyThread_get_thread_native_id() == nobody)
        PyThread_tss_delete(&key);
#endif
}

static inline int use_config(PyThreadState **state) {
    return PyStatus_Exception(Py_NewInterpreterFromConfig(state, &isolated)) ||
           PyStatus_Exception(Py_NewInterpreterFromConfig(state, &legacy));
}

static inline void use_sections(PyObject *op, PyMutex *m1, PyMutex *m2) {
    Py_BEGIN_CRITICAL_SECTION(op);
    Py_BEGIN_CRITICAL_SECTION2(op, op);
    (void)op;
    Py_END_CRITICAL_SECTION2();
    Py_END_CRITICAL_SECTION();
    Py_BEGIN_CRITICAL_SECTION_MUTEX(m1);
    Py_BEGIN_CRITICAL_SECTION2_MUTEX(m1, m2);
    (void)m1;
    Py_END_CRITICAL_SECTION2();
    Py_END_CRITICAL_SECTION();
}

static inline void use_mutex(PyMutex *m) {
    PyTState_HERE();
    _PyMutex_Lock(m);
    if (_PyMutex_IsLocked(m))
        _PyMutex_Unlock(m);
}

static inline int use_errors(int Py_UNUSED(unused)) {
    Py_FatalError("the message");
}

static void at_exit(void *data) { (void)data; }
static void at_the_end(void) {}

static inline int use_internals(PyThreadState *state) {
    const unsigned bits = _PY_GIL_DROP_REQUEST_BIT | _PY_SIGNALS_PENDING_BIT |
                          _PY_CALLS_TO_DO_BIT | _PY_ASYNC_EXCEPTION_BIT |
                          _PY_GC_SCHEDULED_BIT | _PY_EVAL_PLEASE_STOP_BIT |
                          _PY_EVAL_EXPLICIT_MERGE_BIT |
                          _PY_EVAL_JIT_INVALIDATE_COLD_BIT;
    const PyTime_t unset = PyThread_UNSET_TIMEOUT;
    const atexit_callbackfunc at_end = at_the_end;
    _Py_EnsureTstateNotNULL(state);
    _Py_AssertHoldsTstate();
    printf("%" PY_FORMAT_THREAD_IDENT_T, PyThread_get_thread_ident_ex());
    return bits == _PY_EVAL_EVENTS_MASK && unset < 0 &&
           _Py_eval_breaker_bit_is_set(state, bits) &&
           _Py_ThreadCanHandleSignals(PyInterpreterState_Main()) &&
           PyTState_HasPending(state) && PyTState_Poll(state) == 0 &&
           Py_AtExit(at_end) == 0 &&
           _Py_AtExit(PyInterpreterState_Main(), at_exit, NULL) == 0;
}

int main(void) {
    PyMutex m1 = {0}, m2 = {0};
    PyThreadState *state = NULL;
    use_pythread(NULL);
    use_sections(NULL, &m1, &m2);
    use_mutex(&m1);
    return use_ceval() + use_pystate() + use_config(&state) +
           use_internals(state) + use_errors(0);
}
