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

/// Now on the system's clock (CLOCK_REALTIME), which may be set: nanoseconds since the beginning of
/// 1970. Async-signal-safe.
#[cfg(not(loom))]
pub(crate) fn wall_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable; CLOCK_REALTIME exists wherever we run, so the call cannot fail.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    debug_assert_eq!(failed, 0);
    nanoseconds(now)
}

/// What reads clocks: the kernel's own entry, once [`prepare`] found it.
#[cfg(all(not(loom), target_os = "linux"))]
static KERNEL_ENTRY: core::sync::atomic::AtomicPtr<core::ffi::c_void> =
    core::sync::atomic::AtomicPtr::new(libc::clock_gettime as *mut core::ffi::c_void);

/// Looks up the kernel's entry for reading clocks: going there directly saves
/// a third of [`coarse_ns`]. Not async-signal-safe; never needed, only faster.
#[cfg(not(loom))]
pub(crate) fn prepare() {
    #[cfg(target_os = "linux")]
    {
        if crate::os::engine::table().is_some() {
            // The engine's clock is behind the function of the C library.
            return;
        }
        // SAFETY: the name is NUL-terminated; nothing is loaded.
        let object = unsafe {
            libc::dlopen(c"linux-vdso.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD)
        };
        if object.is_null() {
            return;
        }
        // SAFETY: the handle comes from dlopen and is never closed.
        let entry = unsafe { libc::dlsym(object, c"__vdso_clock_gettime".as_ptr()) };
        if !entry.is_null() {
            KERNEL_ENTRY.store(entry, core::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// A cheap, coarse now on the same clock: behind by up to a kernel tick.
/// Async-signal-safe.
#[cfg(not(loom))]
pub(crate) fn coarse_ns() -> i64 {
    stamp_ns(coarse_stamp())
}

/// Bits of a stamp that hold the nanoseconds; the seconds are above them.
const STAMP_BITS: u32 = 30;

/// The time of [`coarse_ns`] in the form that costs least to make: without a
/// multiplication, and without an overflow. Stamps compare as times do.
#[cfg(all(not(loom), target_os = "linux"))]
#[inline(always)]
#[allow(clippy::unnecessary_cast, reason = "the fields are narrower on 32-bit systems")]
pub(crate) fn coarse_stamp() -> i64 {
    type Entry = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;
    let mut now = core::mem::MaybeUninit::<libc::timespec>::uninit();
    let entry = KERNEL_ENTRY.load(core::sync::atomic::Ordering::Relaxed);
    // SAFETY: clock_gettime, the library's or the kernel's, which has this type on every
    // architecture that has it under that name.
    let entry = unsafe { core::mem::transmute::<*mut core::ffi::c_void, Entry>(entry) };
    // SAFETY: `now` is writable; the clock exists since Linux 2.6.32, so the call cannot fail.
    unsafe { entry(libc::CLOCK_MONOTONIC_COARSE, now.as_mut_ptr()) };
    // SAFETY: written by the call, which did not fail.
    let now = unsafe { now.assume_init() };
    (now.tv_sec as i64) << STAMP_BITS | now.tv_nsec as i64
}

/// A cheap, coarse now on the same clock, in the form of a stamp.
#[cfg(all(not(loom), not(target_os = "linux")))]
pub(crate) fn coarse_stamp() -> i64 {
    let now = now_ns();
    (now / NS_PER_S) << STAMP_BITS | now % NS_PER_S
}

/// The moment of a stamp in nanoseconds, as [`now_ns`] counts.
#[cfg(not(loom))]
pub(crate) fn stamp_ns(stamp: i64) -> i64 {
    let below = (1 << STAMP_BITS) - 1;
    (stamp >> STAMP_BITS).saturating_mul(NS_PER_S).saturating_add(stamp & below)
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

/// The moment at which a wait ends, or none.
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

    /// The moment itself on the clock of [`now_ns`], as seconds and nanoseconds; `None` if it never
    /// passes.
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
    fn a_stamp_is_a_moment_just_before_now() {
        let before = stamp_ns(coarse_stamp());
        let now = now_ns();
        assert!(before <= now && now - before < NS_PER_S, "{before} {now}");
        assert_eq!(stamp_ns((7 << STAMP_BITS) | 999_999_999), 7_999_999_999);
    }

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
