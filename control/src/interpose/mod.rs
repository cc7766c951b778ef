//! The interposed functions, one file per kind of object. Each begins as `entry!` says and does the same: if the
//! calling thread is not controlled, or is inside a real function, the call goes straight on to that function.

mod barrier;
mod cond;
mod futex;
mod mutex;
mod process;
mod random;
mod rwlock;
mod semaphore;
mod thread;
mod time;
mod waits;

use core::ffi::c_int;

/// An address as the engine knows objects.
fn at<T>(object: *const T) -> usize {
    object.expose_provenance()
}

/// The calling thread's `errno`.
fn errno_place() -> &'static mut c_int {
    // SAFETY: no preconditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the calling thread's own, as long as it lives; nobody keeps the reference.
    unsafe { &mut *place }
}

/// Sets `errno` and returns -1.
fn fail(error: c_int) -> c_int {
    *errno_place() = error;
    -1
}

/// The value of `errno`.
fn errno() -> c_int {
    *errno_place()
}
