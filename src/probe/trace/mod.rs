//! The lifecycle trace: what each thread did and when, for Chrome's and Perfetto's timeline.
//!
//! The layers above say what happens with [`event`]; `capi/trace.rs` shows start and stop to C.
//! Off, an event costs one relaxed load; [`at`] is a sync point and an event for one load together.
//!
//! ```text
//! event -> the thread's nest (splits overlapping spans) -> the recorder
//! ```
//!
//! TRACE-1: What a thread keeps for itself ([`Local`]) is good for one generation and made anew for
//!    the next.

mod kinds;
mod nest;

use core::cell::RefCell;
use core::ffi::CStr;

use super::environment::mode_after_environment;
use super::recorder::{self, Phase, Row};
use super::{Point, mode, monitor, sync_point};
use crate::os::{errno, ids};
use nest::Nest;

#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use super::recorder::TraceError;
#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use kinds::{Event, Mark, Span};

/// More rows than one event can make: it ends and begins again whatever is open, and adds one.
const ROWS_OF_AN_EVENT: usize = 40;

/// What a thread keeps for itself.
struct Local {
    generation: u32,
    thread: i64,
    buffer: usize,
    /// Interpreters below 64 among whose tracks this thread is named.
    named: u64,
    /// The last interpreter above them.
    named_last: i64,
    nest: Nest,
}

thread_local! {
    /// No destructor: usable until the thread is gone.
    static LOCAL: RefCell<Local> = const {
        RefCell::new(Local {
            generation: 0,
            thread: 0,
            buffer: 0,
            named: 0,
            named_last: -2,
            nest: Nest::EMPTY,
        })
    };
}

/// Notes what the calling thread does in the interpreter with this id (negative: in none).
///
/// Off, one relaxed load, and the id is not asked for. Any thread, any time, also with locks of the
/// layers above held: nothing waits here but for the file. From a signal handler that interrupted
/// this layer the event is lost. Keeps `errno`.
#[inline(always)]
pub(crate) fn event(event: Event, interp: impl FnOnce() -> i64) {
    if mode::get() & (mode::TRACE | mode::UNKNOWN) != 0 {
        record(event, interp());
    }
}

/// [`super::point`] and then [`event`], for one relaxed load. Off, the id is not asked for.
#[inline(always)]
pub(crate) fn at(point: Point, event: Event, interp: impl FnOnce() -> i64) {
    if mode::get() != 0 {
        arrive(point, event, interp);
    }
}

#[cold]
#[inline(never)]
fn arrive(point: Point, event: Event, interp: impl FnOnce() -> i64) {
    sync_point::arrive(point);
    if mode::get() & (mode::TRACE | mode::UNKNOWN) != 0 {
        record(event, interp());
    }
}

#[cold]
#[inline(never)]
fn record(event: Event, interp: i64) {
    if monitor::is_inside() || mode_after_environment() & mode::TRACE == 0 {
        return;
    }
    let saved = errno::get();
    LOCAL.with(|local| {
        // Taken only if a signal handler interrupted this very function.
        if let Ok(mut local) = local.try_borrow_mut() {
            local.record(event, interp);
        }
    });
    errno::set(saved);
}

impl Local {
    fn record(&mut self, event: Event, interp: i64) {
        let Some((generation, at_ns)) = recorder::running() else { return };
        if self.generation != generation {
            self.generation = generation;
            self.thread = ids::thread();
            self.buffer = recorder::choose();
            self.named = 0;
            self.named_last = -2;
            self.nest = Nest::EMPTY;
        }
        self.name_track(interp);
        let nothing = Row { at_ns, interp, thread: self.thread, name: "", phase: Phase::End };
        let mut rows = [nothing; ROWS_OF_AN_EVENT];
        let mut len = 0;
        self.nest.note(event, interp, |phase, name, interp| {
            rows[len] = Row { name, phase, interp, ..nothing };
            len += 1;
        });
        recorder::push(self.buffer, generation, &rows[..len]);
    }

    /// Names the thread's track in the interpreter's row when it first comes there.
    fn name_track(&mut self, interp: i64) {
        match u32::try_from(interp) {
            Ok(id @ 0..64) if self.named >> id & 1 != 0 => return,
            Ok(id @ 0..64) => self.named |= 1 << id,
            _ if self.named_last == interp => return,
            _ => self.named_last = interp,
        }
        let mut own = [0; ids::THREAD_NAME_SIZE];
        let name = ids::thread_name(&mut own);
        recorder::name_thread(self.generation, interp, self.thread, name);
    }
}

/// Gives a thread's track another name than the OS's.
pub(crate) fn name_thread(interp: i64, native_id: i64, name: &[u8]) {
    if mode_after_environment() & mode::TRACE == 0 || monitor::is_inside() {
        return;
    }
    let saved = errno::get();
    if let Some((generation, _)) = recorder::running() {
        recorder::name_thread(generation, interp, native_id, name);
    }
    errno::set(saved);
}

/// Starts a trace into the file at `path`, created or emptied. `%p` in the path is the process's
/// id.
pub(crate) fn start(path: &CStr) -> Result<(), TraceError> {
    let _ = mode_after_environment();
    recorder::start(path)
}

/// Writes what is left and closes the file.
pub(crate) fn stop() -> Result<(), TraceError> {
    let _ = mode_after_environment();
    recorder::stop()
}

/// Writes the buffered events. The file is then complete JSON, and the trace goes on.
///
/// Called when a finalization ends, and before a fatal error ends the process.
pub(crate) fn flush() {
    recorder::flush();
}

#[cfg(test)]
mod tests;
