//! Attaching through a guard or a view, and undoing it (S-G8-20..36).
//!
//! A token is the state that Ensure found attached, or the sentinel when there
//! was none. Nesting is counted in the state: `ensure_counter`. States that
//! Ensure made carry `ensure_deletes`; the last Release deletes them.
//!
//! LIFE-4: a guard stays open until the state that it protects is detached for
//! the last time or deleted; until then no attach of that state is late.
//!
//! Mirrors CPython 3.15 `PyThreadState_Ensure`, `PyThreadState_EnsureFromView`,
//! `PyThreadState_Release` (pystate.c).

use crate::life::guards::{self, Guard, PyInterpreterView};
use crate::life::keep;
use crate::life::tstate::{self, Origin};
use crate::os::thread;
use crate::probe::{self, Point};
use crate::sched::attach;
use crate::sched::callout::{self, Callout, Ends};
use crate::sched::current::{current, gilstate};
use crate::state::interp::Interp;
use crate::state::thread_state::{Ts, status};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// What PyThreadState_Ensure() returns and PyThreadState_Release() takes; the
/// pointer is never dereferenced.
pub type PyThreadStateToken = core::ffi::c_void;

/// Stands for "nothing was attached before" in a token (S-G8-22).
static SENTINEL: u64 = 0;

fn sentinel() -> *mut PyThreadStateToken {
    (&raw const SENTINEL).cast_mut().cast()
}

fn count(state: Ts, by: i32) -> i32 {
    let value = state.ensure_counter.load(Relaxed) + by;
    state.ensure_counter.store(value, Relaxed);
    value
}

/// Attaches a state of the interpreter that `guard` holds. `None`: no memory,
/// or the interpreter is gone in spite of the guard; nothing was changed.
pub(crate) fn ensure(guard: Guard) -> Option<*mut PyThreadStateToken> {
    probe::point(Point::EnsureBegin);
    let interp = guard.interp()?;
    guard.note_use();
    let token = ensure_in(interp)?;
    probe::point(Point::EnsureDone);
    Some(token)
}

/// As [`ensure`], through a guard of its own, which the state keeps until the
/// outermost Release unless it owns one already (S-G8-25).
pub(crate) fn ensure_from_view(view: &PyInterpreterView) -> Option<*mut PyThreadStateToken> {
    let guard = guards::open_view(view).ok()?;
    let token = ensure(guard);
    let state = current().filter(|state| state.ensure_guard.load(Relaxed).is_null());
    match state {
        Some(state) if token.is_some() => {
            guard.take(Some(state));
            state.ensure_guard.store(guard.as_ptr().cast(), Relaxed);
        }
        _ => {
            let open = guards::close(guard);
            debug_assert!(open);
        }
    }
    token
}

fn ensure_in(interp: Interp) -> Option<*mut PyThreadStateToken> {
    let belongs = |state: &Ts| state.interp_ptr() == interp.as_ptr();
    let attached = current();
    if let Some(state) = attached.filter(belongs) {
        count(state, 1);
        return Some(state.as_ptr().cast());
    }
    let state = match gilstate().filter(belongs) {
        Some(state) => state,
        None => {
            let state = tstate::new_bound(interp, Origin::C_API).ok()?;
            state.ensure_deletes.store(1, Relaxed);
            state
        }
    };
    let token = attached.map_or(sentinel(), |before| {
        let _ = attach::detach(before);
        before.as_ptr().cast()
    });
    // Before attaching, which may hang if the guard is closed (S-G8-23).
    count(state, 1);
    attach::attach(state);
    Some(token)
}

/// Why Release failed: all fatal (S-G8-26, S-G8-30).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseError {
    NotAttached,
    Unbalanced,
    /// The token is not the one that the matching Ensure returned.
    WrongToken,
    /// It would delete the state that a function of the host was called with.
    Needed(Callout),
}

/// Undoes one Ensure (S-G8-26..30).
///
/// # Safety
/// `token` came from an Ensure on this thread.
pub(crate) unsafe fn release(token: *mut PyThreadStateToken) -> Result<(), ReleaseError> {
    probe::point(Point::ReleaseBegin);
    let state = current().ok_or(ReleaseError::NotAttached)?;
    let left = state.ensure_counter.load(Relaxed) - 1;
    if left < 0 {
        return Err(ReleaseError::Unbalanced);
    }
    let made = left == 0 && state.ensure_deletes.load(Relaxed) != 0;
    let before = if token == sentinel() {
        None
    } else {
        // SAFETY: the caller's contract: a state that this thread had attached.
        let before = unsafe { Ts::from_ptr(token.cast()) };
        Some(before.filter(|&before| fits(before, state, made)).ok_or(ReleaseError::WrongToken)?)
    };
    count(state, -1);
    if left == 0 {
        release_last(state, before, made)?;
    } else if before.is_none() {
        let _ = attach::detach(state);
    }
    probe::point(Point::ReleaseDone);
    Ok(())
}

/// Whether the Ensure that is undone can have found `before` attached: itself,
/// or, when it made `state`, another live state of this thread.
fn fits(before: Ts, state: Ts, made: bool) -> bool {
    if !made || before == state {
        return !made && before == state;
    }
    before.thread_id() == thread::ident() && !before.has(status::DELETED)
}

fn release_last(state: Ts, before: Option<Ts>, made: bool) -> Result<(), ReleaseError> {
    // A state that was kept may come from PyGILState_Ensure.
    let unused = made || (before.is_none() && keep::is_idle(state));
    let deletes = unused && !keep::keeps(state);
    if deletes {
        if let Some(callout) = callout::forbids(Ends::State(state)) {
            return Err(ReleaseError::Needed(callout));
        }
        // Destructors may nest Ensure (S-G8-28).
        count(state, 1);
        let _ = tstate::clear(state);
        count(state, -1);
    }
    let guard = state.ensure_guard.swap(ptr::null_mut(), Relaxed);
    // SAFETY: NULL or a guard that the state owned.
    let mut guard = unsafe { Guard::from_ptr(guard.cast()) };
    let interp = state.interp_ptr();
    if deletes {
        tstate::delete_current(state);
    } else {
        let _ = attach::detach(state);
    }
    // Last, so that destructors run and `state` itself is attached again under
    // its protection (S-G8-29); but a foreign state may wait for ever (S-G8-34).
    if before.is_some_and(|before| before.interp_ptr() != interp) {
        close_owned(guard.take());
    }
    if let Some(before) = before {
        attach::attach(before);
    }
    close_owned(guard);
    Ok(())
}

fn close_owned(guard: Option<Guard>) {
    if let Some(guard) = guard {
        let open = guards::close(guard);
        debug_assert!(open);
    }
}
