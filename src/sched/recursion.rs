//! Recursion checks on the real C stack (S-TS-23, S-TS-24).
//!
//! The bounds are looked up at the first check, not at the first attach, so
//! that attaching costs nothing: they are the OS thread's, whichever stack it
//! is on at that moment.
//!
//! Mirrors CPython 3.14 `_Py_EnterRecursiveCall`, `_Py_CheckRecursiveCall`
//! (pycore_ceval.h, ceval.c).

use crate::os::thread;
use crate::probe::text::LineBuf;
use crate::sched::describe::Text;
use crate::sched::fatal::fatal;
use crate::sched::raise;
use crate::state::error_kind::ExceptionKind;
use crate::state::error_kind::Raised;
use crate::state::stack_bounds::Depth;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_char};
use core::fmt::Write;
use core::sync::atomic::Ordering::Relaxed;

/// Raises RecursionError when little of the calling thread's stack is left.
/// `place` (NULL or a C string) ends the message.
#[inline(always)]
pub(crate) fn check(tstate: ThreadStateRef, place: *const c_char) -> Result<(), Raised> {
    match tstate.stack.check(thread::stack_pointer()) {
        Depth::Fine => Ok(()),
        depth => check_slow(tstate, depth, place),
    }
}

#[cold]
#[inline(never)]
fn check_slow(
    tstate: ThreadStateRef,
    mut depth: Depth,
    place: *const c_char,
) -> Result<(), Raised> {
    if depth == Depth::Unknown {
        let Some((top, base)) = thread::stack_bounds() else { return Ok(()) };
        tstate.stack.found(base, top);
        depth = tstate.stack.check(thread::stack_pointer());
    }
    let place = Text(if place.is_null() { c"".as_ptr() } else { place });
    match depth {
        Depth::Fine | Depth::Unknown => Ok(()),
        Depth::Lost(used) => fatal(
            c"Py_EnterRecursiveCall",
            format_args!("Unrecoverable stack overflow (used {} kB){place}", used / 1024),
        ),
        Depth::Deep(used) => overflow(tstate, used, &place),
    }
}

fn overflow(tstate: ThreadStateRef, used: usize, place: &Text) -> Result<(), Raised> {
    // The host's exceptions may check as well while one is raised.
    if tstate.raising.swap(1, Relaxed) != 0 {
        return Ok(());
    }
    let mut line = LineBuf::<256>::new();
    let _ = write!(line, "Stack overflow (used {} kB){place}", used / 1024);
    let mut text = [0_u8; 257];
    text[..line.as_bytes().len()].copy_from_slice(line.as_bytes());
    if let Ok(text) = CStr::from_bytes_until_nul(&text) {
        raise::raise(ExceptionKind::Recursion, text);
    }
    tstate.raising.store(0, Relaxed);
    Err(Raised)
}
