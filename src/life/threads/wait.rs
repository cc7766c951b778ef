//! Waiting until the threads of an interpreter are gone (extension API 1, 2).
//!
//! "Gone" means: the thread state is unlinked, so that ending the interpreter
//! cannot meet it, and the OS thread has ended if this library started it. Two
//! kinds of leftover are looked for, in this order, until a pass finds none:
//! started threads (joined through their handles, including the unjoined ones)
//! and other non-daemon states (their deletion is told through `departures`).
//!
//! LIFE-6: what a wait that timed out lists is there: a thread that has ended
//! is joined, and not listed, whichever thread the wait slept for.

use super::join::{self, JoinError, Joined};
use crate::life::awaited::{is_awaited, is_awaited_any, is_awaited_thread};
use crate::life::report::reporter::Reporter;
use crate::os::clock::Deadline;
use crate::os::thread;
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::blocking::{DetachAndSignals, detached, signals_served};
use crate::sched::region;
use crate::sched::thread_end::release_handle;
use crate::state::handle::Handle;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::sync::head::HeadGuard;
use crate::sync::lot::{self, Parked};
use crate::sync::owed;
use crate::sync::wait_record::{WaitKind, WaitRecord};
use crate::sync::waiting::{OnSignal, Waiting};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// The longest sleep before the leftovers are looked at again: `is_daemon` is
/// a plain field that the host may write, and no wake-up tells of that.
pub(crate) const RESCAN_NS: i64 = 50_000_000;

/// Outcome of a wait.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// No awaited thread is left.
    AllGone,
    /// The deadline passed, and a thread is left.
    TimedOut,
    /// A signal handler failed: the error indicator is set.
    Interrupted,
}

/// What is done about awaited threads that sit in a blocking region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The wait leaves them alone.
    Leave,
    /// Their unblock functions are called, because finalization waits for them.
    Unblock,
}

/// What still has to end.
enum StillRunning {
    /// A started thread, with a reference to its handle.
    Thread(Handle),
    /// A state of another kind.
    State,
    None,
}

fn find(interp: Interp, head: &HeadGuard<'_>) -> StillRunning {
    if let Some(handle) =
        RUNTIME.handles(head).find(|&handle| is_awaited_thread(interp, handle, head))
    {
        handle.incref();
        return StillRunning::Thread(handle);
    }
    if list::iter(interp, head).any(|tstate| is_awaited(interp, tstate)) {
        return StillRunning::State;
    }
    StillRunning::None
}

/// Waits until every awaited thread of `interp` is gone, or `interp` itself. An
/// attached caller detaches while it sleeps. Threads that start meanwhile are
/// waited for too.
pub(crate) fn wait_for_threads(
    interp: Interp,
    deadline: Deadline,
    reporter: &mut Reporter,
    blocked: Blocked,
) -> Waited {
    let id = || interp.id();
    trace::at(Point::WaitThreadsBegin, Event::Begin(Span::WaitingForThreads), id);
    // The interpreter may end meanwhile, and its block be another's.
    let life = interp.incarnation.load(Relaxed);
    let mut record = None;
    let waited = loop {
        probe::point(Point::WaitThreadsScan);
        // One function at a time: reports and signals are not put off by many.
        let more = blocked == Blocked::Unblock
            && region::unblock_one(interp, |tstate, _| is_awaited_any(interp, tstate));
        let slice = if more { Deadline::after(0) } else { slice(deadline, reporter) };
        let head = RUNTIME.lock();
        if interp.incarnation.load(Relaxed) != life {
            break Waited::AllGone;
        }
        let leftover = find(interp, &head);
        let seen = interp.departures.load(Acquire);
        if matches!(leftover, StillRunning::State) {
            let waiters = interp.departure_waiters.load(Relaxed);
            // Relaxed: a deleter that unlinks after this look took the head lock.
            interp.departure_waiters.store(waiters + 1, Relaxed);
        }
        drop(head);
        if !matches!(leftover, StillRunning::None) {
            // One record for all the sleeps of this call.
            record.get_or_insert_with(|| {
                WaitRecord::begin(WaitKind::Threads, interp.as_ptr().addr())
            });
        }
        let step = match leftover {
            StillRunning::Thread(handle) => join_one(handle, slice),
            StillRunning::State => wait_departure(interp, seen, slice),
            StillRunning::None => break Waited::AllGone,
        };
        if step == Waited::Interrupted {
            break Waited::Interrupted;
        }
        if step == Waited::TimedOut {
            if deadline.passed() {
                break Waited::TimedOut;
            }
            reporter.maybe_report(interp);
        }
    };
    trace::at(Point::WaitThreadsDone, Event::End(Span::WaitingForThreads), id);
    waited
}

/// The next moment at which something has to be done even if no thread ends.
fn slice(deadline: Deadline, reporter: &Reporter) -> Deadline {
    let mut left = RESCAN_NS;
    if let Some(until_report) = reporter.due_in_ns() {
        left = left.min(until_report.max(0));
    }
    match deadline.remaining_ns() {
        Some(remaining) if remaining <= left => deadline,
        _ => Deadline::after(left),
    }
}

fn join_one(handle: Handle, slice: Deadline) -> Waited {
    let outcome = owed::or_give_back(|| release_handle(handle), || join::join(handle, slice));
    release_handle(handle);
    match outcome {
        Ok(Joined::Gone) => Waited::AllGone,
        Ok(Joined::TimedOut) => Waited::TimedOut,
        Err(JoinError::Interrupted) => Waited::Interrupted,
        Err(_) => {
            // The thread is STARTING, or another joiner failed: the wait looks again shortly.
            detached(thread::yield_now, |()| {});
            Waited::TimedOut
        }
    }
}

/// Sleeps until a state of `interp` was deleted since `seen`.
fn wait_departure(interp: Interp, seen: u32, slice: Deadline) -> Waited {
    let count_out = || {
        let head = RUNTIME.lock();
        let waiters = interp.departure_waiters.load(Relaxed);
        interp.departure_waiters.store(waiters - 1, Relaxed);
        drop(head);
    };
    let mut waiting = DetachAndSignals::new();
    let served = owed::or_give_back(count_out, signals_served);
    let parked = lot::park_for(
        WaitKind::Threads,
        core::ptr::from_ref(&interp.departures).cast(),
        || served && interp.departures.load(Acquire) == seen,
        slice,
        core::ptr::null_mut(),
        &mut waiting,
        |_| count_out(),
    );
    count_out();
    match parked {
        _ if !served => Waited::Interrupted,
        Parked::Unparked | Parked::Again => Waited::AllGone,
        Parked::TimedOut => Waited::TimedOut,
        Parked::Interrupted => match waiting.interrupted() {
            OnSignal::GiveUp => Waited::Interrupted,
            OnSignal::Retry => Waited::AllGone,
        },
    }
}
