//! The error indicator: kinds, and the text kept in a thread state.
//!
//! The indicator is two words of the state: the exception type (an opaque
//! global, `current_exception`) and a private copy of the message. Both are
//! touched only by the attached owner.

use crate::os::mem;
use crate::state::object::PyObject;
use crate::state::thread_state::Ts;
use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering::Relaxed;

/// Kinds of error that the library raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
static OBJECTS: [u64; Kind::ALL.len()] = [0; Kind::ALL.len()];

impl Kind {
    pub(crate) const ALL: [Kind; 13] = [
        Kind::Runtime,
        Kind::Value,
        Kind::Memory,
        Kind::System,
        Kind::Overflow,
        Kind::Timeout,
        Kind::KeyboardInterrupt,
        Kind::PythonFinalization,
        Kind::Recursion,
        Kind::Interpreter,
        Kind::InterpreterNotFound,
        Kind::Os,
        Kind::Type,
    ];

    /// The opaque global that stands for the kind.
    pub(crate) const fn object(self) -> *mut PyObject {
        let first: *const u64 = (&raw const OBJECTS).cast();
        first.wrapping_add(self as usize).cast_mut().cast()
    }

    /// The kind that an opaque global stands for.
    pub(crate) fn of(object: *mut PyObject) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.object() == object)
    }

    /// CPython's class name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Runtime => "RuntimeError",
            Kind::Value => "ValueError",
            Kind::Memory => "MemoryError",
            Kind::System => "SystemError",
            Kind::Overflow => "OverflowError",
            Kind::Timeout => "TimeoutError",
            Kind::KeyboardInterrupt => "KeyboardInterrupt",
            Kind::PythonFinalization => "PythonFinalizationError",
            Kind::Recursion => "RecursionError",
            Kind::Interpreter => "InterpreterError",
            Kind::InterpreterNotFound => "InterpreterNotFoundError",
            Kind::Os => "OSError",
            Kind::Type => "TypeError",
        }
    }

    /// Whether `self` is `other` or a subclass of it in CPython.
    pub(crate) fn is_a(self, other: Kind) -> bool {
        self == other
            || matches!(
                (self, other),
                (Kind::PythonFinalization | Kind::Recursion, Kind::Runtime)
                    | (Kind::InterpreterNotFound, Kind::Interpreter)
                    | (Kind::Timeout, Kind::Os)
            )
    }
}

/// Replaces the indicator of `state`. Without memory for the text the
/// indicator is set with an empty one.
pub(crate) fn set(state: Ts, kind: *mut PyObject, message: &CStr) {
    let bytes = message.to_bytes_with_nul();
    // An empty text is none: MemoryError needs no memory.
    let copy = if bytes.len() > 1 { mem::calloc(bytes.len()) } else { core::ptr::null_mut() };
    if !copy.is_null() {
        // SAFETY: `copy` has room for all bytes and overlaps nothing.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len()) };
    }
    let old = state.error_text.swap(copy.cast(), Relaxed);
    // SAFETY: `old` is NULL or was allocated here.
    unsafe { mem::free(old.cast()) };
    state.set_exception(kind);
}

/// Empties the indicator of `state`; returns the exception that it held.
pub(crate) fn clear(state: Ts) -> *mut PyObject {
    let old = state.error_text.swap(core::ptr::null_mut(), Relaxed);
    // SAFETY: `old` is NULL or was allocated by `set`.
    unsafe { mem::free(old.cast()) };
    let exception = state.exception();
    state.set_exception(core::ptr::null_mut());
    exception
}

/// The text of the indicator of `state`; empty when there is none.
pub(crate) fn text(state: Ts) -> *const c_char {
    let text = state.error_text.load(Relaxed);
    if text.is_null() { c"".as_ptr() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_object_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.object()), Some(kind));
        }
        assert_eq!(Kind::of(core::ptr::null_mut()), None);
    }

    #[test]
    fn finalization_errors_are_runtime_errors() {
        assert!(Kind::PythonFinalization.is_a(Kind::Runtime));
        assert!(!Kind::Runtime.is_a(Kind::PythonFinalization));
    }
}
