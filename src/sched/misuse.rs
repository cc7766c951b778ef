//! Checks that CPython makes only in debug builds, if at all. The host chooses what a
//! failed check does.

use crate::probe::text::{LineBuf, write_fd};
use crate::sched::callout::{self, Callout};
use crate::sched::describe::Text;
use crate::sched::fatal::{STDERR, fatal, push_left_place};
use crate::state::config::{
    PyTState_CHECK_CALLBACK, PyTState_CHECK_FATAL, PyTState_CHECK_OFF, PyTState_CHECK_WARN,
};
use crate::state::runtime::RUNTIME;
use crate::sync::hook::Hook;
use core::ffi::{CStr, c_char, c_void};
use core::fmt::{Arguments, Write};
use core::sync::atomic::Ordering::Relaxed;

/// Reports a broken rule as the check level says. Returns when the caller may go on.
#[cold]
pub(crate) fn misuse(func: &CStr, message: Arguments<'_>) {
    match RUNTIME.check_level.load(Relaxed) {
        PyTState_CHECK_OFF => {}
        PyTState_CHECK_WARN => {
            let mut line = LineBuf::<1024>::new();
            let _ = write!(line, "pytstate: misuse: {}: ", Text(func.as_ptr()));
            let _ = line.write_fmt(message);
            push_left_place(&mut line);
            let _ = line.write_str("\n");
            write_fd(STDERR, line.as_bytes());
        }
        PyTState_CHECK_CALLBACK if call_check_callback(func, message) => {}
        _ => fatal(func, message),
    }
}

/// Reports a use that CPython allows although it is seldom intended. It is allowed
/// here as well, and fatal only if the host asks for strict checks.
#[cold]
pub(crate) fn unusual(func: &CStr, message: Arguments<'_>) {
    match RUNTIME.check_level.load(Relaxed) {
        PyTState_CHECK_OFF | PyTState_CHECK_FATAL => {}
        _ => misuse(func, message),
    }
}

/// Function that gets misuse reports: `(function, message, data)`.
pub(crate) type CheckCallback =
    unsafe extern "C" fn(func: *const c_char, message: *const c_char, data: *mut c_void);

static CHECK: Hook<CheckCallback> = Hook::new();

/// Installs (or, with `None`, removes) the misuse callback.
pub(crate) fn set_check_callback(callback: Option<CheckCallback>, data: *mut c_void) {
    let head = RUNTIME.lock();
    CHECK.set(callback, data, &head);
    drop(head);
}

fn call_check_callback(func: &CStr, message: Arguments<'_>) -> bool {
    let Some((callback, data)) = CHECK.get() else { return false };
    let mut line = LineBuf::<1024>::new();
    let _ = line.write_fmt(message);
    let _ = line.write_str("\0");
    // SAFETY: the host's function; both texts are NUL-terminated and outlive the call.
    let run = || unsafe { callback(func.as_ptr(), line.as_bytes().as_ptr().cast(), data) };
    callout::run(Callout::CheckCallback, core::ptr::null(), run);
    true
}
