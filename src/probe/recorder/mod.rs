//! What records a trace: one at a time, from [`start`] to [`stop`].
//!
//! ```text
//! rows of a thread -> one of 8 buffers -> the file's text -> the file
//! ```
//!
//! REC-1: `RUNNING` holds the number of the trace that runs, 0 if none does; it changes under
//!    `CONTROL` alone.
//! REC-2: Monitors are entered in the order `CONTROL`, a buffer, the file.
//!
//! `trace` decides what the rows say; `environment` starts a trace from here, too, which is why it
//! is a module of its own.

mod file;
mod rings;

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI64, AtomicU32};

use super::monitor::{self, Held, Monitor};
use super::{mode, text};
use crate::os::{at_exit, clock, errno, ids};
use crate::sync::fork_lock::{ForkRow, fork_row};
use file::TraceFile;
use rings::FILE;

pub(super) use file::{Phase, Row};
pub(super) use rings::{BUFFERS_ROW, FILE_ROW, choose, push};

/// The longest path of a file, with its NUL.
pub(super) const PATH_SIZE: usize = 1024;
/// The thread that holds it starts or stops a trace; the data counts the traces.
static CONTROL: Monitor<u32> = Monitor::new(0);

/// The lock's row of the fork table.
pub(in crate::probe) static CONTROL_ROW: [ForkRow; 1] = [fork_row!(CONTROL)];
static RUNNING: AtomicU32 = AtomicU32::new(0);
static BEGAN_NS: AtomicI64 = AtomicI64::new(0);
/// The process that started the trace.
static OWNER: AtomicI64 = AtomicI64::new(0);

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

/// The trace that runs, and the nanoseconds since it began; `None` if none runs.
pub(super) fn running() -> Option<(u32, i64)> {
    // Pairs with the release in `start`: the time is counted from this trace's beginning, or the
    // trace has ended and the buffer refuses its rows.
    let generation = RUNNING.load(Acquire);
    (generation != 0).then(|| (generation, clock::now_ns() - BEGAN_NS.load(Relaxed)))
}

/// The file of trace `generation`, if that one still runs.
fn file_of(generation: u32) -> Option<Held<'static, TraceFile>> {
    let file = FILE.enter();
    (file.is_open() && RUNNING.load(Relaxed) == generation).then_some(file)
}

/// Names a thread's track in the row of an interpreter, in the trace `generation` if that one still
/// runs.
pub(super) fn name_thread(generation: u32, interp: i64, thread: i64, name: &[u8]) {
    if let Some(mut file) = file_of(generation) {
        file.name_thread(interp, thread, name);
    }
}

/// Starts a trace into the file at `path`, created or emptied. `%p` in the path is the process's
/// id.
#[inline(never)]
pub(super) fn start(path: &CStr) -> Result<(), TraceError> {
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
pub(super) fn stop() -> Result<(), TraceError> {
    let _control = CONTROL.enter();
    if RUNNING.swap(0, Relaxed) == 0 {
        return Err(TraceError::NotRunning);
    }
    mode::turn_off(mode::TRACE);
    rings::write_out();
    rings::begin(0);
    FILE.enter().finish().map_err(TraceError::Os)
}

/// Writes the buffered events. The file is then complete JSON, and the trace goes on.
///
/// Called when a finalization ends, and before a fatal error ends the process.
pub(super) fn flush() {
    if mode::get() & mode::TRACE == 0
        || monitor::is_inside()
        || OWNER.load(Relaxed) != ids::process()
    {
        return;
    }
    let saved = errno::get();
    let _control = CONTROL.enter();
    rings::write_out();
    FILE.enter().flush();
    errno::set(saved);
}

/// The process ends: threads that still run are not traced any more.
fn finish_at_exit() {
    // A fork child that was never told so must not wait for monitors of threads that it does not
    // have.
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
pub(super) fn reset_in_child() {
    rings::begin(0);
    RUNNING.store(0, Relaxed);
    mode::turn_off(mode::TRACE);
    let mut file = FILE.enter();
    if file.is_open() {
        // Closing the child's copy of the descriptor takes nothing from the parent.
        file.close();
    }
}

#[cfg(test)]
mod tests {
    use super::{CStr, expanded, text};
    use crate::os::ids;
    use std::ffi::CString;

    #[test]
    fn a_path_may_name_the_process() {
        let shown = |path: &CStr| {
            let mut line = text::LineBuf::new();
            expanded(path, &mut line).map(|path| path.to_str().expect("UTF-8").to_owned())
        };
        let process = ids::process();
        assert_eq!(shown(c"a%pb%%p%"), Some(format!("a{process}b%{process}%")));
        assert_eq!(shown(c"plain"), Some("plain".to_owned()));
        assert_eq!(shown(c""), None);
        let long = CString::new(vec![b'x'; super::PATH_SIZE]).expect("no NUL");
        assert_eq!(shown(&long), None);
        assert!(shown(&CString::new(&long.as_bytes()[1..]).expect("no NUL")).is_some());
    }
}
