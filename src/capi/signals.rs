//! Signals: CPython's intrcheck.h and the signal part of its pyerrors.h and pylifecycle.h, with a C function of the
//! host's in the place of Python handlers.

use super::arg;
use crate::os::signal;
use crate::sched::current::may_handle_signals;
use crate::sched::signals;
use crate::state::public::PyThreadState;
use crate::state::requests;
use core::ffi::{CStr, c_int, c_void};

/// A handler of the OS: a function, SIG_DFL, SIG_IGN or SIG_ERR.
pub type PyOS_sighandler_t = Option<unsafe extern "C" fn(c_int)>;

/// The same as a number: SIG_ERR is no function.
pub type PyOS_sighandler_t_arg = usize;

/// Runs the handlers of the signals that arrived. The default handler of SIGINT raises KeyboardInterrupt. Before that,
/// raises the asynchronous exception that was left for the caller (not under `compat` levels below 3.15).
///
/// @return 0: all ran, or the caller is not the main thread in the main interpreter, which handles no signals; -1: one
///         failed, or the exception was raised, with the error indicator set; what arrived besides is left for the next
///         call.
///
/// Errors:  fatal if nothing is attached; -1 as above.
/// Blocks:  as long as the handlers do.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child(), which forgets what arrived.
/// Source:  CPython 3.15; before, asynchronous exceptions waited for the eval loop.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_CheckSignals() -> c_int {
    status(signals::check(arg::attached(c"PyErr_CheckSignals")).is_ok())
}

/// Does what PyErr_CheckSignals() does, for a caller that passes its state.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
/// @return As PyErr_CheckSignals().
///
/// Errors:  fatal if nothing is attached; misuse if `tstate` is not the attached state; -1 as above.
/// Blocks:  as long as the handlers do.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None: `tstate` is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyErr_CheckSignalsTstate(tstate: *mut PyThreadState) -> c_int {
    const FUNC: &CStr = c"_PyErr_CheckSignalsTstate";
    status(signals::handle(arg::own(tstate, FUNC)).is_ok())
}

/// Acts as if SIGINT had arrived, as PyErr_SetInterruptEx(SIGINT) does.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_SetInterrupt() {
    signals::simulate(signal::SIGINT);
}

/// Acts as if a signal had arrived: its handler runs at a poll of the main thread.
///
/// Nothing happens for a signal that does not come to the runtime: see PyTState_RouteSignal().
///
/// @param signum  Number of the signal.
/// @return 0, or -1: there is no such signal.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_SetInterruptEx(signum: c_int) -> c_int {
    let known = signals::in_range(signum);
    if known {
        signals::simulate(signum);
    }
    status(known)
}

/// Returns whether SIGINT has arrived, and clears that.
///
/// @return 1 or 0; 0 if the caller is not the main thread in the main interpreter.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyOS_InterruptOccurred() -> c_int {
    let tstate = arg::attached(c"PyOS_InterruptOccurred");
    c_int::from(may_handle_signals(tstate) && signals::take_interrupt())
}

/// Does what PyOS_InterruptOccurred() does, for a caller that passes its state.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
/// @return As PyOS_InterruptOccurred().
///
/// Errors:  fatal if nothing is attached; misuse if `tstate` is not the attached state.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None: `tstate` is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyOS_InterruptOccurred(tstate: *mut PyThreadState) -> c_int {
    let tstate = arg::own(tstate, c"_PyOS_InterruptOccurred");
    c_int::from(may_handle_signals(tstate) && signals::take_interrupt())
}

/// Returns whether the caller is the main thread, attached to the main interpreter, where signals
/// are handled.
///
/// @return 1 or 0.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn _PyOS_IsMainThread() -> c_int {
    c_int::from(may_handle_signals(arg::attached(c"_PyOS_IsMainThread")))
}

/// Asks the main thread to check for signals at its next poll.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn _PyEval_SignalReceived() {
    requests::ask_main_thread();
}

/// Returns the handler of a signal.
///
/// @param sig  Number of the signal.
/// @return The handler; SIG_ERR: there is no such signal.
///
/// Errors:  SIG_ERR as above; errno says why.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyOS_getsig(sig: c_int) -> PyOS_sighandler_t_arg {
    signal::get(sig).map_or(signal::SIG_ERR, signal::encode)
}

/// Has each signal that the runtime handles write its number, one byte, to a descriptor: a main thread that sleeps in
/// poll(2) wakes up. The end of the runtime forgets the descriptor.
///
/// @param fd  Descriptor, which should not block; negative: none.
/// @return The descriptor before; -1: none.
///
/// Errors:  none. What cannot be written is dropped.
/// Blocks:  never. A signal that arrives blocks as the write does.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13, where the end of the runtime leaves it set.
#[unsafe(no_mangle)]
pub extern "C" fn PySignal_SetWakeupFd(fd: c_int) -> c_int {
    signals::set_wakeup(fd)
}

/// Sets the handler of a signal. System calls that it interrupts are not restarted; it may run on an alternate stack.
///
/// Does not change what PyErr_SetInterruptEx() does: that is PyTState_RouteSignal()'s.
///
/// @param sig      Number of the signal.
/// @param handler  A function that is async-signal-safe, SIG_DFL or SIG_IGN.
/// @return The handler before; SIG_ERR: there is no such signal, or it cannot be caught.
///
/// Errors:  SIG_ERR as above; errno says why.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `handler` may run at any time from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_setsig(
    sig: c_int,
    handler: PyOS_sighandler_t_arg,
) -> PyOS_sighandler_t_arg {
    signal::set(sig, signal::from_address(handler)).map_or(signal::SIG_ERR, signal::encode)
}

/// What PyTState_SetSignalHandler() installs: gets the number of a signal that arrived and the data; 0, or non-zero
/// with the error indicator set.
pub type PyTState_SignalHandler = Option<unsafe extern "C" fn(c_int, *mut c_void) -> c_int>;

/// Installs a function of the host that handles every signal that is routed to the runtime, SIGINT
/// included.
///
/// It runs as Python's handlers do: attached, on the main thread in the main interpreter, at a poll, never in the OS's
/// handler, with no lock of the library held. Without one, SIGINT raises KeyboardInterrupt and the others do nothing.
/// Finalization removes it.
///
/// @param handler  The function, instead of the one before; NULL: none.
/// @param data     Passed on. Borrowed.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not; not while signals are handled. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `handler` may be called with `data` until another is installed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetSignalHandler(
    handler: PyTState_SignalHandler,
    data: *mut c_void,
) {
    signals::set_host_handler(handler, data);
}

/// Routes a signal to the runtime, or back to the system's default action.
///
/// Py_Initialize() does this with SIGINT; finalization gives back what still comes to the runtime.
///
/// @param signum      Number of the signal.
/// @param to_runtime  Not 0: to the runtime, instead of the handler before. 0: SIG_DFL.
/// @return 0, or -1: there is no such signal, or it cannot be caught.
///
/// Errors:  -1 as above; errno says why, no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. A fork child keeps it.
/// Source:  pytstate.
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_RouteSignal(signum: c_int, to_runtime: c_int) -> c_int {
    status(signals::route(signum, to_runtime != 0))
}

fn status(ok: bool) -> c_int {
    if ok { 0 } else { -1 }
}
