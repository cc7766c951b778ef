//! `internal/pycore_parking_lot.h`: sleeping on an address.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::arg;
use super::pytime::PyTime_t;
use crate::os::clock::Deadline;
use crate::sched::fatal::fatal;
use crate::sched::lock_rules::{ByRules, LockRules};
use crate::sync::lot::{self, Parked};

/// Sleeps on `address` while what it points to equals what `expected` points to.
///
/// The comparison and the enqueueing are one step for every unpark of the same address. Waiters of one address
/// are woken in the order in which they came.
///
/// @param address       What to sleep on, aligned to `address_size`. Borrowed. NULL is fatal.
/// @param expected      A value of that size. Borrowed. NULL is fatal.
/// @param address_size  1, 2, 4 or 8; anything else is fatal.
/// @param timeout_ns    Nanoseconds; the wait never times out early. Negative waits without limit.
/// @param park_arg      Passed to the function of the unpark that wakes the caller. Any value.
/// @param detach        Not 0: an attached caller is detached while it sleeps. 0: it keeps its GIL.
/// @return Py_PARK_OK: woken; Py_PARK_AGAIN: the values differ, no sleep; Py_PARK_TIMEOUT: the time passed;
///         Py_PARK_INTR: a signal arrived. A caller that an unpark had chosen already gets Py_PARK_OK.
///
/// Errors:  as above.
/// Blocks:  up to `timeout_ns`; a detached caller also until it is attached again, which never happens once
///          its interpreter has finalized: a wake-up that had chosen it is lost then, so hosts that hand
///          something to one waiter park with `detach` 0, or wake all.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child() or _PyParkingLot_AfterFork().
/// Source:  CPython 3.13.
///
/// # Safety
/// `address` and `expected` are readable and as large and aligned as said; `address` outlives the call and is
/// written with atomic operations only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyParkingLot_Park(
    address: *const c_void,
    expected: *const c_void,
    address_size: usize,
    timeout_ns: PyTime_t,
    park_arg: *mut c_void,
    detach: c_int,
) -> c_int {
    // SAFETY: this function's contract; only checked for NULL here.
    unsafe { arg::required(address.cast::<u8>(), c"_PyParkingLot_Park", "address") };
    // SAFETY: as above.
    unsafe { arg::required(expected.cast::<u8>(), c"_PyParkingLot_Park", "expected") };
    if !matches!(address_size, 1 | 2 | 4 | 8) {
        fatal(c"_PyParkingLot_Park", format_args!("address_size is {address_size}"));
    }
    // SAFETY: this function's contract is `equal`'s; the size was checked.
    let validate = || unsafe { equal(address, expected, address_size) };
    let mut waiting = ByRules::new(LockRules::interruptible(detach != 0));
    let deadline = Deadline::after(timeout_ns);
    let token = park_arg.cast();
    match lot::park(address.cast(), validate, deadline, token, &mut waiting, lot::nothing) {
        Parked::Unparked => 0,
        Parked::Again => -1,
        Parked::TimedOut => -2,
        Parked::Interrupted => -3,
    }
}

/// Compares the values behind two pointers; the first one atomically.
///
/// # Safety
/// `size` is 1, 2, 4 or 8; the rest is the contract of [`_PyParkingLot_Park`].
unsafe fn equal(address: *const c_void, expected: *const c_void, size: usize) -> bool {
    macro_rules! compare {
        ($atomic:ty, $plain:ty) => {{
            // SAFETY: readable, aligned, and written atomically, by this function's contract.
            let now = unsafe { <$atomic>::from_ptr(address.cast_mut().cast()) };
            // SAFETY: readable by this function's contract.
            now.load(Ordering::Relaxed) == unsafe { expected.cast::<$plain>().read_unaligned() }
        }};
    }
    match size {
        1 => compare!(AtomicU8, u8),
        2 => compare!(AtomicU16, u16),
        4 => compare!(AtomicU32, u32),
        _ => compare!(AtomicU64, u64),
    }
}

/// Wakes the thread that has slept longest on `address`.
///
/// @param address  What threads sleep on. Only the address is used.
/// @param fn       Called exactly once, before the thread runs: with `arg`, with the thread's
///                 `park_arg` or NULL if no thread sleeps there, and with whether another thread
///                 sleeps there too. It runs under the lot's internal lock: it must not block,
///                 park, unpark or call anything that does. NULL is fatal.
/// @param arg      Passed to `fn`. Any value.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child() or
///          _PyParkingLot_AfterFork().
/// Source:  CPython 3.13 (there, the other thread may sleep at another address).
///
/// # Safety
/// `fn` may be called with these arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyParkingLot_Unpark(
    address: *const c_void,
    r#fn: Option<
        unsafe extern "C" fn(arg: *mut c_void, park_arg: *mut c_void, has_more_waiters: c_int),
    >,
    arg: *mut c_void,
) {
    let Some(choose) = r#fn else {
        fatal(c"_PyParkingLot_Unpark", format_args!("fn is NULL"));
    };
    lot::unpark_one(address.cast(), |token, has_more| {
        let park_arg = token.map_or(ptr::null_mut(), |token| token.cast());
        // SAFETY: this function's contract.
        unsafe { choose(arg, park_arg, c_int::from(has_more)) };
    });
}

/// Wakes every thread that sleeps on `address`, in the order in which they came.
///
/// @param address  What threads sleep on. Only the address is used.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child() or
///          _PyParkingLot_AfterFork().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn _PyParkingLot_UnparkAll(address: *const c_void) {
    lot::unpark_all(address.cast());
}

/// Removes every thread that slept in the parent from the parking lot of a fork child.
/// PyOS_AfterFork_Child() calls it.
///
/// Comes before any lock is touched in the child. Locks stay as the parent's threads left them.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: the only one of a fork child; attached or not.
/// Source:  CPython 3.13.
///
/// # Safety
/// The caller is the only thread of the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyParkingLot_AfterFork() {
    // SAFETY: this function's contract; the caller is C code, so not inside the lot.
    unsafe { lot::reset_in_child() };
}
