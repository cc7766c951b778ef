//! Initialization of the runtime, any number of times.

use super::finalize;
use super::settings::Settings;
use crate::life::abandoned;
use crate::life::environment;
use crate::life::guards;
use crate::life::interp::lifecycle::{self, NewInterpError};
use crate::life::tstate::{self, Origin};
use crate::os::{clock, ids, thread};
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::gilstate_slot;
use crate::sched::{attach, late, signals};
use crate::state::config::{
    GilKind, PyInterpreterConfig, PyInterpreterConfig_OWN_GIL, PyTState_INTERP_NO_GIL,
};
use crate::state::hooks;
use crate::state::interp::WHENCE_RUNTIME;
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::sync::fork_lock::{ForkRow, fork_row};
use crate::sync::mutex::PyMutex;
use crate::sync::owed;
use core::ffi::CStr;
use core::sync::atomic::{
    AtomicI64, AtomicUsize,
    Ordering::{Relaxed, Release},
};

/// Serializes initialization.
pub(crate) static INIT: PyMutex = PyMutex::new();

/// The row of INIT in the fork table.
pub(crate) static FORK_ROWS: [ForkRow; 1] = [fork_row!(INIT)];

/// Identity of the thread that initializes the runtime at this moment, or 0.
static INITIALIZER: AtomicUsize = AtomicUsize::new(0);

/// Initializes the runtime and attaches the main state to the caller, which
/// becomes the main thread. Has no effect if the runtime is initialized already.
pub(crate) fn initialize(settings: &Settings) -> Result<(), &'static CStr> {
    if finalize::is_under_way_here() {
        return Err(c"the runtime is finalizing");
    }
    // The caller is a function of the host that initialization runs.
    if INITIALIZER.load(Relaxed) == thread::ident() as usize {
        return Err(c"the runtime is being initialized");
    }
    loop {
        // The wait comes before INIT is taken, which the other thread may need to fork.
        finalize::wait_until_over();
        // A fork holds INIT while it stops the world, so a thread waits for it
        // detached.
        INIT.lock(&mut Detach::new());
        let result = if RUNTIME.is_initialized() {
            Some(Ok(()))
        } else if finalize::is_under_way_elsewhere() {
            None
        } else {
            let free = || {
                let _ = INIT.unlock();
            };
            // Both are Relaxed: a thread finds only itself in it.
            INITIALIZER.store(thread::ident() as usize, Relaxed);
            let result = owed::or_give_back(free, || first_time(settings));
            INITIALIZER.store(0, Relaxed);
            Some(result)
        };
        let _ = INIT.unlock();
        if let Some(result) = result {
            return result;
        }
    }
}

fn first_time(settings: &Settings) -> Result<(), &'static CStr> {
    probe::point(Point::InitBegin);
    if !gilstate_slot::arm_thread_end() {
        return Err(c"no key of thread-specific storage is left");
    }
    late::set_give_back(guards::open::give_back_own);
    apply(settings);
    let kind = settings.gil_kind();
    let config = PyInterpreterConfig {
        gil: match kind {
            GilKind::Without => PyTState_INTERP_NO_GIL,
            _ => PyInterpreterConfig_OWN_GIL,
        },
        ..PyInterpreterConfig::LEGACY
    };
    let (main, life) =
        lifecycle::new(&config, kind, WHENCE_RUNTIME).map_err(|error| match error {
            NewInterpError::Refused => c"interp_init refused the main interpreter",
            NewInterpError::NoMemory => c"no memory for the main interpreter",
            NewInterpError::NoId | NewInterpError::TooLate => c"failed to get an interpreter ID",
        })?;
    let Ok(tstate) = tstate::new_bound(main, Origin::first(life)) else {
        lifecycle::discard(main, life);
        return Err(c"no memory for the main thread state");
    };
    // A call may have been added since those of the last life were forgotten.
    requests::become_main_state(tstate);
    attach::attach(tstate);
    if settings.install_signals {
        signals::install();
    }
    if settings.environment {
        environment::apply_diagnostics();
    }
    RUNTIME.initialized.store(1, Release);
    probe::point(Point::InitDone);
    Ok(())
}

/// The process that initialized last, or that was reset after a fork.
static PROCESS: AtomicI64 = AtomicI64::new(0);

/// No GIL is left in the calling process that a thread of its parent took.
pub(crate) fn note_process() {
    PROCESS.store(ids::process(), Relaxed);
}

/// A fork between two lives is announced by no call: the GILs of ended
/// interpreters are then as late threads of the parent had them at that moment,
/// and no thread of this process will release one. INIT is held.
fn reset_gils_after_fork() {
    let before = PROCESS.swap(ids::process(), Relaxed);
    if before != 0 && before != ids::process() {
        RUNTIME.pooled_interps().for_each(|interp| interp.own_gil.reset_in_child(false));
    }
}

/// Puts the runtime's settings in place before anything of it exists.
fn apply(settings: &Settings) {
    // All stores are Relaxed: `initialized` publishes them.
    clock::prepare();
    reset_gils_after_fork();
    abandoned::sweep();
    RUNTIME.generation.fetch_add(1, Relaxed);
    RUNTIME.next_interp_id.store(0, Relaxed);
    RUNTIME.finalizing.store(core::ptr::null_mut(), Release);
    RUNTIME.finalizing_thread.store(0, Relaxed);
    RUNTIME.gilstate_check.store(1, Relaxed);
    // A fork() between two lives needs no call of this library, but it changes
    // the kernel id.
    thread::forget_native_id();
    RUNTIME.main_thread.store(thread::ident() as usize, Relaxed);
    RUNTIME.main_pending.forget();
    // If there is no memory, the first add tries again.
    let _ = RUNTIME.main_pending.prepare();
    RUNTIME.set_host_size(settings.host_size);
    RUNTIME.check_level.store(settings.check_level(), Relaxed);
    if settings.late >= 0 {
        RUNTIME.set_late_policy(settings.late);
    }
    let late = if settings.environment { environment::late_policy() } else { None };
    RUNTIME.late_by_environment.store(late.unwrap_or(-1), Relaxed);
    RUNTIME.set_compat(settings.compat());
    hooks::set(&settings.hooks);
    probe::tell_host_of_attaches(settings.hooks.watches_attaches());
    // SAFETY: no thread has a state of this life of the runtime yet.
    unsafe { RUNTIME.set_objects(settings.objects) };
}
