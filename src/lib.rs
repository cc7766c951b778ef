//! A map of the layers; no logic. Imports go down only:
//! `capi > life > sched > state > probe > sync > control > os`.
#![allow(
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    reason = "types, constants and functions of the C interface carry their C names"
)]
#![cfg_attr(loom, allow(dead_code, reason = "models use parts of the layers"))]

#[cfg(not(loom))]
pub mod capi;
mod control;
#[cfg(not(loom))]
mod life;
mod os;
mod probe;
mod sched;
mod state;
mod sync;

pub use sync::event::PyEvent;
#[cfg(not(loom))]
pub use sync::event_rc::_PyEventRc;
pub use sync::mutex::PyMutex;
pub use sync::once::_PyOnceFlag;
pub use sync::raw_mutex::_PyRawMutex;
#[cfg(not(loom))]
pub use sync::recursive::_PyRecursiveMutex;
pub use sync::rwmutex::_PyRWMutex;
pub use sync::seqlock::_PySeqLock;

#[cfg(not(loom))]
pub use life::guards::view::PyInterpreterView;
#[cfg(not(loom))]
pub use life::report::census::{
    PyTState_ATTACHED, PyTState_DETACHED, PyTState_SUSPENDED, PyTState_ThreadInfo,
};
#[cfg(not(loom))]
pub use life::threads::ensure::PyThreadStateToken;
#[cfg(not(loom))]
pub use sched::late::PyTState_LateAttachHook;
#[cfg(not(loom))]
pub use sched::sections::{
    _Py_CRITICAL_SECTION_INACTIVE, _Py_CRITICAL_SECTION_MASK, _Py_CRITICAL_SECTION_TWO_MUTEXES,
    PyCriticalSection, PyCriticalSection2,
};
#[cfg(not(loom))]
pub use state::config::*;
#[cfg(not(loom))]
pub use state::guard::PyInterpreterGuard;
#[cfg(not(loom))]
pub use state::handle::{_PyThreadHandle, PyThreadHandle};
#[cfg(not(loom))]
pub use state::interp::{
    PyTState_PHASE_ATEXIT, PyTState_PHASE_FINALIZING, PyTState_PHASE_GONE, PyTState_PHASE_RUNNING,
    PyTState_PHASE_WAITING_GUARDS, PyTState_PHASE_WAITING_THREADS,
};
#[cfg(not(loom))]
pub use state::object::{_object, PyObject, PyTState_Callback, PyTState_ObjectHooks};
#[cfg(not(loom))]
pub use state::pending_queue::_Py_pending_call_func;
#[cfg(not(loom))]
pub use state::public::{_is, PyInterpreterState};
#[cfg(not(loom))]
pub use state::public::{_ts, PyThreadState};
