//! Random walks. No rate of switching suits all bugs, and none suits all deadlines: a run draws its own.

use super::{Draw, QUIET, View};
use crate::protocol::{Kind, THREADS};

/// How a run walks.
#[derive(Clone, Copy)]
struct Habits {
    /// The running thread is left once in so many decisions; 1: it is a candidate like the others.
    leave: usize,
    /// The same where it has just made another one a candidate.
    leave_enabling: usize,
    /// A deadline that is drawn is taken once in so many times.
    timer: usize,
    /// The deadline of a thread that has just begun to wait passes at once, once in so many times; 0: never.
    at_once: usize,
    /// Sleeps may end early.
    sleeps: bool,
}

const UNIFORM: Habits = Habits { leave: 1, leave_enabling: 1, timer: 1, at_once: 0, sleeps: true };

const HABITS: [Habits; 4] = [
    UNIFORM,
    Habits { leave: 4, leave_enabling: 4, timer: 2, at_once: 0, sleeps: true },
    Habits { leave: 16, leave_enabling: 3, timer: 1, at_once: 2, sleeps: true },
    Habits { leave: 128, leave_enabling: 3, timer: 8, at_once: 1, sleeps: false },
];

pub(super) struct Random {
    habits: Habits,
    quiet_until: [u64; THREADS],
}

impl Random {
    /// Every candidate has the same chance.
    pub(super) fn uniform() -> Self {
        Self { habits: UNIFORM, quiet_until: [0; THREADS] }
    }

    /// Habits of its own.
    pub(super) fn new(draw: &mut Draw) -> Self {
        Self { habits: HABITS[draw.below(HABITS.len())], quiet_until: [0; THREADS] }
    }

    pub(super) fn choose(&mut self, draw: &mut Draw, view: &View<'_>) -> usize {
        let chosen = self.draw(draw, view);
        let candidate = &view.candidates[chosen];
        if candidate.timer {
            self.quiet_until[usize::from(candidate.thread)] = view.step + QUIET;
        }
        chosen
    }

    /// Whether the candidate is a deadline that should not pass now.
    fn is_quiet(&self, view: &View<'_>, index: usize) -> bool {
        let candidate = &view.candidates[index];
        let quiet = self.quiet_until[usize::from(candidate.thread)] > view.step;
        candidate.timer && (quiet || (!self.habits.sleeps && candidate.kind == Kind::Sleep))
    }

    fn draw(&mut self, draw: &mut Draw, view: &View<'_>) -> usize {
        let habits = self.habits;
        if let Some(own) = view.own_timer {
            if habits.at_once != 0 && !self.is_quiet(view, own) && draw.once_in(habits.at_once) {
                return own;
            }
        }
        let leave = if view.enabling { habits.leave_enabling } else { habits.leave };
        if let (false, Some(current)) = (view.yielded || leave == 1, view.current) {
            if !draw.once_in(leave) {
                return current;
            }
        }
        let mut chosen = 0;
        // A draw that is refused is drawn again; the last one stands.
        for _ in 0..4 * view.candidates.len() {
            chosen = draw.below(view.candidates.len());
            let stays = leave != 1 && view.current == Some(chosen);
            if view.is_skipped(chosen) || stays || self.is_quiet(view, chosen) {
                continue;
            }
            if !view.candidates[chosen].timer || draw.once_in(habits.timer) {
                break;
            }
        }
        chosen
    }
}
