//! Joining: the exit event first, then the OS thread, once (S-JN).

use crate::life::threads::join_cycle::{Cycle, JoinEdge};
use crate::os::clock::Deadline;
use crate::os::thread::{self, Join};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::blocking::{Detach, DetachAndSignals, detached, signals_served};
use crate::sched::current::{current, traced_interp};
use crate::sched::thread_end::{join_os_thread, release_handle};
use crate::state::config::Compat;
use crate::state::handle::{DONE, Handle, RUNNING};
use crate::state::runtime::RUNTIME;
use crate::sync::mutex::LockOutcome;
use crate::sync::owed;
use crate::sync::wait_record::{WaitKind, WaitRecord};
use core::sync::atomic::Ordering::Relaxed;

/// Outcome of a join that was not refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The OS thread has exited, or hangs since finalization.
    Gone,
    /// The deadline passed before the thread ended.
    TimedOut,
}

/// Why a join was refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    NotStarted,
    Itself,
    Finalizing,
    /// The thread to be joined waits, through others perhaps, for the calling thread: the error
    /// indicator is set.
    Cycle,
    /// A signal handler failed: the error indicator is set.
    Interrupted,
    /// The OS refused the join; another joiner may try again.
    Failed,
}

/// Waits until the OS thread of `handle` has exited. An attached caller is
/// detached meanwhile.
pub(crate) fn join(handle: Handle, deadline: Deadline) -> Result<Joined, JoinError> {
    probe::point(Point::JoinBegin);
    match handle.state() {
        DONE => return Ok(Joined::Gone),
        RUNNING => {}
        _ => return Err(JoinError::NotStarted),
    }
    if handle.ident() == thread::ident() && handle.native() == thread::native_id() {
        return Err(JoinError::Itself);
    }
    if !handle.exiting.is_set() && is_refused() {
        return Err(JoinError::Finalizing);
    }
    // The join holds a reference of its own, because the host may drop its last one meanwhile.
    handle.incref();
    let edge = match JoinEdge::add(handle, deadline) {
        Ok(edge) => edge,
        Err(Cycle) => {
            release_handle(handle);
            return Err(JoinError::Cycle);
        }
    };
    let give_back = || {
        edge.remove();
        release_handle(handle);
    };
    trace::event(Event::Begin(Span::Joining), traced_interp);
    let outcome = owed::or_give_back(give_back, || join_held(handle, deadline));
    edge.remove();
    release_handle(handle);
    trace::at(Point::JoinDone, Event::End(Span::Joining), traced_interp);
    outcome
}

/// Whether a join is refused rather than waited for: from 3.14 on while the runtime
/// finalizes. A detached caller waits: the thread ends or hangs, and it is told.
fn is_refused() -> bool {
    RUNTIME.is_finalizing() && RUNTIME.compat() >= Compat::V3_14 && current().is_some()
}

fn join_held(handle: Handle, deadline: Deadline) -> Result<Joined, JoinError> {
    // Its kernel id is not known before it runs.
    let identity = handle.ident() as usize;
    let mut waiting = DetachAndSignals::that_waits_for(WaitKind::Join, identity);
    if !handle.exiting.is_set() {
        probe::point(Point::JoinWaiting);
        if !signals_served() {
            return Err(JoinError::Interrupted);
        }
        if !handle.exiting.wait(deadline, &mut waiting) {
            return if waiting.failed { Err(JoinError::Interrupted) } else { Ok(Joined::TimedOut) };
        }
    }
    probe::point(Point::JoinEventSeen);
    join_os(handle, deadline)
}

/// The OS join: one joiner does it, the others wait for that one.
fn join_os(handle: Handle, deadline: Deadline) -> Result<Joined, JoinError> {
    if handle.hung.load(Relaxed) != 0 {
        return Ok(Joined::Gone);
    }
    if handle.joining.lock_timed(deadline, &mut Detach::at(Point::MutexWait))
        != LockOutcome::Acquired
    {
        return Ok(Joined::TimedOut);
    }
    let outcome = if handle.state() == DONE {
        Ok(Joined::Gone)
    } else {
        probe::point(Point::JoinOsJoin);
        // A joiner that never returns leaves the handle to the next one.
        let free = |_| {
            let _ = handle.joining.unlock();
        };
        match detached(|| join_os_recorded(handle, deadline), free) {
            Join::Joined => Ok(Joined::Gone),
            Join::TimedOut => Ok(Joined::TimedOut),
            Join::Failed => Err(JoinError::Failed),
        }
    };
    let _ = handle.joining.unlock();
    outcome
}

fn join_os_recorded(handle: Handle, deadline: Deadline) -> Join {
    let _record = WaitRecord::begin(WaitKind::Join, handle.ident() as usize);
    join_os_thread(handle, deadline)
}
