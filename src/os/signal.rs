//! Signals: dispositions, and the one handler of this library.

use super::errno;
use core::ffi::c_int;

/// Highest signal number plus one.
pub(crate) const COUNT: usize = 65;
/// Ctrl-C.
pub(crate) const SIGINT: c_int = libc::SIGINT;

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

/// The disposition that has `C` run.
pub(crate) fn caught_by<C: Catch>() -> Disposition {
    Disposition::Handler(handler::<C> as *const () as usize)
}

/// Sets the handler of `signal` (an address, SIG_DFL or SIG_IGN); interrupted
/// system calls are not restarted. Returns the previous one.
pub(crate) fn set(signal: c_int, handler: Disposition) -> Option<Disposition> {
    let mut new = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    let mut old = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroed is a valid value: no flags, an empty mask, SIG_DFL.
    let action = unsafe { new.assume_init_mut() };
    // Kind to threads whose own stack is small, as CPython is.
    action.sa_flags = libc::SA_ONSTACK;
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
