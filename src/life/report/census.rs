//! Records of thread states, one for each (extension API 2).

use crate::life::awaited::{is_awaited_any, is_awaited_thread};
use crate::os::clock;
use crate::sched::current::interp_of;
use crate::sched::thread_end;
use crate::state::guard;
use crate::state::handle::Handle;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{NAME_SIZE, ThreadStateRef};
use crate::state::word;
use crate::sync::head::HeadGuard;
use core::ffi::{c_char, c_int, c_ulong};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// `PyTState_ThreadInfo.state`: the thread is detached and may not touch the runtime.
pub const PyTState_DETACHED: c_int = 0;
/// `PyTState_ThreadInfo.state`: the thread is attached and runs.
pub const PyTState_ATTACHED: c_int = 1;
/// `PyTState_ThreadInfo.state`: a stop-the-world pause holds the thread.
pub const PyTState_SUSPENDED: c_int = 2;

/// What is known about one thread state.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyTState_ThreadInfo {
    /// Id inside the interpreter.
    pub id: u64,
    /// Id of the interpreter.
    pub interp_id: i64,
    /// Identity of the OS thread, 0 before it is bound.
    pub thread_id: c_ulong,
    /// Kernel id of the OS thread, 0 before it is bound.
    pub native_thread_id: c_ulong,
    /// 0 or 1.
    pub is_daemon: c_int,
    /// PyTState_DETACHED, PyTState_ATTACHED or PyTState_SUSPENDED.
    pub state: c_int,
    /// Nanoseconds since the state was created.
    pub age_ns: i64,
    /// Nanoseconds since its last attach or detach.
    pub in_state_ns: i64,
    /// Open interpreter guards that it took.
    pub guards: c_int,
    /// Name, NUL-terminated; empty when none was given.
    pub name: [c_char; NAME_SIZE],
    /// "file:line" where it was created, or "". Static.
    pub created_at: *const c_char,
    /// Place of the last attach or detach, or "". Static.
    pub last_at: *const c_char,
}

impl PyTState_ThreadInfo {
    /// An empty record, to be filled.
    pub(crate) const EMPTY: PyTState_ThreadInfo = PyTState_ThreadInfo {
        id: 0,
        interp_id: 0,
        thread_id: 0,
        native_thread_id: 0,
        is_daemon: 0,
        state: PyTState_DETACHED,
        age_ns: 0,
        in_state_ns: 0,
        guards: 0,
        name: [0; NAME_SIZE],
        created_at: c"".as_ptr(),
        last_at: c"".as_ptr(),
    };
}

fn place(pointer: *mut c_char) -> *const c_char {
    if pointer.is_null() { c"".as_ptr() } else { pointer }
}

/// The record of a linked state.
pub(crate) fn info(tstate: ThreadStateRef, now: i64, head: &HeadGuard<'_>) -> PyTState_ThreadInfo {
    PyTState_ThreadInfo {
        id: tstate.id(),
        interp_id: interp_of(tstate).id(),
        thread_id: tstate.thread_id(),
        native_thread_id: tstate.native_id(),
        is_daemon: c_int::from(tstate.daemon().load(Relaxed) != 0),
        state: match tstate.word().load(Relaxed) {
            word::ATTACHED => PyTState_ATTACHED,
            word::SUSPENDED => PyTState_SUSPENDED,
            _ => PyTState_DETACHED,
        },
        age_ns: (now - tstate.created_ns.load(Relaxed)).max(0),
        in_state_ns: (now - tstate.changed_ns()).max(0),
        guards: guard::count_of(tstate, head),
        name: tstate.name().map(|byte| byte as c_char),
        created_at: place(tstate.created_at.load(Relaxed)),
        last_at: place(tstate.last_at.load(Relaxed)),
    }
}

/// The record of a started thread whose state is gone already: id, name, times
/// and places are those that its state had.
pub(crate) fn info_of_handle(
    handle: Handle,
    now: i64,
    _head: &HeadGuard<'_>,
) -> PyTState_ThreadInfo {
    let last = &handle.last;
    PyTState_ThreadInfo {
        id: last.id.load(Relaxed),
        interp_id: handle.interp_id.load(Relaxed),
        thread_id: handle.ident(),
        native_thread_id: handle.native(),
        is_daemon: c_int::from(handle.is_daemon()),
        state: PyTState_DETACHED,
        age_ns: (now - last.created_ns.load(Relaxed)).max(0),
        in_state_ns: (now - last.changed_ns.load(Relaxed)).max(0),
        guards: 0,
        name: last.name().map(|byte| byte as c_char),
        created_at: place(last.created_at.load(Relaxed)),
        last_at: place(last.last_at.load(Relaxed)),
    }
}

/// Fills `out` with the states of `interp` (`None`: of all interpreters) and
/// returns their true number.
pub(crate) fn census(interp: Option<Interp>, out: &mut [PyTState_ThreadInfo]) -> usize {
    let now = clock::now_ns();
    let head = RUNTIME.lock();
    let mut count = 0;
    for one in RUNTIME.interps(&head) {
        if interp.is_some_and(|wanted| wanted != one) {
            continue;
        }
        for tstate in list::iter(one, &head) {
            if let Some(slot) = out.get_mut(count) {
                *slot = info(tstate, now, &head);
            }
            count += 1;
        }
    }
    drop(head);
    count
}

/// Fills `out` with the states that a wait of `interp` still waits for and
/// returns their true number.
pub(crate) fn list_awaited(interp: Interp, out: &mut [PyTState_ThreadInfo]) -> usize {
    // The wait sleeps on one thread at a time: others may be gone by now.
    thread_end::join_gone(|handle, head| is_awaited_thread(interp, handle, head));
    let now = clock::now_ns();
    let head = RUNTIME.lock();
    let mut count = 0;
    for tstate in list::iter(interp, &head) {
        if !is_awaited_any(interp, tstate) {
            continue;
        }
        if let Some(slot) = out.get_mut(count) {
            *slot = info(tstate, now, &head);
        }
        count += 1;
    }
    count += list_ending(interp, out.get_mut(count..).unwrap_or_default(), now, &head);
    drop(head);
    count
}

/// The part of [`list_awaited`] whose states are gone, but not their OS threads:
/// they are known by their handles alone.
fn list_ending(
    interp: Interp,
    out: &mut [PyTState_ThreadInfo],
    now: i64,
    head: &HeadGuard<'_>,
) -> usize {
    let mut count = 0;
    for handle in RUNTIME.handles(head) {
        let stateless = handle.tstate.is_none(Acquire);
        if stateless && is_awaited_thread(interp, handle, head) {
            if let Some(slot) = out.get_mut(count) {
                *slot = info_of_handle(handle, now, head);
            }
            count += 1;
        }
    }
    count
}

/// Fills `out` with the threads that a wait of `interp` still waits for though
/// their states are gone, and returns their true number.
pub(crate) fn list_ending_now(interp: Interp, out: &mut [PyTState_ThreadInfo]) -> usize {
    thread_end::join_gone(|handle, head| is_awaited_thread(interp, handle, head));
    let now = clock::now_ns();
    let head = RUNTIME.lock();
    let count = list_ending(interp, out, now, &head);
    drop(head);
    count
}
