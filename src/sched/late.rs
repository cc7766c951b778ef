//! Late attach: what a thread meets that wants to run after its interpreter
//! committed to finalization (extension API 5.1, S-DT).
//!
//! LIFE-5: a late thread holds no lock of the library, no pause and no GIL, and
//! none is given to it: what a primitive has taken, it gives back before it
//! lets its thread meet the policy.

use crate::os::thread;
use crate::probe::Point;
use crate::probe::trace::{self, Event, Mark};
use crate::sched::{current, fatal, thread_end};
use crate::state::config::{Compat, PyTState_LATE_ABORT, PyTState_LATE_EXIT, PyTState_LATE_HANG};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::{PyThreadState, Ts};
use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Chooses the late-attach policy for one thread: returns a PyTState_LATE_*.
pub type PyTState_LateAttachHook =
    Option<unsafe extern "C" fn(*mut PyThreadState, *mut c_void) -> c_int>;

/// The same, present.
pub(crate) type LateHook =
    unsafe extern "C" fn(state: *mut PyThreadState, data: *mut c_void) -> c_int;

/// Installs (or removes) the hook.
pub(crate) fn set_hook(hook: Option<LateHook>, data: *mut c_void) {
    RUNTIME.late_hook_arg.store(data, Relaxed);
    let pointer = hook.map_or(core::ptr::null_mut(), |hook| hook as *mut c_void);
    RUNTIME.late_hook.store(pointer, Release);
}

/// The policy in force.
fn policy(state: Option<Ts>) -> c_int {
    let hook = RUNTIME.late_hook.load(Acquire);
    if !hook.is_null() {
        // SAFETY: only `set_hook` fills the pointer, with this type.
        let hook = unsafe { core::mem::transmute::<*mut c_void, LateHook>(hook) };
        let pointer = state.map_or(core::ptr::null_mut(), Ts::as_ptr);
        // SAFETY: the host's function; no lock held; the state's block is kept
        // for its OS thread.
        return unsafe { hook(pointer, RUNTIME.late_hook_arg.load(Relaxed)) };
    }
    match RUNTIME.late_policy.load(Relaxed) {
        -1 if RUNTIME.compat() <= Compat::V3_12 => PyTState_LATE_EXIT,
        -1 => PyTState_LATE_HANG,
        chosen => chosen,
    }
}

/// Ends the road of the calling thread. Nothing is attached and no lock of the
/// library is held.
#[cold]
pub(crate) fn meet(state: Option<Ts>) -> ! {
    trace::at(Point::LateAttachMet, Event::At(Mark::LateAttach), || {
        state.map_or(-1, |state| current::interp_of(state).id())
    });
    current::set_current(None);
    match policy(state) {
        PyTState_LATE_EXIT => {
            thread_end::leave(state, thread_end::Leaving::Exits);
            thread::exit_thread()
        }
        PyTState_LATE_ABORT => {
            let mut line = crate::probe::text::LineBuf::<512>::new();
            if let Some(state) = state {
                fatal::describe(&mut line, state);
            }
            fatal::fatal(
                c"attach",
                format_args!(
                    "a thread tried to attach after its interpreter was finalized: {}",
                    core::str::from_utf8(line.as_bytes()).unwrap_or("?")
                ),
            )
        }
        _ => {
            thread_end::leave(state, thread_end::Leaving::Hangs);
            thread::hang()
        }
    }
}
