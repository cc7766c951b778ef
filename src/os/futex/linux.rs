//! Futexes of Linux: private, with absolute deadlines on the monotonic clock.

use super::Wait;
use crate::os::atomic::AtomicU32;
use crate::os::clock::Deadline;
use crate::os::errno;
use core::ptr;

/// What SYS_futex takes on every architecture: two longs (libc's own timespec is wider on some
/// 32-bit ones).
#[repr(C)]
struct KernelTime {
    seconds: libc::c_long,
    nanoseconds: libc::c_long,
}

impl KernelTime {
    fn from(deadline: Deadline) -> Option<Self> {
        let (seconds, nanoseconds) = deadline.split()?;
        Some(Self {
            // A time that a long cannot hold lies beyond every process: the furthest one will do.
            seconds: libc::c_long::try_from(seconds).unwrap_or(libc::c_long::MAX),
            nanoseconds: libc::c_long::try_from(nanoseconds).unwrap_or(0),
        })
    }
}

#[cfg(test)]
pub(super) const REPORTS_SIGNALS: bool = true;

pub(super) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Wait {
    let until = KernelTime::from(deadline);
    let until_ptr = until.as_ref().map_or(ptr::null(), ptr::from_ref);
    let saved = errno::get();
    // SAFETY: `word` and `until` outlive the call; WAIT_BITSET reads an absolute CLOCK_MONOTONIC
    // time or NULL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            ptr::from_ref(word),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            until_ptr,
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if result == 0 {
        return Wait::Woken;
    }
    let error = errno::get();
    errno::set(saved);
    match error {
        libc::EAGAIN => Wait::Changed,
        libc::ETIMEDOUT => Wait::TimedOut,
        libc::EINTR => Wait::Interrupted,
        _ => {
            debug_assert!(false, "futex wait: errno {error}");
            Wait::Woken
        }
    }
}

pub(super) fn wake(word: *const AtomicU32, count: u32) {
    let saved = errno::get();
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: a private wake uses the address as a key and reads nothing behind it (FUTEX-2).
    let result = unsafe {
        libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, count)
    };
    if result < 0 {
        // An address that is no longer mapped is no error of the caller (FUTEX-2).
        errno::set(saved);
    }
}

/// The kernel's queues hold threads of the parent only: nothing to forget.
///
/// # Safety
/// None here; the other machines have a contract.
pub(super) unsafe fn reset_in_child() {}
