//! Partial-order sampling (Yuan et al., CAV 2018): each pending operation has a random priority; the highest runs, and
//! then it and all that conflict with it are drawn anew.

use super::{Candidate, Draw, PerThread, QUIET, View};
use crate::protocol::{Kind, THREADS};

pub(super) struct Pos {
    /// 0: to be drawn.
    priority: PerThread<u64>,
    /// The decision up to which the thread's deadlines come last.
    quiet_until: [u64; THREADS],
}

/// Whether the order of the two matters, as far as can be seen.
fn conflict(a: &Candidate, b: &Candidate) -> bool {
    a.object != 0 && a.object == b.object && (a.kind != Kind::Read || b.kind != Kind::Read)
}

impl Pos {
    pub(super) fn new() -> Self {
        Self { priority: [[0; THREADS]; 2], quiet_until: [0; THREADS] }
    }

    fn place(&mut self, candidate: &Candidate) -> &mut u64 {
        &mut self.priority[usize::from(candidate.timer)][usize::from(candidate.thread)]
    }

    pub(super) fn choose(&mut self, draw: &mut Draw, view: &View<'_>) -> usize {
        let mut best = (0, 0);
        for (index, candidate) in view.candidates.iter().enumerate() {
            let place = self.place(candidate);
            if *place == 0 {
                *place = draw.next() | 1 << 63;
            }
            let mut priority = *place;
            let quiet = self.quiet_until[usize::from(candidate.thread)] > view.step;
            if view.is_skipped(index) || (candidate.timer && quiet) {
                // Behind all others, in their own order.
                priority &= !(1 << 63);
            }
            if priority > best.1 {
                best = (index, priority);
            }
        }
        let chosen = view.candidates[best.0];
        for candidate in view.candidates {
            if conflict(candidate, &chosen) {
                *self.place(candidate) = 0;
            }
        }
        *self.place(&chosen) = 0;
        if chosen.timer {
            self.quiet_until[usize::from(chosen.thread)] = view.step + QUIET;
        }
        best.0
    }
}
