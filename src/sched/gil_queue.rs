//! The queue of a GIL: which threads sleep, which one is woken, and which one gets the
//! GIL handed over.
//!
//! - A newcomer may take a free GIL before the threads that were woken for it
//!   (barging keeps a thread that detaches for a moment on its processor).
//! - At most one waiter is awake and competing; the others sleep in order. If
//!   the woken one is slow to run, the next rule still applies.
//! - The oldest waiter gets the GIL handed over, while it is still locked, when
//!   it and every holder since the last hand-over had [`FAIR_NS`], or after a drop
//!   request: that is both fairness and the forced switch of S-GIL-05.
//! - A waiter that may not attach any more resigns: if it was the woken one it
//!   wakes the next. It does not hold the GIL, so it changes the word in one
//!   step that keeps LOCKED and WOKEN as it finds them.
//!
//! This module knows the word and the lot only, so that loom runs all of it.

use crate::control::window;
use crate::os::clock::{self, Deadline};
use crate::state::gil_word::{Gil, LOCKED, PARKED, WOKEN};
use crate::sync::atomic::{Cell, Ordering::Relaxed, spin_hint};
use crate::sync::lot::{self, Parked, QueuePosition};
use crate::sync::waiting::Waiting;

/// How long threads that take and release the GIL again and again may keep it
/// among themselves while another thread waits.
const FAIR_NS: i64 = 500_000;

/// Length of the pause before joining an empty queue, in [`spin_hint`]s: a small
/// part of what a sleep and a wake-up cost. Longer ones make threads that hand
/// the GIL to and fro slower.
const PAUSE: u32 = if cfg!(loom) { 0 } else { 8 };

/// Outcome of [`wait`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The caller holds the GIL.
    Held,
    /// The state may never attach again; the GIL is not held.
    MustExit,
}

/// What a waiter brings along.
pub(crate) trait GilWaiter: Waiting {
    /// Whether it may not attach any more.
    fn must_exit(&self) -> bool;

    /// How long it sleeps at most before it looks again.
    fn patience(&self) -> Deadline;

    /// A sleep was as long as that. Not in the queue any more.
    fn timed_out(&mut self);
}

/// What the thread that takes a waiter out of the queue tells it. A waiter that
/// [`wake_all`] rouses is told nothing: it is not the woken one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    /// It is the one woken waiter: WOKEN stands for it.
    Woken,
    /// It holds the GIL.
    Handed,
}

/// What a waiter leaves in the queue.
struct Entry {
    since: i64,
    /// Written under the queue's lock by the thread that wakes the waiter.
    news: Cell<News>,
}

fn key(gil: &Gil) -> *const () {
    core::ptr::from_ref(&gil.word).cast()
}

/// Takes the GIL, waiting as long as it takes.
pub(crate) fn wait(gil: &Gil, waiter: &mut impl GilWaiter) -> Taken {
    let entry = Entry { since: clock::now_ns(), news: Cell::new(News::None) };
    let mut woken = false;
    let mut paused = PAUSE == 0;
    loop {
        if waiter.must_exit() {
            if woken && gil.stop_being_woken() {
                wake_next(gil);
            }
            return Taken::MustExit;
        }
        if gil.try_barge(woken) {
            return Taken::Held;
        }
        // Spins once, while the queue is empty: the holder may be about to release the GIL.
        if !paused && !woken && gil.word.load(Relaxed) & PARKED == 0 {
            paused = true;
            (0..PAUSE).for_each(|_| spin_hint());
            continue;
        }
        window!("gil.found_locked");
        if !gil.mark_parked(woken) {
            continue;
        }
        // A waiter that was woken and lost the race keeps its turn.
        let place = if woken { QueuePosition::First } else { QueuePosition::Last };
        let parked = lot::park_at(
            (place, None),
            key(gil),
            || gil.word.load(Relaxed) & (LOCKED | PARKED) == LOCKED | PARKED,
            waiter.patience(),
            core::ptr::from_ref(&entry).cast_mut().cast(),
            waiter,
            // The hooks of a waiter attach nothing: it comes back, and resigns.
            lot::nothing,
        );
        woken = false;
        match parked {
            Parked::Unparked => match entry.news.replace(News::None) {
                News::Handed => return Taken::Held,
                news => woken = news == News::Woken,
            },
            Parked::TimedOut => waiter.timed_out(),
            _ => {}
        }
    }
}

/// Hands the GIL over to the oldest waiter if that is due, else frees it and
/// wakes that one, unless a woken one is on its way already: then freeing it is
/// all, and no other thread has to run only to find it taken. For the holder.
#[cold]
pub(crate) fn pass_on(gil: &Gil, forced: bool) {
    if !forced && !gil.is_time_to_look() && gil.release_to_woken() {
        return;
    }
    let now = clock::now_ns();
    // The woken one may be long in coming; the others do not wait for it.
    let over = forced || now - gil.handed_ns.load(Relaxed) >= FAIR_NS;
    if !over && gil.release_to_woken() {
        return;
    }
    lot::unpark_one(key(gil), |token, has_more| {
        let queue = if has_more { PARKED } else { 0 };
        // SAFETY: the token is the waiter's entry, on the stack of a thread
        // that stays parked until this function returns.
        let waiter = token.map(|token| unsafe { &*token.cast::<Entry>() });
        match waiter {
            Some(waiter) if forced || gil.slice_over(waiter.since, now, FAIR_NS) => {
                gil.handed_ns.store(now, Relaxed);
                waiter.news.set(News::Handed);
                gil.store_after_queue(LOCKED | queue);
            }
            Some(waiter) => {
                waiter.news.set(News::Woken);
                gil.store_after_queue(WOKEN | queue);
            }
            None => gil.store_after_queue(0),
        }
    });
}

/// Wakes a waiter for a GIL that was free: the woken one before it resigned.
/// The caller does not hold the GIL, so others may take it meanwhile.
fn wake_next(gil: &Gil) {
    lot::unpark_one(key(gil), |token, has_more| {
        let queue = if has_more { PARKED } else { 0 };
        // SAFETY: as in `pass_on`.
        if let Some(waiter) = token.map(|token| unsafe { &*token.cast::<Entry>() }) {
            waiter.news.set(News::Woken);
            gil.note_queue(WOKEN | queue);
        } else {
            gil.note_queue(queue);
        }
    });
}

/// Wakes every waiter, so that those that must exit notice. None of them is the
/// woken one by that: WOKEN goes on to stand for the one it stood for.
pub(crate) fn wake_all(gil: &Gil) {
    lot::unpark_all(key(gil));
}

#[cfg(all(test, loom))]
mod models;
