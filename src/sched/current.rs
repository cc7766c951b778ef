//! The current state of the calling thread and its interpreter.

use crate::sched::fatal::fatal;
pub(crate) use crate::sched::this_thread::{
    current, gilstate, leave_gilstate_slot, leave_source_location, on_thread_end, own_handle,
    set_current, set_keeper, set_own_handle, take_source_location,
};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;

/// The interpreter of a live state.
#[inline(always)]
pub(crate) fn interp_of(tstate: ThreadStateRef) -> Interp {
    match Interp::of(tstate) {
        Some(interp) => interp,
        None => fatal(
            c"thread state",
            format_args!("no interpreter belongs to thread state {:p}", tstate.as_ptr()),
        ),
    }
}

/// The id of the interpreter the calling thread is attached to, for the trace; -1 if none.
pub(crate) fn traced_interp() -> i64 {
    current().map_or(-1, |tstate| interp_of(tstate).id())
}

/// Whether the caller is the main OS thread and `tstate` is in the main
/// interpreter: the only place where signals are handled (S-PC-13).
pub(crate) fn may_handle_signals(tstate: ThreadStateRef) -> bool {
    RUNTIME.on_main_thread()
        && RUNTIME.main_interp().map(Interp::as_ptr) == Some(tstate.interp_ptr())
}
