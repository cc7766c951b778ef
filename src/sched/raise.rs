//! Setting the error indicator, or raising in the host if it has exceptions of
//! its own (extension API 4 and 6).

use crate::probe::text::{LineBuf, write_fd};
use crate::sched::callout::{self, Callout};
use crate::sched::current::current;
use crate::sched::fatal::STDERR;
use crate::state::error_kind::{self, ExceptionKind};
use crate::state::object::PyObject;
use crate::state::runtime::RUNTIME;
use core::ffi::CStr;
use core::fmt::{Arguments, Write};
use core::ptr;

/// Sets the error indicator of the attached state. If no state is attached,
/// the error is reported by the caller's return value only.
pub(crate) fn raise(kind: ExceptionKind, message: &CStr) {
    raise_object(kind.object(), Some(message));
}

/// Sets the error indicator with an exception type of the host's own. Without a message for an
/// asynchronous exception: the host's hook gets NULL, the indicator no text.
pub(crate) fn raise_object(exception: *mut PyObject, message: Option<&CStr>) {
    let Some(tstate) = current() else { return };
    if let Some(hook) = RUNTIME.objects().raise {
        // SAFETY: the host's hook; attached, no lock held, text outlives the call.
        let run = || unsafe { hook(exception, message.map_or(ptr::null(), CStr::as_ptr)) };
        callout::run(Callout::RaiseHook, ptr::null(), run);
        return;
    }
    take_reference(exception);
    let old = tstate.exception();
    error_kind::set(tstate, exception, message.unwrap_or_default());
    drop_reference(old);
}

/// Puts `exception` (NULL: none), a reference that the caller gives away, into the
/// error indicator of the attached state; a host with exceptions of its own gets it.
pub(crate) fn restore(exception: *mut PyObject) {
    let Some(tstate) = current() else { return };
    if !exception.is_null() && RUNTIME.objects().raise.is_some() {
        raise_object(exception, Some(c""));
        drop_reference(exception);
        return;
    }
    drop_reference(error_kind::restore(tstate, exception));
}

/// Clears the error indicator of the attached state.
pub(crate) fn clear() {
    if let Some(tstate) = current() {
        drop_reference(error_kind::clear(tstate));
    }
}

/// Counts a reference to an object of the host. The library's own exception
/// globals are not counted. Attached, no lock held.
pub(crate) fn take_reference(object: *mut PyObject) {
    if object.is_null() || ExceptionKind::of(object).is_some() {
        return;
    }
    if let Some(incref) = RUNTIME.objects().incref {
        // SAFETY: the host's hook on the host's object.
        let run = || unsafe { incref(object) };
        callout::run(Callout::ObjectHook, ptr::null(), run);
    }
}

/// Drops a counted reference. Attached, no lock held: the host's destructor
/// may run and call back.
pub(crate) fn drop_reference(object: *mut PyObject) {
    if object.is_null() || ExceptionKind::of(object).is_some() {
        return;
    }
    if let Some(decref) = RUNTIME.objects().decref {
        // SAFETY: the host's hook on a reference that the library took.
        let run = || unsafe { decref(object) };
        callout::run(Callout::ObjectHook, ptr::null(), run);
    }
}

/// Prints the error indicator as an unraisable error and clears it (S-IM-03).
pub(crate) fn report_and_clear(context: &str) {
    print(format_args!("Exception ignored {context}: "));
}

/// Prints the error indicator as an uncaught error and clears it.
pub(crate) fn print_and_clear() {
    print(format_args!(""));
}

/// Prints `begin` and "RuntimeError: text" if an error is set, and clears the error.
fn print(begin: Arguments<'_>) {
    const ROOM: usize = 1024;
    let Some(tstate) = current() else { return };
    let exception = tstate.exception();
    if exception.is_null() {
        return;
    }
    // SAFETY: the text of a state is NUL-terminated and lives until `clear`.
    let text = unsafe { CStr::from_ptr(error_kind::text(tstate)) }.to_bytes();
    let mut line = LineBuf::<ROOM>::new();
    let _ = line.write_fmt(begin);
    let _ = match ExceptionKind::of(exception) {
        Some(kind) => line.write_str(kind.name()),
        None => write!(line, "exception {exception:p}"),
    };
    if !text.is_empty() {
        line.push_bytes(b": ");
    }
    // In one piece, unless the text is long.
    if line.as_bytes().len() + text.len() < ROOM {
        line.push_bytes(text);
        line.end_line();
        write_fd(STDERR, line.as_bytes());
    } else {
        for piece in [line.as_bytes(), text, b"\n"] {
            write_fd(STDERR, piece);
        }
    }
    clear();
}
