//! Initialization of the runtime, any number of times.

use crate::life::abandoned;
use crate::life::environment;
use crate::life::finalize;
use crate::life::guards;
use crate::life::interp::{self, NewInterpError};
use crate::life::tstate::{self, Origin};
use crate::os::{clock, thread};
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::{attach, current, eval_breaker, late, signals};
use crate::state::config::{
    Compat, GilKind, PyInterpreterConfig, PyInterpreterConfig_OWN_GIL, PyTState_CHECK_FATAL,
    PyTState_CHECK_STRICT, PyTState_Config, PyTState_GIL_NONE, PyTState_GIL_SHARED,
    PyTState_INTERP_NO_GIL, PyTState_LATE_ABORT, PyTState_LATE_HANG,
};
use crate::state::interp::WHENCE_RUNTIME;
use crate::state::object::PyTState_ObjectHooks;
use crate::state::runtime::RUNTIME;
use crate::sync::mutex::PyMutex;
use crate::sync::owed;
use core::ffi::CStr;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Serialises initialization.
pub(crate) static INIT: PyMutex = PyMutex::new();

/// What initialization was asked for, checked.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// `None`: as the environment says, else with a GIL.
    gil: Option<GilKind>,
    /// -1: as the emulated version does.
    late: i32,
    compat: Option<Compat>,
    check_level: i32,
    host_size: usize,
    objects: PyTState_ObjectHooks,
    pub(crate) install_signals: bool,
    /// The environment is read (`life::environment`).
    environment: bool,
}

impl Settings {
    /// Plain Py_InitializeEx.
    pub(crate) const DEFAULT: Settings = Settings {
        gil: None,
        late: -1,
        compat: None,
        check_level: PyTState_CHECK_FATAL,
        host_size: 0,
        objects: PyTState_ObjectHooks::NONE,
        install_signals: true,
        environment: true,
    };

    /// What Py_InitializeFromConfig can choose. `gil`: `None` leaves it to the
    /// environment.
    pub(crate) fn python(install_signals: bool, environment: bool, gil: Option<bool>) -> Settings {
        let gil = gil.map(|on| if on { GilKind::Own } else { GilKind::Without });
        Settings { gil, install_signals, environment, ..Settings::DEFAULT }
    }

    fn gil_kind(&self) -> GilKind {
        match self.gil {
            Some(kind) => kind,
            None if self.environment && environment::is_gil_free() => GilKind::Without,
            None => GilKind::Own,
        }
    }

    fn compat(&self) -> Compat {
        let asked = if self.environment { environment::compat() } else { None };
        self.compat.or(asked).unwrap_or(Compat::DEFAULT)
    }

    fn check_level(&self) -> i32 {
        // 0 is FATAL, and also what a host that says nothing has.
        let asked = if self.environment && self.check_level == PyTState_CHECK_FATAL {
            environment::check_level()
        } else {
            None
        };
        asked.unwrap_or(self.check_level)
    }

    /// Checks a host's configuration; `Err` is the status text.
    pub(crate) fn from_config(config: &PyTState_Config) -> Result<Settings, &'static CStr> {
        let gil = match config.gil {
            PyTState_GIL_SHARED => None,
            PyTState_GIL_NONE => Some(GilKind::Without),
            _ => return Err(c"invalid PyTState_Config.gil"),
        };
        let late = match config.late_attach {
            PyTState_LATE_HANG => -1,
            other if (PyTState_LATE_HANG..=PyTState_LATE_ABORT).contains(&other) => other,
            _ => return Err(c"invalid PyTState_Config.late_attach"),
        };
        let compat = match config.compat {
            0 => None,
            version => {
                Some(Compat::from_hex(version as u32).ok_or(c"invalid PyTState_Config.compat")?)
            }
        };
        if !(PyTState_CHECK_FATAL..=PyTState_CHECK_STRICT).contains(&config.check_level) {
            return Err(c"invalid PyTState_Config.check_level");
        }
        if config.host_tstate_size > isize::MAX as usize / 2 {
            return Err(c"PyTState_Config.host_tstate_size is too large");
        }
        // SAFETY: NULL or the host's table, valid during the call.
        let objects = unsafe { config.objects.as_ref() };
        Ok(Settings {
            gil,
            late,
            compat,
            check_level: config.check_level,
            host_size: config.host_tstate_size,
            objects: objects.copied().unwrap_or(PyTState_ObjectHooks::NONE),
            install_signals: true,
            environment: true,
        })
    }
}

/// Initializes the runtime and attaches the main state to the caller, which
/// becomes the main thread. Nothing happens when it is initialized already.
pub(crate) fn initialize(settings: &Settings) -> Result<(), &'static CStr> {
    if finalize::is_under_way_here() {
        return Err(c"the runtime is finalizing");
    }
    loop {
        // Without INIT, which the other thread may need to fork.
        finalize::wait_until_over();
        // A fork holds INIT while it stops the world: nobody waits for it attached.
        INIT.lock(&mut Detach::new());
        let result = if RUNTIME.is_initialized() {
            Some(Ok(()))
        } else if finalize::is_under_way_elsewhere() {
            None
        } else {
            let free = || {
                let _ = INIT.unlock();
            };
            Some(owed::or_give_back(free, || first_time(settings)))
        };
        let _ = INIT.unlock();
        if let Some(result) = result {
            return result;
        }
    }
}

fn first_time(settings: &Settings) -> Result<(), &'static CStr> {
    probe::point(Point::InitBegin);
    if !current::arm_thread_end() {
        return Err(c"no key of thread-specific storage is left");
    }
    late::set_give_back(guards::give_back_own);
    apply(settings);
    let kind = settings.gil_kind();
    let config = PyInterpreterConfig {
        gil: match kind {
            GilKind::Without => PyTState_INTERP_NO_GIL,
            _ => PyInterpreterConfig_OWN_GIL,
        },
        ..PyInterpreterConfig::LEGACY
    };
    let (main, life) = interp::new(&config, kind, WHENCE_RUNTIME).map_err(|error| match error {
        NewInterpError::NoMemory => c"no memory for the main interpreter",
        NewInterpError::NoId | NewInterpError::TooLate => c"failed to get an interpreter ID",
    })?;
    let Ok(tstate) = tstate::new_bound(main, Origin::first(life)) else {
        interp::discard(main, life);
        return Err(c"no memory for the main thread state");
    };
    // A call may have been added since those of the last life were forgotten.
    eval_breaker::become_main_state(tstate);
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

/// Puts the runtime's settings in place before anything of it exists.
fn apply(settings: &Settings) {
    // Relaxed, all of it: `initialized` publishes it.
    clock::prepare();
    abandoned::sweep();
    RUNTIME.generation.fetch_add(1, Relaxed);
    RUNTIME.next_interp_id.store(0, Relaxed);
    RUNTIME.finalizing.store(core::ptr::null_mut(), Release);
    RUNTIME.finalizing_thread.store(0, Relaxed);
    RUNTIME.gilstate_check.store(1, Relaxed);
    // A fork() between two lives is nobody's business, but it changes the kernel id.
    thread::forget_native_id();
    RUNTIME.main_thread.store(thread::ident() as usize, Relaxed);
    RUNTIME.main_pending.forget();
    // Without memory the first add tries again.
    let _ = RUNTIME.main_pending.prepare();
    RUNTIME.set_host_size(settings.host_size);
    RUNTIME.check_level.store(settings.check_level(), Relaxed);
    if settings.late >= 0 {
        RUNTIME.set_late_policy(settings.late);
    }
    let late = if settings.environment { environment::late_policy() } else { None };
    RUNTIME.late_by_environment.store(late.unwrap_or(-1), Relaxed);
    RUNTIME.set_compat(settings.compat());
    // SAFETY: no thread has a state of this life of the runtime yet.
    unsafe { RUNTIME.set_objects(settings.objects) };
}
