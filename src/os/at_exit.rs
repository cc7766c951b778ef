//! One function to run when the process ends by exit() or by returning from main().

use super::function::FunctionCell;
use core::sync::atomic::Ordering::Acquire;

static FUNCTION: FunctionCell<fn()> = FunctionCell::new();

/// Registers `function` to be called when the process ends. Only the first call has an effect.
pub(crate) fn run(function: fn()) {
    if FUNCTION.fill(function) {
        // SAFETY: `at_exit` is a function of the type asked for. If the table is full, it is not
        // called.
        let _ = unsafe { libc::atexit(at_exit) };
    }
}

extern "C" fn at_exit() {
    if let Some(function) = FUNCTION.load(Acquire) {
        function();
    }
}
