//! What CPython decides before it initializes: PyPreConfig of cpython/initconfig.h.

use super::arg;
use super::initconfig::PyStatus;
use core::ffi::{CStr, c_int};

/// Settings of Py_PreInitialize(): CPython's members, which are about locales, text and memory. None of them means
/// anything here.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyPreConfig {
    /// 0: not filled; 1: isolated; 2: as the python program does. Set by the PyPreConfig_Init functions.
    pub _config_init: c_int,
    /// 1: the command line is read.
    pub parse_argv: c_int,
    /// 1: the environment is ignored.
    pub isolated: c_int,
    /// 1: the environment is read.
    pub use_environment: c_int,
    /// 1: the locale of the user is set.
    pub configure_locale: c_int,
    /// 1: the C locale becomes a UTF-8 one.
    pub coerce_c_locale: c_int,
    /// 1: with a warning.
    pub coerce_c_locale_warn: c_int,
    /// 1: text is UTF-8.
    pub utf8_mode: c_int,
    /// 1: development mode.
    pub dev_mode: c_int,
    /// Number of the allocator; 0: the default.
    pub allocator: c_int,
}

/// Fills `config` with the settings of the python program.
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
pub unsafe extern "C" fn PyPreConfig_InitPythonConfig(config: *mut PyPreConfig) {
    let filled = PyPreConfig {
        _config_init: 2,
        parse_argv: 1,
        isolated: 0,
        use_environment: 1,
        configure_locale: 1,
        coerce_c_locale: -1,
        coerce_c_locale_warn: -1,
        utf8_mode: -1,
        dev_mode: -1,
        allocator: 0,
    };
    // SAFETY: this function's contract.
    unsafe { fill(config, filled, c"PyPreConfig_InitPythonConfig") };
}

/// Fills `config` with settings that depend on nothing outside.
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
pub unsafe extern "C" fn PyPreConfig_InitIsolatedConfig(config: *mut PyPreConfig) {
    let filled = PyPreConfig {
        _config_init: 3,
        parse_argv: 0,
        isolated: 1,
        use_environment: 0,
        configure_locale: 0,
        coerce_c_locale: 0,
        coerce_c_locale_warn: 0,
        utf8_mode: 0,
        dev_mode: 0,
        allocator: 0,
    };
    // SAFETY: this function's contract.
    unsafe { fill(config, filled, c"PyPreConfig_InitIsolatedConfig") };
}

/// # Safety
/// `config` is NULL or writable.
unsafe fn fill(config: *mut PyPreConfig, value: PyPreConfig, func: &CStr) {
    if config.is_null() {
        arg::null(func, "src_config");
    }
    // SAFETY: this function's contract.
    unsafe { config.write(value) };
}

/// Checks `src_config`. Nothing has to be prepared before an initialization here.
///
/// @param src_config  Settings from a PyPreConfig_Init function. NULL is an error. Borrowed.
/// @return A status: OK, or an error: NULL, or a struct that no PyPreConfig_Init function filled.
///
/// Errors:  in the status.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `src_config` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_PreInitialize(src_config: *const PyPreConfig) -> PyStatus {
    const FUNC: &CStr = c"Py_PreInitialize";
    // SAFETY: this function's contract.
    match unsafe { arg::nullable(src_config) } {
        None => PyStatus::error(FUNC, c"preinitialization config is NULL"),
        Some(config) if config._config_init == 0 => {
            PyStatus::error(FUNC, c"the config was not filled by a PyPreConfig_Init function")
        }
        Some(_) => PyStatus::ok(),
    }
}
