//! Beginning and end of the runtime and of interpreters: CPython's pylifecycle.h and cpython/pylifecycle.h.

use super::arg;
use super::initconfig::PyStatus;
use super::ret::exit_with;
use crate::life::interp::sub::{self, EndInterpreterError, IfThreadsRemain};
use crate::life::runtime::finalize::{self, Finalized};
use crate::life::runtime::init;
use crate::life::runtime::settings::Settings;
use crate::os::thread;
use crate::probe::text::LineBuf;
use crate::sched::callout::Ends;
use crate::sched::current;
use crate::sched::describe::describe;
use crate::sched::fatal::fatal;
use crate::state::config::{PyInterpreterConfig, PyTState_Config};
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_int};
use core::mem::offset_of;
use core::ptr;

/// Origin codes of interpreters (_PyInterpreterState_GetWhence in CPython).
const WHENCE_LEGACY_CAPI: i64 = 2;
const WHENCE_CAPI: i64 = 3;

/// Initializes the runtime with its SIGINT handler, as Py_InitializeEx(1) does.
///
/// Errors:  as Py_InitializeEx().
/// Blocks:  while another thread initializes, or finalizes and has committed to it.
/// Threads: as Py_InitializeEx().
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_Initialize() {
    initialize_or_exit(c"Py_Initialize", &Settings::DEFAULT);
}

/// Initializes the runtime. The calling thread becomes the main thread, and the first state of the
/// main interpreter is attached to it.
///
/// @param install_sigs  0: leave signals alone; else: handle SIGINT, unless the program handles it
///                      already.
///
/// Errors:  ends the process with status 1 without memory, or a key of thread-specific storage, or from a function that
///          finalization runs after its commit. Nothing happens when the runtime is initialized.
/// Blocks:  while another thread initializes, or finalizes and has committed to it.
/// Threads: any, detached. Not async-signal-safe. May be called again after Py_FinalizeEx().
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_InitializeEx(install_sigs: c_int) {
    let mut settings = Settings::DEFAULT;
    settings.install_signals = install_sigs != 0;
    initialize_or_exit(c"Py_InitializeEx", &settings);
}

fn initialize_or_exit(func: &CStr, settings: &Settings) {
    if let Err(text) = init::initialize(settings) {
        exit_with(func, text.to_str().unwrap_or("?"));
    }
}

/// Initializes the runtime as `config` says (docs/embedding.md); see Py_InitializeEx().
///
/// @param config  Settings, or NULL for the defaults. Copied. `size` must be sizeof(PyTState_Config), or 0, which stands
///                for the struct of version 0.1: then the fields up to `objects` count.
/// @return A status: OK, or an error that names the bad field; then nothing was made.
///
/// Errors:  in the status. When the runtime is initialized already: OK, and `config` is ignored.
/// Blocks:  while another thread initializes, or finalizes and has committed to it.
/// Threads: any, detached. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `config` is NULL or points to a PyTState_Config of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Initialize(config: *const PyTState_Config) -> PyStatus {
    const FUNC: &CStr = c"PyTState_Initialize";
    let settings = if config.is_null() {
        Settings::DEFAULT
    } else {
        // SAFETY: this function's contract.
        let config = unsafe { whole(config) };
        match config.and_then(|config| Settings::from_config(&config)) {
            Ok(settings) => settings,
            Err(text) => return PyStatus::error(FUNC, text),
        }
    };
    match init::initialize(&settings) {
        Ok(()) => PyStatus::ok(),
        Err(text) => PyStatus::error(FUNC, text),
    }
}

fn defaults() -> PyTState_Config {
    PyTState_Config {
        size: size_of::<PyTState_Config>(),
        gil: 0,
        late_attach: 0,
        compat: 0,
        check_level: 0,
        host_tstate_size: 0,
        objects: ptr::null(),
        hook_arg: ptr::null_mut(),
        on_new: None,
        on_attach: None,
        on_detach: None,
        on_delete: None,
        on_request: None,
        interp_host_size: 0,
        interp_init: None,
        interp_fini: None,
        fork: ptr::null(),
    }
}

/// A host's configuration as this library's struct: what a host that was
/// compiled with an older header does not have is zero, and what only a newer
/// header has must be.
///
/// # Safety
/// `config` points to a PyTState_Config of `size` bytes.
unsafe fn whole(config: *const PyTState_Config) -> Result<PyTState_Config, &'static CStr> {
    const FIRST: usize = offset_of!(PyTState_Config, hook_arg);
    // SAFETY: every struct begins with its size.
    let size = unsafe { (*config).size };
    let mut known = defaults();
    // 0: all defaults, and nothing else is set in what every host has.
    let has = if size == 0 { FIRST } else { size.min(size_of::<PyTState_Config>()) };
    if has < FIRST {
        return Err(c"PyTState_Config.size is smaller than that of the first version");
    }
    // SAFETY: the host's struct has that many bytes, and so has ours.
    unsafe { ptr::copy_nonoverlapping(config.cast::<u8>(), (&raw mut known).cast(), has) };
    let more = size.saturating_sub(size_of::<PyTState_Config>());
    // SAFETY: the host's struct has `size` bytes.
    let rest = unsafe { core::slice::from_raw_parts(config.cast::<u8>().wrapping_add(has), more) };
    if rest.iter().any(|&byte| byte != 0) {
        return Err(
            c"PyTState_Config has a setting that this version of the library does not know",
        );
    }
    Ok(known)
}

/// Fills `config` with the defaults.
///
/// @param config  Struct to fill. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `config` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Config_Init(config: *mut PyTState_Config) {
    if config.is_null() {
        arg::null(c"PyTState_Config_Init", "config");
    }
    // SAFETY: this function's contract.
    unsafe { config.write(defaults()) };
}

/// Returns whether the runtime is initialized.
///
/// @return 1 after initialization until the commit of Py_FinalizeEx(), else 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_IsInitialized() -> c_int {
    c_int::from(RUNTIME.is_initialized())
}

/// Returns whether the finalization of the runtime is past its commit.
///
/// @return 1 from the commit to the next initialization, else 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_IsFinalizing() -> c_int {
    c_int::from(RUNTIME.is_finalizing())
}

/// Returns what Py_IsFinalizing() returns. This is its old name.
///
/// @return As Py_IsFinalizing().
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.12 (replaced in 3.13).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Py_IsFinalizing() -> c_int {
    c_int::from(RUNTIME.is_finalizing())
}

/// Finalizes the runtime. It waits for non-daemon threads, runs the registered functions, ends the
/// sub-interpreters, waits for guards, and then commits: a thread that attaches later meets the
/// late-attach policy.
///
/// @return 0; -1 if buffered output could not be written, or if another thread is finalizing.
///
/// Errors:  -1 as above. 0 at once when the runtime is not initialized, or from inside its own callbacks. Fatal in every
///          other function of the host that the library calls, unless that is a pending call or a signal handler that
///          does not return; and between the calls before and after a fork (docs/shutdown.md).
/// Blocks:  until all of the above is done; see PyTState_SetShutdownReport().
/// Threads: any: on the main thread the main state is used; on another thread the attached state if it is in the main
///          interpreter, else a fresh one. Detached afterwards. Not async-signal-safe.
/// Source:  CPython 3.13; the rounds before the commit as in 3.15.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_FinalizeEx() -> c_int {
    match finalize(c"Py_FinalizeEx") {
        Finalized::Done => 0,
        Finalized::FlushFailed => -1,
        Finalized::Elsewhere => -1,
    }
}

fn finalize(func: &CStr) -> Finalized {
    if finalize::would_end() {
        arg::may_end(func, Ends::Runtime);
    }
    finalize::finalize()
}

/// Calls Py_FinalizeEx() and ignores its result.
///
/// Errors:  none.
/// Blocks:  as Py_FinalizeEx().
/// Threads: as Py_FinalizeEx().
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_Finalize() {
    let _ = finalize(c"Py_Finalize");
}

/// Finalizes the runtime, and then ends the process through exit(3).
///
/// @param status  Exit status; 120 is used instead if finalization failed.
///
/// Errors:  none.
/// Blocks:  as Py_FinalizeEx(). Does not return.
/// Threads: as Py_FinalizeEx().
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_Exit(status: c_int) -> ! {
    let code = match finalize(c"Py_Exit") {
        Finalized::Done => status,
        Finalized::FlushFailed | Finalized::Elsewhere => 120,
    };
    thread::exit_process(code)
}

/// Makes a sub-interpreter with the legacy settings and attaches its first state.
///
/// @return The new state, attached; the one that was attached before is left detached. Never NULL.
///
/// Errors:  ends the process with status 1 without memory or when the runtime is not initialized.
/// Blocks:  until the GIL is free.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_NewInterpreter() -> *mut PyThreadState {
    arg::may_make_interp(c"Py_NewInterpreter");
    match sub::create(&PyInterpreterConfig::LEGACY, WHENCE_LEGACY_CAPI) {
        Ok(tstate) => tstate.as_ptr(),
        Err(text) => exit_with(c"Py_NewInterpreter", text.to_str().unwrap_or("?")),
    }
}

/// Makes a sub-interpreter and attaches its first state.
///
/// @param tstate_p  Gets the new state, attached, or NULL on error. Must not be NULL. Borrowed.
/// @param config    Settings. Must not be NULL. Copied.
/// @return OK: the state that was attached before is left detached. Error: it is attached again, and nothing was made.
///
/// Errors:  fatal if a pointer is NULL. In the status: bad settings, no memory, runtime not initialized.
/// Blocks:  until the GIL is free.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13, with PyTState_INTERP_NO_GIL as one more value of `gil`.
///
/// # Safety
/// Both pointers are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_NewInterpreterFromConfig(
    tstate_p: *mut *mut PyThreadState,
    config: *const PyInterpreterConfig,
) -> PyStatus {
    const FUNC: &CStr = c"Py_NewInterpreterFromConfig";
    arg::may_make_interp(FUNC);
    if tstate_p.is_null() {
        arg::null(FUNC, "tstate_p");
    }
    // SAFETY: this function's contract.
    let config = unsafe { arg::required(config, FUNC, "config") };
    let (tstate, status) = match sub::create(config, WHENCE_CAPI) {
        Ok(tstate) => (tstate.as_ptr(), PyStatus::ok()),
        Err(text) => (core::ptr::null_mut(), PyStatus::error(FUNC, text)),
    };
    // SAFETY: this function's contract.
    unsafe { tstate_p.write(tstate) };
    status
}

/// Ends the interpreter of the attached state. It waits for the interpreter's non-daemon threads,
/// runs the registered functions, waits for guards, and then deletes the interpreter with all its
/// states. If another thread is ending the interpreter already, as finalization does, the call
/// waits until the interpreter is gone.
///
/// @param tstate  The attached state. Must not be NULL. Consumed.
///
/// Errors:  fatal if NULL or not attached ("thread is not current"), if it is in the main
///          interpreter, and, while the rules of 3.12 or 3.13 are in force, if other states are
///          left ("not the last thread"); from 3.14 on those are abandoned, and their threads meet
///          the late-attach policy. Fatal in a function of the host that the library called with a
///          state of the interpreter attached, or because it ends (docs/shutdown.md); and between
///          the calls around a fork.
/// Blocks:  until its threads and guards are gone.
/// Threads: attached; nothing is attached afterwards. Not async-signal-safe.
/// Source:  CPython 3.13 (PyTState_Config.compat chooses).
///
/// # Safety
/// Neither the interpreter nor its states are used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_EndInterpreter(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"Py_EndInterpreter";
    // SAFETY: this function's contract.
    let tstate = unsafe { ThreadStateRef::from_ptr(tstate) };
    let Some(tstate) = tstate.filter(|tstate| current::current() == Some(*tstate)) else {
        fatal(FUNC, format_args!("thread is not current"));
    };
    if RUNTIME.main_interp().is_some_and(|main| main.as_ptr() == tstate.interp_ptr()) {
        fatal(FUNC, format_args!("the main interpreter ends with Py_FinalizeEx()"));
    }
    arg::may_end(FUNC, Ends::Interp(current::interp_of(tstate)));
    match sub::end(tstate, IfThreadsRemain::by_version()) {
        Ok(()) => {}
        Err(EndInterpreterError::NotLast(other)) => {
            let mut line = LineBuf::<512>::new();
            describe(&mut line, other);
            let text = core::str::from_utf8(line.as_bytes()).unwrap_or("?");
            fatal(FUNC, format_args!("not the last thread: {text} is left"));
        }
        Err(EndInterpreterError::EndedHere) => {
            fatal(FUNC, format_args!("this thread is ending it already"))
        }
        Err(EndInterpreterError::EndedElsewhere) => sub::leave_to_other(tstate),
    }
}
