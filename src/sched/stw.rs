//! Stop-the-world pauses, of one interpreter or of all (S-STW).
//!
//! A pause suspends the state word of every other thread state in its scope:
//! detached ones at once, attached ones at their next poll or detach. That is
//! the same with and without a GIL: a thread that takes the GIL must still win the word.
//!
//! `state::stop` decides which request is served next. A waiting requester holds no lock;
//! if it was attached, it is detached until its own pause is complete.
//!
//! A pause lets a state that is owed its turn attach, and asks it to stop at
//! its first poll, like every attached one (gh-151518). It waits for that for
//! [`PATIENCE_NS`] at most: the GIL that such a thread needs may be in the
//! hands of a thread outside the pause.
//!
//! Mirrors CPython 3.14 `stop_the_world`, `start_the_world` (pystate.c).

use crate::os::clock::Deadline;
use crate::os::{futex, tsan};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::current::{current, interp_of, traced_interp};
use crate::sched::frozen::{self, Departed};
use crate::sched::{attach, watchdog};
use crate::state::eval_breaker::{self, PLEASE_STOP};
use crate::state::pause::Member;
use crate::state::runtime::RUNTIME;
pub(crate) use crate::state::stop::Scope;
use crate::state::stop::{GATE, Request};
use crate::state::thread::ThreadStateRef;
use crate::sync::atomic::{AtomicI32, AtomicU32};
use crate::sync::lot;
use crate::sync::owed;
use crate::sync::wait_record::{WaitKind, WaitRecord};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// How long the requester waits before it looks again at detached states.
const RESCAN_NS: i64 = 1_000_000;

/// How long a pause waits for the states that are owed their turn.
const PATIENCE_NS: i64 = 10_000_000;

/// What a requester released while it waits.
enum GaveUp {
    /// The requester released nothing.
    No,
    /// The requester's state is attached, and its GIL is released.
    Gil(ThreadStateRef),
    /// The requester's state is detached.
    Detached(ThreadStateRef),
}

/// Stops every other thread state in scope. Attached, detached or without a
/// state; a caller that is attached is attached when it returns. Pauses do not
/// nest.
pub(crate) fn stop(scope: Scope) {
    let own = current();
    let mut gave_up = take_turn(scope, own);
    let patience = Deadline::after(PATIENCE_NS);
    if !suspend_detached(scope, &patience) {
        if matches!(gave_up, GaveUp::No) {
            gave_up = release_gil_while_waiting(own);
        }
        let data = scope.data();
        let _record = WaitRecord::begin(WaitKind::PauseBegin, 0);
        let mut dog = watchdog::Pause::begin(scope);
        loop {
            let seen = data.progress.load(Acquire);
            if suspend_detached(scope, &patience) {
                break;
            }
            let _ = futex::wait(&data.progress, seen, Deadline::after(RESCAN_NS));
            dog.look();
        }
    }
    let head = RUNTIME.lock();
    scope.data().set_stopped();
    drop(head);
    note(scope, tsan::acquire);
    reacquire(scope, gave_up);
    probe::point(Point::StwStopped);
}

/// Keeps the lists of states and interpreters in `scope` as they are until
/// [`start`], while the threads go on: what they make or delete meanwhile joins
/// or leaves the lists at the end. Takes its turn among pauses, and may detach
/// the caller until then.
pub(crate) fn freeze(scope: Scope) {
    let gave_up = take_turn(scope, current());
    let head = RUNTIME.lock();
    scope.data().set_frozen();
    drop(head);
    reacquire(scope, gave_up);
}

/// Waits until the pause of `scope` that the caller asks for is the one that
/// goes on.
fn take_turn(scope: Scope, own: Option<ThreadStateRef>) -> GaveUp {
    trace::at(Point::StwRequest, Event::Begin(Span::StopTheWorld), traced_interp);
    let request = Request::new(scope, own.map(|tstate| (tstate, interp_of(tstate))));
    let head = RUNTIME.lock();
    let granted = GATE.enter(&request, &head);
    drop(head);
    granted.tell();
    if request.is_granted() {
        return GaveUp::No;
    }
    let gave_up = detach(own);
    request.wait();
    gave_up
}

fn detach(own: Option<ThreadStateRef>) -> GaveUp {
    let Some(tstate) = own else { return GaveUp::No };
    attach::detach_for_call(tstate);
    GaveUp::Detached(tstate)
}

/// Releases the requester's GIL, because a thread that it waits for may need it.
fn release_gil_while_waiting(own: Option<ThreadStateRef>) -> GaveUp {
    match own.filter(|tstate| tstate.holds_gil().load(Relaxed) != 0) {
        Some(tstate) => {
            let _ = attach::release_gil_only(tstate);
            GaveUp::Gil(tstate)
        }
        None => GaveUp::No,
    }
}

/// Reverses `release_gil_while_waiting` or `detach`. A requester whose interpreter ended
/// meanwhile ends its pause and never returns.
fn reacquire(scope: Scope, gave_up: GaveUp) {
    let step = || match gave_up {
        GaveUp::No => {}
        GaveUp::Gil(tstate) => attach::take_gil_only(tstate),
        GaveUp::Detached(tstate) => attach::reattach_after_call(tstate),
    };
    owed::or_give_back(|| start(scope), step);
}

/// Suspends every detached state and asks every attached one to stop. Returns true when all stand.
fn suspend_detached(scope: Scope, patience: &Deadline) -> bool {
    let data = scope.data();
    let patient = !patience.passed();
    let head = RUNTIME.lock();
    let mut suspended = 0;
    scope.others(&head, |tstate| suspended += i64::from(data.suspend(&tstate, patient)));
    let all_stand = data.count_off(suspended);
    drop(head);
    all_stand
}

impl Member for ThreadStateRef {
    fn word(&self) -> &AtomicI32 {
        core::ops::Deref::deref(self).word()
    }

    fn waits_for_pause(&self) -> &AtomicU32 {
        &self.waits_for_pause
    }

    fn ask(&self) {
        eval_breaker::set(*self, PLEASE_STOP);
    }

    fn stop_asking(&self) {
        eval_breaker::clear(*self, PLEASE_STOP);
    }

    fn wake(&self) {
        lot::unpark_all(self.word_key());
    }
}

/// Tells ThreadSanitizer that a pause orders the accesses of the threads that it stops.
fn note(scope: Scope, what: impl Fn(*const AtomicI32)) {
    if tsan::is_present() {
        let head = RUNTIME.lock();
        scope.others(&head, |tstate| what(core::ptr::from_ref(tstate.word())));
        drop(head);
    }
}

/// Ends the pause.
pub(crate) fn start(scope: Scope) {
    note(scope, tsan::release);
    let head = RUNTIME.lock();
    let mut departed = Departed::NONE;
    for interp in RUNTIME.interps(&head).filter(|interp| scope.covers(*interp)) {
        departed = frozen::settle(interp, departed, &head);
    }
    scope.data().end::<ThreadStateRef>(|visit| scope.others(&head, visit));
    let granted = GATE.leave(scope, &head);
    drop(head);
    granted.tell();
    departed.give_back();
    frozen::wake(scope.data());
    trace::at(Point::StwResumed, Event::End(Span::StopTheWorld), traced_interp);
}

/// Whether a pause of `scope` is requested or held.
pub(crate) fn is_requested(scope: Scope) -> bool {
    scope.data().is_requested()
}

/// Whether the calling thread asked for a pause that goes on.
pub(crate) fn is_requester() -> bool {
    let me = crate::os::thread::ident() as usize;
    let head = RUNTIME.lock();
    let mine = RUNTIME.stop.thread.load(Relaxed) == me
        || RUNTIME.interps(&head).any(|interp| interp.stop.thread.load(Relaxed) == me);
    drop(head);
    mine
}

/// Whether the calling thread asked for a pause that goes on and covers `scope`.
pub(crate) fn is_requester_of(scope: Scope) -> bool {
    let me = crate::os::thread::ident() as usize;
    RUNTIME.stop.thread.load(Relaxed) == me || scope.data().thread.load(Relaxed) == me
}
