//! One function to run when the process ends by exit() or by returning from main().

use core::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire};

static FUNCTION: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Has `function` called when the process ends, or the library is unloaded. The first call decides; later ones do nothing.
pub(crate) fn run(function: fn()) {
    let own = function as *mut ();
    if FUNCTION.compare_exchange(core::ptr::null_mut(), own, AcqRel, Acquire).is_ok() {
        // SAFETY: `at_exit` is a function of the type asked for. A full table means that it is not called.
        let _ = unsafe { libc::atexit(at_exit) };
    }
}

extern "C" fn at_exit() {
    let function = FUNCTION.load(Acquire);
    // SAFETY: `run` stored a `fn()` here before it registered this function.
    let function = unsafe { core::mem::transmute::<*mut (), fn()>(function) };
    function();
}
