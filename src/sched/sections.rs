//! The stack of critical sections of a thread: unlocked when it detaches, locked
//! again when it attaches (S-CS).
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
//! - SECTION-1: While attached, the record on top is active; below it inactive ones
//!   may follow, and under an inactive one all are inactive.
//! - SECTION-2: A record whose `_cs_mutex` is NULL after its Begin is in no stack: its
//!   End does nothing. So are all records begun under a GIL, where the GIL is
//!   the lock.
//! - SECTION-3: A wait for a mutex detaches, and so gives up every section of the
//!   stack: no thread waits for one section while it holds another, except for
//!   the first of two mutexes, which has the lower address (S-CS-06).
//!
//! Mirrors CPython 3.14 Python/critical_section.c.

use crate::probe::{self, Point};
use crate::sched::current::current;
use crate::sched::fatal::fatal;
use crate::sched::switch::{self, Sections};
use crate::state::thread::ThreadStateRef;
use crate::sync::mutex::PyMutex;
use crate::sync::owed;
use crate::sync::waiting::Waiting;
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
    /// Makes the record a section that locks nothing (SECTION-2).
    pub(crate) fn make_empty(&self) {
        self._cs_prev.store(0, Relaxed);
        self._cs_mutex.store(core::ptr::null_mut(), Relaxed);
    }

    /// Whether the End of the record has no effect (SECTION-2).
    pub(crate) fn is_empty(&self) -> bool {
        self._cs_mutex.load(Relaxed).is_null()
    }

    pub(crate) fn tag(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Pushes the record without a mutex, so that the sections below can be suspended.
    pub(crate) fn push(&self, tstate: ThreadStateRef, tag: usize) {
        self._cs_mutex.store(core::ptr::null_mut(), Relaxed);
        self._cs_prev.store(tstate.critical_section().load(Relaxed), Relaxed);
        tstate.critical_section().store(tag, Relaxed);
    }
}

impl PyCriticalSection2 {
    /// Makes the record a section that locks nothing (SECTION-2).
    pub(crate) fn make_empty(&self) {
        self._cs_base.make_empty();
        self._cs_mutex2.store(core::ptr::null_mut(), Relaxed);
    }

    pub(crate) fn tag(&self) -> usize {
        self._cs_base.tag() | _Py_CRITICAL_SECTION_TWO_MUTEXES
    }
}

/// A wait for the mutex of a section that is being locked again. The stack stays
/// as it is: all of it is inactive, or names no mutex.
struct BareDetach(Option<ThreadStateRef>);

/// The sections of a thread that waits in [`resume`].
struct StayInactive;

impl Sections for StayInactive {
    #[inline(always)]
    fn attached(_tstate: ThreadStateRef) {}

    #[inline(always)]
    fn detaching(_tstate: ThreadStateRef) {}
}

impl Waiting for BareDetach {
    fn before_sleep(&mut self) {
        probe::point(Point::MutexWait);
        self.0 = current();
        if let Some(tstate) = self.0 {
            switch::detach_for_call::<StayInactive>(tstate);
        }
    }

    fn after_sleep(&mut self) {
        if let Some(tstate) = self.0.take() {
            switch::reattach_after_call::<StayInactive>(tstate);
        }
    }
}

/// The record on top of the stack of `state`, whatever its tag.
pub(crate) fn top<'a>(tag: usize) -> Option<&'a PyCriticalSection> {
    let record =
        core::ptr::with_exposed_provenance::<PyCriticalSection>(tag & !_Py_CRITICAL_SECTION_MASK);
    // SAFETY: records in a stack live until their End, by the contract of Begin.
    unsafe { record.as_ref() }
}

/// `record` as the one with two mutexes, if `tag` says that it has two.
pub(crate) fn second(record: &PyCriticalSection, tag: usize) -> Option<&PyCriticalSection2> {
    let two = tag & _Py_CRITICAL_SECTION_TWO_MUTEXES != 0;
    // SAFETY: the tag says that the record is the base of a PyCriticalSection2.
    two.then(|| unsafe { &*core::ptr::from_ref(record).cast() })
}

/// A mutex that a record names.
pub(crate) fn mutex<'a>(cell: &AtomicPtr<PyMutex>) -> Option<&'a PyMutex> {
    // SAFETY: the mutex outlives its section, by the contract of Begin.
    unsafe { cell.load(Relaxed).as_ref() }
}

/// Locks `mutex` while the record names no mutex: `held` is not given up by the
/// detach of that wait, but it is if the thread never comes back.
pub(crate) fn lock_holding<W: Waiting>(mutex: &PyMutex, held: Option<&PyMutex>, mut waiting: W) {
    if mutex.try_lock() {
        return;
    }
    match held {
        Some(held) => owed::or_give_back(|| unlock(held), || mutex.lock(&mut waiting)),
        None => mutex.lock(&mut waiting),
    }
}

/// Unlocks every active section of `tstate`, which is about to detach (S-CS-03).
pub(crate) fn suspend_all(tstate: ThreadStateRef) {
    let mut link: &AtomicUsize = tstate.critical_section();
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
        fatal(c"critical section", format_args!("unlocking mutex that is not locked"));
    }
}

/// Locks the section on top again: `tstate` has just been attached, or the
/// section above it has ended (S-CS-04).
///
/// While it waits the record names no mutex, so the detach and attach of that
/// very wait find nothing to unlock or to lock.
pub(crate) fn resume(tstate: ThreadStateRef) {
    let cell = tstate.critical_section();
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
            lock_holding(mutex, held, BareDetach(None));
            held = Some(mutex);
        }
    }
    record._cs_mutex.store(first, Relaxed);
    if let (Some(two), Some(other)) = (two, other) {
        two._cs_mutex2.store(other, Relaxed);
    }
    cell.store(cell.load(Relaxed) & !_Py_CRITICAL_SECTION_INACTIVE, Relaxed);
}
