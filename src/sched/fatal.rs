//! The end of the process on misuse, with names: which function, which thread,
//! which state, where.
//!
//! Callable from any thread, with or without a state, with locks held: it takes
//! no lock, allocates nothing and only reads (S-FE-51).

use crate::os::{thread, tls};
use crate::probe::text::{LineBuf, write_fd};
use crate::sched::current;
use crate::state::config::{PyTState_CHECK_CALLBACK, PyTState_CHECK_OFF, PyTState_CHECK_WARN};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::{NAME_SIZE, Ts};
use crate::state::{gil_word::Gil, word};
use core::ffi::{CStr, c_char, c_void};
use core::fmt::{Arguments, Write};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// File descriptor of the standard error stream.
pub(crate) const STDERR: i32 = 2;

/// Text of a missing thread state, as CPython words the condition.
pub(crate) const NO_STATE: &str = "the function must be called with the GIL held (an attached \
thread state), after initialization and before finalization, but no thread state is attached \
(the current Python thread state is NULL)";

/// Prints "Fatal Python error: func: message" and what is known about the
/// calling thread, then aborts.
#[cold]
pub(crate) fn fatal(func: &CStr, message: Arguments<'_>) -> ! {
    if tls::block().in_fatal.swap(1, Relaxed) != 0 {
        thread::abort();
    }
    let mut line = LineBuf::<1024>::new();
    let _ = line.write_str("Fatal Python error: ");
    if !func.is_empty() {
        let _ = write!(line, "{}: ", Text(func.as_ptr()));
    }
    let _ = line.write_fmt(message);
    let _ = line.write_str("\n");
    write_fd(STDERR, line.as_bytes());
    report_runtime();
    report_caller();
    crate::probe::trace::flush();
    thread::abort()
}

/// A check that CPython makes only in debug builds, if at all. What follows is
/// the host's choice (`check_level`): returns when the caller may go on.
#[cold]
pub(crate) fn misuse(func: &CStr, message: Arguments<'_>) {
    match RUNTIME.check_level.load(Relaxed) {
        PyTState_CHECK_OFF => {}
        PyTState_CHECK_WARN => {
            let mut line = LineBuf::<1024>::new();
            let _ = write!(line, "pytstate: misuse: {}: ", Text(func.as_ptr()));
            let _ = line.write_fmt(message);
            let _ = line.write_str("\n");
            write_fd(STDERR, line.as_bytes());
        }
        PyTState_CHECK_CALLBACK if call_check_callback(func, message) => {}
        _ => fatal(func, message),
    }
}

/// Function that gets misuse reports: `(function, message, data)`.
pub(crate) type CheckCallback =
    unsafe extern "C" fn(func: *const c_char, message: *const c_char, data: *mut c_void);

static CHECK_CALLBACK: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
static CHECK_DATA: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Installs (or, with `None`, removes) the misuse callback.
pub(crate) fn set_check_callback(callback: Option<CheckCallback>, data: *mut c_void) {
    // Relaxed: CHECK_CALLBACK publishes it.
    CHECK_DATA.store(data, Relaxed);
    CHECK_CALLBACK.store(
        callback.map_or(core::ptr::null_mut(), |callback| callback as *mut c_void),
        core::sync::atomic::Ordering::Release,
    );
}

fn call_check_callback(func: &CStr, message: Arguments<'_>) -> bool {
    let callback = CHECK_CALLBACK.load(core::sync::atomic::Ordering::Acquire);
    if callback.is_null() {
        return false;
    }
    let mut line = LineBuf::<1024>::new();
    let _ = line.write_fmt(message);
    let _ = line.write_str("\0");
    let data = CHECK_DATA.load(Relaxed);
    // SAFETY: only `set_check_callback` fills the pointer, with this type.
    let callback = unsafe { core::mem::transmute::<*mut c_void, CheckCallback>(callback) };
    // SAFETY: the host's function; both texts are NUL-terminated and outlive the call.
    unsafe { callback(func.as_ptr(), line.as_bytes().as_ptr().cast(), data) };
    true
}

/// As CPython words it; a runtime that is not there is "unknown".
fn report_runtime() {
    let finalizer = RUNTIME.finalizing.load(Relaxed);
    let mut line = LineBuf::<96>::new();
    let _ = line.write_str("Python runtime state: ");
    let _ = if !finalizer.is_null() {
        writeln!(line, "finalizing (tstate={:#018x})", finalizer as usize)
    } else if RUNTIME.is_initialized() {
        line.write_str("initialized\n")
    } else {
        line.write_str("unknown\n")
    };
    write_fd(STDERR, line.as_bytes());
}

fn report_caller() {
    let mut line = LineBuf::<1024>::new();
    // In the child of a fork() that the library was not told of, the known id is the parent's.
    thread::forget_native_id();
    let _ =
        write!(line, "\nCurrent thread 0x{:016x} (tid {}", thread::ident(), thread::native_id(),);
    match current::current().or_else(current::gilstate) {
        Some(state) => {
            let _ = write!(line, "): ");
            describe(&mut line, state);
        }
        None => {
            let _ = write!(line, "): no thread state");
        }
    }
    let _ = line.write_str("\n");
    if let Some(interp) = RUNTIME.main_interp() {
        describe_gil(&mut line, interp.gil.load(Relaxed));
    }
    write_fd(STDERR, line.as_bytes());
}

/// Appends "'name' thread state 0x.. (id 3, interpreter 0, attached) created at .. last .. at ..".
pub(crate) fn describe<const N: usize>(line: &mut LineBuf<N>, state: Ts) {
    let name = state.name();
    if name[0] != 0 {
        let _ = write!(line, "'{}' ", Name(&name));
    }
    let _ = write!(
        line,
        "thread state {:p} (id {}, interpreter {}, {})",
        state.as_ptr(),
        state.id(),
        // SAFETY: interpreter blocks are never unmapped (I1).
        unsafe { crate::state::interp::Interp::from_ptr(state.interp_ptr()) }
            .map_or(-1, |interp| interp.id()),
        word_name(state.word().load(Relaxed)),
    );
    let created = state.created_at.load(Relaxed);
    if !created.is_null() {
        let _ = write!(line, ", created at {}", Text(created));
    }
    let last = state.last_at.load(Relaxed);
    if !last.is_null() {
        let _ = write!(line, ", last attached or detached at {}", Text(last));
    }
}

fn describe_gil<const N: usize>(line: &mut LineBuf<N>, gil: *mut Gil) {
    if gil.is_null() {
        return;
    }
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    let gil = unsafe { &*gil };
    if !gil.is_locked() {
        let _ = line.write_str("The GIL of the main interpreter is free\n");
        return;
    }
    let holder = gil.holder.load(Relaxed);
    // SAFETY: a deleted holder is removed from the field before its block is reused.
    if let Some(holder) = unsafe { Ts::from_raw(holder.cast()) } {
        let _ = write!(
            line,
            "The GIL of the main interpreter is held by thread 0x{:016x} (tid {}): ",
            holder.thread_id(),
            holder.native_id()
        );
        describe(line, holder);
        let _ = line.write_str("\n");
    }
}

/// Word of a state for people.
pub(crate) fn word_name(value: i32) -> &'static str {
    match value {
        word::DETACHED => "detached",
        word::ATTACHED => "attached",
        word::SUSPENDED => "suspended",
        _ => "shutting down",
    }
}

/// Prints a C string as it is.
pub(crate) struct Text(pub(crate) *const c_char);

impl core::fmt::Display for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // SAFETY: callers pass NUL-terminated strings that outlive the call.
        let text = unsafe { CStr::from_ptr(self.0) };
        print_bytes(f, text.to_bytes())
    }
}

/// Prints a NUL-padded name.
pub(crate) struct Name<'a>(pub(crate) &'a [u8; NAME_SIZE]);

impl core::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(NAME_SIZE);
        print_bytes(f, &self.0[..end])
    }
}

fn print_bytes(f: &mut core::fmt::Formatter<'_>, bytes: &[u8]) -> core::fmt::Result {
    for chunk in bytes.utf8_chunks() {
        f.write_str(chunk.valid())?;
        if !chunk.invalid().is_empty() {
            f.write_str("?")?;
        }
    }
    Ok(())
}
