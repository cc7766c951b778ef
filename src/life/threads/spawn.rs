//! Starting threads that can be joined (extension API 3, S-HD).
//!
//! The starter makes the state, unbound, and links state and handle before the
//! OS thread exists: a thread that waits cannot miss it. The child waits until
//! the starter has filled the handle (S-HD-06), binds, attaches and runs the
//! body.

use crate::life::threads::names;
use crate::life::tstate::{self, NewError, Origin};
use crate::os::clock::Deadline;
use crate::os::thread::{self, Reaping, Run};
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::current::{self, interp_of};
use crate::sched::gilstate_slot;
use crate::sched::{attach, fatal, late, thread_end};
use crate::state::config::{Compat, Py_RTFLAGS_DAEMON_THREADS, Py_RTFLAGS_THREADS};
use crate::state::error_kind::ExceptionKind;
use crate::state::handle::{Body, Handle, NOT_STARTED, RUNNING};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, Whence};
use crate::state::word;
use crate::sync::waiting::Stay;
use core::ffi::c_void;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Whether the runtime waits for the new thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    Awaited,
    Daemon,
}

/// Why a thread was not started. The handle is as it was.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartError {
    AlreadyStarted,
    ThreadsForbidden,
    DaemonsForbidden,
    Finalizing,
    NoMemory,
    NoThread,
}

/// The exception that a start raises after the commit: from 3.13 on
/// PythonFinalizationError.
pub(crate) fn too_late_error() -> ExceptionKind {
    if RUNTIME.compat() >= Compat::V3_13 {
        ExceptionKind::PythonFinalization
    } else {
        ExceptionKind::Runtime
    }
}

/// Starts `body(arg)` on a new OS thread, attached to a fresh state of `interp`.
pub(crate) fn start(
    handle: Handle,
    interp: Interp,
    body: Body,
    arg: *mut c_void,
    kind: Daemon,
) -> Result<(), StartError> {
    probe::point(Point::ThreadStartBegin);
    // Claimed and linked in one step: a fork child finds every handle that a
    // vanished starter was busy with (S-FK-08).
    let head = RUNTIME.lock();
    if !handle.claim_start() {
        return Err(StartError::AlreadyStarted);
    }
    // One reference for the thread (HANDLE-1).
    handle.incref();
    fill(handle, interp, body, arg, kind);
    RUNTIME.link_handle(handle, &head);
    drop(head);
    let result = start_claimed(handle, interp, kind);
    if result.is_err() {
        let head = RUNTIME.lock();
        RUNTIME.unlink_handle(handle, &head);
        handle.publish(NOT_STARTED);
        // The caller keeps its own.
        let _ = handle.drop_ref(&head);
        drop(head);
    }
    let _ = thread_end::reap_gone();
    result
}

fn start_claimed(handle: Handle, interp: Interp, kind: Daemon) -> Result<(), StartError> {
    if !interp.has_feature(Py_RTFLAGS_THREADS) {
        return Err(StartError::ThreadsForbidden);
    }
    if kind == Daemon::Daemon && !interp.has_feature(Py_RTFLAGS_DAEMON_THREADS) {
        return Err(StartError::DaemonsForbidden);
    }
    let origin = Origin {
        whence: match kind {
            Daemon::Awaited => Whence::Threading,
            Daemon::Daemon => Whence::ThreadingDaemon,
        },
        daemon: i32::from(kind == Daemon::Daemon),
        before_commit_only: true,
        handle: Some(handle),
        first_of: None,
    };
    let tstate = tstate::new_unbound(interp, origin).map_err(|error| match error {
        NewError::NoMemory => StartError::NoMemory,
        NewError::Refused => StartError::Finalizing,
    })?;
    // A name that was given before the start; one given from here on finds the
    // state through the handle.
    let name = handle.last.name();
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    tstate.set_name(&name[..end]);
    let stack = current::current().map_or(interp, interp_of).stack_size.load(Relaxed);
    match thread::spawn::<Started>(handle.as_ptr().cast(), stack, Reaping::Joinable) {
        Ok(os) => {
            // Both are Relaxed: RUNNING publishes them.
            handle.os.store(os as usize, Relaxed);
            handle.ident.store(os as usize, Relaxed);
            name_thread(handle);
            handle.publish(RUNNING);
            probe::point(Point::ThreadStartCreated);
            handle.ready.set();
            Ok(())
        }
        Err(_) => {
            tstate::discard(tstate);
            Err(StartError::NoThread)
        }
    }
}

fn fill(handle: Handle, interp: Interp, body: Body, arg: *mut c_void, kind: Daemon) {
    // Relaxed, all of it: the start of the OS thread, and for others the link
    // of the state under the head lock, publish it.
    handle.set_interp(interp);
    handle.body.set_own(Some(body), arg);
    handle.daemon.store(u32::from(kind == Daemon::Daemon), Relaxed);
}

/// Writes the identity of a started thread into its state, so that a search by
/// identity finds the state before the thread runs.
fn name_thread(handle: Handle) {
    let head = RUNTIME.lock();
    if let Some(tstate) = handle.tstate.load(Acquire) {
        tstate.thread_id_cell().store(handle.ident() as usize, Relaxed);
    }
    drop(head);
}

/// A started OS thread, from its first function on.
struct Started;

impl Run for Started {
    fn run(argument: *mut c_void) {
        // SAFETY: the starter passed a live handle and a reference to it.
        let Some(handle) = (unsafe { Handle::from_ptr(argument.cast()) }) else { return };
        // Relaxed: the exit event publishes it to joiners; before that it may be 0.
        handle.native.store(thread::native_id() as usize, Relaxed);
        let _ = handle.ready.wait(Deadline::NEVER, &mut Stay);
        current::set_own_handle(handle.as_ptr().cast());
        let _ = gilstate_slot::arm_thread_end();
        names::adopt(handle);
        trace::at(Point::ThreadEntry, Event::At(Mark::ThreadStart), || {
            handle.interp_id.load(Relaxed)
        });
        if let Some(tstate) = take_state(handle) {
            run(handle, tstate);
        }
        finish_started_thread(handle);
    }
}

/// Returns the state that was made for the calling thread, unless it was
/// abandoned already. From here on the state knows its thread: if it is
/// abandoned now, it is kept for this thread.
fn take_state(handle: Handle) -> Option<ThreadStateRef> {
    let head = RUNTIME.lock();
    let tstate = handle.tstate.load(Acquire);
    if let Some(tstate) = tstate {
        tstate.record_thread();
    }
    drop(head);
    tstate
}

fn run(handle: Handle, tstate: ThreadStateRef) {
    if tstate.word().load(Acquire) == word::SHUTTING_DOWN {
        late::apply_policy(Some(tstate));
    }
    let fresh = tstate::bind(tstate);
    debug_assert!(fresh);
    probe::point(Point::ThreadBound);
    attach::attach(tstate);
    probe::point(Point::ThreadFuncBegin);
    if let Some((body, arg)) = handle.body.get() {
        // SAFETY: the host's function and argument; attached, no lock held.
        unsafe { body(arg) };
    }
    probe::point(Point::ThreadFuncEnd);
    if let Err(other) = drop_own_state(handle) {
        fatal::fatal(
            c"PyThreadHandle_Start",
            format_args!(
                "the thread's function returned with thread state {:p} attached instead of its own {:p}",
                other.as_ptr(),
                tstate.as_ptr()
            ),
        )
    }
}

/// Attaches, clears and deletes the calling thread's own state, unless the host
/// did that (or finalized). `Err`: the state of something else is attached.
fn drop_own_state(handle: Handle) -> Result<(), ThreadStateRef> {
    let own = handle.tstate.load(Acquire);
    let own = match (own, current::current()) {
        (Some(own), Some(now)) if own == now => own,
        (_, Some(other)) => return Err(other),
        (Some(own), None) => {
            attach::attach(own);
            own
        }
        (None, None) => return Ok(()),
    };
    let _ = tstate::clear(own);
    tstate::delete_current(own);
    probe::point(Point::ThreadStateDeleted);
    Ok(())
}

/// Drops the thread's reference to its handle, which may be freed before the last point.
fn finish_started_thread(handle: Handle) {
    let interp = handle.interp_id.load(Relaxed);
    current::set_own_handle(core::ptr::null_mut());
    thread_end::finish(handle);
    trace::at(Point::ThreadTail, Event::At(Mark::ThreadEnd), || interp);
}

/// Ends what the library has of the calling thread, which then ends: as if the
/// body of a started thread had returned. `Err`: a state is attached that is
/// not the thread's own.
pub(crate) fn end_current() -> Result<(), ThreadStateRef> {
    let Some(handle) = current::own_handle() else {
        return current::current().map_or(Ok(()), Err);
    };
    drop_own_state(handle)?;
    finish_started_thread(handle);
    Ok(())
}
