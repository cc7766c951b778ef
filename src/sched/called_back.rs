//! Calling a function of the host that must leave attached what it found.

use crate::sched::current::current;
use crate::sched::fatal;
use crate::state::thread_state::Ts;
use core::ffi::CStr;

/// Runs `call`, which calls a host's function of the kind `name`. The function
/// may detach and attach; returning with another state attached than it was
/// called with, or with none, is fatal: the caller goes on with that state.
pub(crate) fn keeping_state(name: &CStr, call: impl FnOnce()) {
    let before = current();
    call();
    if current() != before {
        let before = before.map_or(core::ptr::null_mut(), Ts::as_ptr);
        fatal::fatal(
            name,
            format_args!(
                "it returned without the thread state that it was called with ({before:p}) attached"
            ),
        )
    }
}
