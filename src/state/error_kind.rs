//! The error indicator: kinds, and the text kept in a thread state.
//!
//! The indicator is two words of the state: the exception type (an opaque
//! global, `current_exception`) and a private copy of the message. Both are
//! touched only by the attached owner.

use crate::os::mem;
use crate::state::object::PyObject;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering::Relaxed;

/// Kinds of error that the library raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExceptionKind {
    Runtime,
    Value,
    Memory,
    System,
    Overflow,
    Timeout,
    KeyboardInterrupt,
    PythonFinalization,
    Recursion,
    Interpreter,
    InterpreterNotFound,
    Os,
    Type,
}

/// The opaque exception objects: distinct addresses, never read.
static OBJECTS: [u64; ExceptionKind::ALL.len()] = [0; ExceptionKind::ALL.len()];

impl ExceptionKind {
    pub(crate) const ALL: [ExceptionKind; 13] = [
        ExceptionKind::Runtime,
        ExceptionKind::Value,
        ExceptionKind::Memory,
        ExceptionKind::System,
        ExceptionKind::Overflow,
        ExceptionKind::Timeout,
        ExceptionKind::KeyboardInterrupt,
        ExceptionKind::PythonFinalization,
        ExceptionKind::Recursion,
        ExceptionKind::Interpreter,
        ExceptionKind::InterpreterNotFound,
        ExceptionKind::Os,
        ExceptionKind::Type,
    ];

    /// The opaque global that stands for the kind.
    pub(crate) const fn object(self) -> *mut PyObject {
        let first: *const u64 = (&raw const OBJECTS).cast();
        first.wrapping_add(self as usize).cast_mut().cast()
    }

    /// The kind that an opaque global stands for.
    pub(crate) fn of(object: *mut PyObject) -> Option<ExceptionKind> {
        ExceptionKind::ALL.into_iter().find(|kind| kind.object() == object)
    }

    /// CPython's class name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ExceptionKind::Runtime => "RuntimeError",
            ExceptionKind::Value => "ValueError",
            ExceptionKind::Memory => "MemoryError",
            ExceptionKind::System => "SystemError",
            ExceptionKind::Overflow => "OverflowError",
            ExceptionKind::Timeout => "TimeoutError",
            ExceptionKind::KeyboardInterrupt => "KeyboardInterrupt",
            ExceptionKind::PythonFinalization => "PythonFinalizationError",
            ExceptionKind::Recursion => "RecursionError",
            ExceptionKind::Interpreter => "InterpreterError",
            ExceptionKind::InterpreterNotFound => "InterpreterNotFoundError",
            ExceptionKind::Os => "OSError",
            ExceptionKind::Type => "TypeError",
        }
    }

    /// Whether `self` is `other` or a subclass of it in CPython.
    pub(crate) fn is_a(self, other: ExceptionKind) -> bool {
        self == other
            || matches!(
                (self, other),
                (
                    ExceptionKind::PythonFinalization | ExceptionKind::Recursion,
                    ExceptionKind::Runtime
                ) | (ExceptionKind::InterpreterNotFound, ExceptionKind::Interpreter)
                    | (ExceptionKind::Timeout, ExceptionKind::Os)
            )
    }
}

/// The error indicator is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raised;

/// Replaces the indicator of `state`. Without memory for the text the
/// indicator is set with an empty one.
pub(crate) fn set(tstate: ThreadStateRef, kind: *mut PyObject, message: &CStr) {
    let bytes = message.to_bytes_with_nul();
    // An empty text is none: MemoryError needs no memory.
    let copy = if bytes.len() > 1 { mem::calloc(bytes.len()) } else { core::ptr::null_mut() };
    if !copy.is_null() {
        // SAFETY: `copy` has room for all bytes and overlaps nothing.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len()) };
    }
    let old = tstate.error_text.swap(copy.cast(), Relaxed);
    // SAFETY: `old` is NULL or was allocated here.
    unsafe { mem::free(old.cast()) };
    tstate.fetched.store(core::ptr::null_mut(), Relaxed);
    tstate.set_exception(kind);
}

/// Empties the indicator of `state`; returns the exception that it held.
pub(crate) fn clear(tstate: ThreadStateRef) -> *mut PyObject {
    let old = tstate.error_text.swap(core::ptr::null_mut(), Relaxed);
    // SAFETY: `old` is NULL or was allocated by `set`.
    unsafe { mem::free(old.cast()) };
    let exception = tstate.exception();
    tstate.set_exception(core::ptr::null_mut());
    exception
}

/// Empties the indicator of `state` and returns the exception that it held. The
/// text stays for [`restore`].
pub(crate) fn fetch(tstate: ThreadStateRef) -> *mut PyObject {
    let exception = tstate.exception();
    tstate.fetched.store(exception, Relaxed);
    tstate.set_exception(core::ptr::null_mut());
    exception
}

/// Puts `exception` into the indicator of `state`, with the text that it had when it
/// was fetched if it was the last one that was. Returns the exception that it held.
pub(crate) fn restore(tstate: ThreadStateRef, exception: *mut PyObject) -> *mut PyObject {
    let replaced = tstate.exception();
    if !replaced.is_null() || tstate.fetched.load(Relaxed) != exception {
        let _ = clear(tstate);
    }
    tstate.set_exception(exception);
    replaced
}

/// The text of the indicator of `state`; empty when there is none.
pub(crate) fn text(tstate: ThreadStateRef) -> *const c_char {
    if tstate.exception().is_null() {
        return c"".as_ptr();
    }
    let text = tstate.error_text.load(Relaxed);
    if text.is_null() { c"".as_ptr() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_object_of_its_own() {
        for kind in ExceptionKind::ALL {
            assert_eq!(ExceptionKind::of(kind.object()), Some(kind));
        }
        assert_eq!(ExceptionKind::of(core::ptr::null_mut()), None);
    }

    #[test]
    fn finalization_errors_are_runtime_errors() {
        assert!(ExceptionKind::PythonFinalization.is_a(ExceptionKind::Runtime));
        assert!(!ExceptionKind::Runtime.is_a(ExceptionKind::PythonFinalization));
    }
}
