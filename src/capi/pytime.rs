//! `cpython/pytime.h`: the type of times.

/// A time or a length of time in nanoseconds.
#[allow(non_camel_case_types, reason = "CPython's name")]
pub type PyTime_t = i64;
