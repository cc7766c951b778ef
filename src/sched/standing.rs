//! What a thread does in a pause of another: it suspends itself, is counted, and
//! waits for the end. `sched::stw` is what the requester does.
//!
//! A thread that waits to attach is not passed over again and again: `waits_for_pause`
//! says how it came to wait.
//!
//! | value     | meaning                                                     |
//! |-----------|-------------------------------------------------------------|
//! | NONE      | its thread does not wait for the end of a pause             |
//! | STOOD     | it was attached, and suspended itself for the pause         |
//! | OWED      | a pause came before its attach: the next must let it attach |

use crate::os::clock::Deadline;
use crate::os::futex;
use crate::sched::current::interp_of;
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::stop_scope::StopScope;
use crate::state::thread::ThreadStateRef;
use crate::state::word;
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::Stay;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::fence;

/// Values of a state's `waits_for_pause`, with `state::thread::STOOD`.
pub(crate) const NONE: u32 = 0;
pub(crate) const OWED: u32 = 2;

/// Whether a state that is linked now must begin suspended (S-TS-02).
pub(crate) fn begins_suspended(interp: Interp, head: &HeadGuard<'_>) -> bool {
    active(interp, head).is_some()
}

/// The pause that `interp` is in the scope of.
fn active(interp: Interp, _head: &HeadGuard<'_>) -> Option<&'static StopScope> {
    [&RUNTIME.stop, &interp.block().stop].into_iter().find(|data| data.requested.load(Relaxed) != 0)
}

/// The pause that `tstate` has to stand for.
pub(crate) fn active_for(
    tstate: ThreadStateRef,
    head: &HeadGuard<'_>,
) -> Option<&'static StopScope> {
    active(interp_of(tstate), head).filter(|data| data.requester.load(Relaxed) != tstate.as_raw())
}

/// Stops counting a state that leaves its list during a request, unless it is
/// suspended already (S-STW-07). The head lock is held.
pub(crate) fn count_out(tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    if tstate.word().load(Relaxed) == word::SUSPENDED {
        return;
    }
    if let Some(data) = active_for(tstate, head) {
        count_down(data, head);
    }
}

fn count_down(data: &StopScope, _head: &HeadGuard<'_>) {
    let left = data.countdown.load(Relaxed) - 1;
    data.countdown.store(left, Relaxed);
    if left <= 0 {
        data.progress.fetch_add(1, Release);
        futex::wake(&data.progress, 1);
    }
}

/// Moves the word from ATTACHED to SUSPENDED for the pause that `tstate` has to stand
/// for, or to DETACHED if there is none any more. Other threads may delete the state
/// afterwards.
pub(crate) fn suspend_word_or_detach(tstate: ThreadStateRef) {
    let head = RUNTIME.lock();
    match active_for(tstate, &head) {
        Some(data) => {
            word::suspend_self(tstate.word());
            count_down(data, &head);
        }
        None => word::detach(tstate.word()),
    }
    drop(head);
}

/// Sleeps until the pause that suspended `tstate`, which the caller is about to
/// attach, is over.
pub(crate) fn wait_resumed(tstate: ThreadStateRef, waits_for_pause: u32) {
    // Relaxed: the fence orders it.
    tstate.waits_for_pause.store(waits_for_pause, Relaxed);
    // Pairs with the fence in `start`.
    fence(SeqCst);
    let word = tstate.word();
    while word.load(Acquire) == word::SUSPENDED {
        let _ = lot::park_for(
            WaitKind::PauseEnd,
            tstate.word_key(),
            || word.load(Acquire) == word::SUSPENDED,
            Deadline::NEVER,
            core::ptr::null_mut(),
            &mut Stay,
            lot::nothing,
        );
    }
}

/// Sleeps until the pause that an attach met is over. The next pause lets the state
/// attach, whatever happens until then; [`attached`] ends that.
pub(crate) fn wait_for_turn(tstate: ThreadStateRef) {
    wait_resumed(tstate, OWED);
}

/// Whether a thread waits, with `tstate`, for the end of a pause.
pub(crate) fn is_awaited(tstate: ThreadStateRef) -> bool {
    tstate.waits_for_pause.load(Relaxed) != NONE
}

/// Records that `tstate` was attached, so that no pause has to let it attach any more.
pub(crate) fn attached(tstate: ThreadStateRef) {
    tstate.waits_for_pause.store(NONE, Relaxed);
}
