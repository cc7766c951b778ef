/* pytstate: CPython's thread-state API as a library of its own.
 * Generated from src/ by `make header`; not edited by hand. */
/* clang-format off */
/* Contents (types and constants come first):
 *
 *    1. Start and end
 *    2. Interpreters
 *    3. Threads that can be joined
 *    4. Plain OS threads and thread-specific storage
 *    5. Thread states
 *    6. Attach and detach
 *    7. Polls, pending calls, signals
 *    8. Guards and views: keeping an interpreter alive
 *    9. Locks and events
 *   10. Waiting, naming, policies
 *   11. Forks
 *   12. Pauses, and other things that runtimes need
 *   13. Explaining: traces, watchdog
 *   14. Sync points: races on demand
 *   15. Errors
 *   16. Objects, memory, clocks
 *
 * The glossary in the documentation has the words that are used here. */
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
#elif __STDC_VERSION__ >= 201112L
#define _Py_NO_RETURN _Noreturn
#elif defined(__GNUC__)
#define _Py_NO_RETURN __attribute__((noreturn))
#else
#define _Py_NO_RETURN
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A guard: while it is open, its interpreter does not commit its finalization.
 * Opaque.
 */
typedef struct PyInterpreterGuard PyInterpreterGuard;

/**
 * A weak name of an interpreter, through which a guard can be opened while the
 * interpreter is alive. Opaque.
 */
typedef struct PyInterpreterView PyInterpreterView;

/** A joinable thread (opaque in C; reference counted). */
typedef struct _PyThreadHandle _PyThreadHandle;

/**
 * An interpreter: a group of thread states that are finalized together, with a
 * GIL of its own, a shared one, or none. Opaque.
 */
typedef struct _is PyInterpreterState;

/**
 * An object of the host. The library counts it through the host's hooks and
 * never looks inside. Opaque.
 */
typedef struct _object PyObject;

/**
 * What the runtime knows of one thread in one interpreter. A thread attaches
 * its state in order to run, and detaches it in order to wait.
 */
typedef struct _ts PyThreadState;

/**
 * A frame of an evaluator. This library runs no bytecode, so that there are
 * none; the name stands in prototypes only. Opaque.
 */
typedef struct _frame PyFrameObject;

/**
 * A thread that this library starts, or has started: for joining it, and for
 * asking about it when its state is gone. Counted by reference. Opaque.
 */
typedef struct _PyThreadHandle PyThreadHandle;

/** Value of a PyMutex that is not locked. */
#define _Py_UNLOCKED 0

/** Bit of a PyMutex that is locked. */
#define _Py_LOCKED 1

/** `PyStatus._type`: success. */
#define _PyStatus_TYPE_OK 0

/** `PyStatus._type`: an error with a message. */
#define _PyStatus_TYPE_ERROR 1

/** `PyStatus._type`: a request to end the process. */
#define _PyStatus_TYPE_EXIT 2

/** PyTState_RunOnThread() flag: wait until the function was run. */
#define PyTState_RUN_WAIT 1

/**
 * PyTState_RunOnThread() flag: the caller runs the function if the state is
 * detached.
 */
#define PyTState_RUN_DETACHED_TOO 2

/** `PyThreadHandle_Start` flag: the runtime does not wait for the thread. */
#define PyThreadHandle_DAEMON 1

/**
 * `PyTState_ThreadInfo.state`: the thread is detached and may not touch the
 * runtime.
 */
#define PyTState_DETACHED 0

/** `PyTState_ThreadInfo.state`: the thread is attached and runs. */
#define PyTState_ATTACHED 1

/** `PyTState_ThreadInfo.state`: a stop-the-world pause holds the thread. */
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

/**
 * Late attach: the thread hangs: it sleeps until the process ends (CPython
 * 3.14; the default).
 */
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

/**
 * Checks: fatal error, also on what CPython allows although it is seldom meant:
 * attaching a state of another OS thread.
 */
#define PyTState_CHECK_STRICT 4

/** Shutdown phase: finalization has not begun. */
#define PyTState_PHASE_RUNNING 0

/** Shutdown phase: waiting for non-daemon threads. */
#define PyTState_PHASE_WAITING_THREADS 1

/** Shutdown phase: pending calls and at-exit callbacks run. */
#define PyTState_PHASE_ATEXIT 2

/** Shutdown phase: waiting for open guards. */
#define PyTState_PHASE_WAITING_GUARDS 3

/**
 * Shutdown phase: finalization is committed; no other thread attaches any more.
 */
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

/** Pairs PyGILState_Ensure() with PyGILState_Release(). */
typedef enum PyGILState_STATE {
    /** The caller had its state attached. */
    PyGILState_LOCKED,
    /** The caller was detached, or had no state. */
    PyGILState_UNLOCKED,
} PyGILState_STATE;

/** A function that finalization calls, with its data. */
typedef void (*atexit_datacallbackfunc)(void*);

/** A C callback that takes one pointer. */
typedef void (*PyTState_Callback)(void*);

/**
 * CPython's PyEvent: same size, same values. All-zero is not set. Must not move
 * while in use.
 */
typedef struct PyEvent {
    uint8_t v;
} PyEvent;

/**
 * A thread state (CPython's `struct _ts`; `PyThreadState` in C).
 *
 * Fields that CPython documents or that extensions are known to read. Members
 * that other threads also touch are read and written by the library with atomic
 * operations; a host reads them as snapshots.
 */
struct _ts {
    /** Newer neighbour in the interpreter's list (head lock). */
    struct _ts *prev;
    /** Older neighbour in the interpreter's list (head lock). */
    struct _ts *next;
    /** Owning interpreter; constant. */
    PyInterpreterState *interp;
    /** Pending events: bits 0 to 7 as in CPython 3.13. */
    size_t eval_breaker;
    /** DETACHED 0, ATTACHED 1, SUSPENDED 2, SHUTTING_DOWN 3. */
    int state;
    /**
     * Origin code: 0 unknown, 1 init, 2 fini, 3 threading, 4 C API, 5 exec, 6
     * daemon thread.
     */
    int _whence;
    /**
     * PyGILState nesting; starts at 1, which protects the state from being
     * deleted by PyGILState_Release().
     */
    int gilstate_counter;
    /**
     * 0: the runtime waits for this state; 1: it does not. The host may write
     * it while attached; waiters on other threads read it with relaxed loads.
     */
    int is_daemon;
    /** 1 while it holds a GIL. */
    int holds_gil;
    /** 1 while it waits for a GIL. */
    int gil_requested;
    /** Unique in the interpreter, from 1 up, never reused. */
    uint64_t id;
    /**
     * Identity of the bound OS thread; 0 before it is bound. That of a started
     * thread is there when PyThreadHandle_Start() returns.
     */
    unsigned long thread_id;
    /** Kernel id of the bound OS thread; 0 before it is bound. */
    unsigned long native_thread_id;
    /** The host's per-thread dictionary, or NULL. */
    PyObject *dict;
    /** Pending asynchronous exception, or NULL. */
    PyObject *async_exc;
    /** The exception of the error indicator, or NULL. */
    PyObject *current_exception;
    /** Top of the critical-section stack (tagged pointer), 0 when empty. */
    size_t critical_section;
    /**
     * Called exactly once, at the end of PyThreadState_Clear(), by the thread
     * that clears, attached; the state is still linked and valid then. The hook
     * may not end that state, its interpreter or the runtime
     * (docs/shutdown.md).
     */
    PyTState_Callback on_delete;
    /** Argument of `on_delete`. */
    void *on_delete_data;
    /** Set once, right after `on_delete`; see PyTState_GetExitEvent(). */
    struct PyEvent *exit_event;
};

/**
 * CPython's PyMutex: same size, same bits. All-zero is unlocked. Not recursive.
 * Must not move while in use.
 */
typedef struct PyMutex {
    uint8_t _bits;
} PyMutex;

/**
 * A critical section of one mutex. Lives on the stack of its thread; its
 * members belong to the library.
 */
typedef struct PyCriticalSection {
    /** The record below, tagged. */
    uintptr_t _cs_prev;
    /** The mutex, or NULL: the section locks nothing. */
    PyMutex *_cs_mutex;
} PyCriticalSection;

/** A critical section of two mutexes. */
typedef struct PyCriticalSection2 {
    /** The record, with the mutex of the lower address. */
    struct PyCriticalSection _cs_base;
    /** The other mutex, or NULL. */
    PyMutex *_cs_mutex2;
} PyCriticalSection2;

/** A time or a length of time in nanoseconds. */
typedef int64_t PyTime_t;

/**
 * A lock that PyThread_allocate_lock() made; not recursive, any thread may
 * release it.
 */
typedef void *PyThread_type_lock;

/** A length of time in microseconds. */
typedef long long PY_TIMEOUT_T;

/**
 * What PyThreadState_Ensure() returns and PyThreadState_Release() takes; the
 * pointer is never dereferenced.
 */
typedef void PyThreadStateToken;

/**
 * Result of calls that can fail before there is an error indicator. Passed by
 * value.
 */
typedef struct PyStatus {
    /** One of _PyStatus_TYPE_OK, _PyStatus_TYPE_ERROR, _PyStatus_TYPE_EXIT. */
    int _type;
    /** The function that failed, or NULL. Static. */
    const char *func;
    /** What went wrong, or NULL. Static. */
    const char *err_msg;
    /** Exit code of an exit request. */
    int exitcode;
} PyStatus;

/**
 * Settings of Py_InitializeFromConfig(). The members are CPython's; what
 * concerns modules, paths, streams and memory has no meaning without an
 * interpreter of bytecode and is not here.
 */
typedef struct PyConfig {
    /**
     * 0: not filled; 1: isolated; 2: as the python program does. Set by the
     * PyConfig_Init functions.
     */
    int _config_init;
    /** 1: the environment is ignored. */
    int isolated;
    /** 1: the variables of docs/environment.md are read at initialization. */
    int use_environment;
    /** 1: SIGINT is handled, unless the program handles it already. */
    int install_signal_handlers;
    /**
     * 0: the main interpreter runs without a GIL; 1: with; -1: as the
     * environment says, else with.
     */
    int enable_gil;
} PyConfig;

/**
 * How the host counts, makes and raises its objects.
 *
 * Every member may be NULL. Hooks are called without any lock of this library
 * held; `incref`, `decref` and `raise` on an attached thread.
 */
typedef struct PyTState_ObjectHooks {
    /** Takes one reference. */
    void (*incref)(PyObject*);
    /** Drops one reference; may run the host's destructors. */
    void (*decref)(PyObject*);
    /** Makes an empty dictionary (a new reference), or returns NULL. */
    PyObject *(*new_dict)(void);
    /**
     * Raises `exc_type` with `message` in the host; the library then leaves its
     * own error indicator alone. `message` is NULL for an asynchronous
     * exception: `exc_type` is then the object that was left with the state.
     */
    void (*raise)(PyObject *exc_type, const char *message);
    /** The mutex of an object, for critical sections. */
    struct PyMutex *(*object_mutex)(PyObject*);
} PyTState_ObjectHooks;

/** A function that is told of a thread state. */
typedef void (*PyTState_StateHook)(PyThreadState*, void*);

/**
 * What a host does around a fork: its own locks, in its own order. Every member
 * may be NULL; each gets PyTState_Config.hook_arg.
 */
typedef struct PyTState_ForkHooks {
    /** Before the library takes its locks, by the thread that forks. */
    void (*before)(void*);
    /** In the parent, after the library has freed its locks. */
    void (*parent)(void*);
    /** In the child, after the library is whole again. */
    void (*child)(void*);
} PyTState_ForkHooks;

/**
 * Settings of PyTState_Initialize(). Zero the struct, or call
 * PyTState_Config_Init(), then set what differs.
 */
typedef struct PyTState_Config {
    /**
     * sizeof(PyTState_Config): the struct may grow. 0: the struct of version
     * 0.1, which ends with `objects`.
     */
    size_t size;
    /** PyTState_GIL_SHARED or PyTState_GIL_NONE, for the main interpreter. */
    int gil;
    /** PyTState_LATE_HANG, _EXIT or _ABORT. */
    int late_attach;
    /** CPython version to behave like: 0x030C0000 to 0x030F0000; 0: 3.15. */
    int compat;
    /** PyTState_CHECK_FATAL (default), _OFF, _WARN, _CALLBACK or _STRICT. */
    int check_level;
    /** Bytes that the host wants beside every thread state, zeroed. */
    size_t host_tstate_size;
    /** Hooks for the host's objects, or NULL. Copied. */
    const struct PyTState_ObjectHooks *objects;
    /** Argument of the functions below. */
    void *hook_arg;
    /**
     * Called for every new thread state, before other threads can see it, or
     * NULL.
     */
    PyTState_StateHook on_new;
    /** Called after a state was attached, by its thread, or NULL. */
    PyTState_StateHook on_attach;
    /**
     * Called before a state is detached, also for a pause, by its thread, or
     * NULL.
     */
    PyTState_StateHook on_detach;
    /**
     * Called when a state is cleared, after its own on_delete and before its
     * exit event is set, or NULL. Once for every state that on_new was called
     * for, unless a fork child discards it.
     */
    PyTState_StateHook on_delete;
    /**
     * Called when something is asked of a state that was not asked before (a
     * bit of its eval_breaker is set), or NULL. By any thread, also in a signal
     * handler and with locks of the library held: it must be async-signal-safe
     * and call nothing of the library.
     */
    PyTState_StateHook on_request;
    /**
     * Bytes that the host wants beside every interpreter, zeroed:
     * PyTState_InterpHostData().
     */
    size_t interp_host_size;
    /**
     * Called for a new interpreter before it has a state, or NULL. A result
     * other than 0 refuses the interpreter.
     */
    int (*interp_init)(PyInterpreterState*, void*);
    /**
     * Called when an interpreter is gone, after its last state, or NULL. Not
     * called for one that interp_init refused or that a fork child discards.
     */
    void (*interp_fini)(PyInterpreterState*, void*);
    /** Functions around a fork, or NULL. Copied. */
    const struct PyTState_ForkHooks *fork;
} PyTState_Config;

/** Options of a new interpreter (CPython 3.12+). */
typedef struct PyInterpreterConfig {
    /**
     * Share the main interpreter's allocator; 0 demands
     * `check_multi_interp_extensions`.
     */
    int use_main_obmalloc;
    /** os.fork() is allowed. */
    int allow_fork;
    /** os.exec*() is allowed. */
    int allow_exec;
    /** Threads may be started. */
    int allow_threads;
    /** Daemon threads may be started. */
    int allow_daemon_threads;
    /** Refuse extensions that do not support several interpreters. */
    int check_multi_interp_extensions;
    /**
     * PyInterpreterConfig_DEFAULT_GIL, _SHARED_GIL, _OWN_GIL or
     * PyTState_INTERP_NO_GIL.
     */
    int gil;
} PyInterpreterConfig;

/**
 * Settings of Py_PreInitialize(): CPython's members, which are about locales,
 * text and memory. None of them means anything here.
 */
typedef struct PyPreConfig {
    /**
     * 0: not filled; 1: isolated; 2: as the python program does. Set by the
     * PyPreConfig_Init functions.
     */
    int _config_init;
    /** 1: the command line is read. */
    int parse_argv;
    /** 1: the environment is ignored. */
    int isolated;
    /** 1: the environment is read. */
    int use_environment;
    /** 1: the locale of the user is set. */
    int configure_locale;
    /** 1: the C locale becomes a UTF-8 one. */
    int coerce_c_locale;
    /** 1: with a warning. */
    int coerce_c_locale_warn;
    /** 1: text is UTF-8. */
    int utf8_mode;
    /** 1: development mode. */
    int dev_mode;
    /** Number of the allocator; 0: the default. */
    int allocator;
} PyPreConfig;

/** Identity of an OS thread, in full width. */
typedef unsigned long long PyThread_ident_t;

/** An OS thread that PyThread_start_joinable_thread() started. */
typedef size_t PyThread_handle_t;

/**
 * A key of thread-specific storage. Py_tss_NEEDS_INIT, or all zero, is a key
 * that is not created.
 *
 * The members are the library's: CPython's layout, not its meaning of `_key`.
 */
typedef struct Py_tss_t {
    /** Not 0 once it is created. */
    int _is_initialized;
    /**
     * The OS's key plus one, 0 when there is none: one word, so that creating
     * it is one step.
     */
    uint32_t _key;
} Py_tss_t;

/** What is known about one thread state. */
typedef struct PyTState_ThreadInfo {
    /** Id inside the interpreter. */
    uint64_t id;
    /** Id of the interpreter. */
    int64_t interp_id;
    /** Identity of the OS thread, 0 before it is bound. */
    unsigned long thread_id;
    /** Kernel id of the OS thread, 0 before it is bound. */
    unsigned long native_thread_id;
    /** 0 or 1. */
    int is_daemon;
    /** PyTState_DETACHED, PyTState_ATTACHED or PyTState_SUSPENDED. */
    int state;
    /** Nanoseconds since the state was created. */
    int64_t age_ns;
    /** Nanoseconds since its last attach or detach. */
    int64_t in_state_ns;
    /** Open interpreter guards that it took. */
    int guards;
    /** Name, NUL-terminated; empty when none was given. */
    char name[64];
    /** "file:line" where it was created, or "". Static. */
    const char *created_at;
    /** Place of the last attach or detach, or "". Static. */
    const char *last_at;
} PyTState_ThreadInfo;

/** Chooses the late-attach policy for one thread: returns a PyTState_LATE_*. */
typedef int (*PyTState_LateAttachHook)(PyThreadState*, void*);

/**
 * What PyTState_SetSignalHandler() installs: gets the number of a signal that
 * arrived and the data; 0, or non-zero with the error indicator set.
 */
typedef int (*PyTState_SignalHandler)(int, void*);

/** The OS's own type of keys. */
typedef unsigned int NATIVE_TSS_KEY_T;

/** A handler of the OS: a function, SIG_DFL, SIG_IGN or SIG_ERR. */
typedef void (*PyOS_sighandler_t)(int);

/* ======== 1. Start and end ======== */

/**
 * Initializes the runtime with its SIGINT handler, as Py_InitializeEx(1) does.
 *
 * @par Errors
 * As Py_InitializeEx().
 * @par Blocks
 * While another thread initializes, or finalizes and has committed to it.
 * @par Threads
 * As Py_InitializeEx().
 * @par Source
 * CPython 3.13.
 */
void Py_Initialize(void);

/**
 * Initializes the runtime. The calling thread becomes the main thread, and the
 * first state of the main interpreter is attached to it.
 *
 * @param install_sigs 0: leave signals alone; else: handle SIGINT, unless the
 *     program handles it already.
 *
 * @par Errors
 * Ends the process with status 1 without memory, or a key of thread-specific
 * storage, or from a function that finalization runs after its commit. Nothing
 * happens when the runtime is initialized.
 * @par Blocks
 * While another thread initializes, or finalizes and has committed to it.
 * @par Threads
 * Any, detached. Not async-signal-safe. May be called again after
 * Py_FinalizeEx().
 * @par Source
 * CPython 3.13.
 */
void Py_InitializeEx(int install_sigs);

/**
 * Initializes the runtime as `config` says (docs/embedding.md); see
 * Py_InitializeEx().
 *
 * @param config Settings, or NULL for the defaults. Copied. `size` must be
 *     sizeof(PyTState_Config), or 0, which stands for the struct of version
 *     0.1: then the fields up to `objects` count.
 * @return A status: OK, or an error that names the bad field; then nothing was
 *     made.
 *
 * @par Errors
 * In the status. When the runtime is initialized already: OK, and `config` is
 * ignored.
 * @par Blocks
 * While another thread initializes, or finalizes and has committed to it.
 * @par Threads
 * Any, detached. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `config` is NULL or points to a PyTState_Config of `size` bytes.
 */
PyStatus PyTState_Initialize(const PyTState_Config *config);

/**
 * Fills `config` with the defaults.
 *
 * @param config Struct to fill. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `config` is writable.
 */
void PyTState_Config_Init(PyTState_Config *config);

/**
 * Returns whether the runtime is initialized.
 *
 * @return 1 after initialization until the commit of Py_FinalizeEx(), else 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int Py_IsInitialized(void);

/**
 * Returns whether the finalization of the runtime is past its commit.
 *
 * @return 1 from the commit to the next initialization, else 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int Py_IsFinalizing(void);

/**
 * Returns what Py_IsFinalizing() returns. This is its old name.
 *
 * @return As Py_IsFinalizing().
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.12 (replaced in 3.13).
 */
int _Py_IsFinalizing(void);

/**
 * Finalizes the runtime. It waits for non-daemon threads, runs the registered
 * functions, ends the sub-interpreters, waits for guards, and then commits: a
 * thread that attaches later meets the late-attach policy.
 *
 * @return 0; -1 if buffered output could not be written, or if another thread
 *     is finalizing.
 *
 * @par Errors
 * -1 as above. 0 at once when the runtime is not initialized, or from inside
 * its own callbacks. Fatal in every other function of the host that the library
 * calls, unless that is a pending call or a signal handler that does not
 * return; and between the calls before and after a fork (docs/shutdown.md).
 * @par Blocks
 * Until all of the above is done; see PyTState_SetShutdownReport().
 * @par Threads
 * Any: on the main thread the main state is used; on another thread the
 * attached state if it is in the main interpreter, else a fresh one. Detached
 * afterwards. Not async-signal-safe.
 * @par Source
 * CPython 3.13; the rounds before the commit as in 3.15.
 */
int Py_FinalizeEx(void);

/**
 * Calls Py_FinalizeEx() and ignores its result.
 *
 * @par Errors
 * None.
 * @par Blocks
 * As Py_FinalizeEx().
 * @par Threads
 * As Py_FinalizeEx().
 * @par Source
 * CPython 3.13.
 */
void Py_Finalize(void);

/**
 * Finalizes the runtime, and then ends the process through exit(3).
 *
 * @param status Exit status; 120 is used instead if finalization failed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * As Py_FinalizeEx(). Does not return.
 * @par Threads
 * As Py_FinalizeEx().
 * @par Source
 * CPython 3.13.
 */
_Py_NO_RETURN void Py_Exit(int status);

/**
 * Makes a sub-interpreter with the legacy settings and attaches its first
 * state.
 *
 * @return The new state, attached; the one that was attached before is left
 *     detached. Never NULL.
 *
 * @par Errors
 * Ends the process with status 1 without memory or when the runtime is not
 * initialized.
 * @par Blocks
 * Until the GIL is free.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyThreadState *Py_NewInterpreter(void);

/**
 * Makes a sub-interpreter and attaches its first state.
 *
 * @param tstate_p Gets the new state, attached, or NULL on error. Must not be
 *     NULL. Borrowed.
 * @param config Settings. Must not be NULL. Copied.
 * @return OK: the state that was attached before is left detached. Error: it is
 *     attached again, and nothing was made.
 *
 * @par Errors
 * Fatal if a pointer is NULL. In the status: bad settings, no memory, runtime
 * not initialized.
 * @par Blocks
 * Until the GIL is free.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13, with PyTState_INTERP_NO_GIL as one more value of `gil`.
 *
 * @pre Both pointers are valid.
 */
PyStatus Py_NewInterpreterFromConfig(PyThreadState **tstate_p,
                                            const PyInterpreterConfig *config);

/**
 * Ends the interpreter of the attached state. It waits for the interpreter's
 * non-daemon threads, runs the registered functions, waits for guards, and then
 * deletes the interpreter with all its states. If another thread is ending the
 * interpreter already, as finalization does, the call waits until the
 * interpreter is gone.
 *
 * @param tstate The attached state. Must not be NULL. Consumed.
 *
 * @par Errors
 * Fatal if NULL or not attached ("thread is not current"), if it is in the main
 * interpreter, and, while the rules of 3.12 or 3.13 are in force, if other
 * states are left ("not the last thread"); from 3.14 on those are abandoned,
 * and their threads meet the late-attach policy. Fatal in a function of the
 * host that the library called with a state of the interpreter attached, or
 * because it ends (docs/shutdown.md); and between the calls around a fork.
 * @par Blocks
 * Until its threads and guards are gone.
 * @par Threads
 * Attached; nothing is attached afterwards. Not async-signal-safe.
 * @par Source
 * CPython 3.13 (PyTState_Config.compat chooses).
 *
 * @pre Neither the interpreter nor its states are used again.
 */
void Py_EndInterpreter(PyThreadState *tstate);

/**
 * Returns a status of success.
 *
 * @return A status for which PyStatus_Exception() is 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyStatus PyStatus_Ok(void);

/**
 * Returns a status of an error with a message.
 *
 * @param err_msg What went wrong. Must not be NULL. Borrowed: kept as a
 *     pointer.
 * @return A status for which PyStatus_IsError() is 1.
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
 * @pre `err_msg` is NUL-terminated and outlives the status.
 */
PyStatus PyStatus_Error(const char *err_msg);

/**
 * Returns the status of the error "memory allocation failed".
 *
 * @return A status for which PyStatus_IsError() is 1.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyStatus PyStatus_NoMemory(void);

/**
 * Returns a status that asks to end the process.
 *
 * @param exitcode Exit code.
 * @return A status for which PyStatus_IsExit() is 1.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyStatus PyStatus_Exit(int exitcode);

/**
 * Returns whether a status is an error.
 *
 * @param status The status.
 * @return 1 or 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int PyStatus_IsError(PyStatus status);

/**
 * Returns whether a status asks to end the process.
 *
 * @param status The status.
 * @return 1 or 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int PyStatus_IsExit(PyStatus status);

/**
 * Returns whether a status is an error or asks to end the process.
 *
 * @param status The status.
 * @return 1 or 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int PyStatus_Exception(PyStatus status);

/**
 * Ends the process as a status says: an exit request with its code, an error
 * with its message and status 1.
 *
 * @param status The status; must not be a success.
 *
 * @par Errors
 * Fatal on a success.
 * @par Blocks
 * Does not return.
 * @par Threads
 * Any. Not async-signal-safe (exit(3) runs).
 * @par Source
 * CPython 3.13.
 *
 * @pre The texts of `status` are NULL or NUL-terminated.
 */
_Py_NO_RETURN void Py_ExitStatusException(PyStatus status);

/**
 * Fills `config` with the settings of the python program: the environment is
 * read, and SIGINT is handled.
 *
 * @param config Struct to fill. Must not be NULL. Borrowed.
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
 * @pre `config` is writable.
 */
void PyConfig_InitPythonConfig(PyConfig *config);

/**
 * Fills `config` with isolated settings: the environment is not read, and no
 * signal is handled.
 *
 * @param config Struct to fill. Must not be NULL. Borrowed.
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
 * @pre `config` is writable.
 */
void PyConfig_InitIsolatedConfig(PyConfig *config);

/**
 * Empties `config`. This library allocates nothing for it.
 *
 * @param config The struct. Must not be NULL. Borrowed.
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
 * @pre `config` is writable.
 */
void PyConfig_Clear(PyConfig *config);

/**
 * Initializes the runtime as `config` says; see Py_InitializeEx() and
 * PyTState_Initialize().
 *
 * @param config Settings from a PyConfig_Init function. NULL is an error.
 *     Borrowed.
 * @return A status: OK, or an error; then nothing was made.
 *
 * @par Errors
 * In the status: NULL, a struct that no PyConfig_Init function filled, no
 * memory. When the runtime is initialized already: OK, and `config` is ignored.
 * @par Blocks
 * While another thread initializes.
 * @par Threads
 * Any, detached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `config` is NULL or valid.
 */
PyStatus Py_InitializeFromConfig(const PyConfig *config);

/**
 * Fills `config` with the settings of the python program.
 *
 * @param config Struct to fill. Must not be NULL. Borrowed.
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
 * @pre `config` is writable.
 */
void PyPreConfig_InitPythonConfig(PyPreConfig *config);

/**
 * Fills `config` with settings that depend on nothing outside.
 *
 * @param config Struct to fill. Must not be NULL. Borrowed.
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
 * @pre `config` is writable.
 */
void PyPreConfig_InitIsolatedConfig(PyPreConfig *config);

/**
 * Checks `src_config`. Nothing has to be prepared before an initialization
 * here.
 *
 * @param src_config Settings from a PyPreConfig_Init function. NULL is an
 *     error. Borrowed.
 * @return A status: OK, or an error: NULL, or a struct that no PyPreConfig_Init
 *     function filled.
 *
 * @par Errors
 * In the status.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `src_config` is NULL or valid.
 */
PyStatus Py_PreInitialize(const PyPreConfig *src_config);

/**
 * Registers a function that Py_FinalizeEx() calls last, after the runtime is
 * gone. The function that was registered last runs first.
 *
 * @param func What to call; it must not use what needs a thread state, but may
 *     register another, which then runs next. Must not be NULL.
 * @return 0, or -1: 32 functions are registered already.
 *
 * @par Errors
 * Fatal if NULL; -1 as above, no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe. A
 * fork child keeps them.
 * @par Source
 * CPython 3.13.
 *
 * @pre `func` may be called during finalization.
 */
int Py_AtExit(void (*func)(void));

/**
 * Registers func(data) to be called while the attached interpreter is cleared.
 * The function that was registered last runs first.
 *
 * The caller of PyInterpreterState_Clear(), Py_EndInterpreter() or
 * Py_FinalizeEx() runs it, attached, when no other thread can attach any more.
 *
 * @param interp The attached interpreter. Must not be NULL. Borrowed.
 * @param func What to call. Must not be NULL.
 * @param data Passed on. Borrowed.
 * @return 0; -1 with MemoryError.
 *
 * @par Errors
 * Fatal if nothing is attached or `interp` or `func` is NULL; misuse if
 * `interp` is not the attached interpreter; -1 as above.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is NULL or an interpreter of this library; `func` may be called
 *      with `data` until it ends.
 */
int PyUnstable_AtExit(PyInterpreterState *interp,
                      atexit_datacallbackfunc func,
                      void *data);

/**
 * Registers func(data) to be called during the finalization of an interpreter,
 * before the commit: threads can still start and attach.
 *
 * It runs attached, after the non-daemon threads have ended; what it starts is
 * waited for, what it registers runs as well. The newest runs first.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @param func What to call. Must not be NULL.
 * @param data Passed on. Borrowed.
 * @return 0; -1 with MemoryError, or with PythonFinalizationError if `interp`
 *     has committed its finalization. A caller that is not attached gets no
 *     error indicator.
 *
 * @par Errors
 * Fatal if `interp` or `func` is NULL; -1 as above.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * Pytstate; threading._register_atexit() of CPython 3.9+ for C.
 *
 * @pre `interp` is NULL or an interpreter of this library; `func` may be called
 *      with `data` until it ends.
 */
int PyTState_AtShutdown(PyInterpreterState *interp,
                        atexit_datacallbackfunc func,
                        void *data);

/* ======== 2. Interpreters ======== */

/**
 * Makes an interpreter state without thread states. Most hosts want
 * Py_NewInterpreterFromConfig().
 *
 * @return The interpreter, owned by the runtime until
 *     PyInterpreterState_Delete(). Never NULL.
 *
 * @par Errors
 * Ends the process with status 1 without memory, before the runtime was
 * initialized, or after the commit of its finalization.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13. It shares the main interpreter's GIL and has the legacy
 * settings.
 */
PyInterpreterState *PyInterpreterState_New(void);

/**
 * Clears every thread state of an interpreter, then the interpreter, then runs
 * its PyUnstable_AtExit() functions.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL or if nothing is attached; fatal in a function of the host that
 * the library called with a state of the interpreter attached, or because it
 * ends (docs/shutdown.md), and between the calls around a fork.
 * @par Blocks
 * As long as the host's destructors and functions do.
 * @par Threads
 * Attached, perhaps to another interpreter. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is not deleted, and no other thread runs in it.
 */
void PyInterpreterState_Clear(PyInterpreterState *interp);

/**
 * Deletes a cleared interpreter and the thread states that it still has. A
 * caller attached to it is detached.
 *
 * @param interp The interpreter. Must not be NULL. Consumed.
 *
 * @par Errors
 * Fatal if NULL, if it is not in the list ("NULL interpreter"), if a state of
 * it is attached elsewhere ("remaining threads"), or if it is the main one
 * while others exist ("remaining subinterpreters"). Fatal in a function of the
 * host that the library called with a state of the interpreter attached, or
 * because it ends (docs/shutdown.md), and between the calls around a fork.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is not deleted, and neither it nor its states are used again.
 */
void PyInterpreterState_Delete(PyInterpreterState *interp);

/**
 * Returns the id of an interpreter.
 *
 * @param interp The interpreter, or NULL. Borrowed.
 * @return Its id, 0 for the main one; -1 with RuntimeError if `interp` is NULL.
 *
 * @par Errors
 * -1 as above.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe if not NULL.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is NULL or came from this library.
 */
int64_t PyInterpreterState_GetID(PyInterpreterState *interp);

/**
 * Returns the main interpreter.
 *
 * @return The interpreter; NULL before initialization and after finalization.
 *     Borrowed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyInterpreterState *PyInterpreterState_Main(void);

/**
 * Returns the newest interpreter. The call takes no lock, for debuggers.
 *
 * @return The interpreter, or NULL if there is none. Borrowed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while no thread makes or deletes interpreters. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyInterpreterState *PyInterpreterState_Head(void);

/**
 * Returns the next older interpreter. The call takes no lock, for debuggers.
 *
 * @param interp An interpreter. Must not be NULL. Borrowed.
 * @return The next one, or NULL at the end. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while no thread makes or deletes interpreters. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is in the list, and the list does not change during the walk.
 */
PyInterpreterState *PyInterpreterState_Next(PyInterpreterState *interp);

/**
 * Returns the newest thread state of an interpreter. The call takes no lock,
 * for debuggers.
 *
 * @param interp An interpreter. Must not be NULL. Borrowed.
 * @return The state, or NULL if there is none. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while no thread makes or deletes states. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is not deleted.
 */
PyThreadState *PyInterpreterState_ThreadHead(PyInterpreterState *interp);

/**
 * Returns the dictionary of an interpreter. It is made at the first call.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @return The host's dictionary (PyTState_ObjectHooks.new_dict), or NULL when
 *     the host gave no hook or it returned NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL. None are set.
 * @par Blocks
 * As long as the host's hook does.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` is not deleted.
 */
PyObject *PyInterpreterState_GetDict(PyInterpreterState *interp);

/**
 * Returns whether dropping the last id reference ends the interpreter.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @return 0 or 1.
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
int _PyInterpreterState_RequiresIDRef(PyInterpreterState *interp);

/**
 * Sets whether dropping the last id reference ends the interpreter.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @param required 0: no; anything else: yes.
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
void _PyInterpreterState_RequireIDRef(PyInterpreterState *interp, int required);

/**
 * Waits until every non-daemon thread state of `interp` is deleted, except the
 * caller's and the interpreter's first one, and until the OS threads of those
 * that this library started have exited.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL or if nothing is attached. Returns early, with the error
 * indicator set, when a signal handler or pending call fails while the main
 * thread waits.
 * @par Blocks
 * Until they are gone, detached. Threads that start meanwhile are waited for as
 * well.
 * @par Threads
 * Attached, to any interpreter. Not async-signal-safe.
 * @par Source
 * The first form of gh-114271; see PyTState_WaitForThreads() for a deadline and
 * a list.
 *
 * @pre `interp` is not deleted before the call returns.
 */
void _PyInterpreterState_WaitForThreads(PyInterpreterState *interp);

/* ======== 3. Threads that can be joined ======== */

/**
 * Makes a handle for a thread that is not started yet.
 *
 * @return The handle with one reference, owned by the caller; NULL with
 *     MemoryError (if attached) without memory.
 *
 * @par Errors
 * NULL as above.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * Pytstate; CPython's ThreadHandle (3.13).
 */
PyThreadHandle *PyThreadHandle_New(void);

/**
 * Takes one more reference to a handle.
 *
 * @param handle The handle. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `handle` is live.
 */
void PyThreadHandle_Incref(PyThreadHandle *handle);

/**
 * Drops one reference to a handle. If the thread is still running it continues,
 * and the library joins it itself when it has ended.
 *
 * @param handle The handle, or NULL (nothing happens). Consumed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `handle` is NULL or live, and the caller owns the reference.
 */
void PyThreadHandle_Decref(PyThreadHandle *handle);

/**
 * Starts an OS thread that runs `func(arg)` attached to a fresh thread state of
 * `interp`. When `func` returns, the library clears and deletes the state and
 * ends the thread.
 *
 * @param handle A handle that was not started. Must not be NULL. Borrowed.
 * @param interp Where the thread runs. Must not be NULL. Borrowed.
 * @param func What it runs. Must not be NULL. It must return with its own state
 *     attached, or with none.
 * @param arg Argument of `func`. May be NULL. Passed on.
 * @param flags 0 or PyThreadHandle_DAEMON.
 * @return 0; -1 with the error indicator set (if attached).
 *
 * @par Errors
 * Fatal on NULL. -1: RuntimeError "thread already started"; RuntimeError if the
 * interpreter forbids threads, or daemon threads; PythonFinalizationError
 * (RuntimeError under the rules of 3.12) if it has committed its finalization;
 * RuntimeError "can't start new thread" if the OS has none; MemoryError;
 * ValueError on other flags. The handle is then as it was, and nothing is
 * linked.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * Pytstate; CPython's _thread.start_joinable_thread (3.13).
 *
 * @pre The pointers are valid; `arg` is what `func` expects, for as long as it
 *      needs it.
 */
int PyThreadHandle_Start(PyThreadHandle *handle,
                         PyInterpreterState *interp,
                         void (*func)(void*),
                         void *arg,
                         int flags);

/**
 * Names a thread by its handle: before it is started, while it runs, or after
 * it has ended.
 *
 * The name appears in the census and in reports. A thread that runs is also
 * named for the OS (the first 15 bytes), and so is one that is started later.
 *
 * @param handle The handle. Must not be NULL. Borrowed.
 * @param name The name, up to 63 bytes are kept. Must not be NULL. Copied.
 * @return 0; -1 with ValueError (if attached) when it was cut to 63 bytes: the
 *     cut name is set all the same.
 *
 * @par Errors
 * Fatal if NULL. -1 as above.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `handle` is NULL or live; `name` is NULL or NUL-terminated.
 */
int PyThreadHandle_SetName(PyThreadHandle *handle,
                           const char *name);

/**
 * Waits until the OS thread of `handle` has exited: its thread-local
 * destructors have run, and the OS does not list it any more.
 *
 * @param handle A started handle. Must not be NULL. Borrowed.
 * @param timeout_ns Nanoseconds; negative: no limit; 0: only look.
 * @return 0 joined; 1 timed out; -1 with the error indicator set (if attached).
 *
 * @par Errors
 * Fatal if NULL. -1: RuntimeError "thread not started", "cannot join current
 * thread", "failed joining thread"; "cannot join thread ..." where the threads
 * of a cycle would join each other without a limit of time: the last of these
 * joins is refused, and its message names all of them; PythonFinalizationError
 * while the runtime finalizes, under the rules of 3.14; the error of a signal
 * handler.
 * @par Blocks
 * Until the thread has ended, detached. A thread that hangs since finalization
 * counts as joined.
 * @par Threads
 * Any number at once, attached or not. Idempotent. Not async-signal-safe.
 * @par Source
 * Pytstate; CPython's ThreadHandle.join (3.13).
 *
 * @pre `handle` is live.
 */
int PyThreadHandle_Join(PyThreadHandle *handle,
                        PyTime_t timeout_ns);

/**
 * Returns whether the thread has finished: its exit event is set, and a join
 * waits at most for the OS.
 *
 * @param handle The handle. Must not be NULL. Borrowed.
 * @return 1 if so, else 0 (also when it was never started).
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate; CPython's ThreadHandle.is_done (3.13).
 *
 * @pre `handle` is live.
 */
int PyThreadHandle_IsDone(PyThreadHandle *handle);

/**
 * Returns the identity of the thread, which is what PyThread_get_thread_ident()
 * returns on it.
 *
 * @param handle The handle. Must not be NULL. Borrowed.
 * @return The identity; 0 before the start. The OS may reuse it after the
 *     thread has exited.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate; CPython's ThreadHandle.ident (3.13).
 *
 * @pre `handle` is live.
 */
unsigned long long PyThreadHandle_Ident(PyThreadHandle *handle);

/**
 * Returns the thread state of the thread.
 *
 * @param handle The handle. Must not be NULL. Borrowed.
 * @return The state; NULL before the start and once it is deleted. Borrowed: it
 *     lives until its thread deletes it.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `handle` is live. The caller knows by other means that the state lives
 *      on while it is used.
 */
PyThreadState *PyThreadHandle_ThreadState(PyThreadHandle *handle);

/* ======== 4. Plain OS threads and thread-specific storage ======== */

/**
 * Does nothing: threads can be used at any time.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
void PyThread_init_thread(void);

/**
 * Starts an OS thread that runs func(arg), without a thread state. The thread
 * cannot be joined.
 *
 * Its stack is as PyThread_set_stacksize() says in the attached interpreter,
 * else the system's default.
 *
 * @param func What to run. Must not be NULL. The thread ends when it returns,
 *     or by PyThread_exit_thread().
 * @param arg Passed on. Borrowed.
 * @return The thread's identity, never 0, or PYTHREAD_INVALID_THREAD_ID: no
 *     memory, or the OS has no thread to give.
 *
 * @par Errors
 * Fatal if `func` is NULL; PYTHREAD_INVALID_THREAD_ID as above, no error
 * indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe. In a
 * fork child, after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `func` may be called with `arg` on another thread.
 */
unsigned long PyThread_start_new_thread(void (*func)(void*),
                                        void *arg);

/**
 * Starts an OS thread that runs func(arg), without a thread state, to be joined
 * or detached exactly once.
 *
 * @param func What to run. Must not be NULL. The thread ends when it returns,
 *     or by PyThread_exit_thread().
 * @param arg Passed on. Borrowed.
 * @param ident Gets the thread's identity. Must not be NULL.
 * @param handle Gets what PyThread_join_thread() and PyThread_detach_thread()
 *     take. Must not be NULL.
 * @return 0; -1: no memory, or the OS has no thread to give; then nothing was
 *     written.
 *
 * @par Errors
 * Fatal if `func`, `ident` or `handle` is NULL; -1 as above, no error indicator
 * is set.
 * @par Blocks
 * Never.
 * @par Threads
 * As PyThread_start_new_thread().
 * @par Source
 * CPython 3.13.
 *
 * @pre `func` may be called with `arg` on another thread; `ident` and `handle`
 *      may be written.
 */
int PyThread_start_joinable_thread(void (*func)(void*),
                                   void *arg,
                                   PyThread_ident_t *ident,
                                   PyThread_handle_t *handle);

/**
 * Waits until a thread that PyThread_start_joinable_thread() started has ended.
 *
 * @param handle The thread. Consumed if it succeeds.
 * @return 0, or -1: it is the calling thread, or the OS refused.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Until the thread has ended, without detaching. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. A fork child cannot join the
 * parent's threads.
 * @par Source
 * CPython 3.13.
 *
 * @pre `handle` was neither joined nor detached, and no other thread does so
 *      now.
 */
int PyThread_join_thread(PyThread_handle_t handle);

/**
 * Releases a thread that PyThread_start_joinable_thread() started from having
 * to be joined: the system frees it when it ends.
 *
 * @param handle The thread. Consumed.
 * @return 0, or -1: the OS refused.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `handle` was neither joined nor detached, and no other thread does so
 *      now.
 */
int PyThread_detach_thread(PyThread_handle_t handle);

/**
 * Ends the calling OS thread. No function below it returns; thread-local
 * destructors run.
 *
 * A thread that PyThreadHandle_Start() started ends as if its function had
 * returned: its state is attached, cleared and deleted, its exit event set, and
 * it can be joined. Every other thread must be detached and keeps whatever
 * states it has. In the main thread, the process goes on until its last thread
 * ends.
 *
 * @par Errors
 * Misuse if a state is attached that is not the thread's own: no thread could
 * attach any more.
 * @par Blocks
 * Does not return. A started thread waits for the GIL first.
 * @par Threads
 * Any. Not async-signal-safe.
 * @par Source
 * CPython 3.13 (deprecated since 3.14), where the states of a thread that ends
 * so are never deleted.
 *
 * @pre The functions below the caller need not return.
 */
_Py_NO_RETURN void PyThread_exit_thread(void);

/**
 * Puts the calling OS thread to sleep until the process ends, without using the
 * processor.
 *
 * @par Errors
 * Misuse if a state is attached: no thread could attach any more.
 * @par Blocks
 * Does not return. Signal handlers still run.
 * @par Threads
 * Any, detached. Async-signal-safe.
 * @par Source
 * CPython 3.14 (and 3.13.8).
 */
_Py_NO_RETURN void PyThread_hang_thread(void);

/**
 * Returns the identity of the calling OS thread.
 *
 * @return Never 0, never PYTHREAD_INVALID_THREAD_ID. The OS gives it to a new
 *     thread after this one has ended.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe. A fork child's thread keeps it.
 * @par Source
 * CPython 3.13.
 */
unsigned long PyThread_get_thread_ident(void);

/**
 * Returns the identity of the calling OS thread, in full width.
 *
 * @return As PyThread_get_thread_ident().
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe. A fork child's thread keeps it.
 * @par Source
 * CPython 3.13.
 */
PyThread_ident_t PyThread_get_thread_ident_ex(void);

/**
 * Returns the kernel's number of the calling OS thread.
 *
 * @return The number: no other thread of the system has it while this one
 *     lives.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
unsigned long PyThread_get_thread_native_id(void);

/**
 * Returns the stack size of threads that are started from the attached
 * interpreter.
 *
 * @return Bytes; 0 is the system's default.
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
size_t PyThread_get_stacksize(void);

/**
 * Sets the stack size of threads that are started from the attached interpreter
 * from now on.
 *
 * @param size Bytes; 0 is the system's default.
 * @return 0; -1: less than 32 KiB or than the system's least, or the OS refuses
 *     it; then nothing changes.
 *
 * @par Errors
 * Fatal if nothing is attached; -1 as above, no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int PyThread_set_stacksize(size_t size);

/**
 * Makes a key that is not created yet, on the heap.
 *
 * @return The key, as Py_tss_NEEDS_INIT; or NULL if there is no memory. Owned:
 *     PyThread_tss_free().
 *
 * @par Errors
 * NULL as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
Py_tss_t *PyThread_tss_alloc(void);

/**
 * Deletes a key, as PyThread_tss_delete(), and frees its memory.
 *
 * @param key The key. NULL does nothing. Consumed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `key` is NULL or came from PyThread_tss_alloc(), and is not used any
 *      more.
 */
void PyThread_tss_free(Py_tss_t *key);

/**
 * Returns whether a key is created.
 *
 * @param key The key. Must not be NULL. Borrowed.
 * @return 1 or 0.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13.
 *
 * @pre `key` is NULL or a valid key.
 */
int PyThread_tss_is_created(Py_tss_t *key);

/**
 * Creates a key: NULL in every thread. A key that is created stays as it is,
 * with its values.
 *
 * @param key The key. Must not be NULL. Borrowed.
 * @return 0, also if it was created before; -1: the OS has no key left.
 *
 * @par Errors
 * Fatal if NULL; -1 as above, no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization; several at once create one
 * key. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13, where threads that create the same key at once need a lock of
 * their own.
 *
 * @pre `key` is NULL or a valid key.
 */
int PyThread_tss_create(Py_tss_t *key);

/**
 * Deletes a key and forgets every thread's value. It can be created again. A
 * key that is not created stays so.
 *
 * @param key The key. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13.
 *
 * @pre `key` is NULL or a valid key, and no other thread sets or gets it now.
 */
void PyThread_tss_delete(Py_tss_t *key);

/**
 * Sets the calling thread's value of a key. The library does nothing with the
 * value when the thread ends.
 *
 * @param key The key. Must not be NULL. Borrowed.
 * @param value The value; NULL is one. Borrowed.
 * @return 0; -1: the key is not created, or the OS has no memory.
 *
 * @par Errors
 * Fatal if `key` is NULL; -1 as above, no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13, where a key that is not created is undefined.
 *
 * @pre `key` is NULL or a valid key.
 */
int PyThread_tss_set(Py_tss_t *key,
                     void *value);

/**
 * Returns the calling thread's value of a key.
 *
 * @param key The key. Must not be NULL. Borrowed.
 * @return The value that this thread set last; NULL if it set none or the key
 *     is not created. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time:
 * the survivor keeps its values.
 * @par Source
 * CPython 3.13, where a key that is not created is undefined.
 *
 * @pre `key` is NULL or a valid key.
 */
void *PyThread_tss_get(Py_tss_t *key);

/**
 * Creates an integer key: NULL in every thread. Superseded by
 * PyThread_tss_create().
 *
 * @return The key, 0 or above; -1: the OS has no key left.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13 (deprecated since 3.7).
 */
int PyThread_create_key(void);

/**
 * Deletes an integer key and forgets every thread's value.
 *
 * @param key The key. A number that is none does nothing.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13 (deprecated since 3.7).
 */
void PyThread_delete_key(int key);

/**
 * Sets the calling thread's value of an integer key.
 *
 * @param key The key.
 * @param value The value, instead of the one before; NULL is one. Borrowed.
 * @return 0; -1: `key` is no key, or the OS has no memory.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13 (deprecated since 3.7).
 */
int PyThread_set_key_value(int key,
                           void *value);

/**
 * Returns the calling thread's value of an integer key.
 *
 * @param key The key.
 * @return The value; NULL if this thread set none or `key` is no key. Borrowed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time:
 * the survivor keeps its values.
 * @par Source
 * CPython 3.13 (deprecated since 3.7).
 */
void *PyThread_get_key_value(int key);

/**
 * Sets the calling thread's value of an integer key to NULL.
 *
 * @param key The key. A number that is none does nothing.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13 (deprecated since 3.7).
 */
void PyThread_delete_key_value(int key);

/**
 * Does nothing: keys and values survive a fork.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13 (deprecated since 3.7).
 */
void PyThread_ReInitTLS(void);

/* ======== 5. Thread states ======== */

/**
 * Makes a thread state of `interp`, bound to the calling OS thread.
 *
 * @param interp Owner of the new state. Must not be NULL. Borrowed.
 * @return The state, detached (suspended while a stop-the-world pause is on),
 *     owned by the interpreter until PyThreadState_Delete(); NULL if there is
 *     no memory, if the interpreter is gone, or if it has committed its
 *     finalization and the caller is not the finalizing thread.
 *
 * @par Errors
 * Fatal if `interp` is NULL. NULL sets no error.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `interp` came from this library.
 */
PyThreadState *PyThreadState_New(PyInterpreterState *interp);

/**
 * Clears a thread state: drops the references that it holds, then calls its
 * `on_delete` hook, then sets its exit event.
 *
 * @param tstate State of the interpreter that the caller is attached to. Must
 *     not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL, if nothing is attached, if `tstate` is attached to another
 * thread; misuse if it was cleared before or belongs to another interpreter.
 * Fatal in a function of the host that the library called with `tstate`
 * attached, or because of it (docs/shutdown.md); and between the calls around a
 * fork.
 * @par Blocks
 * As long as the host's destructors and hook do.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13; `on_delete` as in 3.9 to 3.12; the exit event as in the first
 * form of gh-114271.
 *
 * @pre `tstate` is not deleted.
 */
void PyThreadState_Clear(PyThreadState *tstate);

/**
 * Deletes a cleared thread state that is not attached to any thread.
 *
 * @param tstate The state. Must not be NULL. Consumed.
 *
 * @par Errors
 * Fatal if NULL, if it is the attached state of this or another thread, or was
 * deleted; misuse if it was not cleared (it is cleared then, if the caller is
 * attached). Fatal while it is being cleared, in a function of the host that
 * the library called with `tstate` attached, or because of it
 * (docs/shutdown.md), and between the calls around a fork.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` came from this library, and is not used again.
 */
void PyThreadState_Delete(PyThreadState *tstate);

/**
 * Deletes the attached, cleared thread state and releases the GIL.
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if the state was not cleared (it is
 * cleared then). Fatal while it is being cleared, in a function of the host
 * that the library called with the state attached (docs/shutdown.md), and
 * between the calls around a fork.
 * @par Blocks
 * No.
 * @par Threads
 * Attached; detached afterwards. Not async-signal-safe. In a fork child, only
 * after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre The state is not used again.
 */
void PyThreadState_DeleteCurrent(void);

/**
 * Returns the attached thread state of the calling thread.
 *
 * @return The state, never NULL. Borrowed.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Async-signal-safe if attached.
 * @par Source
 * CPython 3.13. No atomic read-modify-write: one thread-local load.
 */
PyThreadState *PyThreadState_Get(void);

/**
 * Returns the attached thread state of the calling thread, or NULL if there is
 * none.
 *
 * @return The state, or NULL when nothing is attached. Borrowed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyThreadState *PyThreadState_GetUnchecked(void);

/**
 * Detaches the attached state of the calling thread, if any, and attaches
 * `tstate`, if not NULL.
 *
 * @param tstate State to attach, or NULL to only detach. Borrowed. The attached
 *     state itself is detached and attached again.
 * @return The state that was attached before, or NULL. Borrowed.
 *
 * @par Errors
 * Fatal if `tstate` was cleared or deleted. A state of another OS thread
 * becomes that of the caller, as with PyEval_RestoreThread().
 * @par Blocks
 * Until the GIL is free and no pause is on; see PyTState_SetLateAttachPolicy()
 * for an interpreter that committed to finalization.
 * @par Threads
 * Any. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13 (since 3.12 Swap takes the GIL).
 *
 * @pre `tstate` is NULL, or came from this library and is not deleted.
 */
PyThreadState *PyThreadState_Swap(PyThreadState *tstate);

/**
 * Returns the interpreter of a thread state.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return Its interpreter, never NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, also for a detached state. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` is not deleted.
 */
PyInterpreterState *PyThreadState_GetInterpreter(PyThreadState *tstate);

/**
 * Returns the id of a thread state.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return Its id: 1 and up, unique in its interpreter, never reused there.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, also for a detached state. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` is not deleted.
 */
uint64_t PyThreadState_GetID(PyThreadState *tstate);

/**
 * Returns the next older thread state of the same interpreter. The call takes
 * no lock, for debuggers.
 *
 * @param tstate A state. Must not be NULL. Borrowed.
 * @return The next one, or NULL at the end. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while no thread makes or deletes states. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` is linked, and the list does not change during the walk.
 */
PyThreadState *PyThreadState_Next(PyThreadState *tstate);

/**
 * Returns the per-thread dictionary of the attached state. It is made at the
 * first call.
 *
 * @return The host's dictionary (PyTState_ObjectHooks.new_dict), or NULL when
 *     nothing is attached, the host gave no hook, or the hook returned NULL.
 *     Borrowed.
 *
 * @par Errors
 * None are set.
 * @par Blocks
 * As long as the host's hook does.
 * @par Threads
 * Any. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyObject *PyThreadState_GetDict(void);

/**
 * Makes a thread state that is bound to no OS thread yet.
 *
 * @param interp Owner. Must not be NULL. Borrowed.
 * @return The state, or NULL without memory.
 *
 * @par Errors
 * Fatal if `interp` is NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Not async-signal-safe.
 * @par Source
 * CPython 3.13 (kept there for the stable ABI only). The state is bound when it
 * is first attached.
 *
 * @pre `interp` came from this library.
 */
PyThreadState *_PyThreadState_Prealloc(PyInterpreterState *interp);

/**
 * Aborts with a fatal error: only the library initializes thread states.
 *
 * @param tstate Ignored.
 *
 * @par Errors
 * Fatal.
 * @par Blocks
 * No.
 * @par Threads
 * Any.
 * @par Source
 * CPython 3.13 (kept there for the stable ABI only).
 */
void _PyThreadState_Init(PyThreadState *tstate);

/**
 * Returns the interpreter of the attached state.
 *
 * @return The interpreter, never NULL. Borrowed.
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
PyInterpreterState *PyInterpreterState_Get(void);

/**
 * Attaches the calling thread, with its own thread state if it has one, else
 * with a new one in the main interpreter.
 *
 * @return Token for PyGILState_Release(): PyGILState_LOCKED or
 *     PyGILState_UNLOCKED.
 *
 * @par Errors
 * Fatal if a state cannot be made. The late-attach policy applies if the
 * runtime was never initialized; with PYTSTATE_COMPAT=3.13 or 3.12 in the
 * environment that is fatal.
 * @par Blocks
 * Until the GIL is free; after finalization see PyTState_SetLateAttachPolicy().
 * @par Threads
 * Any, attached or not; nests. Not async-signal-safe. In a fork child, only
 * after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
PyGILState_STATE PyGILState_Ensure(void);

/**
 * Reverses one PyGILState_Ensure() of the same thread. The calls nest: the last
 * Ensure is reversed first.
 *
 * @param oldstate Token of that call: PyGILState_LOCKED (0) or
 *     PyGILState_UNLOCKED (1).
 *
 * @par Errors
 * Fatal if the thread has no gilstate, if that one is not attached, on more
 * releases than ensures, on another value of `oldstate`, or if it would delete
 * the state with which the library called a function of the host
 * (docs/shutdown.md).
 * @par Blocks
 * As long as the host's destructors do, when the last release deletes the
 * state.
 * @par Threads
 * The one that called Ensure, attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `oldstate` came from the matching PyGILState_Ensure().
 */
void PyGILState_Release(PyGILState_STATE oldstate);

/**
 * Returns the thread state that the PyGILState calls of this thread use.
 *
 * @return The state, attached or not; NULL if the thread has none. Borrowed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, any time. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyThreadState *PyGILState_GetThisThreadState(void);

/**
 * Returns whether the thread state that the PyGILState calls of this thread use
 * is attached.
 *
 * @return 1 if so, or always once a sub-interpreter was made in this life of
 *     the runtime; else 0. While the runtime is not initialized, 1 under
 *     `compat` levels below 3.15.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.15.
 */
int PyGILState_Check(void);

/**
 * Switches on or off that the calling thread's state is kept between its
 * PyGILState calls.
 *
 * For a foreign thread that calls PyGILState_Ensure() and PyGILState_Release()
 * again and again: the last Release, which would clear and delete the state
 * that Ensure made, detaches it only, and the next Ensure attaches it again,
 * with its id, its dictionary and everything else that belongs to the thread.
 * The same holds for PyThreadState_Ensure() of the main interpreter. The state
 * is cleared and deleted when the OS thread ends, by a thread-exit destructor
 * that attaches for that; or when it is switched off; or by finalization, which
 * never waits for it.
 *
 * @param on Not 0: keep; 0 (the default): as CPython; a kept state is deleted
 *     now.
 * @return What was set before, 1 or 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No when switched on. Switched off, until the GIL is free, and as long as the
 * host's destructors do; an attached caller is detached meanwhile. A thread
 * with a kept state takes the GIL when it exits: detach before you join it, or
 * both wait for each other.
 * @par Threads
 * Any, attached or not; for the calling OS thread only. Not async-signal-safe.
 * A fork child keeps the setting of the thread that forked.
 * @par Source
 * Pytstate.
 */
int PyTState_KeepThreadState(int on);

/**
 * Hands a detached thread state to the calling OS thread.
 *
 * From here on only the calling thread may attach it. If the thread has no
 * state that PyGILState_Ensure() would use, this becomes it; the thread that
 * had it loses it. The main thread's state of the main interpreter may be
 * handed on, too: until the main thread gets it back, its polls do not notice
 * signals and calls that are meant for the main thread.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return 0; also if it is the caller's already. -1 with RuntimeError (if the
 *     caller is attached): it is attached, or a thread is about to attach it,
 *     in a blocking region with it, or in a call of this library that detached
 *     it for a while; it was cleared, deleted or left over at finalization; it
 *     is not bound yet; or it is that of a thread that this library started.
 *
 * @par Errors
 * Fatal if NULL. -1 as above; nothing has changed then.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached with another state or not. The threads agree on when: what the
 * old one did with the state comes before what the new one does. Not
 * async-signal-safe.
 * @par Source
 * Pytstate; CPython binds a state for good.
 *
 * @pre `tstate` came from this library.
 */
int PyTState_Rebind(PyThreadState *tstate);

/**
 * Returns the frame of the function that the thread runs.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return NULL: nothing that runs under this library has a frame. CPython, too,
 *     answers NULL for a thread that runs no Python function.
 *
 * @par Errors
 * Fatal if NULL. None are set.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` is not deleted.
 */
PyFrameObject *PyThreadState_GetFrame(PyThreadState *tstate);

/**
 * Switches tracing and profiling off for a thread state, one level deeper. The
 * depth is the host's to honour: see PyTState_TracingDepth().
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * The state's own. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` is not deleted.
 */
void PyThreadState_EnterTracing(PyThreadState *tstate);

/**
 * Switches tracing and profiling on again, one level: reverses one
 * PyThreadState_EnterTracing().
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL; misuse if tracing is not switched off.
 * @par Blocks
 * No.
 * @par Threads
 * The state's own. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` is not deleted.
 */
void PyThreadState_LeaveTracing(PyThreadState *tstate);

/**
 * Returns how many PyThreadState_EnterTracing() calls of a thread state are
 * open.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return The depth: 0 means that a host's tracer may be called.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `tstate` is not deleted.
 */
int PyTState_TracingDepth(PyThreadState *tstate);

/* ======== 6. Attach and detach ======== */

/**
 * Detaches the attached thread state and releases the GIL.
 *
 * @return The state, for PyEval_RestoreThread(). Never NULL. Borrowed.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyThreadState *PyEval_SaveThread(void);

/**
 * Attaches `tstate`; the calling thread has none attached. Keeps errno.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL, if a state is attached already, if `tstate` was cleared or
 * deleted. A state of another OS thread becomes that of the caller: it has the
 * caller's thread id and is its gilstate from then on. That is reported at
 * PyTState_CHECK_WARN and _CALLBACK, and fatal at PyTState_CHECK_STRICT. It is
 * fatal at every level if that thread is in the middle of a call or blocking
 * region that attaches the state again, and misuse if the state is that of a
 * thread of PyThreadHandle_Start().
 * @par Blocks
 * Until the GIL is free and no pause is on; see PyTState_SetLateAttachPolicy().
 * @par Threads
 * Any. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` came from this library and is not deleted.
 */
void PyEval_RestoreThread(PyThreadState *tstate);

/**
 * Attaches `tstate`; the calling thread has none attached. Keeps errno.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * As PyEval_RestoreThread().
 * @par Blocks
 * As PyEval_RestoreThread().
 * @par Threads
 * Any. Not async-signal-safe. In a fork child, only after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `tstate` came from this library and is not deleted.
 */
void PyEval_AcquireThread(PyThreadState *tstate);

/**
 * Detaches `tstate`, which is the attached state, and releases the GIL.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL, if nothing is attached, or if another state is ("wrong thread
 * state").
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13; the check of the argument as before 3.13.
 *
 * @pre `tstate` is not deleted.
 */
void PyEval_ReleaseThread(PyThreadState *tstate);

/**
 * Takes the GIL for the attached state without attaching anything.
 *
 * @par Errors
 * Fatal if nothing is attached, or if the attached state holds the GIL already
 * (CPython deadlocks there).
 * @par Blocks
 * Until the GIL is free.
 * @par Threads
 * Attached, after PyEval_ReleaseLock(). Not async-signal-safe.
 * @par Source
 * CPython 3.12 (3.13 keeps the symbol only).
 */
void PyEval_AcquireLock(void);

/**
 * Releases the GIL of the attached state without detaching it.
 *
 * @par Errors
 * Fatal if nothing is attached, or if the GIL is not locked.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.12 (3.13 keeps the symbol only).
 *
 * @pre Until PyEval_AcquireLock() the thread does nothing that needs the GIL.
 */
void PyEval_ReleaseLock(void);

/**
 * Does nothing; the runtime is always ready for threads.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.9+ (deprecated there).
 */
void PyEval_InitThreads(void);

/**
 * Returns whether the main interpreter exists, and with it its GIL.
 *
 * @return 1 between initialization and finalization, else 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.12 (3.13 keeps the symbol only).
 */
int PyEval_ThreadsInitialized(void);

/**
 * Detaches the attached state until PyTState_EndBlocking(), as
 * PyEval_SaveThread() does, and registers a function that interrupts the call
 * in which the thread then blocks.
 *
 * When the finalization of the interpreter (Py_FinalizeEx(),
 * Py_EndInterpreter()) waits for this thread because it is no daemon or opened
 * a guard, the finalizing thread calls `ubf(arg)`; so does PyTState_Unblock().
 * It is called again every 100 ms while the thread stays: the first call may
 * come before the thread blocks. The thread decides itself whether it continues
 * or ends.
 *
 * @param ubf Unblock function: must make the blocking call return, soon, by a
 *     byte in a pipe, shutdown(2), pthread_kill(3) or the like. Called with the
 *     caller detached, with no lock of the library held, perhaps while the
 *     thread is about to block or has just stopped blocking; never after
 *     PyTState_EndBlocking() has returned. NULL: nothing wakes the thread, as
 *     with PyEval_SaveThread().
 * @param arg Passed on. Borrowed until PyTState_EndBlocking().
 * @return 0; -1 when the misuse of nesting was let pass
 *     (PyTState_Config.check_level): the caller stays attached.
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if the state is in a blocking region
 * already.
 * @par Blocks
 * No.
 * @par Threads
 * Attached; detached afterwards. Not async-signal-safe.
 * @par Source
 * Pytstate; Ruby's rb_nogvl().
 *
 * @pre `ubf` is NULL or may be called with `arg` on any thread, until
 *      PyTState_EndBlocking().
 */
int PyTState_BeginBlocking(void (*ubf)(void*),
                           void *arg);

/**
 * Ends the blocking region of the calling thread: waits for an unblock function
 * that runs at this moment, unregisters it, attaches the state again. Keeps
 * errno.
 *
 * @par Errors
 * Fatal if a state other than the region's is attached; misuse if the thread is
 * in no blocking region.
 * @par Blocks
 * Until the unblock function has returned, then until the GIL is free; see
 * PyTState_SetLateAttachPolicy().
 * @par Threads
 * The one that called PyTState_BeginBlocking(). Not async-signal-safe.
 * @par Source
 * Pytstate; Ruby's rb_nogvl().
 */
void PyTState_EndBlocking(void);

/**
 * Calls the unblock function of the blocking region that `tstate` is in, on the
 * calling thread.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return 1 if the function was called; 0 if the state is in no region, gave no
 *     function, or another thread is calling it at this moment.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * As the function does, detached if the caller is attached.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * Pytstate; Ruby's Thread#wakeup.
 *
 * @pre `tstate` is not deleted before the call returns.
 */
int PyTState_Unblock(PyThreadState *tstate);

/* ======== 7. Polls, pending calls, signals ======== */

/**
 * Queues a call func(arg) that the main thread makes at one of its next polls
 * in the main interpreter.
 *
 * Calls run in the order in which they were added, attached, with no lock of
 * the library held. A call that returns non-zero must have set the error
 * indicator; it ends the poll, and later calls stay queued. When a call
 * returns, the state that it was called with must be attached; so it may call
 * Py_FinalizeEx() only if it ends the process afterwards, as Py_Exit() does.
 *
 * @param func What to call. Must not be NULL. It may add further calls.
 * @param arg Passed on. Borrowed.
 * @return 0, or -1: 32 calls are queued already, or there is no memory for the
 *     queue.
 *
 * @par Errors
 * Fatal if `func` is NULL, and later if the call returns without its state; -1
 * as above, no error indicator is set. If another thread than the main one
 * finalizes, calls that are left are forgotten.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe after Py_Initialize() (it takes no
 * lock and, but for the first call of the process, no memory). In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.12+ (before, any thread of the current interpreter ran it).
 *
 * @pre `func` may be called with `arg` until the runtime ends.
 */
int Py_AddPendingCall(int (*func)(void*),
                      void *arg);

/**
 * Runs what is pending for the main thread: the handlers of signals that
 * arrived, then the queued calls.
 *
 * @return 0: all ran, or the caller is not the main thread in the main
 *     interpreter; -1: one failed with the error indicator set; what is left
 *     stays queued.
 *
 * @par Errors
 * Fatal if nothing is attached; -1 as above.
 * @par Blocks
 * As long as the calls do.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
int Py_MakePendingCalls(void);

/**
 * Does what the attached thread was asked to do: the poll of a host.
 * PyTState_Poll() calls it only if there is something to do.
 *
 * In this order: stand while the world is stopped; handlers of signals; calls
 * that were added; functions of PyTState_RunOnThread(); let another thread have
 * the GIL; raise an asynchronous exception.
 *
 * @param tstate The attached state. Must not be NULL. Borrowed.
 * @return 0, or -1: something failed with the error indicator set; what comes
 *     after it is left for the next poll.
 *
 * @par Errors
 * Fatal if nothing is attached; misuse if `tstate` is not the attached state;
 * -1 as above.
 * @par Blocks
 * While the world is stopped, or another thread has the GIL; see
 * PyTState_SetLateAttachPolicy().
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
int _Py_HandlePending(PyThreadState *tstate);

/**
 * Asks another thread of the attached interpreter to raise an exception at its
 * next poll.
 *
 * Only the newest state of that thread is asked. It keeps one exception: a
 * second call replaces the first, and the state's PyThreadState_Clear() drops
 * it.
 *
 * @param id The thread's identity, as PyThread_get_thread_ident() gave it
 *     there.
 * @param exc A PyExc_* global or an object of the host; NULL takes back what
 *     was not raised yet. A new reference is taken.
 * @return 1, or 0: no state of the interpreter belongs to such a thread.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never; a destructor of the host may run.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `exc` is NULL, a PyExc_* global or a live object of the host.
 */
int PyThreadState_SetAsyncExc(unsigned long id,
                              PyObject *exc);

/**
 * Runs the handlers of the signals that arrived. The default handler of SIGINT
 * raises KeyboardInterrupt. Before that, raises the asynchronous exception that
 * was left for the caller (not under `compat` levels below 3.15).
 *
 * @return 0: all ran, or the caller is not the main thread in the main
 *     interpreter, which handles no signals; -1: one failed, or the exception
 *     was raised, with the error indicator set; what arrived besides is left
 *     for the next call.
 *
 * @par Errors
 * Fatal if nothing is attached; -1 as above.
 * @par Blocks
 * As long as the handlers do.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child(), which forgets what arrived.
 * @par Source
 * CPython 3.15; before, asynchronous exceptions waited for the eval loop.
 */
int PyErr_CheckSignals(void);

/**
 * Acts as if SIGINT had arrived, as PyErr_SetInterruptEx(SIGINT) does.
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
void PyErr_SetInterrupt(void);

/**
 * Acts as if a signal had arrived: its handler runs at a poll of the main
 * thread.
 *
 * Nothing happens for a signal that does not come to the runtime: see
 * PyTState_RouteSignal().
 *
 * @param signum Number of the signal.
 * @return 0, or -1: there is no such signal.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
int PyErr_SetInterruptEx(int signum);

/**
 * Returns whether SIGINT has arrived, and clears that.
 *
 * @return 1 or 0; 0 if the caller is not the main thread in the main
 *     interpreter.
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
int PyOS_InterruptOccurred(void);

/**
 * Returns the handler of a signal.
 *
 * @param sig Number of the signal.
 * @return The handler; SIG_ERR: there is no such signal.
 *
 * @par Errors
 * SIG_ERR as above; errno says why.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyOS_sighandler_t PyOS_getsig(int sig);

/**
 * Has each signal that the runtime handles write its number, one byte, to a
 * descriptor: a main thread that sleeps in poll(2) wakes up. The end of the
 * runtime forgets the descriptor.
 *
 * @param fd Descriptor, which should not block; negative: none.
 * @return The descriptor before; -1: none.
 *
 * @par Errors
 * None. What cannot be written is dropped.
 * @par Blocks
 * Never. A signal that arrives blocks as the write does.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.13, where the end of the runtime leaves it set.
 */
int PySignal_SetWakeupFd(int fd);

/**
 * Sets the handler of a signal. System calls that it interrupts are not
 * restarted; it may run on an alternate stack.
 *
 * Does not change what PyErr_SetInterruptEx() does: that is
 * PyTState_RouteSignal()'s.
 *
 * @param sig Number of the signal.
 * @param handler A function that is async-signal-safe, SIG_DFL or SIG_IGN.
 * @return The handler before; SIG_ERR: there is no such signal, or it cannot be
 *     caught.
 *
 * @par Errors
 * SIG_ERR as above; errno says why.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `handler` may run at any time from now on.
 */
PyOS_sighandler_t PyOS_setsig(int sig,
                              PyOS_sighandler_t handler);

/**
 * Installs a function of the host that handles every signal that is routed to
 * the runtime, SIGINT included.
 *
 * It runs as Python's handlers do: attached, on the main thread in the main
 * interpreter, at a poll, never in the OS's handler, with no lock of the
 * library held. Without one, SIGINT raises KeyboardInterrupt and the others do
 * nothing. Finalization removes it.
 *
 * @param handler The function, instead of the one before; NULL: none.
 * @param data Passed on. Borrowed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not; not while signals are handled. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `handler` may be called with `data` until another is installed.
 */
void PyTState_SetSignalHandler(PyTState_SignalHandler handler,
                               void *data);

/**
 * Routes a signal to the runtime, or back to the system's default action.
 *
 * Py_Initialize() does this with SIGINT; finalization gives back what still
 * comes to the runtime.
 *
 * @param signum Number of the signal.
 * @param to_runtime Not 0: to the runtime, instead of the handler before. 0:
 *     SIG_DFL.
 * @return 0, or -1: there is no such signal, or it cannot be caught.
 *
 * @par Errors
 * -1 as above; errno says why, no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. A fork child keeps it.
 * @par Source
 * Pytstate.
 */
int PyTState_RouteSignal(int signum,
                         int to_runtime);

/**
 * Checks that the calling thread has enough C stack left to go one level
 * deeper.
 *
 * The stack's bounds come from the OS, or from
 * PyUnstable_ThreadState_SetStackProtection(). A thread that is on neither
 * stack passes.
 *
 * @param where End of the error's message, such as " in comparison"; NULL is as
 *     "". Borrowed.
 * @return 0; -1 with RecursionError "Stack overflow (used N kB)" and `where`:
 *     less than 32 KiB is left.
 *
 * @par Errors
 * Fatal if nothing is attached, and when less than 16 KiB is left: the error
 * was not heeded. -1 as above.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.14. Up to 3.13 calls were counted instead.
 *
 * @pre `where` is NULL or NUL-terminated.
 */
int Py_EnterRecursiveCall(const char *where);

/**
 * Does nothing: Py_EnterRecursiveCall() checks the stack itself. Call it after
 * a Py_EnterRecursiveCall() that returned 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * CPython 3.14.
 */
void Py_LeaveRecursiveCall(void);

/**
 * Sets the recursion limit of the attached interpreter: the number that
 * Py_GetRecursionLimit() returns, for hosts that count levels.
 * Py_EnterRecursiveCall() checks the stack and not the limit.
 *
 * @param new_limit The limit; not checked.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * No.
 * @par Threads
 * Attached. Async-signal-safe if attached.
 * @par Source
 * CPython 3.12+ (there the bytecode evaluator counts Python frames).
 */
void Py_SetRecursionLimit(int new_limit);

/**
 * Returns the recursion limit of the attached interpreter.
 *
 * @return The limit; 1000 unless Py_SetRecursionLimit() changed it.
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
int Py_GetRecursionLimit(void);

/**
 * Sets the bounds of the C stack on which the thread of `tstate` runs from now
 * on, for Py_EnterRecursiveCall(). It is for hosts that switch stacks.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @param stack_start_addr Lowest address of the stack.
 * @param stack_size Its size in bytes, at least 48 KiB (24 KiB where pointers
 *     have 4 bytes).
 * @return 0; -1 with ValueError (if attached) on a size that is too small or
 *     goes beyond memory: nothing is changed.
 *
 * @par Errors
 * Fatal if `tstate` is NULL. -1 as above.
 * @par Blocks
 * No.
 * @par Threads
 * The one that `tstate` is bound to, before or after the switch, with no other
 * call of the API between. Not async-signal-safe.
 * @par Source
 * CPython 3.15 (and 3.14.1).
 *
 * @pre `tstate` is not deleted.
 */
int PyUnstable_ThreadState_SetStackProtection(PyThreadState *tstate,
                                              void *stack_start_addr,
                                              size_t stack_size);

/**
 * Sets the bounds of the C stack of `tstate` back to those of the OS thread's
 * stack.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * As PyUnstable_ThreadState_SetStackProtection().
 * @par Source
 * CPython 3.15 (and 3.14.1).
 *
 * @pre `tstate` is not deleted.
 */
void PyUnstable_ThreadState_ResetStackProtection(PyThreadState *tstate);

/* ======== 8. Guards and views: keeping an interpreter alive ======== */

/**
 * Opens a guard on the attached interpreter, which does not commit its
 * finalization while the guard is open.
 *
 * Finalization still waits for threads, runs the registered functions and ends
 * sub-interpreters; then it waits for the guard. Guards that are never closed
 * are named by PyTState_SetShutdownReport(), with the place that
 * PyTState_Here() left.
 *
 * @return The guard, or NULL with MemoryError, or with PythonFinalizationError:
 *     finalization has committed, or it is throttling new guards
 *     (docs/shutdown.md) and this thread holds none. Owned: any thread closes
 *     it, with PyInterpreterGuard_Close().
 *
 * @par Errors
 * Fatal if nothing is attached; NULL as above.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.15.
 */
PyInterpreterGuard *PyInterpreterGuard_FromCurrent(void);

/**
 * Opens a guard on the interpreter that a view names.
 *
 * @param view The view. Must not be NULL. Borrowed; stays as it is.
 * @return The guard; or NULL, without an error indicator: the interpreter is
 *     gone or has committed its finalization, there is no memory, or, if the
 *     caller is attached, as PyInterpreterGuard_FromCurrent(). Owned:
 *     PyInterpreterGuard_Close().
 *
 * @par Errors
 * Fatal if NULL; NULL as above.
 * @par Blocks
 * Not if attached. Else, while finalization throttles new guards
 * (docs/shutdown.md), a thread that holds no guard is delayed: by 5 ms at
 * first, later by more, at most by 1.3 s.
 * @par Threads
 * Any, attached (to any interpreter) or not, also before initialization and
 * after finalization. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.15.
 *
 * @pre `view` is NULL or a view that is not closed.
 */
PyInterpreterGuard *PyInterpreterGuard_FromView(PyInterpreterView *view);

/**
 * Closes a guard. Closing the last one lets a finalization that waits for
 * guards continue.
 *
 * @param guard The guard. Must not be NULL. Consumed.
 *
 * @par Errors
 * Fatal if NULL, or if the guard is closed already (which is found out unless
 * it was opened anew meanwhile).
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. A fork child drops the guards of
 * the threads that did not survive: they protect nothing there, but can still
 * be closed.
 * @par Source
 * CPython 3.15, where closing twice, and guards in a fork child, are undefined.
 *
 * @pre `guard` is NULL or came from this library.
 */
void PyInterpreterGuard_Close(PyInterpreterGuard *guard);

/**
 * Makes a view of the attached interpreter: a name that may outlive the
 * interpreter. It never names another interpreter, neither in this life of the
 * runtime nor in a later one.
 *
 * @return The view, or NULL with MemoryError. Owned: PyInterpreterView_Close().
 *
 * @par Errors
 * Fatal if nothing is attached; NULL as above.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child(), which keeps views.
 * @par Source
 * CPython 3.15.
 */
PyInterpreterView *PyInterpreterView_FromCurrent(void);

/**
 * Makes a view of the main interpreter, which need not exist yet. After a
 * finalization the view names the next main interpreter.
 *
 * @return The view, or NULL, without an error indicator: no memory. Owned:
 *     PyInterpreterView_Close().
 *
 * @par Errors
 * NULL as above.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe.
 * @par Source
 * CPython 3.15.
 */
PyInterpreterView *PyInterpreterView_FromMain(void);

/**
 * Frees a view. Guards that were opened through it stay open.
 *
 * @param view The view. Must not be NULL. Consumed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also after finalization. Not async-signal-safe.
 * @par Source
 * CPython 3.15.
 *
 * @pre `view` is NULL or a view that is not closed, and is not used again.
 */
void PyInterpreterView_Close(PyInterpreterView *view);

/**
 * Attaches the caller to the interpreter that a guard holds.
 *
 * The call uses the attached state if that belongs to the interpreter.
 * Otherwise it attaches the state that this thread used last if that belongs to
 * the interpreter, or else a new state, which the outermost
 * PyThreadState_Release() deletes. If a state of another interpreter is
 * attached, it is detached, and the release attaches it again. Calls nest.
 *
 * @param guard An open guard. Must not be NULL. Borrowed; stays open. If it is
 *     closed before the release, the thread counts as a daemon: it may meet
 *     PyTState_SetLateAttachPolicy().
 * @return A token for PyThreadState_Release(), never NULL and not to be looked
 *     at; or NULL, without an error indicator: no memory, or the interpreter
 *     ended in spite of the guard; then nothing was attached or detached.
 *
 * @par Errors
 * Fatal if NULL; NULL as above.
 * @par Blocks
 * Until the GIL is free and no pause is on; the finalization of the interpreter
 * waits for the guard.
 * @par Threads
 * Any, attached (to any interpreter) or not. Not async-signal-safe. In a fork
 * child, after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.15.
 *
 * @pre `guard` is NULL or an open guard.
 */
PyThreadStateToken *PyThreadState_Ensure(PyInterpreterGuard *guard);

/**
 * Attaches the caller to the interpreter that a view names, as
 * PyThreadState_Ensure() does through a guard of its own.
 *
 * The state keeps that guard until the outermost PyThreadState_Release().
 *
 * @param view The view. Must not be NULL. Borrowed; stays as it is.
 * @return As PyThreadState_Ensure(); NULL also where
 *     PyInterpreterGuard_FromView() gives none.
 *
 * @par Errors
 * Fatal if NULL; NULL as above.
 * @par Blocks
 * As PyInterpreterGuard_FromView(); then until the GIL is free and no pause is
 * on. The finalization of the interpreter waits for the release.
 * @par Threads
 * Any, attached (to any interpreter) or not, also before initialization and
 * after finalization. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.15.
 *
 * @pre `view` is NULL or a view that is not closed.
 */
PyThreadStateToken *PyThreadState_EnsureFromView(PyInterpreterView *view);

/**
 * Reverses one PyThreadState_Ensure() or PyThreadState_EnsureFromView(). The
 * calls nest: the last one is reversed first.
 *
 * The outermost release clears and deletes the state if Ensure made it, closes
 * the guard that the state keeps, and attaches again what was attached before.
 *
 * @param token What the matching call returned. Must not be NULL. Consumed.
 *
 * @par Errors
 * Fatal if `token` is NULL, nothing is attached, there are more releases than
 * calls, the token cannot be the matching one, or the state that would be
 * deleted is the one with which the library called a function of the host
 * (docs/shutdown.md).
 * @par Blocks
 * Until the GIL is free, if a state is attached again; see
 * PyTState_SetLateAttachPolicy() for a state of another interpreter.
 * @par Threads
 * Attached to the state that the call attached, on the same thread. Not
 * async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.15, where a wrong token is undefined, and the guard is kept while a
 * state of another interpreter is attached again.
 *
 * @pre `token` came from the matching call.
 */
void PyThreadState_Release(PyThreadStateToken *token);

/* ======== 9. Locks and events ======== */

/**
 * Locks the mutex.
 *
 * Not recursive: locking twice on one thread never returns. An uncontended lock
 * is one atomic read-modify-write. A thread that has waited for more than a
 * millisecond gets the lock handed when it is unlocked; until then the first
 * thread that comes gets it.
 *
 * @param m The mutex; all-zero is unlocked. Borrowed, must not move while in
 *     use. Not NULL (checked in debug builds only).
 *
 * @par Errors
 * None.
 * @par Blocks
 * Until the mutex is free. An attached caller is detached while it sleeps, and
 * attached again before the return, which may block too, or never return once
 * the interpreter finalizes. Signals do not end the wait.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe. In a
 * fork child, after PyOS_AfterFork_Child(); a lock that a thread held in the
 * parent is still locked.
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex that outlives the call.
 */
void PyMutex_Lock(PyMutex *m);

/**
 * Unlocks the mutex and wakes the thread that has waited longest.
 *
 * An uncontended unlock is one atomic read-modify-write. Once it is unlocked
 * the call does not touch the mutex any more: the thread that locks it next may
 * free it.
 *
 * @param m The mutex. Borrowed. Not NULL (checked in debug builds only).
 *
 * @par Errors
 * Aborts with "unlocking mutex that is not locked" if it is not locked, in
 * every build.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, also another one than the one that locked it; attached or not. Not
 * async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `m` points to a mutex.
 */
void PyMutex_Unlock(PyMutex *m);

/**
 * Returns whether the mutex is locked at this moment, by any thread.
 *
 * @param m The mutex. Borrowed. Not NULL (checked in debug builds only).
 * @return 1 if it is locked, 0 if not. Good for assertions only: it may change
 *     at once.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * CPython 3.14.
 *
 * @pre `m` points to a mutex.
 */
int PyMutex_IsLocked(PyMutex *m);

/**
 * Makes a lock that is free.
 *
 * @return The lock, or NULL if there is no memory. Owned: to be freed with
 *     PyThread_free_lock().
 *
 * @par Errors
 * NULL as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
PyThread_type_lock PyThread_allocate_lock(void);

/**
 * Frees the memory of a lock.
 *
 * @param lock The lock, which no thread holds or waits for. NULL does nothing.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 *
 * @pre `lock` is NULL or came from PyThread_allocate_lock() and is not used any
 *      more.
 */
void PyThread_free_lock(PyThread_type_lock lock);

/**
 * Takes a lock.
 *
 * @param lock The lock. Borrowed. NULL is fatal.
 * @param waitflag NOWAIT_LOCK (0) only tries; anything else waits without
 *     limit.
 * @return 1 if the caller has the lock, 0 if not.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Until the lock is free, if asked to. Does not detach: an attached caller
 * keeps its GIL, and the holder may need it. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, a lock that a
 * thread held in the parent is still locked.
 * @par Source
 * CPython 3.13.
 *
 * @pre `lock` came from PyThread_allocate_lock() and is not freed before the
 *      return.
 */
int PyThread_acquire_lock(PyThread_type_lock lock,
                          int waitflag);

/**
 * Takes a lock, with a time limit.
 *
 * @param lock The lock. Borrowed. NULL is fatal.
 * @param microseconds Negative waits without limit, 0 only tries; more than
 *     PY_TIMEOUT_MAX is taken as that.
 * @param intr_flag Not 0: a signal ends the wait. 0: the wait goes on, with the
 *     same deadline.
 * @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early;
 *     PY_LOCK_INTR.
 *
 * @par Errors
 * As above; no error indicator is set.
 * @par Blocks
 * Up to `microseconds`. Does not detach: an attached caller keeps its GIL, and
 * the holder may need it.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, a lock that a
 * thread held in the parent is still locked.
 * @par Source
 * CPython 3.13.
 *
 * @pre `lock` came from PyThread_allocate_lock() and is not freed before the
 *      return.
 */
PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock,
                                              PY_TIMEOUT_T microseconds,
                                              int intr_flag);

/**
 * Takes a lock as an attached thread should: tries, then waits detached, and
 * runs pending calls when a signal arrives.
 *
 * @param lock The lock. Borrowed. NULL is fatal.
 * @param microseconds Negative waits without limit, 0 only tries; more than
 *     PY_TIMEOUT_MAX is taken as that.
 * @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early;
 *     PY_LOCK_INTR when a pending call raised, with the error indicator set.
 *
 * @par Errors
 * As above.
 * @par Blocks
 * Up to `microseconds`, detached, and until the caller is attached again.
 * @par Threads
 * Attached (a detached caller simply waits). Not async-signal-safe. In a fork
 * child, after PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `lock` came from PyThread_allocate_lock() and is not freed before the
 *      return.
 */
PyLockStatus PyThread_acquire_lock_timed_with_retries(PyThread_type_lock lock,
        PY_TIMEOUT_T microseconds);

/**
 * Releases a lock and wakes one thread that waits for it.
 *
 * @param lock The lock. Borrowed. NULL is fatal.
 *
 * @par Errors
 * If no thread has it: fatal, "unlocking mutex that is not locked", under the
 * rules of 3.15; before, it lets one more thread in later, as the semaphores of
 * CPython do (PyTState_Config.compat chooses).
 * @par Blocks
 * Never.
 * @par Threads
 * Any, also another one than the one that acquired it; attached or not. Not
 * async-signal-safe.
 * @par Source
 * CPython 3.15.
 *
 * @pre `lock` came from PyThread_allocate_lock() and is not freed.
 */
void PyThread_release_lock(PyThread_type_lock lock);

/**
 * Begins a critical section: locks the object's mutex until
 * PyCriticalSection_End().
 *
 * In an interpreter with a GIL nothing is locked and the object is not looked
 * at: the GIL is the lock there. Whenever the thread detaches or waits, all its
 * sections are unlocked; the innermost is locked again before the thread goes
 * on. Nothing that an outer section protects can be relied upon after an inner
 * one began.
 *
 * @param c Room for the section, on the stack; initialized here. Borrowed until
 *     the End. Not NULL (checked in debug builds only).
 * @param op The host's object: PyTState_ObjectHooks.object_mutex finds its
 *     mutex. Borrowed until the End.
 *
 * @par Errors
 * Fatal if nothing is attached. Without a GIL: misuse if the host gave no hook,
 * or the hook gave NULL.
 * @par Blocks
 * Without a GIL, until the mutex is free, detached while it sleeps. Not if the
 * innermost section of this thread holds the mutex, or if the world is stopped:
 * then the section locks nothing.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.14; one library for both of its builds.
 *
 * @pre `c` outlives the section, which PyCriticalSection_End() ends on this
 *      thread, newest first.
 */
void PyCriticalSection_Begin(PyCriticalSection *c,
                             PyObject *op);

/**
 * Begins a critical section: locks the mutex until PyCriticalSection_End().
 *
 * As PyCriticalSection_Begin(). A detach unlocks the mutex of a section for a
 * while, but not a mutex that PyMutex_Lock() locked.
 *
 * @param c Room for the section, on the stack; initialized here. Borrowed until
 *     the End. Not NULL (checked in debug builds only).
 * @param m The mutex. Borrowed until the End. Not NULL, except under a GIL,
 *     where it is not looked at.
 *
 * @par Errors
 * Fatal if nothing is attached; without a GIL, if `m` is NULL.
 * @par Blocks
 * As PyCriticalSection_Begin().
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.14.
 *
 * @pre `c` and `m` outlive the section, which PyCriticalSection_End() ends on
 *      this thread, newest first.
 */
void PyCriticalSection_BeginMutex(PyCriticalSection *c,
                                  PyMutex *m);

/**
 * Ends the critical section that the thread began last.
 *
 * What the section before it lost meanwhile is locked again.
 *
 * @param c The section. Not NULL (checked in debug builds only).
 *
 * @par Errors
 * For a section that locks something: fatal if nothing is attached, or if its
 * mutex is not locked; misuse, and nothing happens, if `c` is not the section
 * that the attached state began last.
 * @par Blocks
 * Until the mutexes of the section before it are free, if a detach had unlocked
 * them.
 * @par Threads
 * The one that called Begin, attached with the same state. Not
 * async-signal-safe.
 * @par Source
 * CPython 3.14.
 *
 * @pre `c` was begun by PyCriticalSection_Begin() or
 *      PyCriticalSection_BeginMutex().
 */
void PyCriticalSection_End(PyCriticalSection *c);

/**
 * Begins a critical section of two objects, in an order that cannot deadlock.
 *
 * As PyCriticalSection_Begin(). The same object twice is locked once. If the
 * innermost section of this thread holds just these two, this one locks
 * nothing.
 *
 * @param c Room for the section, on the stack; initialized here. Borrowed until
 *     the End. Not NULL (checked in debug builds only).
 * @param a One object of the host. Borrowed until the End.
 * @param b The other object. Borrowed until the End.
 *
 * @par Errors
 * As PyCriticalSection_Begin(); after misuse neither is locked.
 * @par Blocks
 * As PyCriticalSection_Begin().
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.14; one library for both of its builds.
 *
 * @pre `c` outlives the section, which PyCriticalSection2_End() ends on this
 *      thread, newest first.
 */
void PyCriticalSection2_Begin(PyCriticalSection2 *c,
                              PyObject *a,
                              PyObject *b);

/**
 * Begins a critical section of two mutexes, in an order that cannot deadlock.
 *
 * As PyCriticalSection2_Begin().
 *
 * @param c Room for the section, on the stack; initialized here. Borrowed until
 *     the End. Not NULL (checked in debug builds only).
 * @param m1 One mutex. Borrowed until the End. Not NULL, except under a GIL,
 *     where it is not looked at.
 * @param m2 The other mutex; may be the same. Borrowed until the End. As `m1`.
 *
 * @par Errors
 * Fatal if nothing is attached; without a GIL, if `m1` or `m2` is NULL.
 * @par Blocks
 * As PyCriticalSection_Begin().
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.14.
 *
 * @pre `c` and the mutexes outlive the section, which PyCriticalSection2_End()
 *      ends on this thread, newest first.
 */
void PyCriticalSection2_BeginMutex(PyCriticalSection2 *c,
                                   PyMutex *m1,
                                   PyMutex *m2);

/**
 * Ends the critical section of two that the thread began last.
 *
 * As PyCriticalSection_End().
 *
 * @param c The section. Not NULL (checked in debug builds only).
 *
 * @par Errors
 * As PyCriticalSection_End().
 * @par Blocks
 * As PyCriticalSection_End().
 * @par Threads
 * The one that called Begin, attached with the same state. Not
 * async-signal-safe.
 * @par Source
 * CPython 3.14.
 *
 * @pre `c` was begun by PyCriticalSection2_Begin() or
 *      PyCriticalSection2_BeginMutex().
 */
void PyCriticalSection2_End(PyCriticalSection2 *c);

/**
 * Waits until the event is set.
 *
 * @param evt The event. Borrowed, must not move while in use. Not NULL (checked
 *     in debug builds only).
 *
 * @par Errors
 * None.
 * @par Blocks
 * Until the event is set. An attached caller is detached while it sleeps, and
 * attached again before the return, which may never come once the interpreter
 * finalizes. Signals do not end the wait.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `evt` points to an event that lives until it is set.
 */
void PyEvent_Wait(PyEvent *evt);

/**
 * Waits until the event is set, the time limit has passed, or a signal arrives.
 *
 * @param evt The event. Borrowed. Not NULL (checked in debug builds only).
 * @param timeout_ns Nanoseconds; nothing but a signal ends the wait earlier.
 *     Negative waits without limit.
 * @param detach Not 0: an attached caller is detached while it sleeps. 0: it
 *     keeps its GIL.
 * @return 1 if the event is set, 0 if not: the time passed or a signal arrived,
 *     which only the caller's own clock can tell apart.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Up to `timeout_ns`; a detached caller also until it is attached again.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `evt` points to an event that outlives the call.
 */
int PyEvent_WaitTimed(PyEvent *evt,
                      PyTime_t timeout_ns,
                      int detach);

/* ======== 10. Waiting, naming, policies ======== */

/**
 * Waits as _PyInterpreterState_WaitForThreads() does, up to a time limit, and
 * lists the threads that are left.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @param timeout_ns Nanoseconds; negative: no limit; 0: only look.
 * @param alive Room for records of the threads that are left, or NULL.
 *     Borrowed. The record of a thread whose state is gone, but not its OS
 *     thread, has the id, name, times and places of that state.
 * @param capacity Number of records that `alive` has room for.
 * @param n_alive Gets the true number of threads left (0 when all are gone), or
 *     NULL. Borrowed.
 * @return 0 all gone; 1 the deadline passed; -1 with the error indicator set: a
 *     signal handler or pending call failed.
 *
 * @par Errors
 * Fatal if `interp` is NULL. -1 as above.
 * @par Blocks
 * Up to the deadline, detached if the caller is attached. A second call goes on
 * waiting.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is not deleted before the call returns; `alive` has room for
 *      `capacity` records.
 */
int PyTState_WaitForThreads(PyInterpreterState *interp,
                            PyTime_t timeout_ns,
                            PyTState_ThreadInfo *alive,
                            size_t capacity,
                            size_t *n_alive);

/**
 * Lists thread states.
 *
 * @param interp The interpreter, or NULL for all. Borrowed.
 * @param out Room for records, or NULL. Borrowed.
 * @param capacity Number of records that `out` has room for.
 * @return The true number of states; up to `capacity` records were filled,
 *     newest states first.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe: see PyTState_DumpThreads().
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is NULL or came from this library; `out` has room for
 *      `capacity` records.
 */
size_t PyTState_Census(PyInterpreterState *interp,
                       PyTState_ThreadInfo *out,
                       size_t capacity);

/**
 * Prints every thread state, with what its thread waits for in a call of this
 * library, and every open guard, one line each, for people.
 *
 * @param fd File descriptor to write to.
 *
 * @par Errors
 * None; a write error ends the listing.
 * @par Blocks
 * As write(2) does.
 * @par Threads
 * Any. Async-signal-safe: takes no lock and allocates nothing; what changes
 * meanwhile may be missing.
 * @par Source
 * Pytstate.
 */
void PyTState_DumpThreads(int fd);

/**
 * Prints every thread that waits in a call of this library, one line each, for
 * people: for what, since when, which thread holds the GIL that it waits for,
 * and where its thread state was last attached or detached.
 *
 * Such a line is "thread 'A' (tid 11) waits 2.1 s for mutex 0x55d0c8, detached,
 * last detached at a.c:40". A thread that is detached and sleeps in a call of
 * its own is not listed.
 *
 * @param fd File descriptor to write to.
 *
 * @par Errors
 * None; a write error loses lines. The waits of more than some thousand threads
 * at once may not all be known.
 * @par Blocks
 * As write(2) does.
 * @par Threads
 * Any. Async-signal-safe: takes no lock and allocates nothing; what changes
 * meanwhile may be missing.
 * @par Source
 * Pytstate.
 */
void PyTState_DumpWaits(int fd);

/**
 * Sets how often a finalization that waits prints the threads and guards that
 * it waits for.
 *
 * @param every_ns Interval in nanoseconds; 0 or less: no reports.
 * @param fd File descriptor to write to.
 * @return 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Overrides PYTSTATE_SHUTDOWN_REPORT=SECONDS of the environment.
 * Async-signal-safe.
 * @par Source
 * Pytstate.
 */
int PyTState_SetShutdownReport(PyTime_t every_ns,
                               int fd);

/**
 * Names a thread state, and for the OS the thread that it belongs to (the first
 * 15 bytes). The thread that runs `main` keeps its name for the OS, which is
 * the program's.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @param name The name, up to 63 bytes are kept. Must not be NULL. Copied.
 * @return 0; -1 with ValueError (if attached) when it was cut to 63 bytes: the
 *     cut name is set all the same.
 *
 * @par Errors
 * Fatal if NULL. -1 as above.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while the state lives. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `tstate` is not deleted; `name` is NUL-terminated.
 */
int PyTState_SetName(PyThreadState *tstate,
                     const char *name);

/**
 * Returns the exit event of a thread state, with a reference that keeps the
 * event valid after the state is deleted.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return The event, to be given back with PyTState_ReleaseExitEvent(). Never
 *     NULL.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while the state lives. Async-signal-safe.
 * @par Source
 * Pytstate; the reference-counted event of the first form of gh-114271.
 *
 * @pre `tstate` is not deleted.
 */
PyEvent *PyTState_GetExitEvent(PyThreadState *tstate);

/**
 * Drops a reference that PyTState_GetExitEvent() returned.
 *
 * @param event Event from PyTState_GetExitEvent(), or NULL (nothing happens).
 *     Consumed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `event` came from PyTState_GetExitEvent(), and the caller owns the
 *      reference.
 */
void PyTState_ReleaseExitEvent(PyEvent *event);

/**
 * Returns the host's bytes beside a thread state
 * (PyTState_Config.host_tstate_size), zeroed when the state was made.
 *
 * @param tstate The state. Must not be NULL. Borrowed.
 * @return The bytes, aligned as malloc() aligns; NULL if the host asked for
 *     none. They live as long as the state.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `tstate` is not deleted.
 */
void *PyTState_HostData(PyThreadState *tstate);

/**
 * Sets the source location that the next attach, detach, creation of a state or
 * opening of a guard on this thread records for diagnostics. If PYTSTATE_PLACES
 * is defined before the header is included, the usual calls do this by
 * themselves.
 *
 * @param place "file:line", a string that is never freed, or NULL to forget
 *     what was left.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `place` is NULL or a NUL-terminated string that stays valid until the
 *      process ends.
 */
void PyTState_Here(const char *place);

/**
 * Sets the late-attach policy: what happens to a thread that attaches after its
 * interpreter has committed its finalization.
 *
 * @param policy PyTState_LATE_HANG, PyTState_LATE_EXIT or PyTState_LATE_ABORT.
 * @return 0; -1 with ValueError (if attached) on another value.
 *
 * @par Errors
 * -1 as above.
 * @par Blocks
 * No.
 * @par Threads
 * Any, any time. Async-signal-safe when it succeeds. Overrides PYTSTATE_LATE of
 * the environment.
 * @par Source
 * Pytstate.
 */
int PyTState_SetLateAttachPolicy(int policy);

/**
 * Installs a function that chooses the late-attach policy for each thread.
 *
 * @param hook Called on the late thread, detached, with its state (NULL if it
 *     has none) and `data`; returns one of PyTState_LATE_*; anything else means
 *     PyTState_LATE_HANG. It may also not return. NULL removes the hook.
 * @param data Passed on.
 * @return 0.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, any time. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `hook` stays callable as long as threads may be late.
 */
int PyTState_SetLateAttachHook(PyTState_LateAttachHook hook,
                               void *data);

/**
 * Installs the function that PyTState_CHECK_CALLBACK reports misuse to.
 *
 * @param callback Gets the function's name, what is wrong, and `data`. When it
 *     returns, the call goes on as CPython's release build would. NULL removes
 *     it: misuse is fatal then.
 * @param data Passed on.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, any time. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `callback` stays callable until it is removed.
 */
void PyTState_SetCheckCallback(
    void (*callback)(const char*, const char*, void*),
                               void *data);

/**
 * Returns the shutdown phase of an interpreter.
 *
 * @param interp The interpreter, or NULL (PyTState_PHASE_GONE). Borrowed.
 * @return PyTState_PHASE_RUNNING, _WAITING_THREADS, _ATEXIT, _WAITING_GUARDS,
 *     _FINALIZING or _GONE. Phases may repeat until the finalization is
 *     committed (_FINALIZING).
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any. Async-signal-safe. A deleted interpreter answers _GONE until its memory
 * serves a new one.
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is NULL or came from this library.
 */
int PyTState_ShutdownPhase(PyInterpreterState *interp);

/**
 * Installs a function that is called at every change of the shutdown phase of
 * an interpreter.
 *
 * @param hook Called on the finalizing thread, with no lock of the library
 *     held. NULL removes it.
 * @param data Passed on.
 *
 * @par Errors
 * None.
 * @par Blocks
 * No.
 * @par Threads
 * Any, any time. Not async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `hook` stays callable until it is removed.
 */
void PyTState_SetShutdownPhaseHook(
    void (*hook)(PyInterpreterState*, int, void*),
                                   void *data);

/* ======== 11. Forks ======== */

/**
 * Prepares for fork(): stops every other thread of the runtime and takes its
 * locks. Waits while another thread has stopped the world.
 *
 * @par Errors
 * Fatal if nothing is attached, if it was called already, or if this thread has
 * stopped the world.
 * @par Blocks
 * Until every attached thread has polled, detached or ended.
 * @par Threads
 * Attached. Not async-signal-safe. Must be followed by fork() and
 * PyOS_AfterFork_Parent() or _Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre Until the call that follows fork(), nothing else of the library is
 *      called.
 */
void PyOS_BeforeFork(void);

/**
 * Lets the other threads continue in the parent after fork(), also when fork()
 * failed.
 *
 * @par Errors
 * Fatal if nothing is attached, or without PyOS_BeforeFork().
 * @par Blocks
 * No.
 * @par Threads
 * The one that called PyOS_BeforeFork(), attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13.
 */
void PyOS_AfterFork_Parent(void);

/**
 * Resets the runtime in a fork child, in which only the calling thread and its
 * thread state survive (docs/fork.md).
 *
 * @par Errors
 * Fatal if nothing is attached, or in the parent. Ends the child with status 1
 * if the attached state is not in the main interpreter.
 * @par Blocks
 * No.
 * @par Threads
 * The only one of the child, attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13; also updates the main state, and ends other interpreters
 * cleanly.
 *
 * @pre This is the child of a fork(), best after PyOS_BeforeFork() on this
 *      thread.
 */
void PyOS_AfterFork_Child(void);

/**
 * Calls PyOS_AfterFork_Child(). This is its old name.
 *
 * @par Errors
 * As PyOS_AfterFork_Child().
 * @par Blocks
 * No.
 * @par Threads
 * As PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13 (deprecated there since 3.7).
 *
 * @pre As PyOS_AfterFork_Child().
 */
void PyOS_AfterFork(void);

/**
 * Registers fork handlers, so that the runtime works in parent and child after
 * every fork() of the process, also after a fork() by a library that does not
 * call PyOS_BeforeFork(). The handlers cannot be removed. A host may still call
 * PyOS_BeforeFork() and PyOS_AfterFork_*() around its own forks.
 *
 * Before a fork the handlers do what PyOS_BeforeFork() does, whether the
 * forking thread is attached, detached, or unknown to the runtime. In the child
 * all thread states of that thread survive, as they are, with their
 * interpreters; and the main interpreter. Everything else vanishes without a
 * call of the host's: references are leaked, at-exit functions forgotten.
 *
 * @return 0; -1: no memory. A second call does nothing and returns 0.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * No. Every fork() then blocks as PyOS_BeforeFork() does.
 * @par Threads
 * Any, attached or not, also before initialization. Not async-signal-safe.
 * fork() is not async-signal-safe afterwards; vfork() and posix_spawn() do not
 * call the handlers.
 * @par Source
 * Pytstate; pthread_atfork(3).
 */
int PyTState_InstallForkHandlers(void);

/* ======== 12. Pauses, and other things that runtimes need ======== */

/**
 * Stops every thread state of an interpreter, or of all interpreters, except
 * the caller's.
 *
 * When the call returns, no other thread of the scope is attached, and none can
 * attach until PyTState_StartTheWorld(). This holds in every mode, with a GIL
 * and without.
 *
 * The lists of thread states of the scope stand still: this thread, and others
 * on its behalf, may walk them. A state that a detached thread makes meanwhile
 * is put into its list when the pause ends; one that a detached thread deletes
 * stays in its list, and its memory valid, until the pause ends. A thread that
 * would make or delete an interpreter waits for the end of a pause of all, or
 * of that interpreter. The calling thread changes the lists at once.
 *
 * @param interp_or_NULL The interpreter; NULL for all. Borrowed. Not deleted
 *     before the restart.
 * @return 0; -1 with RuntimeError (if a state is attached) when this thread has
 *     stopped a world already: pauses do not nest.
 *
 * @par Errors
 * -1 as above.
 * @par Blocks
 * Until every attached thread of the scope has polled (PyTState_Poll()),
 * detached or ended. An attached caller may be detached meanwhile and is
 * attached on return; see PyTState_SetLateAttachPolicy() if its interpreter
 * ends while it waits.
 * @par Threads
 * Any: attached, detached or without a state. Until the restart the caller
 * attaches no other state, and waits for nothing that an attached thread may
 * hold. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate; _PyEval_StopTheWorld() is the same under CPython's internal name.
 *
 * @pre `interp_or_NULL` is NULL or an interpreter that is not deleted.
 */
int PyTState_StopTheWorld(PyInterpreterState *interp_or_NULL);

/**
 * Ends the pause that PyTState_StopTheWorld() began.
 *
 * @param interp_or_NULL What the matching call was given. Borrowed.
 *
 * @par Errors
 * Misuse, and nothing happens, if there is no such pause.
 * @par Blocks
 * No.
 * @par Threads
 * The one that stopped the world, or one that acts for it. Not
 * async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `interp_or_NULL` is NULL or an interpreter that is not deleted.
 */
void PyTState_StartTheWorld(PyInterpreterState *interp_or_NULL);

/**
 * Calls a function for every thread state of an interpreter, or of all
 * interpreters, once.
 *
 * No state of the scope is made or goes during the visit: states that other
 * threads make meanwhile join at its end, and states that they delete leave
 * then; a thread that would make or end an interpreter waits. The threads
 * themselves go on, unless the caller has stopped the world, whose pause then
 * has to cover what is visited.
 *
 * @param interp_or_NULL The interpreter; NULL for all. Borrowed; not ended
 *     during the visit.
 * @param visit The visitor: gets a state, newest first in each interpreter, and
 *     `arg`; a result other than 0 ends the visit. No lock of the library is
 *     held in it. Must not be NULL.
 * @param arg For `visit`. Borrowed.
 *
 * @par Errors
 * Fatal if `visit` is NULL, and on what docs/shutdown.md lists for a visitor;
 * misuse, and nothing is visited, inside of the caller's own pause or visit of
 * another interpreter.
 * @par Blocks
 * Until other pauses and visits of the scope are over, detached; then as long
 * as the visitor does.
 * @par Threads
 * Any: attached, detached or without a state. Not async-signal-safe. In a fork
 * child, after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `interp_or_NULL` is NULL or an interpreter that is not deleted; `arg` is
 *      what `visit` expects.
 */
void PyTState_VisitThreads(PyInterpreterState *interp_or_NULL,
                           int (*visit)(PyThreadState*, void*),
                           void *arg);

/**
 * Runs a function on the thread of a state, or queues it for that thread.
 *
 * The thread of the state runs what is queued at its next poll
 * (PyTState_Poll()), attached, in the order in which it was queued, at most 100
 * functions in a poll. The function may be queued before the thread first
 * attaches. If a function returns other than 0, the poll returns -1 with the
 * error indicator as the function left it, and the rest runs at the next poll.
 *
 * With PyTState_RUN_DETACHED_TOO, the calling thread runs the function itself,
 * at once, if the state is detached and its thread is not about to attach it.
 * The state cannot be attached until the function has returned, and no pause,
 * no visit and no end of an interpreter goes on meanwhile, so that the function
 * should be short. It runs attached if the caller is attached. If the state is
 * attached, the function is queued, and a caller that waits goes on looking
 * whether it is detached.
 *
 * With either flag, a caller whose attached state `tstate` is runs the function
 * at once.
 *
 * What is queued is dropped, not run, when the state is cleared or deleted, or
 * given up at finalization. In a fork child, what is queued for a state that is
 * kept stays queued, unless a thread waited for it.
 *
 * @param tstate The state. Must not be NULL. Borrowed; it lives, or was deleted
 *     in this life of the runtime and its memory belongs to no newer state.
 * @param fn The function: returns 0, or another value for an error. Must not be
 *     NULL.
 * @param arg For `fn`. Borrowed until `fn` has run or was dropped. With
 *     PyTState_RUN_WAIT that is so when the call returns.
 * @param flags 0, PyTState_RUN_WAIT, PyTState_RUN_DETACHED_TOO, or both.
 * @return 0: `fn` was run, or is queued; 1: the state goes or is gone, and `fn`
 *     was not run, or ended its thread; -1 with the error indicator set (if a
 *     state is attached): see Errors.
 *
 * @par Errors
 * Fatal if `tstate` or `fn` is NULL, and on what docs/shutdown.md lists for
 * `fn`. -1: ValueError on other flags; MemoryError; RuntimeError if the caller
 * would wait for itself, because the thread of the state is its own or is
 * stopped by its pause; the error of `fn`, if the calling thread ran it.
 * @par Blocks
 * With PyTState_RUN_WAIT until `fn` was run or dropped, detached: without end
 * if two threads wait for each other, and one of them without
 * PyTState_RUN_DETACHED_TOO. With PyTState_RUN_DETACHED_TOO until pauses and
 * visits are over, and as long as `fn` does. See PyTState_SetLateAttachPolicy()
 * if the caller's interpreter ends while it waits.
 * @par Threads
 * Any: attached, detached or without a state. Not async-signal-safe. In a fork
 * child, after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `tstate` is NULL or as above; `arg` is what `fn` expects.
 */
int PyTState_RunOnThread(PyThreadState *tstate,
                         int (*fn)(void*),
                         void *arg,
                         int flags);

/**
 * Returns the host's bytes beside an interpreter
 * (PyTState_Config.interp_host_size), zeroed when it was made.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @return The bytes, aligned for any type; NULL if the host asked for none.
 *     Valid until PyTState_Config.interp_fini has returned for the interpreter.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, while the interpreter lives. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is NULL or an interpreter that is not deleted.
 */
void *PyTState_InterpHostData(PyInterpreterState *interp);

/**
 * Sets how long a waiting thread lets another one keep the GIL before it asks
 * for it.
 *
 * @param interp The interpreter whose GIL is meant. Must not be NULL. Borrowed.
 *     Interpreters that share a GIL share its interval.
 * @param ns The interval in nanoseconds, at least 1; rounded up to whole
 *     microseconds, at most about 71 minutes.
 * @return 0; -1 with ValueError (if a state is attached) when `ns` is not
 *     positive.
 *
 * @par Errors
 * Fatal if NULL; -1 as above. Without a GIL nothing happens.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is NULL or an interpreter that is not deleted.
 */
int PyTState_SetSwitchInterval(PyInterpreterState *interp,
                               PyTime_t ns);

/**
 * Returns the switch interval of an interpreter's GIL.
 *
 * @param interp The interpreter. Must not be NULL. Borrowed.
 * @return Nanoseconds; 5,000,000 unless it was set, also for an interpreter
 *     without a GIL.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not. Async-signal-safe.
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is NULL or an interpreter that is not deleted.
 */
PyTime_t PyTState_GetSwitchInterval(PyInterpreterState *interp);

/**
 * Leaves an exception with a thread state: its thread raises it at its next
 * poll.
 *
 * The exception may be left before the thread first attaches. It replaces one
 * that was left before and not raised yet.
 *
 * @param tstate The state. Must not be NULL. Borrowed; it lives, or was deleted
 *     in this life of the runtime and its memory belongs to no newer state.
 * @param exc_or_NULL The exception: a PyExc_* global or an object of the host,
 *     of which a new reference is taken. NULL takes back what was left.
 * @return 1 if it was left; 0 if the state is being cleared or was deleted.
 *
 * @par Errors
 * Fatal if nothing is attached or `tstate` is NULL; 0 as above.
 * @par Blocks
 * No; a host's destructor may run for the exception that is replaced.
 * @par Threads
 * Attached, to any interpreter. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * Pytstate; PyThreadState_SetAsyncExc() names the thread instead of the state.
 *
 * @pre `tstate` is NULL or as above; `exc_or_NULL` is NULL, a PyExc_* global or
 *      a live object of the host.
 */
int PyTState_SetAsyncExc(PyThreadState *tstate,
                         PyObject *exc_or_NULL);

/**
 * Returns the handle of a thread that the library started, found by the id of
 * its thread state.
 *
 * PyTState_Census(), PyTState_WaitForThreads() and PyThreadState_GetID() tell
 * ids. No two states of an interpreter have the same id, so that the call is
 * safe at any moment in the life of the thread: it finds the thread, or it
 * finds none.
 *
 * @param interp The interpreter of the state. Must not be NULL. Borrowed.
 * @param id The id, PyTState_ThreadInfo.id.
 * @return The handle, a new reference for PyThreadHandle_Decref(); NULL without
 *     an error if the library started no thread with that state, or has joined
 *     it since.
 *
 * @par Errors
 * Fatal if `interp` is NULL.
 * @par Blocks
 * No.
 * @par Threads
 * Any, attached or not, while the interpreter lives. Not async-signal-safe. In
 * a fork child, after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `interp` is NULL or an interpreter that is not deleted.
 */
PyThreadHandle *PyTState_HandleOf(PyInterpreterState *interp,
                                  uint64_t id);

/**
 * Sets an event and wakes every thread that waits for it in PyEvent_Wait() or
 * PyEvent_WaitTimed().
 *
 * Setting an event that is set already has no effect. Once it is set the call
 * does not touch the event any more, so that a thread that waited for it may
 * free it.
 *
 * @param event The event; all-zero is one that is not set. Must not be NULL.
 *     Borrowed.
 *
 * @par Errors
 * Fatal if NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * Pytstate; _PyEvent_Notify() is the same under CPython's internal name.
 *
 * @pre `event` is NULL or points to an event.
 */
void PyTState_EventSet(PyEvent *event);

/**
 * Returns the version of the library that runs, which may be newer than the
 * header that a program was compiled with.
 *
 * @return A text such as "0.1.0", as the macro PYTSTATE_VERSION of that
 *     version. Static; never NULL.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, at any time. Async-signal-safe.
 * @par Source
 * Pytstate.
 */
const char *PyTState_Version(void);

/**
 * Declares that the calling thread holds no pointer that it read without a
 * lock.
 *
 * Detaching says the same. A thread that stays attached and never calls this
 * keeps everything from being freed.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. One load and one store. Async-signal-safe.
 * @par Source
 * CPython 3.13 (_Py_qsbr_quiescent_state()).
 */
void PyTState_QSBR_QuiescentState(void);

/**
 * Returns a goal: the moment from which on no reader can begin to read what the
 * caller has taken out of its data structures.
 *
 * @return The goal, for PyTState_QSBR_Poll(): an odd number that grows by 2
 *     with every call in the interpreter.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached; after the pointers were taken out. One atomic read-modify-write.
 * @par Source
 * CPython 3.13 (_Py_qsbr_advance()).
 */
uint64_t PyTState_QSBR_Advance(void);

/**
 * Returns whether every thread has stopped reading what was taken out before
 * the goal was made.
 *
 * That is when every thread state of the interpreter, the caller's included,
 * was detached or called PyTState_QSBR_QuiescentState() since. Under a GIL all
 * others are detached at this moment: the caller's own calls decide.
 *
 * @param goal From PyTState_QSBR_Advance() in the same interpreter.
 * @return 1 if the memory may be freed (it stays 1); 0 if not yet.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Looks at every thread state unless an earlier call saw the goal
 * reached. Not async-signal-safe.
 * @par Source
 * CPython 3.13 (_Py_qsbr_poll()).
 */
int PyTState_QSBR_Poll(uint64_t goal);

/**
 * Frees a block once no thread holds a pointer to it any more.
 *
 * The block was taken out of everything that leads to it.
 * PyTState_QSBR_Process() makes the call, or the finalization of the
 * interpreter.
 *
 * @param block The block. Passed on; may be NULL. Consumed.
 * @param free_func What frees it, such as free(). Called attached to the same
 *     interpreter, on any of its threads, with no lock of the library held.
 *     Must not be NULL.
 * @return 0; -1 with MemoryError: the block is still the caller's.
 *
 * @par Errors
 * Fatal if nothing is attached or `free_func` is NULL. -1 as above.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child(); blocks that wait are kept.
 * @par Source
 * CPython 3.13 (_PyMem_FreeDelayed()).
 *
 * @pre `free_func` may be called with `block` until the interpreter ends.
 */
int PyTState_QSBR_FreeLater(void *block,
                            void (*free_func)(void*));

/**
 * Frees the blocks of PyTState_QSBR_FreeLater() to which no thread holds a
 * pointer any more, the oldest first.
 *
 * A host calls it now and then, as at its polls, when the calling thread holds
 * no pointer itself: see PyTState_QSBR_QuiescentState().
 *
 * @return 1 if blocks are left that have to wait, 0 if none is.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * As long as the host's functions do.
 * @par Threads
 * Attached. Not async-signal-safe.
 * @par Source
 * CPython 3.13 (_PyMem_ProcessDelayed()).
 */
int PyTState_QSBR_Process(void);

/* ======== 13. Explaining: traces, watchdog ======== */

/**
 * Starts to write a timeline of all threads' and interpreters' lives to a file.
 *
 * The file is a JSON array that chrome://tracing and Perfetto read. It is
 * complete after PyTState_TraceStop(), after a finalization, and after an
 * exit(). PYTSTATE_TRACE=path in the environment starts a trace without this
 * call.
 *
 * @param path The file, created with mode 0600 or emptied; "%p" in it stands
 *     for the process's id. Borrowed. NULL is an error.
 * @return 0, or -1: a trace is running already; `path` is NULL, empty or longer
 *     than 1023 bytes; the file cannot be created or written (errno says why:
 *     ELOOP for a link in a folder that all can write, EACCES also for another
 *     user's file in such a folder).
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * For the file, without detaching.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child(): the child's own trace. The parent's goes on in
 * the parent alone.
 * @par Source
 * Pytstate.
 *
 * @pre `path` is NULL or a NUL-terminated string.
 */
int PyTState_TraceStart(const char *path);

/**
 * Ends the trace: writes what is left and closes the file.
 *
 * @return 0, or -1: no trace is running; or something could not be written
 *     (errno says why) and the file lacks events.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * For the file, without detaching.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 */
int PyTState_TraceStop(void);

/**
 * Sets the time limit after which the library names threads that keep others
 * waiting: a thread that holds the GIL, and a thread that does not stop for a
 * pause.
 *
 * A line such as "pytstate: thread 'db-pool-3' (tid 4711, state 5 of interp 0)
 * has held the GIL for 5.0 s, attached at pool.c:88" is written when a thread
 * waits for a GIL that has not been released for `limit`, or "pytstate: a pause
 * has waited 5.0 s for thread ..." when a stop of the world has waited that
 * long; again after each further `limit`. There is no extra thread: the waiting
 * threads check. Places are those of PyTState_Here(), names those of
 * PyTState_SetName().
 *
 * @param limit Nanoseconds; 0 or less: no reports (the default).
 * @param fd File descriptor to write to.
 * @return 0.
 *
 * @par Errors
 * None; a write error is ignored.
 * @par Blocks
 * Never. Reports are written as write(2) does, by the thread that waits, which
 * holds no lock meanwhile.
 * @par Threads
 * Any, any time; for all interpreters. Async-signal-safe. Overrides
 * PYTSTATE_WATCHDOG of the environment.
 * @par Source
 * Pytstate.
 */
int PyTState_SetWatchdog(PyTime_t limit,
                         int fd);

/* ======== 14. Sync points: races on demand ======== */

/**
 * Holds the next thread that arrives at a point until it is woken.
 *
 * Called k times, it holds the next k arrivals. Each arrival uses up one call.
 *
 * @param point Name of a point of the library or of the host. A host's point is
 *     made if it does not exist. Borrowed, copied. NULL is an error.
 * @return 0, or -1: NULL, empty, longer than 63 bytes, a name in the library's
 *     own name space ("gil.something") that is no point, or no room for one
 *     more of the host's points (256).
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `point` is NULL or a NUL-terminated string.
 */
int PyTState_Sync_Pause(const char *point);

/**
 * Waits until a thread is held at a point, by a pause or by an order.
 *
 * Does not detach: a thread that needs the caller's GIL to reach the point
 * never gets there while the caller waits attached.
 *
 * @param point Name of a point that exists. Borrowed. NULL is an error.
 * @param timeout_ns Nanoseconds; 0 only looks, negative waits without limit.
 * @return 0 as soon as a thread is held there now; 1 if the time passed first;
 *     -1 if there is no such point.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Up to timeout_ns, without detaching. Signals do not end the wait.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `point` is NULL or a NUL-terminated string.
 */
int PyTState_Sync_WaitParked(const char *point,
                             PyTime_t timeout_ns);

/**
 * Wakes every thread that is held at a point now.
 *
 * If no thread is held there yet, the pauses that are left at the point are
 * forgotten instead: whether the thread had arrived or not, it is not held
 * after this call. Pauses that are left stay if a thread was held. Threads held
 * by an order go on without it; the order stays for later arrivals.
 *
 * @param point Name of a point that exists. Borrowed. NULL is an error.
 * @return 0, or -1 if there is no such point.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `point` is NULL or a NUL-terminated string.
 */
int PyTState_Sync_Wake(const char *point);

/**
 * Makes threads that arrive at one point wait until another point was passed
 * after this call.
 *
 * A point is passed when a thread goes on from it, past its own hook, pause and
 * orders. Once that happened the order is fulfilled and forgotten. A thread
 * that waited for PYTSTATE_SYNC_LIMIT seconds (environment; 10 if not set)
 * drops the order, names both points and itself on standard error, and goes on.
 *
 * @param first Name of the point to be passed first; made as
 *     PyTState_Sync_Pause() does. Borrowed, copied.
 * @param then Name of the point that waits; likewise. Must differ from `first`.
 * @return 0, also when the same order is there already; -1: a name as
 *     PyTState_Sync_Pause() refuses it, twice the same name, or 64 orders are
 *     not fulfilled yet.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 *
 * @pre `first` and `then` are NULL or NUL-terminated strings.
 */
int PyTState_Sync_Order(const char *first,
                        const char *then);

/**
 * Calls a function whenever a thread arrives at a point.
 *
 * The function runs on the arriving thread, before a pause or an order holds
 * it, with no lock of the library held, attached or not as the point's
 * description says. Points that it reaches itself hold it as any other arrival,
 * but call no hook. A point has one hook; a second call replaces it.
 *
 * @param point Name of a point; made as PyTState_Sync_Pause() does. Borrowed,
 *     copied.
 * @param function The function, or NULL to remove the hook. It gets the point's
 *     name, valid for good, and `arg`. A call that has begun on another thread
 *     may still run when this returns.
 * @param arg Passed to the function as it is. Borrowed; must stay valid as long
 *     as it can run.
 * @return 0, or -1 for a name as PyTState_Sync_Pause() refuses it.
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child(); a child keeps the hooks.
 * @par Source
 * Pytstate.
 *
 * @pre `point` is NULL or a NUL-terminated string; `function` may be called
 *      with `arg` on any thread.
 */
int PyTState_Sync_Hook(const char *point,
                       void (*function)(const char *point, void *arg),
                       void *arg);

/**
 * Passes a point of the host's, or of a test's.
 *
 * While nothing is armed anywhere this does nothing, and does not make the
 * point. Otherwise the point is made on first use and the calling thread
 * arrives at it. With one of the library's own names, the thread arrives at
 * that point.
 *
 * @param user_point Name, up to 63 bytes. Borrowed, copied. NULL, or a name
 *     that PyTState_Sync_Pause() refuses, is ignored.
 *
 * @par Errors
 * None.
 * @par Blocks
 * As long as a pause or an order holds the point, without detaching.
 * @par Threads
 * Any, with or without a thread state. From a signal handler only while nothing
 * is armed. In a fork child, after PyOS_AfterFork_Child(). Keeps errno.
 * @par Source
 * Pytstate.
 *
 * @pre `user_point` is NULL or a NUL-terminated string.
 */
void PyTState_Sync_Point(const char *user_point);

/**
 * Removes all pauses, orders and hooks, and wakes every thread that is held at
 * a point.
 *
 * A perturbation that PyTState_Sync_Perturb() began ends; one that
 * PYTSTATE_PERTURB asks for is back in force. Points of the host's stay known.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never. A hook that has begun on another thread may still run when this
 * returns.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child().
 * @par Source
 * Pytstate.
 */
void PyTState_Sync_Clear(void);

/**
 * Makes threads sleep for a random time at random arrivals, at all points.
 *
 * Each thread draws from a generator of its own, made from the seed and the
 * order in which threads first arrived. The same seed gives the same draws, not
 * the same run.
 *
 * @param seed Any number; 0 turns the perturbation off.
 * @param permille Of 1000 arrivals, how many sleep: 0 to 1000.
 * @param max_sleep_ns The longest sleep in nanoseconds, not negative. Sleeps
 *     are spread evenly from 0.
 * @return 0, or -1 if a number is out of its range (nothing changes then).
 *
 * @par Errors
 * -1 as above; no error indicator is set.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, with or without a thread state. Not async-signal-safe. In a fork child,
 * after PyOS_AfterFork_Child(); a child keeps the perturbation.
 * @par Source
 * Pytstate.
 */
int PyTState_Sync_Perturb(uint64_t seed,
                          int permille,
                          PyTime_t max_sleep_ns);

/**
 * Lists the names of all points: the library's in the order of the
 * documentation, then the host's.
 *
 * @param names Receives up to `capacity` names, valid for good, not to be
 *     freed. NULL if `capacity` is 0.
 * @param capacity Room in `names`.
 * @return How many points there are, also when that is more than `capacity`.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, with or without a thread state. Async-signal-safe. Allowed in a fork
 * child.
 * @par Source
 * Pytstate.
 *
 * @pre `names` has room for `capacity` pointers.
 */
size_t PyTState_Sync_List(const char **names,
                          size_t capacity);

/* ======== 15. Errors ======== */

/**
 * RuntimeError. Opaque: compare it, pass it on, never look inside. Not counted.
 */
extern PyObject *PyExc_RuntimeError;

/** ValueError. */
extern PyObject *PyExc_ValueError;

/** MemoryError. */
extern PyObject *PyExc_MemoryError;

/** SystemError. */
extern PyObject *PyExc_SystemError;

/** OverflowError. */
extern PyObject *PyExc_OverflowError;

/** TimeoutError, an OSError. */
extern PyObject *PyExc_TimeoutError;

/** KeyboardInterrupt: SIGINT arrived. */
extern PyObject *PyExc_KeyboardInterrupt;

/**
 * PythonFinalizationError, a RuntimeError: refused since the interpreter is
 * about to end.
 */
extern PyObject *PyExc_PythonFinalizationError;

/** RecursionError, a RuntimeError. */
extern PyObject *PyExc_RecursionError;

/** InterpreterError. */
extern PyObject *PyExc_InterpreterError;

/** InterpreterNotFoundError, an InterpreterError. */
extern PyObject *PyExc_InterpreterNotFoundError;

/** OSError. */
extern PyObject *PyExc_OSError;

/** TypeError. */
extern PyObject *PyExc_TypeError;

/**
 * Returns whether the error indicator is set.
 *
 * @return The exception type of the indicator, or NULL: no error. Borrowed.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
PyObject *PyErr_Occurred(void);

/**
 * Empties the error indicator.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never; a host's exception may run a destructor of the host.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
void PyErr_Clear(void);

/**
 * Sets the error indicator, or raises in the host if it installed
 * PyTState_ObjectHooks.raise.
 *
 * @param exception A PyExc_* global, or an object of the host. Must not be
 *     NULL. A new reference is taken.
 * @param string What went wrong. Must not be NULL. Copied; without memory for
 *     the copy the text is empty.
 *
 * @par Errors
 * Fatal if nothing is attached or a pointer is NULL. An error that was set
 * before is forgotten.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `exception` is NULL, a PyExc_* global or a live object of the host;
 *      `string` is NULL or NUL-terminated.
 */
void PyErr_SetString(PyObject *exception,
                     const char *string);

/**
 * Sets the error indicator without a text.
 *
 * @param exception As PyErr_SetString()'s. Must not be NULL.
 *
 * @par Errors
 * As PyErr_SetString().
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `exception` is NULL, a PyExc_* global or a live object of the host.
 */
void PyErr_SetNone(PyObject *exception);

/**
 * Sets the error indicator to MemoryError, without a text and without memory.
 *
 * @return NULL, for `return PyErr_NoMemory();`.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
PyObject *PyErr_NoMemory(void);

/**
 * Returns whether the error that is set is of this type or of a subtype.
 *
 * @param exc A PyExc_* global, or an object of the host, which only matches
 *     itself. NULL matches nothing.
 * @return 1 or 0; 0 if no error is set.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13, where exc may also be a tuple.
 */
int PyErr_ExceptionMatches(PyObject *exc);

/**
 * Prints the error that is set on standard error, as "RuntimeError: text", and
 * empties the indicator.
 *
 * Does nothing if none is set.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * For standard error, without detaching.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
void PyErr_Print(void);

/**
 * Returns the text of the error that is set.
 *
 * @return The text; "" if no error is set, if it has no text, or if nothing is
 *     attached. Borrowed: valid until the indicator changes. Never NULL.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any. Not async-signal-safe.
 * @par Source
 * Pytstate.
 */
const char *PyTState_ErrMessage(void);

/**
 * Prints "Fatal Python error: " with a message and what is known about the
 * calling thread, and aborts.
 *
 * A macro of the same name adds the calling function: "Fatal Python error:
 * function: message".
 *
 * @param message What went wrong. NULL prints "<message not set>". Borrowed.
 *
 * @par Errors
 * A fatal error while this thread reports one aborts at once.
 * @par Blocks
 * Does not return.
 * @par Threads
 * Any, with or without a thread state, with any lock held. Async-signal-safe.
 * In a fork child, at any time.
 * @par Source
 * CPython 3.13.
 *
 * @pre `message` is NULL or NUL-terminated.
 */
_Py_NO_RETURN void Py_FatalError(const char *message);

/**
 * Does what Py_FatalError() does, and prints the name of a function before the
 * message.
 *
 * @param func Name of the function that found the error, or NULL. Borrowed.
 * @param message What went wrong. NULL prints "<message not set>". Borrowed.
 *
 * @par Errors
 * A fatal error while this thread reports one aborts at once.
 * @par Blocks
 * Does not return.
 * @par Threads
 * Any, with or without a thread state, with any lock held. Async-signal-safe.
 * In a fork child, at any time.
 * @par Source
 * CPython 3.13.
 *
 * @pre `func` and `message` are NULL or NUL-terminated.
 */
_Py_NO_RETURN void _Py_FatalErrorFunc(const char *func,
                        const char *message);

/**
 * Takes the error out of the indicator, which is empty then.
 *
 * @return The exception, with the caller's reference; NULL: no error was set.
 *     PyErr_SetRaisedException() puts it back, with its text if no other error
 *     was set on this thread state meanwhile.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 */
PyObject *PyErr_GetRaisedException(void);

/**
 * Puts an exception into the error indicator, in the place of what is there.
 *
 * @param exc The exception; NULL empties the indicator. The caller gives a
 *     reference away.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * As long as the host's `decref` and `raise` hooks do.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `exc` is NULL, an exception of this library, or an object of the host
 *      with a reference that is the caller's.
 */
void PyErr_SetRaisedException(PyObject *exc);

/**
 * Takes the error out of the indicator, in three parts.
 *
 * @param ptype Gets the exception, with the caller's reference, or NULL: no
 *     error was set. Must not be NULL.
 * @param pvalue Gets NULL: an error is one object here. Must not be NULL.
 * @param ptraceback Gets NULL: there are no frames. Must not be NULL.
 *
 * @par Errors
 * Fatal if nothing is attached, or if a parameter is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13, where PyErr_GetRaisedException() is its successor.
 *
 * @pre The three are writable.
 */
void PyErr_Fetch(PyObject **ptype,
                 PyObject **pvalue,
                 PyObject **ptraceback);

/**
 * Puts an error that PyErr_Fetch() took back into the indicator, in the place
 * of what is there.
 *
 * @param type The exception; NULL empties the indicator. The caller gives a
 *     reference away.
 * @param value NULL, or an object that is dropped. The caller gives a reference
 *     away.
 * @param traceback NULL, or an object that is dropped. The caller gives a
 *     reference away.
 *
 * @par Errors
 * Fatal if nothing is attached.
 * @par Blocks
 * As long as the host's `decref` and `raise` hooks do.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13, where PyErr_SetRaisedException() is its successor.
 *
 * @pre Each is NULL, an exception of this library, or an object of the host
 *      with a reference that is the caller's.
 */
void PyErr_Restore(PyObject *type,
                   PyObject *value,
                   PyObject *traceback);

/* ======== 16. Objects, memory, clocks ======== */

/**
 * Takes a reference to an object of the host, through
 * PyTState_ObjectHooks.incref.
 *
 * @param o The object, or NULL, which does nothing. The PyExc_* globals are not
 *     counted.
 *
 * @par Errors
 * Fatal if nothing is attached. Without the hook there is nothing to count.
 * @par Blocks
 * As the hook does.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `o` is NULL, a PyExc_* global or a live object of the host.
 */
void Py_IncRef(PyObject *o);

/**
 * Drops a reference to an object of the host, through
 * PyTState_ObjectHooks.decref.
 *
 * @param o The object, or NULL, which does nothing. The PyExc_* globals are not
 *     counted. Consumed.
 *
 * @par Errors
 * Fatal if nothing is attached. Without the hook there is nothing to count.
 * @par Blocks
 * As the hook does, which may run a destructor of the host.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `o` is NULL, a PyExc_* global or a live object of the host, with a
 *      reference that the caller gives up.
 */
void Py_DecRef(PyObject *o);

/**
 * Allocates memory.
 *
 * @param size Bytes. 0 gives a block of its own, too.
 * @return The block, not initialized; NULL without memory. Freed by
 *     PyMem_RawFree().
 *
 * @par Errors
 * NULL, without an error indicator.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, where the C
 * allocator works.
 * @par Source
 * CPython 3.13.
 */
void *PyMem_RawMalloc(size_t size);

/**
 * Allocates zeroed memory for an array.
 *
 * @param nelem Number of elements. 0 gives a block of its own, too.
 * @param elsize Bytes of one element.
 * @return The block; NULL without memory, or if the product does not fit a
 *     size. Freed by PyMem_RawFree().
 *
 * @par Errors
 * NULL, without an error indicator.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, where the C
 * allocator works.
 * @par Source
 * CPython 3.13.
 */
void *PyMem_RawCalloc(size_t nelem,
                      size_t elsize);

/**
 * Changes the size of a block.
 *
 * @param ptr A block of these functions, or NULL, which makes a new one.
 *     Consumed on success.
 * @param new_size Bytes. 0 gives a block of its own, too.
 * @return The block, perhaps moved, with the old contents up to the smaller
 *     size; NULL without memory, and `ptr` is then as it was.
 *
 * @par Errors
 * NULL, without an error indicator.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, where the C
 * allocator works.
 * @par Source
 * CPython 3.13.
 *
 * @pre `ptr` is NULL or a block of these functions that was not freed.
 */
void *PyMem_RawRealloc(void *ptr,
                       size_t new_size);

/**
 * Frees a block.
 *
 * @param ptr A block of these functions, or NULL, which does nothing. Consumed.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, attached or not. Not async-signal-safe. In a fork child, where the C
 * allocator works.
 * @par Source
 * CPython 3.13.
 *
 * @pre `ptr` is NULL or a block of these functions that was not freed.
 */
void PyMem_RawFree(void *ptr);

/**
 * Reads the monotonic clock. It never goes back, and its zero is arbitrary.
 *
 * @param result Where the time in nanoseconds goes. Must not be NULL.
 * @return 0. The clocks of the supported systems do not fail.
 *
 * @par Errors
 * Fatal if nothing is attached or `result` is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `result` is NULL or writable.
 */
int PyTime_Monotonic(PyTime_t *result);

/**
 * Reads the clock with the highest resolution, which is the monotonic clock
 * here.
 *
 * @param result Where the time in nanoseconds goes. Must not be NULL.
 * @return 0. The clocks of the supported systems do not fail.
 *
 * @par Errors
 * Fatal if nothing is attached or `result` is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `result` is NULL or writable.
 */
int PyTime_PerfCounter(PyTime_t *result);

/**
 * Reads the system's clock: nanoseconds since the beginning of 1970 in UTC. The
 * clock may be set back.
 *
 * @param result Where the time in nanoseconds goes. Must not be NULL.
 * @return 0. The clocks of the supported systems do not fail.
 *
 * @par Errors
 * Fatal if nothing is attached or `result` is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Attached. Not async-signal-safe. In a fork child, after
 * PyOS_AfterFork_Child().
 * @par Source
 * CPython 3.13.
 *
 * @pre `result` is NULL or writable.
 */
int PyTime_Time(PyTime_t *result);

/**
 * Reads the monotonic clock as PyTime_Monotonic() does, without an attached
 * thread state.
 *
 * @param result Where the time in nanoseconds goes. Must not be NULL.
 * @return 0. The clocks of the supported systems do not fail.
 *
 * @par Errors
 * Fatal if `result` is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, at any time. Async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.14.
 *
 * @pre `result` is NULL or writable.
 */
int PyTime_MonotonicRaw(PyTime_t *result);

/**
 * Reads the clock with the highest resolution as PyTime_PerfCounter() does,
 * without an attached thread state.
 *
 * @param result Where the time in nanoseconds goes. Must not be NULL.
 * @return 0. The clocks of the supported systems do not fail.
 *
 * @par Errors
 * Fatal if `result` is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, at any time. Async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.14.
 *
 * @pre `result` is NULL or writable.
 */
int PyTime_PerfCounterRaw(PyTime_t *result);

/**
 * Reads the system's clock as PyTime_Time() does, without an attached thread
 * state.
 *
 * @param result Where the time in nanoseconds goes. Must not be NULL.
 * @return 0. The clocks of the supported systems do not fail.
 *
 * @par Errors
 * Fatal if `result` is NULL.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, at any time. Async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.14.
 *
 * @pre `result` is NULL or writable.
 */
int PyTime_TimeRaw(PyTime_t *result);

/**
 * Converts a time to seconds.
 *
 * @param t Nanoseconds.
 * @return The same in seconds, rounded to the nearest double.
 *
 * @par Errors
 * None.
 * @par Blocks
 * Never.
 * @par Threads
 * Any, at any time. Async-signal-safe. In a fork child, at any time.
 * @par Source
 * CPython 3.13.
 */
double PyTime_AsSecondsDouble(PyTime_t t);

#ifdef __cplusplus
}
#endif

#include "pytstate/macros.h"

#endif /* PYTSTATE_H */
