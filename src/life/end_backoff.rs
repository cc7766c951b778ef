//! An end that waits for guards gets its turn, however many threads open and
//! close guards meanwhile.
//!
//! The end waits for the guards that are open when its wait begins; whoever
//! comes meanwhile gets a guard as well (S-G8-02). Once all of those are closed
//! and others are open, the end was overtaken: it shuts the door for a while,
//! each time for longer. Meanwhile a thread that holds no guard
//! - waits at the door if nothing is attached,
//! - is refused if a state is attached: to wait it would have to detach, and
//!   might be too late to attach again. It was too late for a guard, then.
//!
//! A thread that holds one goes on, since the end waits for it anyway. The door
//! opens again by itself, so that a guard's holder who waits for a thread at
//! the door only waits for a while; it is not overtaken before that guard is
//! closed.

use crate::life::guards;
use crate::life::phase;
use crate::os::clock::{self, Deadline};
use crate::os::thread;
use crate::sched::current::current;
use crate::state::interp::{Interp, PyTState_PHASE_WAITING_GUARDS};
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::waiting::Stay;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// How long the door is shut first.
const FIRST_NS: i64 = 5_000_000;
/// How often that doubles at most: 1.28 s.
const MOST_DOUBLINGS: u32 = 8;
/// The first pause between two looks of the end, which doubles, too.
const FIRST_LOOK_NS: i64 = 1_000_000;

/// The end's side: lasts over all of its rounds.
pub(crate) struct EndBackoff {
    /// Since when no guard may have been open all the time; 0: before the wait.
    since: i64,
    overtaken: u32,
    looks: u32,
}

impl EndBackoff {
    pub(crate) fn new(interp: Interp) -> EndBackoff {
        interp.guards.door_shut_until.store(0, Relaxed);
        EndBackoff { since: 0, overtaken: 0, looks: 0 }
    }

    /// Guards are open: was the end overtaken? Returns when to look again.
    pub(crate) fn look(&mut self, interp: Interp) -> i64 {
        let oldest = guards::oldest_of(interp);
        let now = clock::now_ns();
        if self.since == 0 {
            self.since = now;
        } else if oldest.is_some_and(|opened| opened > self.since) && !is_shut(interp, now) {
            let shut = FIRST_NS << self.overtaken.min(MOST_DOUBLINGS);
            self.overtaken += 1;
            self.since = now;
            interp.guards.door_shut_until.store(now.saturating_add(shut), Relaxed);
        }
        self.looks += 1;
        FIRST_LOOK_NS << (self.looks - 1).min(MOST_DOUBLINGS)
    }
}

/// What a thread that wants a guard meets.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Open,
    /// To be tried again after [`wait`].
    Shut,
    Refused,
}

/// May the calling thread open a guard on `interp` now?
pub(crate) fn admission(interp: Interp, head: &HeadGuard<'_>) -> Admission {
    if !stays_shut(interp)
        || interp.ender.load(Relaxed) == thread::ident() as usize
        || guards::holds_one(interp, head)
    {
        return Admission::Open;
    }
    if current().is_some() { Admission::Refused } else { Admission::Shut }
}

/// Sleeps until the door of `interp` may be open. Nothing is attached.
pub(crate) fn wait(interp: Interp) {
    let until = interp.guards.door_shut_until.load(Relaxed);
    let left = until.saturating_sub(clock::now_ns()).max(0);
    let _ = lot::park(
        phase::key(interp),
        || stays_shut(interp),
        Deadline::after(left),
        ptr::null_mut(),
        &mut Stay,
        lot::nothing,
    );
}

/// One load while no end waits for guards.
fn stays_shut(interp: Interp) -> bool {
    interp.phase.load(Relaxed) == PyTState_PHASE_WAITING_GUARDS && is_shut(interp, clock::now_ns())
}

fn is_shut(interp: Interp, now: i64) -> bool {
    now < interp.guards.door_shut_until.load(Relaxed)
}
