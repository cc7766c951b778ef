//! Sequence lock: readers never write, and find out afterwards whether what they read was whole
//! (S-SQ-01..04).
//!
//! The sequence is odd while a writer is active. Writers exclude each other by it. No thread parks
//! or detaches.
//!
//! Ordering: `lock_write`'s Acquire exchange with its Release fence keeps the writes inside after
//! the odd value; `unlock_write`'s Release store keeps them before the even one. `begin_read`'s
//! Acquire load keeps the reads after it; `end_read`'s Acquire fence keeps them before its load.
//! The data itself must be read and written with relaxed atomics.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::atomic::{AtomicU32, Ordering, const_unless_loom, fence, yield_now};

/// CPython's _PySeqLock: same size. All-zero is free. Must not move while in use.
#[derive(Debug, Default)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name that C sees")]
pub struct _PySeqLock {
    sequence: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<_PySeqLock>() == 4);

/// A write was ended that no thread had begun; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoWriter;

fn is_odd(sequence: u32) -> bool {
    sequence & 1 != 0
}

impl _PySeqLock {
    const_unless_loom! {
        /// A lock without an active writer.
        #[cfg(any(test, loom))]
        pub(crate) fn new() -> Self {
            Self { sequence: AtomicU32::new(0) }
        }
    }

    /// Waits until no writer is active, then is one.
    pub(crate) fn lock_write(&self) {
        let mut sequence = self.sequence.load(Ordering::Relaxed);
        loop {
            if is_odd(sequence) {
                yield_now();
                sequence = self.sequence.load(Ordering::Relaxed);
                continue;
            }
            let begun = self.sequence.compare_exchange_weak(
                sequence,
                sequence.wrapping_add(1),
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match begun {
                Ok(_) => break,
                Err(now) => sequence = now,
            }
        }
        fence(Ordering::Release);
    }

    /// Ends the write. A reader that read meanwhile, or began before, reads again.
    pub(crate) fn unlock_write(&self) -> Result<(), NoWriter> {
        self.end_write(1)
    }

    /// Ends a write that wrote nothing. A reader that began before it need not read again.
    pub(crate) fn abandon_write(&self) -> Result<(), NoWriter> {
        self.end_write(u32::MAX)
    }

    fn end_write(&self, step: u32) -> Result<(), NoWriter> {
        // Only the active writer changes an odd sequence.
        let sequence = self.sequence.load(Ordering::Relaxed);
        if !is_odd(sequence) {
            return Err(NoWriter);
        }
        self.sequence.store(sequence.wrapping_add(step), Ordering::Release);
        Ok(())
    }

    /// Waits until no writer is active; what it answers goes to [`Self::end_read`].
    pub(crate) fn begin_read(&self) -> u32 {
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            if !is_odd(sequence) {
                return sequence;
            }
            yield_now();
        }
    }

    /// True if nothing was written since [`Self::begin_read`] answered `previous`. If not, it
    /// yields first.
    pub(crate) fn end_read(&self, previous: u32) -> bool {
        fence(Ordering::Acquire);
        let unchanged = self.sequence.load(Ordering::Relaxed) == previous;
        if !unchanged {
            yield_now();
        }
        unchanged
    }

    /// In a fork child: true if a writer of the parent was active, whose data must be thrown away;
    /// the lock is free then.
    pub(crate) fn after_fork(&self) -> bool {
        let torn = is_odd(self.sequence.load(Ordering::Relaxed));
        if torn {
            self.sequence.store(0, Ordering::Relaxed);
        }
        torn
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    fn sequence(lock: &_PySeqLock) -> u32 {
        lock.sequence.load(Ordering::SeqCst)
    }

    #[test]
    fn the_sequence_is_odd_while_somebody_writes() {
        let lock = _PySeqLock::new();
        let before = lock.begin_read();
        lock.lock_write();
        assert_eq!(sequence(&lock), 1);
        assert!(!lock.end_read(before));
        assert_eq!(lock.unlock_write(), Ok(()));
        assert_eq!(sequence(&lock), 2);
        assert!(!lock.end_read(before));
        assert!(lock.end_read(lock.begin_read()));
    }

    #[test]
    fn an_abandoned_write_leaves_earlier_readers_valid() {
        let lock = _PySeqLock::new();
        let before = lock.begin_read();
        lock.lock_write();
        assert_eq!(lock.abandon_write(), Ok(()));
        assert!(lock.end_read(before));
    }

    #[test]
    fn the_end_of_a_write_that_nobody_began_is_told() {
        let lock = _PySeqLock::new();
        assert_eq!(lock.unlock_write(), Err(NoWriter));
        assert_eq!(lock.abandon_write(), Err(NoWriter));
        assert_eq!(sequence(&lock), 0);
    }

    #[test]
    fn a_fork_child_frees_a_torn_write_and_says_so() {
        let lock = _PySeqLock::new();
        lock.lock_write();
        assert!(lock.after_fork());
        assert_eq!(sequence(&lock), 0);
        assert!(!lock.after_fork());
    }

    #[test]
    fn readers_never_validate_a_torn_pair() {
        let lock = _PySeqLock::new();
        let pair = [AtomicU32::new(0), AtomicU32::new(0)];
        let done = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        lock.lock_write();
                        let next = pair[0].load(Ordering::Relaxed) + 1;
                        pair[0].store(next, Ordering::Relaxed);
                        pair[1].store(next, Ordering::Relaxed);
                        assert_eq!(lock.unlock_write(), Ok(()));
                    }
                    done.fetch_add(1, Ordering::Release);
                });
            }
            scope.spawn(|| {
                let mut last = 0;
                while done.load(Ordering::Acquire) < 2 {
                    let begun = lock.begin_read();
                    let read = [pair[0].load(Ordering::Relaxed), pair[1].load(Ordering::Relaxed)];
                    if lock.end_read(begun) {
                        assert_eq!(read[0], read[1]);
                        assert!(read[0] >= last);
                        last = read[0];
                    }
                }
            });
        });
        assert_eq!(pair[1].load(Ordering::Relaxed), 10_000);
    }
}
