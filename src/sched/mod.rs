//! L3: who runs now. Attaching and detaching, the GIL, requests to the running
//! thread, pauses. Waits for other threads, and calls host callbacks only with
//! no lock held.

pub(crate) mod async_exc;
pub(crate) mod attach;
pub(crate) mod blocking;
pub(crate) mod breaker;
pub(crate) mod critical_section;
pub(crate) mod current;
pub(crate) mod fatal;
pub(crate) mod gil;
pub(crate) mod gilfree;
pub(crate) mod late;
pub(crate) mod pending;
pub(crate) mod qsbr;
pub(crate) mod raise;
pub(crate) mod recursion;
pub(crate) mod region;
pub(crate) mod signals;
pub(crate) mod stw;
pub(crate) mod thread_end;
pub(crate) mod watchdog;
