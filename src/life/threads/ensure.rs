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

use super::keep;
use crate::life::guards::open::{close, open_view};
use crate::life::guards::view::PyInterpreterView;
use crate::life::tstate::{self, Origin};
use crate::os::thread;
use crate::probe::{self, Point};
use crate::sched::attach;
use crate::sched::callout::{self, Callout, Ends};
use crate::sched::current::{current, gilstate};
use crate::state::guard::InterpGuard;
use crate::state::interp::Interp;
use crate::state::thread::{ThreadStateRef, status};
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

fn count(tstate: ThreadStateRef, by: i32) -> i32 {
    let value = tstate.ensure_counter.load(Relaxed) + by;
    tstate.ensure_counter.store(value, Relaxed);
    value
}

/// Attaches a state of the interpreter that `guard` holds. `None`: no memory,
/// or the interpreter is gone in spite of the guard; nothing was changed.
pub(crate) fn ensure(guard: InterpGuard) -> Option<*mut PyThreadStateToken> {
    probe::point(Point::EnsureBegin);
    let interp = guard.interp()?;
    guard.note_use();
    let token = ensure_in(interp)?;
    probe::point(Point::EnsureDone);
    Some(token)
}

/// Does what [`ensure`] does, with a new guard, which the state keeps until the
/// outermost Release unless it owns one already (S-G8-25).
pub(crate) fn ensure_from_view(view: &PyInterpreterView) -> Option<*mut PyThreadStateToken> {
    let guard = open_view(view).ok()?;
    let token = ensure(guard);
    let tstate = current().filter(|tstate| tstate.ensure_guard.load(Relaxed).is_null());
    match tstate {
        Some(tstate) if token.is_some() => {
            guard.record_taker(Some(tstate));
            tstate.ensure_guard.store(guard.as_ptr().cast(), Relaxed);
        }
        _ => {
            let open = close(guard);
            debug_assert!(open);
        }
    }
    token
}

fn ensure_in(interp: Interp) -> Option<*mut PyThreadStateToken> {
    let belongs = |tstate: &ThreadStateRef| tstate.interp_ptr() == interp.as_ptr();
    let attached = current();
    if let Some(tstate) = attached.filter(belongs) {
        count(tstate, 1);
        return Some(tstate.as_ptr().cast());
    }
    let tstate = match gilstate().filter(belongs) {
        Some(tstate) => tstate,
        None => {
            let tstate = tstate::new_bound(interp, Origin::C_API).ok()?;
            tstate.ensure_deletes.store(1, Relaxed);
            tstate
        }
    };
    let token = attached.map_or(sentinel(), |before| {
        let _ = attach::detach(before);
        before.as_ptr().cast()
    });
    // Before attaching, which may hang if the guard is closed (S-G8-23).
    count(tstate, 1);
    attach::attach(tstate);
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

/// Reverses one Ensure (S-G8-26..30).
///
/// # Safety
/// `token` came from an Ensure on this thread.
pub(crate) unsafe fn release(token: *mut PyThreadStateToken) -> Result<(), ReleaseError> {
    probe::point(Point::ReleaseBegin);
    let tstate = current().ok_or(ReleaseError::NotAttached)?;
    let left = tstate.ensure_counter.load(Relaxed) - 1;
    if left < 0 {
        return Err(ReleaseError::Unbalanced);
    }
    let made = left == 0 && tstate.ensure_deletes.load(Relaxed) != 0;
    let before = if token == sentinel() {
        None
    } else {
        // SAFETY: the caller's contract: a state that this thread had attached.
        let before = unsafe { ThreadStateRef::from_ptr(token.cast()) };
        Some(
            before
                .filter(|&before| token_matches(before, tstate, made))
                .ok_or(ReleaseError::WrongToken)?,
        )
    };
    count(tstate, -1);
    if left == 0 {
        release_last(tstate, before, made)?;
    } else if before.is_none() {
        let _ = attach::detach(tstate);
    }
    probe::point(Point::ReleaseDone);
    Ok(())
}

/// Whether the Ensure that is undone can have found `before` attached: itself,
/// or, when it made `tstate`, another live state of this thread.
fn token_matches(before: ThreadStateRef, tstate: ThreadStateRef, made: bool) -> bool {
    if !made || before == tstate {
        return !made && before == tstate;
    }
    before.thread_id() == thread::ident() && !before.has(status::DELETED)
}

fn release_last(
    tstate: ThreadStateRef,
    before: Option<ThreadStateRef>,
    made: bool,
) -> Result<(), ReleaseError> {
    // A state that was kept may come from PyGILState_Ensure.
    let unused = made || (before.is_none() && keep::is_idle(tstate));
    let deletes = unused && !keep::keeps(tstate);
    if deletes {
        if let Some(callout) = callout::forbids(Ends::State(tstate)) {
            return Err(ReleaseError::Needed(callout));
        }
        // Destructors may nest Ensure (S-G8-28).
        count(tstate, 1);
        let _ = tstate::clear(tstate);
        count(tstate, -1);
    }
    let guard = tstate.ensure_guard.swap(ptr::null_mut(), Relaxed);
    // SAFETY: NULL or a guard that the state owned.
    let mut guard = unsafe { InterpGuard::from_ptr(guard.cast()) };
    let interp = tstate.interp_ptr();
    if deletes {
        tstate::delete_current(tstate);
    } else {
        let _ = attach::detach(tstate);
    }
    // The guard is closed last, so that destructors run and `tstate` itself is attached again under
    // its protection (S-G8-29); but attaching a state of another interpreter may never return
    // (S-G8-34).
    if before.is_some_and(|before| before.interp_ptr() != interp) {
        close_owned(guard.take());
    }
    if let Some(before) = before {
        attach::attach(before);
    }
    close_owned(guard);
    Ok(())
}

fn close_owned(guard: Option<InterpGuard>) {
    if let Some(guard) = guard {
        let open = close(guard);
        debug_assert!(open);
    }
}
