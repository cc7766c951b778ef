/* pytstate: the names that CPython itself keeps internal.
 * Generated from src/ by `make header`; not edited by hand. */
/* clang-format off */
/* Contents (types and constants come first):
 *
 *    1. Interpreters
 *    2. Thread states
 *    3. Attach and detach
 *    4. Polls, pending calls, signals
 *    5. Guards and views: keeping an interpreter alive
 *    6. Locks and events
 *    7. Sleeping on an address
 *    8. Pauses, and other things that runtimes need
 *
 * The glossary in the documentation has the words that are used here. */
#ifndef PYTSTATE_INTERNAL_H
#define PYTSTATE_INTERNAL_H

#include "../pytstate.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CPython's process-wide state. There is one runtime in a process; pointers to
 * it are taken and ignored.
 */
typedef struct _PyRuntimeState _PyRuntimeState;

/** Bit of a lock on whose address threads sleep. */
#define _Py_HAS_PARKED 2

/** Waits without detaching: an attached caller keeps its GIL. */
#define _Py_LOCK_DONT_DETACH 0

/** Detaches an attached caller while it sleeps. */
#define _PY_LOCK_DETACH 1

/** Runs pending calls when a signal arrives; gives up if they raise. */
#define _PY_LOCK_HANDLE_SIGNALS 2

/** Gives up when a signal arrives. */
#define _PY_FAIL_IF_INTERRUPTED 4

/**
 * The lock is locked and unlocked by attached threads only: while the runtime
 * finalizes, no thread is left to unlock it.
 */
#define _PY_LOCK_PYTHONLOCK 8

/** The call is queued. */
#define _Py_ADD_PENDING_SUCCESS 0

/** The queue is at its limit, or there is no memory for it. */
#define _Py_ADD_PENDING_FULL (-1)

/** Flag: only the main thread runs the call. */
#define _Py_PENDING_MAINTHREADONLY 1

/** Flag: free(arg) after the call, also when it failed. */
#define _Py_PENDING_RAWFREE 2

/** Value of a once flag whose function has succeeded. */
#define _Py_ONCE_INITIALIZED 4

/** Tag of a record: its mutexes are not held. */
#define _Py_CRITICAL_SECTION_INACTIVE 1

/** Tag of a record: it is a PyCriticalSection2. */
#define _Py_CRITICAL_SECTION_TWO_MUTEXES 2

/** All tags. */
#define _Py_CRITICAL_SECTION_MASK 3

/** How a lock waits: `_Py_LOCK_...` and `_PY_LOCK_...` values, or-ed. */
typedef int _PyLockFlags;

/** The nogil forks' _PyEventRc: same fields. Made by _PyEventRc_New() only. */
typedef struct _PyEventRc {
    /** The event itself. */
    PyEvent event;
    /** How many references there are. */
    intptr_t refcount;
} _PyEventRc;

/** What _PyEval_AddPendingCall() returns. */
typedef int _Py_add_pending_call_result;

/** A pending call of the host. */
typedef int (*_Py_pending_call_func)(void*);

/**
 * CPython's _PyOnceFlag: same size, same values. All-zero is not done. Must not
 * move while in use.
 */
typedef struct _PyOnceFlag {
    uint8_t v;
} _PyOnceFlag;

/**
 * CPython's _PyRWMutex: same size, same bits. All-zero is free. Not reentrant.
 * Must not move while in use.
 */
typedef struct _PyRWMutex {
    uintptr_t bits;
} _PyRWMutex;

/**
 * CPython's _PySeqLock: same size. All-zero is free. Must not move while in
 * use.
 */
typedef struct _PySeqLock {
    uint32_t sequence;
} _PySeqLock;

/**
 * CPython's _PyRawMutex: same size, same bit. All-zero is free. Must not move
 * while in use.
 */
typedef struct _PyRawMutex {
    uintptr_t v;
} _PyRawMutex;

/**
 * CPython's _PyRecursiveMutex: same size, same fields. All-zero is free. Must
 * not move while in use.
 */
typedef struct _PyRecursiveMutex {
    PyMutex mutex;
    uint64_t thread;
    size_t level;
} _PyRecursiveMutex;

/* ======== 1. Interpreters ======== */

/**
 * Finds an interpreter by its id.
 *
 * @param id The id.
 * @return The interpreter, or NULL with InterpreterNotFoundError. Borrowed.
 *
 * @par Errors
 * NULL as above.
 * @par Blocks
 * No.
 * @par Threads
 * Any; the error indicator needs an attached caller. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyInterpreterState *_PyInterpreterState_LookUpID(int64_t id);

/**
 * Returns whether an interpreter has a feature.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @param feature One or more Py_RTFLAGS_* bits.
 * @return 1 if it has all of them, else 0.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is not deleted.
 */
int _PyInterpreterState_HasFeature(PyInterpreterState *interp,
                                   unsigned long feature);

/* ======== 2. Thread states ======== */

/**
 * Attaches `tstate`; the calling thread has none attached.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL, if a state is attached already, if `tstate` was cleared or
 * deleted. A state of another OS thread becomes that of the caller, as with
 * PyEval_RestoreThread().
 * @par Blocks
 * Until the GIL is free and no pause is on; see PyTState_SetLateAttachPolicy().
 * @par Threads
 * Any. Not async-signal-safe. Keeps errno.
 * @par Source
 * CPython 3.13 (pycore_pystate.h).
 *
 * @pre `tstate` is not deleted.
 */
void _PyThreadState_Attach(PyThreadState *tstate);

/**
 * Detaches `tstate`, the attached state of the calling thread.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL, if it is not the attached state, or if its GIL is not locked.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13 (pycore_pystate.h).
 *
 * @pre `tstate` is not deleted.
 */
void _PyThreadState_Detach(PyThreadState *tstate);

/**
 * Returns whether an attached or detached state belongs to the main
 * interpreter's main thread.
 *
 * @return 1 if the calling OS thread is the main thread, else 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.14 (exported there; inline before).
 */
int _Py_IsMainThread(void);

/* ======== 3. Attach and detach ======== */

/**
 * Sets how long a waiter lets a thread keep the GIL before it asks for it.
 *
 * @param microseconds The interval; 0 acts as 1. Shared by interpreters that
 *     share the GIL.
 *
 * @par Errors
 * Fatal if nothing is attached. Without a GIL nothing happens.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Async-signal-safe if attached.
 * @par Source
 * CPython 3.13.
 */
void _PyEval_SetSwitchInterval(unsigned long microseconds);

/**
 * Returns the switch interval of the attached interpreter's GIL.
 *
 * @return Microseconds; 5000 by default, also without a GIL.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Async-signal-safe if attached.
 * @par Source
 * CPython 3.13.
 */
unsigned long _PyEval_GetSwitchInterval(void);

/* ======== 4. Polls, pending calls, signals ======== */

/**
 * Queues a call func(arg) that a thread of the interpreter, or the main thread,
 * makes at one of its next polls.
 *
 * @param interp The interpreter: whichever of its attached threads polls first
 *     runs the call. Must not be NULL. Borrowed.
 * @param func What to call, as Py_AddPendingCall()'s. Must not be NULL.
 * @param arg Passed on. Borrowed, or consumed with _Py_PENDING_RAWFREE.
 * @param flags _Py_PENDING_MAINTHREADONLY: the main thread runs it, and
 *     `interp` is the main interpreter; _Py_PENDING_RAWFREE: `arg` came from
 *     malloc() and is freed after the call.
 * @return _Py_ADD_PENDING_SUCCESS, or _Py_ADD_PENDING_FULL: 300 calls are
 *     queued already (32 for the main thread), or there is no memory for the
 *     queue; then `arg` is still the caller's.
 *
 * @par Errors
 * Fatal if `interp` or `func` is NULL; misuse if another interpreter is
 * combined with _Py_PENDING_MAINTHREADONLY; _Py_ADD_PENDING_FULL as above, no
 * error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * As Py_AddPendingCall().
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is NULL or an interpreter of this library; `func` may be called
 *      with `arg` until it ends.
 */
_Py_add_pending_call_result _PyEval_AddPendingCall(PyInterpreterState *interp,
                                                   _Py_pending_call_func func,
                                                   void *arg,
                                                   int flags);

/**
 * Runs the calls that are queued for the interpreter of a state, at most 100.
 * In the main thread of the main interpreter it also runs what
 * Py_MakePendingCalls() runs.
 *
 * Does nothing while another thread of the interpreter, or a call on this
 * thread, runs them.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 * @return 0, or -1: a call failed with the error indicator set; what is left
 *     stays queued.
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if `tstate` is not the attached state;
 * -1 as above.
 * @par Blocks
 * As long as the calls do.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
int _PyEval_MakePendingCalls(PyThreadState *tstate);

/**
 * Runs the calls that are queued for the interpreter of a state until none is
 * left. Failures are reported and ignored.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if `tstate` is not the attached state.
 * @par Blocks
 * As long as the calls do: without end if each call adds another.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
void _Py_FinishPendingCalls(PyThreadState *tstate);

/**
 * Does what PyErr_CheckSignals() does, for a caller that passes its state.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 * @return As PyErr_CheckSignals().
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if `tstate` is not the attached state;
 * -1 as above.
 * @par Blocks
 * As long as the handlers do.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int _PyErr_CheckSignalsTstate(PyThreadState *tstate);

/**
 * Does what PyOS_InterruptOccurred() does, for a caller that passes its state.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 * @return As PyOS_InterruptOccurred().
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if `tstate` is not the attached state.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int _PyOS_InterruptOccurred(PyThreadState *tstate);

/**
 * Returns whether the caller is the main thread, attached to the main
 * interpreter, where signals are handled.
 *
 * @return 1 or 0.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int _PyOS_IsMainThread(void);

/**
 * Asks the main thread to check for signals at its next poll.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
void _PyEval_SignalReceived(void);

/* ======== 5. Guards and views: keeping an interpreter alive ======== */

/**
 * Returns the interpreter of an open guard.
 *
 * @param guard The guard. Must not be NULL. Borrowed.
 * @return The interpreter; NULL if it ended in spite of the guard. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.15.
 *
 * @pre `guard` is NULL or an open guard.
 */
PyInterpreterState *
_PyInterpreterGuard_GetInterpreter(PyInterpreterGuard *guard);

/**
 * Returns the number of guards that are open on an interpreter.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @return The number; a snapshot.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.15.
 *
 * @pre `interp` is NULL or an interpreter of this library.
 */
ptrdiff_t _PyInterpreterState_GuardCountdown(PyInterpreterState *interp);

/* ======== 6. Locks and events ======== */

/**
 * Locks the mutex, with a time limit and a choice of how to wait.
 *
 * @param m The mutex. Borrowed. Not NULL (checked in debug builds only).
 * @param timeout_ns Nanoseconds; negative waits without limit, 0 only tries.
 * @param flags `_PY_LOCK_DETACH`: detach an attached caller while it sleeps.
 *     `_PY_LOCK_HANDLE_SIGNALS`: when a signal arrives, run pending calls, and
 *     go on waiting unless they raise. `_PY_FAIL_IF_INTERRUPTED`: give up when
 *     a signal arrives. `_PY_LOCK_PYTHONLOCK`: under the rules of 3.15
 *     (PyTState_Config.compat), do not wait while the runtime finalizes. Other
 *     bits are ignored.
 * @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early,
 *     or, with PythonFinalizationError set, when no thread is left to unlock
 *     it; PY_LOCK_INTR when a signal ended the wait, with the error indicator
 *     set if it was a pending call that raised.
 *
 * @par Errors
 * As above.
 * @par Blocks
 * Up to `timeout_ns`; an attached caller with `_PY_LOCK_DETACH` also until it
 * is attached again.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13; `_PY_FAIL_IF_INTERRUPTED` and `_PY_LOCK_PYTHONLOCK` 3.15.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
PyLockStatus _PyMutex_LockTimed(PyMutex *m,
                                PyTime_t timeout_ns,
                                _PyLockFlags flags);

/**
 * Unlocks the mutex if it is locked.
 *
 * @param m The mutex. Borrowed. Not NULL (checked in debug builds only).
 * @return 0, or -1 if it was not locked; it stays unlocked then.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex.
 */
int _PyMutex_TryUnlock(PyMutex *m);

/**
 * Replaces a lock in a fork child by a free one, because a thread of the parent
 * may hold it.
 *
 * @param lock Where the lock stands; the new one is written there. The old
 *     one's memory is not freed: another thread may still hold its address.
 *     NULL is fatal.
 * @return 0, or -1 if there is no memory; nothing changed then.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * The only one of a fork child.
 * @par Source
 * CPython 3.13.
 *
 * @pre `lock` points to a writable lock variable.
 */
int _PyThread_at_fork_reinit(PyThread_type_lock *lock);

/**
 * Returns whether the event is set.
 *
 * @param evt The event; all-zero is not set. Borrowed. Not NULL (checked in
 *     debug builds only).
 * @return 1 if it is set (it stays set); 0 if not.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `evt` points to an event.
 */
int _PyEvent_IsSet(PyEvent *evt);

/**
 * Sets the event and wakes every thread that waits for it. Has no effect if the
 * event is already set.
 *
 * Once it is set the call does not touch the event any more: a thread that
 * waited for it may free it.
 *
 * @param evt The event. Borrowed. Not NULL (checked in debug builds only).
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `evt` points to an event.
 */
void _PyEvent_Notify(PyEvent *evt);

/**
 * Makes an event that is not set, on the heap.
 *
 * @return The event with one reference, the caller's; NULL if there is no
 *     memory.
 *
 * @par Errors
 * NULL as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * The nogil forks of CPython 3.12 (gh-114271).
 */
_PyEventRc *_PyEventRc_New(void);

/**
 * Takes one more reference to an event.
 *
 * @param erc The event, to which the caller has a reference. Borrowed. NULL is
 *     fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * The nogil forks of CPython 3.12 (gh-114271).
 *
 * @pre `erc` points to an event to which the caller has a reference.
 */
void _PyEventRc_Incref(_PyEventRc *erc);

/**
 * Drops one reference to an event. Dropping the last one frees the event.
 *
 * @param erc The event. The caller's reference goes. NULL is fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * The nogil forks of CPython 3.12 (gh-114271).
 *
 * @pre `erc` points to an event to which the caller has a reference, which it
 *      does not use any more.
 */
void _PyEventRc_Decref(_PyEventRc *erc);

/**
 * Calls `fn` unless an earlier call has succeeded. _PyOnceFlag_CallOnce() calls
 * it if the flag is not set.
 *
 * @param flag The flag; all-zero is not set. Borrowed, must not move while in
 *     use. NULL is fatal.
 * @param fn Returns 0 when it is done, -1 when it failed: the next caller, or
 *     one that waits already, calls its own then. Any other result is fatal.
 *     Runs with no lock of the library held; calling on the same flag from
 *     within never returns. NULL is fatal.
 * @param arg Passed to `fn`. Any value.
 * @return 0 when it is done, by this call or an earlier one; -1 when this
 *     call's `fn` failed.
 *
 * @par Errors
 * -1 as above; no error indicator is set but what `fn` sets.
 * @par Blocks
 * While another thread runs its `fn`. An attached caller is detached while it
 * sleeps, and attached again before the return, which may never come once the
 * interpreter finalizes. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `flag` points to a flag that outlives the call, and `fn` may be called
 *      with `arg`.
 */
int _PyOnceFlag_CallOnceSlow(_PyOnceFlag *flag,
                             int (*fn)(void *arg),
                             void *arg);

/**
 * Locks the mutex together with other readers.
 *
 * Not reentrant: a reader that locks again while a writer waits never returns.
 *
 * @param rwmutex The mutex; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * While a writer has the mutex, or a thread waits for it. An attached caller is
 * detached while it sleeps, and attached again before the return, which may
 * never come once the interpreter finalizes. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `rwmutex` points to a mutex that outlives the call.
 */
void _PyRWMutex_RLock(_PyRWMutex *rwmutex);

/**
 * Unlocks the mutex for one reader. The last reader wakes every thread that
 * waits.
 *
 * @param rwmutex The mutex; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * Aborts with "unlocking a mutex that no reader has" if that is so, in every
 * build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `rwmutex` points to a mutex that outlives the call.
 */
void _PyRWMutex_RUnlock(_PyRWMutex *rwmutex);

/**
 * Locks the mutex for one writer.
 *
 * @param rwmutex The mutex; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * While a thread has the mutex. An attached caller is detached while it sleeps,
 * and attached again before the return, which may never come once the
 * interpreter finalizes. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `rwmutex` points to a mutex that outlives the call.
 */
void _PyRWMutex_Lock(_PyRWMutex *rwmutex);

/**
 * Unlocks the mutex for the writer and wakes every thread that waits.
 *
 * @param rwmutex The mutex; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * Aborts with "unlocking a mutex that no writer has" if that is so, in every
 * build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `rwmutex` points to a mutex that outlives the call.
 */
void _PyRWMutex_Unlock(_PyRWMutex *rwmutex);

/**
 * Begins a write. Readers that are reading at the moment have to read again.
 *
 * @param seqlock The lock; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * While a writer is active, yielding the processor. Never parks, never
 * detaches.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * _PySeqLock_AfterFork().
 * @par Source
 * CPython 3.13.
 *
 * @pre `seqlock` points to a lock that outlives the call.
 */
void _PySeqLock_LockWrite(_PySeqLock *seqlock);

/**
 * Ends the write.
 *
 * @param seqlock The lock; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * Aborts with "no writer is active" if that is so, in every build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * _PySeqLock_AfterFork().
 * @par Source
 * CPython 3.13.
 *
 * @pre `seqlock` points to a lock that outlives the call.
 */
void _PySeqLock_UnlockWrite(_PySeqLock *seqlock);

/**
 * Ends a write that has written nothing. Readers that began before it need not
 * read again.
 *
 * @param seqlock The lock; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 *
 * @par Errors
 * Aborts with "no writer is active" if that is so, in every build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * _PySeqLock_AfterFork().
 * @par Source
 * CPython 3.13.
 *
 * @pre `seqlock` points to a lock that outlives the call.
 */
void _PySeqLock_AbandonWrite(_PySeqLock *seqlock);

/**
 * Waits until no writer is active, and begins a read.
 *
 * @param seqlock The lock; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 * @return What _PySeqLock_EndRead() is to be given; even.
 *
 * @par Errors
 * None.
 * @par Blocks
 * While a writer is active, yielding the processor. Never parks, never
 * detaches.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * _PySeqLock_AfterFork().
 * @par Source
 * CPython 3.13.
 *
 * @pre `seqlock` points to a lock that outlives the call.
 */
uint32_t _PySeqLock_BeginRead(_PySeqLock *seqlock);

/**
 * Returns whether the data that was read is consistent.
 *
 * @param seqlock The lock; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 * @param previous What _PySeqLock_BeginRead() returned.
 * @return 1 if nothing was written since; 0 if what was read must be thrown
 *     away and read again.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never; yields the processor once before it returns 0.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * _PySeqLock_AfterFork().
 * @par Source
 * CPython 3.13.
 *
 * @pre `seqlock` points to a lock that outlives the call.
 */
int _PySeqLock_EndRead(_PySeqLock *seqlock,
                       uint32_t previous);

/**
 * Frees the lock in a fork child if a thread of the parent was writing.
 *
 * @param seqlock The lock; all-zero is free. Borrowed, must not move while in
 *     use. NULL is fatal.
 * @return 1 if a thread was writing: the data must be thrown away; 0 if not.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * The only one of a fork child.
 * @par Source
 * CPython 3.13.
 *
 * @pre `seqlock` points to a lock that outlives the call.
 */
int _PySeqLock_AfterFork(_PySeqLock *seqlock);

/**
 * Locks the mutex. _PyRawMutex_Lock() calls it if the mutex is not free.
 *
 * Not recursive. Nothing is handed over: a woken thread competes with threads
 * that come.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Until the mutex is free. Never detaches: an attached caller keeps its GIL.
 * Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, a lock that a
 * thread held in the parent is still locked.
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
void _PyRawMutex_LockSlow(_PyRawMutex *m);

/**
 * Unlocks the mutex and wakes the thread that came last. _PyRawMutex_Unlock()
 * calls it if threads wait.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 *
 * @par Errors
 * Aborts with "unlocking mutex that is not locked" if it is not locked, in
 * every build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
void _PyRawMutex_UnlockSlow(_PyRawMutex *m);

/**
 * Returns whether the calling thread has the recursive mutex.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 * @return 1 if it has, 0 if not.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
int _PyRecursiveMutex_IsLockedByCurrentThread(_PyRecursiveMutex *m);

/**
 * Locks the recursive mutex. The thread that has locked it already locks it
 * once more.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Until no other thread has it. An attached caller is detached while it sleeps,
 * and attached again before the return, which may never come once the
 * interpreter finalizes. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
void _PyRecursiveMutex_Lock(_PyRecursiveMutex *m);

/**
 * Locks the recursive mutex, with a time limit and a choice of how to wait.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 * @param timeout Nanoseconds; negative waits without limit, 0 only tries.
 * @param flags As _PyMutex_LockTimed() takes them.
 * @return PY_LOCK_ACQUIRED, always if the calling thread has it already;
 *     PY_LOCK_FAILURE when the time passed, never early; PY_LOCK_INTR when a
 *     signal ended the wait.
 *
 * @par Errors
 * As above; the error indicator is set if a pending call raised.
 * @par Blocks
 * Up to `timeout`; an attached caller with `_PY_LOCK_DETACH` also until it is
 * attached again.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.14.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
PyLockStatus _PyRecursiveMutex_LockTimed(_PyRecursiveMutex *m,
                                         PyTime_t timeout,
                                         _PyLockFlags flags);

/**
 * Unlocks the recursive mutex once. It is free when the calling thread has
 * unlocked it as often as it locked it.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 *
 * @par Errors
 * Aborts with "unlocking a recursive mutex that is not owned by the current
 * thread" if that is so, in every build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
void _PyRecursiveMutex_Unlock(_PyRecursiveMutex *m);

/**
 * Unlocks the recursive mutex once if the calling thread has locked it.
 *
 * @param m The mutex; all-zero is free. Borrowed, must not move while in use.
 *     NULL is fatal.
 * @return 0, or -1 if the calling thread does not have the mutex; nothing
 *     changed then.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.14.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
int _PyRecursiveMutex_TryUnlock(_PyRecursiveMutex *m);

/* ======== 7. Sleeping on an address ======== */

/**
 * Sleeps on `address` while what it points to equals what `expected` points to.
 *
 * The comparison and the enqueueing are one step for every unpark of the same
 * address. Waiters of one address are woken in the order in which they came.
 *
 * @param address What to sleep on, aligned to `address_size`. Borrowed. NULL is
 *     fatal.
 * @param expected A value of that size. Borrowed. NULL is fatal.
 * @param address_size 1, 2, 4 or 8; anything else is fatal.
 * @param timeout_ns Nanoseconds; the wait never times out early. Negative waits
 *     without limit.
 * @param park_arg Passed to the function of the unpark that wakes the caller.
 *     Any value.
 * @param detach Not 0: an attached caller is detached while it sleeps. 0: it
 *     keeps its GIL.
 * @return Py_PARK_OK: woken; Py_PARK_AGAIN: the values differ, no sleep;
 *     Py_PARK_TIMEOUT: the time passed; Py_PARK_INTR: a signal arrived. A
 *     caller that an unpark had chosen already gets Py_PARK_OK.
 *
 * @par Errors
 * As above.
 * @par Blocks
 * Up to `timeout_ns`; a detached caller also until it is attached again, which
 * never happens once its interpreter has finalized: a wake-up that had chosen
 * it is lost then, so hosts that hand something to one waiter park with
 * `detach` 0, or wake all.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe. In a
 * fork child, after PyOS_AfterFork_Child() or _PyParkingLot_AfterFork().
 * @par Source
 * CPython 3.13.
 *
 * @pre `address` and `expected` are readable and as large and aligned as said;
 *      `address` outlives the call and is written with atomic operations only.
 */
int _PyParkingLot_Park(const void *address,
                       const void *expected,
                       size_t address_size,
                       PyTime_t timeout_ns,
                       void *park_arg,
                       int detach);

/**
 * Wakes the thread that has slept longest on `address`.
 *
 * @param address What threads sleep on. Only the address is used.
 * @param fn Called exactly once, before the thread runs: with `arg`, with the
 *     thread's `park_arg` or NULL if no thread sleeps there, and with whether
 *     another thread sleeps there too. It runs under the lot's internal lock:
 *     it must not block, park, unpark or call anything that does. NULL is
 *     fatal.
 * @param arg Passed to `fn`. Any value.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child() or _PyParkingLot_AfterFork().
 * @par Source
 * CPython 3.13 (there, the other thread may sleep at another address).
 *
 * @pre `fn` may be called with these arguments.
 */
void _PyParkingLot_Unpark(const void *address,
                          void (*fn)(void *arg,
                                     void *park_arg,
                                     int has_more_waiters),
                          void *arg);

/**
 * Wakes every thread that sleeps on `address`, in the order in which they came.
 *
 * @param address What threads sleep on. Only the address is used.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child() or _PyParkingLot_AfterFork().
 * @par Source
 * CPython 3.13.
 */
void _PyParkingLot_UnparkAll(const void *address);

/**
 * Removes every thread that slept in the parent from the parking lot of a fork
 * child. PyOS_AfterFork_Child() calls it.
 *
 * Comes before any lock is touched in the child. Locks stay as the parent's
 * threads left them.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * The only one of a fork child; attached or not.
 * @par Source
 * CPython 3.13.
 *
 * @pre The caller is the only thread of the process.
 */
void _PyParkingLot_AfterFork(void);

/* ======== 8. Pauses, and other things that runtimes need ======== */

/**
 * Stops every thread state of every interpreter, except the caller's.
 *
 * On return no other thread is attached, and none can attach, in any mode,
 * until _PyEval_StartTheWorldAll(). The lists of thread states stand still:
 * this thread, and others on its behalf, may walk them. A state that another
 * thread makes meanwhile, without being attached, is put into its list when the
 * pause ends, and is stopped until then; one that another thread deletes stays
 * in its list, and its memory valid, until the pause ends. A thread that would
 * make or delete an interpreter waits until the pause ends. The calling thread
 * changes the lists at once. Requests are served in the order of their arrival;
 * those for different single interpreters go on side by side. A thread that was
 * kept from attaching by one pause is let in by the next one, up to its first
 * poll.
 *
 * @param runtime Ignored; may be NULL. Borrowed.
 *
 * @par Errors
 * Misuse if this thread has stopped a world already: such a call would wait for
 * itself.
 * @par Blocks
 * Until every attached thread has polled (_Py_HandlePending()), detached or
 * ended. An attached caller may be detached meanwhile, and is attached on
 * return; see PyTState_SetLateAttachPolicy() if its interpreter ends while it
 * waits.
 * @par Threads
 * Any: attached, detached or without a state. Until the restart the caller
 * attaches no other state, and waits for nothing that an attached thread may
 * hold. Not async-signal-safe.
 * @par Source
 * CPython 3.14; does nothing there in builds with a GIL.
 */
void _PyEval_StopTheWorldAll(_PyRuntimeState *runtime);

/**
 * Ends the pause that _PyEval_StopTheWorldAll() began.
 *
 * @param runtime Ignored; may be NULL. Borrowed.
 *
 * @par Errors
 * Misuse, and nothing happens, if there is no such pause.
 * @par Blocks
 * No.
 * @par Threads
 * The one that stopped the world, or one that acts for it. Not
 * async-signal-safe.
 * @par Source
 * CPython 3.14; does nothing there in builds with a GIL.
 */
void _PyEval_StartTheWorldAll(_PyRuntimeState *runtime);

/**
 * Stops every thread state of one interpreter, except the caller's.
 *
 * As _PyEval_StopTheWorldAll(). Different interpreters may be stopped at once,
 * by different threads.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL; misuse if this thread has stopped a world already.
 * @par Blocks
 * As _PyEval_StopTheWorldAll().
 * @par Threads
 * As _PyEval_StopTheWorldAll(); a caller may be attached to another
 * interpreter.
 * @par Source
 * CPython 3.14; does nothing there in builds with a GIL.
 *
 * @pre `interp` came from this library and is not deleted before the restart.
 */
void _PyEval_StopTheWorld(PyInterpreterState *interp);

/**
 * Ends the pause that _PyEval_StopTheWorld() began.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL; misuse, and nothing happens, if there is no such pause.
 * @par Blocks
 * No.
 * @par Threads
 * As _PyEval_StartTheWorldAll().
 * @par Source
 * CPython 3.14; does nothing there in builds with a GIL.
 *
 * @pre `interp` came from this library.
 */
void _PyEval_StartTheWorld(PyInterpreterState *interp);

#ifdef __cplusplus
}
#endif

#include "internal_macros.h"

#endif /* PYTSTATE_INTERNAL_H */
