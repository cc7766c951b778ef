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
//! A thread that waits to attach is not passed over again and again: `turn`
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

use crate::control::window;
use crate::os::clock::Deadline;
use crate::os::{futex, tsan};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::breaker::{self, PLEASE_STOP};
use crate::sched::current::{current, interp_of, set_current, traced_interp};
use crate::sched::frozen::Departed;
use crate::sched::{attach, frozen, gil, watchdog};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
pub(crate) use crate::state::stop::Scope;
use crate::state::stop::{Request, StopScope};
use crate::state::thread_state::{STOOD, Ts};
use crate::state::word;
use crate::sync::atomic::AtomicI32;
use crate::sync::lot;
use crate::sync::owed;
use crate::sync::rank::Guard;
use crate::sync::waiting::Stay;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::fence;

/// How long the requester waits before it looks again at detached states.
const RESCAN_NS: i64 = 1_000_000;

/// How long a pause waits for those that are owed their turn.
const PATIENCE_NS: i64 = 10_000_000;

/// Values of a state's `turn`.
const NONE: u32 = 0;
const OWED: u32 = 2;

/// How a requester gave way while it waited.
enum Aside {
    /// It did not.
    No,
    /// Its state is attached, without its GIL.
    Gil(Ts),
    /// Its state is detached.
    Detached(Ts),
}

/// Stops every other thread state in scope. Attached, detached or without a
/// state; a caller that is attached is attached when it returns. Pauses do not
/// nest.
pub(crate) fn stop(scope: Scope) {
    trace::at(Point::StwRequest, Event::Begin(Span::StopTheWorld), traced_interp);
    let own = current();
    let request = Request::new(scope, own.map(|state| (state, interp_of(state))));
    let head = RUNTIME.lock();
    let granted = RUNTIME.stop_gate.enter(&request, &head);
    drop(head);
    granted.tell();
    let mut aside = Aside::No;
    if !request.is_granted() {
        aside = detach(own);
        request.wait();
    }
    let patience = Deadline::after(PATIENCE_NS);
    if !suspend_detached(scope, &patience) {
        if matches!(aside, Aside::No) {
            aside = step_aside(own);
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
    come_back(scope, aside);
    probe::point(Point::StwStopped);
}

fn detach(own: Option<Ts>) -> Aside {
    let Some(state) = own else { return Aside::No };
    attach::step_out(state);
    Aside::Detached(state)
}

/// Lets go of the requester's GIL: one of those whom it waits for may need it.
fn step_aside(own: Option<Ts>) -> Aside {
    match own.filter(|state| state.holds_gil().load(Relaxed) != 0) {
        Some(state) => {
            let _ = attach::release_gil_only(state);
            Aside::Gil(state)
        }
        None => Aside::No,
    }
}

/// Reverses `step_aside` or `detach`. A requester whose interpreter ended
/// meanwhile ends its pause and never returns.
fn come_back(scope: Scope, aside: Aside) {
    let step = || match aside {
        Aside::No => {}
        Aside::Gil(state) => attach::take_gil_only(state),
        Aside::Detached(state) => attach::step_in(state),
    };
    owed::or_give_back(|| start(scope), step);
}

/// Suspends what is detached and asks what is attached. True when all stand.
fn suspend_detached(scope: Scope, patience: &Deadline) -> bool {
    let data = scope.data();
    let patient = !patience.passed();
    let head = RUNTIME.lock();
    let mut suspended = 0;
    scope.others(&head, |state| {
        let turn = state.turn.load(Relaxed);
        if turn == OWED && patient && state.word().load(Relaxed) != word::SUSPENDED {
            breaker::set(state, PLEASE_STOP);
        } else if word::suspend(state.word()) {
            suspended += 1;
            if turn == STOOD {
                state.turn.store(OWED, Relaxed);
            }
        } else if state.word().load(Relaxed) == word::ATTACHED {
            breaker::set(state, PLEASE_STOP);
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
        scope.others(&head, |state| what(core::ptr::from_ref(state.word())));
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
    scope.others(&head, |state| {
        breaker::clear(state, PLEASE_STOP);
        let _ = word::resume(state.word());
    });
    window!("stw.resuming");
    // Pairs with the fence in `wait_resumed`: whoever sleeps there is seen
    // here, or has seen its word change.
    fence(SeqCst);
    scope.others(&head, |state| {
        if state.turn.load(Relaxed) != NONE {
            lot::unpark_all(state.word_key());
        }
    });
    let granted = RUNTIME.stop_gate.leave(scope, &head);
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

/// Whether a state that is linked now must begin suspended (S-TS-02).
pub(crate) fn begins_suspended(interp: Interp, head: &Guard<'_>) -> bool {
    active(interp, head).is_some()
}

/// The pause that `interp` is in the scope of.
fn active(interp: Interp, _head: &Guard<'_>) -> Option<&'static StopScope> {
    [&RUNTIME.stop, &interp.block().stop].into_iter().find(|data| data.requested.load(Relaxed) != 0)
}

/// The pause that `state` has to stand for.
fn active_for(state: Ts, head: &Guard<'_>) -> Option<&'static StopScope> {
    active(interp_of(state), head).filter(|data| data.requester.load(Relaxed) != state.as_raw())
}

/// Counts a state out that leaves its list during a request, unless it stands
/// already (S-STW-07). Head lock held.
pub(crate) fn count_out(state: Ts, head: &Guard<'_>) {
    if state.word().load(Relaxed) == word::SUSPENDED {
        return;
    }
    if let Some(data) = active_for(state, head) {
        count_down(data, head);
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
    let head = RUNTIME.lock();
    breaker::clear(state, PLEASE_STOP);
    let asked = active_for(state, &head).is_some();
    drop(head);
    if !asked {
        return;
    }
    // Before its word changes: nobody may take the state over meanwhile. Relaxed:
    // the release of the word publishes it.
    state.turn.store(STOOD, Relaxed);
    stand(state);
    window!("stw.stood");
    wait_resumed(state, STOOD);
    attach::attach(state);
    // Relaxed: a pause that still reads OWED only waits a little longer.
    state.turn.store(NONE, Relaxed);
}

fn stand(state: Ts) {
    if state.critical_section().load(Relaxed) != 0 || !state.qsbr.load(Relaxed).is_null() {
        crate::sched::gilfree::detaching(state);
    }
    state.stamp();
    attach::note_detaching(state);
    set_current(None);
    state.holds_gil().store(0, Relaxed);
    let gil = state.gil.load(Relaxed);
    let interp = interp_of(state).id();
    lay_down(state);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    if let Some(gil) = unsafe { gil.as_ref() } {
        let _ = gil::release(gil, false);
    }
    trace::at(Point::StwSuspended, Event::Begin(Span::Suspended), || interp);
}

/// ATTACHED to SUSPENDED for the pause that `state` has to stand for; to
/// DETACHED if there is none any more. Others may delete the state afterwards.
pub(crate) fn lay_down(state: Ts) {
    let head = RUNTIME.lock();
    match active_for(state, &head) {
        Some(data) => {
            word::suspend_self(state.word());
            count_down(data, &head);
        }
        None => word::detach(state.word()),
    }
    drop(head);
}

/// Sleeps until the pause that suspended `state`, which the caller is about to
/// attach, is over.
fn wait_resumed(state: Ts, turn: u32) {
    // Relaxed: the fence orders it.
    state.turn.store(turn, Relaxed);
    // Pairs with the fence in `start`.
    fence(SeqCst);
    let word = state.word();
    window!("stw.waiting");
    while word.load(Acquire) == word::SUSPENDED {
        let _ = lot::park(
            state.word_key(),
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
pub(crate) fn wait_for_turn(state: Ts) {
    wait_resumed(state, OWED);
}

/// Whether a thread waits, with `state`, for the end of a pause.
pub(crate) fn is_awaited(state: Ts) -> bool {
    state.turn.load(Relaxed) != NONE
}

/// `state` was attached after all: it is owed nothing any more.
pub(crate) fn attached(state: Ts) {
    state.turn.store(NONE, Relaxed);
}
