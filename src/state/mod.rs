//! L2: what the runtime knows. Data, bits and transitions; nothing here waits
//! for another thread beyond the few instructions of the head lock.
//!
//! A module imports only from modules that are declared above it.

pub(crate) mod gil_word;
pub(crate) mod pending_queue;
pub(crate) mod qsbr;
pub(crate) mod word;
pub(crate) mod pause;

#[cfg(not(loom))]
pub(crate) mod object;
#[cfg(not(loom))]
pub(crate) mod public;
#[cfg(not(loom))]
pub(crate) mod config;
#[cfg(not(loom))]
pub(crate) mod hooks;
#[cfg(not(loom))]
pub(crate) mod link;
#[cfg(not(loom))]
pub(crate) mod guard_count;
#[cfg(not(loom))]
pub(crate) mod stack_bounds;
#[cfg(not(loom))]
pub(crate) mod thread;
#[cfg(not(loom))]
pub(crate) mod error_kind;
#[cfg(not(loom))]
pub(crate) mod eval_breaker;
#[cfg(not(loom))]
pub(crate) mod thread_calls;
#[cfg(not(loom))]
pub(crate) mod stop_scope;
#[cfg(not(loom))]
pub(crate) mod interp;
#[cfg(not(loom))]
pub(crate) mod handle;
#[cfg(not(loom))]
pub(crate) mod list;
#[cfg(not(loom))]
pub(crate) mod runtime;
#[cfg(not(loom))]
pub(crate) mod guard;
#[cfg(not(loom))]
pub(crate) mod requests;
#[cfg(not(loom))]
pub(crate) mod stop;
