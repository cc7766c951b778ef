//! Mistakes of earlier protocols, kept so that a model can show that it finds
//! them. Only in builds for loom.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None: the protocol as it is.
    None,
    /// A waiter that resigns reads the word of the GIL and then replaces it.
    TornWake,
    /// The claim of a pending queue is given back without Release.
    RelaxedClaim,
    /// The end of a pause resumes the threads before it clears `stopped`.
    StoppedClearedLate,
}

// Not loom's: no thread of a model changes it.
static PLANTED: AtomicU32 = AtomicU32::new(Bug::None as u32);

/// Plants `bug` until the next call. One model runs at a time.
pub(crate) fn plant(bug: Bug) {
    PLANTED.store(bug as u32, Relaxed);
}

/// Whether `bug` is planted.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.load(Relaxed) == bug as u32
}
