//! What `sync` does around a sleep on behalf of a thread that may be attached.

use crate::probe::{self, Point};
use crate::sched::attach;
use crate::sched::current::current;
use crate::sched::pending;
use crate::state::eval_breaker::{self, SIGNALS_PENDING};
use crate::state::thread::ThreadStateRef;
use crate::sync::owed;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::{OnSignal, Waiting};

/// Detaches for the sleep if the caller is attached (S-PL-07); ignores signals.
#[derive(Default)]
pub(crate) struct Detach {
    tstate: Option<ThreadStateRef>,
    at: Option<Point>,
}

impl Detach {
    pub(crate) fn new() -> Detach {
        Detach { tstate: None, at: None }
    }

    /// Makes a [`Detach`] that passes a sync point, still attached, before it sleeps.
    pub(crate) fn at(point: Point) -> Detach {
        Detach { tstate: None, at: Some(point) }
    }
}

impl Waiting for Detach {
    fn before_sleep(&mut self) {
        if let Some(point) = self.at {
            probe::point(point);
        }
        self.tstate = current();
        if let Some(tstate) = self.tstate {
            attach::detach_for_call(tstate);
        }
    }

    fn after_sleep(&mut self) {
        if let Some(tstate) = self.tstate.take() {
            attach::reattach_after_call(tstate);
        }
    }
}

/// Detaches for the sleep as [`Detach`] does. A signal ends the sleep, its handlers
/// run attached, and the wait continues unless they fail.
#[derive(Default)]
pub(crate) struct DetachAndSignals {
    inner: Detach,
    what: Option<(WaitKind, usize)>,
    /// A handler failed: the error indicator is set.
    pub(crate) failed: bool,
}

impl DetachAndSignals {
    pub(crate) fn new() -> DetachAndSignals {
        DetachAndSignals { inner: Detach::new(), what: None, failed: false }
    }

    /// The same; dumps show what the wait is for.
    pub(crate) fn that_waits_for(kind: WaitKind, object: usize) -> DetachAndSignals {
        DetachAndSignals { what: Some((kind, object)), ..DetachAndSignals::new() }
    }
}

impl Waiting for DetachAndSignals {
    fn before_sleep(&mut self) {
        self.inner.before_sleep();
    }

    fn after_sleep(&mut self) {
        self.inner.after_sleep();
    }

    fn waits_for(&self) -> Option<(WaitKind, usize)> {
        self.what
    }

    fn ends_on_signal(&self) -> bool {
        true
    }

    fn interrupted(&mut self) -> OnSignal {
        if current().is_some_and(|tstate| pending::make_pending_calls(tstate).is_err()) {
            self.failed = true;
            return OnSignal::GiveUp;
        }
        OnSignal::Retry
    }
}

/// Runs the handlers of signals that came before a sleep that signals end: they
/// would not end it. False when one failed: the error indicator is set.
#[must_use]
pub(crate) fn signals_served() -> bool {
    current().is_none_or(|tstate| {
        !eval_breaker::is_set(tstate, SIGNALS_PENDING)
            || pending::make_pending_calls(tstate).is_ok()
    })
}

/// Runs `work`, which may block in the OS, detached if the caller is attached.
/// If it can never be attached again, `give_back` gets what `work` has taken.
pub(crate) fn detached<R: Copy>(work: impl FnOnce() -> R, give_back: impl FnOnce(R)) -> R {
    let mut around = Detach::new();
    around.before_sleep();
    let result = work();
    owed::or_give_back(|| give_back(result), || around.after_sleep());
    result
}
