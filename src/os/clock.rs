//! Monotonic time in nanoseconds, and deadlines in it.

/// Nanoseconds in a second.
pub(crate) const NS_PER_S: i64 = 1_000_000_000;

/// Now, on a clock that never goes back (CLOCK_MONOTONIC). Async-signal-safe.
#[cfg(not(loom))]
pub(crate) fn now_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable; CLOCK_MONOTONIC exists wherever we run, so the call cannot fail.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    debug_assert_eq!(failed, 0);
    nanoseconds(now)
}

/// The kernel's own entry for reading clocks, once [`prepare`] found it.
#[cfg(all(not(loom), target_os = "linux"))]
static KERNEL_ENTRY: core::sync::atomic::AtomicPtr<core::ffi::c_void> =
    core::sync::atomic::AtomicPtr::new(core::ptr::null_mut());

/// Looks up the kernel's entry for reading clocks: going there directly saves
/// a third of [`coarse_ns`]. Not async-signal-safe; never needed, only faster.
#[cfg(not(loom))]
pub(crate) fn prepare() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the name is NUL-terminated; nothing is loaded.
        let object = unsafe {
            libc::dlopen(c"linux-vdso.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD)
        };
        if object.is_null() {
            return;
        }
        // SAFETY: a handle from dlopen, kept for ever.
        let entry = unsafe { libc::dlsym(object, c"__vdso_clock_gettime".as_ptr()) };
        KERNEL_ENTRY.store(entry, core::sync::atomic::Ordering::Relaxed);
    }
}

/// A cheap, coarse now on the same clock: behind by up to a kernel tick.
/// Async-signal-safe.
#[cfg(all(not(loom), target_os = "linux"))]
#[inline]
pub(crate) fn coarse_ns() -> i64 {
    type Entry = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let entry = KERNEL_ENTRY.load(core::sync::atomic::Ordering::Relaxed);
    let failed = if entry.is_null() {
        // SAFETY: `now` is writable; the clock exists since Linux 2.6.32, so the call cannot fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) }
    } else {
        // SAFETY: the symbol has this type on every architecture that has it under this name.
        let entry = unsafe { core::mem::transmute::<*mut core::ffi::c_void, Entry>(entry) };
        // SAFETY: as for clock_gettime above.
        unsafe { entry(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) }
    };
    debug_assert_eq!(failed, 0);
    nanoseconds(now)
}

/// A cheap, coarse now on the same clock.
#[cfg(all(not(loom), not(target_os = "linux")))]
pub(crate) fn coarse_ns() -> i64 {
    now_ns()
}

/// A `timespec` as one number.
#[cfg(not(loom))]
#[allow(clippy::unnecessary_cast, reason = "the fields are narrower on 32-bit systems")]
pub(super) fn nanoseconds(time: libc::timespec) -> i64 {
    (time.tv_sec as i64).saturating_mul(NS_PER_S).saturating_add(time.tv_nsec as i64)
}

/// Now, in a model: a counter that a model makes run fast or stand still with [`model::set_step`].
#[cfg(loom)]
pub(crate) fn now_ns() -> i64 {
    model::now()
}

/// A moment until which somebody waits, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// On the clock of [`now_ns`]; `i64::MAX` means never.
    at_ns: i64,
}

impl Deadline {
    /// A wait without limit.
    pub(crate) const NEVER: Self = Self { at_ns: i64::MAX };

    /// `timeout_ns` from now; negative means never. Times too far away to count are never, too.
    pub(crate) fn after(timeout_ns: i64) -> Self {
        if timeout_ns < 0 {
            return Self::NEVER;
        }
        Self { at_ns: now_ns().saturating_add(timeout_ns) }
    }

    /// True if it never passes.
    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    /// True once the moment is reached.
    pub(crate) fn passed(self) -> bool {
        !self.is_never() && now_ns() >= self.at_ns
    }

    /// What is left, 0 once it passed; `None` if it never passes.
    pub(crate) fn remaining_ns(self) -> Option<i64> {
        if self.is_never() {
            return None;
        }
        Some(self.at_ns.saturating_sub(now_ns()).max(0))
    }

    /// The moment itself on the clock of [`now_ns`], as seconds and nanoseconds; `None` if it never passes.
    pub(crate) fn split(self) -> Option<(i64, i64)> {
        if self.is_never() {
            return None;
        }
        Some((self.at_ns / NS_PER_S, self.at_ns % NS_PER_S))
    }
}

/// The clock of loom models.
#[cfg(loom)]
pub(crate) mod model {
    use core::sync::atomic::{AtomicI64, Ordering};

    // Not loom's: time is no synchronisation, and a model must not branch on reading it.
    static NOW: AtomicI64 = AtomicI64::new(0);
    static STEP: AtomicI64 = AtomicI64::new(0);

    /// Every later reading is `step_ns` after the one before it. Call it before the model starts.
    pub(crate) fn set_step(step_ns: i64) {
        STEP.store(step_ns, Ordering::Relaxed);
    }

    pub(super) fn now() -> i64 {
        NOW.fetch_add(STEP.load(Ordering::Relaxed), Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let mut last = now_ns();
        for _ in 0..10_000 {
            let now = now_ns();
            assert!(now >= last, "{now} < {last}");
            last = now;
        }
    }

    #[test]
    fn a_negative_timeout_never_passes() {
        for timeout in [-1, i64::MIN] {
            assert_eq!(Deadline::after(timeout), Deadline::NEVER);
        }
        assert!(!Deadline::NEVER.passed());
        assert_eq!(Deadline::NEVER.remaining_ns(), None);
        assert_eq!(Deadline::NEVER.split(), None);
    }

    #[test]
    fn a_timeout_of_zero_has_passed() {
        let deadline = Deadline::after(0);
        assert!(deadline.passed());
        assert_eq!(deadline.remaining_ns(), Some(0));
    }

    #[test]
    fn a_timeout_beyond_the_clock_saturates() {
        assert!(!Deadline::after(i64::MAX).passed());
        assert!(!Deadline::after(i64::MAX - 1).passed());
    }

    #[test]
    fn what_remains_only_shrinks() {
        let deadline = Deadline::after(3600 * NS_PER_S);
        let first = deadline.remaining_ns().expect("bounded");
        let second = deadline.remaining_ns().expect("bounded");
        assert!(second <= first && first <= 3600 * NS_PER_S);
    }
}
