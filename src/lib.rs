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
