//! Forking: the PyOS_*Fork* part of CPython's intrcheck.h, and handlers for forks that others do. docs/fork.md has the rules.

use super::arg;
use super::ret::exit_with;
use crate::life::fork::parent::{self, Misplaced};
use crate::sched::fatal::fatal;
use core::ffi::{CStr, c_int};

fn misplaced(func: &CStr, why: Misplaced) -> ! {
    let text = match why {
        Misplaced::Between => {
            "it was called before; PyOS_AfterFork_Parent() or _Child() must follow"
        }
        Misplaced::NotBetween => "PyOS_BeforeFork() was not called",
        Misplaced::InOwnPause => "this thread has stopped the world",
        Misplaced::NotTheChild => "this is the parent",
    };
    fatal(func, format_args!("{text}"))
}

/// Prepares for fork(): stops every other thread of the runtime and takes its locks. Waits while
/// another thread has stopped the world.
///
/// Errors:  fatal if nothing is attached, if it was called already, or if this thread has stopped the world.
/// Blocks:  until every attached thread has polled, detached or ended.
/// Threads: attached. Not async-signal-safe. Must be followed by fork() and PyOS_AfterFork_Parent() or _Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// Until the call that follows fork(), nothing else of the library is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_BeforeFork() {
    const FUNC: &CStr = c"PyOS_BeforeFork";
    let _ = arg::attached(FUNC);
    if let Err(why) = parent::before() {
        misplaced(FUNC, why);
    }
}

/// Lets the other threads continue in the parent after fork(), also when fork() failed.
///
/// Errors:  fatal if nothing is attached, or without PyOS_BeforeFork().
/// Blocks:  no.
/// Threads: the one that called PyOS_BeforeFork(), attached. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyOS_AfterFork_Parent() {
    const FUNC: &CStr = c"PyOS_AfterFork_Parent";
    let _ = arg::attached(FUNC);
    if let Err(why) = parent::after_in_parent() {
        misplaced(FUNC, why);
    }
}

/// Resets the runtime in a fork child, in which only the calling thread and its thread state
/// survive (docs/fork.md).
///
/// Errors:  fatal if nothing is attached, or in the parent. Ends the child with status 1 if the attached state is not in the
///          main interpreter.
/// Blocks:  no.
/// Threads: the only one of the child, attached. Not async-signal-safe.
/// Source:  CPython 3.13; also updates the main state, and ends other interpreters cleanly.
///
/// # Safety
/// This is the child of a fork(), best after PyOS_BeforeFork() on this thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_AfterFork_Child() {
    const FUNC: &CStr = c"PyOS_AfterFork_Child";
    match parent::survivor() {
        Some((tstate, true)) => {
            // SAFETY: this function's contract.
            if let Err(why) = unsafe { parent::after_in_child(tstate) } {
                misplaced(FUNC, why);
            }
        }
        Some((_, false)) => exit_with(FUNC, "not main interpreter"),
        None => arg::no_state(FUNC),
    }
}

/// Calls PyOS_AfterFork_Child(). This is its old name.
///
/// Errors:  as PyOS_AfterFork_Child().
/// Blocks:  no.
/// Threads: as PyOS_AfterFork_Child().
/// Source:  CPython 3.13 (deprecated there since 3.7).
///
/// # Safety
/// As PyOS_AfterFork_Child().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_AfterFork() {
    // SAFETY: this function's contract.
    unsafe { PyOS_AfterFork_Child() }
}

/// Registers fork handlers, so that the runtime works in parent and child after every fork() of the
/// process, also after a fork() by a library that does not call PyOS_BeforeFork(). The handlers
/// cannot be removed. A host may still call PyOS_BeforeFork() and PyOS_AfterFork_*() around its own
/// forks.
///
/// Before a fork the handlers do what PyOS_BeforeFork() does, whether the forking thread is attached, detached, or unknown to
/// the runtime. In the child all thread states of that thread survive, as they are, with their interpreters; and the main
/// interpreter. Everything else vanishes without a call of the host's: references are leaked, at-exit functions forgotten.
///
/// @return 0; -1: no memory. A second call does nothing and returns 0.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  no. Every fork() then blocks as PyOS_BeforeFork() does.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe. fork() is not async-signal-safe
///          afterwards; vfork() and posix_spawn() do not call the handlers.
/// Source:  pytstate; pthread_atfork(3).
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_InstallForkHandlers() -> c_int {
    if parent::install_handlers() { 0 } else { -1 }
}
