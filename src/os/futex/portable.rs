//! The futex of systems without one: a table of mutexes, and one condition variable per sleeper.
//!
//! PORTABLE-1: A bucket's list and every field of its sleepers but `ready` are touched under the
//!    bucket's mutex only.
//! PORTABLE-2: A sleeper lives on the stack of the thread that sleeps and is unlinked, under the
//!    mutex, before that returns.
//! PORTABLE-3: The word is compared under the mutex, and a waker takes the mutex after it stored to
//!    the word: no wake is lost (FUTEX-3).
//! PORTABLE-4: Condition variables wait on the wall clock; a thread that wakes by it looks at the
//!    monotonic clock again, so a wait never ends early, and a clock that is set cannot make it
//!    longer than one more [`LONGEST_NAP_NS`].

use super::Wait;
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::clock::{self, Deadline, NS_PER_S};
use core::cell::{Cell, UnsafeCell};
use core::ptr;

const BUCKETS: usize = 64;
const LONGEST_NAP_NS: i64 = NS_PER_S;

struct Sleeper {
    word: *const AtomicU32,
    next: Cell<*const Sleeper>,
    woken: Cell<bool>,
    ready: UnsafeCell<libc::pthread_cond_t>,
}

struct Bucket {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    /// Oldest first.
    head: Cell<*const Sleeper>,
}

// SAFETY: `head` is guarded by `mutex` (PORTABLE-1), which is made for sharing.
unsafe impl Sync for Bucket {}

impl Bucket {
    const fn new() -> Self {
        Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            head: Cell::new(ptr::null()),
        }
    }
}

static TABLE: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];

/// A bucket whose mutex the caller holds.
struct Locked(&'static Bucket);

impl Locked {
    fn of(word: *const AtomicU32) -> Self {
        let bucket = &TABLE[(word.addr() >> 4) % BUCKETS];
        // SAFETY: the mutex is static and initialised.
        let failed = unsafe { libc::pthread_mutex_lock(bucket.mutex.get()) };
        debug_assert_eq!(failed, 0);
        Self(bucket)
    }

    /// The first link whose target satisfies `wanted`, or the last link, which is NULL.
    fn link_to(&self, wanted: impl Fn(&Sleeper) -> bool) -> &Cell<*const Sleeper> {
        let mut link = &self.0.head;
        // SAFETY: PORTABLE-1, PORTABLE-2: the caller holds the mutex, so what is in the list is
        // alive.
        while let Some(sleeper) = unsafe { link.get().as_ref() } {
            if wanted(sleeper) {
                break;
            }
            link = &sleeper.next;
        }
        link
    }

    /// Takes out the first sleeper that satisfies `wanted`.
    fn take(&self, wanted: impl Fn(&Sleeper) -> bool) -> Option<&Sleeper> {
        let link = self.link_to(wanted);
        // SAFETY: PORTABLE-1, PORTABLE-2: the caller holds the mutex, so what is in the list is
        // alive.
        let sleeper = unsafe { link.get().as_ref() }?;
        link.set(sleeper.next.get());
        Some(sleeper)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: made by `of`, so the calling thread holds the mutex.
        let failed = unsafe { libc::pthread_mutex_unlock(self.0.mutex.get()) };
        debug_assert_eq!(failed, 0);
    }
}

/// `nap_ns` from now on the clock that condition variables wait on.
fn wall_time_after(nap_ns: i64) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable; the wall clock always exists.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    debug_assert_eq!(failed, 0);
    let then = clock::nanoseconds(now).saturating_add(nap_ns);
    now.tv_sec = (then / NS_PER_S) as libc::time_t;
    now.tv_nsec = (then % NS_PER_S) as _;
    now
}

#[cfg(test)]
pub(super) const REPORTS_SIGNALS: bool = false;

pub(super) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Wait {
    let locked = Locked::of(word);
    if word.load(Ordering::SeqCst) != expected {
        return Wait::Changed;
    }
    let sleeper = Sleeper {
        word,
        next: Cell::new(ptr::null()),
        woken: Cell::new(false),
        ready: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
    };
    locked.link_to(|_| false).set(&raw const sleeper);
    let outcome = sleep(&locked, &sleeper, deadline);
    // SAFETY: it is out of the list, so no thread signals it any more.
    let _ = unsafe { libc::pthread_cond_destroy(sleeper.ready.get()) };
    outcome
}

/// Returns with `sleeper` out of the list (PORTABLE-2).
fn sleep(locked: &Locked, sleeper: &Sleeper, deadline: Deadline) -> Wait {
    let (ready, mutex) = (sleeper.ready.get(), locked.0.mutex.get());
    while !sleeper.woken.get() {
        match deadline.remaining_ns() {
            Some(0) => {
                let found = locked.take(|other| ptr::eq(other, sleeper));
                debug_assert!(found.is_some());
                return Wait::TimedOut;
            }
            Some(left) => {
                let until = wall_time_after(left.min(LONGEST_NAP_NS));
                // SAFETY: the caller holds the mutex; both objects are initialised and alive.
                let _ = unsafe { libc::pthread_cond_timedwait(ready, mutex, &raw const until) };
            }
            None => {
                // SAFETY: as above.
                let _ = unsafe { libc::pthread_cond_wait(ready, mutex) };
            }
        }
    }
    Wait::Woken
}

pub(super) fn wake(word: *const AtomicU32, count: u32) {
    let locked = Locked::of(word);
    for _ in 0..count {
        let Some(sleeper) = locked.take(|sleeper| sleeper.word == word) else {
            break;
        };
        sleeper.woken.set(true);
        // SAFETY: the sleeper needs the mutex, which we hold, before it can go away (PORTABLE-2).
        let _ = unsafe { libc::pthread_cond_signal(sleeper.ready.get()) };
    }
}

/// Makes every bucket new: its mutex may have been held, and its sleepers lived, in threads that
/// this process does not have.
///
/// # Safety
/// The caller is the only thread of the process.
pub(super) unsafe fn reset_in_child() {
    for bucket in &TABLE {
        // SAFETY: no other thread exists.
        unsafe { bucket.mutex.get().write(libc::PTHREAD_MUTEX_INITIALIZER) };
        bucket.head.set(ptr::null());
    }
}
