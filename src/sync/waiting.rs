//! What a thread does around a sleep, decided by the layer above.

use super::wait_record::WaitKind;

/// Answer of [`Waiting::interrupted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum OnSignal {
    /// The wait continues, with the same deadline.
    Retry,
    /// The wait returns to its caller with "interrupted".
    GiveUp,
}

/// Hooks around one wait. No lock of this library is held in any of them.
///
/// `before_sleep` and `after_sleep` bracket each park once, however often it wakes for nothing
/// (S-PL-08). When `after_sleep` runs, the waiter is in no queue any more, so it may block for
/// long, or never return (S-WD-01); what the primitive has got by then is given back first
/// (`super::owed`).
pub(crate) trait Waiting {
    /// Runs once the thread can be woken, before it sleeps. May run although the wake-up has
    /// already come.
    fn before_sleep(&mut self) {}

    /// Runs when the sleep is over, for whatever reason.
    fn after_sleep(&mut self) {}

    /// What the wait is for, with the object of its kind, where that is not simply the primitive.
    fn waits_for(&self) -> Option<(WaitKind, usize)> {
        None
    }

    /// Does a signal end the sleep? If not, it goes on in place and [`Waiting::interrupted`] is
    /// never asked.
    fn ends_on_signal(&self) -> bool {
        false
    }

    /// A signal ended the sleep. Asked by the primitive, not by the lot: after `after_sleep`, in no
    /// queue.
    fn interrupted(&mut self) -> OnSignal {
        OnSignal::Retry
    }
}

/// Sleeps as the thread is and ignores signals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stay;

impl Waiting for Stay {}

/// Waits like `W`, but gives up when a signal arrives.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GiveUpOnSignal<W>(pub(crate) W);

#[cfg(test)]
impl<W: Waiting> Waiting for GiveUpOnSignal<W> {
    fn before_sleep(&mut self) {
        self.0.before_sleep();
    }

    fn after_sleep(&mut self) {
        self.0.after_sleep();
    }

    fn ends_on_signal(&self) -> bool {
        true
    }

    fn interrupted(&mut self) -> OnSignal {
        OnSignal::GiveUp
    }
}
