//! The parking lot: threads sleep on an address, first come first woken (S-PL-01..10).
//!
//! LOT-1: A bucket's list, and every field of a [`Waiter`] but `woken`, are touched under the
//!    bucket's lock only, or, once a waker has taken the waiter out of the list, by that waker
//!    alone until it stores `woken`.
//! LOT-2: A [`Waiter`] lives on the stack of the parked thread, and park() does not return before
//!    the waiter is out of the list and no waker still has it: it left the list itself, or it saw
//!    `woken`.
//! LOT-3: Storing `woken` is the last thing a waker does to a waiter. The futex wake after it uses
//!    the address only (FUTEX-2).
//! LOT-4: A waiter out of the list was chosen: it returns [`Parked::Unparked`] even if its deadline
//!    passed meanwhile (S-PL-02).
//! LOT-5: A waiter in the crowd sleeps on its bucket's word `crowd` and not on its own `woken`: one
//!    wake is enough for all of them. The thread that releases such waiters stores `woken` in each
//!    and then counts `crowd` up; a waiter reads `crowd` before `woken`, so it sees the store or
//!    sleeps on a count that is over. Others of the bucket wake for nothing, and sleep again.
//! LOT-6: No bucket lock is held while a thread sleeps, in any [`Waiting`] hook, or in a futex
//!    wake.
//!
//! Ordering: the store of `woken` (Release) pairs with the load of it (Acquire) in `sleep`: what
//! the unpark callback wrote through the token is seen by the woken thread. Validation and
//! callbacks on one key are ordered by the bucket lock.
//!
//! Mirrors CPython 3.13 Python/parking_lot.c, without its arrow up to the thread states.

use super::atomic::{AtomicU32, Cell, Ordering, const_unless_loom};
#[cfg(not(loom))]
use super::fork_lock::{ForkLock, ForkRow, fork_row};
use super::list::{DoubleLinks, Links, List, Pointer};
use super::owed;
use super::rank::{self, BucketRank, RankedMutex};
use super::wait_record::{WaitKind, WaitRecord};
use super::waiting::Waiting;
use crate::control;
use crate::os::clock::Deadline;
use crate::os::futex::{self, Wait};
use crate::os::tsan;
use core::ops::Deref;
use core::ptr::{self, NonNull};

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
    /// The deadline passed, and no waker had chosen this thread.
    TimedOut,
    /// A signal arrived, the waiting ends on signals, and no waker had chosen this thread.
    Interrupted,
}

struct Waiter {
    key: *const (),
    token: *mut (),
    next: Pointer<Waiter>,
    prev: Pointer<Waiter>,
    queued: Cell<bool>,
    /// It sleeps on its bucket's word (LOT-5).
    in_crowd: bool,
    /// 0, then 1 once woken.
    woken: AtomicU32,
}

impl Waiter {
    fn new(key: *const (), token: *mut (), place: QueuePosition) -> Self {
        Self {
            key,
            token,
            in_crowd: place == QueuePosition::Crowd,
            next: Pointer::new(ptr::null_mut()),
            prev: Pointer::new(ptr::null_mut()),
            queued: Cell::new(false),
            woken: AtomicU32::new(0),
        }
    }
}

/// A waiter that is in a list, or was chosen and not yet released: alive (LOT-2).
#[derive(Clone, Copy)]
struct WaiterRef(NonNull<Waiter>);

impl Deref for WaiterRef {
    type Target = Waiter;
    fn deref(&self) -> &Waiter {
        // SAFETY: LOT-2.
        unsafe { self.0.as_ref() }
    }
}

/// The waiters of a bucket, or the chosen ones of an unpark, which are in no other list.
struct Waiters;

// SAFETY: LOT-1 and LOT-2; `queued` says whether a waiter is in its bucket's list.
unsafe impl Links for Waiters {
    type Item = WaiterRef;
    type Block = Waiter;
    /// The list is the data inside the bucket's mutex.
    type Lock = ();

    fn as_ptr(item: WaiterRef) -> *mut Waiter {
        item.0.as_ptr()
    }

    unsafe fn from_ptr(block: *mut Waiter) -> Option<WaiterRef> {
        NonNull::new(block).map(WaiterRef)
    }

    fn next(item: &WaiterRef) -> &Pointer<Waiter> {
        &item.next
    }
}

// SAFETY: as above.
unsafe impl DoubleLinks for Waiters {
    fn prev(item: &WaiterRef) -> &Pointer<Waiter> {
        &item.prev
    }
}

/// Lets the thread of a dequeued waiter go, but for one in the crowd: true, then the caller wakes
/// the crowd of its bucket. The waiter must not be used after it (LOT-3).
#[must_use]
fn release(waiter: WaiterRef) -> bool {
    let (woken, in_crowd) = (&raw const waiter.woken, waiter.in_crowd);
    waiter.woken.store(1, Ordering::Release);
    if !in_crowd {
        futex::wake(woken, 1);
    }
    in_crowd
}

/// On a line of its own: neighbours' traffic does not slow it down.
#[repr(align(64))]
struct Bucket {
    waiters: RankedMutex<BucketRank, List<Waiters>>,
    /// Counts the wakes of the threads that sleep on it (LOT-5).
    crowd: AtomicU32,
}

impl Bucket {
    const_unless_loom! {
        fn new() -> Self {
            Self { waiters: rank::mutex(List::new()), crowd: AtomicU32::new(0) }
        }
    }

    /// Wakes the crowd, after [`release`].
    fn wake_crowd(&self) {
        self.crowd.fetch_add(1, Ordering::Release);
        futex::wake(&raw const self.crowd, u32::MAX >> 1);
    }
}

/// The waiters on `key`, the oldest first.
fn on(waiters: &List<Waiters>, key: *const ()) -> impl Iterator<Item = WaiterRef> {
    waiters.iter(&()).filter(move |waiter| waiter.key == key)
}

/// Takes a waiter out of its bucket's list.
fn dequeue(waiters: &List<Waiters>, waiter: WaiterRef) {
    waiters.remove(waiter, &());
    waiter.queued.set(false);
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
/// `validate` runs under the bucket's lock, in one order with the callbacks of [`unpark_one`] on
/// the same key; it must neither block nor park nor unpark. `token` is what such a callback gets.
/// Needs no thread state (S-PL-09).
///
/// The hook after the sleep may never return (the caller's interpreter is gone): then `give_back`
/// runs, with how the sleep ended. It passes on what the wake-up gave the caller, a lock or the
/// turn to try for one.
pub(crate) fn park(
    key: *const (),
    validate: impl FnOnce() -> bool,
    deadline: Deadline,
    token: *mut (),
    waiting: &mut impl Waiting,
    give_back: impl FnOnce(Parked),
) -> Parked {
    park_for(WaitKind::ParkingLot, key, validate, deadline, token, waiting, give_back)
}

/// [`park`], for something that is not just an address.
pub(crate) fn park_for(
    kind: WaitKind,
    key: *const (),
    validate: impl FnOnce() -> bool,
    deadline: Deadline,
    token: *mut (),
    waiting: &mut impl Waiting,
    give_back: impl FnOnce(Parked),
) -> Parked {
    let how = (QueuePosition::Last, Some(kind));
    park_at(how, key, validate, deadline, token, waiting, give_back)
}

/// The `give_back` of a wait that gives its thread nothing that another thread could
/// miss, because every wake-up on the key wakes all threads that sleep on it.
pub(crate) fn nothing(_: Parked) {}

/// Where in the queue of its key a waiter begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuePosition {
    /// Behind all others: the order of arrival (S-PL-03).
    Last,
    /// Behind all others, where nearly all wakes wake all that wait on the key: they cost one
    /// system call together.
    Crowd,
    /// Before all others: a waiter that was woken, lost the race, and keeps its turn.
    First,
}

/// [`park`], with a choice of place, and of what is recorded (`None`: the caller has a record).
pub(crate) fn park_at(
    (place, kind): (QueuePosition, Option<WaitKind>),
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
        let waiters = bucket.waiters.lock();
        if !validate() {
            return Parked::Again;
        }
        let waiter = WaiterRef(NonNull::from(&waiter));
        match place {
            QueuePosition::Last | QueuePosition::Crowd => waiters.push_back(waiter, &()),
            QueuePosition::First => waiters.push_front(waiter, &()),
        }
        waiter.queued.set(true);
    }
    waiting.before_sleep();
    let record = waiting
        .waits_for()
        .or(kind.map(|kind| (kind, key.addr())))
        .map(|(kind, object)| WaitRecord::begin(kind, object));
    let outcome = sleep(bucket, &waiter, deadline, waiting.ends_on_signal());
    drop(record);
    if outcome == Parked::Unparked {
        tsan::acquire(key);
    }
    owed::or_give_back(|| give_back(outcome), || waiting.after_sleep());
    outcome
}

/// Returns with `waiter` out of the list and known to no other thread (LOT-2).
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
        let waiters = bucket.waiters.lock();
        if waiter.queued.get() {
            dequeue(&waiters, WaiterRef(NonNull::from(waiter)));
            return ended;
        }
        drop(waiters);
        // Chosen already (LOT-4): the waker is about to store `woken`.
        deadline = Deadline::NEVER;
        ends_on_signal = false;
    }
}

/// Wakes the thread that has waited longest on `key`.
///
/// `choose` runs exactly once, under the bucket's lock: with the waiter's token, or `None` if no
/// thread waits; and with whether another thread waits on `key` (exact here; S-PL-04 would allow a
/// false "yes"). It must neither block nor park nor unpark.
pub(crate) fn unpark_one(key: *const (), choose: impl FnOnce(Option<*mut ()>, bool)) {
    let bucket = bucket(key);
    tsan::release(key);
    let chosen = {
        let waiters = bucket.waiters.lock();
        let mut candidates = on(&waiters, key);
        let Some(waiter) = candidates.next() else {
            choose(None, false);
            return;
        };
        let has_more = candidates.next().is_some();
        dequeue(&waiters, waiter);
        choose(Some(waiter.token), has_more);
        waiter
    };
    if release(chosen) {
        bucket.wake_crowd();
    }
}

/// Wakes all threads that wait on `key`, the oldest first.
pub(crate) fn unpark_all(key: *const ()) {
    let bucket = bucket(key);
    tsan::release(key);
    let chosen = List::<Waiters>::new();
    {
        let waiters = bucket.waiters.lock();
        for waiter in on(&waiters, key) {
            dequeue(&waiters, waiter);
            // Out of its bucket its links are ours (LOT-1).
            chosen.push_back(waiter, &());
        }
    }
    let mut crowd = false;
    while let Some(waiter) = chosen.pop_front(&()) {
        crowd |= release(waiter);
    }
    if crowd {
        bucket.wake_crowd();
    }
}

/// Forgets the waiters: their threads are not in this process. The lot is the first in a fork child
/// (S-PL-10).
#[cfg(not(loom))]
impl ForkLock for Bucket {
    unsafe fn reset_in_child(&self) {
        // SAFETY: this function's contract.
        unsafe { self.waiters.reset_in_child() };
        self.waiters.lock().forget(&());
    }

    #[cfg(test)]
    fn leave_held(&self) {
        self.waiters.leave_held();
    }

    #[cfg(test)]
    fn is_free(&self) -> bool {
        self.waiters.is_free()
    }
}

/// Makes the whole lot free in a fork child, for a host that says so itself.
///
/// # Safety
/// The caller is the only thread of the process, and is not inside a call of this module.
#[cfg(not(loom))]
pub(crate) unsafe fn reset_in_child() {
    // SAFETY: this function's contract is the futex's contract.
    unsafe { futex::reset_in_child() };
    // SAFETY: this function's contract.
    unsafe { LOT.reset_in_child() };
}

/// The lot in the fork table.
#[cfg(not(loom))]
pub(crate) static FORK_ROWS: [ForkRow; 1] = [fork_row!(LOT)];

/// How many threads are parked on `key`, for tests that must know that a peer sleeps.
#[cfg(test)]
pub(crate) fn count(key: *const ()) -> usize {
    on(&bucket(key).waiters.lock(), key).count()
}

#[cfg(all(test, not(loom)))]
mod tests;
