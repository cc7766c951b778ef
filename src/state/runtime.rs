//! The process-wide state: interpreters, the head lock, free blocks, settings.
//!
//! Everything is usable from the first instruction of the process: all zero means "not
//! initialized". Finalization restores that state, except for what late threads may still look at.
//!
//! Field access: lists under the head lock (`sync::head`); flags are atomics that any thread reads.
//! Mirrors CPython 3.13 `_PyRuntimeState` (pycore_runtime.h).

use crate::os::mem;
use crate::state::config::Compat;
use crate::state::handle::{_PyThreadHandle, Handle};
use crate::state::interp::Interp;
use crate::state::link::Link;
use crate::state::object::PyTState_ObjectHooks;
use crate::state::pending_queue::{MAX_MAIN, PendingQueue};
use crate::state::stop_scope::StopScope;
use crate::state::thread::{ThreadState, ThreadStateRef, status};
use crate::sync::head::{self, HeadGuard};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{
    AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicUsize, Ordering, Ordering::Relaxed,
};

/// The process-wide state.
pub(crate) struct Runtime {
    pub(crate) interpreters: Link<Interp>,
    pub(crate) main: Link<Interp>,
    /// Next interpreter id; -1 until the runtime is initialized once.
    pub(crate) next_interp_id: AtomicI64,
    /// 1 between initialization and the commit of finalization.
    pub(crate) initialized: AtomicI32,
    /// Number of initializations so far.
    pub(crate) generation: AtomicU32,
    /// The state that committed Py_FinalizeEx, until the next initialization.
    pub(crate) finalizing: AtomicPtr<ThreadState>,
    pub(crate) finalizing_thread: AtomicUsize,
    /// OS identity of the main thread (S-BD-09).
    pub(crate) main_thread: AtomicUsize,
    /// State of the main thread in the main interpreter.
    pub(crate) main_state: Link<ThreadStateRef>,
    /// 0 once a sub-interpreter was made (S-GS-15).
    pub(crate) gilstate_check: AtomicI32,
    /// Pause of all interpreters.
    pub(crate) stop: StopScope,
    /// Started handles that the host refers to and that are not joined yet (HANDLE-4).
    pub(crate) handles: AtomicPtr<_PyThreadHandle>,
    /// Handles of ended threads without a reference, waiting to be joined (HANDLE-4).
    pub(crate) unjoined: AtomicPtr<_PyThreadHandle>,
    /// Open guards of all interpreters, newest first (`life::guards`).
    pub(crate) open_guards: AtomicPtr<c_void>,
    /// Calls for the main thread (S-PC-01).
    pub(crate) main_pending: PendingQueue,
    /// Blocks of dead states: of the size in force, and of other sizes.
    spare_states: Link<ThreadStateRef>,
    misfit_states: Link<ThreadStateRef>,
    spare_interps: Link<Interp>,
    /// States that finalization abandoned, kept for their OS threads.
    pub(crate) abandoned: Link<ThreadStateRef>,
    /// The PyTState_LATE_* that the host chose; -1: it chose none.
    pub(crate) late_policy: AtomicI32,
    /// The PyTState_LATE_* that the environment chose, which applies if the host chose none; -1: it
    /// chose none.
    pub(crate) late_by_environment: AtomicI32,
    pub(crate) check_level: AtomicI32,
    compat: AtomicU32,
    host_size: AtomicUsize,
    objects: UnsafeCell<PyTState_ObjectHooks>,
}

// SAFETY: `objects` is written during initialization only, before any other
// thread can have a state; every other field is atomic or a lock.
unsafe impl Sync for Runtime {}

/// The one runtime of the process.
pub(crate) static RUNTIME: Runtime = Runtime {
    interpreters: Link::new(),
    main: Link::new(),
    next_interp_id: AtomicI64::new(-1),
    initialized: AtomicI32::new(0),
    generation: AtomicU32::new(0),
    finalizing: AtomicPtr::new(core::ptr::null_mut()),
    finalizing_thread: AtomicUsize::new(0),
    main_thread: AtomicUsize::new(0),
    main_state: Link::new(),
    gilstate_check: AtomicI32::new(1),
    stop: StopScope::new(),
    handles: AtomicPtr::new(core::ptr::null_mut()),
    unjoined: AtomicPtr::new(core::ptr::null_mut()),
    open_guards: AtomicPtr::new(core::ptr::null_mut()),
    main_pending: PendingQueue::new(MAX_MAIN),
    spare_states: Link::new(),
    misfit_states: Link::new(),
    spare_interps: Link::new(),
    abandoned: Link::new(),
    late_policy: AtomicI32::new(-1),
    late_by_environment: AtomicI32::new(-1),
    check_level: AtomicI32::new(0),
    compat: AtomicU32::new(Compat::DEFAULT.0),
    host_size: AtomicUsize::new(0),
    objects: UnsafeCell::new(PyTState_ObjectHooks::NONE),
};

impl Runtime {
    /// Takes the head lock. Never detaches; hold it for a few instructions and
    /// call nothing outside the library under it (S-IN-11).
    #[inline]
    pub(crate) fn lock(&'static self) -> HeadGuard<'static> {
        head::lock()
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire) != 0
    }

    pub(crate) fn is_finalizing(&self) -> bool {
        !self.finalizing.load(Ordering::Acquire).is_null()
    }

    pub(crate) fn main_interp(&self) -> Option<Interp> {
        self.main.load(Ordering::Acquire)
    }

    pub(crate) fn main_state(&self) -> Option<ThreadStateRef> {
        // The field is cleared when the state is deleted.
        self.main_state.load(Ordering::Acquire)
    }

    /// Whether the caller is the main OS thread.
    pub(crate) fn on_main_thread(&self) -> bool {
        self.main_thread.load(Relaxed) == crate::os::thread::ident() as usize
    }

    pub(crate) fn compat(&self) -> Compat {
        Compat(self.compat.load(Relaxed))
    }

    pub(crate) fn set_compat(&self, compat: Compat) {
        self.compat.store(compat.0, Relaxed);
    }

    pub(crate) fn set_late_policy(&self, policy: c_int) {
        self.late_policy.store(policy, Relaxed);
    }

    pub(crate) fn host_size(&self) -> usize {
        self.host_size.load(Relaxed)
    }

    /// Changes the size of the host's bytes, before any state is made, and
    /// sorts the blocks of dead states anew.
    pub(crate) fn set_host_size(&'static self, size: usize) {
        if self.host_size() == size {
            return;
        }
        let head = self.lock();
        self.host_size.store(size, Relaxed);
        let kept = [&self.spare_states, &self.misfit_states].map(|list| list.swap(None, Relaxed));
        for mut next in kept {
            while let Some(tstate) = next {
                next = tstate.spare.load(Relaxed);
                self.keep_state_block(tstate, &head);
            }
        }
        drop(head);
    }

    pub(crate) fn objects(&self) -> PyTState_ObjectHooks {
        // SAFETY: see `Sync`: only written before other threads have states.
        unsafe { *self.objects.get() }
    }

    /// # Safety
    /// No other thread has a thread state.
    pub(crate) unsafe fn set_objects(&self, hooks: PyTState_ObjectHooks) {
        // SAFETY: the caller's contract.
        unsafe { *self.objects.get() = hooks };
    }

    /// A spare block for a thread state (TS-1).
    pub(crate) fn take_state_block(&self, _head: &HeadGuard) -> Option<ThreadStateRef> {
        let spare = self.spare_states.load(Relaxed)?;
        self.spare_states.store(spare.spare.load(Relaxed), Relaxed);
        Some(spare)
    }

    /// Fresh memory for a thread state; `None` without memory.
    pub(crate) fn new_state_block(&self) -> Option<ThreadStateRef> {
        let host = self.host_size();
        let block = mem::calloc(size_of::<ThreadState>().checked_add(host)?);
        // SAFETY: NULL or a fresh zeroed block of the right size.
        let tstate = unsafe { ThreadStateRef::from_raw(block.cast()) }?;
        tstate.host_size.store(host, Relaxed);
        Some(tstate)
    }

    /// Keeps a dead block for a state of its size, in this life or another (TS-1).
    pub(crate) fn keep_state_block(&self, tstate: ThreadStateRef, _head: &HeadGuard<'_>) {
        let fits = tstate.host_size.load(Relaxed) == self.host_size();
        let list = if fits { &self.spare_states } else { &self.misfit_states };
        tstate.spare.store(list.load(Relaxed), Relaxed);
        list.store(Some(tstate), Relaxed);
    }

    /// A pooled interpreter block.
    pub(crate) fn take_interp_block(&self, _head: &HeadGuard) -> Option<Interp> {
        let spare = self.spare_interps.load(Relaxed)?;
        self.spare_interps.store(spare.next.load(Relaxed), Relaxed);
        Some(spare)
    }

    /// Puts an interpreter block into the pool.
    pub(crate) fn pool_interp_block(&self, interp: Interp, _head: &HeadGuard) {
        interp.next.store(self.spare_interps.load(Relaxed), Relaxed);
        self.spare_interps.store(Some(interp), Relaxed);
    }

    /// The blocks of ended interpreters. Only the single thread of a fork child may call this.
    pub(crate) fn pooled_interps(&self) -> Interps {
        Interps { next: self.spare_interps.load(Relaxed) }
    }

    /// The interpreters, newest first.
    pub(crate) fn interps(&self, _head: &HeadGuard) -> Interps {
        Interps { next: self.interpreters.load(Relaxed) }
    }

    /// The states that finalization abandoned, kept for their threads.
    pub(crate) fn abandoned_states(
        &self,
        _head: &HeadGuard,
    ) -> impl Iterator<Item = ThreadStateRef> {
        let mut next = self.abandoned.load(Relaxed);
        core::iter::from_fn(move || {
            let tstate = next?;
            next = tstate.spare.load(Relaxed);
            Some(tstate)
        })
    }

    /// The list that a started handle is in.
    fn list_of(&self, handle: Handle) -> &AtomicPtr<_PyThreadHandle> {
        if handle.unreferenced.load(Relaxed) != 0 { &self.unjoined } else { &self.handles }
    }

    /// Puts a started handle into its list (HANDLE-4).
    pub(crate) fn link_handle(&self, handle: Handle, _head: &HeadGuard) {
        let list = self.list_of(handle);
        let old = list.load(Relaxed);
        handle.next.store(old, Relaxed);
        handle.prev.store(core::ptr::null_mut(), Relaxed);
        // SAFETY: members of the list are live (HANDLE-4).
        if let Some(old) = unsafe { Handle::from_ptr(old) } {
            old.prev.store(handle.as_ptr(), Relaxed);
        }
        list.store(handle.as_ptr(), Relaxed);
    }

    /// Moves a handle from the list of those in use to the graveyard.
    pub(crate) fn move_to_unjoined(&self, handle: Handle, head: &HeadGuard) {
        self.unlink_handle(handle, head);
        handle.unreferenced.store(1, Relaxed);
        self.link_handle(handle, head);
    }

    /// Takes a handle out of its list. The caller knows that it is in one.
    pub(crate) fn unlink_handle(&self, handle: Handle, _head: &HeadGuard) {
        let (prev, next) = (handle.prev.load(Relaxed), handle.next.load(Relaxed));
        // SAFETY: members of the list are live (HANDLE-4).
        match unsafe { Handle::from_ptr(prev) } {
            Some(prev) => prev.next.store(next, Relaxed),
            None => self.list_of(handle).store(next, Relaxed),
        }
        // SAFETY: as above.
        if let Some(next) = unsafe { Handle::from_ptr(next) } {
            next.prev.store(prev, Relaxed);
        }
        handle.prev.store(core::ptr::null_mut(), Relaxed);
        handle.next.store(core::ptr::null_mut(), Relaxed);
    }

    /// The started handles, buried ones included.
    pub(crate) fn handles(&self, head: &HeadGuard) -> impl Iterator<Item = Handle> {
        Handles { next: self.handles.load(Relaxed) }.chain(self.unjoined_handles(head))
    }

    /// The handles of ended threads without a reference.
    pub(crate) fn unjoined_handles(&self, _head: &HeadGuard) -> Handles {
        Handles { next: self.unjoined.load(Relaxed) }
    }

    /// Drops one reference to a state's block, which is a spare one at the last
    /// one (TS-2).
    pub(crate) fn drop_state_ref(&'static self, tstate: ThreadStateRef) {
        // A lone reference needs no read-modify-write: no other thread can take one.
        if tstate.refs.load(Ordering::Acquire) != 1
            && tstate.refs.fetch_sub(1, Ordering::AcqRel) != 1
        {
            return;
        }
        debug_assert!(tstate.has(status::DELETED));
        let head = self.lock();
        self.keep_state_block(tstate, &head);
        drop(head);
    }
}

/// Iterator of [`Runtime::interps`].
pub(crate) struct Interps {
    next: Option<Interp>,
}

impl Iterator for Interps {
    type Item = Interp;

    fn next(&mut self) -> Option<Interp> {
        let interp = self.next?;
        self.next = interp.next.load(Relaxed);
        Some(interp)
    }
}

/// Iterator of [`Runtime::handles`].
pub(crate) struct Handles {
    next: *mut _PyThreadHandle,
}

impl Iterator for Handles {
    type Item = Handle;

    fn next(&mut self) -> Option<Handle> {
        // SAFETY: members of the list are live (HANDLE-4).
        let handle = unsafe { Handle::from_ptr(self.next) }?;
        self.next = handle.next.load(Relaxed);
        Some(handle)
    }
}
