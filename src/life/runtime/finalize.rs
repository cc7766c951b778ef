//! Py_FinalizeEx: finalization of the runtime (S-FZ).
//!
//! Rounds of "threads, pending calls, callbacks, sub-interpreters, guards" are
//! run until, with every world stopped, nothing of that is left. Then
//! finalization is committed, and no other thread can attach any more. What
//! CPython 3.13 does after the commit (ending sub-interpreters) is done before
//! it, as in 3.15.
//!
//! LIFE-1: one thread ends one life. It claims the end before it looks whether
//! there is a life to end.
//! LIFE-3: at the commit no guard is open, no awaited state is linked, and every
//! other state stands; so an awaited thread is never late.

use crate::control::window;
use crate::life::abandoned;
use crate::life::at_exit;
use crate::life::interp::rounds::Rounds;
use crate::life::interp::sub::{self, IfThreadsRemain};
use crate::life::interp::{RESCAN_NS, lifecycle};
use crate::life::phase;
use crate::life::tstate::{self, NewError, Origin};
use crate::os::clock::Deadline;
use crate::os::{file, thread};
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::current::{current, interp_of};
use crate::sched::stw::{self, Scope};
use crate::sched::{attach, fatal, signals, thread_end};
use crate::state::interp::{Interp, PyTState_PHASE_FINALIZING};
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::lot;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::Stay;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Identity of the OS thread that finalizes, 0 when none does.
static FINALIZER: AtomicUsize = AtomicUsize::new(0);

/// Outcome of [`finalize`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finalized {
    /// The runtime is finalized, or it was not initialized.
    Done,
    /// The runtime is finalized, but buffered output could not be written.
    FlushFailed,
    /// Another thread finalizes.
    Elsewhere,
}

/// Finalizes the runtime, by the rules at the head of this module.
pub(crate) fn finalize() -> Finalized {
    if !RUNTIME.is_initialized() {
        return Finalized::Done;
    }
    probe::point(Point::FinalizeBegin);
    let me = thread::ident() as usize;
    window!("finalize.claim");
    if let Err(other) = FINALIZER.compare_exchange(0, me, AcqRel, Relaxed) {
        return if other == me { Finalized::Done } else { Finalized::Elsewhere };
    }
    // The life that was seen above may be over, and the next one about to begin:
    // no other thread ends one from here on.
    let main = if RUNTIME.is_initialized() { RUNTIME.main_interp() } else { None };
    let flushed = main.is_none_or(run);
    FINALIZER.store(0, Release);
    lot::unpark_all(over_key());
    if main.is_none() {
        return Finalized::Done;
    }
    trace::at(Point::FinalizeDone, Event::At(Mark::InterpreterGone), || 0);
    trace::flush();
    if flushed { Finalized::Done } else { Finalized::FlushFailed }
}

/// Whether [`finalize`] on the calling thread would end the runtime.
pub(crate) fn would_end() -> bool {
    RUNTIME.is_initialized() && FINALIZER.load(Relaxed) != thread::ident() as usize
}

/// Whether another thread is ending the runtime, past the commit.
pub(crate) fn is_under_way_elsewhere() -> bool {
    let finalizer = FINALIZER.load(Acquire);
    finalizer != 0 && finalizer != thread::ident() as usize && !RUNTIME.is_initialized()
}

/// Whether the calling thread is finalizing the runtime, and the old life is not over yet.
pub(crate) fn is_under_way_here() -> bool {
    FINALIZER.load(Relaxed) == thread::ident() as usize
        && !RUNTIME.is_initialized()
        && RUNTIME.main_interp().is_some()
}

/// Sleeps while [`is_under_way_elsewhere`].
pub(crate) fn wait_until_over() {
    while is_under_way_elsewhere() {
        let _ = lot::park_for(
            WaitKind::RuntimeEnd,
            over_key(),
            is_under_way_elsewhere,
            Deadline::NEVER,
            core::ptr::null_mut(),
            &mut Stay,
            lot::nothing,
        );
    }
}

fn over_key() -> *const () {
    core::ptr::from_ref(&FINALIZER).cast()
}

/// Resets the claim in a fork child: the finalizing thread did not survive,
/// unless it forked.
pub(crate) fn reset_in_child() {
    if FINALIZER.load(Relaxed) != thread::ident() as usize {
        FINALIZER.store(0, Relaxed);
    }
}

fn run(main: Interp) -> bool {
    let tstate = final_state(main);
    main.ending.store(1, Relaxed);
    main.ender.store(thread::ident() as usize, Relaxed);
    commit(main, tstate);
    let head = RUNTIME.lock();
    let chain = abandoned::remove_others(main, tstate, &head);
    drop(head);
    stw::start(Scope::All);
    abandoned::wake(main, chain);
    abandoned::clear_and_keep(chain);
    signals::uninstall();
    phase::set(main, PyTState_PHASE_FINALIZING);
    lifecycle::clear(main);
    let deleted = lifecycle::delete(main);
    debug_assert!(deleted.is_ok());
    at_exit::run();
    // This joins daemons that ended by themselves and were not joined.
    while thread_end::reap_gone() > 0 {}
    file::flush_standard_streams()
}

/// Chooses the state to finalize with and attaches it (S-FZ-02).
fn final_state(main: Interp) -> ThreadStateRef {
    let attached = current();
    let wanted = if RUNTIME.on_main_thread() {
        RUNTIME.main_state()
    } else {
        attached.filter(|tstate| interp_of(*tstate) == main)
    };
    let tstate = match wanted {
        Some(tstate) => tstate,
        None => new_state(main),
    };
    if attached != Some(tstate) {
        if let Some(attached) = attached {
            let _ = attach::detach(attached);
        }
        attach::attach(tstate);
    }
    tstate
}

fn new_state(interp: Interp) -> ThreadStateRef {
    match tstate::new_bound(interp, Origin::FINI) {
        Ok(tstate) => tstate,
        Err(_) => no_state(),
    }
}

fn no_state() -> ! {
    fatal::fatal(c"Py_FinalizeEx", format_args!("thread state allocation failed"))
}

/// Runs rounds until finalization can be committed. Returns with the world
/// stopped.
fn commit(main: Interp, tstate: ThreadStateRef) {
    let mut rounds = Rounds::new(main, tstate);
    loop {
        rounds.run_until_subinterpreters();
        probe::point(Point::FinalizeThreadsGone);
        probe::point(Point::FinalizeAtexit);
        end_subinterpreters(main, tstate);
        probe::point(Point::FinalizeSubinterpreters);
        rounds.wait_guards();
        probe::point(Point::FinalizeGuards);
        probe::point(Point::FinalizeCommitBefore);
        stw::stop(Scope::All);
        let committed = rounds.try_commit(|head| {
            // Only the main thread runs the calls that wait for it: if another
            // one finalizes, they are forgotten, as in CPython.
            let calls = RUNTIME.on_main_thread() && RUNTIME.main_pending.len() != 0;
            let alone = RUNTIME.interps(head).all(|interp| interp == main) && !calls;
            if alone {
                // Relaxed: `finalizing` publishes it.
                RUNTIME.finalizing_thread.store(thread::ident() as usize, Relaxed);
            }
            alone
        });
        if committed {
            RUNTIME.finalizing.store(tstate.as_raw(), Release);
            RUNTIME.initialized.store(0, Release);
            probe::point(Point::FinalizeCommitAfter);
            return;
        }
        stw::start(Scope::All);
    }
}

/// Ends every other interpreter, each from a state of its own on this thread.
/// Waits for an interpreter that another thread is ending already.
fn end_subinterpreters(main: Interp, tstate: ThreadStateRef) {
    while let Some((sub, claimed)) = claim_other_interp(main) {
        if !claimed {
            let _ = lot::park_for(
                WaitKind::InterpreterEnd,
                lifecycle::gone_key(sub),
                || sub.is_alive(),
                Deadline::after(RESCAN_NS),
                core::ptr::null_mut(),
                &mut Detach::new(),
                lot::nothing,
            );
            continue;
        }
        let origin = Origin { before_commit_only: true, ..Origin::FINI };
        let fini = match tstate::new_bound(sub, origin) {
            Ok(fini) => fini,
            Err(NewError::Refused) => continue,
            Err(NewError::NoMemory) => no_state(),
        };
        let _ = attach::detach(tstate);
        attach::attach(fini);
        // Remaining states are abandoned, so it cannot fail.
        let ended = sub::end_claimed(fini, IfThreadsRemain::Abandon);
        debug_assert!(ended.is_ok());
        attach::attach(tstate);
    }
}

/// Another interpreter than `main`, and whether its end is the caller's from now
/// on. Claimed before it gets a state to be ended with: the finalizing thread
/// must not find that state among the remaining ones.
fn claim_other_interp(main: Interp) -> Option<(Interp, bool)> {
    let head = RUNTIME.lock();
    let other = RUNTIME.interps(&head).find(|interp| *interp != main);
    let claimed = other.map(|interp| (interp, sub::claim(interp)));
    drop(head);
    claimed
}
