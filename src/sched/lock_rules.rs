//! The rules by which the locks of the C interface wait and are released, where
//! they need the runtime: detaching, signals, finalization, and the version of
//! CPython whose rules apply.

use crate::os::clock::Deadline;
use crate::probe::{self, Point};
use crate::sched::blocking::{DetachAndSignals, detached};
use crate::sched::raise::raise;
use crate::state::config::Compat;
use crate::state::error_kind::ExceptionKind;
use crate::state::runtime::RUNTIME;
use crate::sync::mutex::{LockOutcome, PyMutex};
use crate::sync::thread_lock::{NotLocked, Signals, ThreadLock};
use crate::sync::waiting::{OnSignal, Waiting};

/// What a signal does to a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalRule {
    /// The signal is ignored.
    Ignore,
    /// Pending calls run. The wait ends if one of them raises.
    RunPendingCalls,
    /// The wait ends.
    GiveUp,
}

/// How a lock waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockRules {
    /// Whether an attached caller is detached while it sleeps.
    pub(crate) detach: bool,
    pub(crate) on_signal: SignalRule,
    /// Whether only attached threads lock and unlock the lock.
    pub(crate) attached_only: bool,
}

impl LockRules {
    /// Ends the wait when a signal arrives.
    pub(crate) const fn interruptible(detach: bool) -> LockRules {
        LockRules { detach, on_signal: SignalRule::GiveUp, attached_only: false }
    }
}

/// A wait that follows [`LockRules`].
pub(crate) struct ByRules {
    rules: LockRules,
    at: Option<Point>,
    around: DetachAndSignals,
}

impl ByRules {
    pub(crate) fn new(rules: LockRules) -> ByRules {
        ByRules { rules, at: None, around: DetachAndSignals::new() }
    }

    /// Passes a sync point before the sleep.
    pub(crate) fn at(point: Point, rules: LockRules) -> ByRules {
        ByRules { at: Some(point), ..ByRules::new(rules) }
    }
}

impl Waiting for ByRules {
    fn before_sleep(&mut self) {
        if let Some(point) = self.at {
            probe::point(point);
        }
        if self.rules.detach {
            self.around.before_sleep();
        }
    }

    fn after_sleep(&mut self) {
        // Attaches only what `before_sleep` detached.
        self.around.after_sleep();
    }

    fn ends_on_signal(&self) -> bool {
        self.rules.on_signal != SignalRule::Ignore
    }

    fn interrupted(&mut self) -> OnSignal {
        if self.rules.on_signal == SignalRule::GiveUp {
            return OnSignal::GiveUp;
        }
        self.around.interrupted()
    }
}

/// Locks a mutex within `timeout_ns` (negative: without limit; 0: only tries).
/// `TimedOut` comes with PythonFinalizationError if the rules forbid the wait.
pub(crate) fn lock_timed(mutex: &PyMutex, timeout_ns: i64, rules: LockRules) -> LockOutcome {
    if timeout_ns == 0 {
        return if mutex.try_lock() { LockOutcome::Acquired } else { LockOutcome::TimedOut };
    }
    if rules.attached_only && stays_locked() {
        if mutex.try_lock() {
            return LockOutcome::Acquired;
        }
        raise(
            ExceptionKind::PythonFinalization,
            c"cannot acquire lock at interpreter finalization",
        );
        return LockOutcome::TimedOut;
    }
    let mut waiting = ByRules::at(Point::MutexWait, rules);
    mutex.lock_timed(Deadline::after(timeout_ns), &mut waiting)
}

/// Whether a lock of attached threads counts as locked for good: from 3.15 on
/// while the runtime finalizes (S-MX-09).
fn stays_locked() -> bool {
    RUNTIME.is_finalizing() && RUNTIME.compat() >= Compat::V3_15
}

/// Acquires a thread lock detached. When a signal arrives, pending calls run, and
/// the wait continues with the same deadline unless one of them raises.
pub(crate) fn acquire_with_retries(lock: &ThreadLock, deadline: Deadline) -> LockOutcome {
    loop {
        let give_back = |outcome| {
            if outcome == LockOutcome::Acquired {
                let released = lock.release();
                debug_assert!(released.is_ok());
            }
        };
        let outcome = detached(|| lock.acquire(deadline, Signals::End), give_back);
        let signalled = outcome == LockOutcome::Interrupted;
        if !signalled || DetachAndSignals::new().interrupted() == OnSignal::GiveUp {
            return outcome;
        }
    }
}

/// Releases a thread lock. Up to 3.14 releasing a free lock lets one more thread
/// in later, as a semaphore does; from 3.15 on it is an error.
pub(crate) fn release(lock: &ThreadLock) -> Result<(), NotLocked> {
    lock.release().or_else(|not_locked| {
        if RUNTIME.compat() >= Compat::V3_15 {
            return Err(not_locked);
        }
        lock.add_surplus();
        Ok(())
    })
}
