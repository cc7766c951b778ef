//! A joinable thread of the library: what is known about it, counted.
//!
//! | state       | meaning                                   | next               |
//! |-------------|-------------------------------------------|--------------------|
//! | NOT_STARTED | never started, or a start failed          | STARTING           |
//! | STARTING    | the OS thread is being made               | RUNNING, NOT_STARTED |
//! | RUNNING     | the OS thread exists (or waits to be joined) | DONE            |
//! | DONE        | joined; no OS thread belongs to it        | -                  |
//!
//! Invariants:
//! - HANDLE-1: `refs` counts the host's references, one of the running thread, one of
//!   each joiner under way. It goes to 0, and up from 0, only under the head
//!   lock: waiters find handles in the lists and take references there. At 0
//!   the block is freed, or buried if its OS thread is still to be joined.
//! - HANDLE-2: the OS thread is joined or detached exactly once, by the thread that moves the
//!   state to DONE while holding `joining`; detached only when it is hung.
//! - HANDLE-3: `exiting` is set exactly once, after the thread state was deleted (or
//!   given up): from then on the thread runs no host code but thread-local
//!   destructors.
//! - HANDLE-4: a started handle stays in one of the runtime's two lists until it is
//!   DONE or freed; which one, `unreferenced` says.
//!
//! Field access: `state` atomically; `os`, `ident`, `native` written before
//! RUNNING is published (release) and constant after; links under the head lock.
//!
//! Mirrors CPython 3.13 `ThreadHandle` (_threadmodule.c), except that a failed
//! start leaves the handle startable (extension API 3).

use crate::os::mem;
use crate::os::thread::OsThread;
use crate::state::interp::Interp;
use crate::state::link::Link;
use crate::state::public::PyInterpreterState;
use crate::state::thread::{NAME_SIZE, ThreadStateRef};
use crate::sync::event::PyEvent;
use crate::sync::head::HeadGuard;
use crate::sync::hook::Hook;
use crate::sync::mutex::PyMutex;
use core::ffi::{c_char, c_ulong, c_void};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

pub(crate) const NOT_STARTED: u32 = 1;
pub(crate) const STARTING: u32 = 2;
pub(crate) const RUNNING: u32 = 3;
pub(crate) const DONE: u32 = 4;

/// The body of a thread, called attached.
pub(crate) type Body = unsafe extern "C" fn(*mut c_void);

/// A joinable thread (opaque in C; reference counted).
pub struct _PyThreadHandle {
    refs: AtomicU32,
    pub(crate) state: AtomicU32,
    pub(crate) exiting: PyEvent,
    /// Serializes the threads that join the OS thread.
    pub(crate) joining: PyMutex,
    /// 1: the flag of a daemon was given at the start.
    pub(crate) daemon: AtomicU32,
    /// 1: finalization put the OS thread to sleep, and it never wakes up.
    pub(crate) hung: AtomicU32,
    /// 1: no reference is left, its OS thread is still to be joined (head lock).
    pub(crate) unreferenced: AtomicU32,
    /// Set when the starter has filled the handle (S-HD-06).
    pub(crate) ready: PyEvent,
    pub(crate) ident: AtomicUsize,
    pub(crate) native: AtomicUsize,
    pub(crate) os: AtomicUsize,
    /// The thread's state until it is deleted, then NULL.
    pub(crate) tstate: Link<ThreadStateRef>,
    /// The interpreter that it was started for, which of the lives of that
    /// block, and its id: the block may be another interpreter's by now.
    pub(crate) interp: AtomicPtr<PyInterpreterState>,
    pub(crate) interp_life: AtomicU64,
    pub(crate) interp_id: AtomicI64,
    /// What its state was, once that is deleted or abandoned; the name also
    /// before there is a state (head lock).
    pub(crate) last: LastState,
    /// The handle whose thread this thread waits to join without a limit of time,
    /// which that joiner's reference keeps; NULL when there is none (head lock).
    pub(crate) joins: AtomicPtr<_PyThreadHandle>,
    pub(crate) prev: AtomicPtr<_PyThreadHandle>,
    pub(crate) next: AtomicPtr<_PyThreadHandle>,
    /// What to run, with its argument: written by the starter, read once by
    /// the new thread.
    pub(crate) body: Hook<Body>,
}

/// What is known of a thread whose state is gone, until it is joined.
pub(crate) struct LastState {
    pub(crate) id: AtomicU64,
    pub(crate) created_ns: AtomicI64,
    pub(crate) changed_ns: AtomicI64,
    pub(crate) created_at: AtomicPtr<c_char>,
    pub(crate) last_at: AtomicPtr<c_char>,
    name: [AtomicU64; NAME_SIZE / 8],
}

impl LastState {
    /// Copies what is known of `state`. Head lock held.
    pub(crate) fn fill(&self, state: ThreadStateRef) {
        self.id.store(state.id(), Relaxed);
        self.created_ns.store(state.created_ns.load(Relaxed), Relaxed);
        self.changed_ns.store(state.changed_ns(), Relaxed);
        self.created_at.store(state.created_at.load(Relaxed), Relaxed);
        self.last_at.store(state.last_at.load(Relaxed), Relaxed);
        for (word, chunk) in self.name.iter().zip(state.name().chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
    }

    /// Keeps a name, cut to what fits. Head lock held.
    pub(crate) fn set_name(&self, name: &[u8]) {
        let mut bytes = [0; NAME_SIZE];
        let length = name.len().min(NAME_SIZE - 1);
        bytes[..length].copy_from_slice(&name[..length]);
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
    }

    /// A copy of the name, NUL-padded.
    pub(crate) fn name(&self) -> [u8; NAME_SIZE] {
        let mut name = [0; NAME_SIZE];
        for (word, chunk) in self.name.iter().zip(name.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        name
    }
}

/// A thread that this library starts, or has started: for joining it, and for
/// asking about it when its state is gone. Counted by reference. Opaque.
pub type PyThreadHandle = _PyThreadHandle;

/// A counted pointer to a live handle (HANDLE-1). Copying does not count: call
/// [`Handle::incref`] and [`Handle::drop_ref`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(NonNull<_PyThreadHandle>);

impl Deref for Handle {
    type Target = _PyThreadHandle;

    fn deref(&self) -> &_PyThreadHandle {
        // SAFETY: HANDLE-1.
        unsafe { self.0.as_ref() }
    }
}

/// Outcome of [`Handle::drop_ref`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Others still refer to it.
    Shared,
    /// The last reference was dropped: the caller disposes of the handle.
    Last,
}

impl Handle {
    /// A fresh handle with one reference, or `None` without memory.
    pub(crate) fn new() -> Option<Handle> {
        let block = mem::alloc_zeroed::<_PyThreadHandle>()?;
        let handle = Handle(block);
        handle.refs.store(1, Relaxed);
        handle.state.store(NOT_STARTED, Relaxed);
        Some(handle)
    }

    /// # Safety
    /// `pointer` is NULL or a live handle (HANDLE-1).
    pub(crate) unsafe fn from_ptr(pointer: *mut PyThreadHandle) -> Option<Handle> {
        NonNull::new(pointer).map(Handle)
    }

    pub(crate) fn as_ptr(self) -> *mut PyThreadHandle {
        self.0.as_ptr()
    }

    pub(crate) fn incref(self) {
        self.refs.fetch_add(1, Relaxed);
    }

    /// Drops one reference unless it is the last one. False if it is.
    #[must_use]
    pub(crate) fn drop_shared_ref(self) -> bool {
        let mut seen = self.refs.load(Relaxed);
        while seen > 1 {
            // Release: the last one sees everything that the others did.
            match self.refs.compare_exchange_weak(seen, seen - 1, Ordering::Release, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Drops one reference. Head lock held (HANDLE-1).
    pub(crate) fn drop_ref(self, _head: &HeadGuard<'_>) -> Dropped {
        // AcqRel: the last one sees everything that the others did.
        match self.refs.fetch_sub(1, Ordering::AcqRel) {
            1 => Dropped::Last,
            _ => Dropped::Shared,
        }
    }

    /// Returns the block.
    ///
    /// # Safety
    /// The last reference was dropped and the handle is in no list.
    pub(crate) unsafe fn free(self) {
        // SAFETY: made by `new`, and no reference to it is left.
        unsafe { mem::free(self.0.as_ptr().cast()) };
    }
}

impl _PyThreadHandle {
    /// The state, with everything that was written before it was published.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    /// Moves the state from NOT_STARTED to STARTING. Returns true to one caller.
    pub(crate) fn claim_start(&self) -> bool {
        self.state.compare_exchange(NOT_STARTED, STARTING, Ordering::AcqRel, Relaxed).is_ok()
    }

    /// Publishes a state together with what was written before.
    pub(crate) fn publish(&self, state: u32) {
        self.state.store(state, Ordering::Release);
    }

    pub(crate) fn ident(&self) -> c_ulong {
        self.ident.load(Relaxed) as c_ulong
    }

    pub(crate) fn native(&self) -> c_ulong {
        self.native.load(Relaxed) as c_ulong
    }

    pub(crate) fn os(&self) -> OsThread {
        self.os.load(Relaxed) as OsThread
    }

    /// Records the interpreter that the thread is started for.
    pub(crate) fn set_interp(&self, interp: Interp) {
        self.interp.store(interp.as_ptr(), Relaxed);
        self.interp_life.store(interp.incarnation.load(Relaxed), Relaxed);
        self.interp_id.store(interp.id(), Relaxed);
    }

    /// Whether the thread was started for the interpreter that `interp` is now.
    pub(crate) fn is_of(&self, interp: Interp) -> bool {
        self.interp.load(Relaxed) == interp.as_ptr()
            && self.interp_life.load(Relaxed) == interp.incarnation.load(Relaxed)
    }

    /// The handle whose thread this thread waits to join without a limit of time.
    pub(crate) fn joined(&self, _head: &HeadGuard<'_>) -> Option<Handle> {
        NonNull::new(self.joins.load(Relaxed)).map(Handle)
    }

    /// Sets what [`Self::joined`] returns.
    pub(crate) fn set_joined(&self, target: Option<Handle>, _head: &HeadGuard<'_>) {
        let pointer = target.map_or(core::ptr::null_mut(), Handle::as_ptr);
        self.joins.store(pointer, Relaxed);
    }

    /// The name of the thread, NUL-padded: of its state while it has one.
    pub(crate) fn name(&self, _head: &HeadGuard<'_>) -> [u8; NAME_SIZE] {
        self.tstate.load(Relaxed).map_or_else(|| self.last.name(), |tstate| tstate.name())
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.daemon.load(Relaxed) != 0
    }
}
