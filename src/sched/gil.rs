//! Waiting for a GIL and passing it on.
//!
//! - A newcomer may take a free GIL before the threads that were woken for it
//!   (barging keeps a thread that detaches for a moment on its processor).
//! - At most one waiter is awake and competing; the others sleep in order. One
//!   that is long in coming does not put off the next rule.
//! - The oldest waiter gets the GIL handed over, while it is still locked, when
//!   it and everybody since the last hand-over had [`FAIR_NS`], or after a drop
//!   request: that is both fairness and the forced switch of S-GIL-05.
//! - A waiter whose sleep ended asks the holder to drop, once it is back in the
//!   queue, if that one has had the GIL for an interval (S-GIL-03). It looks at
//!   the holder under the head lock, where the deleter of that state would have
//!   removed it from `holder` first.
//!
//! Mirrors CPython 3.13 `take_gil`, `drop_gil` (ceval_gil.c).

use crate::os::clock;
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::breaker;
use crate::sched::current::interp_of;
use crate::sched::watchdog;
use crate::state::gil_word::{DEFAULT_INTERVAL_US, Gil, LOCKED, PARKED, Release, WOKEN};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::state::word;
use crate::sync::atomic::spin_hint;
use crate::sync::lot::{self, Parked, Place};
use crate::sync::waiting::Waiting;
use core::cell::Cell;
use core::sync::atomic::Ordering;
use core::sync::atomic::Ordering::Relaxed;

/// How long threads that take and release the GIL again and again may keep it
/// among themselves while somebody else waits.
const FAIR_NS: i64 = 500_000;

/// Length of the pause before joining an empty queue, in [`spin_hint`]s: a small
/// part of what a sleep and a wake-up cost. Longer ones make threads that hand
/// the GIL to and fro slower.
const PAUSE: u32 = 8;

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

/// Asks the holder when the waiter is in the queue again: the hand-over that
/// answers finds it there, however soon it comes.
struct Asking {
    gil: &'static Gil,
    /// A sleep ended since the last time.
    due: bool,
}

impl Waiting for Asking {
    fn before_sleep(&mut self) {
        let gil = self.gil;
        if core::mem::take(&mut self.due) && gil.is_locked() && held_too_long(gil) {
            request_drop(gil);
            probe::point(Point::GilAsked);
        }
    }
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
    let mut asking = Asking { gil, due: false };
    let mut woken = false;
    let mut paused = false;
    loop {
        if must_exit(state) {
            if woken && gil.resign() {
                wake_next(gil);
            }
            return Taken::MustExit;
        }
        if gil.try_barge(woken) {
            return Taken::Held;
        }
        // Once, while nobody is in the queue: the holder may be about to let go.
        if !paused && !woken && gil.word.load(Relaxed) & PARKED == 0 {
            paused = true;
            (0..PAUSE).for_each(|_| spin_hint());
            continue;
        }
        if !gil.mark_parked(woken) {
            continue;
        }
        // Who was woken and lost the race keeps its turn.
        let place = if woken { Place::First } else { Place::Last };
        let parked = lot::park_at(
            place,
            key(gil),
            || gil.word.load(Relaxed) & (LOCKED | PARKED) == LOCKED | PARKED,
            watchdog::sleep(patience_ns(gil)),
            core::ptr::from_ref(&waiter).cast_mut().cast(),
            &mut asking,
        );
        woken = false;
        if parked == Parked::TimedOut {
            watchdog::look_at_holder(gil);
        }
        match parked {
            Parked::Unparked if waiter.handed.get() => return Taken::Held,
            Parked::Unparked => woken = true,
            Parked::TimedOut => asking.due = true,
            _ => {}
        }
    }
}

fn interval_ns(gil: &Gil) -> i64 {
    i64::from(gil.interval_us.load(Relaxed).max(1)) * 1000
}

/// How long a waiter sleeps before it looks at the holder. One interval; more
/// when many wait, because one look per interval is enough for all of them,
/// and thousands of sleepers that wake every interval would be all that runs.
fn patience_ns(gil: &Gil) -> i64 {
    const LOOKERS: u32 = 8;
    let share = i64::from((gil.waiters.load(Relaxed) / LOOKERS).max(1));
    interval_ns(gil).saturating_mul(share)
}

/// Whether one state has had the GIL for an interval while others waited.
fn held_too_long(gil: &Gil) -> bool {
    clock::now_ns() - gil.switched_ns.load(Relaxed) >= interval_ns(gil)
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
    // Who comes later looks at this only after a sleep of its own, so that the
    // cheap clock does as long as nobody is here yet.
    let alone = gil.waiters.load(Relaxed) == 0;
    let now = if alone { clock::coarse_ns() } else { clock::now_ns() };
    gil.switched_ns.store(now, Relaxed);
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

/// Hands the GIL over to the oldest waiter if that is due, else frees it and
/// wakes that one, unless a woken one is on its way already: then freeing it is
/// all, and nobody else has to run only to find it taken.
#[cold]
fn pass_on(gil: &'static Gil, forced: bool) {
    if !forced && !gil.is_time_to_look() && gil.leave_to_woken() {
        return;
    }
    let now = clock::now_ns();
    // Who was woken may be long in coming; the others do not wait for it.
    let over = forced || now - gil.handed_ns.load(Relaxed) >= FAIR_NS;
    if !over && gil.leave_to_woken() {
        return;
    }
    lot::unpark_one(key(gil), |token, has_more| {
        let queue = if has_more { PARKED } else { 0 };
        // SAFETY: the token is the waiter's record, on the stack of a thread
        // that stays parked until this function returns.
        let waiter = token.map(|token| unsafe { &*token.cast::<Waiter>() });
        match waiter {
            Some(waiter) if forced || gil.slice_over(waiter.since, now, FAIR_NS) => {
                gil.settle(LOCKED | queue);
                gil.handed_ns.store(now, Relaxed);
                waiter.handed.set(true);
            }
            Some(_) => gil.settle(WOKEN | queue),
            None => gil.settle(0),
        }
    });
}

/// Wakes a waiter for a GIL that is free: the woken one before it gave up.
fn wake_next(gil: &Gil) {
    lot::unpark_one(key(gil), |token, has_more| {
        let queue = if has_more { PARKED } else { 0 };
        let woken = if token.is_some() { WOKEN } else { 0 };
        let held = gil.word.load(Relaxed) & LOCKED;
        gil.settle(held | woken | queue);
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

/// The GIL that the states of `interp` take, if they run under one.
fn of_interp(interp: Interp) -> Option<&'static Gil> {
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    unsafe { interp.gil.load(Relaxed).as_ref() }
}

/// Sets the switch interval of the GIL of `interp`.
pub(crate) fn set_interval_of(interp: Interp, us: u32) {
    if let Some(gil) = of_interp(interp) {
        gil.interval_us.store(us.max(1), Relaxed);
    }
}

/// The switch interval of the GIL of `interp`.
pub(crate) fn interval_of(interp: Interp) -> u32 {
    of_interp(interp).map_or(DEFAULT_INTERVAL_US, |gil| gil.interval_us.load(Relaxed))
}
