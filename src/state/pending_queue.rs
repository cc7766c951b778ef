//! A ring of calls waiting for a poll (S-PC-01). All access under the head lock.
//!
//! The 300 slots are allocated at the first use, so that an idle interpreter
//! stays small. Mirrors CPython 3.13 `struct _pending_calls`.

use crate::os::mem;
use crate::sync::rank::Guard;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// A pending call of the host.
pub type _Py_pending_call_func = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;

/// Slots in a ring.
pub(crate) const SLOTS: u32 = 300;
/// Most calls queued for one interpreter.
pub(crate) const MAX_INTERPRETER: u32 = 300;
/// Most calls queued for the main thread.
pub(crate) const MAX_MAIN: u32 = 32;
/// Most calls of an interpreter's queue that one pass runs.
pub(crate) const PASS_INTERPRETER: u32 = 100;

/// `_PyEval_AddPendingCall` flag: use the main thread's queue.
pub(crate) const MAIN_THREAD_ONLY: c_int = 1;
/// `_PyEval_AddPendingCall` flag: free the argument after the call.
pub(crate) const RAW_FREE: c_int = 2;

/// One queued call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) func: unsafe extern "C" fn(*mut c_void) -> c_int,
    pub(crate) arg: *mut c_void,
    pub(crate) flags: c_int,
}

/// A ring of [`Call`]s.
pub(crate) struct PendingQueue {
    slots: AtomicPtr<Call>,
    first: AtomicU32,
    count: AtomicU32,
    /// Limit on `count`.
    max: u32,
    /// The state whose pass is running, or NULL (S-PC-07).
    pub(crate) handling: AtomicPtr<c_void>,
}

impl PendingQueue {
    pub(crate) const fn new(max: u32) -> PendingQueue {
        PendingQueue {
            slots: AtomicPtr::new(core::ptr::null_mut()),
            first: AtomicU32::new(0),
            count: AtomicU32::new(0),
            max,
            handling: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Number of calls queued (a snapshot without the head lock).
    pub(crate) fn len(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// Whether the ring has been allocated.
    pub(crate) fn has_slots(&self) -> bool {
        !self.slots.load(Relaxed).is_null()
    }

    /// A ring's memory, for [`PendingQueue::adopt`]; NULL without memory.
    pub(crate) fn new_slots() -> *mut u8 {
        mem::calloc(size_of::<Call>() * SLOTS as usize)
    }

    /// Gives the queue its ring; returns the memory if it had one already.
    pub(crate) fn adopt(&self, slots: *mut u8, _head: &Guard) -> *mut u8 {
        if self.has_slots() {
            return slots;
        }
        self.slots.store(slots.cast(), Relaxed);
        core::ptr::null_mut()
    }

    /// Queues a call; false when the queue is at its limit or has no ring.
    pub(crate) fn push(&self, call: Call, _head: &Guard) -> bool {
        let slots = self.slots.load(Relaxed);
        let count = self.count.load(Relaxed);
        if slots.is_null() || count >= self.max {
            return false;
        }
        let index = (self.first.load(Relaxed) + count) % SLOTS;
        // SAFETY: `index` is below SLOTS, and the head lock makes us the only user.
        unsafe { slots.wrapping_add(index as usize).write(call) };
        self.count.store(count + 1, Relaxed);
        true
    }

    /// Takes the oldest call out.
    pub(crate) fn pop(&self, _head: &Guard) -> Option<Call> {
        let count = self.count.load(Relaxed);
        if count == 0 {
            return None;
        }
        let first = self.first.load(Relaxed);
        let slot = self.slots.load(Relaxed).wrapping_add(first as usize);
        // SAFETY: `first` indexes a slot that `push` filled; head lock held.
        let call = unsafe { slot.read() };
        self.first.store((first + 1) % SLOTS, Relaxed);
        self.count.store(count - 1, Relaxed);
        Some(call)
    }

    /// Forgets everything queued, keeping the ring.
    pub(crate) fn forget(&self) {
        self.count.store(0, Relaxed);
        self.first.store(0, Relaxed);
        self.handling.store(core::ptr::null_mut(), Relaxed);
    }
}
