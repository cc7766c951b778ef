//! Forking, seen from the parent (S-FK). See docs/fork.md for the whole picture
//! and [`child`](super::child) for what survives.
//!
//! Held across fork(), in this order: INIT (the handlers only), the pause of all
//! worlds, the head lock. So no other thread is attached, no list is half
//! changed, and a thread that forks while another one has stopped the world
//! waits for it.
//!
//! LIFE-7: the child finds every other state at rest, and no end half committed.
//!
//! Two ways lead here: a host that says so (PyOS_BeforeFork and its pair), and
//! handlers that the C library calls around every fork(), on request. A host
//! that does both is seen once: the handlers do nothing between its calls.
//!
//! Mirrors CPython 3.13 `PyOS_BeforeFork`, `PyOS_AfterFork_Parent`
//! (posixmodule.c).

use super::child::{self, Survivors};
use crate::life::runtime::init;
use crate::os::fork::{self, ForkHandlers};
use crate::os::{ids, thread};
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::current::{current, traced_interp};
use crate::sched::state_hooks;
use crate::sched::stw::{self, Scope};
use crate::state::hooks::Fork;
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::{head, owed};
use core::sync::atomic::{
    AtomicI64, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

/// The thread between its before and its after; 0: none. It holds the pause of
/// all worlds, so there is one at most.
static FORKER: AtomicUsize = AtomicUsize::new(0);
/// The process that is about to fork.
static PARENT: AtomicI64 = AtomicI64::new(0);
/// What the handlers did before the fork of FORKER.
static BY_HANDLERS: AtomicU32 = AtomicU32::new(NOTHING);
const NOTHING: u32 = 0;
/// INIT, the pause and the head lock are held.
const HELD: u32 = 1;
/// The head lock is held; the forking thread had stopped the world before.
const HELD_IN_PAUSE: u32 = 2;
/// 1: the handlers are installed, or are about to be.
static INSTALLED: AtomicU32 = AtomicU32::new(0);

/// Why a call around fork() is refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// The calling thread is between its before and its after.
    Between,
    /// The calling thread is not between its before and its after.
    NotBetween,
    /// The calling thread itself has stopped the world.
    InOwnPause,
    /// The caller is the parent, not the child.
    NotTheChild,
}

fn me() -> usize {
    thread::ident() as usize
}

/// Whether the calling thread is between the two calls around a fork.
#[inline]
pub(crate) fn is_forking() -> bool {
    let forker = FORKER.load(Relaxed);
    forker != 0 && forker == me()
}

/// Stops every world and takes the head lock, before fork(). The caller is attached.
pub(crate) fn before() -> Result<(), Misplaced> {
    if is_forking() {
        return Err(Misplaced::Between);
    }
    if stw::is_requester() {
        return Err(Misplaced::InOwnPause);
    }
    state_hooks::tell_fork(Fork::Before);
    hold();
    Ok(())
}

fn hold() {
    probe::point(Point::ForkBefore);
    stw::stop(Scope::All);
    hold_stopped();
}

fn hold_stopped() {
    // The child recognises its thread by the id that the parent knows.
    let _ = thread::native_id();
    // Relaxed, here and in BY_HANDLERS: a thread finds only itself in it.
    FORKER.store(me(), Relaxed);
    PARENT.store(ids::process(), Relaxed);
    head::keep(RUNTIME.lock());
}

fn release_stopped() {
    let held = head::force_unlock();
    debug_assert!(held, "the head lock was freed between before and after");
    FORKER.store(0, Relaxed);
}

fn release() {
    release_stopped();
    stw::start(Scope::All);
    trace::at(Point::ForkParent, Event::At(Mark::Fork), traced_interp);
}

/// Releases what [`before`] took, in the parent after fork(), whether it succeeded or not.
pub(crate) fn after_in_parent() -> Result<(), Misplaced> {
    if !is_forking() {
        return Err(Misplaced::NotBetween);
    }
    release();
    state_hooks::tell_fork(Fork::Parent);
    Ok(())
}

/// After fork() in the child. The calling thread is the only one; `tstate` is
/// attached, and all that is kept.
///
/// # Safety
/// This is a fork child, and nothing else of the library was called in it.
pub(crate) unsafe fn after_in_child(tstate: ThreadStateRef) -> Result<(), Misplaced> {
    if is_forking() && PARENT.load(Relaxed) == ids::process() {
        return Err(Misplaced::NotTheChild);
    }
    FORKER.store(0, Relaxed);
    // SAFETY: the caller's contract.
    unsafe { child::reset_in_child(Survivors::Only(tstate)) };
    state_hooks::tell_fork(Fork::Child);
    Ok(())
}

/// Whether the caller may go on in a fork child: only the main interpreter
/// survives (S-FK-11).
pub(crate) fn survivor() -> Option<(ThreadStateRef, bool)> {
    let tstate = current()?;
    let main = RUNTIME.main_interp().map(Interp::as_ptr);
    Some((tstate, main == Some(tstate.interp_ptr())))
}

/// Registers handlers that keep the runtime usable in parent and child after
/// every fork() of the process. Returns false without memory.
#[must_use]
pub(crate) fn install_handlers() -> bool {
    if INSTALLED.swap(1, AcqRel) != 0 {
        return true;
    }
    let installed = fork::install::<Handlers>();
    if !installed {
        INSTALLED.store(0, Relaxed);
    }
    installed
}

/// The functions that the C library calls around fork(). The forking thread may be attached
/// or not, or know nothing of the runtime.
struct Handlers;

impl ForkHandlers for Handlers {
    fn before() {
        if is_forking() {
            // The host has called PyOS_BeforeFork.
            return;
        }
        state_hooks::tell_fork(Fork::Before);
        if stw::is_requester() {
            hold_stopped();
            BY_HANDLERS.store(HELD_IN_PAUSE, Relaxed);
            return;
        }
        // Another fork may hold it, and wait for this thread to detach.
        init::INIT.lock(&mut Detach::new());
        let free = || {
            let _ = init::INIT.unlock();
        };
        owed::or_give_back(free, hold);
        BY_HANDLERS.store(HELD, Relaxed);
    }

    fn in_parent() {
        match take_done() {
            HELD => {
                release();
                let _ = init::INIT.unlock();
            }
            HELD_IN_PAUSE => release_stopped(),
            _ => return,
        }
        state_hooks::tell_fork(Fork::Parent);
    }

    fn in_child() {
        if take_done() == NOTHING {
            return;
        }
        FORKER.store(0, Relaxed);
        // SAFETY: the C library calls this on the only thread of the child,
        // before anything else of the library can be called in it.
        unsafe { child::reset_in_child(Survivors::OwnStates) };
        state_hooks::tell_fork(Fork::Child);
    }
}

/// What the handlers did before this fork of the calling thread's.
fn take_done() -> u32 {
    if is_forking() { BY_HANDLERS.swap(NOTHING, Relaxed) } else { NOTHING }
}
