//! Critical sections: locks that are unlocked whenever their thread detaches
//! (S-CS). The stack of records is in `sched::sections`.
//!
//! Mirrors CPython 3.14 Python/critical_section.c.

use crate::control::window;
use crate::probe::Point;
use crate::sched::blocking::Detach;
use crate::sched::current::interp_of;
use crate::sched::sections::{
    _Py_CRITICAL_SECTION_INACTIVE, _Py_CRITICAL_SECTION_MASK, PyCriticalSection,
    PyCriticalSection2, lock_holding, mutex, resume, second, top,
};
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::mutex::{NotLocked, PyMutex};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// Whether sections of `tstate` lock anything: its interpreter has no GIL.
#[inline(always)]
pub(crate) fn is_real(tstate: ThreadStateRef) -> bool {
    tstate.gil.is_none(Relaxed)
}

fn lock(mutex: &PyMutex) {
    mutex.lock(&mut Detach::at(Point::MutexWait));
}

/// Locks `mutex` until the End of `record`. One read-modify-write if it is free.
#[inline]
pub(crate) fn begin(tstate: ThreadStateRef, record: &PyCriticalSection, mutex: &PyMutex) {
    if mutex.try_lock() {
        record.push(tstate, record.tag());
        record._cs_mutex.store(core::ptr::from_ref(mutex).cast_mut(), Relaxed);
    } else {
        begin_slow(tstate, record, mutex);
    }
}

#[cold]
fn begin_slow(tstate: ThreadStateRef, record: &PyCriticalSection, mutex: &PyMutex) {
    if held_by_top(tstate, mutex) || world_stopped(tstate) {
        record.make_empty();
        return;
    }
    window!("critical_section.begin");
    record.push(tstate, record.tag());
    lock(mutex);
    window!("critical_section.locked");
    record._cs_mutex.store(core::ptr::from_ref(mutex).cast_mut(), Relaxed);
}

/// Locks two different mutexes until the End of `record`. Two read-modify-writes
/// if both are free.
pub(crate) fn begin2(
    tstate: ThreadStateRef,
    record: &PyCriticalSection2,
    a: &PyMutex,
    b: &PyMutex,
) {
    let (first, other) = if core::ptr::from_ref(a) < b { (a, b) } else { (b, a) };
    let first_taken = first.try_lock();
    if !(first_taken && other.try_lock()) {
        // The top holding just these two is recursion (S-CS-08). No other thread
        // holds the first one then, so it was not taken above.
        let skip = !first_taken && top_is_pair(tstate, first, other);
        if skip || world_stopped(tstate) {
            if first_taken {
                let _ = first.unlock();
            }
            record.make_empty();
            return;
        }
        record._cs_mutex2.store(core::ptr::null_mut(), Relaxed);
        record._cs_base.push(tstate, record.tag());
        if !first_taken {
            lock(first);
        }
        lock_holding(other, Some(first), Detach::at(Point::MutexWait));
    } else {
        record._cs_base.push(tstate, record.tag());
    }
    record._cs_base._cs_mutex.store(core::ptr::from_ref(first).cast_mut(), Relaxed);
    record._cs_mutex2.store(core::ptr::from_ref(other).cast_mut(), Relaxed);
}

/// Begins a section of one mutex, for a Begin that names the same one twice (S-CS-06).
pub(crate) fn begin2_equal(tstate: ThreadStateRef, record: &PyCriticalSection2, mutex: &PyMutex) {
    record._cs_mutex2.store(core::ptr::null_mut(), Relaxed);
    begin(tstate, &record._cs_base, mutex);
}

/// Whether the record on top holds `mutex` (S-CS-08).
fn held_by_top(tstate: ThreadStateRef, mutex: &PyMutex) -> bool {
    let tag = tstate.critical_section().load(Relaxed);
    let Some(record) = top(tag) else { return false };
    let is_it = |cell: &AtomicPtr<PyMutex>| core::ptr::eq(cell.load(Relaxed), mutex);
    is_it(&record._cs_mutex) || second(record, tag).is_some_and(|two| is_it(&two._cs_mutex2))
}

/// Whether the record on top holds just these two, in this order.
fn top_is_pair(tstate: ThreadStateRef, first: &PyMutex, other: &PyMutex) -> bool {
    let tag = tstate.critical_section().load(Relaxed);
    let two = top(tag).and_then(|record| second(record, tag));
    two.is_some_and(|two| {
        core::ptr::eq(two._cs_base._cs_mutex.load(Relaxed), first)
            && core::ptr::eq(two._cs_mutex2.load(Relaxed), other)
    })
}

/// Whether the thread of `tstate` has stopped every other thread of its
/// interpreter: a thread that holds the mutex cannot release it then (S-CS-09).
fn world_stopped(tstate: ThreadStateRef) -> bool {
    RUNTIME.stop.is_stopped_by(tstate) || interp_of(tstate).stop.is_stopped_by(tstate)
}

/// Why a section was not ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndSectionError {
    /// The record is not the section that `tstate` began last.
    NotOnTop,
    /// The mutex is not locked: a thread unlocked it although the section was active.
    NotLocked,
}

impl From<NotLocked> for EndSectionError {
    fn from(_: NotLocked) -> EndSectionError {
        EndSectionError::NotLocked
    }
}

/// Whether `record` is the section that `tstate` began last.
pub(crate) fn is_on_top(tstate: ThreadStateRef, record: &PyCriticalSection) -> bool {
    let tag = tstate.critical_section().load(Relaxed);
    tag & !_Py_CRITICAL_SECTION_MASK == record.tag()
}

/// Ends the section that `tstate` began last; the one below is locked again if
/// a wait or a detach gave it up (S-CS-07). `record` is not empty.
pub(crate) fn end(
    tstate: ThreadStateRef,
    record: &PyCriticalSection,
) -> Result<(), EndSectionError> {
    if !is_on_top(tstate, record) {
        return Err(EndSectionError::NotOnTop);
    }
    let tag = tstate.critical_section().load(Relaxed);
    // The second mutex is unlocked first (S-CS-06).
    if let Some(mutex) = second(record, tag).and_then(|two| mutex(&two._cs_mutex2)) {
        mutex.unlock()?;
    }
    if let Some(mutex) = mutex(&record._cs_mutex) {
        mutex.unlock()?;
    }
    let below = record._cs_prev.load(Relaxed);
    tstate.critical_section().store(below, Relaxed);
    if below & _Py_CRITICAL_SECTION_INACTIVE != 0 {
        resume(tstate);
    }
    Ok(())
}
