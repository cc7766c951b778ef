//! Plain file descriptors: open for writing, write, close. Async-signal-safe.

use core::ffi::CStr;

/// What one write did.
pub(crate) enum Written {
    /// So many bytes went out (at least one).
    Bytes(usize),
    /// A signal came first: try again.
    Interrupted,
    /// The descriptor takes no more.
    Failed,
}

/// Writes once, maybe not all of `bytes` (which must not be empty).
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Written {
    // SAFETY: the slice is valid for its length; a bad descriptor is an error, not undefined.
    let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    match usize::try_from(n) {
        Ok(0) => Written::Failed,
        Ok(n) => Written::Bytes(n),
        Err(_) if super::errno::get() == libc::EINTR => Written::Interrupted,
        Err(_) => Written::Failed,
    }
}

/// Opens `path` for writing, created or emptied, closed on exec; `None` with `errno` set.
pub(crate) fn create(path: &CStr) -> Option<i32> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path; the mode is passed because O_CREAT is set.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o644 as libc::c_uint) };
    (fd >= 0).then_some(fd)
}

/// Closes a descriptor that the caller owns. False if the OS reports an error; it is closed all the same.
pub(crate) fn close(fd: i32) -> bool {
    // SAFETY: the caller owns the descriptor, so nobody else's is closed.
    unsafe { libc::close(fd) == 0 }
}
