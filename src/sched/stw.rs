//! Stop-the-world pauses, of one interpreter or of all (S-STW).
//!
//! A pause suspends the state word of every other thread state in its scope:
//! detached ones at once, attached ones at their next poll or detach. That is
//! the same with and without a GIL: who takes the GIL must still win the word.
//!
//! Lock order: STOP_GATE, then the scope's mutex, then (shortly) the head lock.
//! The gate is held for reading by pauses of one interpreter and for writing
//! by a pause of all (S-STW-01); both waits detach the requester.
//!
//! Mirrors CPython 3.14 `stop_the_world`, `start_the_world` (pystate.c).

use crate::os::clock::Deadline;
use crate::os::futex;
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::breaker::{self, PLEASE_STOP};
use crate::sched::current::{current, interp_of, traced_interp};
use crate::sched::{attach, gil};
use crate::state::interp::{Interp, StopScope};
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::{ThreadState, Ts};
use crate::state::word;
use crate::sync::lot;
use crate::sync::mutex::PyMutex;
use crate::sync::rank::Guard;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How long the requester waits before it looks again at detached states.
const RESCAN_NS: i64 = 1_000_000;

/// What a pause covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every interpreter.
    All,
    /// One interpreter.
    One(Interp),
}

/// One pause at a time may be requested or held.
pub(crate) static STOP_GATE: PyMutex = PyMutex::new();

impl Scope {
    fn data(&self) -> &StopScope {
        match self {
            Scope::All => &RUNTIME.stop,
            Scope::One(interp) => &interp.stop,
        }
    }

    /// Calls `visit` for every state in scope but the requester's.
    fn others(&self, head: &Guard<'_>, mut visit: impl FnMut(Ts)) {
        let requester = self.data().requester.load(Relaxed);
        for interp in RUNTIME.interps(head) {
            if *self != Scope::All && *self != Scope::One(interp) {
                continue;
            }
            for state in list::iter(interp, head) {
                if state.as_raw() != requester {
                    visit(state);
                }
            }
        }
    }
}

/// Stops every other thread state in scope. Attached, detached or without a
/// state; an attached caller stays attached. Pauses do not nest.
pub(crate) fn stop(scope: Scope) {
    trace::at(Point::StwRequest, Event::Begin(Span::StopTheWorld), traced_interp);
    STOP_GATE.lock(&mut Detach::new());
    let data = scope.data();
    let head = RUNTIME.lock();
    data.requester.store(current().map_or(core::ptr::null_mut(), Ts::as_raw), Relaxed);
    data.requested.store(1, Release);
    let mut count = 0;
    scope.others(&head, |_| count += 1);
    data.countdown.store(count, Relaxed);
    drop(head);
    loop {
        let seen = data.progress.load(Acquire);
        if suspend_detached(scope) {
            break;
        }
        let _ = futex::wait(&data.progress, seen, Deadline::after(RESCAN_NS));
    }
    data.set_stopped(true);
    probe::point(Point::StwStopped);
}

/// Suspends what is detached and asks what is attached. True when all stand.
fn suspend_detached(scope: Scope) -> bool {
    let data = scope.data();
    let head = RUNTIME.lock();
    let mut suspended = 0;
    scope.others(&head, |state| {
        if word::suspend(state.word()) {
            suspended += 1;
        } else if state.word().load(Relaxed) == word::ATTACHED {
            breaker::set(state, PLEASE_STOP);
        }
    });
    let left = data.countdown.load(Relaxed) - suspended;
    data.countdown.store(left, Relaxed);
    drop(head);
    left <= 0
}

/// Ends the pause.
pub(crate) fn start(scope: Scope) {
    let data = scope.data();
    let head = RUNTIME.lock();
    data.set_stopped(false);
    data.requested.store(0, Release);
    scope.others(&head, |state| {
        breaker::clear(state, PLEASE_STOP);
        if word::resume(state.word()) {
            lot::unpark_all(state.word_key());
        }
    });
    data.requester.store(core::ptr::null_mut(), Relaxed);
    drop(head);
    let _ = STOP_GATE.unlock();
    trace::at(Point::StwResumed, Event::End(Span::StopTheWorld), traced_interp);
}

/// Whether a state that is linked now must begin suspended (S-TS-02).
pub(crate) fn begins_suspended(interp: Interp, _head: &Guard<'_>) -> bool {
    RUNTIME.stop.requested.load(Relaxed) != 0 || interp.stop.requested.load(Relaxed) != 0
}

/// Counts a state out that leaves its list during a request, unless it stands
/// already (S-STW-07). Head lock held.
pub(crate) fn count_out(state: Ts, head: &Guard<'_>) {
    if state.word().load(Relaxed) == word::SUSPENDED {
        return;
    }
    let interp = interp_of(state);
    for data in [&RUNTIME.stop, &interp.stop] {
        let exempt: *mut ThreadState = data.requester.load(Relaxed);
        if data.requested.load(Relaxed) != 0 && exempt != state.as_raw() {
            count_down(data, head);
        }
    }
}

fn count_down(data: &StopScope, _head: &Guard<'_>) {
    let left = data.countdown.load(Relaxed) - 1;
    data.countdown.store(left, Relaxed);
    if left <= 0 {
        data.progress.fetch_add(1, Release);
        futex::wake(&data.progress, 1);
    }
}

/// Serves a stop request at a poll: lets go, stands until the pause is over,
/// and attaches again.
pub(crate) fn suspend_if_asked(state: Ts) {
    let interp = interp_of(state);
    let head = RUNTIME.lock();
    breaker::clear(state, PLEASE_STOP);
    let data =
        [&RUNTIME.stop, &interp.stop].into_iter().find(|data| data.requested.load(Relaxed) != 0);
    let exempt = data.is_some_and(|data| data.requester.load(Relaxed) == state.as_raw());
    drop(head);
    if data.is_none() || exempt {
        return;
    }
    stand(state);
    attach::attach(state);
}

/// ATTACHED to SUSPENDED, if the request is still there when the thread has
/// let go; else to DETACHED.
fn stand(state: Ts) {
    if state.critical_section().load(Relaxed) != 0 || !state.qsbr.load(Relaxed).is_null() {
        crate::sched::gilfree::detaching(state);
    }
    state.stamp();
    let interp = interp_of(state);
    crate::sched::current::set_current(None);
    state.holds_gil().store(0, Relaxed);
    let head = RUNTIME.lock();
    let data =
        [&RUNTIME.stop, &interp.stop].into_iter().find(|data| data.requested.load(Relaxed) != 0);
    match data {
        Some(data) => {
            word::suspend_self(state.word());
            count_down(data, &head);
        }
        None => word::detach(state.word()),
    }
    drop(head);
    let gil = state.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    if let Some(gil) = unsafe { gil.as_ref() } {
        let _ = gil::release(gil, false);
    }
    trace::at(Point::StwSuspended, Event::Begin(Span::Suspended), || interp_of(state).id());
}

/// In a fork child: no pause is requested any more.
///
/// # Safety
/// The caller is the only thread of the process.
pub(crate) unsafe fn reset_in_child(scope: &StopScope) {
    scope.requested.store(0, Relaxed);
    scope.set_stopped(false);
    scope.countdown.store(0, Relaxed);
    scope.requester.store(core::ptr::null_mut(), Relaxed);
    // SAFETY: the caller's contract.
    unsafe { scope.mutex.reset_in_child() };
}
