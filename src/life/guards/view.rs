//! Views: weak names of interpreters.
//!
//! LIFE-8: a view leads to the life that it was made in, or nowhere.

use crate::os::mem;
use crate::state::interp::{Interp, InterpName};
use crate::state::runtime::RUNTIME;
use core::ptr::NonNull;

/// A weak name of an interpreter, through which a guard can be opened while the
/// interpreter is alive. Opaque.
pub struct PyInterpreterView {
    /// `None`: the interpreter that is the main one at the time of use.
    name: Option<InterpName>,
}

impl PyInterpreterView {
    /// The interpreter, if it is alive. It stays alive under the head lock.
    pub(super) fn look_up(&self) -> Option<Interp> {
        match self.name {
            Some(name) => name.look_up(),
            None => RUNTIME.main_interp().filter(|main| main.is_alive()),
        }
    }
}

/// Makes a view of `interp`, or (`None`) of the interpreter that is the main one
/// when the view is used. Returns `None` without memory.
pub(crate) fn make(interp: Option<Interp>) -> Option<NonNull<PyInterpreterView>> {
    let view = mem::alloc_zeroed::<PyInterpreterView>()?;
    // SAFETY: a fresh block.
    unsafe { view.write(PyInterpreterView { name: interp.map(InterpName::of) }) };
    Some(view)
}

/// Frees a view.
///
/// # Safety
/// `view` came from [`make`] and is not used again.
pub(crate) unsafe fn free(view: NonNull<PyInterpreterView>) {
    // SAFETY: the caller's contract.
    unsafe { mem::free(view.as_ptr().cast()) };
}
