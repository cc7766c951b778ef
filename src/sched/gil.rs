//! Waiting for a GIL and passing it on.
//!
//! The queue and its rules are in [`gil_queue`](crate::sched::gil_queue).
//!
//! - A waiter whose sleep ended asks the holder to drop, once it is back in the
//!   queue, if that one has had the GIL for an interval (S-GIL-03). It looks at
//!   the holder under the head lock, where the deleter of that state would have
//!   removed it from `holder` first.
//!
//! Mirrors CPython 3.13 `take_gil`, `drop_gil` (ceval_gil.c).

use crate::os::clock::{self, Deadline};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::current::interp_of;
use crate::sched::gil_queue::{self, GilWaiter};
pub(crate) use crate::sched::gil_queue::{Taken, wake_all};
use crate::sched::watchdog;
use crate::state::eval_breaker;
use crate::state::gil_word::{DEFAULT_INTERVAL_US, Gil, Release};
use crate::state::interp::Interp;
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::state::word;
use crate::sync::wait_record::{WaitKind, WaitRecord};
use crate::sync::waiting::Waiting;
use core::sync::atomic::Ordering;
use core::sync::atomic::Ordering::Relaxed;

/// Asks the holder when the waiter is in the queue again: the hand-over that
/// answers finds it there, however soon it comes.
struct Asking {
    gil: &'static Gil,
    tstate: ThreadStateRef,
    /// True if a sleep ended since the waiter last looked at the holder.
    due: bool,
}

impl Waiting for Asking {
    fn before_sleep(&mut self) {
        let gil = self.gil;
        if core::mem::take(&mut self.due) && gil.is_locked() && held_too_long(gil) {
            request_drop(gil);
            probe::point(Point::GilAsked);
        }
    }
}

impl GilWaiter for Asking {
    fn must_exit(&self) -> bool {
        self.tstate.word().load(Ordering::Acquire) == word::SHUTTING_DOWN
    }

    fn patience(&self) -> Deadline {
        watchdog::sleep(patience_ns(self.gil))
    }

    fn timed_out(&mut self) {
        self.due = true;
        watchdog::look_at_holder(self.gil);
    }
}

/// Takes the GIL for `tstate`, waiting as long as it takes.
#[cold]
pub(crate) fn take_slow(gil: &'static Gil, tstate: ThreadStateRef) -> Taken {
    tstate.gil_requested().store(1, Relaxed);
    gil.waiters.fetch_add(1, Relaxed);
    trace::at(Point::GilWait, Event::Begin(Span::GilWait), || interp_of(tstate).id());
    let record = WaitRecord::begin(WaitKind::Gil, core::ptr::from_ref(gil).addr());
    let taken = gil_queue::wait(gil, &mut Asking { gil, tstate, due: false });
    drop(record);
    gil.waiters.fetch_sub(1, Relaxed);
    tstate.gil_requested().store(0, Relaxed);
    if taken == Taken::Held {
        probe::point(Point::GilTaken);
    }
    taken
}

fn interval_ns(gil: &Gil) -> i64 {
    i64::from(gil.interval_us.load(Relaxed).max(1)) * 1000
}

/// How long a waiter sleeps before it looks at the holder. One interval; more
/// when many wait, because one look per interval is enough for all of them,
/// and thousands of sleepers that wake every interval would be all that runs.
fn patience_ns(gil: &Gil) -> i64 {
    const LOOKERS: u32 = 8;
    let share = i64::from((gil.waiters.load(Relaxed) / LOOKERS).max(1));
    interval_ns(gil).saturating_mul(share)
}

/// Whether one state has had the GIL for an interval while others waited.
fn held_too_long(gil: &Gil) -> bool {
    clock::now_ns() - gil.switched_ns.load(Relaxed) >= interval_ns(gil)
}

/// Asks the holder of the GIL to drop it at its next poll.
fn request_drop(gil: &Gil) {
    let head = RUNTIME.lock();
    if let Some(holder) = ThreadStateRef::holder_of(gil) {
        eval_breaker::set(holder, eval_breaker::GIL_DROP_REQUEST);
    }
    drop(head);
}

/// Clears a drop request if no thread waits for the GIL any more (S-GIL-08).
pub(crate) fn forget_request(tstate: ThreadStateRef) {
    let waiters = of(tstate).map_or(0, |gil| gil.waiters.load(Relaxed));
    if waiters == 0 {
        eval_breaker::clear(tstate, eval_breaker::GIL_DROP_REQUEST);
    }
}

/// Records that `tstate` now holds the GIL.
#[inline(always)]
pub(crate) fn note_taken(gil: &Gil, tstate: ThreadStateRef) {
    let me: *mut () = tstate.as_raw().cast();
    if gil.holder.load(Relaxed) != me {
        note_switch(gil, tstate, me);
    }
}

#[inline(never)]
fn note_switch(gil: &Gil, tstate: ThreadStateRef, me: *mut ()) {
    // All of these are Relaxed: the next holder reads them after it took the GIL;
    // other threads follow `holder` under the head lock, which its deleter takes.
    gil.holder.store(me, Relaxed);
    gil.switches.store(gil.switches.load(Relaxed).wrapping_add(1), Relaxed);
    // A waiter reads `switched_ns` only after it has slept an interval, so the
    // coarse clock is precise enough while there are no waiters.
    let alone = gil.waiters.load(Relaxed) == 0;
    let now = if alone { clock::coarse_ns() } else { clock::now_ns() };
    gil.switched_ns.store(now, Relaxed);
    // Only a real switch answers the request: a state that took the GIL back
    // at once is asked again at its next poll.
    eval_breaker::clear(tstate, eval_breaker::GIL_DROP_REQUEST);
    requests::refresh_calls(tstate);
}

/// Releases the GIL. One read-modify-write when no thread waits.
///
/// Returns false if the GIL was not locked.
#[inline(always)]
#[must_use]
pub(crate) fn release(gil: &'static Gil, forced: bool) -> bool {
    match gil.release() {
        Release::Free => true,
        Release::NotLocked => false,
        Release::Contended => {
            gil_queue::pass_on(gil, forced);
            true
        }
    }
}

/// The GIL of `tstate`, if it runs under one.
fn of(tstate: ThreadStateRef) -> Option<&'static Gil> {
    tstate.gil.load(Relaxed)
}

/// Sets the switch interval of the GIL of `tstate`.
pub(crate) fn set_interval_us(tstate: ThreadStateRef, us: u32) {
    if let Some(gil) = of(tstate) {
        gil.interval_us.store(us.max(1), Relaxed);
    }
}

/// The switch interval of the GIL of `tstate`.
pub(crate) fn interval_us(tstate: ThreadStateRef) -> u32 {
    of(tstate).map_or(DEFAULT_INTERVAL_US, |gil| gil.interval_us.load(Relaxed))
}

/// The GIL that the states of `interp` take, if they run under one.
fn of_interp(interp: Interp) -> Option<&'static Gil> {
    interp.gil.load(Relaxed)
}

/// Sets the switch interval of the GIL of `interp`.
pub(crate) fn set_interval_of(interp: Interp, us: u32) {
    if let Some(gil) = of_interp(interp) {
        gil.interval_us.store(us.max(1), Relaxed);
    }
}

/// The switch interval of the GIL of `interp`.
pub(crate) fn interval_of(interp: Interp) -> u32 {
    of_interp(interp).map_or(DEFAULT_INTERVAL_US, |gil| gil.interval_us.load(Relaxed))
}
