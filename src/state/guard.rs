//! Interpreter guards (PEP 788): the blocks, and the list of the open ones.
//! Opening and closing is `life::guards`.
//!
//! | status  | meaning                                          | next            |
//! |---------|--------------------------------------------------|-----------------|
//! | CLOSED  | a spare block                                    | OPEN            |
//! | OPEN    | in the list, and counted by its interpreter      | CLOSED, DROPPED |
//! | DROPPED | protects nothing any more: its interpreter was deleted by force, or its opener did not survive a fork | CLOSED |
//!
//! Open guards stand in one list, so that a finalization that waits can name
//! the threads that opened them, and where. List and status are written under
//! the head lock.
//!
//! GUARD-1: the blocks are never returned to the system. A dump that walks the list
//! without the lock therefore reads stale values and not unmapped memory, and
//! a second close of the same guard is detected.

use crate::os::{clock, mem, thread};
use crate::state::interp::{Interp, InterpName};
use crate::state::list;
use crate::state::public::{PyInterpreterState, PyThreadState};
use crate::state::runtime::RUNTIME;
use crate::state::thread::{NAME_SIZE, ThreadStateRef};
use crate::sync::head::HeadGuard;
use core::ffi::{c_char, c_int};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// Values of `status`.
const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const DROPPED: u32 = 2;

/// A guard: while it is open, its interpreter does not commit its finalization.
/// Opaque.
pub struct PyInterpreterGuard {
    status: AtomicU32,
    interp: AtomicPtr<PyInterpreterState>,
    /// The life of the interpreter's block in which the guard was opened ([`InterpName`]).
    interp_life: AtomicU64,
    pub(crate) interp_id: AtomicI64,
    /// The state that was attached when the guard was opened (NULL if none was), and its id.
    taker: AtomicPtr<PyThreadState>,
    taker_id: AtomicU64,
    /// The life of the block of that state's interpreter.
    taker_life: AtomicU64,
    /// Identity and kernel id of the thread that opened it, for reports.
    pub(crate) thread_id: AtomicUsize,
    pub(crate) native_id: AtomicUsize,
    /// Serial number of that thread, which no later thread gets.
    opened_by: AtomicUsize,
    /// Serial number of the thread that last attached through it; 0 before the first.
    used_by: AtomicUsize,
    pub(crate) opened_ns: AtomicI64,
    /// "file:line" that the opener left (PyTState_Here), or NULL.
    pub(crate) opened_at: AtomicPtr<c_char>,
    name: [AtomicU64; NAME_SIZE / 8],
    prev: AtomicPtr<PyInterpreterGuard>,
    next: AtomicPtr<PyInterpreterGuard>,
    /// Next spare block.
    spare: AtomicPtr<PyInterpreterGuard>,
}

/// A pointer to a guard's block (GUARD-1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct InterpGuard(NonNull<PyInterpreterGuard>);

impl Deref for InterpGuard {
    type Target = PyInterpreterGuard;

    fn deref(&self) -> &PyInterpreterGuard {
        // SAFETY: GUARD-1.
        unsafe { self.0.as_ref() }
    }
}

/// What closing a guard found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The guard protected an interpreter until now.
    Closed,
    /// The guard had been dropped, and protected nothing.
    Dropped,
    /// The guard was closed before.
    ClosedBefore,
}

impl InterpGuard {
    /// # Safety
    /// `pointer` is NULL or came from the library.
    pub(crate) unsafe fn from_ptr(pointer: *mut PyInterpreterGuard) -> Option<InterpGuard> {
        NonNull::new(pointer).map(InterpGuard)
    }

    /// A block that belongs to no guard; `None` without memory.
    pub(crate) fn new_block() -> Option<InterpGuard> {
        let head = RUNTIME.lock();
        let spare = take_spare(&head);
        drop(head);
        spare.or_else(|| mem::alloc_zeroed::<PyInterpreterGuard>().map(InterpGuard))
    }

    /// Keeps a block that belongs to no guard for the next one.
    pub(crate) fn put_back(self, head: &HeadGuard<'_>) {
        put_spare(self, head);
    }

    pub(crate) fn as_ptr(self) -> *mut PyInterpreterGuard {
        self.0.as_ptr()
    }

    /// The interpreter that the guard was opened on, if it is alive.
    pub(crate) fn interp(self) -> Option<Interp> {
        // SAFETY: interpreter blocks are never unmapped (INTERP-1).
        let interp = unsafe { Interp::from_ptr(self.interp.load(Relaxed)) }?;
        InterpName::new(interp, self.interp_life.load(Relaxed)).look_up()
    }

    /// Whether the guard was opened on `interp`, in any life of its block.
    pub(crate) fn names(self, interp: Interp) -> bool {
        ptr::eq(self.interp.load(Relaxed), interp.as_ptr())
    }

    /// Records that the calling thread attaches through the guard.
    pub(crate) fn note_use(self) {
        self.used_by.store(thread::serial(), Relaxed);
    }

    /// Makes an open guard of the block: `interp` counts one already.
    pub(crate) fn open(
        self,
        interp: Interp,
        taker: Option<ThreadStateRef>,
        opened_at: *mut c_char,
        head: &HeadGuard<'_>,
    ) {
        // All stores are Relaxed: `link` publishes them.
        self.interp.store(interp.as_ptr(), Relaxed);
        self.interp_life.store(InterpName::of(interp).life(), Relaxed);
        self.interp_id.store(interp.id(), Relaxed);
        self.record_taker(taker);
        self.thread_id.store(thread::ident() as usize, Relaxed);
        self.native_id.store(thread::native_id() as usize, Relaxed);
        self.opened_by.store(thread::serial(), Relaxed);
        self.used_by.store(0, Relaxed);
        self.opened_ns.store(clock::now_ns(), Relaxed);
        self.opened_at.store(opened_at, Relaxed);
        self.status.store(OPEN, Relaxed);
        link(self, head);
    }

    /// Takes the guard out of the list and keeps its block. The caller has to
    /// count it out of its interpreter if it was `Closed`.
    pub(crate) fn close(self, head: &HeadGuard<'_>) -> Closing {
        let outcome = match self.status.load(Relaxed) {
            CLOSED => return Closing::ClosedBefore,
            OPEN if self.interp().is_some() => {
                unlink(self, head);
                Closing::Closed
            }
            _ => Closing::Dropped,
        };
        put_spare(self, head);
        outcome
    }

    /// Records the state that the guard is accounted to.
    pub(crate) fn record_taker(self, taker: Option<ThreadStateRef>) {
        self.taker.store(taker.map_or(ptr::null_mut(), ThreadStateRef::as_ptr), Relaxed);
        self.taker_id.store(taker.map_or(0, |tstate| tstate.id()), Relaxed);
        self.taker_life.store(taker.map_or(0, life_of), Relaxed);
        let name = taker.map_or([0; NAME_SIZE], |tstate| tstate.name());
        for (word, chunk) in self.name.iter().zip(name.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
    }

    /// Name of the state that the guard is accounted to.
    pub(crate) fn name(self) -> [u8; NAME_SIZE] {
        let mut name = [0; NAME_SIZE];
        for (word, chunk) in self.name.iter().zip(name.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        name
    }

    fn is_accounted_to(self, tstate: ThreadStateRef) -> bool {
        // The block of a state is used again, and ids repeat in other interpreters.
        ptr::eq(self.taker.load(Relaxed), tstate.as_ptr())
            && self.taker_id.load(Relaxed) == tstate.id()
            && self.taker_life.load(Relaxed) == life_of(tstate)
    }
}

fn life_of(tstate: ThreadStateRef) -> u64 {
    // SAFETY: interpreter blocks are never unmapped (INTERP-1).
    let interp = unsafe { Interp::from_ptr(tstate.interp_ptr()) };
    interp.map_or(0, |interp| InterpName::of(interp).life())
}

/// The spare blocks, under the head lock.
static SPARE: AtomicPtr<PyInterpreterGuard> = AtomicPtr::new(ptr::null_mut());

fn first() -> Option<InterpGuard> {
    // SAFETY: the list holds NULL or blocks of guards (GUARD-1).
    unsafe { InterpGuard::from_ptr(RUNTIME.open_guards.load(Acquire).cast()) }
}

fn link(guard: InterpGuard, _head: &HeadGuard<'_>) {
    let next = first();
    guard.prev.store(ptr::null_mut(), Relaxed);
    guard.next.store(next.map_or(ptr::null_mut(), InterpGuard::as_ptr), Release);
    if let Some(next) = next {
        next.prev.store(guard.as_ptr(), Relaxed);
    }
    // Release: the dump takes no lock, and must find every linked guard filled.
    RUNTIME.open_guards.store(guard.as_ptr().cast(), Release);
}

fn unlink(guard: InterpGuard, _head: &HeadGuard<'_>) {
    let (prev, next) = (guard.prev.load(Relaxed), guard.next.load(Relaxed));
    // SAFETY: neighbours are NULL or blocks of guards (GUARD-1).
    match unsafe { InterpGuard::from_ptr(prev) } {
        Some(prev) => prev.next.store(next, Release),
        None => RUNTIME.open_guards.store(next.cast(), Release),
    }
    // SAFETY: as above.
    if let Some(next) = unsafe { InterpGuard::from_ptr(next) } {
        next.prev.store(prev, Relaxed);
    }
}

fn take_spare(_head: &HeadGuard<'_>) -> Option<InterpGuard> {
    // SAFETY: the list holds NULL or blocks of guards (GUARD-1).
    let spare = unsafe { InterpGuard::from_ptr(SPARE.load(Relaxed)) }?;
    SPARE.store(spare.spare.load(Relaxed), Relaxed);
    Some(spare)
}

fn put_spare(guard: InterpGuard, _head: &HeadGuard<'_>) {
    guard.status.store(CLOSED, Relaxed);
    guard.spare.store(SPARE.load(Relaxed), Relaxed);
    SPARE.store(guard.as_ptr(), Relaxed);
}

/// The open guards, newest first. Complete under the head lock.
fn all_open() -> impl Iterator<Item = InterpGuard> {
    let mut next = first();
    core::iter::from_fn(move || {
        let guard = next?;
        // SAFETY: the list holds NULL or blocks of guards (GUARD-1).
        next = unsafe { InterpGuard::from_ptr(guard.next.load(Acquire)) };
        Some(guard)
    })
}

/// The open guards, for a dump that takes no lock. Bounded, because the list may
/// change during the walk.
pub(crate) fn open_unlocked() -> impl Iterator<Item = InterpGuard> {
    all_open().take(10_000)
}

/// Whether the calling thread opened a guard on `interp` that is still open, or
/// was the last to attach through one.
pub(crate) fn holds_one(interp: Interp, _head: &HeadGuard<'_>) -> bool {
    let me = thread::serial();
    all_open().any(|guard| {
        (guard.opened_by.load(Relaxed) == me || guard.used_by.load(Relaxed) == me)
            && guard.interp() == Some(interp)
    })
}

/// When the oldest of the guards was opened that are open on `interp`.
pub(crate) fn oldest_of(interp: Interp) -> Option<i64> {
    let head = RUNTIME.lock();
    let of_interp = all_open().filter(|guard| guard.interp() == Some(interp));
    let oldest = of_interp.map(|guard| guard.opened_ns.load(Relaxed)).min();
    drop(head);
    oldest
}

/// Number of open guards that are accounted to `tstate`.
pub(crate) fn count_of(tstate: ThreadStateRef, _head: &HeadGuard<'_>) -> c_int {
    count_unlocked(tstate)
}

/// [`count_of`], for a dump that takes no lock.
pub(crate) fn count_unlocked(tstate: ThreadStateRef) -> c_int {
    open_unlocked().filter(|guard| guard.is_accounted_to(tstate)).count() as c_int
}

/// Drops the open guards for which `gone` holds: they protect nothing from now
/// on, and can still be closed.
fn drop_where(head: &HeadGuard<'_>, gone: impl Fn(InterpGuard) -> bool) {
    // The iterator has read the next guard before this one is unlinked.
    for guard in all_open() {
        if gone(guard) {
            unlink(guard, head);
            guard.status.store(DROPPED, Relaxed);
            if let Some(interp) = guard.interp() {
                let _ = interp.guards.close();
            }
        }
    }
}

/// Drops the guards of an interpreter that is deleted by force (S-G8-07).
pub(crate) fn drop_all_of(interp: Interp, head: &HeadGuard<'_>) {
    drop_where(head, |guard| guard.names(interp));
}

/// Drops every guard in a fork child whose opener did not survive. Guards that
/// the surviving thread opened stay open.
pub(crate) fn drop_vanished() {
    let survivor = thread::serial();
    let head = RUNTIME.lock();
    drop_where(&head, |guard| guard.opened_by.load(Relaxed) != survivor);
    drop(head);
}

/// Drops one guard that the calling thread opened and was the last to attach
/// through, and returns its interpreter if that is alive. `None`: there is no
/// such guard.
pub(crate) fn drop_one_used_by_caller() -> Option<Option<Interp>> {
    let me = thread::serial();
    let head = RUNTIME.lock();
    let used = all_open()
        .find(|guard| guard.opened_by.load(Relaxed) == me && guard.used_by.load(Relaxed) == me)?;
    let interp = used.interp();
    drop_where(&head, |guard| guard == used);
    drop(head);
    Some(interp)
}

/// Takes a guard out of a linked state of the calling thread that owns one.
pub(crate) fn take_owned() -> Option<InterpGuard> {
    let me = thread::ident();
    let head = RUNTIME.lock();
    let found = RUNTIME
        .interps(&head)
        .flat_map(|interp| list::iter(interp, &head))
        .filter(|tstate| tstate.thread_id() == me)
        .map(|tstate| tstate.ensure_guard.swap(ptr::null_mut(), Relaxed))
        .find(|owned| !owned.is_null());
    drop(head);
    // SAFETY: a state's field holds NULL or a guard that it owns (GUARD-1).
    unsafe { InterpGuard::from_ptr(found?.cast()) }
}
