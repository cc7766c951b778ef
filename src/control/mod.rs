//! The door to the controlled scheduler: what this library tells the engine of the command
//! `pytstate`.
//!
//! The scheduler itself is not here. There is one per process, in the preload library
//! `libpytstate_control.so`, because a program's own mutexes and threads, and programs that never
//! use this library, are controlled by the same one. That library sees by itself every futex wait
//! and wake of ours, every OS thread that begins, ends or is joined, every yield and every look at
//! a clock. What it cannot see passes this door: the sync points by name, PyMutex operations that
//! do not sleep, and threads that hang by design.
//!
//! Without an engine nothing here is reached: points look at the one word of `probe::mode` as
//! before.
//!
//! CONTROL-1: No point stands where a lock of this library is held: the thread may be left there
//!    for as long as others can go on.
//! CONTROL-2: Nothing depends on an address where an engine is: see [`spread`].

use core::ffi::CStr;
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

use crate::os::engine;

/// A point's number for the engine, remembered where the point is.
pub(crate) struct Number(AtomicU16);

impl Number {
    /// Not asked for yet.
    pub(crate) const fn unknown() -> Self {
        Self(AtomicU16::new(0))
    }

    fn get(&self, table: &engine::Table, name: &CStr) -> u16 {
        let known = self.0.load(Relaxed);
        if known != 0 {
            return known;
        }
        // SAFETY: the name is NUL-terminated; the engine copies it.
        let number = unsafe { (table.name)(name.as_ptr()) };
        self.0.store(number, Relaxed);
        number
    }
}

/// Whether an engine controls this process. One relaxed load.
#[inline]
pub(crate) fn is_on() -> bool {
    engine::table().is_some()
}

/// Passes a point that is about `object` (NULL: about none): other threads may go on first.
pub(crate) fn point(number: &Number, name: &CStr, object: *const ()) {
    if let Some(table) = engine::table() {
        let number = number.get(table, name);
        // SAFETY: the engine takes any number that it gave, and uses the object's address only.
        unsafe { (table.point)(number, object.cast()) };
    }
}

/// `window!("gil.settle")`: a place between two steps that other threads may come between.
///
/// It is no sync point: no test can hold a thread here, and no list names it. Only a controlled
/// scheduler sees it. Off, it is one relaxed load and a branch that is not taken; it stands on slow
/// paths only.
macro_rules! window {
    ($name:literal) => {{
        static NUMBER: $crate::control::Number = $crate::control::Number::unknown();
        if $crate::control::is_on() {
            $crate::control::pass_window(&NUMBER, concat!($name, "\0"));
        }
    }};
}

pub(crate) use window;

/// The cold path of [`window!`].
#[cold]
#[inline(never)]
pub(crate) fn pass_window(number: &Number, name: &'static str) {
    if let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) {
        point(number, name, core::ptr::null());
    }
}

/// What a table that is keyed by addresses uses in place of the address: the same number in every
/// run of a schedule.
#[inline]
pub(crate) fn spread(object: *const ()) -> usize {
    match engine::table() {
        None => object.addr(),
        // SAFETY: the engine uses the address only.
        Some(table) => unsafe { (table.ordinal)(object.cast()) as usize },
    }
}
