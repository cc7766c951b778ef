//! L0: the only user of `libc`: what the library asks of the operating system.

pub(crate) mod at_exit;
pub(crate) mod atomic;
pub(crate) mod clock;
pub(crate) mod engine;
pub(crate) mod env;
pub(crate) mod errno;
pub(crate) mod file;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod function;
pub(crate) mod futex;
pub(crate) mod ids;
pub(crate) mod mem;
#[cfg(not(loom))]
pub(crate) mod report_file;
#[cfg(not(loom))]
pub(crate) mod signal;
#[cfg(not(loom))]
pub(crate) mod task;
#[cfg(all(test, not(loom)))]
pub(crate) mod testing;
#[cfg(not(loom))]
pub(crate) mod thread;
#[cfg(not(loom))]
pub(crate) mod tls;
pub(crate) mod tsan;
#[cfg(not(loom))]
pub(crate) mod tss;
