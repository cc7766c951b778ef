//! The state word of a thread state: whether a thread may run with it.
//!
//! | from          | to            | by                                    |
//! |---------------|---------------|---------------------------------------|
//! | DETACHED      | ATTACHED      | the bound OS thread (S-TS-03)         |
//! | ATTACHED      | DETACHED      | the bound OS thread (S-TS-03)         |
//! | ATTACHED      | SUSPENDED     | the bound OS thread, at a stop request (S-TS-04) |
//! | DETACHED      | SUSPENDED     | the thread that stops the world (S-TS-05) |
//! | SUSPENDED     | DETACHED      | the thread that stopped the world     |
//! | DETACHED, SUSPENDED | SHUTTING_DOWN | the finalizing thread, world stopped (S-TS-06); terminal |
//!
//! Ordering: every transition out of ATTACHED is a release, every transition
//! into it an acquire, so that a thread that attaches (or stops the world) sees what the
//! previous holder wrote.
//!
//! Mirrors CPython 3.13 `tstate_try_attach`, `detach_thread` (pystate.c).

use crate::sync::atomic::{AtomicI32, Ordering};

/// Not allowed to touch the runtime.
pub(crate) const DETACHED: i32 = 0;
/// A thread runs with the state.
pub(crate) const ATTACHED: i32 = 1;
/// Held by a stop-the-world pause.
pub(crate) const SUSPENDED: i32 = 2;
/// Its interpreter committed to finalization; never attaches again.
pub(crate) const SHUTTING_DOWN: i32 = 3;

/// Outcome of [`try_attach`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryAttach {
    /// The caller now runs with this state.
    Attached,
    /// The world is stopped: park on the word, then try again.
    Suspended,
    /// The interpreter is gone for this thread.
    ShuttingDown,
    /// A thread runs with the state already.
    InUse,
}

/// DETACHED to ATTACHED. One atomic read-modify-write.
#[inline]
pub(crate) fn try_attach(word: &AtomicI32) -> TryAttach {
    // Acquire pairs with the release of `detach` and of `resume`.
    match word.compare_exchange(DETACHED, ATTACHED, Ordering::Acquire, Ordering::Relaxed) {
        Ok(_) => TryAttach::Attached,
        Err(SUSPENDED) => TryAttach::Suspended,
        Err(SHUTTING_DOWN) => TryAttach::ShuttingDown,
        Err(_) => TryAttach::InUse,
    }
}

/// ATTACHED to DETACHED, by the owner. A plain store: no other thread moves an
/// attached word.
#[inline]
pub(crate) fn detach(word: &AtomicI32) {
    word.store(DETACHED, Ordering::Release);
}

/// Moves the word from ATTACHED to SUSPENDED, by the owner at a stop request.
pub(crate) fn suspend_self(word: &AtomicI32) {
    word.store(SUSPENDED, Ordering::Release);
}

/// Moves the word from DETACHED to SUSPENDED, by the thread that stops the world.
/// Returns true if this call made the transition.
pub(crate) fn suspend(word: &AtomicI32) -> bool {
    word.compare_exchange(DETACHED, SUSPENDED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Moves the word from SUSPENDED to DETACHED, by the thread that stopped the world.
/// Returns true if the word was SUSPENDED.
pub(crate) fn resume(word: &AtomicI32) -> bool {
    word.compare_exchange(SUSPENDED, DETACHED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Sets the word to SHUTTING_DOWN, which is final.
pub(crate) fn shut_down(word: &AtomicI32) {
    word.store(SHUTTING_DOWN, Ordering::Release);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_a_detached_word_can_be_attached() {
        for (value, outcome) in [
            (DETACHED, TryAttach::Attached),
            (ATTACHED, TryAttach::InUse),
            (SUSPENDED, TryAttach::Suspended),
            (SHUTTING_DOWN, TryAttach::ShuttingDown),
        ] {
            assert_eq!(try_attach(&AtomicI32::new(value)), outcome);
        }
    }

    #[test]
    fn an_attached_word_cannot_be_suspended_by_others() {
        let word = AtomicI32::new(ATTACHED);
        assert!(!suspend(&word));
        suspend_self(&word);
        assert!(resume(&word));
        assert!(!resume(&word));
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// An attacher races a pause: exactly one of them gets the detached word.
    #[test]
    fn loom_attach_and_suspend_never_both_win() {
        loom::model(|| {
            let word = Arc::new(AtomicI32::new(DETACHED));
            let other = word.clone();
            let stopper = thread::spawn(move || suspend(&other));
            let attached = try_attach(&word) == TryAttach::Attached;
            let suspended = stopper.join().unwrap();
            assert!(attached != suspended);
        });
    }
}
