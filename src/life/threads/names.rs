//! Names of threads: kept with the state, and given to the OS as well.
//!
//! A started thread keeps its name in its handle before its state exists and
//! after the state is gone (`LastState`). The OS is told through the kernel's
//! file of the task, which may be gone: a handle of the C library would have to
//! be valid.

use crate::os::{task, thread};
use crate::probe::trace;
use crate::sched::current::interp_of;
use crate::state::handle::Handle;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{NAME_SIZE, ThreadStateRef};
use core::ffi::c_ulong;
use core::sync::atomic::Ordering::Acquire;

/// Whether a name was kept whole.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    /// Cut to 63 bytes.
    Cut,
}

/// Names `tstate`, and its thread for the OS once it has one.
pub(crate) fn name_state(tstate: ThreadStateRef, name: &[u8]) -> Kept {
    tstate.set_name(name);
    tell_trace(tstate, name);
    tell_os(tstate.native_id(), name);
    kept(name)
}

/// Names the thread of `handle`: one that will be started, that runs, or that
/// has ended.
pub(crate) fn name_thread(handle: Handle, name: &[u8]) -> Kept {
    let head = RUNTIME.lock();
    handle.last.set_name(name);
    if let Some(tstate) = handle.tstate.load(Acquire) {
        tstate.set_name(name);
        tell_trace(tstate, name);
    }
    let native = handle.native();
    drop(head);
    // A thread that is about to run reads the name after it has told its id.
    tell_os(native, name);
    kept(name)
}

/// Names the calling thread, which was just started, for the OS by what its
/// handle has; again if that is renamed meanwhile.
pub(crate) fn adopt(handle: Handle) {
    let mut name = [0; NAME_SIZE];
    loop {
        let head = RUNTIME.lock();
        let now = handle.last.name();
        drop(head);
        if now == name {
            return;
        }
        name = now;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        thread::set_name(&name[..end]);
    }
}

fn kept(name: &[u8]) -> Kept {
    if name.len() < NAME_SIZE { Kept::Whole } else { Kept::Cut }
}

/// A state that is not bound yet has no track in the trace.
fn tell_trace(tstate: ThreadStateRef, name: &[u8]) {
    if let Ok(native @ 1..) = i64::try_from(tstate.native_id()) {
        trace::name_thread(interp_of(tstate).id(), native, name);
    }
}

/// The main thread keeps the name of the program, which tools go by.
fn tell_os(native: c_ulong, name: &[u8]) {
    if native != 0 && native != task::first() {
        task::set_name(native, name);
    }
}
