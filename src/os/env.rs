//! The process's environment, read without allocation.

use core::ffi::CStr;

/// What a look at a variable found.
pub(crate) enum Var<'a> {
    /// Not set.
    Unset,
    /// Its value.
    Value(&'a CStr),
    /// Its value does not fit.
    TooLong,
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
    let Some(place) = buffer.get_mut(..value.len()) else { return Var::TooLong };
    place.copy_from_slice(value);
    CStr::from_bytes_with_nul(place).map_or(Var::TooLong, Var::Value)
}

#[cfg(test)]
mod tests {
    use super::{Var, read};

    #[test]
    fn a_value_is_copied_whole_or_not_at_all() {
        let path = std::env::var("PATH").expect("tests have a PATH");
        let mut buffer = [0; 4096];
        assert!(matches!(read(c"PATH", &mut buffer), Var::Value(v) if v.to_str() == Ok(&path)));
        let mut short = [0; 2];
        assert!(matches!(read(c"PATH", &mut short), Var::TooLong));
        assert!(matches!(read(c"PYTSTATE_NO_SUCH_VARIABLE", &mut short), Var::Unset));
    }
}
