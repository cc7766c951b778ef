//! Shutdown phases and the hook that hears of them (extension API 5.2).

use crate::probe::trace::{self, Event, Span};
use crate::state::interp::{
    Interp, PyInterpreterState, PyTState_PHASE_ATEXIT, PyTState_PHASE_FINALIZING,
    PyTState_PHASE_WAITING_GUARDS, PyTState_PHASE_WAITING_THREADS,
};
use crate::sync::lot;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// Hears of every phase change.
pub(crate) type PhaseHook =
    unsafe extern "C" fn(interp: *mut PyInterpreterState, phase: c_int, data: *mut c_void);

static HOOK: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
static HOOK_DATA: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Installs (or removes) the hook.
pub(crate) fn set_hook(hook: Option<PhaseHook>, data: *mut c_void) {
    // Relaxed: HOOK publishes it.
    HOOK_DATA.store(data, Relaxed);
    let pointer = hook.map_or(core::ptr::null_mut(), |hook| hook as *mut c_void);
    HOOK.store(pointer, Release);
}

/// Key on which others wait for the next phase of `interp`.
pub(crate) fn key(interp: Interp) -> *const () {
    core::ptr::from_ref(&interp.phase).cast()
}

/// Moves `interp` to `phase`, wakes who waits for that and tells the hook. No
/// lock is held.
pub(crate) fn set(interp: Interp, phase: c_int) {
    // Relaxed: it publishes nothing but itself; the lot orders it for sleepers.
    if interp.phase.swap(phase, Relaxed) == phase {
        return;
    }
    lot::unpark_all(key(interp));
    if let Some(span) = span_of(phase) {
        trace::event(Event::Begin(span), || interp.id());
    }
    let hook = HOOK.load(Acquire);
    if hook.is_null() {
        return;
    }
    // SAFETY: only `set_hook` fills the pointer, with this type.
    let hook = unsafe { core::mem::transmute::<*mut c_void, PhaseHook>(hook) };
    // SAFETY: the host's function; no lock held.
    unsafe { hook(interp.as_ptr(), phase, HOOK_DATA.load(Relaxed)) };
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
