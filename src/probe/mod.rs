//! L1: what only observes: sync points, the lifecycle trace, text for diagnostics.
//!
//! Nothing here decides anything, knows a thread state or takes a lock of another layer.
//! Everything here works before initialization, after finalization, with no thread state,
//! in a fork child (after its reset) and allocates nothing.
//!
//! All of it is off until asked for, and then costs one relaxed load of one word ([`mode`]).
//!
//! Under loom nothing here is modelled: points are observers and take part in no protocol.

mod mode;
pub(crate) mod point;
pub(crate) mod sync_point;
pub(crate) mod text;

#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use {point::Point, sync_point::point};
