//! Sync points: races on demand (`docs/sync-points.md`).
//!
//! Every call here works before initialization, after finalization, with or without a thread state, and
//! allocates nothing. None detaches: see `PyTState_Sync_WaitParked()`.

use core::ffi::{CStr, c_char, c_int, c_void};

use super::pytime::PyTime_t;
use crate::os::clock::Deadline;
use crate::probe::perturb::Setting;
use crate::probe::sync_point::{self, Answer, Hook};

/// The name that C passed, if it is not NULL.
///
/// # Safety
/// `name` is NULL or a string that outlives `'a`.
unsafe fn nullable_name<'a>(name: *const c_char) -> Option<&'a CStr> {
    if name.is_null() {
        return None;
    }
    // SAFETY: this function's contract.
    Some(unsafe { CStr::from_ptr(name) })
}

/// 0 done, 1 timed out, -1 everything else.
fn encode(answer: Answer) -> c_int {
    match answer {
        Answer::Done => 0,
        Answer::TimedOut => 1,
        Answer::BadName | Answer::Full => -1,
    }
}

/// Holds the next thread that arrives at a point until it is woken.
///
/// Called k times, it holds the next k arrivals. Each arrival uses up one call.
///
/// @param point  Name of a point of the library or of the host. A host's point is made if it does not
///               exist. Borrowed, copied. NULL is an error.
/// @return 0, or -1: NULL, empty, longer than 63 bytes, a name in the library's own name space
///         ("gil.something") that is no point, or no room for one more of the host's points (256).
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `point` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_Pause(point: *const c_char) -> c_int {
    // SAFETY: this function's contract is nullable_name's.
    let name = unsafe { nullable_name(point) };
    encode(name.map_or(Answer::BadName, sync_point::pause))
}

/// Waits until a thread is held at a point, by a pause or by an order.
///
/// Does not detach: a thread that needs the caller's GIL to reach the point never gets there while the
/// caller waits attached.
///
/// @param point       Name of a point that exists. Borrowed. NULL is an error.
/// @param timeout_ns  Nanoseconds; 0 only looks, negative waits without limit.
/// @return 0 as soon as a thread is held there now; 1 if the time passed first; -1 if there is no
///         such point.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  up to timeout_ns, without detaching. Signals do not end the wait.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `point` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_WaitParked(
    point: *const c_char,
    timeout_ns: PyTime_t,
) -> c_int {
    // SAFETY: this function's contract is nullable_name's.
    let Some(name) = (unsafe { nullable_name(point) }) else { return -1 };
    encode(sync_point::wait_parked(name, Deadline::after(timeout_ns)))
}

/// Wakes every thread that is held at a point now.
///
/// If no thread is held there yet, the pauses that are left at the point are forgotten instead:
/// whether the thread had arrived or not, it is not held after this call. Pauses that are left stay
/// if a thread was held. Threads held by an order go on without it; the order stays for later
/// arrivals.
///
/// @param point  Name of a point that exists. Borrowed. NULL is an error.
/// @return 0, or -1 if there is no such point.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `point` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_Wake(point: *const c_char) -> c_int {
    // SAFETY: this function's contract is nullable_name's.
    let name = unsafe { nullable_name(point) };
    encode(name.map_or(Answer::BadName, sync_point::wake))
}

/// Makes threads that arrive at one point wait until another point was passed after this call.
///
/// A point is passed when a thread goes on from it, past its own hook, pause and orders. Once that happened
/// the order is fulfilled and forgotten. A thread that waited for PYTSTATE_SYNC_LIMIT seconds (environment;
/// 10 if not set) drops the order, names both points and itself on standard error, and goes on.
///
/// @param first  Name of the point to be passed first; made as PyTState_Sync_Pause() does. Borrowed, copied.
/// @param then   Name of the point that waits; likewise. Must differ from `first`.
/// @return 0, also when the same order is there already; -1: a name as PyTState_Sync_Pause() refuses it,
///         twice the same name, or 64 orders are not fulfilled yet.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `first` and `then` are NULL or NUL-terminated strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_Order(first: *const c_char, then: *const c_char) -> c_int {
    // SAFETY: this function's contract is nullable_name's.
    let first = unsafe { nullable_name(first) };
    // SAFETY: as above.
    let then = unsafe { nullable_name(then) };
    encode(first.zip(then).map_or(Answer::BadName, |(first, then)| sync_point::order(first, then)))
}

/// Calls a function whenever a thread arrives at a point.
///
/// The function runs on the arriving thread, before a pause or an order holds it, with no lock of the
/// library held, attached or not as the point's description says. Points that it reaches itself hold
/// it as any other arrival, but call no hook. A point has one hook; a second call replaces it.
///
/// @param point     Name of a point; made as PyTState_Sync_Pause() does. Borrowed, copied.
/// @param function  The function, or NULL to remove the hook. It gets the point's name, valid for good, and
///                  `arg`. A call that has begun on another thread may still run when this returns.
/// @param arg       Passed to the function as it is. Borrowed; must stay valid as long as it can run.
/// @return 0, or -1 for a name as PyTState_Sync_Pause() refuses it.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child(); a child keeps the hooks.
/// Source:  pytstate.
///
/// # Safety
/// `point` is NULL or a NUL-terminated string; `function` may be called with `arg` on any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_Hook(
    point: *const c_char,
    function: Option<unsafe extern "C" fn(point: *const c_char, arg: *mut c_void)>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: this function's contract is nullable_name's.
    let name = unsafe { nullable_name(point) };
    let hook = function.map(|run| Hook { run, arg });
    encode(name.map_or(Answer::BadName, |name| sync_point::hook(name, hook)))
}

/// Passes a point of the host's, or of a test's.
///
/// While nothing is armed anywhere this does nothing, and does not make the point. Otherwise the point is made on
/// first use and the calling thread arrives at it. With one of the library's own names, the thread
/// arrives at that point.
///
/// @param user_point  Name, up to 63 bytes. Borrowed, copied. NULL, or a name that PyTState_Sync_Pause()
///                    refuses, is ignored.
///
/// Errors:  none.
/// Blocks:  as long as a pause or an order holds the point, without detaching.
/// Threads: any, with or without a thread state. From a signal handler only while nothing is armed. In a fork child,
///          after PyOS_AfterFork_Child(). Keeps errno.
/// Source:  pytstate.
///
/// # Safety
/// `user_point` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_Point(user_point: *const c_char) {
    if sync_point::is_off() {
        return;
    }
    // SAFETY: this function's contract is nullable_name's.
    if let Some(name) = unsafe { nullable_name(user_point) } {
        sync_point::user_point(name);
    }
}

/// Removes all pauses, orders and hooks, and wakes every thread that is held at a point.
///
/// A perturbation that PyTState_Sync_Perturb() began ends; one that PYTSTATE_PERTURB asks for is back in force.
/// Points of the host's stay known.
///
/// Errors:  none.
/// Blocks:  never. A hook that has begun on another thread may still run when this returns.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_Sync_Clear() {
    sync_point::clear();
}

/// Makes threads sleep for a random time at random arrivals, at all points.
///
/// Each thread draws from a generator of its own, made from the seed and the order in which threads first
/// arrived. The same seed gives the same draws, not the same run.
///
/// @param seed          Any number; 0 turns the perturbation off.
/// @param permille      Of 1000 arrivals, how many sleep: 0 to 1000.
/// @param max_sleep_ns  The longest sleep in nanoseconds, not negative. Sleeps are spread evenly from 0.
/// @return 0, or -1 if a number is out of its range (nothing changes then).
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child(); a child keeps the perturbation.
/// Source:  pytstate.
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_Sync_Perturb(
    seed: u64,
    permille: c_int,
    max_sleep_ns: PyTime_t,
) -> c_int {
    let Some(setting) = Setting::new(seed, permille, max_sleep_ns) else { return -1 };
    sync_point::perturb(setting);
    0
}

/// Lists the names of all points: the library's in the order of the documentation, then the host's.
///
/// @param names     Receives up to `capacity` names, valid for good, not to be freed. NULL if `capacity` is 0.
/// @param capacity  Room in `names`.
/// @return How many points there are, also when that is more than `capacity`.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, with or without a thread state. Async-signal-safe. Allowed in a fork child.
/// Source:  pytstate.
///
/// # Safety
/// `names` has room for `capacity` pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Sync_List(names: *mut *const c_char, capacity: usize) -> usize {
    sync_point::list(|index, name| {
        if names.is_null() || index >= capacity {
            return false;
        }
        // SAFETY: `index < capacity`, so the place is inside the caller's array.
        let place = unsafe { names.add(index) };
        // SAFETY: as above; the caller lets us write there.
        unsafe { place.write(name) };
        true
    })
}
