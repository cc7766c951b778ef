//! Makes a failing schedule shorter: as few exceptions to the default as possible, with the same failure.
//!
//! Schedules are not monotone: a subset of a failing set may pass, and what an exception leads to depends on
//! those before it. So each candidate is run, and what really happened becomes the new candidate.

use crate::complaint::Complaint;
use crate::record::Record;
use crate::story;
use pytstate_protocol::Item;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Replays that one shortening may cost.
pub(crate) const REPLAYS: u32 = 300;
/// Time that one shortening may take.
pub(crate) const TIME: Duration = Duration::from_secs(10);

/// What a candidate came to.
pub(crate) enum Trial {
    /// The same failure.
    Same(Box<Record>),
    /// Status 0.
    Passed,
    /// Another failure, or the engine gave up.
    Other,
}

/// What came out.
pub(crate) struct Shortened {
    /// The exceptions that are needed.
    pub(crate) items: Vec<Item>,
    /// The run of exactly these.
    pub(crate) record: Record,
    /// How many candidates were run.
    pub(crate) replays: u32,
}

impl Shortened {
    /// Fewer is better: exceptions first, then exchanges of the running thread.
    pub(crate) fn length(&self) -> (usize, usize) {
        (self.items.len(), story::switches(&self.record).1)
    }
}

/// Runs a candidate.
pub(crate) type Runner<'a> = dyn FnMut(&[Item]) -> Result<Trial, Complaint> + 'a;

struct Search<'a, 'b> {
    run: &'a mut Runner<'b>,
    best: Vec<Item>,
    record: Record,
    tried: HashSet<Vec<Item>>,
    replays: u32,
    limit: u32,
    deadline: Instant,
    random: u64,
}

/// Shortens the schedule of `record` with at most `limit` replays. `run` runs a candidate.
pub(crate) fn shorten(
    record: Record,
    limit: u32,
    deadline: Instant,
    run: &mut Runner,
) -> Result<Shortened, Complaint> {
    let items = record.items();
    let mut search = Search {
        run,
        best: items.clone(),
        record,
        tried: HashSet::new(),
        replays: 0,
        limit,
        deadline,
        random: 0x9e37_79b9_7f4a_7c15,
    };
    if !search.attempt(&[])? {
        search.cut_tail()?;
        search.remove_chunks()?;
        search.few_of(&items)?;
        search.remove_pairs()?;
        search.random_subsets()?;
    }
    Ok(Shortened { items: search.best, record: search.record, replays: search.replays })
}

/// The last single exception without which the program passes: it says which order matters.
pub(crate) fn nearest(items: &[Item], run: &mut Runner) -> Result<Option<Item>, Complaint> {
    for index in (0..items.len()).rev() {
        let mut candidate = items.to_vec();
        let item = candidate.remove(index);
        if matches!(run(&candidate)?, Trial::Passed) {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

impl Search<'_, '_> {
    fn over(&self) -> bool {
        self.replays >= self.limit || Instant::now() >= self.deadline
    }

    /// Runs a candidate; takes it if it is shorter and fails alike.
    fn attempt(&mut self, candidate: &[Item]) -> Result<bool, Complaint> {
        if self.over() || !self.tried.insert(candidate.to_vec()) {
            return Ok(false);
        }
        self.replays += 1;
        match (self.run)(candidate)? {
            Trial::Same(record) => {
                let items = record.items();
                let shorter = (items.len(), story::switches(&record).1)
                    < (self.best.len(), story::switches(&self.record).1);
                if shorter {
                    self.best = items;
                    self.record = *record;
                }
                Ok(shorter)
            }
            Trial::Passed | Trial::Other => Ok(false),
        }
    }

    /// Exceptions after the one that decides are chance.
    fn cut_tail(&mut self) -> Result<(), Complaint> {
        let mut step = self.best.len() / 2;
        while step > 0 && !self.over() {
            let mut candidate = self.best.clone();
            candidate.truncate(candidate.len().saturating_sub(step));
            if candidate.is_empty() || !self.attempt(&candidate)? {
                step /= 2;
            }
        }
        Ok(())
    }

    /// Delta debugging: leaves out ever smaller pieces, at the end single exceptions.
    fn remove_chunks(&mut self) -> Result<(), Complaint> {
        let mut size = self.best.len().div_ceil(2);
        while size > 0 && !self.over() {
            let mut from = 0;
            let mut progress = false;
            while from < self.best.len() && !self.over() {
                let to = (from + size).min(self.best.len());
                let mut candidate = self.best.clone();
                candidate.drain(from..to);
                if self.attempt(&candidate)? || (size == 1 && self.shifted(&candidate, from)?) {
                    progress = true;
                } else {
                    from = to;
                }
            }
            match (size, progress) {
                (1, true) => {}
                (1, false) => break,
                _ => size = size.div_ceil(2),
            }
        }
        Ok(())
    }

    /// Without an exception the threads may come to later points once less, or once more.
    fn shifted(&mut self, candidate: &[Item], from: usize) -> Result<bool, Complaint> {
        let Some(next) = candidate.get(from) else { return Ok(false) };
        let same = |item: &Item| item.thread == next.thread && item.point == next.point;
        for all in [true, false] {
            for by in [-1, 1] {
                let mut moved = candidate.to_vec();
                for (index, item) in moved.iter_mut().enumerate().skip(from) {
                    if index == from || (all && same(item)) {
                        item.passage = item.passage.saturating_add_signed(by).max(1);
                    }
                }
                if self.attempt(&moved)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Where leaving out stalls: single exceptions and pairs of the first schedule, over the default.
    fn few_of(&mut self, items: &[Item]) -> Result<(), Complaint> {
        let allowed = self.limit.saturating_sub(self.replays) as usize / 2;
        if self.best.len() > 1 && items.len() <= allowed {
            for item in items {
                self.attempt(std::slice::from_ref(item))?;
            }
        }
        let left = allowed.saturating_sub(items.len());
        if self.best.len() > 2 && items.len() * items.len().saturating_sub(1) / 2 <= left {
            for (index, first) in items.iter().enumerate() {
                for second in &items[index + 1..] {
                    if self.best.len() > 2 {
                        self.attempt(&[first.clone(), second.clone()])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Two exceptions may need each other.
    fn remove_pairs(&mut self) -> Result<(), Complaint> {
        let mut again = self.best.len() > 2;
        while again && !self.over() {
            again = false;
            'pairs: for first in 0..self.best.len() {
                for second in first + 1..self.best.len() {
                    let mut candidate = self.best.clone();
                    candidate.remove(second);
                    candidate.remove(first);
                    if self.attempt(&candidate)? {
                        again = true;
                        break 'pairs;
                    }
                }
            }
        }
        Ok(())
    }

    /// A long schedule that stalls: random parts of it, each followed by leaving out one by one.
    fn random_subsets(&mut self) -> Result<(), Complaint> {
        let mut misses = 0;
        while self.best.len() > 4 && misses < 60 && !self.over() {
            let keep = 40 + self.draw() % 45;
            let mut candidate = self.best.clone();
            candidate.retain(|_| {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.random % 100 < keep
            });
            if self.attempt(&candidate)? {
                misses = 0;
                self.remove_chunks()?;
            } else {
                misses += 1;
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
