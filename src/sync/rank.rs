//! The library's own internal locks, and the order in which they may be taken.
//!
//! K1 A thread takes a lock only of a higher [`Rank`] than every one that it holds.
//! K2 No thread sleeps in the lot, and none calls out of the library, while it holds one.
//!
//! Debug builds check both per thread; release builds make a [`RankedLock`] a bare [`RawLock`].
//! A fork handler walks [`Rank::ALL`]: its `match` over the enum is what makes a forgotten lock a compile error.

use super::atomic::const_unless_loom;
use super::raw::RawLock;
use crate::control::window;
use core::marker::PhantomData;

/// Every kind of internal lock, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Rank {
    /// The lists of the runtime: interpreters, states, handles, queues (CPython's HEAD_LOCK).
    Head,
    /// Sync points, trace, diagnostics.
    Probe,
    /// A bucket of the parking lot: nothing is taken below it.
    Bucket,
}

impl Rank {
    /// All ranks, in order.
    pub(crate) const ALL: [Self; 3] = [Self::Head, Self::Probe, Self::Bucket];
}

/// Ranks as bits of a mask, for the checks.
#[cfg(all(debug_assertions, not(loom)))]
impl Rank {
    const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// This rank's bit and all above it.
    const fn bit_and_above(self) -> u32 {
        !(self.bit() - 1)
    }
}

/// The checks; nothing at all in release builds and in models.
#[cfg(all(debug_assertions, not(loom)))]
mod held {
    use super::Rank;
    use core::cell::Cell;

    thread_local! {
        // Const-initialised and without a destructor: no allocation, valid until the thread's very end.
        static MASK: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn check(rank: Rank) {
        let mask = MASK.get();
        assert!(
            mask & rank.bit_and_above() == 0,
            "lock order: {rank:?} asked for while {:?} is held",
            names(mask & rank.bit_and_above()).last().unwrap_or(rank)
        );
    }

    pub(super) fn add(rank: Rank) {
        MASK.set(MASK.get() | rank.bit());
    }

    pub(super) fn remove(rank: Rank) {
        MASK.set(MASK.get() & !rank.bit());
    }

    pub(super) fn assert_none() {
        let mask = MASK.get();
        assert!(mask == 0, "{:?} is held where no lock may be", names(mask).next());
    }

    fn names(mask: u32) -> impl Iterator<Item = Rank> {
        Rank::ALL.into_iter().filter(move |rank| mask & rank.bit() != 0)
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
mod held {
    use super::Rank;

    #[inline]
    pub(super) fn check(_: Rank) {}
    #[inline]
    pub(super) fn add(_: Rank) {}
    #[inline]
    pub(super) fn remove(_: Rank) {}
    #[inline]
    pub(super) fn assert_none() {}
}

/// Checks K2: the calling thread holds no internal lock. Nothing in release builds.
#[inline]
pub(crate) fn assert_none_held() {
    held::assert_none();
}

/// An internal lock: never detaches, ignores signals, not recursive.
#[derive(Debug)]
pub(crate) struct RankedLock {
    raw: RawLock,
    rank: Rank,
}

/// A [`RankedLock`] that the calling thread holds until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Guard<'a> {
    lock: &'a RankedLock,
    /// Held ranks are per thread: a guard stays where it was made.
    not_send: PhantomData<*const ()>,
}

impl RankedLock {
    const_unless_loom! {
        /// A free lock of `rank`.
        pub(crate) fn new(rank: Rank) -> Self {
            Self { raw: RawLock::new(), rank }
        }
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_> {
        held::check(self.rank);
        self.raw.lock();
        held::add(self.rank);
        Guard { lock: self, not_send: PhantomData }
    }

    /// Takes the lock if it is free. Any rank may be tried: trying cannot deadlock.
    #[cfg(test)]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_>> {
        if !self.raw.try_lock() {
            return None;
        }
        held::add(self.rank);
        Some(Guard { lock: self, not_send: PhantomData })
    }

    /// A snapshot, for assertions.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Frees a lock whose [`Guard`] was given to [`Guard::keep`]: what a fork takes before and frees after, in the parent.
    /// False if it was not held.
    pub(crate) fn force_unlock(&self) -> bool {
        held::remove(self.rank);
        self.raw.unlock()
    }

    /// Makes the lock free in a fork child, whoever held it in the parent.
    ///
    /// # Safety
    /// The caller is the only thread of the process, and no [`Guard`] of this lock is alive in it.
    pub(crate) unsafe fn reset_in_child(&self) {
        held::remove(self.rank);
        // SAFETY: this function's contract is the raw lock's contract.
        unsafe { self.raw.reset_in_child() }
    }
}

impl Guard<'_> {
    /// Keeps the lock held after the guard is gone; [`RankedLock::force_unlock`] or a fork child's reset frees it.
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        held::remove(self.lock.rank);
        let was_held = self.lock.raw.unlock();
        if self.lock.rank == Rank::Head {
            // What was read under the lock may be out of date from here on.
            window!("head.unlocked");
        }
        debug_assert!(was_held, "{:?} was freed under its guard", self.lock.rank);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    static INNERMOST: RankedLock = RankedLock::new(Rank::Bucket);

    #[test]
    fn all_names_every_rank_in_order() {
        assert!(Rank::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Rank::ALL.last().map(|&rank| rank as usize + 1), Some(Rank::ALL.len()));
    }

    #[test]
    fn locks_nest_from_outer_to_inner() {
        let locks = [Rank::Head, Rank::Probe].map(RankedLock::new);
        let outer = locks[0].lock();
        let middle = locks[1].lock();
        let inner = INNERMOST.lock();
        assert!(locks[1].is_locked());
        drop((inner, middle, outer));
        assert!(!locks[1].is_locked());
        assert_none_held();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order: Head asked for while Probe is held")]
    fn the_wrong_order_is_found() {
        let outer = RankedLock::new(Rank::Head);
        let inner = RankedLock::new(Rank::Probe);
        let _inner = inner.lock();
        let _outer = outer.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order: Head asked for while Head is held")]
    fn two_of_the_same_rank_are_found() {
        let one = RankedLock::new(Rank::Head);
        let two = RankedLock::new(Rank::Head);
        let _one = one.lock();
        let _two = two.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "is held where no lock may be")]
    fn a_lock_held_where_none_may_be_is_found() {
        let lock = RankedLock::new(Rank::Probe);
        let _guard = lock.lock();
        assert_none_held();
    }

    #[test]
    fn a_kept_lock_stays_held_until_it_is_forced() {
        let lock = RankedLock::new(Rank::Probe);
        lock.lock().keep();
        assert!(lock.try_lock().is_none());
        assert!(lock.force_unlock());
        assert!(!lock.force_unlock());
        assert!(lock.try_lock().is_some());
        assert_none_held();
    }
}
