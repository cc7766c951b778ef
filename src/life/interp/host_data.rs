//! The host's bytes beside an interpreter, with the host's functions that make
//! and destroy what is in them.

use crate::os::mem;
use crate::sched::callout::{self, Callout};
use crate::state::hooks;
use crate::state::interp::Interp;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Why an interpreter cannot be used.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unconstructed {
    NoMemory,
    /// The host's interp_init refused it.
    Refused,
}

/// Gives a new interpreter, which has no state yet, its bytes, and lets the host
/// make what it wants in them.
pub(super) fn construct(interp: Interp) -> Result<(), Unconstructed> {
    let (wanted, arg) = hooks::of_interps();
    if wanted.size != 0 {
        let bytes = mem::calloc(wanted.size);
        if bytes.is_null() {
            return Err(Unconstructed::NoMemory);
        }
        interp.host_data.store(bytes.cast(), Release);
    }
    if let Some(init) = wanted.init {
        // SAFETY: the host's function and argument; no lock held.
        let run = || unsafe { init(interp.as_ptr(), arg) };
        if callout::run(Callout::InterpHook, interp.as_ptr().cast(), run) != 0 {
            return Err(Unconstructed::Refused);
        }
    }
    interp.constructed.store(1, Relaxed);
    Ok(())
}

/// Lets the host destroy what is in the bytes of an interpreter that is gone,
/// if `told`, and frees them.
pub(super) fn destroy(interp: Interp, told: bool) {
    let constructed = interp.constructed.swap(0, Relaxed) != 0;
    let (wanted, arg) = hooks::of_interps();
    if let Some(fini) = wanted.fini.filter(|_| constructed && told) {
        // SAFETY: the host's function and argument; no lock held.
        let run = || unsafe { fini(interp.as_ptr(), arg) };
        callout::run(Callout::InterpHook, interp.as_ptr().cast(), run);
    }
    let bytes = interp.host_data.swap(ptr::null_mut(), Acquire);
    // SAFETY: NULL, or allocated by `construct`; the host uses it no more.
    unsafe { mem::free(bytes.cast()) };
}
