//! This layer's own mutex: data inside a [`WordLock`], and one word to wait for a change of the
//! data.
//!
//! MON-1: `changes` moves only while the lock is held. So a thread that reads it under the lock,
//!     then frees the lock and sleeps while it has that value, misses no change.
//! MON-2: A thread that holds a monitor counts itself in [`DEPTH`] from before it locks until after
//!     it has unlocked: a signal handler that interrupts it sees that and stays out.
//! MON-3: Monitors are leaves: with one held, no other lock is taken and no code of the host runs.
//!     The exception is the reader of the environment, which enters the monitors of what it turns
//!     on.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

use crate::os::clock::Deadline;
use crate::os::futex::{self, Wait};
use crate::sync::fork_lock::ForkLock;
use crate::sync::word_lock::WordLock;

thread_local! {
    /// How many monitors the thread holds or is taking. No destructor: usable until the thread is
    /// gone.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// True on a thread that holds a monitor, which only a signal handler can find out.
pub(super) fn is_inside() -> bool {
    DEPTH.get() != 0
}

/// A [`WordLock`] that keeps MON-2.
struct Counted(WordLock);

// SAFETY: it adds a count to `WordLock`, which excludes.
unsafe impl lock_api::RawMutex for Counted {
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "the trait initialises locks with it; each use is a lock of its own"
    )]
    const INIT: Self = Self(WordLock::new());

    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        DEPTH.set(DEPTH.get() + 1);
        self.0.lock();
    }

    fn try_lock(&self) -> bool {
        DEPTH.set(DEPTH.get() + 1);
        let locked = self.0.try_lock();
        if !locked {
            DEPTH.set(DEPTH.get() - 1);
        }
        locked
    }

    unsafe fn unlock(&self) {
        self.0.unlock();
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Data, the lock around it, and a way to wait until another thread has changed it.
pub(super) struct Monitor<T> {
    data: lock_api::Mutex<Counted, T>,
    changes: AtomicU32,
}

/// The right to touch the data, until dropped.
pub(super) struct Held<'a, T> {
    monitor: &'a Monitor<T>,
    data: lock_api::MutexGuard<'a, Counted, T>,
}

impl<T> Monitor<T> {
    /// A free monitor.
    pub(super) const fn new(data: T) -> Self {
        Self { data: lock_api::Mutex::new(data), changes: AtomicU32::new(0) }
    }

    /// Takes the lock, sleeping as long as that takes.
    pub(super) fn enter(&self) -> Held<'_, T> {
        Held { monitor: self, data: self.data.lock() }
    }
}

impl<T: Send> ForkLock for Monitor<T> {
    /// The data is as its last holder left it, maybe half changed.
    unsafe fn reset_in_child(&self) {
        // SAFETY: no guard is alive, so none is freed twice.
        let lock = unsafe { self.data.raw() };
        // SAFETY: this function's contract is the lock's contract.
        unsafe { lock.0.reset_in_child() };
        self.changes.store(0, Relaxed);
    }

    #[cfg(test)]
    fn leave_held(&self) {
        core::mem::forget(self.data.try_lock());
    }

    #[cfg(test)]
    fn is_free(&self) -> bool {
        !self.data.is_locked()
    }
}

impl<'a, T> Held<'a, T> {
    /// Frees the lock until another thread has called [`Held::changed`] or the deadline passed, and
    /// takes it again.
    ///
    /// May return without either: the caller looks at the data again.
    pub(super) fn wait(self, deadline: Deadline) -> Self {
        let monitor: &'a Monitor<T> = self.monitor;
        let seen = monitor.changes.load(Relaxed);
        drop(self);
        // All four outcomes mean the same here: look again.
        let _: Wait = futex::wait(&monitor.changes, seen, deadline);
        monitor.enter()
    }

    /// Wakes all threads in [`Held::wait`].
    pub(super) fn changed(&self) {
        let changes = &self.monitor.changes;
        changes.store(changes.load(Relaxed).wrapping_add(1), Relaxed);
        futex::wake(&raw const *changes, u32::MAX);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, Monitor, is_inside};

    #[test]
    fn one_thread_at_a_time_and_no_change_is_missed() {
        static TURN: Monitor<(u32, u32)> = Monitor::new((0, 0));
        const ROUNDS: u32 = 500;
        std::thread::scope(|scope| {
            for me in 0..2 {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let mut held = TURN.enter();
                        while held.0 != me {
                            held = held.wait(Deadline::NEVER);
                        }
                        held.0 = 1 - me;
                        held.1 += 1;
                        held.changed();
                    }
                });
            }
        });
        assert_eq!(TURN.enter().1, 2 * ROUNDS);
        assert!(!is_inside());
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        static NOBODY: Monitor<()> = Monitor::new(());
        let deadline = Deadline::after(2_000_000);
        let mut held = NOBODY.enter();
        while !deadline.passed() {
            held = held.wait(deadline);
        }
        assert!(is_inside());
        drop(held);
        assert!(!is_inside());
    }
}
