//! The end of the process on misuse, with names: which function, which thread,
//! which state, where.
//!
//! Callable from any thread, with or without a state, with locks held: it takes
//! no lock, allocates nothing and only reads (S-FE-51).

use crate::os::{thread, tls};
use crate::probe::text::{LineBuf, Printable, write_fd};
use crate::sched::callout::{self, Callout};
use crate::sched::current;
use crate::state::config::{
    PyTState_CHECK_CALLBACK, PyTState_CHECK_FATAL, PyTState_CHECK_OFF, PyTState_CHECK_WARN,
};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{NAME_SIZE, STOOD, ThreadStateRef};
use crate::state::word;
use crate::sync::hook::Hook;
use core::ffi::{CStr, c_char, c_void};
use core::fmt::{Arguments, Write};
use core::sync::atomic::Ordering::Relaxed;

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
            push_left_place(&mut line);
            let _ = line.write_str("\n");
            write_fd(STDERR, line.as_bytes());
        }
        PyTState_CHECK_CALLBACK if call_check_callback(func, message) => {}
        _ => fatal(func, message),
    }
}

/// What CPython allows although it is seldom meant, and what is done here as well:
/// reported as a misuse, but fatal only where the host asks for strictness.
#[cold]
pub(crate) fn unusual(func: &CStr, message: Arguments<'_>) {
    match RUNTIME.check_level.load(Relaxed) {
        PyTState_CHECK_OFF | PyTState_CHECK_FATAL => {}
        _ => misuse(func, message),
    }
}

/// Function that gets misuse reports: `(function, message, data)`.
pub(crate) type CheckCallback =
    unsafe extern "C" fn(func: *const c_char, message: *const c_char, data: *mut c_void);

static CHECK: Hook<CheckCallback> = Hook::new();

/// Installs (or, with `None`, removes) the misuse callback.
pub(crate) fn set_check_callback(callback: Option<CheckCallback>, data: *mut c_void) {
    let head = RUNTIME.lock();
    CHECK.set(callback, data, &head);
    drop(head);
}

fn call_check_callback(func: &CStr, message: Arguments<'_>) -> bool {
    let Some((callback, data)) = CHECK.get() else { return false };
    let mut line = LineBuf::<1024>::new();
    let _ = line.write_fmt(message);
    let _ = line.write_str("\0");
    // SAFETY: the host's function; both texts are NUL-terminated and outlive the call.
    let run = || unsafe { callback(func.as_ptr(), line.as_bytes().as_ptr().cast(), data) };
    callout::run(Callout::CheckCallback, core::ptr::null(), run);
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
    let tstate = current::current().or_else(current::gilstate);
    let _ = match tstate {
        Some(tstate) => {
            let _ = write!(line, "): ");
            describe(&mut line, tstate);
            Ok(())
        }
        None => write!(line, "): no thread state"),
    };
    push_left_place(&mut line);
    let _ = line.write_str("\n");
    // SAFETY: interpreter blocks are never unmapped (I1).
    let own = tstate.and_then(|tstate| unsafe { Interp::from_ptr(tstate.interp_ptr()) });
    if let Some(interp) = own.or_else(|| RUNTIME.main_interp()) {
        describe_gil(&mut line, interp);
    }
    write_fd(STDERR, line.as_bytes());
}

/// Appends the place that the calling thread left with PyTState_Here() and that no call has used yet.
fn push_left_place<const N: usize>(line: &mut LineBuf<N>) {
    let place = current::left_place();
    if !place.is_null() {
        let _ = write!(line, ", PyTState_Here() was last called at {}", Text(place));
    }
}

/// Appends "'name' thread state 0x.. (id 3, interpreter 0, attached) created at .. last .. at ..".
pub(crate) fn describe<const N: usize>(line: &mut LineBuf<N>, tstate: ThreadStateRef) {
    let name = tstate.name();
    if name[0] != 0 {
        let _ = write!(line, "'{}' ", Name(&name));
    }
    let _ = write!(
        line,
        "thread state {:p} (id {}, interpreter {}, {})",
        tstate.as_ptr(),
        tstate.id(),
        // SAFETY: interpreter blocks are never unmapped (I1).
        unsafe { Interp::from_ptr(tstate.interp_ptr()) }.map_or(-1, |interp| interp.id()),
        standing(tstate),
    );
    let created = tstate.created_at.load(Relaxed);
    if !created.is_null() {
        let _ = write!(line, ", created at {}", Text(created));
    }
    push_last_place(line, tstate, "attached or detached");
}

/// Appends where `state` was last `what`, or, where its last attach or detach left no place, where it was before.
pub(crate) fn push_last_place<const N: usize>(
    line: &mut LineBuf<N>,
    tstate: ThreadStateRef,
    what: &str,
) {
    let last = tstate.last_at.load(Relaxed);
    if last.is_null() {
        return;
    }
    let _ = if tstate.is_place_of_last_change() {
        write!(line, ", last {what} at {}", Text(last))
    } else {
        write!(line, ", before its last change at {}", Text(last))
    };
}

/// How a state stands, for people. In a pause, as it stood before.
fn standing(tstate: ThreadStateRef) -> &'static str {
    match tstate.word().load(Relaxed) {
        word::SUSPENDED if tstate.waits_for_pause.load(Relaxed) == STOOD => {
            "attached, held by a pause"
        }
        word::SUSPENDED => "detached, held by a pause",
        other => word_name(other),
    }
}

/// Describes the GIL that the threads of `interp` take turns with.
fn describe_gil<const N: usize>(line: &mut LineBuf<N>, interp: Interp) {
    let gil = interp.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    let Some(gil) = (unsafe { gil.as_ref() }) else {
        let _ = writeln!(line, "Interpreter {} has no GIL", interp.id());
        return;
    };
    let mains =
        RUNTIME.main_interp().is_some_and(|main| core::ptr::eq(main.gil.load(Relaxed), gil));
    let mut whose = LineBuf::<48>::new();
    let _ = if mains {
        whose.write_str("the main interpreter")
    } else {
        write!(whose, "interpreter {}", interp.id())
    };
    let whose = Printable(whose.as_bytes());
    if !gil.is_locked() {
        let _ = writeln!(line, "The GIL of {whose} is free");
        return;
    }
    let holder = gil.holder.load(Relaxed);
    // SAFETY: a deleted holder is removed from the field before its block is reused.
    if let Some(holder) = unsafe { ThreadStateRef::from_raw(holder.cast()) } {
        let _ = write!(
            line,
            "The GIL of {whose} is held by thread 0x{:016x} (tid {}): ",
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

/// Prints a C string, made printable: a name or a place from outside.
pub(crate) struct Text(pub(crate) *const c_char);

impl core::fmt::Display for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // SAFETY: callers pass NUL-terminated strings that outlive the call.
        let text = unsafe { CStr::from_ptr(self.0) };
        Printable(text.to_bytes()).fmt(f)
    }
}

/// Prints a NUL-padded name, made printable.
pub(crate) struct Name<'a>(pub(crate) &'a [u8; NAME_SIZE]);

impl core::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(NAME_SIZE);
        Printable(&self.0[..end]).fmt(f)
    }
}
