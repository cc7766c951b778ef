//! Which schedule is tried next.

use crate::args::{Explore, StrategyName};
use crate::record::Record;
use pytstate_protocol::{Strategy, step_flag};
use std::collections::VecDeque;
use std::sync::Arc;

/// Schedules between two looks at what was learnt. The borders are fixed, so that the number of jobs changes
/// nothing.
pub(crate) const BATCH: u64 = 64;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Number of the run: 0 is the default.
    pub(crate) index: u64,
    pub(crate) strategy: Strategy,
    /// Its name for people.
    pub(crate) name: &'static str,
    pub(crate) depth: u32,
    pub(crate) k: u32,
    pub(crate) prefix: Vec<u16>,
}

impl Plan {
    /// The first run: threads go on until they cannot.
    pub(crate) fn first() -> Self {
        Self {
            index: 0,
            strategy: Strategy::Default,
            name: "default",
            depth: 0,
            k: 0,
            prefix: Vec::new(),
        }
    }

    /// A run of the search for schedules that fail alike: few change points, numbers of its own.
    pub(crate) fn beside(number: u64, k: u32) -> Self {
        let (strategy, name) =
            if number % 3 == 2 { (Strategy::Pos, "pos") } else { (Strategy::Pct, "pct") };
        let depth = 2 + u32::try_from(number % 4).unwrap_or(0);
        Self { index: BESIDE + number, strategy, name, depth, k, prefix: Vec::new() }
    }
}

/// No exploration has so many runs.
const BESIDE: u64 = 1 << 40;

/// Plans runs by their number.
pub(crate) struct ByNumber {
    strategy: StrategyName,
    depth: u32,
    next: u64,
    ks: Vec<u32>,
}

impl ByNumber {
    pub(crate) fn new(options: &Explore) -> Self {
        Self { strategy: options.strategy, depth: options.depth, next: 1, ks: Vec::new() }
    }

    /// A run that ended had this many decisions.
    pub(crate) fn learn(&mut self, k: u32) {
        self.ks.push(k);
    }

    /// The next runs, up to the border of the batch and to `limit`.
    pub(crate) fn batch(&mut self, limit: u64) -> Vec<Plan> {
        let border = (self.next / BATCH + 1) * BATCH;
        let end = border.min(limit);
        // The median: one starved run would put nearly all change points behind the end.
        self.ks.sort_unstable();
        let k = self.ks.get(self.ks.len() / 2).copied().unwrap_or(0);
        let plans = (self.next..end).map(|index| self.plan(index, k)).collect();
        self.next = end.max(self.next);
        plans
    }

    fn plan(&self, index: u64, k: u32) -> Plan {
        let turn = match self.strategy {
            StrategyName::Mix => (index - 1) % 3,
            StrategyName::Pct => 0,
            StrategyName::Pos => 1,
            StrategyName::Random | StrategyName::Exhaustive => 2,
        };
        let (strategy, name) =
            [(Strategy::Pct, "pct"), (Strategy::Pos, "pos"), (Strategy::Random, "random")]
                [usize::try_from(turn).unwrap_or(2)];
        // In the mix every third run of PCT looks deeper.
        let deeper = self.strategy == StrategyName::Mix && (index - 1) % 9 == 6;
        let depth = if deeper { self.depth + 2 } else { self.depth };
        Plan { index, strategy, name, depth, k, prefix: Vec::new() }
    }
}

/// Runs of an exhaustive search that share a beginning: the choices of a run that was made, up to `at`, and
/// another choice there.
struct Branch {
    choices: Arc<Vec<u16>>,
    at: usize,
    choice: u16,
}

/// Plans every schedule with at most so many preemptions, those with fewer first. A schedule is reached in one
/// way only: it is its last choice that is not the default, after the run without that choice.
pub(crate) struct Exhaustive {
    bound: u32,
    /// By number of preemptions.
    pending: Vec<VecDeque<Branch>>,
    level: usize,
    next: u64,
    done: u64,
}

impl Exhaustive {
    pub(crate) fn new(bound: u32) -> Self {
        let pending = (0..=bound).map(|_| VecDeque::new()).collect();
        Self { bound, pending, level: 0, next: 1, done: 1 }
    }

    /// Adds what follows from a run that began with `fixed` choices.
    pub(crate) fn learn(&mut self, record: &Record, fixed: usize, level: usize) {
        let choices = Arc::new(record.choices());
        let nodes = record.steps.iter().filter(|step| step.options >= 2);
        for (at, step) in nodes.enumerate().skip(fixed) {
            if step.is(step_flag::INDEPENDENT) {
                continue;
            }
            let free =
                step.flags & (step_flag::YIELDED | step_flag::BLOCKED | step_flag::WAKE) != 0;
            let Some(queue) = self.pending.get_mut(level + usize::from(!free)) else { continue };
            for choice in (0..step.options).filter(|choice| *choice != step.chosen) {
                queue.push_back(Branch { choices: Arc::clone(&choices), at, choice });
            }
        }
    }

    /// The next runs, with the level of each; none when the search is complete.
    pub(crate) fn batch(&mut self, limit: u64) -> Vec<(Plan, usize)> {
        let mut plans = Vec::new();
        while self.level <= self.bound as usize && self.pending[self.level].is_empty() {
            self.level += 1;
        }
        if self.level > self.bound as usize {
            return plans;
        }
        while (plans.len() as u64) < BATCH && self.next < limit {
            let Some(branch) = self.pending[self.level].pop_front() else { break };
            let mut prefix = branch.choices[..branch.at].to_vec();
            prefix.push(branch.choice);
            let (strategy, name) = (Strategy::Prefix, "exhaustive");
            plans.push((
                Plan { index: self.next, strategy, name, depth: 0, k: 0, prefix },
                self.level,
            ));
            self.next += 1;
        }
        self.done += plans.len() as u64;
        plans
    }

    /// How much of the space is covered, for people.
    /// `tried` runs were made; what was planned beyond them was not.
    pub(crate) fn coverage(&self, tried: u64) -> String {
        let skipped = self.done.saturating_sub(tried);
        let left = |level: usize| self.pending.get(level).map_or(0, VecDeque::len) as u64;
        let bound = self.bound as usize;
        let open = (0..=bound).find(|level| left(*level) > 0);
        match open {
            None if skipped == 0 => {
                format!("complete: every schedule with at most {bound} preemptions was tried")
            }
            open => {
                let level = open.unwrap_or(bound).min(self.level);
                let about: u64 = self.done + (level..=bound).map(left).sum::<u64>();
                let before = match level {
                    0 => String::from("not complete"),
                    level => format!("complete to {} preemptions", level - 1),
                };
                format!("{before}; {tried} of about {about} schedules with at most {bound}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Step;

    fn record(options: &[u16], chosen: &[u16]) -> Record {
        let step = |(index, options): (usize, &u16)| Step {
            thread: 0,
            next: 0,
            point: 0,
            kind: 0,
            flags: 0,
            object: 0,
            passage: 0,
            enabled: 0,
            options: *options,
            chosen: chosen.get(index).copied().unwrap_or(0),
            place: 0,
        };
        Record { steps: options.iter().enumerate().map(step).collect(), ..Record::default() }
    }

    /// Every decision has two candidates: C(n, 0) + C(n, 1) + C(n, 2) schedules at bound 2.
    #[test]
    fn counts_of_an_exhaustive_search_are_those_of_the_formula() {
        let options = [2; 10];
        for (bound, expected) in [(0, 1), (1, 11), (2, 56)] {
            let mut search = Exhaustive::new(bound);
            let mut seen = std::collections::HashSet::new();
            let first = record(&options, &[]);
            seen.insert(first.choices());
            search.learn(&first, 0, 0);
            loop {
                let plans = search.batch(u64::MAX);
                if plans.is_empty() {
                    break;
                }
                for (plan, level) in plans {
                    let run = record(&options, &plan.prefix);
                    assert!(seen.insert(run.choices()), "no schedule is tried twice");
                    search.learn(&run, plan.prefix.len(), level);
                }
            }
            assert_eq!(seen.len(), expected);
            let text = search.coverage(seen.len() as u64);
            assert!(text.starts_with("complete: "), "{text}");
        }
    }

    #[test]
    fn an_unfinished_search_says_how_much_is_left() {
        let mut search = Exhaustive::new(1);
        search.learn(&record(&[2; 10], &[]), 0, 0);
        assert_eq!(search.batch(5).len(), 4);
        let text = search.coverage(5);
        assert_eq!(text, "complete to 0 preemptions; 5 of about 11 schedules with at most 1");
    }
}
