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
const REPLAYS: u32 = 300;
/// Time that one shortening may take.
const TIME: Duration = Duration::from_secs(10);

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
    /// The last exception without which the program passes.
    pub(crate) nearest: Option<Item>,
}

struct Search<'a> {
    run: &'a mut dyn FnMut(&[Item]) -> Result<Trial, Complaint>,
    best: Vec<Item>,
    record: Record,
    tried: HashSet<Vec<Item>>,
    passed: HashSet<Vec<Item>>,
    replays: u32,
    deadline: Instant,
    random: u64,
}

/// Shortens the schedule of `record`. `run` runs a candidate.
pub(crate) fn shorten(
    record: Record,
    run: &mut dyn FnMut(&[Item]) -> Result<Trial, Complaint>,
) -> Result<Shortened, Complaint> {
    let items = record.items();
    let mut search = Search {
        run,
        best: items.clone(),
        record,
        tried: HashSet::new(),
        passed: HashSet::new(),
        replays: 0,
        deadline: Instant::now() + TIME,
        random: 0x9e37_79b9_7f4a_7c15,
    };
    if !search.attempt(&[])? {
        search.cut_tail()?;
        search.remove_chunks()?;
        search.few_of(&items)?;
        search.remove_pairs()?;
        search.random_subsets()?;
        search.later()?;
    }
    let nearest = search.nearest()?;
    Ok(Shortened { items: search.best, record: search.record, replays: search.replays, nearest })
}

impl Search<'_> {
    fn over(&self) -> bool {
        self.replays >= REPLAYS || Instant::now() >= self.deadline
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
            Trial::Passed => {
                self.passed.insert(candidate.to_vec());
                Ok(false)
            }
            Trial::Other => Ok(false),
        }
    }

    /// Exceptions after the one that decides are chance.
    fn cut_tail(&mut self) -> Result<(), Complaint> {
        let mut step = self.best.len() / 2;
        while step > 0 && !self.over() {
            let length = self.best.len();
            if length <= step || !self.attempt(&self.best[..length - step].to_vec())? {
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
                if self.attempt(&candidate)? {
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

    /// Where leaving out stalls: single exceptions and pairs of the first schedule, over the default.
    fn few_of(&mut self, items: &[Item]) -> Result<(), Complaint> {
        let allowed = (REPLAYS - self.replays.min(REPLAYS)) as usize / 2;
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

    /// The last exception moved to a later passage, while that saves exchanges.
    fn later(&mut self) -> Result<(), Complaint> {
        for index in 0..self.best.len() {
            for _ in 0..4 {
                let Some(item) = self.best.get(index) else { break };
                let mut moved = item.clone();
                moved.passage += 1;
                let mut candidate = self.best.clone();
                candidate[index] = moved;
                if !self.attempt(&candidate)? {
                    break;
                }
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

    /// The last single exception without which the program passes.
    fn nearest(&mut self) -> Result<Option<Item>, Complaint> {
        for index in (0..self.best.len()).rev() {
            let mut candidate = self.best.clone();
            let item = candidate.remove(index);
            if !self.tried.contains(&candidate) {
                self.replays += 1;
                if matches!((self.run)(&candidate)?, Trial::Passed) {
                    self.passed.insert(candidate.clone());
                }
            }
            if self.passed.contains(&candidate) {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}
