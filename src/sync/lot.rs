//! The parking lot: threads sleep on an address, first come first woken (S-PL-01..10).
//!
//! L1 A bucket's list, and every field of a [`Waiter`] but `woken`, are touched under the bucket's lock only, or, once a
//!    waker has taken the waiter out of the list, by that waker alone until it stores `woken`.
//! L2 A [`Waiter`] lives on the stack of the parked thread, and park() does not return before the waiter is out of the list
//!    and no waker still has it: it left the list itself, or it saw `woken`.
//! L3 Storing `woken` is the last thing a waker does to a waiter. The futex wake after it uses the address only (futex F2).
//! L4 A waiter out of the list was chosen: it returns [`Parked::Unparked`] even if its deadline passed meanwhile (S-PL-02).
//! L5 A waiter in the crowd sleeps on its bucket's word `crowd` and not on its own `woken`: one wake is enough for all of
//!    them. Who releases such waiters stores `woken` in each and then counts `crowd` up; a waiter reads `crowd` before
//!    `woken`, so it sees the store or sleeps on a count that is over. Others of the bucket wake for nothing, and sleep again.
//! L6 No bucket lock is held while anybody sleeps, in any [`Waiting`] hook, or in a futex wake.
//!
//! Ordering: the store of `woken` (Release) pairs with the load of it (Acquire) in `sleep`: what the unpark callback wrote
//! through the token is seen by the woken thread. Validation and callbacks on one key are ordered by the bucket lock.
//!
//! Mirrors CPython 3.13 Python/parking_lot.c, without its arrow up to the thread states.

use super::atomic::{AtomicU32, Cell, Ordering, const_unless_loom};
use super::owed;
use super::rank::{self, Rank, RankedLock};
use super::waiting::Waiting;
use crate::control;
use crate::os::clock::Deadline;
use crate::os::futex::{self, Wait};
use crate::os::tsan;
use core::ptr;

/// A prime, so that addresses of equal alignment spread. Models use one bucket: all keys collide.
const BUCKETS: usize = if cfg!(loom) { 1 } else { 257 };

/// How a [`park`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Parked {
    /// Chosen by an unpark.
    Unparked,
    /// `validate` said no: no sleep.
    Again,
    /// The deadline passed, and nobody had chosen this thread.
    TimedOut,
    /// A signal arrived, the waiting ends on signals, and nobody had chosen this thread.
    Interrupted,
}

struct Waiter {
    key: *const (),
    token: *mut (),
    next: Cell<*const Waiter>,
    prev: Cell<*const Waiter>,
    queued: Cell<bool>,
    /// It sleeps on its bucket's word (L5).
    in_crowd: bool,
    /// 0, then 1 once woken.
    woken: AtomicU32,
}

impl Waiter {
    fn new(key: *const (), token: *mut (), place: Place) -> Self {
        Self {
            key,
            token,
            in_crowd: place == Place::Crowd,
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            queued: Cell::new(false),
            woken: AtomicU32::new(0),
        }
    }
}

/// Lets the thread of a dequeued waiter go, but for one in the crowd: true, then the caller wakes the crowd of its bucket. The
/// waiter must not be used after it (L3).
#[must_use]
fn release(waiter: *const Waiter) -> bool {
    // SAFETY: L2: the waiter lives until it sees the store below.
    let Waiter { woken, in_crowd, .. } = unsafe { &*waiter };
    let (woken, in_crowd) = (ptr::from_ref(woken), *in_crowd);
    // SAFETY: as above.
    unsafe { &*woken }.store(1, Ordering::Release);
    if !in_crowd {
        futex::wake(woken, 1);
    }
    in_crowd
}

/// On a line of its own: neighbours' traffic does not slow it down.
#[repr(align(64))]
struct Bucket {
    lock: RankedLock,
    head: Cell<*const Waiter>,
    tail: Cell<*const Waiter>,
    /// Counts the wakes of those who sleep on it (L5).
    crowd: AtomicU32,
}

// SAFETY: L1: `head` and `tail` are touched under `lock` only.
unsafe impl Sync for Bucket {}
// SAFETY: nothing in it belongs to a thread; the waiters it points to outlive their stay in it (L2).
unsafe impl Send for Bucket {}

impl Bucket {
    const_unless_loom! {
        fn new() -> Self {
            Self {
                lock: RankedLock::new(Rank::Bucket),
                head: Cell::new(ptr::null()),
                tail: Cell::new(ptr::null()),
                crowd: AtomicU32::new(0),
            }
        }
    }

    /// Wakes the crowd, after [`release`].
    fn wake_crowd(&self) {
        self.crowd.fetch_add(1, Ordering::Release);
        futex::wake(&raw const self.crowd, u32::MAX >> 1);
    }

    /// Adds the youngest waiter. The caller holds the lock.
    fn push(&self, waiter: &Waiter) {
        let tail = self.tail.get();
        waiter.prev.set(tail);
        waiter.next.set(ptr::null());
        waiter.queued.set(true);
        // SAFETY: L1, L2: the caller holds the lock, so what is in the list is alive.
        match unsafe { tail.as_ref() } {
            Some(tail) => tail.next.set(waiter),
            None => self.head.set(waiter),
        }
        self.tail.set(waiter);
    }

    /// Adds a waiter before all others. The caller holds the lock.
    fn push_front(&self, waiter: &Waiter) {
        let head = self.head.get();
        waiter.prev.set(ptr::null());
        waiter.next.set(head);
        waiter.queued.set(true);
        // SAFETY: L1, L2: the caller holds the lock, so what is in the list is alive.
        match unsafe { head.as_ref() } {
            Some(head) => head.prev.set(waiter),
            None => self.tail.set(waiter),
        }
        self.head.set(waiter);
    }

    /// Takes a waiter out. The caller holds the lock, and the waiter is in.
    fn remove(&self, waiter: &Waiter) {
        let (next, prev) = (waiter.next.get(), waiter.prev.get());
        // SAFETY: L1, L2: the caller holds the lock, so what is in the list is alive.
        match unsafe { next.as_ref() } {
            Some(next) => next.prev.set(prev),
            None => self.tail.set(prev),
        }
        // SAFETY: as above.
        match unsafe { prev.as_ref() } {
            Some(prev) => prev.next.set(next),
            None => self.head.set(next),
        }
        waiter.queued.set(false);
    }

    /// The first waiter on `key` from `from` on. The caller holds the lock.
    fn find(&self, mut from: *const Waiter, key: *const ()) -> Option<&Waiter> {
        // SAFETY: L1, L2: the caller holds the lock, so what is in the list is alive.
        while let Some(waiter) = unsafe { from.as_ref() } {
            if waiter.key == key {
                return Some(waiter);
            }
            from = waiter.next.get();
        }
        None
    }
}

#[cfg(not(loom))]
static LOT: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];

#[cfg(loom)]
loom::lazy_static! {
    static ref LOT: [Bucket; BUCKETS] = core::array::from_fn(|_| Bucket::new());
}

fn bucket(key: *const ()) -> &'static Bucket {
    &LOT[control::spread(key) % BUCKETS]
}

/// Sleeps on `key` until unparked or `deadline` passed, if `validate` agrees.
///
/// `validate` runs under the bucket's lock, in one order with the callbacks of [`unpark_one`] on the same key; it must neither
/// block nor park nor unpark. `token` is what such a callback gets. Needs no thread state (S-PL-09).
///
/// The hook after the sleep may never return (the caller's interpreter is gone): then `give_back` runs, with how the sleep
/// ended. It passes on what the wake-up gave the caller, a lock or the turn to try for one.
pub(crate) fn park(
    key: *const (),
    validate: impl FnOnce() -> bool,
    deadline: Deadline,
    token: *mut (),
    waiting: &mut impl Waiting,
    give_back: impl FnOnce(Parked),
) -> Parked {
    park_at(Place::Last, key, validate, deadline, token, waiting, give_back)
}

/// For [`park`]: the wait gives its thread nothing that another thread could
/// miss. Every wake-up on the key wakes all that sleep on it.
pub(crate) fn nothing(_: Parked) {}

/// Where in the queue of its key a waiter begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind everybody: the order of arrival (S-PL-03).
    Last,
    /// Behind everybody, where nearly all wakes wake all that wait on the key: they cost one system call together.
    Crowd,
    /// Before everybody: a waiter that was woken, lost the race, and keeps its turn.
    First,
}

/// [`park`], with a choice of place.
pub(crate) fn park_at(
    place: Place,
    key: *const (),
    validate: impl FnOnce() -> bool,
    deadline: Deadline,
    token: *mut (),
    waiting: &mut impl Waiting,
    give_back: impl FnOnce(Parked),
) -> Parked {
    rank::assert_none_held();
    let bucket = bucket(key);
    let waiter = Waiter::new(key, token, place);
    {
        let _guard = bucket.lock.lock();
        if !validate() {
            return Parked::Again;
        }
        match place {
            Place::Last | Place::Crowd => bucket.push(&waiter),
            Place::First => bucket.push_front(&waiter),
        }
    }
    waiting.before_sleep();
    let outcome = sleep(bucket, &waiter, deadline, waiting.ends_on_signal());
    if outcome == Parked::Unparked {
        tsan::acquire(key);
    }
    owed::or_give_back(|| give_back(outcome), || waiting.after_sleep());
    outcome
}

/// Returns with `waiter` out of the list and known to no other thread (L2).
fn sleep(
    bucket: &Bucket,
    waiter: &Waiter,
    mut deadline: Deadline,
    mut ends_on_signal: bool,
) -> Parked {
    loop {
        let (word, seen) = if waiter.in_crowd {
            (&bucket.crowd, bucket.crowd.load(Ordering::Acquire))
        } else {
            (&waiter.woken, 0)
        };
        if waiter.woken.load(Ordering::Acquire) != 0 {
            return Parked::Unparked;
        }
        let ended = match futex::wait(word, seen, deadline) {
            Wait::TimedOut => Parked::TimedOut,
            Wait::Interrupted if ends_on_signal => Parked::Interrupted,
            Wait::Woken | Wait::Changed | Wait::Interrupted => continue,
        };
        let guard = bucket.lock.lock();
        if waiter.queued.get() {
            bucket.remove(waiter);
            return ended;
        }
        drop(guard);
        // Chosen already (L4): the waker is about to store `woken`.
        deadline = Deadline::NEVER;
        ends_on_signal = false;
    }
}

/// Wakes who has waited longest on `key`.
///
/// `choose` runs exactly once, under the bucket's lock: with the waiter's token, or `None` if nobody waits; and with whether
/// somebody else waits on `key` (exact here; S-PL-04 would allow a false "yes"). It must neither block nor park nor unpark.
pub(crate) fn unpark_one(key: *const (), choose: impl FnOnce(Option<*mut ()>, bool)) {
    let bucket = bucket(key);
    tsan::release(key);
    let chosen = {
        let _guard = bucket.lock.lock();
        let Some(waiter) = bucket.find(bucket.head.get(), key) else {
            choose(None, false);
            return;
        };
        let has_more = bucket.find(waiter.next.get(), key).is_some();
        bucket.remove(waiter);
        choose(Some(waiter.token), has_more);
        ptr::from_ref(waiter)
    };
    if release(chosen) {
        bucket.wake_crowd();
    }
}

/// Wakes everybody who waits on `key`, the oldest first.
pub(crate) fn unpark_all(key: *const ()) {
    let bucket = bucket(key);
    tsan::release(key);
    let mut first: *const Waiter = ptr::null();
    {
        let _guard = bucket.lock.lock();
        let mut last: *const Waiter = ptr::null();
        let mut from = bucket.head.get();
        while let Some(waiter) = bucket.find(from, key) {
            from = waiter.next.get();
            bucket.remove(waiter);
            // Out of the list its `next` is ours (L1): chain the chosen ones.
            waiter.next.set(ptr::null());
            // SAFETY: L2: chosen and not yet released, so alive.
            match unsafe { last.as_ref() } {
                Some(last) => last.next.set(waiter),
                None => first = waiter,
            }
            last = waiter;
        }
    }
    let mut crowd = false;
    // SAFETY: L2: chosen and not yet released, so alive; `next` is read before the release.
    while let Some(waiter) = unsafe { first.as_ref() } {
        first = waiter.next.get();
        crowd |= release(waiter);
    }
    if crowd {
        bucket.wake_crowd();
    }
}

/// Forgets all waiters: their threads are not in this process. First thing in a fork child, before any lock (S-PL-10).
///
/// # Safety
/// The caller is the only thread of the process, and is not inside a call of this module.
pub(crate) unsafe fn reset_in_child() {
    // SAFETY: this function's contract is the futex's contract.
    unsafe { futex::reset_in_child() };
    for bucket in LOT.iter() {
        // SAFETY: the only thread is not in this module, so it holds no bucket.
        unsafe { bucket.lock.reset_in_child() };
        bucket.head.set(ptr::null());
        bucket.tail.set(ptr::null());
    }
}

/// How many threads are parked on `key`, for tests that must know that a peer sleeps.
#[cfg(test)]
pub(crate) fn count(key: *const ()) -> usize {
    let bucket = bucket(key);
    let _guard = bucket.lock.lock();
    let mut count = 0;
    let mut from = bucket.head.get();
    while let Some(waiter) = bucket.find(from, key) {
        from = waiter.next.get();
        count += 1;
    }
    count
}

#[cfg(all(test, not(loom)))]
mod tests;
