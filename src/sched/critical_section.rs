//! Critical sections: locks that are let go whenever their thread detaches (S-CS).
//!
//! A state's sections form a stack of records on the C stack, linked through
//! tagged pointers: `state.critical_section` is the top, `_cs_prev` what is
//! below. Only the owner of the state touches its stack.
//!
//! | tag of a record | its mutexes |
//! |---|---|
//! | neither bit | held, or none yet (`_cs_mutex` NULL: its Begin or resume waits) |
//! | INACTIVE | not held; taken again when the record is on top and attached |
//! | TWO_MUTEXES | the record is a [`PyCriticalSection2`] |
//!
//! - C1 While attached, the record on top is active; below it inactive ones
//!   may follow, and under an inactive one all are inactive.
//! - C2 A record whose `_cs_mutex` is NULL after its Begin is in no stack: its
//!   End does nothing. So are all records begun under a GIL, where the GIL is
//!   the lock.
//! - C3 A wait for a mutex detaches, and so gives up every section of the
//!   stack: no thread waits for one section while it holds another, except for
//!   the first of two mutexes, which has the lower address (S-CS-06).
//!
//! Mirrors CPython 3.14 Python/critical_section.c.

use crate::control::window;
use crate::probe::Point;
use crate::sched::blocking::Detach;
use crate::sched::current::interp_of;
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::sync::mutex::{NotLocked, PyMutex};
use crate::sync::owed;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// Tag of a record: its mutexes are not held.
pub const _Py_CRITICAL_SECTION_INACTIVE: usize = 1;
/// Tag of a record: it is a PyCriticalSection2.
pub const _Py_CRITICAL_SECTION_TWO_MUTEXES: usize = 2;
/// All tags.
pub const _Py_CRITICAL_SECTION_MASK: usize = 3;

/// A critical section of one mutex. Lives on the stack of its thread; its
/// members belong to the library.
#[repr(C)]
pub struct PyCriticalSection {
    /// The record below, tagged.
    pub(crate) _cs_prev: AtomicUsize,
    /// The mutex, or NULL: the section locks nothing.
    pub(crate) _cs_mutex: AtomicPtr<PyMutex>,
}

/// A critical section of two mutexes.
#[repr(C)]
pub struct PyCriticalSection2 {
    /// The record, with the mutex of the lower address.
    pub(crate) _cs_base: PyCriticalSection,
    /// The other mutex, or NULL.
    pub(crate) _cs_mutex2: AtomicPtr<PyMutex>,
}

// Tags need two bits (S-CS-10).
const _: () = assert!(align_of::<PyCriticalSection>() >= 4);

impl PyCriticalSection {
    /// Makes it a section that locks nothing (C2).
    pub(crate) fn make_empty(&self) {
        self._cs_prev.store(0, Relaxed);
        self._cs_mutex.store(core::ptr::null_mut(), Relaxed);
    }

    /// Whether its End does nothing (C2).
    pub(crate) fn is_empty(&self) -> bool {
        self._cs_mutex.load(Relaxed).is_null()
    }

    fn tag(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Puts it on top with no mutex: what is below can be suspended now.
    fn push(&self, state: Ts, tag: usize) {
        self._cs_mutex.store(core::ptr::null_mut(), Relaxed);
        self._cs_prev.store(state.critical_section().load(Relaxed), Relaxed);
        state.critical_section().store(tag, Relaxed);
    }
}

impl PyCriticalSection2 {
    /// Makes it a section that locks nothing (C2).
    pub(crate) fn make_empty(&self) {
        self._cs_base.make_empty();
        self._cs_mutex2.store(core::ptr::null_mut(), Relaxed);
    }

    fn tag(&self) -> usize {
        self._cs_base.tag() | _Py_CRITICAL_SECTION_TWO_MUTEXES
    }
}

/// Whether sections of `state` lock anything: its interpreter has no GIL.
#[inline(always)]
pub(crate) fn is_real(state: Ts) -> bool {
    state.gil.load(Relaxed).is_null()
}

/// The record on top of the stack of `state`, whatever its tag.
fn top<'a>(tag: usize) -> Option<&'a PyCriticalSection> {
    let record =
        core::ptr::with_exposed_provenance::<PyCriticalSection>(tag & !_Py_CRITICAL_SECTION_MASK);
    // SAFETY: records in a stack live until their End, by the contract of Begin.
    unsafe { record.as_ref() }
}

/// The same record with both its mutexes, if it has two.
fn second(record: &PyCriticalSection, tag: usize) -> Option<&PyCriticalSection2> {
    let two = tag & _Py_CRITICAL_SECTION_TWO_MUTEXES != 0;
    // SAFETY: the tag says that the record is the base of a PyCriticalSection2.
    two.then(|| unsafe { &*core::ptr::from_ref(record).cast() })
}

/// A mutex that a record names.
fn mutex<'a>(cell: &AtomicPtr<PyMutex>) -> Option<&'a PyMutex> {
    // SAFETY: it outlives its section, by the contract of Begin.
    unsafe { cell.load(Relaxed).as_ref() }
}

fn lock(mutex: &PyMutex) {
    mutex.lock(&mut Detach::at(Point::MutexWait));
}

/// Locks `mutex` while the record names no mutex: `held` is not given up by the
/// detach of that wait, but it is if the thread never comes back.
fn lock_holding(mutex: &PyMutex, held: Option<&PyMutex>) {
    if mutex.try_lock() {
        return;
    }
    match held {
        Some(held) => owed::or_give_back(|| unlock(held), || lock(mutex)),
        None => lock(mutex),
    }
}

/// Locks `mutex` until the End of `record`. One read-modify-write if it is free.
#[inline]
pub(crate) fn begin(state: Ts, record: &PyCriticalSection, mutex: &PyMutex) {
    if mutex.try_lock() {
        record.push(state, record.tag());
        record._cs_mutex.store(core::ptr::from_ref(mutex).cast_mut(), Relaxed);
    } else {
        begin_slow(state, record, mutex);
    }
}

#[cold]
fn begin_slow(state: Ts, record: &PyCriticalSection, mutex: &PyMutex) {
    if held_by_top(state, mutex) || world_stopped(state) {
        record.make_empty();
        return;
    }
    window!("critical_section.begin");
    record.push(state, record.tag());
    lock(mutex);
    window!("critical_section.locked");
    record._cs_mutex.store(core::ptr::from_ref(mutex).cast_mut(), Relaxed);
}

/// Locks both until the End of `record`; they differ. Two read-modify-writes
/// if both are free.
pub(crate) fn begin2(state: Ts, record: &PyCriticalSection2, a: &PyMutex, b: &PyMutex) {
    let (first, other) = if core::ptr::from_ref(a) < b { (a, b) } else { (b, a) };
    let first_taken = first.try_lock();
    if !(first_taken && other.try_lock()) {
        // The top holding just these two is recursion (S-CS-08). Nobody else
        // holds the first one then, so it was not taken above.
        let skip = !first_taken && top_is_pair(state, first, other);
        if skip || world_stopped(state) {
            if first_taken {
                let _ = first.unlock();
            }
            record.make_empty();
            return;
        }
        record._cs_mutex2.store(core::ptr::null_mut(), Relaxed);
        record._cs_base.push(state, record.tag());
        if !first_taken {
            lock(first);
        }
        lock_holding(other, Some(first));
    } else {
        record._cs_base.push(state, record.tag());
    }
    record._cs_base._cs_mutex.store(core::ptr::from_ref(first).cast_mut(), Relaxed);
    record._cs_mutex2.store(core::ptr::from_ref(other).cast_mut(), Relaxed);
}

/// A Begin of two equal mutexes: a section of one (S-CS-06).
pub(crate) fn begin2_equal(state: Ts, record: &PyCriticalSection2, mutex: &PyMutex) {
    record._cs_mutex2.store(core::ptr::null_mut(), Relaxed);
    begin(state, &record._cs_base, mutex);
}

/// Whether the record on top holds `mutex` (S-CS-08).
fn held_by_top(state: Ts, mutex: &PyMutex) -> bool {
    let tag = state.critical_section().load(Relaxed);
    let Some(record) = top(tag) else { return false };
    let is_it = |cell: &AtomicPtr<PyMutex>| core::ptr::eq(cell.load(Relaxed), mutex);
    is_it(&record._cs_mutex) || second(record, tag).is_some_and(|two| is_it(&two._cs_mutex2))
}

/// Whether the record on top holds just these two, in this order.
fn top_is_pair(state: Ts, first: &PyMutex, other: &PyMutex) -> bool {
    let tag = state.critical_section().load(Relaxed);
    let two = top(tag).and_then(|record| second(record, tag));
    two.is_some_and(|two| {
        core::ptr::eq(two._cs_base._cs_mutex.load(Relaxed), first)
            && core::ptr::eq(two._cs_mutex2.load(Relaxed), other)
    })
}

/// Whether the thread of `state` has stopped every other thread of its
/// interpreter: a thread that holds the mutex cannot release it then (S-CS-09).
fn world_stopped(state: Ts) -> bool {
    RUNTIME.stop.is_stopped_by(state) || interp_of(state).stop.is_stopped_by(state)
}

/// Why a section was not ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndError {
    /// It is not the section that `state` began last.
    NotOnTop,
    /// Its mutex is not locked: somebody unlocked it.
    NotLocked,
}

impl From<NotLocked> for EndError {
    fn from(_: NotLocked) -> EndError {
        EndError::NotLocked
    }
}

/// Whether `record` is the section that `state` began last.
pub(crate) fn is_on_top(state: Ts, record: &PyCriticalSection) -> bool {
    let tag = state.critical_section().load(Relaxed);
    tag & !_Py_CRITICAL_SECTION_MASK == record.tag()
}

/// Ends the section that `state` began last; the one below is locked again if
/// a wait or a detach gave it up (S-CS-07). `record` is not empty.
pub(crate) fn end(state: Ts, record: &PyCriticalSection) -> Result<(), EndError> {
    if !is_on_top(state, record) {
        return Err(EndError::NotOnTop);
    }
    let tag = state.critical_section().load(Relaxed);
    // The second one first (S-CS-06).
    if let Some(mutex) = second(record, tag).and_then(|two| mutex(&two._cs_mutex2)) {
        mutex.unlock()?;
    }
    if let Some(mutex) = mutex(&record._cs_mutex) {
        mutex.unlock()?;
    }
    let below = record._cs_prev.load(Relaxed);
    state.critical_section().store(below, Relaxed);
    if below & _Py_CRITICAL_SECTION_INACTIVE != 0 {
        resume(state);
    }
    Ok(())
}

/// Unlocks every active section of `state`, which is about to detach (S-CS-03).
pub(crate) fn suspend_all(state: Ts) {
    let mut link: &AtomicUsize = state.critical_section();
    loop {
        let tag = link.load(Relaxed);
        if tag & _Py_CRITICAL_SECTION_INACTIVE != 0 {
            return;
        }
        let Some(record) = top(tag) else { return };
        if let Some(mutex) = mutex(&record._cs_mutex) {
            unlock(mutex);
        }
        if let Some(mutex) = second(record, tag).and_then(|two| mutex(&two._cs_mutex2)) {
            unlock(mutex);
        }
        link.store(tag | _Py_CRITICAL_SECTION_INACTIVE, Relaxed);
        link = &record._cs_prev;
    }
}

fn unlock(mutex: &PyMutex) {
    if mutex.unlock().is_err() {
        crate::sched::fatal::fatal(
            c"critical section",
            format_args!("unlocking mutex that is not locked"),
        );
    }
}

/// Locks the section on top again: `state` has just been attached, or the
/// section above it has ended (S-CS-04).
///
/// While it waits the record names no mutex, so the detach and attach of that
/// very wait find nothing to unlock or to lock.
pub(crate) fn resume(state: Ts) {
    let cell = state.critical_section();
    let tag = cell.load(Relaxed);
    let Some(record) = top(tag).filter(|_| tag & _Py_CRITICAL_SECTION_INACTIVE != 0) else {
        return;
    };
    let first = record._cs_mutex.swap(core::ptr::null_mut(), Relaxed);
    let two = second(record, tag);
    let other = two.map(|two| two._cs_mutex2.swap(core::ptr::null_mut(), Relaxed));
    let mut held = None;
    for pointer in [Some(first), other].into_iter().flatten() {
        // SAFETY: NULL, or a mutex that outlives its section.
        if let Some(mutex) = unsafe { pointer.as_ref() } {
            lock_holding(mutex, held);
            held = Some(mutex);
        }
    }
    record._cs_mutex.store(first, Relaxed);
    if let (Some(two), Some(other)) = (two, other) {
        two._cs_mutex2.store(other, Relaxed);
    }
    cell.store(cell.load(Relaxed) & !_Py_CRITICAL_SECTION_INACTIVE, Relaxed);
}
