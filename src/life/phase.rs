//! Shutdown phases and the hook that hears of them (extension API 5.2).

use crate::probe::trace::{self, Event, Span};
use crate::sched::callout::{self, Callout};
use crate::state::interp::{
    Interp, PyTState_PHASE_ATEXIT, PyTState_PHASE_FINALIZING, PyTState_PHASE_WAITING_GUARDS,
    PyTState_PHASE_WAITING_THREADS,
};
use crate::state::public::PyInterpreterState;
use crate::state::runtime::RUNTIME;
use crate::sync::hook::Hook;
use crate::sync::lot;
use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering::Relaxed;

/// Hears of every phase change.
pub(crate) type PhaseHook =
    unsafe extern "C" fn(interp: *mut PyInterpreterState, phase: c_int, data: *mut c_void);

static HOOK: Hook<PhaseHook> = Hook::new();

/// Installs (or removes) the hook.
pub(crate) fn set_hook(hook: Option<PhaseHook>, data: *mut c_void) {
    let head = RUNTIME.lock();
    HOOK.set(hook, data, &head);
    drop(head);
}

/// Key on which others wait for the next phase of `interp`.
pub(crate) fn key(interp: Interp) -> *const () {
    core::ptr::from_ref(&interp.phase).cast()
}

/// Moves `interp` to `phase`, wakes the threads that wait for that, and calls
/// the hook. No lock is held.
pub(crate) fn set(interp: Interp, phase: c_int) {
    // Relaxed: it publishes nothing but itself; the lot orders it for sleepers.
    if interp.phase.swap(phase, Relaxed) == phase {
        return;
    }
    lot::unpark_all(key(interp));
    if let Some(span) = span_of(phase) {
        trace::event(Event::Begin(span), || interp.id());
    }
    let Some((hook, data)) = HOOK.get() else { return };
    // SAFETY: the host's function; no lock held.
    let run = || unsafe { hook(interp.as_ptr(), phase, data) };
    callout::run(Callout::PhaseHook, interp.as_ptr().cast(), run);
}

/// What the trace calls a phase.
fn span_of(phase: c_int) -> Option<Span> {
    match phase {
        PyTState_PHASE_WAITING_THREADS => Some(Span::PhaseWaitingThreads),
        PyTState_PHASE_ATEXIT => Some(Span::PhaseAtexit),
        PyTState_PHASE_WAITING_GUARDS => Some(Span::PhaseWaitingGuards),
        PyTState_PHASE_FINALIZING => Some(Span::PhaseFinalizing),
        _ => None,
    }
}
