//! One interpreter: the list of its thread states and what they share.
//!
//! INTERP-1: the block of an ended interpreter goes to a pool and is never returned
//! to the system. A thread that wakes up late, or a host with a stale pointer,
//! reads `alive == 0` there instead of unmapped memory.
//!
//! Field access: lists and counters under the head lock, unless said
//! otherwise. `finalizing` pointers: written by the finalizing thread with the
//! world stopped, read by any thread. `phase`: written by the finalizing thread.
//!
//! Mirrors CPython 3.13 `struct _is` (pycore_interp.h).

use crate::os::mem;
use crate::state::config::{GilKind, PyInterpreterConfig};
use crate::state::gil_word::{DEFAULT_INTERVAL_US, Gil};
use crate::state::guard_count::GuardCount;
use crate::state::link::{Link, Stable};
use crate::state::object::PyObject;
use crate::state::pending_queue::{MAX_INTERPRETER, PendingQueue};
use crate::state::public::PyInterpreterState;
use crate::state::qsbr::Qsbr;
use crate::state::stop_scope::StopScope;
use crate::state::thread::{ThreadState, ThreadStateRef};
use core::ffi::{c_int, c_ulong, c_void};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

/// Shutdown phase: finalization has not begun.
pub const PyTState_PHASE_RUNNING: c_int = 0;
/// Shutdown phase: waiting for non-daemon threads.
pub const PyTState_PHASE_WAITING_THREADS: c_int = 1;
/// Shutdown phase: pending calls and at-exit callbacks run.
pub const PyTState_PHASE_ATEXIT: c_int = 2;
/// Shutdown phase: waiting for open guards.
pub const PyTState_PHASE_WAITING_GUARDS: c_int = 3;
/// Shutdown phase: finalization is committed; no other thread attaches any more.
pub const PyTState_PHASE_FINALIZING: c_int = 4;
/// Shutdown phase: the interpreter is gone.
pub const PyTState_PHASE_GONE: c_int = 5;

/// `whence` of the main interpreter.
pub(crate) const WHENCE_RUNTIME: i64 = 1;

/// Py_GetRecursionLimit() of a new interpreter.
const DEFAULT_RECURSION_LIMIT: i32 = 1000;

/// What the library knows of an interpreter: the block behind a `PyInterpreterState *`.
pub(crate) struct InterpBlock {
    /// 1 between `New` and the end of `Delete` (INTERP-1).
    pub(crate) alive: AtomicU32,
    pub(crate) id: AtomicI64,
    /// How many interpreters the block has been: ids repeat in the runtime's
    /// next life, this does not.
    pub(crate) incarnation: AtomicU64,
    /// Older interpreter, or next in the pool.
    pub(crate) next: Link<Interp>,
    /// Newest thread state.
    pub(crate) threads: Link<ThreadStateRef>,
    /// States that were made while a pause stood, to be linked at its end
    /// (`sched::frozen`), and 1: states of the list are to be unlinked then.
    pub(crate) joining: Link<ThreadStateRef>,
    pub(crate) leaving: AtomicU32,
    /// Last id given to a thread state.
    pub(crate) last_thread_id: AtomicU64,
    /// The first state of the interpreter, NULL once that is deleted.
    pub(crate) first_state: AtomicPtr<ThreadState>,
    /// Number of states in the list.
    pub(crate) thread_count: AtomicUsize,
    /// The GIL that its states take, NULL without one. Constant while the interpreter is alive.
    pub(crate) gil: Link<&'static Gil>,
    pub(crate) own_gil: Gil,
    /// Feature bits (Py_RTFLAGS_*).
    pub(crate) features: AtomicU64,
    /// Py_EndInterpreter or Py_FinalizeEx has begun (S-FZ-07).
    pub(crate) ending: AtomicI32,
    /// Identity of the OS thread that ends the interpreter, 0 before that.
    pub(crate) ender: AtomicUsize,
    /// The state that committed finalization, or NULL. Once it is set, other threads are refused.
    pub(crate) finalizing: AtomicPtr<ThreadState>,
    pub(crate) finalizing_thread: AtomicUsize,
    pub(crate) phase: AtomicI32,
    /// Grows when a state is deleted while a thread waits for that.
    pub(crate) departures: AtomicU32,
    pub(crate) departure_waiters: AtomicU32,
    pub(crate) guards: GuardCount,
    pub(crate) pending: PendingQueue,
    /// PyUnstable_AtExit callbacks, newest first.
    pub(crate) at_exit: AtomicPtr<c_void>,
    /// PyTState_AtShutdown callbacks, newest first.
    pub(crate) at_shutdown: AtomicPtr<c_void>,
    pub(crate) dict: AtomicPtr<PyObject>,
    pub(crate) stack_size: AtomicUsize,
    pub(crate) recursion_limit: AtomicI32,
    pub(crate) stop: StopScope,
    /// The state registered as running __main__, or NULL.
    pub(crate) running_main: AtomicPtr<ThreadState>,
    pub(crate) id_refs: AtomicI64,
    pub(crate) requires_id_ref: AtomicI32,
    pub(crate) whence: AtomicI64,
    /// 1 once PyInterpreterState_Clear has cleared the interpreter.
    pub(crate) cleared: AtomicI32,
    pub(crate) qsbr: Qsbr,
    /// Blocks that are freed later, oldest first, and the last of them.
    pub(crate) deferred: AtomicPtr<c_void>,
    pub(crate) deferred_last: AtomicPtr<c_void>,
    /// The host's bytes, NULL if it wants none, and 1 once the host has made
    /// what is in them (`life::host_data`).
    pub(crate) host_data: AtomicPtr<c_void>,
    pub(crate) constructed: AtomicU32,
}

/// A pointer to an interpreter block (INTERP-1: never unmapped).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interp(NonNull<InterpBlock>);

impl Deref for Interp {
    type Target = InterpBlock;

    #[inline(always)]
    fn deref(&self) -> &InterpBlock {
        // SAFETY: INTERP-1.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: INTERP-1.
unsafe impl Stable for Interp {
    type Block = InterpBlock;

    #[inline(always)]
    fn as_raw(self) -> *mut InterpBlock {
        self.0.as_ptr()
    }

    #[inline(always)]
    unsafe fn from_raw(pointer: *mut InterpBlock) -> Option<Interp> {
        NonNull::new(pointer).map(Interp)
    }
}

impl Interp {
    /// A fresh block that is no interpreter yet; `None` without memory.
    pub(crate) fn allocate() -> Option<Interp> {
        let block = NonNull::new(mem::calloc(size_of::<InterpBlock>()).cast::<InterpBlock>())?;
        // SAFETY: a fresh block of the right size.
        unsafe { block.write(InterpBlock::new()) };
        Some(Interp(block))
    }

    /// # Safety
    /// `pointer` is NULL or came from the library.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(pointer: *mut PyInterpreterState) -> Option<Interp> {
        NonNull::new(pointer.cast()).map(Interp)
    }

    /// The interpreter of a state; `None` for a block that is no state.
    #[inline(always)]
    pub(crate) fn of(tstate: ThreadStateRef) -> Option<Interp> {
        // SAFETY: `_ts.interp` is NULL or an interpreter; INTERP-1.
        unsafe { Interp::from_ptr(tstate.interp_ptr()) }
    }

    /// The block, which is never unmapped.
    pub(crate) fn block(self) -> &'static InterpBlock {
        // SAFETY: INTERP-1.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut PyInterpreterState {
        self.0.as_ptr().cast()
    }
}

/// The name of an interpreter for users that may outlive it. An address or an id
/// alone is no name: blocks are used again, ids begin at 0 in each life of the
/// runtime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct InterpName {
    interp: Interp,
    life: u64,
}

impl InterpName {
    /// The name of what the block is now.
    pub(crate) fn of(interp: Interp) -> InterpName {
        InterpName { interp, life: interp.incarnation.load(Relaxed) }
    }

    /// The name that [`InterpName::of`] gave in the life `life`.
    pub(crate) fn new(interp: Interp, life: u64) -> InterpName {
        InterpName { interp, life }
    }

    /// The interpreter, while it is alive. It stays that under the head lock.
    pub(crate) fn look_up(self) -> Option<Interp> {
        let same = self.interp.is_alive() && self.interp.incarnation.load(Relaxed) == self.life;
        same.then_some(self.interp)
    }

    /// How many interpreters the block had been.
    pub(crate) fn life(self) -> u64 {
        self.life
    }
}

impl InterpBlock {
    /// An interpreter block that is not in use.
    pub(crate) const fn new() -> InterpBlock {
        InterpBlock {
            alive: AtomicU32::new(0),
            id: AtomicI64::new(-1),
            incarnation: AtomicU64::new(0),
            next: Link::new(),
            threads: Link::new(),
            joining: Link::new(),
            leaving: AtomicU32::new(0),
            last_thread_id: AtomicU64::new(0),
            first_state: AtomicPtr::new(core::ptr::null_mut()),
            thread_count: AtomicUsize::new(0),
            gil: Link::new(),
            own_gil: Gil::new(),
            features: AtomicU64::new(0),
            ending: AtomicI32::new(0),
            ender: AtomicUsize::new(0),
            finalizing: AtomicPtr::new(core::ptr::null_mut()),
            finalizing_thread: AtomicUsize::new(0),
            phase: AtomicI32::new(PyTState_PHASE_RUNNING),
            departures: AtomicU32::new(0),
            departure_waiters: AtomicU32::new(0),
            guards: GuardCount::new(),
            pending: PendingQueue::new(MAX_INTERPRETER),
            at_exit: AtomicPtr::new(core::ptr::null_mut()),
            at_shutdown: AtomicPtr::new(core::ptr::null_mut()),
            dict: AtomicPtr::new(core::ptr::null_mut()),
            stack_size: AtomicUsize::new(0),
            recursion_limit: AtomicI32::new(DEFAULT_RECURSION_LIMIT),
            stop: StopScope::new(),
            running_main: AtomicPtr::new(core::ptr::null_mut()),
            id_refs: AtomicI64::new(0),
            requires_id_ref: AtomicI32::new(0),
            whence: AtomicI64::new(-1),
            cleared: AtomicI32::new(0),
            qsbr: Qsbr::new(),
            deferred: AtomicPtr::new(core::ptr::null_mut()),
            deferred_last: AtomicPtr::new(core::ptr::null_mut()),
            host_data: AtomicPtr::new(core::ptr::null_mut()),
            constructed: AtomicU32::new(0),
        }
    }

    /// Makes a fresh or pooled block the interpreter `id`. The GIL's lock word
    /// is left alone: a late waiter of the previous life may still look at it.
    /// Its interval is the default again, as a new GIL's is (S-GIL-14).
    pub(crate) fn begin_life(&self, id: i64) {
        self.id.store(id, Relaxed);
        self.incarnation.store(self.incarnation.load(Relaxed) + 1, Relaxed);
        self.threads.store(None, Relaxed);
        self.joining.store(None, Relaxed);
        self.leaving.store(0, Relaxed);
        self.last_thread_id.store(0, Relaxed);
        self.first_state.store(core::ptr::null_mut(), Relaxed);
        self.thread_count.store(0, Relaxed);
        self.own_gil.interval_us.store(DEFAULT_INTERVAL_US, Relaxed);
        self.features.store(0, Relaxed);
        self.ending.store(0, Relaxed);
        self.ender.store(0, Relaxed);
        self.finalizing.store(core::ptr::null_mut(), Relaxed);
        self.finalizing_thread.store(0, Relaxed);
        self.phase.store(PyTState_PHASE_RUNNING, Relaxed);
        self.guards.reset();
        self.pending.forget();
        self.at_exit.store(core::ptr::null_mut(), Relaxed);
        self.at_shutdown.store(core::ptr::null_mut(), Relaxed);
        self.dict.store(core::ptr::null_mut(), Relaxed);
        self.stack_size.store(0, Relaxed);
        self.recursion_limit.store(DEFAULT_RECURSION_LIMIT, Relaxed);
        self.running_main.store(core::ptr::null_mut(), Relaxed);
        self.id_refs.store(0, Relaxed);
        self.requires_id_ref.store(0, Relaxed);
        self.whence.store(0, Relaxed);
        self.cleared.store(0, Relaxed);
        self.qsbr.reset();
        self.deferred.store(core::ptr::null_mut(), Relaxed);
        self.deferred_last.store(core::ptr::null_mut(), Relaxed);
        self.alive.store(1, Ordering::Release);
    }

    pub(crate) fn id(&self) -> i64 {
        self.id.load(Relaxed)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire) == 1
    }

    pub(crate) fn has_feature(&self, bits: u64) -> bool {
        self.features.load(Relaxed) & bits == bits
    }

    /// Whether finalization was committed (new threads are refused from then on).
    pub(crate) fn committed(&self) -> bool {
        !self.finalizing.load(Ordering::Acquire).is_null()
    }

    /// Records that `state` committed finalization (S-FZ-03).
    pub(crate) fn commit(&self, tstate: *mut ThreadState) {
        self.finalizing_thread.store(crate::os::thread::ident() as usize, Relaxed);
        self.finalizing.store(tstate, Ordering::Release);
    }

    pub(crate) fn finalizing_thread(&self) -> c_ulong {
        self.finalizing_thread.load(Relaxed) as c_ulong
    }

    /// Applies a validated configuration. `main_gil` is the GIL to share.
    pub(crate) fn configure(
        &'static self,
        config: &PyInterpreterConfig,
        kind: GilKind,
        main_gil: Option<&'static Gil>,
    ) {
        self.features.store(config.features(), Relaxed);
        let gil = match kind {
            GilKind::Shared => main_gil,
            GilKind::Own => Some(&self.own_gil),
            GilKind::Without => None,
        };
        self.gil.store(gil, Relaxed);
    }
}
