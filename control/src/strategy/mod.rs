//! Who goes on: the strategies, as functions of what the engine shows them. Nothing here knows a thread, a lock or
//! a system call, so that the tests below can run them on models.
//!
//! The candidates come in canonical order; the first is the default. Every draw comes from the run's own generator,
//! seeded with `hash(seed, index)`.

mod draw;
mod pct;
mod pos;
mod random;
#[cfg(test)]
mod tests;

pub(crate) use draw::Draw;
use pct::Pct;
use pos::Pos;
use random::Random;

use crate::protocol::{self as p, Kind, THREADS};

/// After a deadline of a thread has passed early, its next ones do not for so many decisions: a loop around a timed
/// wait would be all that runs.
const QUIET: u64 = 30;

/// What can happen next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) thread: u16,
    /// Its deadline passes (else: it goes on).
    pub(crate) timer: bool,
    /// What it is about to do.
    pub(crate) kind: Kind,
    /// The object of that, 0: none.
    pub(crate) object: u32,
}

/// One decision.
pub(crate) struct View<'a> {
    /// At least two, in canonical order.
    pub(crate) candidates: &'a [Candidate],
    /// The thread that came to the point, if it is a candidate.
    pub(crate) current: Option<usize>,
    /// The deadline of that thread, if it cannot go on and its deadline is a candidate.
    pub(crate) own_timer: Option<usize>,
    /// That thread lets others go first.
    pub(crate) yielded: bool,
    /// What that thread did last has made another thread a candidate.
    pub(crate) enabling: bool,
    /// Number of this decision among those with two or more candidates, from 1.
    pub(crate) step: u64,
}

impl View<'_> {
    /// Whether the candidate may not be chosen now: it has just yielded.
    fn is_skipped(&self, index: usize) -> bool {
        self.yielded && self.current == Some(index)
    }
}

/// A strategy with what it remembers.
pub(crate) struct Chooser {
    draw: Draw,
    policy: Policy,
}

#[allow(
    clippy::large_enum_variant,
    reason = "there is one, in a static: nothing is allocated at a point"
)]
enum Policy {
    Default,
    Pct(Pct),
    Pos(Pos),
    Random(Random),
}

/// What a thread and its deadline have of a strategy's numbers.
type PerThread<T> = [[T; THREADS]; 2];

impl Chooser {
    /// The default at every decision, until [`Chooser::start`].
    pub(crate) const fn new() -> Self {
        Self { draw: Draw::new(0), policy: Policy::Default }
    }

    /// Begins a run.
    pub(crate) fn start(&mut self, request: &p::Request) {
        self.draw = Draw::of_run(request.seed, request.index);
        let strategy = request.strategy;
        self.policy = if strategy == p::Strategy::Pct as u32 {
            Policy::Pct(Pct::new(&mut self.draw, request.depth.max(1), request.k.max(1)))
        } else if strategy == p::Strategy::Pos as u32 {
            Policy::Pos(Pos::new())
        } else if strategy == p::Strategy::Random as u32 {
            Policy::Random(Random::new(&mut self.draw))
        } else {
            Policy::Default
        };
    }

    /// The fair tail begins: uniform from now on.
    pub(crate) fn make_fair(&mut self) {
        self.policy = Policy::Random(Random::uniform());
    }

    /// Chooses a candidate.
    pub(crate) fn choose(&mut self, view: &View<'_>) -> usize {
        match &mut self.policy {
            Policy::Default => 0,
            Policy::Pct(pct) => pct.choose(&mut self.draw, view),
            Policy::Pos(pos) => pos.choose(&mut self.draw, view),
            Policy::Random(random) => random.choose(&mut self.draw, view),
        }
    }

    /// Chooses which of two or more waiters is woken; they come in the order of their arrival.
    pub(crate) fn choose_waiter(&mut self, waiters: &[u16]) -> usize {
        match &mut self.policy {
            Policy::Default => 0,
            Policy::Pct(pct) => pct.choose_waiter(&mut self.draw, waiters),
            Policy::Pos(_) | Policy::Random(_) => self.draw.below(waiters.len()),
        }
    }
}
