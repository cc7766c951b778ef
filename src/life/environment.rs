//! What the environment asks of the runtime, read anew at each initialization that reads the
//! environment (`probe::environment` has the table). What a host chose with a call or in its
//! configuration goes before it.

use crate::life::report::{dump, reporter};
use crate::os::signal::{self, Catch, Disposition};
use crate::probe::environment::{
    CHECK, COMPAT, Check, DUMP_SIGNAL, LATE, Late, PYTHON_GIL, SHUTDOWN_REPORT, WATCHDOG,
};
use crate::sched::fatal::STDERR;
use crate::sched::watchdog;
use crate::state::config::{
    Compat, PyTState_CHECK_FATAL, PyTState_CHECK_OFF, PyTState_CHECK_STRICT, PyTState_CHECK_WARN,
    PyTState_LATE_ABORT, PyTState_LATE_EXIT, PyTState_LATE_HANG,
};
use core::ffi::c_int;

/// Whether the main interpreter is to run without a GIL.
pub(crate) fn is_gil_free() -> bool {
    PYTHON_GIL.get() == Some(false)
}

/// The version whose rules are to apply.
pub(crate) fn compat() -> Option<Compat> {
    COMPAT.get().and_then(Compat::from_hex)
}

/// Returns the version whose rules apply before the first initialization.
pub(crate) fn compat_before_first() -> Compat {
    compat().unwrap_or(Compat::DEFAULT)
}

/// The effect of a misuse.
pub(crate) fn check_level() -> Option<c_int> {
    Some(match CHECK.get()? {
        Check::Off => PyTState_CHECK_OFF,
        Check::Warn => PyTState_CHECK_WARN,
        Check::Fatal => PyTState_CHECK_FATAL,
        Check::Strict => PyTState_CHECK_STRICT,
    })
}

/// The policy for a thread that attaches too late.
pub(crate) fn late_policy() -> Option<c_int> {
    Some(match LATE.get()? {
        Late::Hang => PyTState_LATE_HANG,
        Late::Exit => PyTState_LATE_EXIT,
        Late::Abort => PyTState_LATE_ABORT,
    })
}

/// Turns on the reports that the environment asks for, and off those that it does not ask for any
/// more.
pub(crate) fn apply_diagnostics() {
    watchdog::set_by_environment(WATCHDOG.get().unwrap_or(0));
    reporter::set_by_environment(SHUTDOWN_REPORT.get().unwrap_or(0));
    if let Some(number) = DUMP_SIGNAL.get() {
        dump_at(number);
    }
}

/// The handler that prints all threads.
struct Dump;

impl Catch for Dump {
    fn caught(_signal: c_int) {
        dump::dump(STDERR, None, None);
    }
}

/// Installs the handler that prints all threads, if the signal can be caught and the host has no
/// handler for it. The handler stays until the process ends, also between two lives of the runtime.
fn dump_at(number: c_int) {
    let name = signal::name(number);
    let refuse = |why: &str| {
        DUMP_SIGNAL.refuse(name.as_bytes(), format_args!("the signal '{name}' {why}"));
    };
    if !signal::can_be_caught(number) {
        return refuse("cannot be caught by a handler that returns");
    }
    let ours = signal::caught_by::<Dump>();
    match signal::get(number) {
        Some(Disposition::Default) => {}
        Some(handler) if handler == ours => return,
        _ => return refuse("is handled, or ignored, by the program already"),
    }
    if signal::set_restarting(number, ours).is_none() {
        refuse("is refused by the system");
    }
}
