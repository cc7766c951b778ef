//! L3: which threads run now. Attaching and detaching, the GIL, requests to the running
//! thread, pauses. Waits for other threads, and calls host callbacks only with
//! no lock held.
//!
//! A module imports only from modules that are declared above it.

pub(crate) mod gil_queue;
pub(crate) mod resumed;

#[cfg(not(loom))]
pub(crate) mod this_thread;
#[cfg(not(loom))]
pub(crate) mod describe;
#[cfg(not(loom))]
pub(crate) mod waits;
#[cfg(not(loom))]
pub(crate) mod fatal;
#[cfg(not(loom))]
pub(crate) mod current;
#[cfg(not(loom))]
pub(crate) mod callout;
#[cfg(not(loom))]
pub(crate) mod state_hooks;
#[cfg(not(loom))]
pub(crate) mod misuse;
#[cfg(not(loom))]
pub(crate) mod raise;
#[cfg(not(loom))]
pub(crate) mod async_exc;
#[cfg(not(loom))]
pub(crate) mod signals;
#[cfg(not(loom))]
pub(crate) mod pending;
#[cfg(not(loom))]
pub(crate) mod recursion;
#[cfg(not(loom))]
pub(crate) mod watchdog;
#[cfg(not(loom))]
pub(crate) mod gil;
#[cfg(not(loom))]
pub(crate) mod standing;
#[cfg(not(loom))]
pub(crate) mod thread_end;
#[cfg(not(loom))]
pub(crate) mod late;
#[cfg(not(loom))]
pub(crate) mod gilstate_slot;
#[cfg(not(loom))]
pub(crate) mod handover;
#[cfg(not(loom))]
pub(crate) mod qsbr;
#[cfg(not(loom))]
pub(crate) mod switch;
#[cfg(not(loom))]
pub(crate) mod sections;
#[cfg(not(loom))]
pub(crate) mod attach;
#[cfg(not(loom))]
pub(crate) mod blocking;
#[cfg(not(loom))]
pub(crate) mod lock_rules;
#[cfg(not(loom))]
pub(crate) mod critical_section;
#[cfg(not(loom))]
pub(crate) mod region;
#[cfg(not(loom))]
pub(crate) mod frozen;
#[cfg(not(loom))]
pub(crate) mod stw;
#[cfg(not(loom))]
pub(crate) mod thread_calls;
#[cfg(not(loom))]
pub(crate) mod drain;
#[cfg(not(loom))]
pub(crate) mod poll;
