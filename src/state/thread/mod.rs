//! One thread of execution inside one interpreter.
//!
//! The public part (`struct _ts`) comes first and the private part follows in
//! the same block, so both addresses are the same.
//!
//! Life (S-TS-13), bits of `status`, only ever set:
//! INITIALIZED -> BOUND -> FINALIZING -> CLEARED -> UNBOUND -> DELETED.
//!
//! Field access:
//! - `prev`, `next`: the head lock. `interp`, `id`: constant while alive.
//! - `thread_id`, `native_thread_id`: written by `bind` on the owning thread.
//! - `state`: `state::word`. `eval_breaker`: atomic or/and, by any thread.
//! - `gilstate_counter`, `dict`, `current_exception`, `error_text`,
//!   `critical_section`, `ensure_*`: the attached owner.
//! - `is_daemon`: the host while attached; read by waiters under the head lock.
//! - `async_exc`: exchanged under the head lock or by the owner.
//!
//! Invariants:
//! - TS-1: a [`ThreadStateRef`] is only made from a pointer to a mapped block. Blocks of dead
//!   states are kept for new ones and not returned to the system: a stale
//!   pointer reads a DELETED status, not unmapped memory.
//! - TS-2: `refs` is 1 for the state itself plus one per reference to its exit
//!   event; the block is reused only at 0.
//! - TS-3: `event` is set exactly once in a life.
//!
//! Mirrors CPython 3.13 `struct _ts` (cpython/pystate.h) and
//! `_PyThreadStateImpl` (pycore_tstate.h); `on_delete` as in 3.12.

use crate::os::clock;
use crate::os::function::FunctionCell;
use crate::state::gil_word::Gil;
use crate::state::link::{Link, Stable};
use crate::state::object::PyObject;
use crate::state::public::{_ts, PyInterpreterState, PyThreadState};
use crate::state::qsbr::Qsbr;
use crate::state::stack_bounds::StackBounds;
use crate::sync::event::PyEvent;
use crate::sync::hook::Hook;
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_ulong, c_void};
use core::mem::offset_of;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

/// Bits of `status`.
pub(crate) mod status {
    pub(crate) const INITIALIZED: u32 = 1;
    pub(crate) const BOUND: u32 = 1 << 1;
    pub(crate) const FINALIZING: u32 = 1 << 2;
    pub(crate) const CLEARED: u32 = 1 << 3;
    pub(crate) const UNBOUND: u32 = 1 << 4;
    pub(crate) const DELETED: u32 = 1 << 5;
    /// The state was abandoned by finalization: it is out of the list, and kept for its OS thread.
    pub(crate) const ABANDONED: u32 = 1 << 6;
}

/// Where a state comes from (S-TS-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Whence {
    Unknown = 0,
    Init = 1,
    Fini = 2,
    Threading = 3,
    CApi = 4,
    #[allow(dead_code, reason = "CPython's numbers, all of them")]
    Exec = 5,
    ThreadingDaemon = 6,
}

/// Bytes of a thread's name, with the terminating NUL.
pub(crate) const NAME_SIZE: usize = 64;

pub(crate) use crate::state::pause::STOOD;

/// In `changed`: that attach or detach left its place in `last_at`. No stamp reaches this bit.
const PLACE_LEFT: i64 = 1 << 62;

/// The whole block behind a `PyThreadState *`. As aligned as malloc's blocks:
/// the host's bytes follow it.
#[repr(C, align(16))]
pub(crate) struct ThreadState {
    base: UnsafeCell<_ts>,
    pub(crate) refs: AtomicU32,
    pub(crate) status: AtomicU32,
    /// The GIL to hold while attached, NULL without one. Constant while alive.
    pub(crate) gil: Link<&'static Gil>,
    pub(crate) event: PyEvent,
    /// Address of the thread-local block whose `gilstate` leads here; NULL if
    /// none does. Only compared: the thread of the block may be gone.
    pub(crate) gilstate_slot: AtomicPtr<crate::os::tls::TlsBlock>,
    /// Handle of the thread that the library started for it, or NULL.
    pub(crate) handle: AtomicPtr<c_void>,
    pub(crate) error_text: AtomicPtr<c_char>,
    /// The exception that was fetched last, whose text `error_text` still is; NULL
    /// once another error was set. Only compared.
    pub(crate) fetched: AtomicPtr<PyObject>,
    pub(crate) created_ns: AtomicI64,
    /// Coarse time of the last attach or detach, as `clock` stamps it, with [`PLACE_LEFT`].
    changed: AtomicI64,
    pub(crate) created_at: AtomicPtr<c_char>,
    pub(crate) last_at: AtomicPtr<c_char>,
    /// Number of open PyThreadState_EnterTracing calls.
    pub(crate) tracing: AtomicI32,
    /// Number of open PyThreadState_Ensure calls (S-G8-24).
    pub(crate) ensure_counter: AtomicI32,
    /// 1 if PyThreadState_Ensure made the state; the last Release then deletes it.
    pub(crate) ensure_deletes: AtomicU32,
    /// Guard that an EnsureFromView left with the state, or NULL.
    pub(crate) ensure_guard: AtomicPtr<c_void>,
    pub(crate) stack: StackBounds,
    /// 1 while a RecursionError is being raised.
    pub(crate) raising: AtomicU32,
    /// The reclamation data of the interpreter, NULL under a GIL, and this state's slot there.
    pub(crate) qsbr: Link<&'static Qsbr>,
    pub(crate) qsbr_slot: AtomicU64,
    /// 1 while a call of this library has detached the state and will attach it again.
    pub(crate) detached_by_call: AtomicU32,
    /// Whether the thread is in a blocking region: see `sched::region`.
    pub(crate) region: AtomicU32,
    /// NONE, STOOD or OWED: why the thread waits for a pause to end (`sched::standing`).
    pub(crate) waits_for_pause: AtomicU32,
    /// Unblock function of that region with its argument.
    pub(crate) unblock: Hook<unsafe extern "C" fn(*mut c_void)>,
    /// The time from which a shutdown may call the unblock function (again).
    pub(crate) unblock_due_ns: AtomicI64,
    /// Next in a free list or list of abandoned states.
    pub(crate) spare: Link<ThreadStateRef>,
    /// Calls that wait for its thread, oldest first, and the last of them
    /// (`state::thread_calls`, head lock).
    pub(crate) calls: AtomicPtr<()>,
    pub(crate) last_call: AtomicPtr<()>,
    /// Bytes of the host after this struct.
    pub(crate) host_size: AtomicUsize,
    name: [AtomicU64; NAME_SIZE / 8],
}

/// A pointer to a live thread state (TS-1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadStateRef(NonNull<ThreadState>);

// SAFETY: TS-1.
unsafe impl Stable for ThreadStateRef {
    type Block = ThreadState;

    #[inline(always)]
    fn as_raw(self) -> *mut ThreadState {
        self.0.as_ptr()
    }

    #[inline(always)]
    unsafe fn from_raw(pointer: *mut ThreadState) -> Option<ThreadStateRef> {
        NonNull::new(pointer).map(ThreadStateRef)
    }
}

impl core::fmt::Pointer for ThreadStateRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Pointer::fmt(&self.0, f)
    }
}

impl Deref for ThreadStateRef {
    type Target = ThreadState;

    #[inline(always)]
    fn deref(&self) -> &ThreadState {
        // SAFETY: TS-1.
        unsafe { self.0.as_ref() }
    }
}

impl ThreadStateRef {
    /// # Safety
    /// `pointer` came from the library and its block is still mapped (TS-1).
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(pointer: *mut PyThreadState) -> Option<ThreadStateRef> {
        NonNull::new(pointer.cast()).map(ThreadStateRef)
    }

    /// # Safety
    /// `pointer` came from the library and its block is still mapped (TS-1).
    #[inline(always)]
    pub(crate) unsafe fn from_raw(pointer: *mut ThreadState) -> Option<ThreadStateRef> {
        NonNull::new(pointer).map(ThreadStateRef)
    }

    /// The state that holds `gil`, or held it last and is not deleted yet. It
    /// stays that while the head lock is held.
    pub(crate) fn holder_of(gil: &Gil) -> Option<ThreadStateRef> {
        // SAFETY: `sched::gil` stores addresses of states there (TS-1).
        unsafe { ThreadStateRef::from_raw(gil.holder.load(Relaxed).cast()) }
    }

    /// The state whose exit event this is.
    ///
    /// # Safety
    /// `event` is the exit event of a state whose block is mapped (TS-1).
    pub(crate) unsafe fn from_exit_event(event: *mut PyEvent) -> ThreadStateRef {
        let block = event
            .cast::<u8>()
            .wrapping_sub(core::mem::offset_of!(ThreadState, event))
            .cast::<ThreadState>();
        // SAFETY: a field's address minus its offset is not NULL.
        ThreadStateRef(unsafe { NonNull::new_unchecked(block) })
    }

    /// The block, which stays mapped (TS-1).
    pub(crate) fn block(self) -> &'static ThreadState {
        // SAFETY: TS-1.
        unsafe { self.0.as_ref() }
    }

    /// The address that C sees.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut PyThreadState {
        self.0.as_ptr().cast()
    }

    /// The address of the whole block.
    #[inline(always)]
    pub(crate) fn as_raw(self) -> *mut ThreadState {
        self.0.as_ptr()
    }

    /// The host's bytes beside the state; NULL when it asked for none.
    pub(crate) fn host_data(self) -> *mut c_void {
        if self.host_size.load(Relaxed) == 0 {
            return core::ptr::null_mut();
        }
        self.as_raw().wrapping_add(1).cast()
    }

    /// Zeroes the block, with `host` bytes after it: a valid value of every
    /// field. Only the caller uses the block, except for a dump from a signal
    /// handler: that walks lists without a lock and may be looking at the
    /// block's last life, so what it reads (all before `tracing`, and the name)
    /// is zeroed atomically.
    pub(crate) fn zero_for_reuse(self, host: usize) {
        const FIRST: usize = offset_of!(ThreadState, tracing);
        const NAME: usize = offset_of!(ThreadState, name);
        const _: () = assert!(FIRST % size_of::<u64>() == 0);
        let words: *mut u64 = self.as_raw().cast();
        for index in 0..FIRST / size_of::<u64>() {
            // SAFETY: the address is inside the block, which is aligned.
            unsafe { AtomicU64::from_ptr(words.wrapping_add(index)) }.store(0, Relaxed);
        }
        let rest: *mut u8 = words.cast::<u8>().wrapping_add(FIRST);
        // SAFETY: the address is inside the block, which only the caller uses.
        unsafe { rest.write_bytes(0, NAME - FIRST) };
        if self.name[0].load(Relaxed) != 0 {
            self.set_name(b"");
        }
        let host_bytes: *mut u8 = self.as_raw().wrapping_add(1).cast();
        // SAFETY: the host's bytes follow the block.
        unsafe { host_bytes.write_bytes(0, host) };
    }

    /// Key on which attachers wait while the state is suspended.
    pub(crate) fn word_key(self) -> *const () {
        core::ptr::from_ref(self.word()).cast()
    }
}

macro_rules! public_field {
    ($($(#[$doc:meta])* $name:ident: $field:ident as $atomic:ty;)*) => {
        $($(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(&self) -> &$atomic {
            // SAFETY: the field is inside a live block (TS-1), aligned, and the
            // library touches it only through this atomic view.
            unsafe { <$atomic>::from_ptr((&raw mut (*self.base.get()).$field).cast()) }
        })*
    };
}

impl ThreadState {
    public_field! {
        /// The state word (`state::word`).
        word: state as AtomicI32;
        /// Pending-event bits.
        eval_breaker: eval_breaker as AtomicUsize;
        whence: _whence as AtomicI32;
        gilstate_counter: gilstate_counter as AtomicI32;
        daemon: is_daemon as AtomicI32;
        holds_gil: holds_gil as AtomicI32;
        gil_requested: gil_requested as AtomicI32;
        id_cell: id as AtomicU64;
        prev: prev as Link<ThreadStateRef>;
        next: next as Link<ThreadStateRef>;
        interp_cell: interp as AtomicPtr<PyInterpreterState>;
        dict: dict as AtomicPtr<PyObject>;
        async_exc: async_exc as AtomicPtr<PyObject>;
        exception_cell: current_exception as AtomicPtr<PyObject>;
        critical_section: critical_section as AtomicUsize;
        thread_id_cell: thread_id as AtomicUsize;
        native_id_cell: native_thread_id as AtomicUsize;
        exit_event_cell: exit_event as AtomicPtr<PyEvent>;
        on_delete_data: on_delete_data as AtomicPtr<c_void>;
        on_delete_cell: on_delete as FunctionCell<unsafe extern "C" fn(*mut c_void)>;
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> u64 {
        self.id_cell().load(Relaxed)
    }

    #[inline(always)]
    pub(crate) fn interp_ptr(&self) -> *mut PyInterpreterState {
        self.interp_cell().load(Relaxed)
    }

    /// Identity of the bound OS thread.
    #[inline(always)]
    pub(crate) fn thread_id(&self) -> c_ulong {
        self.thread_id_cell().load(Relaxed) as c_ulong
    }

    pub(crate) fn native_id(&self) -> c_ulong {
        self.native_id_cell().load(Relaxed) as c_ulong
    }

    pub(crate) fn exception(&self) -> *mut PyObject {
        self.exception_cell().load(Relaxed)
    }

    pub(crate) fn set_exception(&self, exception: *mut PyObject) {
        self.exception_cell().store(exception, Relaxed);
    }

    /// Removes and returns the on_delete hook, so that it runs at most once.
    pub(crate) fn take_on_delete(&self) -> Option<unsafe extern "C" fn(*mut c_void)> {
        self.on_delete_cell().take(Relaxed)
    }

    /// Sets a life bit and returns the bits before.
    pub(crate) fn set_status(&self, bit: u32) -> u32 {
        self.status.fetch_or(bit, Relaxed)
    }

    #[inline(always)]
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.status.load(Relaxed) & bits == bits
    }

    /// Whether the thread is in a blocking region: it will attach the state again.
    pub(crate) fn is_in_region(&self) -> bool {
        self.region.load(Relaxed) != 0
    }

    /// Records which OS thread runs with the state (S-BD-01).
    pub(crate) fn record_thread(&self) {
        self.thread_id_cell().store(crate::os::thread::ident() as usize, Relaxed);
        self.native_id_cell().store(crate::os::thread::native_id() as usize, Relaxed);
    }

    /// Stamps an attach or detach.
    #[inline(always)]
    pub(crate) fn stamp(&self) {
        self.changed.store(clock::coarse_stamp(), Relaxed);
    }

    /// Records the place of the attach or detach that was just stamped.
    pub(crate) fn note_place(&self, place: *mut c_char) {
        self.last_at.store(place, Relaxed);
        self.changed.store(self.changed.load(Relaxed) | PLACE_LEFT, Relaxed);
    }

    /// Whether `last_at` is the place of the last attach or detach, not of an earlier one.
    pub(crate) fn is_place_of_last_change(&self) -> bool {
        self.changed.load(Relaxed) & PLACE_LEFT != 0
    }

    /// The time of the last attach or detach.
    pub(crate) fn changed_ns(&self) -> i64 {
        clock::stamp_ns(self.changed.load(Relaxed) & !PLACE_LEFT)
    }

    pub(crate) fn set_name(&self, name: &[u8]) {
        let mut bytes = [0_u8; NAME_SIZE];
        let length = name.len().min(NAME_SIZE - 1);
        bytes[..length].copy_from_slice(&name[..length]);
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let mut eight = [0_u8; 8];
            eight.copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
    }

    /// A copy of the name, NUL-padded.
    pub(crate) fn name(&self) -> [u8; NAME_SIZE] {
        let mut bytes = [0_u8; NAME_SIZE];
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        bytes
    }
}
