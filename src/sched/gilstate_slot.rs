//! Making a state the gilstate of the calling thread (S-BD).

use crate::os::{thread, tls};
use crate::sched::this_thread::{gilstate, leave_gilstate_slot};
use crate::sched::thread_end::AtExit;
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::Relaxed;

/// Makes `tstate` this thread's gilstate; the replaced one loses the mark
/// (S-BD-06).
#[inline(always)]
pub(crate) fn become_gilstate(tstate: ThreadStateRef) {
    if gilstate() != Some(tstate) {
        replace_gilstate(tls::block(), tstate);
    }
}

#[cold]
fn replace_gilstate(block: &'static tls::TlsBlock, tstate: ThreadStateRef) {
    if let Some(old) = gilstate() {
        leave_gilstate_slot(old);
    }
    let _ = arm_thread_end();
    tstate.gilstate_slot.store(core::ptr::from_ref(block).cast_mut(), Relaxed);
    block.gilstate.store(tstate.as_raw().cast(), Relaxed);
}

/// Registers [`AtExit`] to run when the calling thread exits. False when the OS has no
/// key, or no memory for one in this thread.
pub(crate) fn arm_thread_end() -> bool {
    let block = tls::block();
    if block.armed.load(Relaxed) != 0 {
        return true;
    }
    let armed = thread::arm_exit::<AtExit>();
    block.armed.store(usize::from(armed), Relaxed);
    armed
}
