//! The kernel's numbers for this process and thread, asked anew each time: right in a fork child, too.

/// The kernel's number of the process. Async-signal-safe.
pub(crate) fn process() -> i64 {
    // SAFETY: no preconditions; cannot fail.
    i64::from(unsafe { libc::getpid() })
}

/// The kernel's number of the calling thread. Async-signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn thread() -> i64 {
    // SAFETY: no preconditions; cannot fail.
    i64::from(unsafe { libc::gettid() })
}

/// A number of the calling thread that no other living thread has. Async-signal-safe.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread() -> i64 {
    // SAFETY: no preconditions; cannot fail.
    let own = unsafe { libc::pthread_self() };
    own as i64
}
