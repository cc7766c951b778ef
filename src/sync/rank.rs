//! The order in which the library's own internal locks may be taken, and the mutexes that keep to
//! it.
//!
//! RANK-1: A thread takes a lock only of a higher [`Rank`] than every one that it holds.
//! RANK-2: No thread sleeps in the lot, and none calls out of the library, while it holds one.
//!
//! Debug builds check both per thread; in release builds a [`RankedLock`] is a bare [`WordLock`].

use super::atomic::const_unless_loom;
#[cfg(not(loom))]
use super::fork_lock::ForkLock;
use super::word_lock::WordLock;
use crate::control::window;
use core::marker::PhantomData;

/// The internal locks with a rank, outermost first. The monitors of `probe` have none: they are
/// leaves, which a signal handler may enter over any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Rank {
    /// The lists of the runtime: interpreters, states, handles, queues (CPython's HEAD_LOCK).
    Head,
    /// A bucket of the parking lot: nothing is taken below it.
    Bucket,
}

/// A rank as a type, so that a mutex carries it without a word of its own.
pub(crate) trait HasRank: 'static {
    /// The rank.
    const RANK: Rank;
}

/// [`Rank::Head`] as a type.
#[derive(Debug)]
pub(crate) enum HeadRank {}
impl HasRank for HeadRank {
    const RANK: Rank = Rank::Head;
}

/// [`Rank::Bucket`] as a type.
#[derive(Debug)]
pub(crate) enum BucketRank {}
impl HasRank for BucketRank {
    const RANK: Rank = Rank::Bucket;
}

/// Ranks as bits of a mask, for the checks.
#[cfg(all(debug_assertions, not(loom)))]
impl Rank {
    /// All ranks, in order.
    const ALL: [Self; 2] = [Self::Head, Self::Bucket];

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
        // Const-initialised and without a destructor: no allocation, valid until the thread's very
        // end.
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

/// Checks RANK-2: the calling thread holds no internal lock. Nothing in release builds.
#[inline]
pub(crate) fn assert_none_held() {
    held::assert_none();
}

/// A [`WordLock`] of rank `R`. Used through [`RankedMutex`].
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct RankedLock<R> {
    raw: WordLock,
    rank: PhantomData<fn(R)>,
}

impl<R: HasRank> RankedLock<R> {
    const_unless_loom! {
        /// A free lock.
        pub(crate) fn new() -> Self {
            Self { raw: WordLock::new(), rank: PhantomData }
        }
    }

    /// Frees a lock whose guard was leaked: a fork takes it before and frees it after, in the
    /// parent. False if it was free.
    pub(crate) fn force_unlock(&self) -> bool {
        held::remove(R::RANK);
        self.raw.unlock()
    }

    /// Makes the lock free in a fork child, whichever thread of the parent held it.
    ///
    /// # Safety
    /// The caller is the only thread of the process, and no guard of this lock is alive in it.
    pub(crate) unsafe fn reset_in_child(&self) {
        held::remove(R::RANK);
        // SAFETY: this function's contract is the raw lock's contract.
        unsafe { self.raw.reset_in_child() }
    }
}

// SAFETY: it adds checks to `WordLock`, which excludes.
unsafe impl<R: HasRank> lock_api::RawMutex for RankedLock<R> {
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "the trait initialises locks with it; each use is a lock of its own"
    )]
    const INIT: Self = Self { raw: <WordLock as lock_api::RawMutex>::INIT, rank: PhantomData };

    /// Held ranks are counted per thread: a guard stays where it was made.
    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) {
        held::check(R::RANK);
        self.raw.lock();
        held::add(R::RANK);
    }

    /// Any rank may be tried: trying cannot deadlock.
    #[inline]
    fn try_lock(&self) -> bool {
        let locked = self.raw.try_lock();
        if locked {
            held::add(R::RANK);
        }
        locked
    }

    #[inline]
    unsafe fn unlock(&self) {
        held::remove(R::RANK);
        let was_locked = self.raw.unlock();
        if R::RANK == Rank::Head {
            // What was read under the lock may be out of date from here on.
            window!("head.unlocked");
        }
        debug_assert!(was_locked, "{:?} was freed under its guard", R::RANK);
    }

    fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }
}

/// Data inside an internal lock of rank `R`: it never detaches, ignores signals, is not recursive.
pub(crate) type RankedMutex<R, T> = lock_api::Mutex<RankedLock<R>, T>;

#[cfg(not(loom))]
impl<R: HasRank, T: Send> ForkLock for RankedMutex<R, T> {
    unsafe fn reset_in_child(&self) {
        // SAFETY: no guard is alive, so none is freed twice.
        let lock = unsafe { self.raw() };
        // SAFETY: this function's contract is the lock's contract.
        unsafe { lock.reset_in_child() };
    }

    #[cfg(test)]
    fn leave_held(&self) {
        core::mem::forget(self.try_lock());
    }

    #[cfg(test)]
    fn is_free(&self) -> bool {
        !self.is_locked()
    }
}

/// A free mutex with `data` in it.
#[cfg(not(loom))]
pub(crate) const fn mutex<R: HasRank, T>(data: T) -> RankedMutex<R, T> {
    RankedMutex::from_raw(RankedLock::new(), data)
}

/// A free mutex with `data` in it.
#[cfg(loom)]
pub(crate) fn mutex<R: HasRank, T>(data: T) -> RankedMutex<R, T> {
    RankedMutex::from_raw(RankedLock::new(), data)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use lock_api::MutexGuard;

    static INNERMOST: RankedMutex<BucketRank, ()> = mutex(());

    #[test]
    #[cfg(debug_assertions)]
    fn all_names_every_rank_in_order() {
        assert!(Rank::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Rank::ALL.last().map(|&rank| rank as usize + 1), Some(Rank::ALL.len()));
    }

    #[test]
    fn locks_nest_from_outer_to_inner() {
        let lock = mutex::<HeadRank, _>(1);
        let outer = lock.lock();
        let inner = INNERMOST.lock();
        assert!(lock.is_locked());
        assert_eq!(*outer, 1);
        drop((inner, outer));
        assert!(!lock.is_locked());
        assert_none_held();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order: Head asked for while Bucket is held")]
    fn the_wrong_order_is_found() {
        let outer = mutex::<HeadRank, _>(());
        let inner = mutex::<BucketRank, _>(());
        let _inner = inner.lock();
        let _outer = outer.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order: Head asked for while Head is held")]
    fn two_of_the_same_rank_are_found() {
        let one = mutex::<HeadRank, _>(());
        let two = mutex::<HeadRank, _>(());
        let _one = one.lock();
        let _two = two.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "is held where no lock may be")]
    fn a_lock_held_where_none_may_be_is_found() {
        let lock = mutex::<HeadRank, _>(());
        let _guard = lock.lock();
        assert_none_held();
    }

    #[test]
    fn a_leaked_lock_stays_held_until_it_is_forced() {
        let lock = mutex::<HeadRank, _>(());
        MutexGuard::leak(lock.lock());
        assert!(lock.try_lock().is_none());
        // SAFETY: nothing is done to the raw lock that its guard minds: the guard was leaked.
        let raw = unsafe { lock.raw() };
        assert!(raw.force_unlock());
        assert!(!raw.force_unlock());
        assert!(lock.try_lock().is_some());
        assert_none_held();
    }
}
