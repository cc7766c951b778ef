//! L5: the exported functions, and nothing else: each one decodes its arguments
//! (`arg`), calls the core, and encodes the outcome. There is one file for each
//! header of CPython, and one for each group of our own calls.
//!
//! Modules are declared in import order: each one uses only those above it.

mod arg;
mod ret;
pub mod atexit;
pub mod binding;
pub mod blocking;
pub mod pystate;
pub mod ceval;
pub mod critical_section;
pub mod evaluator;
pub mod pytime;
pub mod pythread_lock;
pub mod lock;
pub mod event;
pub mod fork;
pub mod gilstate;
pub mod guard;
pub mod initconfig;
pub mod interp;
pub mod object;
pub mod parking_lot;
pub mod pending;
pub mod pyconfig;
pub mod pycore_lock;
pub mod pyerrors;
pub mod pyerrors_saved;
pub mod pylifecycle;
pub mod pymem;
pub mod preconfig;
pub mod pythread;
pub mod pythread_tss;
pub mod pytstate;
pub mod qsbr;
pub mod recursion;
pub mod runtimes;
pub mod signals;
pub mod stop_the_world;
pub mod sync_points;
pub mod thread_handle;
pub mod trace;
pub mod watchdog;
