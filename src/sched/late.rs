//! Late attach: what happens to a thread that wants to run after its interpreter
//! committed to finalization (extension API 5.1, S-DT).
//!
//! LIFE-5: a late thread holds no lock of the library, no pause and no GIL, and
//! none is given to it. A primitive releases what it has taken before the policy
//! is applied to its thread.

use crate::os::thread;
use crate::probe::Point;
use crate::probe::trace::{self, Event, Mark};
use crate::sched::callout::{self, Callout};
use crate::sched::current;
use crate::sched::describe::describe;
use crate::sched::fatal::fatal;
use crate::sched::thread_end::{self, Leaving};
use crate::state::config::{Compat, PyTState_LATE_ABORT, PyTState_LATE_EXIT, PyTState_LATE_HANG};
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::hook::Hook;
use crate::sync::owed;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

/// Chooses the late-attach policy for one thread: returns a PyTState_LATE_*.
pub type PyTState_LateAttachHook =
    Option<unsafe extern "C" fn(*mut PyThreadState, *mut c_void) -> c_int>;

/// A [`PyTState_LateAttachHook`] that is not NULL.
pub(crate) type LateHook =
    unsafe extern "C" fn(tstate: *mut PyThreadState, data: *mut c_void) -> c_int;

static HOOK: Hook<LateHook> = Hook::new();

/// Installs (or removes) the hook.
pub(crate) fn set_hook(hook: Option<LateHook>, data: *mut c_void) {
    let head = RUNTIME.lock();
    HOOK.set(hook, data, &head);
    drop(head);
}

/// The policy in force.
fn policy(tstate: Option<ThreadStateRef>) -> c_int {
    if let Some((hook, data)) = HOOK.get() {
        let pointer = tstate.map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr);
        // SAFETY: the host's function; no lock held; the state's block is kept
        // for its OS thread.
        let run = || unsafe { hook(pointer, data) };
        return callout::run(Callout::LateHook, pointer.cast(), run);
    }
    match RUNTIME.late_policy.load(Relaxed) {
        -1 => policy_by_default(),
        chosen => chosen,
    }
}

/// The policy if the host chose none: the environment's, else the emulated version's.
fn policy_by_default() -> c_int {
    match RUNTIME.late_by_environment.load(Relaxed) {
        -1 if RUNTIME.compat() <= Compat::V3_12 => PyTState_LATE_EXIT,
        -1 => PyTState_LATE_HANG,
        chosen => chosen,
    }
}

/// The function by which the layers above release what a thread that never runs
/// again still holds; `set_give_back` sets it.
static GIVE_BACK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Registers the function that releases what the layers above keep for a thread,
/// before that thread exits or hangs.
pub(crate) fn set_give_back(function: fn()) {
    GIVE_BACK.store(function as *mut (), Release);
}

/// Releases everything for which another thread could wait for the calling one: its
/// guards, its states in other interpreters, its handle.
fn detach_handle(leaving: Leaving) {
    let function = GIVE_BACK.load(Acquire);
    // SAFETY: `set_give_back` stored a function of this type; NULL is `None`.
    let function = unsafe { core::mem::transmute::<*mut (), Option<fn()>>(function) };
    if let Some(function) = function {
        function();
    }
    thread_end::give_up_own_states();
    // The thread never returns to the calls that it was in.
    callout::leave_all();
    thread_end::detach_handle(leaving);
}

/// Ends or hangs the calling thread, which first releases what the primitives
/// around it have taken (`sync::owed`). Nothing is attached, and no
/// ranked lock of the library is held.
#[cold]
pub(crate) fn apply_policy(tstate: Option<ThreadStateRef>) -> ! {
    trace::at(Point::LateAttachMet, Event::At(Mark::LateAttach), || {
        tstate.map_or(-1, |tstate| current::interp_of(tstate).id())
    });
    current::set_current(None);
    owed::give_back_all();
    match policy(tstate) {
        PyTState_LATE_EXIT => {
            detach_handle(Leaving::Exits);
            thread::exit_thread()
        }
        PyTState_LATE_ABORT => {
            let mut line = crate::probe::text::LineBuf::<512>::new();
            if let Some(tstate) = tstate {
                describe(&mut line, tstate);
            }
            fatal(
                c"PyTState_LATE_ABORT",
                format_args!(
                    "a thread tried to attach after its interpreter was finalized: {}",
                    core::str::from_utf8(line.as_bytes()).unwrap_or("?")
                ),
            )
        }
        _ => {
            detach_handle(Leaving::Hangs);
            thread::hang()
        }
    }
}
