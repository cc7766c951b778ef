//! The eval breaker: the bits by which a running thread is asked to do something
//! at its next poll (`sched::poll` serves them).
//!
//! Setting a bit is one atomic or, from any thread and from a signal handler;
//! polling costs the host one relaxed load when nothing is pending.
//!
//! Mirrors CPython 3.13 `_Py_set_eval_breaker_bit` (pycore_ceval.h); bit values
//! as there.

use crate::state::hooks::{self, Told};
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};

pub(crate) const GIL_DROP_REQUEST: usize = 1 << 0;
pub(crate) const SIGNALS_PENDING: usize = 1 << 1;
pub(crate) const CALLS_TO_DO: usize = 1 << 2;
pub(crate) const ASYNC_EXCEPTION: usize = 1 << 3;
pub(crate) const PLEASE_STOP: usize = 1 << 5;
/// Calls wait for this thread (`sched::thread_calls`). In CPython the bit asks
/// for a merge of reference counts, of which this library has none.
pub(crate) const THREAD_CALLS: usize = 1 << 6;

/// Sets a bit on `state`.
pub(crate) fn set(tstate: ThreadStateRef, bit: usize) {
    let before = tstate.eval_breaker().fetch_or(bit, AcqRel);
    if before & bit == 0 {
        if let Some((function, arg)) = hooks::get(Told::Request) {
            // SAFETY: the host's function and argument. It may be called in a
            // signal handler and with locks held, which its contract says.
            unsafe { function(tstate.as_ptr(), arg) };
        }
    }
}

/// Clears a bit on `state`; free when it is not set.
pub(crate) fn clear(tstate: ThreadStateRef, bit: usize) {
    if is_set(tstate, bit) {
        tstate.eval_breaker().fetch_and(!bit, AcqRel);
    }
}

/// Whether a bit is set.
#[inline(always)]
pub(crate) fn is_set(tstate: ThreadStateRef, bit: usize) -> bool {
    tstate.eval_breaker().load(Relaxed) & bit != 0
}
