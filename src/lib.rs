//! A map of the layers; no logic. Imports go down only:
//! `capi > life > sched > state > (sync, probe) > os`.
#![allow(dead_code, reason = "the lower layers land before what uses them")]

#[cfg(not(loom))]
pub mod capi;
mod os;
mod probe;
mod sync;

pub use sync::event::PyEvent;
pub use sync::mutex::PyMutex;
pub use sync::once::_PyOnceFlag;
pub use sync::raw_mutex::_PyRawMutex;
#[cfg(not(loom))]
pub use sync::recursive::_PyRecursiveMutex;
pub use sync::rwmutex::_PyRWMutex;
pub use sync::seqlock::_PySeqLock;
