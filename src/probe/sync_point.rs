//! Sync points: named places where a thread can be held, hooked or delayed, on demand.

use super::{mode, point::Point};

/// Passes a sync point.
///
/// Off, this is one relaxed load and a branch that is not taken. May be called by any thread, with or
/// without a state; never where one of the library's own locks is held, because a thread can be held here.
#[inline(always)]
pub(crate) fn point(at: Point) {
    if mode::get() != 0 {
        arrive(at);
    }
}

/// The cold path: something is armed somewhere.
#[cold]
#[inline(never)]
fn arrive(_at: Point) {
}
