//! `cpython/pytime.h`: times, and the clocks that give them.

use super::arg;
use crate::os::clock;
use core::ffi::{CStr, c_double, c_int};

/// A time or a length of time in nanoseconds.
#[allow(non_camel_case_types, reason = "CPython's name")]
pub type PyTime_t = i64;

/// Stores what a clock reads where the caller asked for it; 0.
///
/// # Safety
/// `result` is NULL or writable.
unsafe fn give(result: *mut PyTime_t, now: i64, func: &CStr) -> c_int {
    if result.is_null() {
        arg::null(func, "result");
    }
    // SAFETY: this function's contract.
    unsafe { result.write(now) };
    0
}

/// Reads the monotonic clock. It never goes back, and its zero is arbitrary.
///
/// @param result  Where the time in nanoseconds goes. Must not be NULL.
/// @return 0. The clocks of the supported systems do not fail.
///
/// Errors:  fatal if nothing is attached or `result` is NULL.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `result` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTime_Monotonic(result: *mut PyTime_t) -> c_int {
    const FUNC: &CStr = c"PyTime_Monotonic";
    arg::attached(FUNC);
    // SAFETY: this function's contract.
    unsafe { give(result, clock::now_ns(), FUNC) }
}

/// Reads the clock with the highest resolution, which is the monotonic clock here.
///
/// @param result  Where the time in nanoseconds goes. Must not be NULL.
/// @return 0. The clocks of the supported systems do not fail.
///
/// Errors:  fatal if nothing is attached or `result` is NULL.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `result` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTime_PerfCounter(result: *mut PyTime_t) -> c_int {
    const FUNC: &CStr = c"PyTime_PerfCounter";
    arg::attached(FUNC);
    // SAFETY: this function's contract.
    unsafe { give(result, clock::now_ns(), FUNC) }
}

/// Reads the system's clock: nanoseconds since the beginning of 1970 in UTC. The clock may be set back.
///
/// @param result  Where the time in nanoseconds goes. Must not be NULL.
/// @return 0. The clocks of the supported systems do not fail.
///
/// Errors:  fatal if nothing is attached or `result` is NULL.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `result` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTime_Time(result: *mut PyTime_t) -> c_int {
    const FUNC: &CStr = c"PyTime_Time";
    arg::attached(FUNC);
    // SAFETY: this function's contract.
    unsafe { give(result, clock::wall_ns(), FUNC) }
}

/// Reads the monotonic clock as PyTime_Monotonic() does, without an attached thread state.
///
/// @param result  Where the time in nanoseconds goes. Must not be NULL.
/// @return 0. The clocks of the supported systems do not fail.
///
/// Errors:  fatal if `result` is NULL.
/// Blocks:  never.
/// Threads: any, at any time. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.14.
///
/// # Safety
/// `result` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTime_MonotonicRaw(result: *mut PyTime_t) -> c_int {
    // SAFETY: this function's contract.
    unsafe { give(result, clock::now_ns(), c"PyTime_MonotonicRaw") }
}

/// Reads the clock with the highest resolution as PyTime_PerfCounter() does, without an attached thread state.
///
/// @param result  Where the time in nanoseconds goes. Must not be NULL.
/// @return 0. The clocks of the supported systems do not fail.
///
/// Errors:  fatal if `result` is NULL.
/// Blocks:  never.
/// Threads: any, at any time. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.14.
///
/// # Safety
/// `result` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTime_PerfCounterRaw(result: *mut PyTime_t) -> c_int {
    // SAFETY: this function's contract.
    unsafe { give(result, clock::now_ns(), c"PyTime_PerfCounterRaw") }
}

/// Reads the system's clock as PyTime_Time() does, without an attached thread state.
///
/// @param result  Where the time in nanoseconds goes. Must not be NULL.
/// @return 0. The clocks of the supported systems do not fail.
///
/// Errors:  fatal if `result` is NULL.
/// Blocks:  never.
/// Threads: any, at any time. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.14.
///
/// # Safety
/// `result` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTime_TimeRaw(result: *mut PyTime_t) -> c_int {
    // SAFETY: this function's contract.
    unsafe { give(result, clock::wall_ns(), c"PyTime_TimeRaw") }
}

/// Converts a time to seconds.
///
/// @param t  Nanoseconds.
/// @return The same in seconds, rounded to the nearest double.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, at any time. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyTime_AsSecondsDouble(t: PyTime_t) -> c_double {
    const NS_PER_S: i64 = clock::NS_PER_S;
    if t % NS_PER_S == 0 {
        // Whole seconds are exact, however large.
        (t / NS_PER_S) as c_double
    } else {
        t as c_double / NS_PER_S as c_double
    }
}
