//! Asynchronous exceptions: left in a thread state, raised at its next poll (S-AX).
//!
//! Mirrors CPython 3.13 `PyThreadState_SetAsyncExc` (pystate.c).

use crate::sched::raise;
use crate::state::error_kind::Raised;
use crate::state::eval_breaker::{self, ASYNC_EXCEPTION};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::object::PyObject;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::sync::head::HeadGuard;
use core::ffi::c_ulong;
use core::ptr;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};

/// Leaves `exception` (NULL: none) with the newest state of `interp` that is bound to this OS
/// thread; an earlier one is dropped. Returns false if there is no such state. The caller is
/// attached.
pub(crate) fn send(interp: Interp, thread: c_ulong, exception: *mut PyObject) -> bool {
    leave_with(exception, |head| {
        let mut states = list::iter(interp, head);
        states.find(|tstate| thread != 0 && tstate.thread_id() == thread)
    })
}

/// Leaves `exception` (NULL: none) with `target`; an earlier one is dropped. Returns false if the
/// state is being deleted, or was. The caller is attached.
pub(crate) fn send_to(target: ThreadStateRef, exception: *mut PyObject) -> bool {
    const GONE: u32 = status::FINALIZING | status::DELETED;
    leave_with(exception, |_| (target.status.load(Relaxed) & GONE == 0).then_some(target))
}

/// Leaves `exception` with the state that `find` finds under the head lock.
fn leave_with(
    exception: *mut PyObject,
    find: impl FnOnce(&HeadGuard<'_>) -> Option<ThreadStateRef>,
) -> bool {
    raise::take_reference(exception);
    let head = RUNTIME.lock();
    let target = find(&head);
    let unwanted = target.map_or([exception, ptr::null_mut()], |target| {
        let old = target.async_exc().swap(exception, AcqRel);
        eval_breaker::set(target, ASYNC_EXCEPTION);
        // The thread that clears a state marks it, then empties the slot: either
        // it finds this exception, or this came later and sees the mark.
        let cleared = target.has(status::FINALIZING);
        [old, if cleared { take(target) } else { ptr::null_mut() }]
    });
    drop(head);
    // The reference is dropped outside the lock, because a destructor may run (S-AX-04).
    for object in unwanted {
        raise::drop_reference(object);
    }
    target.is_some()
}

fn take(tstate: ThreadStateRef) -> *mut PyObject {
    tstate.async_exc().swap(ptr::null_mut(), AcqRel)
}

/// Raises what was left with the attached `tstate`, once (S-AX-05).
pub(crate) fn raise_pending(tstate: ThreadStateRef) -> Result<(), Raised> {
    eval_breaker::clear(tstate, ASYNC_EXCEPTION);
    let exception = take(tstate);
    if exception.is_null() {
        return Ok(());
    }
    raise::raise_object(exception, None);
    raise::drop_reference(exception);
    Err(Raised)
}
