//! Initialization from a PyConfig: the small part of CPython's struct that means something here.

use super::arg;
use super::initconfig::PyStatus;
use crate::life::runtime::init;
use crate::life::runtime::settings::Settings;
use core::ffi::{CStr, c_int};

/// Settings of Py_InitializeFromConfig(). The members are CPython's; what concerns modules, paths, streams and memory
/// has no meaning without an interpreter of bytecode and is not here.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyConfig {
    /// 0: not filled; 1: isolated; 2: as the python program does. Set by the PyConfig_Init functions.
    pub _config_init: c_int,
    /// 1: the environment is ignored.
    pub isolated: c_int,
    /// 1: the variables of docs/environment.md are read at initialization.
    pub use_environment: c_int,
    /// 1: SIGINT is handled, unless the program handles it already.
    pub install_signal_handlers: c_int,
    /// 0: the main interpreter runs without a GIL; 1: with; -1: as the environment says, else with.
    pub enable_gil: c_int,
}

/// Fills `config` with the settings of the python program: the environment is read, and SIGINT is
/// handled.
///
/// @param config  Struct to fill. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `config` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyConfig_InitPythonConfig(config: *mut PyConfig) {
    let filled = PyConfig {
        _config_init: 2,
        isolated: 0,
        use_environment: 1,
        install_signal_handlers: 1,
        enable_gil: -1,
    };
    // SAFETY: this function's contract.
    unsafe { fill(config, filled, c"PyConfig_InitPythonConfig") };
}

/// Fills `config` with isolated settings: the environment is not read, and no signal is handled.
///
/// @param config  Struct to fill. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `config` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyConfig_InitIsolatedConfig(config: *mut PyConfig) {
    let filled = PyConfig {
        _config_init: 1,
        isolated: 1,
        use_environment: 0,
        install_signal_handlers: 0,
        enable_gil: -1,
    };
    // SAFETY: this function's contract.
    unsafe { fill(config, filled, c"PyConfig_InitIsolatedConfig") };
}

/// Empties `config`. This library allocates nothing for it.
///
/// @param config  The struct. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `config` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyConfig_Clear(config: *mut PyConfig) {
    let empty = PyConfig {
        _config_init: 0,
        isolated: 0,
        use_environment: 0,
        install_signal_handlers: 0,
        enable_gil: 0,
    };
    // SAFETY: this function's contract.
    unsafe { fill(config, empty, c"PyConfig_Clear") };
}

/// # Safety
/// `config` is NULL or writable.
unsafe fn fill(config: *mut PyConfig, value: PyConfig, func: &CStr) {
    if config.is_null() {
        arg::null(func, "config");
    }
    // SAFETY: this function's contract.
    unsafe { config.write(value) };
}

/// Initializes the runtime as `config` says; see Py_InitializeEx() and PyTState_Initialize().
///
/// @param config  Settings from a PyConfig_Init function. NULL is an error. Borrowed.
/// @return A status: OK, or an error; then nothing was made.
///
/// Errors:  in the status: NULL, a struct that no PyConfig_Init function filled, no memory. When the runtime is
///          initialized already: OK, and `config` is ignored.
/// Blocks:  while another thread initializes.
/// Threads: any, detached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `config` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_InitializeFromConfig(config: *const PyConfig) -> PyStatus {
    const FUNC: &CStr = c"Py_InitializeFromConfig";
    // SAFETY: this function's contract.
    let Some(config) = (unsafe { arg::nullable(config) }) else {
        return PyStatus::error(FUNC, c"initialization config is NULL");
    };
    if !(1..=2).contains(&config._config_init) {
        return PyStatus::error(FUNC, c"the config was not filled by a PyConfig_Init function");
    }
    let settings = Settings::python(
        config.install_signal_handlers != 0,
        config.use_environment != 0 && config.isolated == 0,
        match config.enable_gil {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    );
    match init::initialize(&settings) {
        Ok(()) => PyStatus::ok(),
        Err(text) => PyStatus::error(FUNC, text),
    }
}
