//! Making, clearing and deleting interpreter states (S-IN).

use crate::life::at_exit::{self, When};
use crate::life::interp::host_data::{self, Unconstructed};
use crate::life::phase;
use crate::life::tstate;
use crate::probe::Point;
use crate::probe::trace::{self, Event, Mark};
use crate::sched::attach;
use crate::sched::current::{current, interp_of};
use crate::sched::frozen::Departed;
use crate::sched::{frozen, qsbr, raise};
use crate::state::config::{GilKind, PyInterpreterConfig};
use crate::state::guard;
use crate::state::interp::{Interp, PyTState_PHASE_GONE, WHENCE_RUNTIME};
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::lot;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Why there is no interpreter.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewInterpError {
    NoMemory,
    /// The runtime was never initialized.
    NoId,
    /// The runtime is gone, or has committed its finalization.
    TooLate,
    /// The host's interp_init refused the interpreter.
    Refused,
}

/// Makes an interpreter state with the next id; an id is used up even if the
/// rest of a creation fails (S-IN-01). Returns the life of its block as well:
/// finalization of the runtime may end the interpreter at once, and its block
/// may become another interpreter. The runtime's first interpreter has `whence`
/// WHENCE_RUNTIME.
pub(crate) fn new(
    config: &PyInterpreterConfig,
    kind: GilKind,
    whence: i64,
) -> Result<(Interp, u64), NewInterpError> {
    let (interp, head) = loop {
        let interp = take_block()?;
        match frozen::try_lock(None) {
            Ok(head) => break (interp, head),
            Err(held) => {
                let head = RUNTIME.lock();
                RUNTIME.pool_interp_block(interp, &head);
                drop(head);
                held.wait();
            }
        }
    };
    let id = RUNTIME.next_interp_id.load(Relaxed);
    if id < 0 {
        RUNTIME.pool_interp_block(interp, &head);
        return Err(NewInterpError::NoId);
    }
    // The commit is made under this lock, too, and only without others.
    if whence != WHENCE_RUNTIME && RUNTIME.main_interp().is_none_or(|main| main.committed()) {
        RUNTIME.pool_interp_block(interp, &head);
        return Err(NewInterpError::TooLate);
    }
    RUNTIME.next_interp_id.store(id + 1, Relaxed);
    interp.begin_life(id);
    let life = interp.incarnation.load(Relaxed);
    interp.whence.store(whence, Relaxed);
    let main_gil = RUNTIME.main_interp().and_then(|main| main.gil.load(Relaxed));
    interp.block().configure(config, kind, main_gil);
    // All stores up to here are Relaxed: the list publishes them, under the head lock.
    interp.next.store(RUNTIME.interpreters.load(Relaxed), Relaxed);
    RUNTIME.interpreters.store(Some(interp), Release);
    if RUNTIME.main.is_none(Relaxed) {
        RUNTIME.main.store(Some(interp), Release);
    } else {
        RUNTIME.gilstate_check.store(0, Relaxed);
    }
    drop(head);
    trace::at(Point::InterpNew, Event::At(Mark::InterpreterNew), || id);
    if let Err(why) = host_data::construct(interp) {
        discard(interp, life);
        return Err(match why {
            Unconstructed::NoMemory => NewInterpError::NoMemory,
            Unconstructed::Refused => NewInterpError::Refused,
        });
    }
    Ok((interp, life))
}

/// A block that no interpreter uses.
fn take_block() -> Result<Interp, NewInterpError> {
    let head = RUNTIME.lock();
    let block = RUNTIME.take_interp_block(&head);
    drop(head);
    if let Some(block) = block {
        return Ok(block);
    }
    Interp::allocate().ok_or(NewInterpError::NoMemory)
}

/// Deletes an interpreter that [`new`] made and that got no state, unless
/// another thread is ending it or has ended it.
pub(crate) fn discard(interp: Interp, life: u64) {
    let head = RUNTIME.lock();
    let same = interp.is_alive() && interp.incarnation.load(Relaxed) == life;
    let mine = same && interp.ending.swap(1, Relaxed) == 0;
    drop(head);
    if mine {
        interp.cleared.store(1, Relaxed);
        let _ = delete(interp);
    }
}

/// Uses up an id for a creation that was refused (S-IN-01).
pub(crate) fn use_up_id() {
    let head = RUNTIME.lock();
    let id = RUNTIME.next_interp_id.load(Relaxed);
    if id >= 0 {
        RUNTIME.next_interp_id.store(id + 1, Relaxed);
    }
    drop(head);
}

/// Clears every state of `interp`, then what the interpreter refers to, then
/// runs its at-exit functions (S-IN-14). Attached caller, perhaps elsewhere.
pub(crate) fn clear(interp: Interp) {
    while let Some(tstate) = next_uncleared(interp) {
        let _ = tstate::clear(tstate);
    }
    interp.cleared.store(1, Relaxed);
    at_exit::run_list(interp, When::BeforeCommit);
    at_exit::run_list(interp, When::AtClear);
    qsbr::finish(interp);
    raise::drop_reference(interp.dict.swap(core::ptr::null_mut(), Relaxed));
}

fn next_uncleared(interp: Interp) -> Option<ThreadStateRef> {
    use crate::state::thread::status::FINALIZING;
    let head = RUNTIME.lock();
    let found = list::iter(interp, &head).find(|tstate| !tstate.has(FINALIZING));
    drop(head);
    found
}

/// Why an interpreter was not deleted: all fatal (S-IN-06).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeleteError {
    /// The interpreter is not in the list.
    Unlisted,
    /// The interpreter is the main one, and others are left.
    RemainingInterpreters,
    /// A state of the interpreter is still attached.
    RemainingThreads,
}

/// Deletes a cleared interpreter and the states it still has. A caller that is
/// attached to it is detached first (S-IN-07).
pub(crate) fn delete(interp: Interp) -> Result<(), DeleteError> {
    delete_with(interp, phase::set, true)
}

/// [`delete`] that tells no hook of the host's that the interpreter is gone.
pub(crate) fn delete_silently(interp: Interp) -> Result<(), DeleteError> {
    delete_with(interp, |interp, phase| interp.phase.store(phase, Relaxed), false)
}

fn delete_with(
    interp: Interp,
    set_phase: impl FnOnce(Interp, core::ffi::c_int),
    hosts_told: bool,
) -> Result<(), DeleteError> {
    if let Some(tstate) = current().filter(|tstate| interp_of(*tstate) == interp) {
        let _ = attach::detach(tstate);
    }
    check_deletable(interp)?;
    let head = loop {
        let head = frozen::lock(interp);
        let departed = frozen::settle(interp, Departed::NONE, &head);
        let first = list::iter(interp, &head).next();
        if first.is_none() && !departed.is_any() {
            break head;
        }
        drop(head);
        departed.give_back();
        if let Some(tstate) = first {
            use crate::state::word::ATTACHED;
            if tstate.word().load(Relaxed) == ATTACHED {
                return Err(DeleteError::RemainingThreads);
            }
            tstate::delete(tstate);
        }
    };
    let previous = RUNTIME.interps(&head).find(|one| one.next.is(interp, Relaxed));
    let after = interp.next.load(Relaxed);
    match previous {
        Some(previous) => previous.next.store(after, Relaxed),
        None => RUNTIME.interpreters.store(after, Release),
    }
    RUNTIME.main.clear_if(interp);
    guard::drop_all_of(interp, &head);
    interp.alive.store(0, Release);
    drop(head);
    set_phase(interp, PyTState_PHASE_GONE);
    host_data::destroy(interp, hosts_told);
    lot::unpark_all(gone_key(interp));
    let head = RUNTIME.lock();
    RUNTIME.pool_interp_block(interp, &head);
    drop(head);
    Ok(())
}

/// Key on which others wait until `interp` is gone.
pub(crate) fn gone_key(interp: Interp) -> *const () {
    core::ptr::from_ref(&interp.alive).cast()
}

fn check_deletable(interp: Interp) -> Result<(), DeleteError> {
    let head = RUNTIME.lock();
    if !RUNTIME.interps(&head).any(|one| one == interp) {
        return Err(DeleteError::Unlisted);
    }
    let is_main = RUNTIME.main_interp() == Some(interp);
    if is_main && RUNTIME.interps(&head).any(|one| one != interp) {
        return Err(DeleteError::RemainingInterpreters);
    }
    drop(head);
    Ok(())
}

/// The interpreter with this id.
pub(crate) fn look_up(id: i64) -> Option<Interp> {
    let head = RUNTIME.lock();
    let found = RUNTIME.interps(&head).find(|interp| interp.id() == id);
    drop(head);
    found
}
