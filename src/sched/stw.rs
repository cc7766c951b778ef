//! Stop-the-world pauses, of one interpreter or of all (S-STW).
//!
//! A pause suspends the state word of every other thread state in its scope:
//! detached ones at once, attached ones at their next poll or detach. That is
//! the same with and without a GIL: who takes the GIL must still win the word.
//!
//! Whose turn it is to pause says `state::stop`; nobody owns anything while it
//! waits for its turn, and a requester that had to wait stands there detached
//! until its pause is complete.
//!
//! A thread that waits to attach is not passed over again and again: `waits_for_pause`
//! says how it came to wait.
//!
//! | turn      | meaning                                                     |
//! |-----------|-------------------------------------------------------------|
//! | NONE      | its thread does not wait for the end of a pause             |
//! | STOOD     | it was attached, and suspended itself for the pause         |
//! | OWED      | a pause came before its attach: the next must let it attach |
//!
//! A pause lets a state that is owed its turn attach, and asks it to stop at
//! its first poll, like every attached one (gh-151518). It waits for that for
//! [`PATIENCE_NS`] at most: the GIL that such a thread needs may be in the
//! hands of somebody outside the pause.
//!
//! Mirrors CPython 3.14 `stop_the_world`, `start_the_world` (pystate.c).

use crate::os::clock::Deadline;
use crate::os::{futex, tsan};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::current::{current, interp_of, set_current, traced_interp};
use crate::sched::eval_breaker::{self, PLEASE_STOP};
use crate::sched::frozen::Departed;
use crate::sched::{attach, frozen, gil, watchdog};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
pub(crate) use crate::state::stop::Scope;
use crate::state::stop::{self, Request};
use crate::state::stop_scope::StopScope;
use crate::state::thread::{STOOD, ThreadStateRef};
use crate::state::word;
use crate::sync::atomic::AtomicI32;
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::owed;
use crate::sync::waiting::Stay;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::fence;

/// How long the requester waits before it looks again at detached states.
const RESCAN_NS: i64 = 1_000_000;

/// How long a pause waits for those that are owed their turn.
const PATIENCE_NS: i64 = 10_000_000;

/// Values of a state's `waits_for_pause`.
const NONE: u32 = 0;
const OWED: u32 = 2;

/// How a requester gave way while it waited.
enum GaveUp {
    /// It did not.
    No,
    /// Its state is attached, without its GIL.
    Gil(ThreadStateRef),
    /// Its state is detached.
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
    scope.data().set_stopped(&head);
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
    scope.data().set_frozen(&head);
    drop(head);
    reacquire(scope, gave_up);
}

/// Waits until the pause of `scope` that the caller asks for is the one that
/// goes on.
fn take_turn(scope: Scope, own: Option<ThreadStateRef>) -> GaveUp {
    trace::at(Point::StwRequest, Event::Begin(Span::StopTheWorld), traced_interp);
    let request = Request::new(scope, own.map(|tstate| (tstate, interp_of(tstate))));
    let head = RUNTIME.lock();
    let granted = stop::GATE.enter(&request, &head);
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

/// Lets go of the requester's GIL: one of those whom it waits for may need it.
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

/// Suspends what is detached and asks what is attached. True when all stand.
fn suspend_detached(scope: Scope, patience: &Deadline) -> bool {
    let data = scope.data();
    let patient = !patience.passed();
    let head = RUNTIME.lock();
    let mut suspended = 0;
    scope.others(&head, |tstate| {
        let waits_for_pause = tstate.waits_for_pause.load(Relaxed);
        if waits_for_pause == OWED && patient && tstate.word().load(Relaxed) != word::SUSPENDED {
            eval_breaker::set(tstate, PLEASE_STOP);
        } else if word::suspend(tstate.word()) {
            suspended += 1;
            if waits_for_pause == STOOD {
                tstate.waits_for_pause.store(OWED, Relaxed);
            }
        } else if tstate.word().load(Relaxed) == word::ATTACHED {
            eval_breaker::set(tstate, PLEASE_STOP);
        }
    });
    let left = data.countdown.load(Relaxed) - suspended;
    data.countdown.store(left, Relaxed);
    drop(head);
    left <= 0
}

/// Tells ThreadSanitizer that a pause orders what it holds up.
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
    // Before the first thread runs again: the release of `resume` orders it.
    scope.data().clear_stopped();
    scope.others(&head, |tstate| {
        eval_breaker::clear(tstate, PLEASE_STOP);
        let _ = word::resume(tstate.word());
    });
    // Pairs with the fence in `wait_resumed`: whoever sleeps there is seen
    // here, or has seen its word change.
    fence(SeqCst);
    scope.others(&head, |tstate| {
        if tstate.waits_for_pause.load(Relaxed) != NONE {
            lot::unpark_all(tstate.word_key());
        }
    });
    let granted = stop::GATE.leave(scope, &head);
    drop(head);
    granted.tell();
    departed.give_back();
    frozen::wake(scope.data());
    trace::at(Point::StwResumed, Event::End(Span::StopTheWorld), traced_interp);
}

/// Whether a pause of `scope` is requested or held.
pub(crate) fn is_requested(scope: Scope) -> bool {
    scope.data().requested.load(Relaxed) != 0
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

/// Whether a state that is linked now must begin suspended (S-TS-02).
pub(crate) fn begins_suspended(interp: Interp, head: &HeadGuard<'_>) -> bool {
    active(interp, head).is_some()
}

/// The pause that `interp` is in the scope of.
fn active(interp: Interp, _head: &HeadGuard<'_>) -> Option<&'static StopScope> {
    [&RUNTIME.stop, &interp.block().stop].into_iter().find(|data| data.requested.load(Relaxed) != 0)
}

/// The pause that `state` has to stand for.
fn active_for(tstate: ThreadStateRef, head: &HeadGuard<'_>) -> Option<&'static StopScope> {
    active(interp_of(tstate), head).filter(|data| data.requester.load(Relaxed) != tstate.as_raw())
}

/// Counts a state out that leaves its list during a request, unless it stands
/// already (S-STW-07). Head lock held.
pub(crate) fn count_out(tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    if tstate.word().load(Relaxed) == word::SUSPENDED {
        return;
    }
    if let Some(data) = active_for(tstate, head) {
        count_down(data, head);
    }
}

fn count_down(data: &StopScope, _head: &HeadGuard<'_>) {
    let left = data.countdown.load(Relaxed) - 1;
    data.countdown.store(left, Relaxed);
    if left <= 0 {
        data.progress.fetch_add(1, Release);
        futex::wake(&data.progress, 1);
    }
}

/// Serves a stop request at a poll: lets go, stands until the pause is over,
/// and attaches again.
pub(crate) fn suspend_if_asked(tstate: ThreadStateRef) {
    let head = RUNTIME.lock();
    eval_breaker::clear(tstate, PLEASE_STOP);
    let asked = active_for(tstate, &head).is_some();
    drop(head);
    if !asked {
        return;
    }
    // Before its word changes: nobody may take the state over meanwhile. Relaxed:
    // the release of the word publishes it.
    tstate.waits_for_pause.store(STOOD, Relaxed);
    suspend_self_and_release_gil(tstate);
    wait_resumed(tstate, STOOD);
    attach::attach(tstate);
    // Relaxed: a pause that still reads OWED only waits a little longer.
    tstate.waits_for_pause.store(NONE, Relaxed);
}

fn suspend_self_and_release_gil(tstate: ThreadStateRef) {
    if tstate.critical_section().load(Relaxed) != 0 || !tstate.qsbr.load(Relaxed).is_null() {
        crate::sched::attach_hooks::detaching(tstate);
    }
    tstate.stamp();
    attach::note_detaching(tstate);
    set_current(None);
    tstate.holds_gil().store(0, Relaxed);
    let gil = tstate.gil.load(Relaxed);
    let interp = interp_of(tstate).id();
    suspend_word_or_detach(tstate);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    if let Some(gil) = unsafe { gil.as_ref() } {
        let _ = gil::release(gil, false);
    }
    trace::at(Point::StwSuspended, Event::Begin(Span::Suspended), || interp);
}

/// ATTACHED to SUSPENDED for the pause that `state` has to stand for; to
/// DETACHED if there is none any more. Others may delete the state afterwards.
pub(crate) fn suspend_word_or_detach(tstate: ThreadStateRef) {
    let head = RUNTIME.lock();
    match active_for(tstate, &head) {
        Some(data) => {
            word::suspend_self(tstate.word());
            count_down(data, &head);
        }
        None => word::detach(tstate.word()),
    }
    drop(head);
}

/// Sleeps until the pause that suspended `state`, which the caller is about to
/// attach, is over.
fn wait_resumed(tstate: ThreadStateRef, waits_for_pause: u32) {
    // Relaxed: the fence orders it.
    tstate.waits_for_pause.store(waits_for_pause, Relaxed);
    // Pairs with the fence in `start`.
    fence(SeqCst);
    let word = tstate.word();
    while word.load(Acquire) == word::SUSPENDED {
        let _ = lot::park(
            tstate.word_key(),
            || word.load(Acquire) == word::SUSPENDED,
            Deadline::NEVER,
            core::ptr::null_mut(),
            &mut Stay,
            lot::nothing,
        );
    }
}

/// An attach met a pause: sleeps until it is over. The next pause lets the
/// state attach, whatever happens until then; [`attached`] ends that.
pub(crate) fn wait_for_turn(tstate: ThreadStateRef) {
    wait_resumed(tstate, OWED);
}

/// Whether a thread waits, with `state`, for the end of a pause.
pub(crate) fn is_awaited(tstate: ThreadStateRef) -> bool {
    tstate.waits_for_pause.load(Relaxed) != NONE
}

/// `state` was attached after all: it is owed nothing any more.
pub(crate) fn attached(tstate: ThreadStateRef) {
    tstate.waits_for_pause.store(NONE, Relaxed);
}
