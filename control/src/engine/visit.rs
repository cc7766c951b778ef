//! Coming to a point: what the interposed functions call.

use core::sync::atomic::Ordering::{Relaxed, Release};

use super::clock::{self, NEVER};
use super::decide::Next;
use super::threads::{Life, Op, Outcome, Wait};
use super::{Engine, Held, ME, NO_THREAD, enter, points, stop};
use crate::protocol::{Kind, Strategy, ThreadState, What};
use crate::real::Start;
use crate::sys;

/// What a thread waits for at a point, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) wait: Wait,
    /// On the virtual clock.
    pub(crate) deadline: i64,
    pub(crate) interruptible: bool,
    pub(crate) detail: usize,
}

impl Terms {
    /// Nothing to wait for.
    pub(crate) const FREE: Self = Self::of(Wait::Nothing);

    /// Without a deadline.
    pub(crate) const fn of(wait: Wait) -> Self {
        Self { wait, deadline: NEVER, interruptible: false, detail: 0 }
    }

    /// With a deadline.
    pub(crate) const fn until(self, deadline: i64) -> Self {
        Self { deadline, ..self }
    }
}

/// Comes to a point and waits until the thread is chosen: on the terms, or because it must not wait longer.
pub(crate) fn visit(me: u16, op: Op, terms: Terms) -> Outcome {
    enter().visit(me, op, terms)
}

/// A point at which nothing is waited for.
pub(crate) fn pass(me: u16, point: u16, kind: Kind, object: usize, place: usize) {
    let outcome = visit(me, Op { point, kind, object, place }, Terms::FREE);
    debug_assert!(outcome == Outcome::Granted);
}

impl Held {
    /// See [`visit`]; with the engine held before and after.
    pub(crate) fn visit(&mut self, me: u16, op: Op, terms: Terms) -> Outcome {
        self.announce_on(me, op, terms);
        self.go(me)
    }

    /// [`Held::visit`] of a point that was announced already.
    pub(crate) fn revisit(&mut self, me: u16, op: Op, terms: Terms) -> Outcome {
        self.publish(me, op, terms);
        self.go(me)
    }

    /// Says that the thread is at a point, before something is chosen there.
    pub(crate) fn announce(&mut self, me: u16, op: Op) {
        self.announce_on(me, op, Terms::FREE);
    }

    fn announce_on(&mut self, me: u16, op: Op, terms: Terms) {
        if self.is_replay() && !self.thread(me).outside {
            self.leave_as_recorded(me);
        }
        self.publish(me, op, terms);
        self.count_passage(me);
    }

    fn go(&mut self, me: u16) -> Outcome {
        if self.thread(me).outside {
            self.come_back(me);
        } else if self.live_count == 1 && self.is_ready(me) {
            // Alone: nothing to choose.
        } else {
            self.settle_outside();
            if self.is_replay() {
                self.await_others(me);
            }
            let next = self.decide(me);
            self.hand_on(next, me);
            if next != Next::Goes(me) {
                self.park(me);
            }
        }
        let thread = self.thread(me);
        thread.wait = Wait::Nothing;
        thread.deadline = NEVER;
        core::mem::replace(&mut thread.outcome, Outcome::Granted)
    }

    /// A thread that was outside comes to its next point.
    fn come_back(&mut self, me: u16) {
        self.thread(me).outside = false;
        self.note_back(me);
        if self.running != NO_THREAD {
            let hash = self.thread(me).path_hash;
            self.thread(me).early = self.is_replay() && self.items.has_back(hash);
            self.adopt_watcher(me);
            self.park(me);
            return;
        }
        self.running = me;
        let next = self.decide(me);
        self.hand_on(next, me);
        if next != Next::Goes(me) {
            self.park(me);
        }
    }
}

impl Held {
    /// A replay: if the thread was outside behind its last point when the run was recorded, but was fast now, it is
    /// taken for outside all the same.
    fn leave_as_recorded(&mut self, me: u16) {
        if self.take_item(me, |what| what == What::Outside).is_some() {
            let next = self.choose_instead(me, u32::MAX);
            self.hand_on(next, me);
        }
    }

    /// A replay: waits for the threads that were back from outside here when the run was recorded.
    fn await_others(&mut self, me: u16) {
        const LIMIT_NS: i64 = 2_000_000_000;
        const LOOK_NS: i64 = 50_000;
        while let Some(wanted) = self.take_item(me, |what| what == What::Back) {
            let same = |t: &u16| self.threads[usize::from(*t)].path_hash == wanted.who;
            let Some(other) = self.live().iter().copied().find(same) else { continue };
            let limit = sys::real_ns() + LIMIT_NS;
            while self.thread(other).outside && sys::real_ns() < limit {
                self.nap(LOOK_NS);
            }
            self.thread(other).early = false;
        }
    }
}

impl Engine {
    /// Whether the choices are those of a run that was recorded.
    pub(super) fn is_replay(&self) -> bool {
        self.limits.strategy == Strategy::Items as u32
    }

    fn publish(&mut self, me: u16, op: Op, terms: Terms) {
        let ordinal = self.objects.ordinal(op.object);
        self.progress += u64::from(matches!(op.kind, Kind::Write | Kind::Release | Kind::Life));
        let now = self.clock.now();
        let stamp = self.stamp;
        let thread = self.thread(me);
        if thread.deadline == NEVER && terms.deadline != NEVER {
            thread.timer_since = stamp;
        }
        thread.op = op;
        thread.ordinal = ordinal;
        thread.wait = terms.wait;
        thread.deadline = terms.deadline;
        thread.armed_at = now;
        thread.interruptible = terms.interruptible;
        thread.detail = terms.detail;
        thread.was_ready = true;
        thread.is_there = false;
    }

    pub(super) fn count_passage(&mut self, me: u16) {
        let thread = self.thread(me);
        let point = usize::from(thread.op.point);
        thread.passages[point] += 1;
    }

    /// Whether the thread could be chosen, by itself or through its deadline.
    pub(super) fn could_go(&mut self, number: u16) -> bool {
        self.is_ready(number) || {
            let thread = self.thread(number);
            thread.takes_part() && !thread.hung && thread.deadline != NEVER
        }
    }

    /// The thread has ended for good: somebody else is chosen in its name.
    pub(super) fn end_of(&mut self, dead: u16) -> Next {
        self.remove_thread(dead);
        let thread = self.thread(dead);
        thread.op = Op { point: points::THREAD_GONE, kind: Kind::Life, object: 0, place: 0 };
        thread.ordinal = 0;
        self.count_passage(dead);
        self.decide(dead)
    }

    /// A new thread of `me`; it does not run before it is chosen.
    pub(crate) fn create(&mut self, me: u16, start: Start, arg: *mut core::ffi::c_void) -> u16 {
        let number = self.add_thread(Some(me));
        let thread = self.thread(number);
        thread.start = Some(start);
        thread.arg = arg;
        thread.op = Op {
            point: points::THREAD_BEGIN,
            kind: Kind::Life,
            object: 0, // One further, because places are addresses behind calls.
            place: start as usize + 1,
        };
        thread.passages[usize::from(points::THREAD_BEGIN)] = 1;
        thread.wait = Wait::Nothing;
        number
    }

    /// The controlled, living thread with this handle.
    pub(crate) fn find(&self, pthread: libc::pthread_t) -> Option<u16> {
        // The youngest first: the C library uses handles again.
        (0..self.count as u16).rev().find(|&number| {
            let thread = &self.threads[usize::from(number)];
            thread.pthread == pthread && thread.life != Life::Unused && !thread.joined
        })
    }

    /// Turns a thread that waits for a signal over to another wait: it was signalled.
    pub(crate) fn turn_over(&mut self, number: u16, wait: Wait, kind: Kind, object: usize) {
        let ordinal = self.objects.ordinal(object);
        let thread = self.thread(number);
        thread.wait = wait;
        thread.deadline = NEVER;
        thread.op.kind = kind;
        thread.op.object = object;
        thread.ordinal = ordinal;
    }

    /// Whether the kernel has let go of the thread.
    pub(crate) fn is_gone(&mut self, number: u16) -> bool {
        self.thread(number).life == Life::Gone
    }

    /// The process forks.
    pub(crate) fn count_fork(&mut self) {
        self.forks += 1;
        let forks = self.forks;
        self.area().report.forks = forks;
    }

    /// The threads that wait for a signal on `object`, in the order of their arrival, as far as `wanted` says.
    pub(crate) fn waiters(
        &self,
        object: usize,
        wanted: impl Fn(usize) -> bool,
        into: &mut [u16],
    ) -> usize {
        let mut count = 0;
        for &number in self.live() {
            let thread = &self.threads[usize::from(number)];
            let waits = matches!(thread.wait, Wait::Signal(its) if its == object);
            if waits
                && thread.outcome == Outcome::Granted
                && wanted(thread.detail)
                && count < into.len()
            {
                into[count] = number;
                count += 1;
            }
        }
        into[..count].sort_unstable_by_key(|&number| self.threads[usize::from(number)].since);
        count
    }

    /// One of the waiters, as the strategy chooses.
    pub(crate) fn pick(&mut self, me: u16, waiters: &[u16]) -> u16 {
        self.choose_waiter(me, waiters)
    }

    /// The thread takes the object: for the picture of a deadlock, and the order of accesses.
    pub(crate) fn note_owner(&mut self, object: usize, owner: u16) {
        self.objects.at(object).owner = owner;
    }

    /// Ends the wait of a thread that a signal was sent to.
    pub(crate) fn interrupt(&mut self, number: u16) {
        let thread = self.thread(number);
        let waits = !matches!(thread.wait, Wait::Nothing) && thread.outcome == Outcome::Granted;
        if thread.interruptible && waits && thread.life == Life::Live {
            thread.outcome = Outcome::Interrupted;
        }
    }
}

/// The first thing that a new thread does: waits until it is chosen.
pub(crate) fn begin_thread(number: u16) {
    ME.set(u32::from(number) + 1);
    let mut held = enter();
    let thread = held.thread(number);
    // SAFETY: no preconditions.
    thread.pthread = unsafe { libc::pthread_self() };
    thread.tid.store(sys::gettid(), Release);
    held.adopt_watcher(number);
    held.park(number);
}

/// The calling thread's function is over: others may go first, and its destructors run when it is chosen again.
pub(crate) fn end_thread(me: u16, point: u16, place: usize) {
    let mut held = enter();
    held.thread(me).life = Life::Dying;
    let op = Op { point, kind: Kind::Life, object: 0, place };
    let outcome = held.visit(me, op, Terms::FREE);
    debug_assert!(outcome == Outcome::Granted);
}

/// The calling thread never goes on, by design of the library that it uses.
pub(crate) fn hang(me: u16, place: usize) {
    let mut held = enter();
    held.thread(me).hung = true;
    held.note_state(me, ThreadState::Hung);
    let op = Op { point: points::HANG, kind: Kind::Wait, object: 0, place };
    let outcome = held.visit(me, op, Terms::of(Wait::Time));
    debug_assert!(outcome != Outcome::TimedOut);
}

/// What the program's clock shows.
pub(crate) fn read_clock(clock: libc::clockid_t) -> i64 {
    enter().clock.read(clock)
}

/// A deadline from a moment of a program's clock; `None` if it is no time.
pub(crate) fn deadline(clock: libc::clockid_t, moment: *const libc::timespec) -> Option<i64> {
    // SAFETY: the caller's program passed it to a function that reads it.
    let moment = clock::nanoseconds(unsafe { &*moment })?;
    Some(enter().clock.deadline(clock, moment))
}

/// A deadline `ns` from now.
pub(crate) fn after(ns: i64) -> i64 {
    enter().clock.after(ns)
}

/// Now, on the virtual clock.
pub(crate) fn now() -> i64 {
    enter().clock.now()
}

/// The process is about to end in an orderly way.
pub(crate) fn note_exit() {
    stop::note_ended(&mut enter());
}

/// A random byte for the program.
pub(crate) fn random_byte() -> u8 {
    enter().random_byte()
}

/// If the thread was told to end, it ends here; its clean-up handlers run under control.
pub(crate) fn act_on_cancel(me: u16, place: usize) {
    let mut held = enter();
    if !held.thread(me).is_cancelled {
        return;
    }
    held.thread(me).is_cancelled = false;
    held.thread(me).life = Life::Dying;
    let op = Op { point: points::TESTCANCEL, kind: Kind::Life, object: 0, place };
    let _ = held.visit(me, op, Terms::FREE);
    drop(held);
    // SAFETY: a thread of the program, in a call that is a cancellation point.
    unsafe { crate::real::pthread_testcancel() };
    // It must not end now.
    let mut held = enter();
    held.thread(me).life = Life::Live;
    held.thread(me).is_cancelled = true;
    held.forget_dying(me);
}

/// Forgets an object: it was destroyed.
pub(crate) fn forget(address: usize) {
    enter().objects.forget(address);
}

impl Engine {
    /// The next byte of the program's random numbers.
    fn random_byte(&mut self) -> u8 {
        self.random.next() as u8
    }
}

/// Where the signal mask matters: the thread's kernel id.
pub(crate) fn tid_of(held: &mut Held, number: u16) -> i32 {
    held.thread(number).tid.load(Relaxed)
}
