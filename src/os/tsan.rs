//! Telling ThreadSanitizer what this library orders, for hosts that are compiled
//! with it while the library is not: the sanitizer sees the host's reads and
//! writes, and none of the atomic operations here.
//!
//! Without the sanitizer a note is one load of a constant and a branch that is
//! not taken. Attaching and detaching do not even have that: they look at
//! [`is_present`] where they look for sync points.

#[cfg(not(loom))]
unsafe extern "C" {
    static pytstate_tsan_acquire: Option<unsafe extern "C" fn(*const ())>;
    static pytstate_tsan_release: Option<unsafe extern "C" fn(*const ())>;
}

/// Whether the host is compiled with the sanitizer.
#[cfg(not(loom))]
pub(crate) fn is_present() -> bool {
    // SAFETY: a constant of `tsan_shim.c`.
    unsafe { pytstate_tsan_acquire }.is_some()
}

/// What threads did before their [`release`] of `at` happened before what the
/// caller does next.
#[inline(always)]
pub(crate) fn acquire<T>(at: *const T) {
    #[cfg(not(loom))]
    // SAFETY: a constant of `tsan_shim.c`.
    if let Some(note) = unsafe { pytstate_tsan_acquire } {
        // SAFETY: the sanitizer's function; it uses the address only.
        unsafe { note(at.cast()) };
    }
    #[cfg(loom)]
    let _ = at;
}

/// What the caller did happens before what threads do after an [`acquire`] of
/// `at` that comes later.
#[inline(always)]
pub(crate) fn release<T>(at: *const T) {
    #[cfg(not(loom))]
    // SAFETY: a constant of `tsan_shim.c`.
    if let Some(note) = unsafe { pytstate_tsan_release } {
        // SAFETY: the sanitizer's function; it uses the address only.
        unsafe { note(at.cast()) };
    }
    #[cfg(loom)]
    let _ = at;
}
