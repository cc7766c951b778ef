//! Configuration: of one interpreter (CPython's struct) and of the runtime.

use crate::state::object::PyTState_ObjectHooks;
use crate::state::public::{PyInterpreterState, PyThreadState};
use core::ffi::{CStr, c_int, c_void};

/// Options of a new interpreter (CPython 3.12+).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyInterpreterConfig {
    /// Share the main interpreter's allocator; 0 demands
    /// `check_multi_interp_extensions`.
    pub use_main_obmalloc: c_int,
    /// os.fork() is allowed.
    pub allow_fork: c_int,
    /// os.exec*() is allowed.
    pub allow_exec: c_int,
    /// Threads may be started.
    pub allow_threads: c_int,
    /// Daemon threads may be started.
    pub allow_daemon_threads: c_int,
    /// Refuse extensions that do not support several interpreters.
    pub check_multi_interp_extensions: c_int,
    /// PyInterpreterConfig_DEFAULT_GIL, _SHARED_GIL, _OWN_GIL or
    /// PyTState_INTERP_NO_GIL.
    pub gil: c_int,
}

/// `PyInterpreterConfig.gil`: treated as shared.
pub const PyInterpreterConfig_DEFAULT_GIL: c_int = 0;
/// `PyInterpreterConfig.gil`: use the main interpreter's GIL.
pub const PyInterpreterConfig_SHARED_GIL: c_int = 1;
/// `PyInterpreterConfig.gil`: a GIL of its own.
pub const PyInterpreterConfig_OWN_GIL: c_int = 2;
/// `PyInterpreterConfig.gil`: no GIL; attached threads run at the same time.
pub const PyTState_INTERP_NO_GIL: c_int = 3;

/// Feature bit: shares the main allocator.
pub const Py_RTFLAGS_USE_MAIN_OBMALLOC: u64 = 1 << 5;
/// Feature bit: checks extensions for multi-interpreter support.
pub const Py_RTFLAGS_MULTI_INTERP_EXTENSIONS: u64 = 1 << 8;
/// Feature bit: threads may be started.
pub const Py_RTFLAGS_THREADS: u64 = 1 << 10;
/// Feature bit: daemon threads may be started.
pub const Py_RTFLAGS_DAEMON_THREADS: u64 = 1 << 11;
/// Feature bit: fork is allowed.
pub const Py_RTFLAGS_FORK: u64 = 1 << 15;
/// Feature bit: exec is allowed.
pub const Py_RTFLAGS_EXEC: u64 = 1 << 16;

/// Which GIL an interpreter runs under, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GilKind {
    /// The GIL of the main interpreter.
    Shared,
    /// A GIL of its own.
    Own,
    /// The interpreter runs without a GIL.
    Without,
}

impl PyInterpreterConfig {
    /// Py_NewInterpreter's preset (S-NI-07).
    pub(crate) const LEGACY: PyInterpreterConfig = PyInterpreterConfig {
        use_main_obmalloc: 1,
        allow_fork: 1,
        allow_exec: 1,
        allow_threads: 1,
        allow_daemon_threads: 1,
        check_multi_interp_extensions: 0,
        gil: PyInterpreterConfig_SHARED_GIL,
    };

    /// Checks the fields in CPython's order (S-NI-05); `Err` is the status text.
    pub(crate) fn validate(&self) -> Result<GilKind, &'static CStr> {
        if self.use_main_obmalloc == 0 && self.check_multi_interp_extensions == 0 {
            return Err(
                c"an allocator of its own needs check_multi_interp_extensions (single-phase init extensions cannot use it)",
            );
        }
        match self.gil {
            PyInterpreterConfig_DEFAULT_GIL | PyInterpreterConfig_SHARED_GIL => Ok(GilKind::Shared),
            PyInterpreterConfig_OWN_GIL => Ok(GilKind::Own),
            PyTState_INTERP_NO_GIL => Ok(GilKind::Without),
            _ => Err(c"invalid interpreter config 'gil' value"),
        }
    }

    /// The feature bits that the fields stand for (S-NI-08).
    pub(crate) fn features(&self) -> u64 {
        [
            (self.use_main_obmalloc, Py_RTFLAGS_USE_MAIN_OBMALLOC),
            (self.check_multi_interp_extensions, Py_RTFLAGS_MULTI_INTERP_EXTENSIONS),
            (self.allow_threads, Py_RTFLAGS_THREADS),
            (self.allow_daemon_threads, Py_RTFLAGS_DAEMON_THREADS),
            (self.allow_fork, Py_RTFLAGS_FORK),
            (self.allow_exec, Py_RTFLAGS_EXEC),
        ]
        .iter()
        .filter(|(field, _)| *field != 0)
        .fold(0, |bits, (_, bit)| bits | bit)
    }
}

/// `PyTState_Config.gil`: the main interpreter has a GIL (default).
pub const PyTState_GIL_SHARED: c_int = 0;
/// `PyTState_Config.gil`: the main interpreter runs without a GIL.
pub const PyTState_GIL_NONE: c_int = 1;

/// Late attach: the thread hangs: it sleeps until the process ends (CPython 3.14; the default).
pub const PyTState_LATE_HANG: c_int = 0;
/// Late attach: the thread ends (CPython 3.12).
pub const PyTState_LATE_EXIT: c_int = 1;
/// Late attach: fatal error that names the thread.
pub const PyTState_LATE_ABORT: c_int = 2;

/// Checks: none beyond what keeps memory valid.
pub const PyTState_CHECK_OFF: c_int = 1;
/// Checks: a line on stderr, then go on as CPython would.
pub const PyTState_CHECK_WARN: c_int = 2;
/// Checks: fatal error (the default).
pub const PyTState_CHECK_FATAL: c_int = 0;
/// Checks: call the function given to PyTState_SetCheckCallback().
pub const PyTState_CHECK_CALLBACK: c_int = 3;
/// Checks: fatal error, also on what CPython allows although it is seldom meant: attaching a state
/// of another OS thread.
pub const PyTState_CHECK_STRICT: c_int = 4;

/// Settings of PyTState_Initialize(). Zero the struct, or call PyTState_Config_Init(), then set
/// what differs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyTState_Config {
    /// sizeof(PyTState_Config): the struct may grow. 0: the struct of version 0.1, which ends with
    /// `objects`.
    pub size: usize,
    /// PyTState_GIL_SHARED or PyTState_GIL_NONE, for the main interpreter.
    pub gil: c_int,
    /// PyTState_LATE_HANG, _EXIT or _ABORT.
    pub late_attach: c_int,
    /// CPython version to behave like: 0x030C0000 to 0x030F0000; 0: 3.15.
    pub compat: c_int,
    /// PyTState_CHECK_FATAL (default), _OFF, _WARN, _CALLBACK or _STRICT.
    pub check_level: c_int,
    /// Bytes that the host wants beside every thread state, zeroed.
    pub host_tstate_size: usize,
    /// Hooks for the host's objects, or NULL. Copied.
    pub objects: *const PyTState_ObjectHooks,
    /// Argument of the functions below.
    pub hook_arg: *mut c_void,
    /// Called for every new thread state, before other threads can see it, or
    /// NULL.
    pub on_new: PyTState_StateHook,
    /// Called after a state was attached, by its thread, or NULL.
    pub on_attach: PyTState_StateHook,
    /// Called before a state is detached, also for a pause, by its thread, or
    /// NULL.
    pub on_detach: PyTState_StateHook,
    /// Called when a state is cleared, after its own on_delete and before its
    /// exit event is set, or NULL. Once for every state that on_new was called
    /// for, unless a fork child discards it.
    pub on_delete: PyTState_StateHook,
    /// Called when something is asked of a state that was not asked before (a
    /// bit of its eval_breaker is set), or NULL. By any thread, also in a signal
    /// handler and with locks of the library held: it must be async-signal-safe
    /// and call nothing of the library.
    pub on_request: PyTState_StateHook,
    /// Bytes that the host wants beside every interpreter, zeroed:
    /// PyTState_InterpHostData().
    pub interp_host_size: usize,
    /// Called for a new interpreter before it has a state, or NULL. A result
    /// other than 0 refuses the interpreter.
    pub interp_init: Option<unsafe extern "C" fn(*mut PyInterpreterState, *mut c_void) -> c_int>,
    /// Called when an interpreter is gone, after its last state, or NULL. Not
    /// called for one that interp_init refused or that a fork child discards.
    pub interp_fini: Option<unsafe extern "C" fn(*mut PyInterpreterState, *mut c_void)>,
    /// Functions around a fork, or NULL. Copied.
    pub fork: *const PyTState_ForkHooks,
}

/// A function that is told of a thread state.
pub type PyTState_StateHook = Option<unsafe extern "C" fn(*mut PyThreadState, *mut c_void)>;

/// What a host does around a fork: its own locks, in its own order. Every member
/// may be NULL; each gets PyTState_Config.hook_arg.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyTState_ForkHooks {
    /// Before the library takes its locks, by the thread that forks.
    pub before: Option<unsafe extern "C" fn(*mut c_void)>,
    /// In the parent, after the library has freed its locks.
    pub parent: Option<unsafe extern "C" fn(*mut c_void)>,
    /// In the child, after the library is whole again.
    pub child: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// CPython version whose rules apply where versions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Compat(pub(crate) u32);

impl Compat {
    pub(crate) const V3_12: Compat = Compat(0x030C_0000);
    pub(crate) const V3_13: Compat = Compat(0x030D_0000);
    pub(crate) const V3_14: Compat = Compat(0x030E_0000);
    pub(crate) const V3_15: Compat = Compat(0x030F_0000);
    /// The newest released version that the suite was run against.
    pub(crate) const DEFAULT: Compat = Compat::V3_15;

    /// Decodes a hexversion; only the feature release counts.
    pub(crate) fn from_hex(version: u32) -> Option<Compat> {
        let release = Compat(version & 0xFFFF_0000);
        (Compat::V3_12..=Compat::V3_15).contains(&release).then_some(release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_documented_feature_bits() {
        assert_eq!(
            PyInterpreterConfig::LEGACY.features(),
            Py_RTFLAGS_USE_MAIN_OBMALLOC
                | Py_RTFLAGS_THREADS
                | Py_RTFLAGS_DAEMON_THREADS
                | Py_RTFLAGS_FORK
                | Py_RTFLAGS_EXEC
        );
    }

    #[test]
    fn a_private_allocator_without_the_extension_check_is_refused_first() {
        let config =
            PyInterpreterConfig { use_main_obmalloc: 0, gil: 99, ..PyInterpreterConfig::LEGACY };
        let text = config.validate().unwrap_err().to_str().unwrap();
        assert!(text.contains("check_multi_interp_extensions"), "{text}");
    }

    #[test]
    fn versions_outside_the_emulated_range_are_refused() {
        assert_eq!(Compat::from_hex(0x030D_08F0), Some(Compat::V3_13));
        assert_eq!(Compat::from_hex(0x030B_0000), None);
        assert_eq!(Compat::from_hex(0x0310_0000), None);
    }
}
