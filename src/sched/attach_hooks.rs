//! What attaching and detaching mean for threads that run without a GIL:
//! critical sections are given up and taken back, and reclamation need not wait
//! for who is detached (S-TS-11, S-TS-12).

use crate::os::errno;
use crate::sched::{critical_section, qsbr};
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::Relaxed;

/// After `state` was attached. Keeps errno.
#[inline(always)]
pub(crate) fn attached(tstate: ThreadStateRef) {
    qsbr::online(tstate);
    if tstate.critical_section().load(Relaxed) != 0 {
        resume_sections(tstate);
    }
}

#[cold]
fn resume_sections(tstate: ThreadStateRef) {
    let saved = errno::get();
    critical_section::resume(tstate);
    errno::set(saved);
}

/// Before `state` is detached.
#[inline(always)]
pub(crate) fn detaching(tstate: ThreadStateRef) {
    if tstate.critical_section().load(Relaxed) != 0 {
        critical_section::suspend_all(tstate);
    }
    qsbr::offline(tstate);
}
