//! What attaching and detaching mean for threads that run without a GIL:
//! critical sections are given up and taken back, and reclamation need not wait
//! for who is detached (S-TS-11, S-TS-12).

use crate::os::errno;
use crate::sched::{critical_section, qsbr};
use crate::state::thread_state::Ts;
use core::sync::atomic::Ordering::Relaxed;

/// After `state` was attached. Keeps errno.
#[inline(always)]
pub(crate) fn attached(state: Ts) {
    qsbr::online(state);
    if state.critical_section().load(Relaxed) != 0 {
        resume_sections(state);
    }
}

#[cold]
fn resume_sections(state: Ts) {
    let saved = errno::get();
    critical_section::resume(state);
    errno::set(saved);
}

/// Before `state` is detached.
#[inline(always)]
pub(crate) fn detaching(state: Ts) {
    if state.critical_section().load(Relaxed) != 0 {
        critical_section::suspend_all(state);
    }
    qsbr::offline(state);
}
