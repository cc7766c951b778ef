//! Opening and closing guards.

use super::backoff::{self, Admission};
use super::view::PyInterpreterView;
use crate::os::tsan;
use crate::probe::Point;
use crate::probe::trace::{self, Event, Mark};
use crate::sched::current::{self, current, interp_of};
use crate::state::guard::{self, Closing, InterpGuard};
use crate::state::guard_count::Close;
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::lot;
use core::ptr;

/// Why no guard was opened.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardError {
    NoMemory,
    /// The interpreter is unknown, gone, or has committed its finalization.
    Unavailable,
}

/// Opens a guard on the interpreter of the attached state.
pub(crate) fn open_current(tstate: ThreadStateRef) -> Result<InterpGuard, GuardError> {
    open(|| Some(interp_of(tstate)))
}

/// Opens a guard on the interpreter that `view` names. Lookup and acquisition
/// are one step with respect to the interpreter's finalization (S-G8-03).
pub(crate) fn open_view(view: &PyInterpreterView) -> Result<InterpGuard, GuardError> {
    open(|| view.look_up())
}

/// `find` is called under the head lock.
fn open(find: impl Fn() -> Option<Interp>) -> Result<InterpGuard, GuardError> {
    let guard = InterpGuard::new_block().ok_or(GuardError::NoMemory)?;
    loop {
        let head = RUNTIME.lock();
        let found = find().map(|interp| (interp, backoff::admission(interp, &head)));
        match found {
            Some((interp, Admission::Later)) => {
                drop(head);
                backoff::wait(interp);
            }
            Some((interp, Admission::Granted)) if interp.guards.open() => {
                guard.open(interp, current(), current::take_source_location(), &head);
                drop(head);
                trace::at(Point::GuardAcquired, Event::At(Mark::GuardOpen), || interp.id());
                return Ok(guard);
            }
            _ => {
                guard.put_back(&head);
                return Err(GuardError::Unavailable);
            }
        }
    }
}

/// Closes a guard; closing the last one wakes the thread that finalizes the
/// interpreter. Returns false when the guard was closed before.
#[must_use]
pub(crate) fn close(guard: InterpGuard) -> bool {
    if let Some(interp) = guard.interp() {
        tsan::release(count_key(interp));
    }
    let head = RUNTIME.lock();
    let interp = guard.interp();
    let closed = match (guard.close(&head), interp) {
        (Closing::ClosedBefore, _) => return false,
        (Closing::Closed, Some(interp)) => interp.guards.close(),
        _ => Close::Open,
    };
    drop(head);
    if let (Close::Last, Some(interp)) = (closed, interp) {
        lot::unpark_all(count_key(interp));
    }
    trace::at(Point::GuardClosed, Event::At(Mark::GuardClose), || {
        interp.map_or(-1, |interp| interp.id())
    });
    closed != Close::Unbalanced
}

/// Key in the lot on which finalization waits for the last guard.
pub(crate) fn count_key(interp: Interp) -> *const () {
    ptr::from_ref(&interp.guards.value).cast()
}

/// Gives back the guards of the calling thread, which never runs again. The
/// guards that its states own (PyThreadState_EnsureFromView) are closed. The
/// guards that it opened, and was the last thread to attach through, are
/// dropped. A guard that it opened and may have handed to another thread stays
/// open.
pub(crate) fn give_back_own() {
    while let Some(owned) = guard::take_owned() {
        let open = close(owned);
        debug_assert!(open);
    }
    while let Some(interp) = guard::drop_one_used_by_caller() {
        if let Some(interp) = interp {
            lot::unpark_all(count_key(interp));
        }
    }
}
