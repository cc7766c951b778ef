//! Threads that are blocked in the kernel by what is not controlled, or compute without coming to a point.
//!
//! The watcher looks each millisecond. A running thread that has come to no point since, and is found in the same
//! system call twice, is outside: another one gets the token. When it comes to its next point it waits at its gate.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::clock::NEVER;
use super::decide::Next;
use super::threads::{Wait, decimal, hash};
use super::{Held, NO_THREAD, stop};
use crate::protocol::What;
use crate::sys;

/// Looks in a row that must see a thread at the same place of the same system call: a loaded machine is slow.
const SAME_LOOKS: u32 = 3;
/// Looks after which a thread that computes all the time is left to itself, if others can go on: 100 ms.
const BUSY_LOOKS: u32 = 100;
/// Looks after which the run is given up if nobody else can go on: 2 s.
const STUCK_LOOKS: u32 = 2_000;

/// How long nothing must happen before a deadline passes although somebody is outside; less if it is nearer.
const PATIENT_NS: i64 = 5_000_000;
/// How long the watcher sleeps while nobody can go on.
pub(super) const IDLE_NS: i64 = 200_000;
/// In a replay, looks before a thread counts as outside that was not in the run that was recorded.
const UNEXPECTED_LOOKS: u32 = 100;

/// What the watcher saw last time.
pub(super) struct Seen {
    running: u16,
    stamp: u64,
    looks: u32,
    /// Looks in a row that saw the same.
    same: u32,
    length: usize,
    text: [u8; 192],
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { running: NO_THREAD, stamp: 0, looks: 0, same: 0, length: 0, text: [0; 192] }
    }
}

/// Reads a file of a task of this process.
fn read_of_task<'a>(tid: i32, file: &[u8], place: &'a mut [u8]) -> &'a [u8] {
    let mut path = [0_u8; 64];
    let mut digits = [0_u8; 10];
    let digits = decimal(&mut digits, tid.unsigned_abs().into());
    let mut used = 0;
    for part in [b"/proc/self/task/".as_slice(), digits, b"/", file, b"\0"] {
        path[used..used + part.len()].copy_from_slice(part);
        used += part.len();
    }
    sys::read_file(&path[..used], place)
}

/// The number of the system call in a line of `/proc/self/task/N/syscall`.
fn number_of(line: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(line).ok()?;
    text.split(' ').next()?.trim().parse().ok()
}

/// Whether the first thread of the process has ended: it stays until the process ends.
pub(super) fn is_zombie(tid: i32) -> bool {
    let mut place = [0_u8; 192];
    let stat = read_of_task(tid, b"stat", &mut place);
    let end_of_name = stat.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    stat.get(end_of_name + 2) == Some(&b'Z')
}

/// How long a thread that was woken outside is waited for, and how often it is looked at meanwhile.
const SETTLE_NS: i64 = 20_000_000;
const SETTLE_LOOK_NS: i64 = 20_000;
/// Looks that must find a thread where it was: one that has just been woken may be seen in its old wait once more.
const SETTLED_LOOKS: u32 = 4;

/// Decisions after which a child is waited for, and for how long.
const CHILD_DECISIONS: u64 = 100;
const CHILD_NS: i64 = 200_000_000;

/// Nobody wakes it: waiting on it is sleeping.
static NOTHING: AtomicU32 = AtomicU32::new(0);

impl Held {
    /// Sleeps for a moment of real time, with the engine free for others.
    pub(super) fn nap(&mut self, ns: i64) {
        self.without(|| sys::futex_wait(&NOTHING, 0, ns));
    }

    /// Before a decision: what the running thread did may have woken a thread outside. It is waited for until it is at
    /// its next point, or blocked again, so that the same threads are candidates in every run.
    pub(super) fn settle_outside(&mut self) {
        if self.forks != 0 {
            self.look_for_children();
        }
        for at in 0..self.live_count {
            let Some(&number) = self.live().get(at) else { return };
            if self.thread(number).outside && self.thread(number).blocked_in != 0 {
                self.settle(number);
            }
        }
    }

    fn earliest_deadline(&self) -> i64 {
        let deadline = |&number: &u16| {
            let thread = &self.threads[usize::from(number)];
            if thread.takes_part() && !thread.hung { thread.deadline } else { NEVER }
        };
        self.live().iter().map(deadline).min().unwrap_or(NEVER)
    }

    /// What children do depends on real time. So that it does not decide who is a candidate, a thread that waits for one
    /// becomes a candidate when nothing else can happen; or, if others go on all the time, after so many decisions,
    /// and at that decision its child is waited for.
    fn look_for_children(&mut self) {
        for at in 0..self.live_count {
            let Some(&number) = self.live().get(at) else { return };
            let age = self.stamp.wrapping_sub(self.thread(number).since);
            let Wait::Outside(test, data) = self.thread(number).wait else { continue };
            if age == 0 || age % CHILD_DECISIONS != 0 || self.thread(number).is_there {
                continue;
            }
            let limit = sys::real_ns() + CHILD_NS;
            while !test(data) && sys::real_ns() < limit {
                self.nap(IDLE_NS);
            }
            self.thread(number).is_there = test(data);
        }
    }

    fn settle(&mut self, number: u16) {
        let tid = self.thread(number).tid.load(Relaxed);
        let limit = sys::real_ns() + SETTLE_NS;
        let (mut before, mut looks) = (0, 0);
        while self.thread(number).outside {
            let mut place = [0_u8; 192];
            let text = read_of_task(tid, b"syscall", &mut place);
            let now = if number_of(text).is_some() && !self.is_gate_of_engine(text) {
                hash(text)
            } else {
                0
            };
            let known = self.thread(number).blocked_in;
            if (now == known && looks >= SETTLED_LOOKS)
                || (now != 0 && now == before && looks > 2)
                || sys::real_ns() > limit
            {
                self.thread(number).blocked_in = if now == 0 { known } else { now };
                return;
            }
            before = now;
            looks += 1;
            self.nap(SETTLE_LOOK_NS);
        }
    }

    /// Called by the watcher at its gate, about once a millisecond.
    pub(super) fn watch(&mut self, me: u16, seen: &mut Seen) {
        let running = self.running;
        if running == NO_THREAD {
            self.look_again(me);
            return;
        }
        if seen.running != running || seen.stamp != self.stamp {
            *seen = Seen::new();
            (seen.running, seen.stamp) = (running, self.stamp);
            return;
        }
        seen.looks += 1;
        let tid = self.thread(running).tid.load(Relaxed);
        if tid == 0 {
            return;
        }
        let mut place = [0_u8; 192];
        let text = self.without(|| read_of_task(tid, b"syscall", &mut place));
        if self.running != running || self.stamp != seen.stamp {
            return;
        }
        let number = number_of(text);
        let waits_here = number == Some(libc::SYS_futex as u32) && self.is_gate_of_engine(text);
        let same = !text.is_empty() && text == &seen.text[..seen.length];
        seen.length = text.len();
        seen.text[..text.len()].copy_from_slice(text);
        if let Some(number) = number {
            seen.same = if same { seen.same + 1 } else { 0 };
            if seen.same >= SAME_LOOKS && !waits_here && self.may_leave(running, seen.looks) {
                self.thread(running).blocked_in = hash(&seen.text[..seen.length]);
                self.leave_outside(running, me, number);
            }
            return;
        }
        if seen.looks >= BUSY_LOOKS && seen.looks % BUSY_LOOKS == 0 {
            if self.other_can_go_on(running) {
                self.thread(running).blocked_in = 0;
                self.leave_outside(running, me, u32::MAX);
            } else if seen.looks >= STUCK_LOOKS {
                stop::spins(self, running);
            }
        }
    }

    /// Whether the thread may count as outside: in a replay, where it did in the run that was recorded.
    fn may_leave(&mut self, running: u16, looks: u32) -> bool {
        !self.is_replay()
            // No decision was made at the beginning of a thread, so that no item can be about it.
            || self.thread(running).op.point == super::points::THREAD_BEGIN
            || self.take_item(running, |what| what == What::Outside).is_some()
            || looks >= UNEXPECTED_LOOKS
    }

    /// The thread waits for this library's own lock only.
    fn is_gate_of_engine(&self, line: &[u8]) -> bool {
        let Some(text) = core::str::from_utf8(line).ok() else { return true };
        let address = text.split(' ').nth(1).and_then(|word| word.strip_prefix("0x"));
        let address = address.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        address == Some((&raw const super::GATE).addr())
    }

    fn other_can_go_on(&mut self, running: u16) -> bool {
        self.thread(running).outside = true;
        let found = (0..self.live_count).any(|at| {
            let number = self.live[at];
            self.could_go(number)
        });
        self.thread(running).outside = false;
        found
    }

    /// The running thread is outside: another one gets the token.
    fn leave_outside(&mut self, running: u16, me: u16, syscall: u32) {
        self.settle_outside();
        let next = self.choose_instead(running, syscall);
        if let Next::Goes(to) = next {
            if to == me {
                self.watcher = me;
                return;
            }
        }
        self.hand_on(next, me);
    }

    /// Chooses who goes on in place of a thread that is outside.
    pub(super) fn choose_instead(&mut self, number: u16, syscall: u32) -> Next {
        self.thread(number).outside = true;
        self.note_outside(number, syscall);
        self.thread(number).op.point = super::points::OUTSIDE;
        self.count_passage(number);
        self.decide(number)
    }

    /// Nobody can go on, and somebody is outside: looks whether that has changed. Deadlines pass only after some looks.
    fn look_again(&mut self, me: u16) {
        self.idle_looks += 1;
        self.is_idle = true;
        let waited_ns = i64::from(self.idle_looks) * IDLE_NS;
        let left_ns = self.earliest_deadline().saturating_sub(self.clock.now());
        let patience_ns = if self.forks == 0 { PATIENT_NS.min(left_ns) } else { CHILD_NS };
        self.timers_due = waited_ns >= patience_ns;
        if waited_ns >= PATIENT_NS {
            let _ = self.let_early_in();
        }
        let any = (0..self.live_count).any(|at| {
            let number = self.live[at];
            if self.timers_due { self.could_go(number) } else { self.is_ready(number) }
        });
        let next = if any { self.decide(me) } else { Next::Nobody };
        (self.is_idle, self.timers_due) = (false, false);
        if let Next::Goes(to) = next {
            if to != me {
                self.hand_on(next, me);
            }
        }
    }
}
