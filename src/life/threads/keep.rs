//! Keeping a thread's state between calls (permanent attach): a thread that
//! comes and goes does not make and delete a state each time.
//!
//! A state is kept when the last PyGILState_Release or PyThreadState_Release of
//! a thread that asked for this would delete it: it is detached instead, and
//! stays in the thread's gilstate slot, where the next Ensure finds it. It goes
//! when the OS thread ends, when the thread asks no longer, or with the
//! interpreter: then finalization takes it out of the slot, as any foreign
//! state. Only states of the main interpreter are kept; others would keep their
//! interpreters from being ended.

use crate::life::tstate;
use crate::sched::attach;
use crate::sched::current::{self, current, gilstate, interp_of};
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, Whence};
use core::sync::atomic::Ordering::Relaxed;

/// Whether the last release of `tstate`, which would delete it, keeps it.
pub(crate) fn keeps(tstate: ThreadStateRef) -> bool {
    current::on_thread_end().is_some() && RUNTIME.main_interp() == Some(interp_of(tstate))
}

/// Keeps the states of the calling thread from now on, or no longer: then a
/// kept one is deleted. Returns the previous setting.
pub(crate) fn set(on: bool) -> bool {
    let before = current::on_thread_end().is_some();
    current::set_keeper(on.then_some(end as fn()));
    if before && !on {
        let attached = current();
        // The host attached the state itself, so it is in use.
        if attached.is_some() && attached == gilstate() {
            return before;
        }
        if let Some(tstate) = attached {
            let _ = attach::detach(tstate);
        }
        end();
        if let Some(tstate) = attached {
            attach::attach(tstate);
        }
    }
    before
}

/// Whether no PyGILState_Ensure and no PyThreadState_Ensure of `tstate`, which one
/// of them made, is open.
pub(crate) fn is_idle(tstate: ThreadStateRef) -> bool {
    let made_here = tstate.whence().load(Relaxed) == Whence::CApi as i32;
    let by_ensure = i32::from(tstate.ensure_deletes.load(Relaxed) != 0);
    made_here
        && tstate.ensure_counter.load(Relaxed) == 0
        && tstate.gilstate_counter().load(Relaxed) == by_ensure
}

/// Deletes the state that is kept for the calling thread, which has nothing
/// attached: its end, among others. A state that finalization abandons is left
/// to finalization.
fn end() {
    let Some(tstate) = gilstate().filter(|tstate| is_idle(*tstate)) else {
        return;
    };
    if attach::attach_unless_over(tstate) {
        let _ = tstate::clear(tstate);
        tstate::delete_current(tstate);
    }
}
