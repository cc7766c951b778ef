//! One decision: who can go on, in canonical order, and who does.
//!
//! Canonical order: first the default, then the other threads and then the deadlines, each by how long they have waited.
//! The default is the thread that came to the point, unless it cannot go on or lets others go first; then the default
//! is the thread that has waited longest. A deadline can be the default only where the thread lets others go first, or
//! where no thread is a candidate.

use super::clock::NEVER;
use super::threads::{Life, Wait};
use super::{Engine, NO_THREAD, Outcome, items, stop};
use crate::protocol::{self as p, Kind, THREADS, request_flag, step_flag};
use crate::strategy::{Candidate, View};

/// A thread that passes one place so often in a row lets others go first there.
const MANY: u32 = 100;

/// What a decision of the fair tail costs in virtual time.
const TAIL_STEP_NS: i64 = 100_000;

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// This thread has the token.
    Goes(u16),
    /// No thread can go on, but one that is outside may come back.
    Nobody,
}

/// The candidates of a decision.
struct Candidates {
    list: [Candidate; 2 * THREADS],
    count: usize,
}

const NOBODY: Candidate =
    Candidate { thread: NO_THREAD, timer: false, kind: Kind::None, object: 0 };

/// How long a candidate has waited: smaller is longer.
type Age = (bool, i64, u64);

/// Touched under the gate's lock only, as the engine is; apart from it so that no large value is on a stack.
static LIST: super::park::Scratch<Candidates> =
    super::park::Scratch::new(Candidates { list: [NOBODY; 2 * THREADS], count: 0 });

/// So often a wait for a signal times out in vain before it counts as one that never ends.
const VAIN: u32 = 1_000;

impl Engine {
    /// Whether the thread could go on if it were chosen.
    pub(super) fn is_ready(&mut self, number: u16) -> bool {
        let thread = self.thread(number);
        if !thread.takes_part() || thread.hung {
            return false;
        }
        if thread.outcome != Outcome::Granted {
            return true;
        }
        let thread = &self.threads[usize::from(number)];
        match thread.wait {
            Wait::Nothing => true,
            Wait::Mutex(mutex) => super::library::mutex_is_free(
                mutex,
                thread.tid.load(core::sync::atomic::Ordering::Relaxed),
            ),
            Wait::Semaphore(semaphore) => super::library::semaphore_is_up(semaphore),
            Wait::Read(lock) => {
                let first =
                    self.objects.known(lock).is_some_and(|lock| lock.writer_first && !lock.writer);
                let writer_waits = first && self.has_writer_waiting(lock);
                self.objects.known(lock).is_none_or(|lock| !lock.writer) && !writer_waits
            }
            Wait::Write(lock) => {
                self.objects.known(lock).is_none_or(|lock| !lock.writer && lock.readers == 0)
            }
            Wait::Gone(other) => self.thread(other).life == Life::Gone,
            Wait::Signal(_) | Wait::Time => false,
            // What children do depends on real time: see `Held::look_for_children`.
            Wait::Outside(test, data) => {
                let counts = thread.is_there || self.forks == 0 || self.is_idle;
                counts && test(data)
            }
        }
    }

    fn has_writer_waiting(&self, lock: usize) -> bool {
        self.live().iter().any(|&other| {
            let thread = &self.threads[usize::from(other)];
            thread.takes_part() && matches!(thread.wait, Wait::Write(its) if its == lock)
        })
    }

    /// Whether the thread's deadline may pass although others can go on.
    fn may_pass_early(&self, number: u16) -> bool {
        let thread = &self.threads[usize::from(number)];
        let in_time = thread.deadline <= self.clock.now();
        let short = thread.deadline.saturating_sub(thread.armed_at) <= self.limits.patience_ns;
        let allowed = self.limits.flags & request_flag::LAST_RESORT_TIMERS == 0;
        in_time || (short && allowed)
    }

    fn has_deadline(&self, number: u16) -> bool {
        let thread = &self.threads[usize::from(number)];
        thread.takes_part()
            && !thread.hung
            && thread.deadline != NEVER
            && thread.outcome == Outcome::Granted
    }

    fn candidate(&self, number: u16, timer: bool) -> Candidate {
        let thread = &self.threads[usize::from(number)];
        Candidate { thread: number, timer, kind: thread.op.kind, object: thread.ordinal }
    }

    fn age(&self, candidate: &Candidate) -> Age {
        let thread = &self.threads[usize::from(candidate.thread)];
        if candidate.timer {
            (true, thread.deadline, thread.timer_since)
        } else {
            (false, 0, thread.since)
        }
    }

    /// The candidates, ordered by age. Whether one of them was none at the last decision.
    fn collect(&mut self, list: &mut Candidates) -> bool {
        list.count = 0;
        let mut enabling = false;
        for at in 0..self.live_count {
            let number = self.live[at];
            let ready = self.is_ready(number);
            let thread = self.thread(number);
            enabling |= ready && !thread.was_ready;
            thread.was_ready = ready;
            if ready {
                list.list[list.count] = self.candidate(number, false);
                list.count += 1;
            }
        }
        let nobody = list.count == 0;
        let mut earliest = NEVER;
        for at in 0..self.live_count {
            let number = self.live[at];
            if self.has_deadline(number) && !self.thread(number).was_ready {
                earliest = earliest.min(self.thread(number).deadline);
                if self.may_pass_early(number) {
                    list.list[list.count] = self.candidate(number, true);
                    list.count += 1;
                }
            }
        }
        if nobody && earliest != NEVER {
            // Nothing else can happen: the earliest may pass, however far it is.
            for at in 0..self.live_count {
                let number = self.live[at];
                if self.has_deadline(number)
                    && self.thread(number).deadline == earliest
                    && !self.may_pass_early(number)
                {
                    list.list[list.count] = self.candidate(number, true);
                    list.count += 1;
                }
            }
        }
        list.list[..list.count].sort_unstable_by_key(|candidate| self.age(candidate));
        enabling
    }

    /// Puts the default first; the others keep their order.
    fn put_default_first(&self, list: &mut Candidates, current: u16, yielded: bool) {
        let list = &mut list.list[..list.count];
        let is_current = |c: &Candidate| c.thread == current && !c.timer;
        let default = if let (false, Some(at)) = (yielded, list.iter().position(is_current)) {
            at
        } else if yielded {
            // Deadlines take turns with threads here: a loop that yields may wait for a thread that sleeps.
            let others = list.iter().enumerate().filter(|(_, c)| !is_current(c));
            let waited = |c: &Candidate| {
                let thread = &self.threads[usize::from(c.thread)];
                if c.timer { thread.timer_since } else { thread.since }
            };
            others.min_by_key(|(_, c)| waited(c)).map_or(0, |(at, _)| at)
        } else {
            0
        };
        list[..=default].rotate_right(1);
    }

    /// Whether the thread lets others go first at its point.
    fn yields(&mut self, number: u16) -> bool {
        let thread = self.thread(number);
        let here = (thread.op.point, thread.op.object);
        if thread.repeated == here {
            thread.repeats += 1;
        } else {
            thread.repeated = here;
            thread.repeats = 1;
        }
        let many = thread.repeats >= MANY;
        if many {
            thread.repeats = 0;
        }
        many || thread.op.kind == Kind::Yield
    }

    /// `came` is at a point: decides who goes on. Every thread's `op` and `wait` are up to date.
    pub(super) fn decide(&mut self, came: u16) -> Next {
        let yielded = self.yields(came);
        let now = self.next_stamp();
        LIST.with(|list| {
            let mut enabling = self.collect(list);
            if list.count == 0 && self.let_early_in() {
                enabling = self.collect(list);
            }
            let only_timers = list.list[..list.count].iter().all(|candidate| candidate.timer);
            if list.count == 0 || (only_timers && !self.timers_due && self.has_outside()) {
                return self.nobody(came, list.count == 0);
            }
            let current = list.list[..list.count].iter().position(|c| c.thread == came && !c.timer);
            self.put_default_first(list, came, yielded);
            let blocked = current.is_none();
            let candidates = &list.list[..list.count];
            let chosen = if candidates.len() == 1 {
                0
            } else {
                self.choose(came, candidates, yielded, enabling)
            };
            let choice = candidates[chosen];
            let mut flags = 0;
            if yielded {
                flags |= step_flag::YIELDED;
            }
            if blocked {
                flags |= step_flag::BLOCKED;
            } else if choice.thread != came && !yielded {
                flags |= step_flag::PREEMPTIVE;
            }
            if choice.timer {
                flags |= step_flag::TIMER;
            }
            self.log_step(came, candidates, chosen, flags);
            if only_timers && self.waits_in_vain() {
                stop::deadlock(self, came);
            }
            self.grant(choice, came, now);
            Next::Goes(choice.thread)
        })
    }

    /// One of two or more candidates.
    fn choose(
        &mut self,
        came: u16,
        candidates: &[Candidate],
        yielded: bool,
        enabling: bool,
    ) -> usize {
        let step = self.count_choice();
        if step == self.limits.unfair && self.limits.strategy != p::Strategy::Items as u32 {
            self.in_tail = true;
            self.chooser.make_fair();
        }
        if self.in_tail {
            // Fair in time as well: what sleeps long comes to its turn.
            let later = self.clock.after(TAIL_STEP_NS);
            self.clock.advance_to(later);
        }
        if step > self.limits.fair && !self.has_outside() {
            stop::livelock(self, came);
        }
        if !self.in_tail {
            if let Some(chosen) = self.listed(came, candidates) {
                return chosen;
            }
        }
        let current = candidates.iter().position(|c| c.thread == came && !c.timer);
        let own_timer = candidates.iter().position(|c| c.thread == came && c.timer);
        let view = View { candidates, current, own_timer, yielded, enabling, step };
        self.chooser.choose(&view)
    }

    /// What a prefix or the items say.
    fn listed(&mut self, came: u16, candidates: &[Candidate]) -> Option<usize> {
        if self.limits.strategy == p::Strategy::Prefix as u32 {
            return Some(self.next_of_prefix(candidates.len()));
        }
        let wanted = self.take_item(came, items::is_switch)?;
        let is_wanted = |c: &Candidate| {
            self.threads[usize::from(c.thread)].path_hash == wanted.who
                && c.timer == (wanted.what == p::What::Timer)
        };
        let found = candidates.iter().position(is_wanted);
        self.count_item(found.is_some());
        found
    }

    /// Whether the program makes no progress: every thread with a deadline waits for a signal, and each of these waits
    /// has timed out `VAIN` times while no thread did anything that another thread could notice. A thread that times
    /// out and waits for the same signal again does not count as progress.
    fn waits_in_vain(&self) -> bool {
        let waits = |number: u16| {
            let thread = &self.threads[usize::from(number)];
            let signal = matches!(thread.wait, Wait::Signal(_));
            signal && thread.vain.0 == self.progress && thread.vain.1 >= VAIN
        };
        let mut timed = self.live().iter().filter(|&&number| self.has_deadline(number)).peekable();
        timed.peek().is_some() && timed.all(|&number| waits(number)) && !self.has_outside()
    }

    /// Gives the token to the choice.
    fn grant(&mut self, choice: Candidate, came: u16, now: u64) {
        if choice.thread != came {
            self.thread(came).since = now;
        }
        if choice.timer {
            let deadline = self.thread(choice.thread).deadline;
            self.clock.advance_to(deadline);
            let progress = self.progress;
            let thread = self.thread(choice.thread);
            if thread.vain.0 != progress {
                thread.vain = (progress, 0);
            }
            thread.vain.1 += 1;
            thread.outcome = Outcome::TimedOut;
            thread.timer_since = now;
            // The thread goes on with that, and says itself what it waits for next.
            thread.wait = Wait::Nothing;
        }
        self.running = choice.thread;
    }

    /// Whether a thread is outside, or waits for something there.
    pub(super) fn has_outside(&self) -> bool {
        self.live().iter().any(|&number| {
            let thread = &self.threads[usize::from(number)];
            thread.outside || matches!(thread.wait, Wait::Outside(..))
        })
    }

    /// Threads that came back too early for a replay go on if no other can: whether there are any.
    pub(super) fn let_early_in(&mut self) -> bool {
        let mut found = false;
        for at in 0..self.live_count {
            let number = self.live[at];
            found |= core::mem::take(&mut self.thread(number).early);
        }
        found
    }

    fn nobody(&mut self, came: u16, nothing: bool) -> Next {
        if nothing && !self.has_outside() {
            stop::deadlock(self, came);
        }
        self.idle_looks = 0;
        let now = self.next_stamp();
        self.thread(came).since = now;
        self.running = NO_THREAD;
        Next::Nobody
    }

    /// Lets the chooser say which of the waiters is woken; they come in the order of their arrival.
    pub(super) fn choose_waiter(&mut self, came: u16, waiters: &[u16]) -> u16 {
        if waiters.len() == 1 {
            return waiters[0];
        }
        let wanted = if self.limits.strategy == p::Strategy::Prefix as u32 {
            Some(self.next_of_prefix(waiters.len()))
        } else {
            self.take_item(came, |what| what == p::What::Wake).map(|wanted| {
                let is_wanted = |w: &u16| self.threads[usize::from(*w)].path_hash == wanted.who;
                let found = waiters.iter().position(is_wanted);
                self.count_item(found.is_some());
                found.unwrap_or(0)
            })
        };
        let chosen = wanted.unwrap_or_else(|| self.chooser.choose_waiter(waiters));
        self.log_wake(came, waiters, chosen);
        waiters[chosen]
    }
}
