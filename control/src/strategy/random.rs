//! Random walks. No rate of switching suits all bugs: a run draws its own.

use super::{Draw, QUIET, View};
use crate::protocol::THREADS;

pub(super) struct Random {
    /// The running thread is left once in so many decisions; 1: it is a candidate like the others.
    leave: usize,
    /// The same where it has just made another one a candidate.
    leave_enabling: usize,
    /// An early deadline is taken once in so many times that it is drawn.
    timer: usize,
    quiet_until: [u64; THREADS],
}

impl Random {
    /// Every candidate has the same chance.
    pub(super) fn uniform() -> Self {
        Self { leave: 1, leave_enabling: 1, timer: 1, quiet_until: [0; THREADS] }
    }

    /// Rates of its own.
    pub(super) fn new(draw: &mut Draw) -> Self {
        let (leave, leave_enabling) = [(1, 1), (4, 4), (8, 2), (32, 2)][draw.below(4)];
        let timer = [1, 4][draw.below(2)];
        Self { leave, leave_enabling, timer, quiet_until: [0; THREADS] }
    }

    pub(super) fn choose(&mut self, draw: &mut Draw, view: &View<'_>) -> usize {
        let leave = if view.enabling { self.leave_enabling } else { self.leave };
        if let (false, Some(current)) = (view.yielded || leave == 1, view.current) {
            if !draw.once_in(leave) {
                return current;
            }
        }
        let leaves = leave != 1;
        let mut chosen = 0;
        // A draw that is refused is drawn again; the last one stands.
        for _ in 0..4 * view.candidates.len() {
            chosen = draw.below(view.candidates.len());
            let candidate = &view.candidates[chosen];
            let quiet = self.quiet_until[usize::from(candidate.thread)] > view.step;
            let stays = leaves && view.current == Some(chosen);
            if view.is_skipped(chosen) || stays {
                continue;
            }
            if !candidate.timer || (!quiet && draw.once_in(self.timer)) {
                break;
            }
        }
        let candidate = &view.candidates[chosen];
        if candidate.timer {
            self.quiet_until[usize::from(candidate.thread)] = view.step + QUIET;
        }
        chosen
    }
}
