//! The library's own calls: waits with a deadline, census, names, events, policies (extension API 2, 5).

use super::arg;
use super::pytime::PyTime_t;
use crate::life::phase::{self, PhaseHook};
use crate::life::report::census::{self, PyTState_ThreadInfo};
use crate::life::report::dump;
use crate::life::report::reporter::{self, Reporter};
use crate::life::threads::names::{self, Kept};
use crate::life::threads::wait::{self, Blocked, Waited};
use crate::os::clock::Deadline;
use crate::sched::current;
use crate::sched::late::{self, PyTState_LateAttachHook};
use crate::sched::misuse::{self, CheckCallback};
use crate::sched::raise;
use crate::state::config::{PyTState_LATE_ABORT, PyTState_LATE_HANG};
use crate::state::error_kind::ExceptionKind;
use crate::state::interp::{Interp, PyTState_PHASE_GONE};
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::event::PyEvent;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::Ordering::Relaxed;

/// The records that C lends; empty when the pointer is NULL.
///
/// # Safety
/// `out` is NULL or has room for `capacity` records.
unsafe fn records<'a>(
    out: *mut PyTState_ThreadInfo,
    capacity: usize,
) -> &'a mut [PyTState_ThreadInfo] {
    if out.is_null() || capacity == 0 {
        return &mut [];
    }
    // SAFETY: this function's contract.
    unsafe { core::slice::from_raw_parts_mut(out, capacity) }
}

/// Waits as _PyInterpreterState_WaitForThreads() does, up to a time limit, and lists the threads
/// that are left.
///
/// @param interp      The interpreter. Must not be NULL. Borrowed.
/// @param timeout_ns  Nanoseconds; negative: no limit; 0: only look.
/// @param alive       Room for records of the threads that are left, or NULL. Borrowed. The record of a thread whose
///                    state is gone, but not its OS thread, has the id, name, times and places of that state.
/// @param capacity    Number of records that `alive` has room for.
/// @param n_alive     Gets the true number of threads left (0 when all are gone), or NULL. Borrowed.
/// @return 0 all gone; 1 the deadline passed; -1 with the error indicator set: a signal handler or pending call failed.
///
/// Errors:  fatal if `interp` is NULL. -1 as above.
/// Blocks:  up to the deadline, detached if the caller is attached. A second call goes on waiting.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `interp` is not deleted before the call returns; `alive` has room for `capacity` records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_WaitForThreads(
    interp: *mut PyInterpreterState,
    timeout_ns: PyTime_t,
    alive: *mut PyTState_ThreadInfo,
    capacity: usize,
    n_alive: *mut usize,
) -> c_int {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyTState_WaitForThreads") };
    let waited = wait::wait_for_threads(
        interp,
        Deadline::after(timeout_ns),
        &mut Reporter::silent(),
        Blocked::Leave,
    );
    let mut left = 0;
    if waited != Waited::AllGone {
        // SAFETY: this function's contract.
        let alive = unsafe { records(alive, capacity) };
        left = census::list_awaited(interp, alive);
    }
    // SAFETY: this function's contract.
    if let Some(n_alive) = unsafe { n_alive.as_mut() } {
        *n_alive = left;
    }
    match waited {
        Waited::AllGone => 0,
        // The last one may have gone between the deadline and the listing.
        Waited::TimedOut if left == 0 => 0,
        Waited::TimedOut => 1,
        Waited::Interrupted => -1,
    }
}

/// Lists thread states.
///
/// @param interp    The interpreter, or NULL for all. Borrowed.
/// @param out       Room for records, or NULL. Borrowed.
/// @param capacity  Number of records that `out` has room for.
/// @return The true number of states; up to `capacity` records were filled, newest states first.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe: see PyTState_DumpThreads().
/// Source:  pytstate.
///
/// # Safety
/// `interp` is NULL or came from this library; `out` has room for `capacity` records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Census(
    interp: *mut PyInterpreterState,
    out: *mut PyTState_ThreadInfo,
    capacity: usize,
) -> usize {
    // SAFETY: this function's contract.
    let interp = unsafe { Interp::from_ptr(interp) };
    // SAFETY: this function's contract.
    census::census(interp, unsafe { records(out, capacity) })
}

/// Prints every thread state, with what its thread waits for in a call of this library, and every open guard, one line each,
/// for people.
///
/// @param fd  File descriptor to write to.
///
/// Errors:  none; a write error ends the listing.
/// Blocks:  as write(2) does.
/// Threads: any. Async-signal-safe: takes no lock and allocates nothing; what changes meanwhile may be missing.
/// Source:  pytstate.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_DumpThreads(fd: c_int) {
    dump::dump(fd, None, None);
}

/// Prints every thread that waits in a call of this library, one line each, for people: for what, since when, which thread
/// holds the GIL that it waits for, and where its thread state was last attached or detached.
///
/// Such a line is "thread 'A' (tid 11) waits 2.1 s for mutex 0x55d0c8, detached, last detached at a.c:40". A thread that is
/// detached and sleeps in a call of its own is not listed.
///
/// @param fd  File descriptor to write to.
///
/// Errors:  none; a write error loses lines. The waits of more than some thousand threads at once may not all be known.
/// Blocks:  as write(2) does.
/// Threads: any. Async-signal-safe: takes no lock and allocates nothing; what changes meanwhile may be missing.
/// Source:  pytstate.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_DumpWaits(fd: c_int) {
    dump::dump_waits(fd);
}

/// Sets how often a finalization that waits prints the threads and guards that it waits for.
///
/// @param every_ns  Interval in nanoseconds; 0 or less: no reports.
/// @param fd        File descriptor to write to.
/// @return 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Overrides PYTSTATE_SHUTDOWN_REPORT=SECONDS of the environment. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetShutdownReport(every_ns: PyTime_t, fd: c_int) -> c_int {
    reporter::set(every_ns, fd);
    0
}

/// Names a thread state, and for the OS the thread that it belongs to (the first 15 bytes). The
/// thread that runs `main` keeps its name for the OS, which is the program's.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @param name    The name, up to 63 bytes are kept. Must not be NULL. Copied.
/// @return 0; -1 with ValueError (if attached) when it was cut to 63 bytes: the cut name is set all the same.
///
/// Errors:  fatal if NULL. -1 as above.
/// Blocks:  no.
/// Threads: any, while the state lives. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `tstate` is not deleted; `name` is NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetName(
    tstate: *mut PyThreadState,
    name: *const c_char,
) -> c_int {
    const FUNC: &CStr = c"PyTState_SetName";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    // SAFETY: this function's contract.
    let name = unsafe { arg::text(name, FUNC, "name") }.to_bytes();
    match names::name_state(tstate, name) {
        Kept::Whole => 0,
        Kept::Cut => name_was_cut(),
    }
}

/// The outcome of naming with a name that is too long.
pub(super) fn name_was_cut() -> c_int {
    raise::raise(ExceptionKind::Value, c"thread name is longer than 63 bytes");
    -1
}

/// Returns the exit event of a thread state, with a reference that keeps the event valid after the
/// state is deleted.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return The event, to be given back with PyTState_ReleaseExitEvent(). Never NULL.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, while the state lives. Async-signal-safe.
/// Source:  pytstate; the reference-counted event of the first form of gh-114271.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_GetExitEvent(tstate: *mut PyThreadState) -> *mut PyEvent {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyTState_GetExitEvent") };
    tstate.refs.fetch_add(1, Relaxed);
    tstate.exit_event_cell().load(Relaxed)
}

/// Drops a reference that PyTState_GetExitEvent() returned.
///
/// @param event  Event from PyTState_GetExitEvent(), or NULL (nothing happens). Consumed.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `event` came from PyTState_GetExitEvent(), and the caller owns the reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_ReleaseExitEvent(event: *mut PyEvent) {
    if event.is_null() {
        return;
    }
    // SAFETY: exit events are embedded in the blocks of states, which the reference keeps (TS-2).
    let tstate = unsafe { ThreadStateRef::from_exit_event(event) };
    RUNTIME.drop_state_ref(tstate);
}

/// Returns the host's bytes beside a thread state (PyTState_Config.host_tstate_size), zeroed when
/// the state was made.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return The bytes, aligned as malloc() aligns; NULL if the host asked for none. They live as long as the state.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_HostData(tstate: *mut PyThreadState) -> *mut c_void {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyTState_HostData") };
    tstate.host_data()
}

/// Sets the source location that the next attach, detach, creation of a state or opening of a guard
/// on this thread records for diagnostics. If PYTSTATE_PLACES is defined before the header is
/// included, the usual calls do this by themselves.
///
/// @param place  "file:line", a string that is never freed, or NULL to forget what was left.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `place` is NULL or a NUL-terminated string that stays valid until the process ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Here(place: *const c_char) {
    current::leave_source_location(place);
}

/// Sets the late-attach policy: what happens to a thread that attaches after its interpreter has
/// committed its finalization.
///
/// @param policy  PyTState_LATE_HANG, PyTState_LATE_EXIT or PyTState_LATE_ABORT.
/// @return 0; -1 with ValueError (if attached) on another value.
///
/// Errors:  -1 as above.
/// Blocks:  no.
/// Threads: any, any time. Async-signal-safe when it succeeds. Overrides PYTSTATE_LATE of the environment.
/// Source:  pytstate.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetLateAttachPolicy(policy: c_int) -> c_int {
    if !(PyTState_LATE_HANG..=PyTState_LATE_ABORT).contains(&policy) {
        raise::raise(ExceptionKind::Value, c"unknown late-attach policy");
        return -1;
    }
    RUNTIME.set_late_policy(policy);
    0
}

/// Installs a function that chooses the late-attach policy for each thread.
///
/// @param hook  Called on the late thread, detached, with its state (NULL if it has none) and `data`; returns one of
///              PyTState_LATE_*; anything else means PyTState_LATE_HANG. It may also not return. NULL removes the hook.
/// @param data  Passed on.
/// @return 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, any time. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `hook` stays callable as long as threads may be late.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetLateAttachHook(
    hook: PyTState_LateAttachHook,
    data: *mut c_void,
) -> c_int {
    late::set_hook(hook, data);
    0
}

/// Installs the function that PyTState_CHECK_CALLBACK reports misuse to.
///
/// @param callback  Gets the function's name, what is wrong, and `data`. When it returns, the call goes on as CPython's
///                  release build would. NULL removes it: misuse is fatal then.
/// @param data      Passed on.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, any time. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `callback` stays callable until it is removed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetCheckCallback(
    callback: Option<unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void)>,
    data: *mut c_void,
) {
    misuse::set_check_callback(callback.map(|callback| callback as CheckCallback), data);
}

/// Returns the shutdown phase of an interpreter.
///
/// @param interp  The interpreter, or NULL (PyTState_PHASE_GONE). Borrowed.
/// @return PyTState_PHASE_RUNNING, _WAITING_THREADS, _ATEXIT, _WAITING_GUARDS, _FINALIZING or
///         _GONE. Phases may repeat until the finalization is committed (_FINALIZING).
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe. A deleted interpreter answers _GONE until its memory serves a new one.
/// Source:  pytstate.
///
/// # Safety
/// `interp` is NULL or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_ShutdownPhase(interp: *mut PyInterpreterState) -> c_int {
    // SAFETY: this function's contract.
    unsafe { Interp::from_ptr(interp) }
        .map_or(PyTState_PHASE_GONE, |interp| interp.phase.load(Relaxed))
}

/// Installs a function that is called at every change of the shutdown phase of an interpreter.
///
/// @param hook  Called on the finalizing thread, with no lock of the library held. NULL removes it.
/// @param data  Passed on.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, any time. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `hook` stays callable until it is removed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetShutdownPhaseHook(
    hook: Option<unsafe extern "C" fn(*mut PyInterpreterState, c_int, *mut c_void)>,
    data: *mut c_void,
) {
    phase::set_hook(hook.map(|hook| hook as PhaseHook), data);
}
