//! Running the calls that are left when an interpreter is finalized.

use crate::sched::current::{interp_of, may_handle_signals};
use crate::sched::pending::make_pending_calls;
use crate::sched::raise;
use crate::sched::stw::{self, Scope};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::Relaxed;

/// Runs calls until the queues are empty; failures are reported and ignored
/// (S-PC-12). Finalization waits neither for a call that another thread runs nor
/// for the one that it was called from, so it takes the queues over.
pub(crate) fn finish(tstate: ThreadStateRef) {
    let interp = interp_of(tstate);
    loop {
        let on_main = may_handle_signals(tstate);
        let queued = interp.pending.len() != 0 || (on_main && RUNTIME.main_pending.len() != 0);
        if !queued {
            return;
        }
        take_over(interp, tstate);
        if make_pending_calls(tstate).is_err() {
            raise::report_and_clear("in a pending call during finalization");
        }
    }
}

/// Ends the pass of another thread of `interp`, or of a call that `tstate` is
/// in: once that call returns, its pass runs no other.
fn take_over(interp: Interp, tstate: ThreadStateRef) {
    let handling = &interp.pending.handling;
    if handling.load(Relaxed).is_null() {
        return;
    }
    // With a GIL no other thread is inside the queue. Without one a thread that
    // stands is not: it takes a call out and runs it without a poll between.
    let stops = tstate.gil.is_none(Relaxed) && !stw::is_requester();
    if stops {
        stw::stop(Scope::One(interp));
    }
    interp.pending.passes.fetch_add(1, Relaxed);
    interp.pending.unclaim();
    if stops {
        stw::start(Scope::One(interp));
    }
}
