//! What initialization is asked for: by the host's configuration, and by the
//! environment where the host leaves a choice open.

use crate::life::environment;
use crate::state::config::{
    Compat, GilKind, PyTState_CHECK_FATAL, PyTState_CHECK_STRICT, PyTState_Config,
    PyTState_GIL_NONE, PyTState_GIL_SHARED, PyTState_LATE_ABORT, PyTState_LATE_HANG,
};
use crate::state::hooks::{InterpHooks, StateHooks};
use crate::state::object::PyTState_ObjectHooks;
use core::ffi::CStr;

/// What initialization was asked for, checked.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// `None`: as the environment says, else with a GIL.
    gil: Option<GilKind>,
    /// -1: as the emulated version does.
    pub(super) late: i32,
    compat: Option<Compat>,
    check_level: i32,
    pub(super) host_size: usize,
    pub(super) objects: PyTState_ObjectHooks,
    pub(super) hooks: StateHooks,
    pub(crate) install_signals: bool,
    /// The environment is read (`life::environment`).
    pub(super) environment: bool,
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
        hooks: StateHooks::NONE,
        install_signals: true,
        environment: true,
    };

    /// What Py_InitializeFromConfig can choose. `gil`: `None` leaves it to the
    /// environment.
    pub(crate) fn python(install_signals: bool, environment: bool, gil: Option<bool>) -> Settings {
        let gil = gil.map(|on| if on { GilKind::Own } else { GilKind::Without });
        Settings { gil, install_signals, environment, ..Settings::DEFAULT }
    }

    pub(super) fn gil_kind(&self) -> GilKind {
        match self.gil {
            Some(kind) => kind,
            None if self.environment && environment::is_gil_free() => GilKind::Without,
            None => GilKind::Own,
        }
    }

    pub(super) fn compat(&self) -> Compat {
        let asked = if self.environment { environment::compat() } else { None };
        self.compat.or(asked).unwrap_or(Compat::DEFAULT)
    }

    pub(super) fn check_level(&self) -> i32 {
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
        if config.interp_host_size > isize::MAX as usize / 2 {
            return Err(c"PyTState_Config.interp_host_size is too large");
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
            hooks: hooks_of(config),
            install_signals: true,
            environment: true,
        })
    }
}

/// The functions that a host's configuration names.
fn hooks_of(config: &PyTState_Config) -> StateHooks {
    // SAFETY: NULL or the host's table, valid during the call.
    let fork = unsafe { config.fork.as_ref() };
    StateHooks {
        functions: [
            config.on_new,
            config.on_attach,
            config.on_detach,
            config.on_delete,
            config.on_request,
        ],
        interp: InterpHooks {
            size: config.interp_host_size,
            init: config.interp_init,
            fini: config.interp_fini,
        },
        fork: fork.map_or([None; 3], |fork| [fork.before, fork.parent, fork.child]),
        arg: config.hook_arg,
    }
}
