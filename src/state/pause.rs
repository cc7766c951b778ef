//! The protocol of a pause: words, countdown and flags of one scope.
//!
//! | step       | by                      | what                                             |
//! |------------|-------------------------|--------------------------------------------------|
//! | `begin`    | the requester           | from here on a new state begins suspended        |
//! | `suspend`  | the requester, repeated | detached states are suspended, others are asked  |
//! | `stand`    | an attached thread      | it suspends itself and counts down               |
//! | `set_stopped` | the requester        | every other state stands                         |
//! | `end`      | the requester           | clears `stopped`, resumes, wakes                 |
//!
//! Every step is taken under the head lock. This module knows
//! words and flags only, so that loom runs all of it (`sched::resumed`).
//!
//! PS-1: `stopped` is 0 again before the first state is resumed, so that a thread
//! that runs never finds its scope stopped, unless it stopped it.

use crate::control::window;
use crate::os::futex;
use crate::state::word;
use crate::sync::atomic::{
    AtomicI32, AtomicI64, AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    const_unless_loom, fence,
};
#[cfg(loom)]
use crate::sync::planted::{self, Bug};

/// Value of `stopped`: every other thread in scope stands.
const STOPPED: u32 = 1;
/// Value of `stopped`: the threads run, the lists stand still.
const FROZEN: u32 = 2;

/// Values of a state's `waits_for_pause`: it does not wait for the end of a pause.
pub(crate) const NONE: u32 = 0;
/// It was attached, and suspended itself for the pause.
pub(crate) const STOOD: u32 = 1;
/// A pause came before its attach: the next must let it attach.
pub(crate) const OWED: u32 = 2;

/// What a pause needs of a thread state.
pub(crate) trait Member {
    fn word(&self) -> &AtomicI32;
    fn waits_for_pause(&self) -> &AtomicU32;
    /// Asks the thread that runs with the state to stop at its next poll.
    fn ask(&self);
    /// Takes that back.
    fn stop_asking(&self);
    /// Wakes the thread that sleeps on the word.
    fn wake(&self);
}

/// Words and flags of the pause of one scope.
pub(crate) struct Pause {
    /// 1 while a pause is requested or held. Any thread reads it.
    pub(crate) requested: AtomicU32,
    /// STOPPED while the pause is complete, FROZEN while only the lists stand
    /// still, else 0.
    stopped: AtomicU32,
    /// Pauses of this scope that have stood so far.
    pauses: AtomicU32,
    /// States that do not stand yet.
    countdown: AtomicI64,
    /// Bumped when `countdown` reaches 0: futex word of the requester.
    pub(crate) progress: AtomicU32,
}

impl Pause {
    const_unless_loom! {
        /// No pause.
        pub(crate) fn new() -> Pause {
            Pause {
                requested: AtomicU32::new(0),
                stopped: AtomicU32::new(0),
                pauses: AtomicU32::new(0),
                countdown: AtomicI64::new(0),
                progress: AtomicU32::new(0),
            }
        }
    }

    /// Whether a pause is requested or held.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Relaxed) != 0
    }

    /// From here on states that are linked in the scope begin suspended; `others`
    /// states are there now.
    pub(crate) fn begin(&self, others: i64) {
        self.requested.store(1, Release);
        self.countdown.store(others, Relaxed);
    }

    /// Suspends `member` if it is detached, and asks its thread if it is attached.
    /// True when this call suspended it.
    pub(crate) fn suspend(&self, member: &impl Member, patient: bool) -> bool {
        let waits_for_pause = member.waits_for_pause().load(Relaxed);
        if waits_for_pause == OWED && patient && member.word().load(Relaxed) != word::SUSPENDED {
            member.ask();
        } else if word::suspend(member.word()) {
            if waits_for_pause == STOOD {
                member.waits_for_pause().store(OWED, Relaxed);
            }
            return true;
        } else if member.word().load(Relaxed) == word::ATTACHED {
            member.ask();
        }
        false
    }

    /// Counts suspended states out. True when all stand.
    pub(crate) fn count_off(&self, suspended: i64) -> bool {
        let left = self.countdown.load(Relaxed) - suspended;
        self.countdown.store(left, Relaxed);
        left <= 0
    }

    /// Counts one state out that stands or goes; the last one wakes the requester.
    pub(crate) fn count_down(&self) {
        if self.count_off(1) {
            self.progress.fetch_add(1, Release);
            futex::wake(&self.progress, 1);
        }
    }

    /// Records that every other state stands: from here on the lists stand still.
    pub(crate) fn set_stopped(&self) {
        self.pauses.store(self.pauses.load(Relaxed).wrapping_add(1), Relaxed);
        self.stopped.store(STOPPED, Release);
    }

    /// Records that the lists stand still from here on, while the threads run.
    pub(crate) fn set_frozen(&self) {
        self.set_stopped();
        self.stopped.store(FROZEN, Release);
    }

    /// Whether the pause is complete.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed) == STOPPED
    }

    /// Whether the lists stand still, which they also do in a pause.
    pub(crate) fn lists_stand(&self) -> bool {
        self.stopped.load(Relaxed) != 0
    }

    /// Whether they stand still without a pause.
    pub(crate) fn only_lists_stand(&self) -> bool {
        self.stopped.load(Relaxed) == FROZEN
    }

    /// Number of the pause that stands, or stood last.
    pub(crate) fn pause(&self) -> u32 {
        self.pauses.load(Relaxed)
    }

    /// Whether that pause still stands.
    pub(crate) fn stands(&self, pause: u32) -> bool {
        self.stopped.load(Acquire) != 0 && self.pause() == pause
    }

    /// Ends the pause: `visit` calls its argument with each other member in scope.
    pub(crate) fn end<M: Member>(&self, visit: impl Fn(&mut dyn FnMut(M))) {
        // Before the first thread runs again (PS-1): the release of `resume`
        // orders it.
        #[cfg(loom)]
        let first = !planted::is(Bug::StoppedClearedLate);
        #[cfg(not(loom))]
        let first = true;
        if first {
            self.stopped.store(0, Relaxed);
        }
        visit(&mut |member| {
            member.stop_asking();
            let _ = word::resume(member.word());
        });
        self.stopped.store(0, Relaxed);
        window!("stw.resuming");
        // Pairs with the fence in `wait_resumed`: a thread that sleeps there is
        // seen here, or has seen its word change.
        fence(SeqCst);
        visit(&mut |member| {
            if member.waits_for_pause().load(Relaxed) != NONE {
                member.wake();
            }
        });
    }

    /// Ends the request.
    pub(crate) fn clear(&self) {
        self.stopped.store(0, Relaxed);
        self.requested.store(0, Release);
    }

    /// In a fork child: no pause is requested any more. The only thread calls it.
    pub(crate) fn reset_in_child(&self) {
        self.countdown.store(0, Relaxed);
        self.clear();
    }
}

/// ATTACHED to SUSPENDED for the pause that the state has to stand for; to
/// DETACHED if there is none any more.
pub(crate) fn stand(pause: Option<&Pause>, word: &AtomicI32) {
    match pause {
        Some(pause) => {
            word::suspend_self(word);
            pause.count_down();
        }
        None => word::detach(word),
    }
}
