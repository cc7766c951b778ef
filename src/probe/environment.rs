//! What the environment asks of this layer, read once.
//!
//! | variable                            | means |
//! |-------------------------------------|-------|
//! | `PYTSTATE_PERTURB=seed:permille:us` | random sleeps at points, as `PyTState_Sync_Perturb()` |
//! | `PYTSTATE_SYNC_LIMIT=seconds`       | how long an order may hold a thread before it is given up |
//! | `PYTSTATE_TRACE=path`               | a lifecycle trace, as `PyTState_TraceStart()` |
//!
//! A value that cannot be read is reported on standard error and ignored.

use core::ffi::CStr;

use super::{perturb::Setting, sync_point, text, trace};
use crate::os::env::{self, Var};

/// Reads the variables and turns on what they ask for.
pub(super) fn apply() {
    let mut buffer = [0; 128];
    if let Some(limit_ns) = parsed(c"PYTSTATE_SYNC_LIMIT", &mut buffer, "seconds", seconds) {
        sync_point::set_limit(limit_ns);
    }
    if let Some(setting) = parsed(c"PYTSTATE_PERTURB", &mut buffer, "seed:permille:max_us", setting)
    {
        sync_point::perturb_by_environment(setting);
    }
    let mut path = [0; trace::PATH_SIZE];
    let started = match env::read(c"PYTSTATE_TRACE", &mut path) {
        Var::Unset => Ok(()),
        Var::TooLong => Err(trace::TraceError::BadPath),
        Var::Value(path) => trace::start_resolved(path),
    };
    if let Err(error) = started {
        text::warn(format_args!("pytstate: PYTSTATE_TRACE is ignored: {error}"));
    }
}

/// The variable's value as `read` understands it; `None`, and a report if it is set, otherwise.
fn parsed<T>(
    name: &CStr,
    buffer: &mut [u8],
    form: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let value = match env::read(name, buffer) {
        Var::Unset => return None,
        Var::TooLong => None,
        Var::Value(value) => value.to_str().ok().and_then(read),
    };
    if value.is_none() {
        let name = name.to_str().unwrap_or("?");
        text::warn(format_args!("pytstate: {name} is ignored: it is not of the form {form}"));
    }
    value
}

/// `seed:permille:max_us`
fn setting(text: &str) -> Option<Setting> {
    let mut parts = text.split(':');
    let seed = parts.next()?.parse().ok()?;
    let permille = parts.next()?.parse().ok()?;
    let max_us: i64 = parts.next()?.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    Setting::new(seed, permille, max_us.checked_mul(1000)?)
}

/// Seconds, with or without a fraction, in nanoseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_i64.checked_pow(9 - u32::try_from(fraction.len()).ok()?)?;
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = fraction.parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction * scale)
}

#[cfg(test)]
mod tests {
    use super::{Setting, seconds, setting};

    #[test]
    fn a_perturbation_is_three_numbers() {
        assert_eq!(setting("7:100:250"), Setting::new(7, 100, 250_000));
        for bad in
            ["", "7", "7:100", "7:100:", "7:100:250:1", "7:1001:250", "-7:1:1", "7:1:-1", "a:b:c"]
        {
            assert_eq!(setting(bad), None, "{bad}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("10"), Some(10_000_000_000));
        assert_eq!(seconds("0.25"), Some(250_000_000));
        assert_eq!(seconds("1.000000001"), Some(1_000_000_001));
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "1.0000000001", "99999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
