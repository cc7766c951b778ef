//! What attaching and detaching mean for threads that run without a GIL:
//! critical sections are given up and taken back.

use crate::os::errno;
use crate::sched::critical_section;
use crate::state::thread_state::Ts;
use core::sync::atomic::Ordering::Relaxed;

/// After `state` was attached. Keeps errno.
#[inline(never)]
pub(crate) fn attached(state: Ts) {
    if state.critical_section().load(Relaxed) != 0 {
        let saved = errno::get();
        critical_section::resume(state);
        errno::set(saved);
    }
}

/// Before `state` is detached.
#[inline(never)]
pub(crate) fn detaching(state: Ts) {
    if state.critical_section().load(Relaxed) != 0 {
        critical_section::suspend_all(state);
    }
}
