//! Host objects: opaque pointers, counted by the host's hooks if it has any.

use core::ffi::c_char;

/// An object of the host. This library never looks inside.
#[repr(C)]
pub struct _object {
    _opaque: [u8; 0],
}

/// An object of the host. The library counts it through the host's hooks and
/// never looks inside. Opaque.
pub type PyObject = _object;

/// How the host counts, makes and raises its objects.
///
/// Every member may be NULL. Hooks are called without any lock of this
/// library held; `incref`, `decref` and `raise` on an attached thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyTState_ObjectHooks {
    /// Takes one reference.
    pub incref: Option<unsafe extern "C" fn(*mut PyObject)>,
    /// Drops one reference; may run the host's destructors.
    pub decref: Option<unsafe extern "C" fn(*mut PyObject)>,
    /// Makes an empty dictionary (a new reference), or returns NULL.
    pub new_dict: Option<unsafe extern "C" fn() -> *mut PyObject>,
    /// Raises `exc_type` with `message` in the host; the library then leaves
    /// its own error indicator alone. `message` is NULL for an asynchronous
    /// exception: `exc_type` is then the object that was left with the state.
    pub raise: Option<unsafe extern "C" fn(exc_type: *mut PyObject, message: *const c_char)>,
    /// The mutex of an object, for critical sections.
    pub object_mutex:
        Option<unsafe extern "C" fn(*mut PyObject) -> *mut crate::sync::mutex::PyMutex>,
}

impl PyTState_ObjectHooks {
    /// No hooks: pointers are opaque and not counted.
    pub(crate) const NONE: PyTState_ObjectHooks = PyTState_ObjectHooks {
        incref: None,
        decref: None,
        new_dict: None,
        raise: None,
        object_mutex: None,
    };
}

/// A C callback that takes one pointer.
pub type PyTState_Callback = Option<unsafe extern "C" fn(*mut core::ffi::c_void)>;
