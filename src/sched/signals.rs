//! Signals as the runtime sees them: tripped anywhere, handled at a poll of the
//! main thread in the main interpreter (S-PC-13).
//!
//! `trip` and everything it calls is async-signal-safe: atomics only.
//!
//! Mirrors CPython 3.13 `trip_signal`, `_PyErr_CheckSignalsTstate`
//! (signalmodule.c), with a host's C function in the place of Python handlers.

use crate::os::signal::{self, Disposition};
use crate::probe::text::write_fd;
use crate::sched::async_exc;
use crate::sched::callout::{self, Callout};
use crate::sched::current::may_handle_signals;
use crate::sched::raise;
use crate::state::config::Compat;
use crate::state::error_kind::{ExceptionKind, Raised};
use crate::state::eval_breaker::{self, SIGNALS_PENDING};
use crate::state::requests::{self, SIGNAL_TRIPPED};
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::hook::Hook;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Host's handler, run attached on the main thread; non-zero: an error is set.
pub(crate) type HostHandler = unsafe extern "C" fn(signal: c_int, data: *mut c_void) -> c_int;

const UNHANDLED: u8 = 0;
/// Handled by the runtime: KeyboardInterrupt for SIGINT, or the host's function.
const HANDLED: u8 = 1;

static HANDLERS: [AtomicU8; signal::COUNT] = [const { AtomicU8::new(UNHANDLED) }; signal::COUNT];
static TRIPPED: [AtomicBool; signal::COUNT] = [const { AtomicBool::new(false) }; signal::COUNT];
/// Descriptor that arriving signals are written to; -1: none.
static WAKEUP: AtomicI32 = AtomicI32::new(-1);
static HOST: Hook<HostHandler> = Hook::new();

/// The runtime's handler of the OS's signals.
struct Runtime;

impl signal::Catch for Runtime {
    fn caught(number: c_int) {
        trip(number);
    }
}

/// Records that `number` arrived. Async-signal-safe.
pub(crate) fn trip(number: c_int) {
    // Relaxed: SIGNAL_TRIPPED publishes it.
    TRIPPED[number as usize].store(true, Relaxed);
    SIGNAL_TRIPPED.store(true, Release);
    requests::ask_main_thread();
    let fd = WAKEUP.load(Relaxed);
    if fd >= 0 {
        // A pipe that is full wakes its reader all the same.
        let _ = write_fd(fd, &[number as u8]);
    }
}

/// Has each signal that arrives write its number, one byte, to `fd`; -1: to none.
/// Returns the descriptor before.
pub(crate) fn set_wakeup(fd: c_int) -> c_int {
    WAKEUP.swap(fd.max(-1), Relaxed)
}

/// Whether `number` can be simulated at all (S-PC-15).
pub(crate) fn in_range(number: c_int) -> bool {
    (1..signal::COUNT as c_int).contains(&number)
}

/// Simulates `number` if a handler is installed for it. Async-signal-safe.
pub(crate) fn simulate(number: c_int) {
    if HANDLERS[number as usize].load(Acquire) == HANDLED {
        trip(number);
    }
}

/// Installs the runtime's SIGINT handler, as initialization with signals does,
/// unless the host has chosen a disposition of its own. Writes to broken pipes and
/// past the size limit of files are errors of the calls from then on, as in CPython,
/// and stay that after finalization.
pub(crate) fn install() {
    signal::set(signal::SIGPIPE, Disposition::Ignored);
    signal::set(signal::SIGXFSZ, Disposition::Ignored);
    if signal::get(signal::SIGINT) == Some(Disposition::Default) {
        let _ = route(signal::SIGINT, true);
    }
}

/// Restores every signal that still comes to the runtime, and clears the tripped ones.
pub(crate) fn uninstall() {
    for (number, handler) in HANDLERS.iter().enumerate() {
        let number = number as c_int;
        if handler.swap(UNHANDLED, Relaxed) == HANDLED
            && signal::get(number) == Some(signal::caught_by::<Runtime>())
        {
            signal::set(number, Disposition::Default);
        }
    }
    set_host_handler(None, core::ptr::null_mut());
    set_wakeup(-1);
    forget();
}

/// Clears all tripped signals, in a fork child and at finalization.
pub(crate) fn forget() {
    SIGNAL_TRIPPED.store(false, Relaxed);
    for tripped in &TRIPPED {
        tripped.store(false, Relaxed);
    }
}

/// Routes `number` to the runtime (`true`) or back to the system's default.
/// Returns false if the OS refuses the number.
pub(crate) fn route(number: c_int, to_runtime: bool) -> bool {
    let disposition =
        if to_runtime { signal::caught_by::<Runtime>() } else { Disposition::Default };
    if signal::set(number, disposition).is_none() {
        return false;
    }
    let value = if to_runtime { HANDLED } else { UNHANDLED };
    HANDLERS[number as usize].store(value, Release);
    true
}

/// Installs the host's handler for all signals that are routed to the runtime.
pub(crate) fn set_host_handler(handler: Option<HostHandler>, data: *mut c_void) {
    let head = RUNTIME.lock();
    HOST.set(handler, data, &head);
    drop(head);
}

/// Returns whether SIGINT is tripped, and clears it.
pub(crate) fn take_interrupt() -> bool {
    TRIPPED[signal::SIGINT as usize].swap(false, Relaxed)
}

/// Runs the handlers of tripped signals on the main thread; elsewhere only the
/// bit is cleared (S-PC-13).
pub(crate) fn handle(tstate: ThreadStateRef) -> Result<(), Raised> {
    eval_breaker::clear(tstate, SIGNALS_PENDING);
    if may_handle_signals(tstate) { run_tripped(tstate) } else { Ok(()) }
}

/// Does what [`handle`] does, after it raised the pending asynchronous exception of
/// the attached `tstate` (from 3.15 on).
pub(crate) fn check(tstate: ThreadStateRef) -> Result<(), Raised> {
    if !tstate.async_exc().load(Relaxed).is_null() && RUNTIME.compat() >= Compat::V3_15 {
        async_exc::raise_pending(tstate)?;
    }
    handle(tstate)
}

/// Does what [`handle`] does, for a caller that knows that its thread may handle signals.
#[inline(always)]
pub(crate) fn handle_here(tstate: ThreadStateRef) -> Result<(), Raised> {
    eval_breaker::clear(tstate, SIGNALS_PENDING);
    run_tripped(tstate)
}

#[inline(always)]
fn run_tripped(tstate: ThreadStateRef) -> Result<(), Raised> {
    if SIGNAL_TRIPPED.load(Relaxed) { run_handlers(tstate) } else { Ok(()) }
}

#[cold]
fn run_handlers(tstate: ThreadStateRef) -> Result<(), Raised> {
    if !SIGNAL_TRIPPED.swap(false, Acquire) {
        return Ok(());
    }
    for (number, tripped) in TRIPPED.iter().enumerate() {
        if !tripped.swap(false, Relaxed) {
            continue;
        }
        if run_handler(number as c_int).is_err() {
            // The rest waits for the next visit, with the bit set (S-PC-06).
            // Relaxed: it tells of marks that this thread has read itself.
            SIGNAL_TRIPPED.store(true, Relaxed);
            eval_breaker::set(tstate, SIGNALS_PENDING);
            return Err(Raised);
        }
    }
    Ok(())
}

fn run_handler(number: c_int) -> Result<(), Raised> {
    if HANDLERS[number as usize].load(Acquire) != HANDLED {
        // The signal was routed elsewhere after it arrived.
        return Ok(());
    }
    if let Some((host, data)) = HOST.get() {
        // SAFETY: the host's function; attached, no lock held.
        let run = || unsafe { host(number, data) };
        let status = callout::run(Callout::SignalHandler, core::ptr::null(), run);
        return if status == 0 { Ok(()) } else { Err(Raised) };
    }
    if number == signal::SIGINT {
        raise::raise(ExceptionKind::KeyboardInterrupt, c"");
        return Err(Raised);
    }
    Ok(())
}
