//! Telling the host of a thread state (made, attached, detaching, cleared) and
//! of a fork.

use crate::os::errno;
use crate::sched::callout::{self, Callout};
use crate::state::hooks::{self, Fork, Told};
use crate::state::thread::ThreadStateRef;

/// Calls the host's function for `what`, if there is one. No lock is held.
#[inline]
pub(crate) fn tell(what: Told, tstate: ThreadStateRef) {
    if let Some((function, arg)) = hooks::get(what) {
        let saved = errno::get();
        // SAFETY: the host's function and argument; no lock held, and the state
        // lives until this returns.
        let run = || unsafe { function(tstate.as_ptr(), arg) };
        callout::run(Callout::StateHook, tstate.as_ptr().cast(), run);
        errno::set(saved);
    }
}

/// Calls the host's function around a fork, if there is one. No lock of the
/// library is held.
pub(crate) fn tell_fork(when: Fork) {
    if let Some((function, arg)) = hooks::of_forks(when) {
        // SAFETY: the host's function and argument; no lock held.
        let run = || unsafe { function(arg) };
        callout::run(Callout::ForkHook, core::ptr::null(), run);
    }
}
