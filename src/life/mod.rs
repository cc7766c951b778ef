//! L4: the order of events. Creation and end of states, threads, interpreters
//! and the runtime; waiting for them; forking.

pub(crate) mod abandoned;
pub(crate) mod at_exit;
pub(crate) mod census;
pub(crate) mod end_backoff;
pub(crate) mod ensure;
pub(crate) mod environment;
pub(crate) mod finalize;
pub(crate) mod fork;
pub(crate) mod fork_child;
pub(crate) mod gilstate;
pub(crate) mod guards;
pub(crate) mod init;
pub(crate) mod interp;
pub(crate) mod join;
pub(crate) mod keep;
pub(crate) mod names;
pub(crate) mod phase;
pub(crate) mod rebind;
pub(crate) mod report;
pub(crate) mod spawn;
pub(crate) mod subinterp;
pub(crate) mod tstate;
pub(crate) mod visit;
pub(crate) mod wait;
