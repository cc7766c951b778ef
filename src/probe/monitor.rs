//! This layer's own lock: one word to hold it, one word to wait for a change of what it guards.
//!
//! Not `sync`'s: a thread that is held at a point may stand in the middle of any of `sync`'s own
//! operations, and everything here must work while those are under test.
//!
//! | `word` | means |
//! |--------|-------|
//! | 0      | free |
//! | 1      | held |
//! | 2      | held, and somebody may sleep for it |
//!
//! N1. `data` is touched only between `enter` and the drop of [`Held`].
//! N2. The acquire in `enter` pairs with the release in `Held::drop`.
//! N3. `changes` moves only while the lock is held, so who reads it inside, leaves and
//!     sleeps for another value misses no change.
//! N4. A thread that holds a monitor counts itself in [`DEPTH`] from before it takes the word until
//!     after it gave it back: a signal handler that interrupts it sees that and stays out.
//! N5. Monitors are leaves: with one held, no other lock is taken and no stranger's code runs, except that
//!     who reads the environment enters the monitors of what it turns on.

use core::cell::{Cell, UnsafeCell};
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::os::clock::Deadline;
use crate::os::futex::{self, Wait};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

thread_local! {
    /// How many monitors the thread holds or is taking. No destructor: usable until the thread is gone.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// True on a thread that holds a monitor, which only a signal handler can find out.
pub(super) fn is_inside() -> bool {
    DEPTH.get() != 0
}

/// Data, the lock around it, and a way to wait until somebody changed it.
pub(super) struct Monitor<T> {
    word: AtomicU32,
    changes: AtomicU32,
    data: UnsafeCell<T>,
}

// SAFETY: N1 and N2: one thread at a time touches `data`, each after the one before.
unsafe impl<T: Send> Sync for Monitor<T> {}

/// The right to touch the data, until dropped.
pub(super) struct Held<'a, T> {
    monitor: &'a Monitor<T>,
}

impl<T> Monitor<T> {
    /// A free monitor.
    pub(super) const fn new(data: T) -> Self {
        Self { word: AtomicU32::new(FREE), changes: AtomicU32::new(0), data: UnsafeCell::new(data) }
    }

    /// Takes the lock, sleeping as long as that takes.
    pub(super) fn enter(&self) -> Held<'_, T> {
        DEPTH.set(DEPTH.get() + 1);
        if self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
            while self.word.swap(CONTENDED, Acquire) != FREE {
                // Whatever woke us, the word decides.
                let _ = futex::wait(&self.word, CONTENDED, Deadline::NEVER);
            }
        }
        Held { monitor: self }
    }

    /// Frees the lock in a fork child; the data is as its last holder left it, maybe half changed.
    ///
    /// # Safety
    /// The caller is the only thread of the process and does not hold the lock.
    pub(super) unsafe fn reset_in_child(&self) {
        self.word.store(FREE, Relaxed);
        self.changes.store(0, Relaxed);
    }

    fn leave(&self) {
        if self.word.swap(FREE, Release) == CONTENDED {
            futex::wake(&raw const self.word, 1);
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

impl<'a, T> Held<'a, T> {
    /// Gives up the lock until somebody called [`Held::changed`] or the deadline passed, and takes it again.
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

    /// Wakes everybody in [`Held::wait`].
    pub(super) fn changed(&self) {
        let changes = &self.monitor.changes;
        changes.store(changes.load(Relaxed).wrapping_add(1), Relaxed);
        futex::wake(&raw const *changes, u32::MAX);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: N1: this value is the right to it.
        unsafe { &*self.monitor.data.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: N1: this value is the right to it.
        unsafe { &mut *self.monitor.data.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.monitor.leave();
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
