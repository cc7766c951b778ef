//! Virtual time: it moves by a microsecond with each look at a clock, and to a deadline when that passes.

/// What the monotonic clock shows at the start: a quarter of an hour after the machine's.
const BOOT_NS: i64 = 1_000_000_000_000;
/// What a look costs.
const LOOK_NS: i64 = 1_000;
/// The wall clock at the start, if the command gave none: 2026-01-01.
const EPOCH_NS: i64 = 1_767_225_600_000_000_000;

/// No deadline.
pub(crate) const NEVER: i64 = i64::MAX;

/// The clock of a run, in nanoseconds since its start.
pub(crate) struct Clock {
    now: i64,
    epoch: i64,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { now: 0, epoch: 0 }
    }

    /// Sets what the wall clock shows at the start.
    pub(crate) fn set_epoch(&mut self, epoch_ns: i64) {
        self.epoch = if epoch_ns == 0 { EPOCH_NS } else { epoch_ns };
    }

    /// Now, not moved.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// A deadline passes: it is that time now, or later.
    pub(crate) fn advance_to(&mut self, deadline: i64) {
        self.now = self.now.max(deadline);
    }

    /// Looks at a clock of the program.
    pub(crate) fn read(&mut self, clock: libc::clockid_t) -> i64 {
        self.now = self.now.saturating_add(LOOK_NS);
        self.offset(clock).saturating_add(self.now)
    }

    fn offset(&self, clock: libc::clockid_t) -> i64 {
        match clock {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => self.epoch,
            libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME => BOOT_NS,
            _ => 0,
        }
    }

    /// A moment of a program's clock as a deadline here.
    pub(crate) fn deadline(&self, clock: libc::clockid_t, moment: i64) -> i64 {
        moment.saturating_sub(self.offset(clock))
    }

    /// A deadline `ns` from now.
    pub(crate) fn after(&self, ns: i64) -> i64 {
        self.now.saturating_add(ns.max(0))
    }
}

/// A `timespec` as nanoseconds; `None` if it is not one.
pub(crate) fn nanoseconds(time: &libc::timespec) -> Option<i64> {
    if !(0..1_000_000_000).contains(&time.tv_nsec) {
        return None;
    }
    Some(time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec))
}

/// Nanoseconds as a `timespec`.
pub(crate) fn timespec(ns: i64) -> libc::timespec {
    libc::timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) }
}
