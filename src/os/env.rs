//! The process's environment, read without allocation.

use core::ffi::{CStr, c_char};

/// What a look at a variable found.
pub(crate) enum Var<'a> {
    /// Not set.
    Unset,
    /// Its value.
    Value(&'a CStr),
    /// Its value does not fit: as much of it as does.
    TooLong(&'a [u8]),
}

/// Copies the variable's value into `buffer`.
///
/// As with getenv(), another thread must not change the environment meanwhile.
pub(crate) fn read<'a>(name: &CStr, buffer: &'a mut [u8]) -> Var<'a> {
    // SAFETY: a NUL-terminated name.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return Var::Unset;
    }
    // SAFETY: getenv returned a NUL-terminated string that stays until the environment changes.
    let value = unsafe { CStr::from_ptr(value) }.to_bytes_with_nul();
    let fits = value.len().min(buffer.len());
    let copy = &mut buffer[..fits];
    copy.copy_from_slice(&value[..fits]);
    match CStr::from_bytes_with_nul(copy) {
        Ok(whole) => Var::Value(whole),
        Err(_) => Var::TooLong(copy),
    }
}

/// Whether the program was given rights that its caller lacks (set-user-id, file capabilities):
/// then its environment is not to be trusted.
pub(crate) fn is_secure() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: no preconditions.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(not(target_os = "linux"))]
    // SAFETY: no preconditions.
    let secure = unsafe { libc::issetugid() } != 0;
    secure
}

/// Calls `seen` with each name in the environment that begins with `prefix`.
///
/// As with getenv(), another thread must not change the environment meanwhile.
pub(crate) fn each_name(prefix: &[u8], seen: &mut dyn FnMut(&[u8])) {
    unsafe extern "C" {
        // POSIX, "environ": the strings, NULL after the last.
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's variable; as getenv() reads it.
    let mut next = unsafe { environ };
    if next.is_null() {
        return;
    }
    loop {
        // SAFETY: the array goes up to a NULL, which was not met yet.
        let entry = unsafe { *next };
        if entry.is_null() {
            return;
        }
        // SAFETY: entries are NUL-terminated.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.starts_with(prefix) {
            seen(name);
        }
        // SAFETY: this entry was not the NULL, so there is one more.
        next = unsafe { next.add(1) };
    }
}

/// Whether the variable is set, in a constructor or while no thread changes the environment.
#[cfg(target_os = "linux")]
pub(super) fn is_set(name: &CStr) -> bool {
    // SAFETY: a NUL-terminated name.
    !unsafe { libc::getenv(name.as_ptr()) }.is_null()
}

/// The libraries that the loader was told to load first, in a constructor.
#[cfg(target_os = "linux")]
pub(super) fn preloaded() -> Option<&'static CStr> {
    // SAFETY: a NUL-terminated name.
    let value = unsafe { libc::getenv(c"LD_PRELOAD".as_ptr()) };
    // SAFETY: getenv's strings are NUL-terminated, and stay until the environment changes.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// Has the loader load these first in the program that this process becomes. `list` holds a NUL.
#[cfg(target_os = "linux")]
pub(super) fn set_preloaded(list: &[u8]) {
    // SAFETY: both are NUL-terminated; the caller runs in a constructor, where there is one thread.
    unsafe { libc::setenv(c"LD_PRELOAD".as_ptr(), list.as_ptr().cast(), 1) };
}

#[cfg(test)]
mod tests {
    use super::{Var, each_name, read};

    #[test]
    fn a_value_is_copied_whole_or_not_at_all() {
        let path = std::env::var("PATH").expect("tests have a PATH");
        let mut buffer = [0; 4096];
        assert!(matches!(read(c"PATH", &mut buffer), Var::Value(v) if v.to_str() == Ok(&path)));
        let mut short = [0; 2];
        assert!(matches!(read(c"PATH", &mut short), Var::TooLong(v) if v == &path.as_bytes()[..2]));
        assert!(matches!(read(c"PYTSTATE_NO_SUCH_VARIABLE", &mut short), Var::Unset));
    }

    #[test]
    fn every_name_with_the_prefix_is_seen() {
        let mut count = 0;
        each_name(b"PATH", &mut |name| count += usize::from(name == b"PATH"));
        assert_eq!(count, 1);
    }
}
