//! Thread states and GILs in words, for messages. Takes no lock, allocates
//! nothing and only reads (S-FE-51).

use crate::probe::text::{LineBuf, Printable};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{NAME_SIZE, STOOD, ThreadStateRef};
use crate::state::word;
use core::ffi::{CStr, c_char};
use core::fmt::Write;
use core::sync::atomic::Ordering::Relaxed;

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
        Interp::of(tstate).map_or(-1, |interp| interp.id()),
        standing(tstate),
    );
    let created = tstate.created_at.load(Relaxed);
    if !created.is_null() {
        let _ = write!(line, ", created at {}", Text(created));
    }
    push_last_place(line, tstate, "attached or detached");
}

/// Appends where `tstate` was last `what`, or, where its last attach or detach left no place, where
/// it was before.
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
pub(crate) fn describe_gil<const N: usize>(line: &mut LineBuf<N>, interp: Interp) {
    let Some(gil) = interp.gil.load(Relaxed) else {
        let _ = writeln!(line, "Interpreter {} has no GIL", interp.id());
        return;
    };
    let mains = RUNTIME.main_interp().is_some_and(|main| main.gil.is(gil, Relaxed));
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
    if let Some(holder) = ThreadStateRef::holder_of(gil) {
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
