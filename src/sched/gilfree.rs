//! What attaching and detaching mean for threads that run without a GIL:
//! critical sections are given up and taken back.

use crate::state::thread_state::Ts;

/// After `state` was attached.
#[cold]
pub(crate) fn attached(_state: Ts) {}

/// Before `state` is detached.
#[cold]
pub(crate) fn detaching(_state: Ts) {}
