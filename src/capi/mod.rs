//! L5: the only exported functions: argument decoding, one file per header section, nothing else.

mod arg;
pub mod atexit;
pub mod ceval;
pub mod critical_section;
pub mod evaluator;
pub mod event;
pub mod fork;
pub mod guard;
pub mod initconfig;
pub mod interp;
pub mod lock;
pub mod parking_lot;
pub mod pending;
pub mod pyconfig;
pub mod pycore_lock;
pub mod pyerrors;
pub mod pylifecycle;
pub mod pystate;
pub mod pythread;
pub mod pythread_lock;
pub mod pythread_tss;
pub mod pytime;
pub mod pytstate;
pub mod signals;
pub mod sync_points;
pub mod thread_handle;
pub mod trace;
