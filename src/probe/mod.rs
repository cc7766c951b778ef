//! L1: what only observes: sync points, the lifecycle trace, text for diagnostics.
//!
//! Nothing here decides anything, knows a thread state or takes a lock of another layer.
//! Everything here works before initialization, after finalization, with no thread state,
//! in a fork child (after [`reset_in_child`]) and allocates nothing.
//!
//! All of it is off until asked for, and then costs one relaxed load of one word ([`mode`]).
//!
//! Under loom a point is nothing: points observe and take part in no protocol.

pub(crate) mod point;
pub(crate) mod text;

#[cfg(not(loom))]
pub(crate) mod callout;
#[cfg(not(loom))]
pub(crate) mod environment;
#[cfg(not(loom))]
mod monitor;
#[cfg(not(loom))]
mod names;
#[cfg(not(loom))]
mod nearest;
#[cfg(not(loom))]
pub(crate) mod perturb;
#[cfg(not(loom))]
pub(crate) mod sync_point;
#[cfg(not(loom))]
mod table;
#[cfg(not(loom))]
pub(crate) mod trace;

#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use point::Point;
#[cfg(not(loom))]
#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use sync_point::{point, point_on};

#[cfg(not(loom))]
mod mode;

/// In a model a point is nothing.
#[cfg(loom)]
#[inline(always)]
pub(crate) fn point(_at: Point) {}

/// In a model a point is nothing.
#[cfg(loom)]
#[inline(always)]
pub(crate) fn point_on<T>(_at: Point, _object: *const T) {}

/// Makes this layer whole in a fork child: frees its locks and forgets the threads held at points.
///
/// The child keeps hooks and perturbation; pauses and orders are dropped, because whoever would have
/// woken the threads held by them lives in the parent. A trace goes on in the parent alone.
///
/// # Safety
/// The caller is the only thread of the process, in a fork child, inside nothing of this layer.
#[cfg(not(loom))]
pub(crate) unsafe fn reset_in_child() {
    // SAFETY: this function's contract is the contract of every reset below.
    unsafe { mode::reset_in_child() };
    // SAFETY: as above.
    unsafe { sync_point::reset_in_child() };
    // SAFETY: as above.
    unsafe { trace::reset_in_child() };
}
