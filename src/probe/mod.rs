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
mod mode;
#[cfg(not(loom))]
mod monitor;
#[cfg(not(loom))]
mod names;
#[cfg(not(loom))]
mod nearest;
#[cfg(not(loom))]
pub(crate) mod perturb;
#[cfg(not(loom))]
mod recorder;
#[cfg(not(loom))]
mod table;

#[cfg(not(loom))]
pub(crate) mod environment;

#[cfg(not(loom))]
pub(crate) mod sync_point;
#[cfg(not(loom))]
pub(crate) mod trace;

#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use point::Point;
#[cfg(not(loom))]
#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use sync_point::{point, point_on};

#[cfg(not(loom))]
use crate::sync::fork_lock::ForkRow;

/// Whether the host is told of every attach and detach: they then take the path
/// that looks at everything.
#[cfg(not(loom))]
pub(crate) fn tell_host_of_attaches(on: bool) {
    mode::tell_host(on);
}

/// In a model a point is nothing.
#[cfg(loom)]
#[inline(always)]
pub(crate) fn point(_at: Point) {}

/// In a model a point is nothing.
#[cfg(loom)]
#[inline(always)]
pub(crate) fn point_on<T>(_at: Point, _object: *const T) {}

/// The locks of this layer in the fork table.
#[cfg(not(loom))]
pub(crate) static FORK_ROWS: [&[ForkRow]; 5] = [
    &table::FORK_ROW,
    &environment::FORK_ROW,
    &recorder::CONTROL_ROW,
    &recorder::FILE_ROW,
    &recorder::BUFFERS_ROW,
];

/// Makes this layer whole in a fork child, after its locks were freed: forgets the threads that
/// were held at points.
///
/// The child keeps hooks and perturbation; pauses and orders are dropped, because the threads that
/// would have woken the held ones live in the parent. A trace goes on in the parent alone.
#[cfg(not(loom))]
pub(crate) fn reset_in_child() {
    table::reset_in_child();
    recorder::reset_in_child();
}
