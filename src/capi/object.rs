//! `refcount.h`: counting references to the host's objects through its hooks.

use super::arg;
use crate::sched::raise;
use crate::state::object::PyObject;

/// Takes a reference to an object of the host, through PyTState_ObjectHooks.incref.
///
/// @param o  The object, or NULL, which does nothing. The PyExc_* globals are not counted.
///
/// Errors:  fatal if nothing is attached. Without the hook there is nothing to count.
/// Blocks:  as the hook does.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `o` is NULL, a PyExc_* global or a live object of the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_IncRef(o: *mut PyObject) {
    arg::attached(c"Py_IncRef");
    raise::take_reference(o);
}

/// Drops a reference to an object of the host, through PyTState_ObjectHooks.decref.
///
/// @param o  The object, or NULL, which does nothing. The PyExc_* globals are not counted. Consumed.
///
/// Errors:  fatal if nothing is attached. Without the hook there is nothing to count.
/// Blocks:  as the hook does, which may run a destructor of the host.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `o` is NULL, a PyExc_* global or a live object of the host, with a reference that the caller gives up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_DecRef(o: *mut PyObject) {
    arg::attached(c"Py_DecRef");
    raise::drop_reference(o);
}
