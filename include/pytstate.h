/* pytstate: CPython's thread-state API as a library of its own.
 * Generated from src/ by `make header`; not edited by hand. */
/* clang-format off */
#ifndef PYTSTATE_H
#define PYTSTATE_H

#include <stddef.h>
#include <stdint.h>

/** This library's version. */
#define PYTSTATE_VERSION "0.1.0"
#define PYTSTATE_VERSION_HEX 0x00010000

/** The CPython API that these headers mirror. */
#define PY_MAJOR_VERSION 3
#define PY_MINOR_VERSION 15
#define PY_MICRO_VERSION 0
#define PY_VERSION "3.15.0"
#define PY_VERSION_HEX 0x030F0000

/** Before a function that never comes back. */
#if defined(__cplusplus)
#define _Py_NO_RETURN [[noreturn]]
#else
#define _Py_NO_RETURN _Noreturn
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Value of a PyMutex that is not locked. */
#define _Py_UNLOCKED 0

/** Bit of a PyMutex that is locked. */
#define _Py_LOCKED 1

/** `PyTState_ThreadInfo.state`: may not touch the runtime. */
#define PyTState_DETACHED 0

/** `PyTState_ThreadInfo.state`: runs. */
#define PyTState_ATTACHED 1

/** `PyTState_ThreadInfo.state`: held by a stop-the-world pause. */
#define PyTState_SUSPENDED 2

/** `PyInterpreterConfig.gil`: treated as shared. */
#define PyInterpreterConfig_DEFAULT_GIL 0

/** `PyInterpreterConfig.gil`: use the main interpreter's GIL. */
#define PyInterpreterConfig_SHARED_GIL 1

/** `PyInterpreterConfig.gil`: a GIL of its own. */
#define PyInterpreterConfig_OWN_GIL 2

/** `PyInterpreterConfig.gil`: no GIL; attached threads run at the same time. */
#define PyTState_INTERP_NO_GIL 3

/** Feature bit: shares the main allocator. */
#define Py_RTFLAGS_USE_MAIN_OBMALLOC (1 << 5)

/** Feature bit: checks extensions for multi-interpreter support. */
#define Py_RTFLAGS_MULTI_INTERP_EXTENSIONS (1 << 8)

/** Feature bit: threads may be started. */
#define Py_RTFLAGS_THREADS (1 << 10)

/** Feature bit: daemon threads may be started. */
#define Py_RTFLAGS_DAEMON_THREADS (1 << 11)

/** Feature bit: fork is allowed. */
#define Py_RTFLAGS_FORK (1 << 15)

/** Feature bit: exec is allowed. */
#define Py_RTFLAGS_EXEC (1 << 16)

/** `PyTState_Config.gil`: the main interpreter has a GIL (default). */
#define PyTState_GIL_SHARED 0

/** `PyTState_Config.gil`: the main interpreter runs without a GIL. */
#define PyTState_GIL_NONE 1

/** Late attach: the thread sleeps for ever (CPython 3.14; the default). */
#define PyTState_LATE_HANG 0

/** Late attach: the thread ends (CPython 3.12). */
#define PyTState_LATE_EXIT 1

/** Late attach: fatal error that names the thread. */
#define PyTState_LATE_ABORT 2

/** Checks: none beyond what keeps memory valid. */
#define PyTState_CHECK_OFF 1

/** Checks: a line on stderr, then go on as CPython would. */
#define PyTState_CHECK_WARN 2

/** Checks: fatal error (the default). */
#define PyTState_CHECK_FATAL 0

/** Checks: call the function given to PyTState_SetCheckCallback(). */
#define PyTState_CHECK_CALLBACK 3

/** Shutdown phase: no one ends it. */
#define PyTState_PHASE_RUNNING 0

/** Shutdown phase: waiting for non-daemon threads. */
#define PyTState_PHASE_WAITING_THREADS 1

/** Shutdown phase: pending calls and at-exit callbacks run. */
#define PyTState_PHASE_ATEXIT 2

/** Shutdown phase: waiting for open guards. */
#define PyTState_PHASE_WAITING_GUARDS 3

/** Shutdown phase: committed; nobody else attaches any more. */
#define PyTState_PHASE_FINALIZING 4

/** Shutdown phase: the interpreter is gone. */
#define PyTState_PHASE_GONE 5

/** How acquiring a lock ended. */
typedef enum PyLockStatus {
    /** The time passed, or it was only tried. */
    PY_LOCK_FAILURE = 0,
    /** The caller has the lock. */
    PY_LOCK_ACQUIRED = 1,
    /** A signal ended the wait. */
    PY_LOCK_INTR = 2,
} PyLockStatus;

/**
 * CPython's PyEvent: same size, same values. All-zero is not set. Must not move while in use.
 */
typedef struct PyEvent {
    uint8_t v;
} PyEvent;

/** A time or a length of time in nanoseconds. */
typedef int64_t PyTime_t;

/**
 * CPython's PyMutex: same size, same bits. All-zero is unlocked. Not recursive. Must not move while in use.
 */
typedef struct PyMutex {
    uint8_t _bits;
} PyMutex;

/**
 * A lock that PyThread_allocate_lock() made; not recursive, any thread may release it.
 */
typedef void *PyThread_type_lock;

/** A length of time in microseconds. */
typedef long long PY_TIMEOUT_T;

/* ---- event ---- */

/**
 * Waits until the event is set.
 *
 * @param evt  The event. Borrowed, must not move while in use. Not NULL (checked in debug builds only).
 *
 * Errors:  none.
 * Blocks:  until the event is set. An attached caller is detached while it sleeps, and attached again before
 *          the return, which may never come once the interpreter finalizes. Signals do not end the wait.
 * Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
 * Source:  CPython 3.13.
 *
 * # Safety
 * `evt` points to an event that lives until it is set.
 */
void PyEvent_Wait(PyEvent *evt);

/**
 * Waits until the event is set, a time passed, or a signal arrived.
 *
 * @param evt         The event. Borrowed. Not NULL (checked in debug builds only).
 * @param timeout_ns  Nanoseconds; nothing but a signal ends the wait earlier. Negative waits without limit.
 * @param detach      Not 0: an attached caller is detached while it sleeps. 0: it keeps its GIL.
 * @return 1 if the event is set, 0 if not: the time passed or a signal arrived, which only the caller's own
 *         clock can tell apart.
 *
 * Errors:  none.
 * Blocks:  up to `timeout_ns`; a detached caller also until it is attached again.
 * Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
 * Source:  CPython 3.13.
 *
 * # Safety
 * `evt` points to an event that outlives the call.
 */
int PyEvent_WaitTimed(PyEvent *evt,
                      PyTime_t timeout_ns,
                      int detach);

/* ---- lock ---- */

/**
 * Locks the mutex.
 *
 * Not recursive: locking twice on one thread never returns. An uncontended lock is one atomic
 * read-modify-write. A thread that has waited for more than a millisecond gets the lock handed when it is
 * unlocked; until then whoever comes first gets it.
 *
 * @param m  The mutex; all-zero is unlocked. Borrowed, must not move while in use. Not NULL (checked in
 *           debug builds only).
 *
 * Errors:  none.
 * Blocks:  until the mutex is free. An attached caller is detached while it sleeps, and attached again
 *          before the return, which may block too, or never return once the interpreter finalizes.
 *          Signals do not end the wait.
 * Threads: any, attached or not, also before initialization. Not async-signal-safe. In a fork child,
 *          after PyOS_AfterFork_Child(); who held it in the parent still holds it.
 * Source:  CPython 3.13.
 *
 * # Safety
 * `m` points to a mutex that outlives the call.
 */
void PyMutex_Lock(PyMutex *m);

/**
 * Unlocks the mutex, and wakes who has waited longest.
 *
 * An uncontended unlock is one atomic read-modify-write. Once it is unlocked the call does not touch the
 * mutex any more: whoever locks it next may free it.
 *
 * @param m  The mutex. Borrowed. Not NULL (checked in debug builds only).
 *
 * Errors:  aborts with "unlocking mutex that is not locked" if it is not locked, in every build.
 * Blocks:  never.
 * Threads: any, also another one than the one that locked it; attached or not. Not async-signal-safe. In a
 *          fork child, after PyOS_AfterFork_Child().
 * Source:  CPython 3.13.
 *
 * # Safety
 * `m` points to a mutex.
 */
void PyMutex_Unlock(PyMutex *m);

/**
 * Tells whether the mutex is locked at this moment, by any thread.
 *
 * @param m  The mutex. Borrowed. Not NULL (checked in debug builds only).
 * @return 1 if it is locked, 0 if not. Good for assertions only: it may change at once.
 *
 * Errors:  none.
 * Blocks:  never.
 * Threads: any, attached or not. Async-signal-safe.
 * Source:  CPython 3.14.
 *
 * # Safety
 * `m` points to a mutex.
 */
int PyMutex_IsLocked(PyMutex *m);

/* ---- pythread_lock ---- */

/**
 * Makes a lock that is free.
 *
 * @return The lock, or NULL if there is no memory. Owned: to be freed with PyThread_free_lock().
 *
 * Errors:  NULL as above; no error indicator is set.
 * Blocks:  never.
 * Threads: any, attached or not, also before initialization. Not async-signal-safe.
 * Source:  CPython 3.13.
 */
PyThread_type_lock PyThread_allocate_lock(void);

/**
 * Frees the memory of a lock.
 *
 * @param lock  The lock, which nobody holds or waits for. NULL does nothing.
 *
 * Errors:  none.
 * Blocks:  never.
 * Threads: any, attached or not. Not async-signal-safe.
 * Source:  CPython 3.13.
 *
 * # Safety
 * `lock` is NULL or came from PyThread_allocate_lock() and is not used any more.
 */
void PyThread_free_lock(PyThread_type_lock lock);

/**
 * Takes a lock.
 *
 * @param lock      The lock. Borrowed. NULL is fatal.
 * @param waitflag  NOWAIT_LOCK (0) only tries; anything else waits without limit.
 * @return 1 if the caller has the lock, 0 if not.
 *
 * Errors:  none.
 * Blocks:  until the lock is free, if asked to. Does not detach: an attached caller keeps its GIL, and the
 *          holder may need it. Signals do not end the wait.
 * Threads: any, attached or not. Not async-signal-safe. In a fork child, who held it in the parent still
 *          holds it.
 * Source:  CPython 3.13.
 *
 * # Safety
 * `lock` came from PyThread_allocate_lock() and is not freed before the return.
 */
int PyThread_acquire_lock(PyThread_type_lock lock,
                          int waitflag);

/**
 * Takes a lock, with a time limit.
 *
 * @param lock          The lock. Borrowed. NULL is fatal.
 * @param microseconds  Negative waits without limit, 0 only tries; more than PY_TIMEOUT_MAX is taken as that.
 * @param intr_flag     Not 0: a signal ends the wait. 0: the wait goes on, with the same deadline.
 * @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early; PY_LOCK_INTR.
 *
 * Errors:  as above; no error indicator is set.
 * Blocks:  up to `microseconds`. Does not detach: an attached caller keeps its GIL, and the holder may need
 *          it.
 * Threads: any, attached or not. Not async-signal-safe. In a fork child, who held it in the parent still
 *          holds it.
 * Source:  CPython 3.13.
 *
 * # Safety
 * `lock` came from PyThread_allocate_lock() and is not freed before the return.
 */
PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock,
                                              PY_TIMEOUT_T microseconds,
                                              int intr_flag);

/**
 * Takes a lock as an attached thread should: tries, then waits detached, and runs pending calls when a
 * signal arrives.
 *
 * @param lock          The lock. Borrowed. NULL is fatal.
 * @param microseconds  Negative waits without limit, 0 only tries; more than PY_TIMEOUT_MAX is taken as that.
 * @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early; PY_LOCK_INTR when a pending
 *         call raised, with the error indicator set.
 *
 * Errors:  as above.
 * Blocks:  up to `microseconds`, detached, and until the caller is attached again.
 * Threads: attached (a detached caller simply waits). Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  CPython 3.13.
 *
 * # Safety
 * `lock` came from PyThread_allocate_lock() and is not freed before the return.
 */
PyLockStatus PyThread_acquire_lock_timed_with_retries(PyThread_type_lock lock,
                                                           PY_TIMEOUT_T microseconds);

/**
 * Releases a lock and wakes one thread that waits for it.
 *
 * @param lock  The lock. Borrowed. NULL is fatal.
 *
 * Errors:  aborts with "unlocking mutex that is not locked" if nobody has it, at every compatibility level
 *          (CPython up to 3.14 leaves that undefined; 3.15 aborts).
 * Blocks:  never.
 * Threads: any, also another one than the one that acquired it; attached or not. Not async-signal-safe.
 * Source:  CPython 3.15.
 *
 * # Safety
 * `lock` came from PyThread_allocate_lock() and is not freed.
 */
void PyThread_release_lock(PyThread_type_lock lock);

/* ---- sync_points ---- */

/**
 * Holds the next thread that arrives at a point until it is woken.
 *
 * Called k times, it holds the next k arrivals. Each arrival uses up one call.
 *
 * @param point  Name of a point of the library or of the host. A host's point is made if it does not
 *               exist. Borrowed, copied. NULL is an error.
 * @return 0, or -1: NULL, empty, longer than 63 bytes, a name in the library's own name space
 *         ("gil.something") that is no point, or no room for one more of the host's points (256).
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  never.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  pytstate.
 *
 * # Safety
 * `point` is NULL or a NUL-terminated string.
 */
int PyTState_Sync_Pause(const char *point);

/**
 * Waits until a thread is held at a point, by a pause or by an order.
 *
 * Does not detach: a thread that needs the caller's GIL to reach the point never gets there while the
 * caller waits attached.
 *
 * @param point       Name of a point that exists. Borrowed. NULL is an error.
 * @param timeout_ns  Nanoseconds; 0 only looks, negative waits without limit.
 * @return 0 as soon as a thread is held there now; 1 if the time passed first; -1 if there is no
 *         such point.
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  up to timeout_ns, without detaching. Signals do not end the wait.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  pytstate.
 *
 * # Safety
 * `point` is NULL or a NUL-terminated string.
 */
int PyTState_Sync_WaitParked(const char *point,
                             PyTime_t timeout_ns);

/**
 * Lets every thread go on that is held at a point now.
 *
 * If nobody is held there yet, the pauses that are left at the point are forgotten instead: whether the
 * thread had arrived or not, it is not held after this call. Pauses that are left stay when somebody was
 * held. Threads held by an order go on without it; the order stays for later arrivals.
 *
 * @param point  Name of a point that exists. Borrowed. NULL is an error.
 * @return 0, or -1 if there is no such point.
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  never.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  pytstate.
 *
 * # Safety
 * `point` is NULL or a NUL-terminated string.
 */
int PyTState_Sync_Wake(const char *point);

/**
 * Makes threads that arrive at one point wait until another point was passed after this call.
 *
 * A point is passed when a thread goes on from it, past its own hook, pause and orders. Once that happened
 * the order is fulfilled and forgotten. A thread that waited for PYTSTATE_SYNC_LIMIT seconds (environment;
 * 10 if not set) drops the order, names both points and itself on standard error, and goes on.
 *
 * @param first  Name of the point to be passed first; made as PyTState_Sync_Pause() does. Borrowed, copied.
 * @param then   Name of the point that waits; likewise. Must differ from `first`.
 * @return 0, also when the same order is there already; -1: a name as PyTState_Sync_Pause() refuses it,
 *         twice the same name, or 64 orders are not fulfilled yet.
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  never.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  pytstate.
 *
 * # Safety
 * `first` and `then` are NULL or NUL-terminated strings.
 */
int PyTState_Sync_Order(const char *first,
                        const char *then);

/**
 * Calls a function whenever a thread arrives at a point.
 *
 * The function runs on the arriving thread, before a pause or an order holds it, with no lock of the
 * library held, attached or not as the point's description says. Points that it reaches itself hold
 * it as any other arrival, but call no hook. A point has one hook; a second call replaces it.
 *
 * @param point     Name of a point; made as PyTState_Sync_Pause() does. Borrowed, copied.
 * @param function  The function, or NULL to remove the hook. It gets the point's name, valid for good, and
 *                  `arg`. A call that has begun on another thread may still run when this returns.
 * @param arg       Passed to the function as it is. Borrowed; must stay valid as long as it can run.
 * @return 0, or -1 for a name as PyTState_Sync_Pause() refuses it.
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  never.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child(); a child keeps the hooks.
 * Source:  pytstate.
 *
 * # Safety
 * `point` is NULL or a NUL-terminated string; `function` may be called with `arg` on any thread.
 */
int PyTState_Sync_Hook(const char *point,
                       void (*function)(const char *point, void *arg),
                       void *arg);

/**
 * Passes a point of the host's, or of a test's.
 *
 * While nothing is armed anywhere this does nothing, and does not make the point. Otherwise the point is made on
 * first use and the calling thread arrives at it. With one of the library's own names, the thread
 * arrives at that point.
 *
 * @param user_point  Name, up to 63 bytes. Borrowed, copied. NULL, or a name that PyTState_Sync_Pause()
 *                    refuses, is ignored.
 *
 * Errors:  none.
 * Blocks:  as long as a pause or an order holds the point, without detaching.
 * Threads: any, with or without a thread state. From a signal handler only while nothing is armed. In a fork child,
 *          after PyOS_AfterFork_Child(). Keeps errno.
 * Source:  pytstate.
 *
 * # Safety
 * `user_point` is NULL or a NUL-terminated string.
 */
void PyTState_Sync_Point(const char *user_point);

/**
 * Forgets all pauses, orders and hooks, and lets every thread go on that is held at a point.
 *
 * A perturbation that PyTState_Sync_Perturb() began ends; one that PYTSTATE_PERTURB asks for is back in force.
 * Points of the host's stay known.
 *
 * Errors:  none.
 * Blocks:  never. A hook that has begun on another thread may still run when this returns.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  pytstate.
 */
void PyTState_Sync_Clear(void);

/**
 * Makes threads sleep for a random time at random arrivals, at all points.
 *
 * Each thread draws from a generator of its own, made from the seed and the order in which threads first
 * arrived. The same seed gives the same draws, not the same run.
 *
 * @param seed          Any number; 0 turns the perturbation off.
 * @param permille      Of 1000 arrivals, how many sleep: 0 to 1000.
 * @param max_sleep_ns  The longest sleep in nanoseconds, not negative. Sleeps are spread evenly from 0.
 * @return 0, or -1 if a number is out of its range (nothing changes then).
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  never.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child(); a child keeps the perturbation.
 * Source:  pytstate.
 */
int PyTState_Sync_Perturb(uint64_t seed,
                          int permille,
                          PyTime_t max_sleep_ns);

/**
 * Lists the names of all points: the library's in the order of the documentation, then the host's.
 *
 * @param names     Receives up to `capacity` names, valid for good, not to be freed. NULL if `capacity` is 0.
 * @param capacity  Room in `names`.
 * @return How many points there are, also when that is more than `capacity`.
 *
 * Errors:  none.
 * Blocks:  never.
 * Threads: any, with or without a thread state. Async-signal-safe. Allowed in a fork child.
 * Source:  pytstate.
 *
 * # Safety
 * `names` has room for `capacity` pointers.
 */
size_t PyTState_Sync_List(const char **names,
                          size_t capacity);

/* ---- trace ---- */

/**
 * Starts to write a timeline of all threads' and interpreters' lives to a file.
 *
 * The file is a JSON array that chrome://tracing and Perfetto read. It is complete after PyTState_TraceStop(),
 * after a finalization, and after an exit(). PYTSTATE_TRACE=path in the environment starts a trace
 * without this call.
 *
 * @param path  The file, created or emptied; "%p" in it stands for the process's id. Borrowed. NULL is an
 *              error.
 * @return 0, or -1: a trace is running already; `path` is NULL, empty or longer than 1023 bytes; the file
 *         cannot be created or written (errno says why).
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  for the file, without detaching.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child(): the child's own trace. The parent's goes on in the parent alone.
 * Source:  pytstate.
 *
 * # Safety
 * `path` is NULL or a NUL-terminated string.
 */
int PyTState_TraceStart(const char *path);

/**
 * Ends the trace: writes what is left and closes the file.
 *
 * @return 0, or -1: no trace is running; or something could not be written (errno says why) and the file
 *         lacks events.
 *
 * Errors:  -1 as above; no error indicator is set.
 * Blocks:  for the file, without detaching.
 * Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
 *          PyOS_AfterFork_Child().
 * Source:  pytstate.
 */
int PyTState_TraceStop(void);

#ifdef __cplusplus
}
#endif

#include "pytstate/macros.h"

#endif /* PYTSTATE_H */
