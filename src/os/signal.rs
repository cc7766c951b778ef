//! Signals: dispositions, and the one handler of this library.

use super::errno;
use core::ffi::c_int;

/// Highest signal number plus one.
pub(crate) const COUNT: usize = 65;
/// Ctrl-C.
pub(crate) const SIGINT: c_int = libc::SIGINT;
pub(crate) const SIGPIPE: c_int = libc::SIGPIPE;
pub(crate) const SIGXFSZ: c_int = libc::SIGXFSZ;

/// What the OS does with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// The system's default.
    Default,
    /// Ignored.
    Ignored,
    /// A handler at this address.
    Handler(usize),
}

/// Reads the disposition of `signal`; `None` when the number is refused.
pub(crate) fn get(signal: c_int) -> Option<Disposition> {
    let mut now = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only reads into `now`.
    let status = unsafe { libc::sigaction(signal, core::ptr::null(), now.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: zeroed is a valid value, and the call filled it.
    let now = unsafe { now.assume_init() };
    Some(decode(now.sa_sigaction))
}

/// What the handler of this library does with a signal.
pub(crate) trait Catch {
    /// Runs in the handler: async-signal-safe.
    fn caught(signal: c_int);
}

extern "C" fn handler<C: Catch>(signal: c_int) {
    let saved = errno::get();
    C::caught(signal);
    errno::set(saved);
}

/// Names of signals, without the "SIG" before them.
const NAMES: &[(&str, c_int)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("SYS", libc::SIGSYS),
];

/// The signal of this name: "USR2" or "SIGUSR2".
pub(crate) fn from_name(name: &str) -> Option<c_int> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a signal that [`from_name`] knows.
pub(crate) fn name(signal: c_int) -> &'static str {
    NAMES.iter().find(|(_, number)| *number == signal).map_or("?", |(name, _)| name)
}

/// Whether a handler can be installed that the program goes on after: the OS refuses one for KILL
/// and STOP, and the fault that raises the others comes again when their handler returns.
pub(crate) fn can_be_caught(signal: c_int) -> bool {
    ![
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGSYS,
    ]
    .contains(&signal)
}

/// The disposition that runs `C`.
pub(crate) fn caught_by<C: Catch>() -> Disposition {
    Disposition::Handler(handler::<C> as *const () as usize)
}

/// Sets the handler of `signal` (an address, SIG_DFL or SIG_IGN); interrupted
/// system calls are not restarted. Returns the previous one.
pub(crate) fn set(signal: c_int, handler: Disposition) -> Option<Disposition> {
    // The handler may run on an alternate stack, as in CPython: a thread's own may be small.
    set_with(signal, handler, libc::SA_ONSTACK)
}

/// Does what [`set`] does, and lets the OS restart interrupted system calls where it can.
pub(crate) fn set_restarting(signal: c_int, handler: Disposition) -> Option<Disposition> {
    set_with(signal, handler, libc::SA_ONSTACK | libc::SA_RESTART)
}

fn set_with(signal: c_int, handler: Disposition, flags: c_int) -> Option<Disposition> {
    let mut new = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    let mut old = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroed is a valid value: no flags, an empty mask, SIG_DFL.
    let action = unsafe { new.assume_init_mut() };
    action.sa_flags = flags;
    action.sa_sigaction = encode(handler);
    // SAFETY: both point to valid structs.
    let status = unsafe { libc::sigaction(signal, action, old.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: the call filled it.
    let old = unsafe { old.assume_init() };
    Some(decode(old.sa_sigaction))
}

fn decode(address: usize) -> Disposition {
    match address {
        libc::SIG_DFL => Disposition::Default,
        libc::SIG_IGN => Disposition::Ignored,
        handler => Disposition::Handler(handler),
    }
}

/// The address that stands for a disposition in C.
pub(crate) fn encode(disposition: Disposition) -> usize {
    match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
        Disposition::Handler(address) => address,
    }
}

/// The disposition that a C handler value stands for.
pub(crate) fn from_address(address: usize) -> Disposition {
    decode(address)
}

/// SIG_ERR of C.
pub(crate) const SIG_ERR: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::{can_be_caught, from_name, name};

    #[test]
    fn a_signal_has_a_name_with_and_without_its_prefix() {
        assert_eq!(from_name("USR2"), Some(libc::SIGUSR2));
        assert_eq!(from_name("SIGUSR2"), Some(libc::SIGUSR2));
        assert_eq!(from_name("usr2"), None);
        assert_eq!(from_name(""), None);
        assert_eq!(name(libc::SIGUSR2), "USR2");
        assert!(can_be_caught(libc::SIGUSR2) && !can_be_caught(libc::SIGKILL));
    }
}
