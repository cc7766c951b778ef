//! Aborts the process on misuse, and names the function, the thread, the state and
//! the place.
//!
//! Any thread may call this, with or without a state, and with locks held: it takes
//! no lock, allocates nothing and only reads (S-FE-51).

use crate::os::{thread, tls};
use crate::probe::text::{LineBuf, write_fd};
use crate::sched::describe::{Text, describe, describe_gil};
use crate::sched::this_thread;
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use core::ffi::CStr;
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

/// Prints the state of the runtime as CPython words it; "unknown" without a runtime.
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
    let tstate = this_thread::current().or_else(this_thread::gilstate);
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
    let own = tstate.and_then(Interp::of);
    if let Some(interp) = own.or_else(|| RUNTIME.main_interp()) {
        describe_gil(&mut line, interp);
    }
    write_fd(STDERR, line.as_bytes());
}

/// Appends the place that the calling thread left with PyTState_Here() and that no call has used
/// yet.
pub(crate) fn push_left_place<const N: usize>(line: &mut LineBuf<N>) {
    let place = this_thread::left_place();
    if !place.is_null() {
        let _ = write!(line, ", PyTState_Here() was last called at {}", Text(place));
    }
}
