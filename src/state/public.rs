//! The types of states that C sees. They name each other, so they are here,
//! below what the library knows of either.

use crate::state::object::{PyObject, PyTState_Callback};
use crate::sync::event::PyEvent;
use core::ffi::{c_int, c_ulong, c_void};

/// An interpreter state (opaque in C; the block is `state::interp::InterpBlock`).
pub struct _is {
    _opaque: [u8; 0],
}

/// An interpreter: a group of thread states that are finalized together, with
/// a GIL of its own, a shared one, or none. Opaque.
pub type PyInterpreterState = _is;

/// A thread state (CPython's `struct _ts`; `PyThreadState` in C).
///
/// Fields that CPython documents or that extensions are known to read. Members
/// that other threads also touch are read and written by the library with
/// atomic operations; a host reads them as snapshots.
#[repr(C)]
pub struct _ts {
    /// Newer neighbour in the interpreter's list (head lock).
    pub prev: *mut _ts,
    /// Older neighbour in the interpreter's list (head lock).
    pub next: *mut _ts,
    /// Owning interpreter; constant.
    pub interp: *mut PyInterpreterState,
    /// Pending events: bits 0 to 7 as in CPython 3.13.
    pub eval_breaker: usize,
    /// DETACHED 0, ATTACHED 1, SUSPENDED 2, SHUTTING_DOWN 3.
    pub state: c_int,
    /// Origin code: 0 unknown, 1 init, 2 fini, 3 threading, 4 C API, 5 exec,
    /// 6 daemon thread.
    pub _whence: c_int,
    /// PyGILState nesting; starts at 1, which protects the state from being
    /// deleted by PyGILState_Release().
    pub gilstate_counter: c_int,
    /// 0: the runtime waits for this state; 1: it does not. The host may write
    /// it while attached; waiters on other threads read it with relaxed loads.
    pub is_daemon: c_int,
    /// 1 while it holds a GIL.
    pub holds_gil: c_int,
    /// 1 while it waits for a GIL.
    pub gil_requested: c_int,
    /// Unique in the interpreter, from 1 up, never reused.
    pub id: u64,
    /// Identity of the bound OS thread; 0 before it is bound. That of a started
    /// thread is there when PyThreadHandle_Start() returns.
    pub thread_id: c_ulong,
    /// Kernel id of the bound OS thread; 0 before it is bound.
    pub native_thread_id: c_ulong,
    /// The host's per-thread dictionary, or NULL.
    pub dict: *mut PyObject,
    /// Pending asynchronous exception, or NULL.
    pub async_exc: *mut PyObject,
    /// The exception of the error indicator, or NULL.
    pub current_exception: *mut PyObject,
    /// Top of the critical-section stack (tagged pointer), 0 when empty.
    pub critical_section: usize,
    /// Called exactly once, at the end of PyThreadState_Clear(), by the thread
    /// that clears, attached; the state is still linked and valid then. The hook
    /// may not end that state, its interpreter or the runtime (docs/shutdown.md).
    pub on_delete: PyTState_Callback,
    /// Argument of `on_delete`.
    pub on_delete_data: *mut c_void,
    /// Set once, right after `on_delete`; see PyTState_GetExitEvent().
    pub exit_event: *mut PyEvent,
}

/// What the runtime knows of one thread in one interpreter. A thread attaches
/// its state in order to run, and detaches it in order to wait.
pub type PyThreadState = _ts;
