//! L0: the only user of `libc`: what the library asks of the operating system.

pub(crate) mod errno;
pub(crate) mod file;
