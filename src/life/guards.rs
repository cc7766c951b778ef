//! PEP 788: guards that hold an interpreter open, and views that name one
//! (S-G8). Attaching through them: `life::ensure`.
//!
//! | status  | meaning                                                         | next          |
//! |---------|-----------------------------------------------------------------|---------------|
//! | CLOSED  | a spare block                                                   | OPEN          |
//! | OPEN    | in the list, and counted by its interpreter                     | CLOSED, DROPPED |
//! | DROPPED | its interpreter ended by force, or its opener did not survive a fork: holds nothing | CLOSED |
//!
//! Open guards stand in one list, so that a shutdown that waits can name who
//! took them and where. Lists and status are written under the head lock.
//!
//! G1: blocks are never returned to the system: a dump that walks the list
//! without a lock reads stale values, not unmapped memory, and a guard that is
//! closed twice is found out.
//! LIFE-8: a view leads to the life that it was made in, or nowhere.
//!
//! Mirrors CPython 3.15 `PyInterpreterGuard_*`, `PyInterpreterView_*` (pystate.c).

use crate::life::end_backoff::{self, Admission};
use crate::os::clock;
use crate::os::thread;
use crate::os::{mem, tsan};
use crate::probe::Point;
use crate::probe::text::{LineBuf, write_fd};
use crate::probe::trace::{self, Event, Mark};
use crate::sched::current::{self, current, interp_of};
use crate::sched::fatal::{Name, Text};
use crate::state::guard_count::Close;
use crate::state::interp::{Interp, InterpName};
use crate::state::list;
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{NAME_SIZE, ThreadStateRef};
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use core::ffi::{c_char, c_int, c_ulong};
use core::fmt::Write;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const DROPPED: u32 = 2;

/// A guard: while it is open, its interpreter does not commit its finalization.
/// Opaque.
pub struct PyInterpreterGuard {
    status: AtomicU32,
    interp: AtomicPtr<PyInterpreterState>,
    /// Which of those that the block has been ([`InterpName`]).
    interp_life: AtomicU64,
    interp_id: AtomicI64,
    /// The state that took it, NULL when none was attached; and its id.
    taker: AtomicPtr<PyThreadState>,
    taker_id: AtomicU64,
    /// Life of the block of the taker's interpreter.
    taker_life: AtomicU64,
    thread_id: AtomicUsize,
    native_id: AtomicUsize,
    /// Identity of the thread that attached through it last, 0: nobody yet.
    used_by: AtomicUsize,
    opened_ns: AtomicI64,
    /// "file:line" that the opener left (PyTState_Here), or NULL.
    opened_at: AtomicPtr<c_char>,
    name: [AtomicU64; NAME_SIZE / 8],
    prev: AtomicPtr<PyInterpreterGuard>,
    next: AtomicPtr<PyInterpreterGuard>,
    /// Next spare block.
    spare: AtomicPtr<PyInterpreterGuard>,
}

/// A weak name of an interpreter, through which a guard can be opened while the
/// interpreter is alive. Opaque.
pub struct PyInterpreterView {
    /// `None`: whatever the main interpreter is.
    name: Option<InterpName>,
}

/// A pointer to a guard's block (G1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct InterpGuard(NonNull<PyInterpreterGuard>);

impl Deref for InterpGuard {
    type Target = PyInterpreterGuard;

    fn deref(&self) -> &PyInterpreterGuard {
        // SAFETY: G1.
        unsafe { self.0.as_ref() }
    }
}

impl InterpGuard {
    /// # Safety
    /// `pointer` is NULL or came from the library.
    pub(crate) unsafe fn from_ptr(pointer: *mut PyInterpreterGuard) -> Option<InterpGuard> {
        NonNull::new(pointer).map(InterpGuard)
    }

    pub(crate) fn as_ptr(self) -> *mut PyInterpreterGuard {
        self.0.as_ptr()
    }

    /// The interpreter that the guard was opened on, if it is alive.
    pub(crate) fn interp(self) -> Option<Interp> {
        // SAFETY: interpreter blocks are never unmapped (I1).
        let interp = unsafe { Interp::from_ptr(self.interp.load(Relaxed)) }?;
        InterpName::new(interp, self.interp_life.load(Relaxed)).look_up()
    }

    /// The calling thread attaches through the guard.
    pub(crate) fn note_use(self) {
        self.used_by.store(thread::ident() as usize, Relaxed);
    }

    /// Records who has the guard.
    pub(crate) fn take(self, taker: Option<ThreadStateRef>) {
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

    fn name(self) -> [u8; NAME_SIZE] {
        let mut name = [0; NAME_SIZE];
        for (word, chunk) in self.name.iter().zip(name.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        name
    }
}

fn life_of(tstate: ThreadStateRef) -> u64 {
    InterpName::of(interp_of(tstate)).life()
}

/// Spare blocks (head lock).
static SPARE: AtomicPtr<PyInterpreterGuard> = AtomicPtr::new(ptr::null_mut());

fn first() -> Option<InterpGuard> {
    // SAFETY: the list holds NULL or blocks of guards (G1).
    unsafe { InterpGuard::from_ptr(RUNTIME.open_guards.load(Acquire).cast()) }
}

fn link(guard: InterpGuard, _head: &HeadGuard<'_>) {
    let next = first();
    guard.prev.store(ptr::null_mut(), Relaxed);
    guard.next.store(next.map_or(ptr::null_mut(), InterpGuard::as_ptr), Release);
    if let Some(next) = next {
        next.prev.store(guard.as_ptr(), Relaxed);
    }
    // For the dump, which takes no lock: what is linked is filled.
    RUNTIME.open_guards.store(guard.as_ptr().cast(), Release);
}

fn unlink(guard: InterpGuard, _head: &HeadGuard<'_>) {
    let (prev, next) = (guard.prev.load(Relaxed), guard.next.load(Relaxed));
    // SAFETY: neighbours are NULL or blocks of guards (G1).
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
    // SAFETY: the list holds NULL or blocks of guards (G1).
    let spare = unsafe { InterpGuard::from_ptr(SPARE.load(Relaxed)) }?;
    SPARE.store(spare.spare.load(Relaxed), Relaxed);
    Some(spare)
}

fn put_spare(guard: InterpGuard, _head: &HeadGuard<'_>) {
    guard.status.store(CLOSED, Relaxed);
    guard.spare.store(SPARE.load(Relaxed), Relaxed);
    SPARE.store(guard.as_ptr(), Relaxed);
}

/// Why there is no guard.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardError {
    NoMemory,
    /// The interpreter is unknown, gone, or committed to its end.
    Unavailable,
}

/// Opens a guard on the interpreter of the attached state.
pub(crate) fn open_current(tstate: ThreadStateRef) -> Result<InterpGuard, GuardError> {
    open(|_| Some(interp_of(tstate)))
}

/// Opens a guard on the interpreter that `view` names. Lookup and acquisition
/// are one step with respect to the interpreter's end (S-G8-03).
pub(crate) fn open_view(view: &PyInterpreterView) -> Result<InterpGuard, GuardError> {
    open(|_| match view.name {
        Some(name) => name.look_up(),
        None => RUNTIME.main_interp().filter(|main| main.is_alive()),
    })
}

fn open(find: impl Fn(&HeadGuard<'_>) -> Option<Interp>) -> Result<InterpGuard, GuardError> {
    let head = RUNTIME.lock();
    let mut block = take_spare(&head);
    drop(head);
    if block.is_none() {
        block = mem::alloc_zeroed::<PyInterpreterGuard>().map(InterpGuard);
    }
    let guard = block.ok_or(GuardError::NoMemory)?;
    loop {
        let head = RUNTIME.lock();
        let found = find(&head).map(|interp| (interp, end_backoff::admission(interp, &head)));
        match found {
            Some((interp, Admission::Shut)) => {
                drop(head);
                end_backoff::wait(interp);
            }
            Some((interp, Admission::Open)) if interp.guards.open() => {
                fill(guard, interp);
                link(guard, &head);
                drop(head);
                trace::at(Point::GuardAcquired, Event::At(Mark::GuardOpen), || interp.id());
                return Ok(guard);
            }
            _ => {
                put_spare(guard, &head);
                return Err(GuardError::Unavailable);
            }
        }
    }
}

fn fill(guard: InterpGuard, interp: Interp) {
    // Relaxed, all of it: `link` publishes it.
    guard.interp.store(interp.as_ptr(), Relaxed);
    guard.interp_life.store(InterpName::of(interp).life(), Relaxed);
    guard.interp_id.store(interp.id(), Relaxed);
    guard.take(current());
    guard.thread_id.store(thread::ident() as usize, Relaxed);
    guard.native_id.store(thread::native_id() as usize, Relaxed);
    guard.used_by.store(0, Relaxed);
    guard.opened_ns.store(clock::now_ns(), Relaxed);
    guard.opened_at.store(current::take_source_location(), Relaxed);
    guard.status.store(OPEN, Relaxed);
}

/// Whether the calling thread opened a guard on `interp` that is still open, or
/// was the last to attach through one.
pub(crate) fn holds_one(interp: Interp, _head: &HeadGuard<'_>) -> bool {
    let me = thread::ident() as usize;
    all_open().any(|guard| {
        (guard.thread_id.load(Relaxed) == me || guard.used_by.load(Relaxed) == me)
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

/// Closes a guard; the last one wakes the finalizer. False when it was closed
/// before.
#[must_use]
pub(crate) fn close(guard: InterpGuard) -> bool {
    if let Some(interp) = guard.interp() {
        tsan::release(count_key(interp));
    }
    let head = RUNTIME.lock();
    let status = guard.status.load(Relaxed);
    if status == CLOSED {
        return false;
    }
    let mut closed = Close::Open;
    let interp = guard.interp();
    if let (OPEN, Some(interp)) = (status, interp) {
        unlink(guard, &head);
        closed = interp.guards.close();
    }
    put_spare(guard, &head);
    drop(head);
    if let (Close::Last, Some(interp)) = (closed, interp) {
        lot::unpark_all(count_key(interp));
    }
    trace::at(Point::GuardClosed, Event::At(Mark::GuardClose), || {
        interp.map_or(-1, |interp| interp.id())
    });
    closed != Close::Unbalanced
}

/// Key on which a finalizer waits for the last guard.
pub(crate) fn count_key(interp: Interp) -> *const () {
    ptr::from_ref(&interp.guards.value).cast()
}

/// Drops the open guards for which `gone` holds: they hold nothing from now on,
/// and whoever has one can still close it.
fn drop_where(head: &HeadGuard<'_>, gone: impl Fn(InterpGuard) -> bool) {
    let mut next = first();
    while let Some(guard) = next {
        // SAFETY: the list holds NULL or blocks of guards (G1).
        next = unsafe { InterpGuard::from_ptr(guard.next.load(Acquire)) };
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
    drop_where(head, |guard| ptr::eq(guard.interp.load(Relaxed), interp.as_ptr()));
}

/// Gives back the guards of the calling thread, which never runs again: those
/// that its states own (PyThreadState_EnsureFromView) are closed; those that it
/// opened and was the last to attach through hold nothing from now on. A guard
/// that it opened and another thread may have been handed stays open.
pub(crate) fn give_back_own() {
    while let Some(guard) = take_owned() {
        let open = close(guard);
        debug_assert!(open);
    }
    let me = thread::ident() as usize;
    loop {
        let head = RUNTIME.lock();
        let used = all_open()
            .find(|guard| guard.thread_id.load(Relaxed) == me && guard.used_by.load(Relaxed) == me);
        let Some(guard) = used else { return };
        let interp = guard.interp();
        drop_where(&head, |one| one == guard);
        drop(head);
        if let Some(interp) = interp {
            lot::unpark_all(count_key(interp));
        }
    }
}

/// Takes a guard out of a linked state of the calling thread that owns one.
fn take_owned() -> Option<InterpGuard> {
    let me = thread::ident();
    let head = RUNTIME.lock();
    let found = RUNTIME
        .interps(&head)
        .flat_map(|interp| list::iter(interp, &head))
        .filter(|tstate| tstate.thread_id() == me)
        .map(|tstate| tstate.ensure_guard.swap(ptr::null_mut(), Relaxed))
        .find(|owned| !owned.is_null());
    drop(head);
    // SAFETY: a state's field holds NULL or a guard that it owns (G1).
    unsafe { InterpGuard::from_ptr(found?.cast()) }
}

/// Drops every guard in a fork child whose opener did not survive. Guards that
/// the surviving thread opened stay open.
pub(crate) fn drop_vanished(survivor: c_ulong) {
    let head = RUNTIME.lock();
    drop_where(&head, |guard| guard.thread_id.load(Relaxed) as c_ulong != survivor);
    drop(head);
}

/// The open guards, newest first. Complete under the head lock.
fn all_open() -> impl Iterator<Item = InterpGuard> {
    let mut next = first();
    core::iter::from_fn(move || {
        let guard = next?;
        // SAFETY: the list holds NULL or blocks of guards (G1).
        next = unsafe { InterpGuard::from_ptr(guard.next.load(Acquire)) };
        Some(guard)
    })
}

/// As [`all_open`], bounded: without the lock the list may change below us.
fn open_list() -> impl Iterator<Item = InterpGuard> {
    all_open().take(10_000)
}

/// Number of open guards that `state` took.
pub(crate) fn count_of(tstate: ThreadStateRef, _head: &HeadGuard<'_>) -> c_int {
    count_unlocked(tstate)
}

/// As [`count_of`], for the dump that takes no lock.
pub(crate) fn count_unlocked(tstate: ThreadStateRef) -> c_int {
    // The block of a state is used again, and ids repeat in other interpreters.
    let took = |guard: &InterpGuard| {
        ptr::eq(guard.taker.load(Relaxed), tstate.as_ptr())
            && guard.taker_id.load(Relaxed) == tstate.id()
            && guard.taker_life.load(Relaxed) == life_of(tstate)
    };
    open_list().filter(took).count() as c_int
}

/// Prints the open guards of `interp`: who took them, where. Takes no lock.
pub(crate) fn dump(fd: c_int, interp: Option<Interp>, now: i64) {
    let wanted = |guard: &InterpGuard| {
        interp.is_none_or(|interp| ptr::eq(guard.interp.load(Relaxed), interp.as_ptr()))
    };
    for guard in open_list().filter(wanted) {
        let mut line = LineBuf::<512>::new();
        let id = guard.interp_id.load(Relaxed);
        let _ = write!(line, "guard on interp {id}, open for ");
        crate::life::report::push_seconds(&mut line, now - guard.opened_ns.load(Relaxed));
        let _ = line.write_str(" s, taken by ");
        let name = guard.name();
        if name[0] == 0 {
            let _ = write!(line, "thread 0x{:x}", guard.thread_id.load(Relaxed));
        } else {
            let _ = write!(line, "thread '{}'", Name(&name));
        }
        let _ = write!(line, " (tid {})", guard.native_id.load(Relaxed));
        let place = guard.opened_at.load(Relaxed);
        if !place.is_null() {
            let _ = write!(line, ", at {}", Text(place));
        }
        line.end_line();
        write_fd(fd, line.as_bytes());
    }
}

/// A view of `interp`, or of whatever is the main interpreter when it is used;
/// `None` without memory.
pub(crate) fn view(interp: Option<Interp>) -> Option<NonNull<PyInterpreterView>> {
    let view = mem::alloc_zeroed::<PyInterpreterView>()?;
    // SAFETY: a fresh block.
    unsafe { view.write(PyInterpreterView { name: interp.map(InterpName::of) }) };
    Some(view)
}

/// Frees a view.
///
/// # Safety
/// `view` came from [`view`] and is not used again.
pub(crate) unsafe fn close_view(view: NonNull<PyInterpreterView>) {
    // SAFETY: the caller's contract.
    unsafe { mem::free(view.as_ptr().cast()) };
}
