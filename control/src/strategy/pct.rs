//! PCT (Burckhardt et al., ASPLOS 2010): the candidate with the highest priority runs; at `depth - 1` decisions, drawn
//! from the first `k`, the one that is about to run falls below all others first.
//!
//! A deadline is a pseudo-thread with a priority of its own, and falls to the lowest when it has passed. A thread that
//! yields falls to the lowest as well, which costs no change point.

use super::{Draw, PerThread, View};
use crate::protocol::THREADS;

/// Change points that one run can have.
const CHANGES: usize = 64;
/// Drawn priorities are above this, those of change points below.
const DRAWN: i64 = 1 << 32;
/// Priority of the first change point; the later ones are below.
const CHANGED: i64 = 1 << 16;

pub(super) struct Pct {
    /// 0: not drawn yet.
    priority: PerThread<i64>,
    /// The decisions at which somebody falls, sorted.
    changes: [u64; CHANGES],
    count: usize,
    next_change: usize,
    /// The next lowest priority.
    lowest: i64,
}

impl Pct {
    pub(super) fn new(draw: &mut Draw, depth: u32, k: u32) -> Self {
        let count = (depth as usize - 1).min(CHANGES).min(k as usize);
        let mut changes = [u64::MAX; CHANGES];
        let mut found = 0;
        while found < count {
            let at = draw.below(k as usize) as u64 + 1;
            if !changes[..found].contains(&at) {
                changes[found] = at;
                found += 1;
            }
        }
        changes[..count].sort_unstable();
        Self { priority: [[0; THREADS]; 2], changes, count, next_change: 0, lowest: -1 }
    }

    fn of(&mut self, draw: &mut Draw, thread: u16, timer: bool) -> i64 {
        let place = &mut self.priority[usize::from(timer)][usize::from(thread)];
        if *place == 0 {
            *place = DRAWN + (draw.next() >> 24) as i64;
        }
        *place
    }

    fn set(&mut self, view: &View<'_>, index: usize, priority: i64) {
        let candidate = view.candidates[index];
        self.priority[usize::from(candidate.timer)][usize::from(candidate.thread)] = priority;
    }

    fn fall(&mut self, view: &View<'_>, index: usize) {
        self.set(view, index, self.lowest);
        self.lowest -= 1;
    }

    fn highest(&mut self, draw: &mut Draw, view: &View<'_>) -> usize {
        let mut best = (0, i64::MIN);
        for (index, candidate) in view.candidates.iter().enumerate() {
            let priority = self.of(draw, candidate.thread, candidate.timer);
            if priority > best.1 {
                best = (index, priority);
            }
        }
        best.0
    }

    pub(super) fn choose(&mut self, draw: &mut Draw, view: &View<'_>) -> usize {
        if let (true, Some(current)) = (view.yielded, view.current) {
            self.fall(view, current);
        }
        let mut chosen = self.highest(draw, view);
        while self.next_change < self.count && self.changes[self.next_change] <= view.step {
            // Later change points are lower.
            self.set(view, chosen, CHANGED - self.next_change as i64);
            self.next_change += 1;
            chosen = self.highest(draw, view);
        }
        if view.candidates[chosen].timer {
            self.fall(view, chosen);
        }
        chosen
    }

    pub(super) fn choose_waiter(&mut self, draw: &mut Draw, waiters: &[u16]) -> usize {
        let mut best = (0, i64::MIN);
        for (index, &thread) in waiters.iter().enumerate() {
            let priority = self.of(draw, thread, false);
            if priority > best.1 {
                best = (index, priority);
            }
        }
        best.0
    }
}
