//! The life of an interpreter: it is made, passes the rounds before its
//! commit, and ends.

/// The longest sleep before a wait for others looks again. Some of what it waits
/// for announces nothing.
pub(crate) use crate::life::threads::wait::RESCAN_NS;

mod host_data;

pub(crate) mod lifecycle;

pub(crate) mod rounds;

pub(crate) mod sub;
