//! L0: the only user of `libc`: what the library asks of the operating system.
//!
//! A module imports only from those declared above it.

pub(crate) mod atomic;
pub(crate) mod errno;
pub(crate) mod function;
pub(crate) mod mem;
pub(crate) mod tsan;

pub(crate) mod at_exit;
pub(crate) mod engine;

pub(crate) mod clock;
pub(crate) mod env;
pub(crate) mod file;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod ids;
#[cfg(not(loom))]
pub(crate) mod report_file;
#[cfg(not(loom))]
pub(crate) mod signal;
#[cfg(not(loom))]
pub(crate) mod tls;
#[cfg(not(loom))]
pub(crate) mod tss;

#[cfg(not(loom))]
pub(crate) mod task;
#[cfg(not(loom))]
pub(crate) mod thread;

#[cfg(all(test, not(loom)))]
pub(crate) mod testing;
