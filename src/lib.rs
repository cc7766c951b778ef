//! A map of the layers; no logic. Imports go down only:
//! `capi > life > sched > state > (sync, probe) > os`.
#![allow(dead_code, reason = "the lower layers land before what uses them")]

mod os;
mod probe;
mod sync;

pub use sync::event::PyEvent;
pub use sync::mutex::PyMutex;
