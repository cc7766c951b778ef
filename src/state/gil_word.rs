//! The lock word of a GIL and the facts beside it. Waiting is `sched::gil`.
//!
//! | word             | meaning                                   |
//! |------------------|-------------------------------------------|
//! | 0                | free                                      |
//! | LOCKED           | held, no thread waits                       |
//! | LOCKED, PARKED   | held, a thread is (or was) in the queue   |
//! | PARKED           | free, others sleep in the queue           |
//! | + WOKEN          | one waiter was woken and competes: no other is woken meanwhile |
//!
//! Uncontended: one read-modify-write to take, one to release.
//!
//! Field access: any thread changes `word`; `holder` and `switches` are written by the
//! thread that holds the GIL, and `holder` is emptied under the head lock by
//! the deleter of that state, so a waiter that looks at `holder` under the
//! head lock sees a live state. Any thread accesses `interval_us`, relaxed.
//!
//! Mirrors CPython 3.13 `struct _gil_runtime_state` (pycore_gil.h).

use crate::control::window;
use crate::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering, const_unless_loom,
};

/// A thread holds the GIL.
pub(crate) const LOCKED: u32 = 1;
/// The queue of the GIL may not be empty.
pub(crate) const PARKED: u32 = 2;

/// A waiter was woken and has neither taken the GIL nor gone back to sleep.
pub(crate) const WOKEN: u32 = 4;

/// How many contended releases share one look at the clock.
const LOOK_EVERY: u32 = 64;

/// Default switch interval in microseconds (S-GIL-02).
pub(crate) const DEFAULT_INTERVAL_US: u32 = 5000;

/// A GIL. Lives inside the interpreter that made it; memory of interpreters
/// is never returned to the system, so a late waiter reads valid memory.
pub(crate) struct Gil {
    pub(crate) word: AtomicU32,
    /// Switch interval; 0 acts as 1.
    pub(crate) interval_us: AtomicU32,
    /// Last holder (a `ThreadState`), NULL when that state was deleted.
    pub(crate) holder: AtomicPtr<()>,
    /// Grows whenever the GIL passes to another state.
    pub(crate) switches: AtomicU64,
    /// When it last passed to another state.
    pub(crate) switched_ns: AtomicI64,
    /// When it was last handed over to a waiter.
    pub(crate) handed_ns: AtomicI64,
    /// Contended releases, counted by the thread that holds the GIL.
    pub(crate) releases: AtomicU32,
    /// Up to when its holding was reported by the watchdog.
    pub(crate) reported_ns: AtomicI64,
    /// Threads that wait now, parked or about to park.
    pub(crate) waiters: AtomicU32,
}

/// Outcome of [`Gil::release`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// No thread waits.
    Free,
    /// Still locked: pass it on through the queue.
    Contended,
    /// It was not locked at all.
    NotLocked,
}

impl Gil {
    const_unless_loom! {
        /// A free GIL.
        pub(crate) fn new() -> Gil {
            Gil {
                word: AtomicU32::new(0),
                interval_us: AtomicU32::new(DEFAULT_INTERVAL_US),
                holder: AtomicPtr::new(core::ptr::null_mut()),
                switches: AtomicU64::new(0),
                switched_ns: AtomicI64::new(0),
                handed_ns: AtomicI64::new(0),
                releases: AtomicU32::new(0),
                reported_ns: AtomicI64::new(0),
                waiters: AtomicU32::new(0),
            }
        }
    }

    /// In a fork child: held by its only thread, or free; no thread waits.
    pub(crate) fn reset_in_child(&self, held: bool) {
        self.word.store(if held { LOCKED } else { 0 }, Ordering::Relaxed);
        self.waiters.store(0, Ordering::Relaxed);
    }

    /// Takes the GIL if it is free. One read-modify-write when it is.
    #[inline]
    pub(crate) fn try_take(&self) -> bool {
        // Acquire pairs with the release in `release` and `sched::gil::pass_on`.
        self.word.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the GIL if it is not locked, keeping the queue mark. `woken`: the
    /// caller is the woken waiter, and no longer when it has the GIL.
    pub(crate) fn try_barge(&self, woken: bool) -> bool {
        let mine = if woken { WOKEN } else { 0 };
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & LOCKED == 0 {
            match self.word.compare_exchange_weak(
                seen,
                (seen | LOCKED) & !mine,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Marks the queue before the caller sleeps in it; a woken waiter stops
    /// being one. False when the GIL is free: try again.
    pub(crate) fn mark_parked(&self, woken: bool) -> bool {
        let mine = if woken { WOKEN } else { 0 };
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen & LOCKED == 0 {
                return false;
            }
            let next = (seen | PARKED) & !mine;
            if next == seen {
                return true;
            }
            match self.word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives up being the woken waiter. True when the GIL is free and others
    /// sleep: the caller must wake the next one.
    #[must_use]
    pub(crate) fn stop_being_woken(&self) -> bool {
        window!("gil.resign");
        let seen = self.word.fetch_and(!WOKEN, Ordering::Relaxed);
        seen & LOCKED == 0 && seen & PARKED != 0
    }

    /// Releases a contended GIL without waking a thread, if a woken waiter is
    /// on its way to it.
    pub(crate) fn release_to_woken(&self) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & WOKEN != 0 {
            match self.word.compare_exchange_weak(
                seen,
                seen & !LOCKED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Whether the holder should look at the clock at this contended release:
    /// at one of [`LOOK_EVERY`].
    pub(crate) fn is_time_to_look(&self) -> bool {
        let releases = self.releases.load(Ordering::Relaxed).wrapping_add(1);
        self.releases.store(releases, Ordering::Relaxed);
        releases % LOOK_EVERY == 0
    }

    /// Whether it is time to hand over to a waiter that came at `since`: both
    /// it and the thread that got the GIL handed over last had `slice_ns`.
    pub(crate) fn slice_over(&self, since: i64, now: i64, slice_ns: i64) -> bool {
        now - since.max(self.handed_ns.load(Ordering::Relaxed)) >= slice_ns
    }

    /// Replaces LOCKED and PARKED by `next`, keeping WOKEN. For the holder,
    /// under the queue's lock.
    pub(crate) fn store_after_queue(&self, next: u32) {
        window!("gil.settle");
        let _ = self
            .word
            .fetch_update(Ordering::Release, Ordering::Relaxed, |seen| Some((seen & WOKEN) | next));
    }

    /// Sets WOKEN and PARKED after the queue changed, for a thread that does not
    /// hold the GIL: LOCKED stays as it is, and so does a WOKEN that stands for
    /// another waiter. One step, because others take and release the GIL
    /// meanwhile. Under the queue's lock.
    pub(crate) fn note_queue(&self, next: u32) {
        #[cfg(loom)]
        if crate::sync::planted::is(crate::sync::planted::Bug::TornWake) {
            let held = self.word.load(Ordering::Relaxed) & LOCKED;
            return self.store_after_queue(held | next);
        }
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
            Some((seen & (LOCKED | WOKEN)) | next)
        });
    }

    /// Releases the GIL when no thread waits. One read-modify-write.
    #[inline]
    pub(crate) fn release(&self) -> Release {
        // Release pairs with the acquire in `try_take` and `try_barge`.
        match self.word.compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Release::Free,
            Err(seen) if seen & LOCKED == 0 => Release::NotLocked,
            Err(_) => Release::Contended,
        }
    }

    /// Whether a thread holds the GIL.
    pub(crate) fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) & LOCKED != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_word_goes_free_locked_free() {
        let gil = Gil::new();
        assert!(gil.try_take());
        assert!(!gil.try_take());
        assert_eq!(gil.release(), Release::Free);
        assert_eq!(gil.release(), Release::NotLocked);
    }

    #[test]
    fn a_woken_waiter_is_left_the_gil_and_counts_until_it_has_it_or_sleeps() {
        let gil = Gil::new();
        gil.word.store(LOCKED | PARKED | WOKEN, Ordering::Relaxed);
        assert!(gil.release_to_woken());
        assert_eq!(gil.word.load(Ordering::Relaxed), PARKED | WOKEN);
        assert!(gil.try_barge(true));
        assert_eq!(gil.word.load(Ordering::Relaxed), LOCKED | PARKED);
        assert!(!gil.release_to_woken());
        gil.word.store(LOCKED | WOKEN, Ordering::Relaxed);
        assert!(gil.mark_parked(true));
        assert_eq!(gil.word.load(Ordering::Relaxed), LOCKED | PARKED);
        gil.word.store(PARKED | WOKEN, Ordering::Relaxed);
        assert!(gil.stop_being_woken());
    }

    #[test]
    fn a_change_of_the_queue_keeps_the_holder_and_the_woken_one() {
        let gil = Gil::new();
        for (before, next, after) in [
            (LOCKED | PARKED, WOKEN, LOCKED | WOKEN),
            (PARKED, WOKEN | PARKED, WOKEN | PARKED),
            (LOCKED | WOKEN | PARKED, 0, LOCKED | WOKEN),
        ] {
            gil.word.store(before, Ordering::Relaxed);
            gil.note_queue(next);
            assert_eq!(gil.word.load(Ordering::Relaxed), after);
        }
    }

    #[test]
    fn a_queue_mark_survives_barging_and_stops_the_fast_release() {
        let gil = Gil::new();
        gil.word.store(PARKED, Ordering::Relaxed);
        assert!(!gil.try_take());
        assert!(gil.try_barge(false));
        assert_eq!(gil.release(), Release::Contended);
    }
}
