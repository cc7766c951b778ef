//! Functions of the host that are told of every thread state
//! (`PyTState_Config.on_new` and the others), and of every request to one.
//!
//! HOOKS-1: they are set during initialization, before any thread has a state of
//! this life of the runtime, and stay as they are until the next one. A thread
//! that is late from an earlier life may meet the new ones.

use crate::os::function::FunctionCell;
use crate::state::public::{PyInterpreterState, PyThreadState};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{
    AtomicPtr, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// A function that is told of a thread state.
pub(crate) type StateHook = unsafe extern "C" fn(*mut PyThreadState, *mut c_void);

/// What the host may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    New,
    Attach,
    Detach,
    Delete,
    Request,
}

/// The host's functions for interpreters.
#[derive(Clone, Copy)]
pub(crate) struct InterpHooks {
    /// Bytes beside every interpreter.
    pub(crate) size: usize,
    pub(crate) init: Option<InterpInit>,
    pub(crate) fini: Option<InterpFini>,
}

pub(crate) type InterpInit = unsafe extern "C" fn(*mut PyInterpreterState, *mut c_void) -> c_int;
pub(crate) type InterpFini = unsafe extern "C" fn(*mut PyInterpreterState, *mut c_void);
pub(crate) type ForkHook = unsafe extern "C" fn(*mut c_void);

/// The three moments around a fork, in the order of the host's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fork {
    Before,
    Parent,
    Child,
}

/// The host's functions, in the order of [`Told`], and their argument.
#[derive(Clone, Copy)]
pub(crate) struct StateHooks {
    pub(crate) functions: [Option<StateHook>; 5],
    pub(crate) interp: InterpHooks,
    /// In the order of [`Fork`].
    pub(crate) fork: [Option<ForkHook>; 3],
    pub(crate) arg: *mut c_void,
}

impl StateHooks {
    pub(crate) const NONE: StateHooks = StateHooks {
        functions: [None; 5],
        interp: InterpHooks { size: 0, init: None, fini: None },
        fork: [None; 3],
        arg: core::ptr::null_mut(),
    };

    /// Whether the host wants to be told of every attach and detach.
    pub(crate) fn watches_attaches(&self) -> bool {
        self.functions[Told::Attach as usize].is_some()
            || self.functions[Told::Detach as usize].is_some()
    }
}

static FUNCTIONS: [FunctionCell<StateHook>; 5] = [const { FunctionCell::new() }; 5];
static FORK: [FunctionCell<ForkHook>; 3] = [const { FunctionCell::new() }; 3];
static INTERP_SIZE: AtomicUsize = AtomicUsize::new(0);
static INTERP_INIT: FunctionCell<InterpInit> = FunctionCell::new();
static INTERP_FINI: FunctionCell<InterpFini> = FunctionCell::new();
static ARG: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Installs what the host asked for (HOOKS-1).
pub(crate) fn set(hooks: &StateHooks) {
    ARG.store(hooks.arg, Relaxed);
    INTERP_SIZE.store(hooks.interp.size, Relaxed);
    INTERP_INIT.store(hooks.interp.init, Release);
    INTERP_FINI.store(hooks.interp.fini, Release);
    for (cell, function) in FORK.iter().zip(hooks.fork) {
        cell.store(function, Release);
    }
    for (cell, function) in FUNCTIONS.iter().zip(hooks.functions) {
        // A thread that reads the function reads the argument as well.
        cell.store(function, Release);
    }
}

/// The function to tell, with its argument.
#[inline]
pub(crate) fn get(what: Told) -> Option<(StateHook, *mut c_void)> {
    let function = FUNCTIONS[what as usize].load(Acquire)?;
    Some((function, ARG.load(Relaxed)))
}

/// What the host wants of interpreters, with the argument of the functions.
pub(crate) fn of_interps() -> (InterpHooks, *mut c_void) {
    let hooks = InterpHooks {
        size: INTERP_SIZE.load(Relaxed),
        init: INTERP_INIT.load(Acquire),
        fini: INTERP_FINI.load(Acquire),
    };
    (hooks, ARG.load(Relaxed))
}

/// The function for that moment around a fork, with its argument.
pub(crate) fn of_forks(when: Fork) -> Option<(ForkHook, *mut c_void)> {
    let function = FORK[when as usize].load(Acquire)?;
    Some((function, ARG.load(Relaxed)))
}
