//! Sleeping until the pause that suspended a state is over. With
//! [`state::pause`](crate::state::pause) the whole protocol of a pause, which
//! loom runs.

use crate::os::clock::Deadline;
use crate::state::word;
use crate::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, SeqCst},
    fence,
};
use crate::sync::lot;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::Stay;

/// Sleeps until the pause that suspended a state, which the caller is about to
/// attach, is over. `kind` says how it came to wait (`state::pause`).
pub(crate) fn wait_resumed(
    word: &AtomicI32,
    key: *const (),
    waits_for_pause: &AtomicU32,
    kind: u32,
) {
    // Relaxed: the fence orders it.
    waits_for_pause.store(kind, Relaxed);
    // Pairs with the fence in `Pause::end`.
    fence(SeqCst);
    while word.load(Acquire) == word::SUSPENDED {
        let _ = lot::park_for(
            WaitKind::PauseEnd,
            key,
            || word.load(Acquire) == word::SUSPENDED,
            Deadline::NEVER,
            core::ptr::null_mut(),
            &mut Stay,
            lot::nothing,
        );
    }
}

#[cfg(all(test, loom))]
mod models;
