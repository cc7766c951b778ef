//! The lifecycle trace: who did what when, for Chrome's and Perfetto's timeline.
//!
//! The layers above say what happens with [`event`]; `capi/trace.rs` shows start and stop to C. Off, an event costs
//! one relaxed load; [`at`] is a sync point and an event for one load together.
//!
//! ```text
//! event -> the thread's nest (splits overlapping spans) -> one of 8 buffers -> the file's text -> the file
//! ```
//!
//! E1. `RUNNING` holds the number of the trace that runs, 0 if none does; it changes under `CONTROL` alone.
//! E2. What a thread keeps for itself ([`Local`]) is good for one generation and made anew for the next.
//! E3. Monitors are entered in the order `CONTROL`, a buffer, the file.

mod file;
mod kinds;
mod nest;
mod rings;

use core::cell::RefCell;
use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI64, AtomicU32};

use super::monitor::{self, Monitor};
use super::{Point, mode, sync_point, text};
use crate::os::{at_exit, clock, errno, ids};
use file::Row;
use nest::Nest;
use rings::FILE;

#[allow(unused_imports, reason = "the face of this layer; the layers above come to use it")]
pub(crate) use kinds::{Event, Mark, Span};

/// The longest path of a file, with its NUL.
pub(super) const PATH_SIZE: usize = 1024;
/// More rows than one event can make: it ends and begins again whatever is open, and adds one.
const ROWS_OF_AN_EVENT: usize = 40;

/// Who holds it starts or stops a trace; the data counts the traces.
static CONTROL: Monitor<u32> = Monitor::new(0);
static RUNNING: AtomicU32 = AtomicU32::new(0);
static BEGAN_NS: AtomicI64 = AtomicI64::new(0);
/// The process that started the trace.
static OWNER: AtomicI64 = AtomicI64::new(0);

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

/// Why a trace did not start or stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceError {
    /// One is running already.
    Running,
    /// None is running.
    NotRunning,
    /// The path is too long or empty.
    BadPath,
    /// The file could not be created or written: the OS's error number.
    Os(i32),
}

impl core::fmt::Display for TraceError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Running => out.write_str("a trace is running already"),
            Self::NotRunning => out.write_str("no trace is running"),
            Self::BadPath => out.write_str("the path is empty or too long"),
            Self::Os(number) => write!(out, "the file cannot be written (errno {number})"),
        }
    }
}

/// Notes what the calling thread does in the interpreter with this id (negative: in none).
///
/// Off, one relaxed load, and the id is not asked for. Any thread, any time, also with locks of the layers above held: nothing waits here but for
/// the file. From a signal handler that interrupted this layer the event is lost. Keeps `errno`.
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

/// True while a trace runs.
pub(crate) fn is_on() -> bool {
    mode::get() & mode::TRACE != 0
}

#[cold]
#[inline(never)]
fn record(event: Event, interp: i64) {
    if monitor::is_inside() || mode::mode_after_environment() & mode::TRACE == 0 {
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
        // Pairs with the release in `start_resolved`: the time is counted from this trace's beginning, or the
        // trace has ended and the buffer refuses its rows.
        let generation = RUNNING.load(Acquire);
        if generation == 0 {
            return;
        }
        let at_ns = clock::now_ns() - BEGAN_NS.load(Relaxed);
        if self.generation != generation {
            self.generation = generation;
            self.thread = ids::thread();
            self.buffer = rings::choose();
            self.named = 0;
            self.named_last = -2;
            self.nest = Nest::EMPTY;
        }
        self.name_track(interp);
        let nothing = Row { at_ns, interp, thread: self.thread, name: "", phase: nest::Phase::End };
        let mut rows = [nothing; ROWS_OF_AN_EVENT];
        let mut len = 0;
        self.nest.note(event, interp, |phase, name, interp| {
            rows[len] = Row { name, phase, interp, ..nothing };
            len += 1;
        });
        rings::push(self.buffer, generation, &rows[..len]);
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
        let mut file = FILE.enter();
        if file.is_open() && RUNNING.load(Relaxed) == self.generation {
            file.name_thread(interp, self.thread, name);
        }
    }
}

/// Gives a thread's track another name than the OS's.
pub(crate) fn name_thread(interp: i64, native_id: i64, name: &[u8]) {
    if mode::mode_after_environment() & mode::TRACE == 0 || monitor::is_inside() {
        return;
    }
    let saved = errno::get();
    let mut file = FILE.enter();
    if file.is_open() {
        file.name_thread(interp, native_id, name);
    }
    drop(file);
    errno::set(saved);
}

/// Starts a trace into the file at `path`, created or emptied. `%p` in the path is the process's id.
pub(crate) fn start(path: &CStr) -> Result<(), TraceError> {
    let _ = mode::mode_after_environment();
    start_resolved(path)
}

/// [`start`], also while the environment is read.
#[inline(never)]
pub(super) fn start_resolved(path: &CStr) -> Result<(), TraceError> {
    let mut line = text::LineBuf::new();
    let path = expanded(path, &mut line).ok_or(TraceError::BadPath)?;
    let mut count = CONTROL.enter();
    if RUNNING.load(Relaxed) != 0 {
        return Err(TraceError::Running);
    }
    FILE.enter().open(path).map_err(TraceError::Os)?;
    at_exit::run(finish_at_exit);
    *count = count.wrapping_add(1).max(1);
    OWNER.store(ids::process(), Relaxed);
    BEGAN_NS.store(clock::now_ns(), Relaxed);
    rings::begin(*count);
    RUNNING.store(*count, Release);
    mode::turn_on(mode::TRACE);
    Ok(())
}

/// Writes what is left and closes the file.
pub(crate) fn stop() -> Result<(), TraceError> {
    let _ = mode::mode_after_environment();
    let _control = CONTROL.enter();
    if RUNNING.swap(0, Relaxed) == 0 {
        return Err(TraceError::NotRunning);
    }
    mode::turn_off(mode::TRACE);
    rings::write_out();
    rings::begin(0);
    FILE.enter().finish().map_err(TraceError::Os)
}

/// Writes what is kept; the file is complete JSON then, and the trace goes on.
///
/// For the end of a finalization, and before a fatal error ends the process.
pub(crate) fn flush() {
    if !is_on() || monitor::is_inside() || OWNER.load(Relaxed) != ids::process() {
        return;
    }
    let saved = errno::get();
    let _control = CONTROL.enter();
    rings::write_out();
    FILE.enter().flush();
    errno::set(saved);
}

/// The process ends: whoever still runs is not traced any more.
fn finish_at_exit() {
    // A fork child that was never told so must not wait for monitors of threads that it does not have.
    let ours = OWNER.load(Relaxed) == ids::process();
    if !ours || monitor::is_inside() || RUNNING.load(Relaxed) == 0 {
        return;
    }
    if let Err(error @ TraceError::Os(_)) = stop() {
        text::warn(format_args!("pytstate: the trace is not complete: {error}"));
    }
}

/// `path` with the process's id for each `%p`, in `line`.
fn expanded<'a>(path: &CStr, line: &'a mut text::LineBuf<PATH_SIZE>) -> Option<&'a CStr> {
    let mut rest = path.to_bytes();
    while let Some(at) = rest.windows(2).position(|two| two == b"%p") {
        line.push_bytes(&rest[..at]);
        // Never fails; what does not fit is seen below.
        let _ = core::fmt::Write::write_fmt(line, format_args!("{}", ids::process()));
        rest = &rest[at + 2..];
    }
    line.push_bytes(rest);
    line.push_bytes(b"\0");
    if line.is_cut() || path.is_empty() {
        return None;
    }
    CStr::from_bytes_with_nul(line.as_bytes()).ok()
}

/// Ends the trace in a fork child: the file is the parent's, which goes on writing it.
///
/// # Safety
/// As [`super::reset_in_child`].
pub(super) unsafe fn reset_in_child() {
    // SAFETY: this function's contract is the monitor's.
    unsafe { CONTROL.reset_in_child() };
    // SAFETY: this function's contract is the buffers'.
    unsafe { rings::reset_in_child() };
    RUNNING.store(0, Relaxed);
    mode::turn_off(mode::TRACE);
    let mut file = FILE.enter();
    if file.is_open() {
        // Closing the child's copy of the descriptor takes nothing from the parent.
        file.close();
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
