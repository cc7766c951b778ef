//! L4: the order of events. Creation and deletion of states, threads,
//! interpreters and the runtime; waiting for them; forking.
//!
//! Modules are declared in import order: each one uses only those above it.

pub(crate) mod phase;

pub(crate) mod tstate;

pub(crate) mod checks;

pub(crate) mod at_exit;

pub(crate) mod abandoned;

pub(crate) mod visit;

pub(crate) mod awaited;

pub(crate) mod guards;

pub(crate) mod report;

pub(crate) mod environment;

pub(crate) mod threads;

pub(crate) mod interp;

pub(crate) mod runtime;

pub(crate) mod fork;
