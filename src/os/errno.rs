//! The calling thread's `errno`: kept by every call that must not be seen to make system calls.

/// Where the calling thread's `errno` lives.
fn location() -> *mut libc::c_int {
    #[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "redox"))]
    // SAFETY: takes nothing, and returns the address of the calling thread's own errno.
    return unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: takes nothing, and returns the address of the calling thread's own errno.
    return unsafe { libc::__error() };
    #[cfg(any(target_os = "netbsd", target_os = "openbsd", target_os = "android"))]
    // SAFETY: takes nothing, and returns the address of the calling thread's own errno.
    return unsafe { libc::__errno() };
}

/// The calling thread's `errno`. Async-signal-safe.
pub(crate) fn get() -> i32 {
    let place = location();
    // SAFETY: errno's address is valid for the calling thread while it lives.
    unsafe { *place }
}

/// Sets the calling thread's `errno`. Async-signal-safe.
pub(crate) fn set(value: i32) {
    let place = location();
    // SAFETY: errno's address is valid for the calling thread while it lives.
    unsafe { *place = value }
}

#[cfg(test)]
mod tests {
    #[test]
    fn errno_reads_back_what_was_set() {
        super::set(libc::ERANGE);
        assert_eq!(super::get(), libc::ERANGE);
        super::set(0);
        assert_eq!(super::get(), 0);
    }
}
