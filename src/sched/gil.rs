//! Waiting for a GIL and passing it on.
//!
//! - A newcomer may take a free GIL before the threads that were woken for it
//!   (barging keeps a thread that detaches for a moment on its processor).
//! - A waiter that has waited for [`FAIR_NS`], or any waiter after a drop
//!   request, gets the GIL handed over while it is still locked: that is both
//!   fairness and the forced switch of S-GIL-05.
//! - A waiter that slept one interval while nothing moved asks the holder to
//!   drop (S-GIL-03). It looks at the holder under the head lock, where the
//!   deleter of that state would have removed it from `holder` first.
//!
//! Mirrors CPython 3.13 `take_gil`, `drop_gil` (ceval_gil.c).

use crate::os::clock::{self, Deadline};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::breaker;
use crate::sched::current::interp_of;
use crate::state::gil_word::{DEFAULT_INTERVAL_US, Gil, LOCKED, PARKED, Release};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::state::word;
use crate::sync::lot::{self, Parked};
use crate::sync::waiting::Stay;
use core::cell::Cell;
use core::sync::atomic::Ordering;
use core::sync::atomic::Ordering::Relaxed;

/// A waiter older than this gets the GIL handed over.
const FAIR_NS: i64 = 1_000_000;

/// Outcome of [`take_slow`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The caller holds the GIL.
    Held,
    /// The state may never attach again; the GIL is not held.
    MustExit,
}

/// What a waiter leaves in the queue.
struct Waiter {
    since: i64,
    handed: Cell<bool>,
}

fn key(gil: &Gil) -> *const () {
    core::ptr::from_ref(&gil.word).cast()
}

/// Takes the GIL for `state`, waiting as long as it takes.
#[cold]
pub(crate) fn take_slow(gil: &'static Gil, state: Ts) -> Taken {
    state.gil_requested().store(1, Relaxed);
    gil.waiters.fetch_add(1, Relaxed);
    trace::at(Point::GilWait, Event::Begin(Span::GilWait), || interp_of(state).id());
    let taken = wait(gil, state);
    gil.waiters.fetch_sub(1, Relaxed);
    state.gil_requested().store(0, Relaxed);
    if taken == Taken::Held {
        probe::point(Point::GilTaken);
    }
    taken
}

fn wait(gil: &'static Gil, state: Ts) -> Taken {
    let waiter = Waiter { since: clock::now_ns(), handed: Cell::new(false) };
    loop {
        if must_exit(state) {
            return Taken::MustExit;
        }
        if gil.try_barge() {
            return Taken::Held;
        }
        let seen = gil.word.load(Relaxed);
        if seen & LOCKED == 0 {
            continue;
        }
        if seen & PARKED == 0
            && gil.word.compare_exchange_weak(seen, seen | PARKED, Relaxed, Relaxed).is_err()
        {
            continue;
        }
        let switches = gil.switches.load(Relaxed);
        let interval = i64::from(gil.interval_us.load(Relaxed).max(1)) * 1000;
        let parked = lot::park(
            key(gil),
            || gil.word.load(Relaxed) == LOCKED | PARKED,
            Deadline::after(interval),
            core::ptr::from_ref(&waiter).cast_mut().cast(),
            &mut Stay,
        );
        match parked {
            Parked::Unparked if waiter.handed.get() => return Taken::Held,
            Parked::TimedOut if gil.is_locked() && gil.switches.load(Relaxed) == switches => {
                request_drop(gil);
            }
            _ => {}
        }
    }
}

fn must_exit(state: Ts) -> bool {
    state.word().load(Ordering::Acquire) == word::SHUTTING_DOWN
}

/// Asks whoever holds the GIL to drop it at its next poll.
fn request_drop(gil: &Gil) {
    let head = RUNTIME.lock();
    let holder = gil.holder.load(Relaxed);
    // SAFETY: the deleter of a state empties `holder` under the head lock.
    if let Some(holder) = unsafe { Ts::from_raw(holder.cast()) } {
        breaker::set(holder, breaker::GIL_DROP_REQUEST);
    }
    drop(head);
}

/// Forgets a drop request that nobody waits behind any more (S-GIL-08).
pub(crate) fn forget_request(state: Ts) {
    let waiters = of(state).map_or(0, |gil| gil.waiters.load(Relaxed));
    if waiters == 0 {
        breaker::clear(state, breaker::GIL_DROP_REQUEST);
    }
}

/// Records that `state` now holds the GIL.
#[inline(always)]
pub(crate) fn note_taken(gil: &Gil, state: Ts) {
    let me: *mut () = state.as_raw().cast();
    if gil.holder.load(Relaxed) != me {
        note_switch(gil, state, me);
    }
}

#[inline(never)]
fn note_switch(gil: &Gil, state: Ts, me: *mut ()) {
    gil.holder.store(me, Relaxed);
    gil.switches.store(gil.switches.load(Relaxed).wrapping_add(1), Relaxed);
    // Only a real switch answers the request: a state that took the GIL back
    // at once is asked again at its next poll.
    breaker::clear(state, breaker::GIL_DROP_REQUEST);
    breaker::refresh_calls(state);
}

/// Releases the GIL. One read-modify-write when nobody waits.
///
/// Returns false when it was not locked.
#[inline(always)]
#[must_use]
pub(crate) fn release(gil: &'static Gil, forced: bool) -> bool {
    match gil.release() {
        Release::Free => true,
        Release::NotLocked => false,
        Release::Contended => {
            pass_on(gil, forced);
            true
        }
    }
}

/// Wakes a waiter, or hands the GIL over to it.
#[cold]
fn pass_on(gil: &'static Gil, forced: bool) {
    let now = clock::now_ns();
    lot::unpark_one(key(gil), |token, has_more| {
        let queue = if has_more { PARKED } else { 0 };
        // SAFETY: the token is the waiter's record, on the stack of a thread
        // that stays parked until this function returns.
        let waiter = token.map(|token| unsafe { &*token.cast::<Waiter>() });
        let handed = waiter.filter(|waiter| forced || now - waiter.since >= FAIR_NS);
        // The bucket lock keeps parkers out, and PARKED is set, so nobody else
        // changes the word: plain stores. Release pairs with the acquire in
        // `try_barge`; a handed-over GIL is published by the lot's own lock.
        match handed {
            Some(waiter) => {
                gil.word.store(LOCKED | queue, Relaxed);
                waiter.handed.set(true);
            }
            None => gil.word.store(queue, Ordering::Release),
        }
    });
}

/// Wakes everybody who waits, so that those who must exit notice.
pub(crate) fn wake_all(gil: &Gil) {
    lot::unpark_all(key(gil));
}

/// The GIL of `state`, if it runs under one.
fn of(state: Ts) -> Option<&'static Gil> {
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    unsafe { state.gil.load(Relaxed).as_ref() }
}

/// Sets the switch interval of the GIL of `state`.
pub(crate) fn set_interval_us(state: Ts, us: u32) {
    if let Some(gil) = of(state) {
        gil.interval_us.store(us.max(1), Relaxed);
    }
}

/// The switch interval of the GIL of `state`.
pub(crate) fn interval_us(state: Ts) -> u32 {
    of(state).map_or(DEFAULT_INTERVAL_US, |gil| gil.interval_us.load(Relaxed))
}
