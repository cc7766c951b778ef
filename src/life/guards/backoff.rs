//! Finalization finishes its wait for guards, however many threads open and
//! close guards meanwhile: it throttles them.
//!
//! Finalization waits for the guards that are open when its wait begins. A
//! guard that is opened meanwhile is granted as well (S-G8-02). If all guards
//! of the beginning are closed and newer ones are open, finalization has been
//! overtaken, and throttles new guards for a while, each time for longer.
//! Meanwhile a thread that holds no guard
//! - is delayed if it is detached,
//! - is refused if it is attached: to wait it would have to detach, and might
//!   then be too late to attach again.
//!
//! A thread that holds a guard is not throttled, since finalization waits for it
//! in any case. The delay ends by itself, so that a thread that holds a guard
//! and waits for a delayed thread only waits for a while. Finalization is not
//! overtaken again before that guard is closed.

use crate::life::phase;
use crate::os::clock::{self, Deadline};
use crate::os::thread;
use crate::sched::current::current;
use crate::state::guard;
use crate::state::interp::{Interp, PyTState_PHASE_WAITING_GUARDS};
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::Stay;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// Length of the first throttling.
const FIRST_NS: i64 = 5_000_000;
/// The length doubles this many times at most: to 1.28 s.
const MOST_DOUBLINGS: u32 = 8;
/// The first sleep between two checks of finalization. It doubles as well.
const FIRST_CHECK_NS: i64 = 1_000_000;

/// The side of finalization. One value lasts over all of its rounds.
pub(crate) struct EndBackoff {
    /// Guards opened after this moment do not count against finalization. 0
    /// before the wait begins.
    since: i64,
    overtaken: u32,
    checks: u32,
}

impl EndBackoff {
    pub(crate) fn new(interp: Interp) -> EndBackoff {
        interp.guards.throttled_until.store(0, Relaxed);
        EndBackoff { since: 0, overtaken: 0, checks: 0 }
    }

    /// Throttles new guards if finalization was overtaken: guards are open.
    /// Returns how long to sleep before the next check.
    pub(crate) fn check(&mut self, interp: Interp) -> i64 {
        let oldest = guard::oldest_of(interp);
        let now = clock::now_ns();
        if self.since == 0 {
            self.since = now;
        } else if oldest.is_some_and(|opened| opened > self.since) && !lasts(interp, now) {
            let length = FIRST_NS << self.overtaken.min(MOST_DOUBLINGS);
            self.overtaken += 1;
            self.since = now;
            interp.guards.throttled_until.store(now.saturating_add(length), Relaxed);
        }
        self.checks += 1;
        FIRST_CHECK_NS << (self.checks - 1).min(MOST_DOUBLINGS)
    }
}

/// The answer to a thread that wants a guard.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    /// The caller must wait with [`wait`], and then ask again.
    Later,
    Refused,
}

/// Decides whether the calling thread may open a guard on `interp` now.
pub(crate) fn admission(interp: Interp, head: &HeadGuard<'_>) -> Admission {
    if !is_throttling(interp)
        || interp.ender.load(Relaxed) == thread::ident() as usize
        || guard::holds_one(interp, head)
    {
        return Admission::Granted;
    }
    if current().is_some() { Admission::Refused } else { Admission::Later }
}

/// Sleeps until the throttling of `interp` may be over. The caller is detached.
pub(crate) fn wait(interp: Interp) {
    let until = interp.guards.throttled_until.load(Relaxed);
    let left = until.saturating_sub(clock::now_ns()).max(0);
    let _ = lot::park_for(
        WaitKind::Throttled,
        phase::key(interp),
        || is_throttling(interp),
        Deadline::after(left),
        ptr::null_mut(),
        &mut Stay,
        lot::nothing,
    );
}

/// One load while no finalization waits for guards.
fn is_throttling(interp: Interp) -> bool {
    interp.phase.load(Relaxed) == PyTState_PHASE_WAITING_GUARDS && lasts(interp, clock::now_ns())
}

fn lasts(interp: Interp, now: i64) -> bool {
    now < interp.guards.throttled_until.load(Relaxed)
}
