//! L5: the only exported functions: argument decoding, one file per header section, nothing else.

mod arg;
pub mod event;
pub mod lock;
pub mod parking_lot;
pub mod pycore_lock;
pub mod pythread_lock;
pub mod pytime;
pub mod sync_points;
pub mod trace;
