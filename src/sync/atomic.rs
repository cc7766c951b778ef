//! The atomics that `sync` and `state` use: the seam of `os::atomic` under its public name.

pub(crate) use crate::os::atomic::*;
