//! Puts a thread to sleep while a word keeps its value, and wakes the threads that sleep on a word.
//!
//! One seam, three machines: Linux futexes; mutexes and condition variables elsewhere (also here
//! with `--cfg pytstate_portable`, and always in this crate's tests); a model under loom.
//!
//! FUTEX-1: A wait may return [`Wait::Woken`] although no thread woke it: callers look at their
//!    word again.
//! FUTEX-2: Waking only uses the word's address. A word that its waiter has already freed may be
//!    woken: at worst another thread, which sleeps on a new word at that address, wakes for nothing
//!    (FUTEX-1).
//! FUTEX-3: A wake that follows a store to the word is seen by every wait that saw the old value.
//! FUTEX-4: errno is as before after either call (S-WD-02).

use super::atomic::AtomicU32;
use super::clock::Deadline;

#[cfg(any(test, not(target_os = "linux"), pytstate_portable))]
#[cfg(not(loom))]
#[cfg_attr(
    all(target_os = "linux", not(pytstate_portable)),
    allow(dead_code, reason = "here it is only tested, beside the one in use")
)]
mod portable;

#[cfg(all(target_os = "linux", not(loom)))]
mod linux;

#[cfg(loom)]
mod model;

#[cfg(loom)]
use model as machine;

#[cfg(all(target_os = "linux", not(pytstate_portable), not(loom)))]
use linux as machine;

#[cfg(all(any(not(target_os = "linux"), pytstate_portable), not(loom)))]
use portable as machine;

/// Whether [`wait`] can say [`Wait::Interrupted`]; the portable machine sleeps on through signals.
#[cfg(test)]
pub(crate) const REPORTS_SIGNALS: bool = machine::REPORTS_SIGNALS;

/// How a [`wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Wait {
    /// A thread woke the caller, or the sleep ended without a cause (FUTEX-1).
    Woken,
    /// The word did not have the expected value: no sleep.
    Changed,
    /// The deadline passed. Never early.
    TimedOut,
    /// A signal handler ran; only where [`REPORTS_SIGNALS`].
    Interrupted,
}

/// Sleeps while `*word == expected`, until woken or `deadline` passed.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Wait {
    machine::wait(word, expected, deadline)
}

/// Wakes up to `count` threads that sleep on `word`. Only the address is used (FUTEX-2).
pub(crate) fn wake(word: *const AtomicU32, count: u32) {
    machine::wake(word, count);
}

/// Forgets every sleeper, in a fork child, before anything waits or wakes there.
///
/// # Safety
/// The caller is the only thread of the process.
pub(crate) unsafe fn reset_in_child() {
    // SAFETY: this function's contract is the machine's contract.
    unsafe { machine::reset_in_child() }
}

#[cfg(all(test, not(loom)))]
mod tests;
