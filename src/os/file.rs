//! Plain file descriptors: write, close. Async-signal-safe.

/// What one write did.
enum Written {
    /// So many bytes went out (at least one).
    Bytes(usize),
    /// A signal came first: try again.
    Interrupted,
    /// The descriptor takes no more.
    Failed,
}

/// Writes once, maybe not all of `bytes` (which must not be empty).
fn write(fd: i32, bytes: &[u8]) -> Written {
    // SAFETY: the slice is valid for its length; a bad descriptor is an error, not undefined.
    let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    match usize::try_from(n) {
        Ok(0) => Written::Failed,
        Ok(n) => Written::Bytes(n),
        Err(_) if super::errno::get() == libc::EINTR => Written::Interrupted,
        Err(_) => Written::Failed,
    }
}

/// Writes all of `bytes`, however many calls that takes. False, with `errno` set, if the descriptor
/// takes no more.
pub(crate) fn write_all(fd: i32, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match write(fd, rest) {
            Written::Bytes(n) => rest = &rest[n..],
            Written::Interrupted => {}
            Written::Failed => return false,
        }
    }
    true
}

/// Closes a descriptor that the caller owns. False if the OS reports an error; it is closed all the
/// same.
pub(crate) fn close(fd: i32) -> bool {
    // SAFETY: the caller owns the descriptor, so no other descriptor is closed.
    unsafe { libc::close(fd) == 0 }
}

/// True if the descriptor can be written at a place (it is no pipe or terminal).
pub(crate) fn is_seekable(fd: i32) -> bool {
    // SAFETY: a bad descriptor is an error, not undefined.
    unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) >= 0 }
}

/// Writes all of `bytes` at `offset`, however many calls that takes. False, with `errno` set, if
/// that fails.
pub(crate) fn write_at(fd: i32, bytes: &[u8], offset: u64) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        let Ok(place) = libc::off_t::try_from(offset + done as u64) else { return false };
        // SAFETY: the slice is valid for its length; a bad descriptor is an error, not undefined.
        let n = unsafe { libc::pwrite(fd, rest.as_ptr().cast(), rest.len(), place) };
        match usize::try_from(n) {
            Ok(0) => return false,
            Ok(n) => done += n,
            Err(_) if super::errno::get() == libc::EINTR => {}
            Err(_) => return false,
        }
    }
    true
}

unsafe extern "C" {
    /// The C library's standard output and standard error.
    #[cfg_attr(target_vendor = "apple", link_name = "__stdoutp")]
    static mut stdout: *mut libc::FILE;
    #[cfg_attr(target_vendor = "apple", link_name = "__stderrp")]
    static mut stderr: *mut libc::FILE;
}

/// Writes out what the C library buffered for standard output and standard
/// error. False when that failed. No other stream is touched: a thread that
/// reads one has it locked for as long as it reads.
pub(crate) fn flush_standard_streams() -> bool {
    // SAFETY: the C library fills it before main and keeps it.
    let output = unsafe { stdout };
    // SAFETY: as above.
    let errors = unsafe { stderr };
    let mut flushed = true;
    for stream in [output, errors] {
        // SAFETY: a stream of the C library; it locks the stream itself.
        flushed &= unsafe { libc::fflush(stream) } == 0;
    }
    flushed
}
