//! The futex of loom models.
//!
//! One modelled mutex makes "compare and sleep" one step, as the kernel does. Time is the
//! scheduler's: a wait with a deadline times out at once if its word is unchanged, and since every
//! interleaving before that comparison is explored, so is every moment at which a real deadline
//! could pass. Every other sleep ends for nothing at once (FUTEX-1).

use super::Wait;
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::clock::Deadline;
use core::ptr;
use loom::sync::{Condvar, Mutex};

struct Sleeper {
    word: usize,
    ticket: u64,
}

struct Kernel {
    sleepers: Mutex<(u64, Vec<Sleeper>)>,
    changed: Condvar,
}

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel { sleepers: Mutex::new((0, Vec::new())), changed: Condvar::new() };
}

#[cfg(test)]
pub(super) const REPORTS_SIGNALS: bool = false;

pub(super) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Wait {
    let mut sleepers = KERNEL.sleepers.lock().unwrap();
    if word.load(Ordering::SeqCst) != expected {
        return Wait::Changed;
    }
    if !deadline.is_never() {
        return Wait::TimedOut;
    }
    let ticket = sleepers.0;
    sleepers.0 += 1;
    if ticket % 2 == 0 {
        return Wait::Woken;
    }
    sleepers.1.push(Sleeper { word: ptr::from_ref(word).addr(), ticket });
    while sleepers.1.iter().any(|sleeper| sleeper.ticket == ticket) {
        sleepers = KERNEL.changed.wait(sleepers).unwrap();
    }
    Wait::Woken
}

pub(super) fn wake(word: *const AtomicU32, count: u32) {
    let mut sleepers = KERNEL.sleepers.lock().unwrap();
    let mut left = count;
    sleepers.1.retain(|sleeper| {
        let woken = left > 0 && sleeper.word == word.addr();
        left -= u32::from(woken);
        !woken
    });
    if left < count {
        KERNEL.changed.notify_all();
    }
}

/// Models do not fork.
///
/// # Safety
/// None here; the other machines have a contract.
pub(super) unsafe fn reset_in_child() {}
