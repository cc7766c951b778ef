//! The file of a running trace: one JSON array in the form that Chrome and Perfetto read.
//!
//! FILE-1: What is in `text[..len]` are whole rows, each with the separator before it; the file up
//!     to `offset` is an array that lacks its end.
//! FILE-2: Every flush writes rows and the end of the array in one call and does not count the end,
//!     so the next flush writes over it: after every flush the file is complete JSON, whatever
//!     becomes of the process. Where one cannot write at a place (a pipe), the end comes with
//!     [`TraceFile::finish`] alone; the viewers accept an array without end.
//! FILE-3: Only the process that opened the file writes to it: a fork child shares the descriptor.

use core::ffi::CStr;
use core::fmt::Write;

use crate::os::{errno, file, ids, report_file};
use crate::probe::text::{LineBuf, is_unprintable};

/// Bytes that are kept before they are written.
const TEXT: usize = 16 * 1024;
/// More than the longest row.
const ROW: usize = 512;
const END: &[u8] = b"\n]\n";
/// Interpreters whose row was named are remembered up to this id; others are named anew by each
/// thread.
const NAMED: usize = 4096;
/// What stands in the place of an interpreter's id when there is none.
const NO_INTERPRETER: i64 = 1_000_000_000;

/// How an event stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Phase {
    /// A span begins.
    Begin,
    /// A span ends.
    End,
    /// Something happens in a moment.
    Instant,
}

/// One event, as it is kept until it is written.
#[derive(Clone, Copy)]
pub(in crate::probe) struct Row {
    /// Since the trace began.
    pub(in crate::probe) at_ns: i64,
    pub(in crate::probe) interp: i64,
    pub(in crate::probe) thread: i64,
    pub(in crate::probe) name: &'static str,
    pub(in crate::probe) phase: Phase,
}

/// How the file takes what is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// At a place: the end of the array is always there.
    Placed,
    /// One after the other.
    Stream,
}

/// The file, or none.
pub(super) struct TraceFile {
    fd: i32,
    owner: i64,
    form: Form,
    offset: u64,
    rows: u64,
    /// The first error of the OS, 0 for none; after one, nothing more is written.
    error: i32,
    named: [u64; NAMED / 64],
    text: [u8; TEXT],
    len: usize,
}

impl TraceFile {
    /// No file.
    pub(super) const fn none() -> Self {
        Self {
            fd: -1,
            owner: 0,
            form: Form::Placed,
            offset: 0,
            rows: 0,
            error: 0,
            named: [0; NAMED / 64],
            text: [0; TEXT],
            len: 0,
        }
    }

    /// True if a file is open.
    pub(super) fn is_open(&self) -> bool {
        self.fd >= 0
    }

    /// Creates the file with an empty array in it, or says with which error of the OS that failed.
    pub(super) fn open(&mut self, path: &CStr) -> Result<(), i32> {
        self.fd = report_file::create(path).ok_or_else(errno::get)?;
        self.owner = ids::process();
        self.form = if file::is_seekable(self.fd) { Form::Placed } else { Form::Stream };
        self.offset = 0;
        self.rows = 0;
        self.error = 0;
        self.named = [0; NAMED / 64];
        self.len = 0;
        self.put(b"[");
        self.flush();
        if self.error != 0 {
            self.close();
            return Err(self.error);
        }
        Ok(())
    }

    /// Adds an event.
    pub(super) fn add(&mut self, row: &Row) {
        let phase = match row.phase {
            Phase::Begin => "\"ph\":\"B\"",
            Phase::End => "\"ph\":\"E\"",
            Phase::Instant => "\"ph\":\"i\",\"s\":\"t\"",
        };
        self.row(format_args!(
            "{{{phase},\"ts\":{}.{:03},\"pid\":{},\"tid\":{},\"name\":\"{}\",\"cat\":\"pytstate\"}}",
            row.at_ns / 1000,
            row.at_ns % 1000,
            process_of(row.interp),
            row.thread,
            row.name,
        ));
    }

    /// Names a thread's track among an interpreter's, and the interpreter if need be.
    pub(super) fn name_thread(&mut self, interp: i64, thread: i64, name: &[u8]) {
        self.name_interpreter(interp);
        self.row(format_args!(
            "{{\"ph\":\"M\",\"pid\":{},\"tid\":{thread},\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}",
            process_of(interp),
            Escaped(name),
        ));
    }

    /// Names an interpreter's row, once.
    fn name_interpreter(&mut self, interp: i64) {
        let place = usize::try_from(interp).ok().filter(|&id| id < NAMED).unwrap_or(NAMED - 1);
        let (word, bit) = (&mut self.named[place / 64], 1 << (place % 64));
        if *word & bit != 0 && place != NAMED - 1 {
            return;
        }
        *word |= bit;
        let process = process_of(interp);
        let mut name = LineBuf::<48>::new();
        // The only error is the formatter's own; the name fits.
        let _ = match interp {
            0 => name.write_str("interpreter 0 (main)"),
            1.. => write!(name, "interpreter {interp}"),
            _ => name.write_str("no interpreter"),
        };
        self.row(format_args!(
            "{{\"ph\":\"M\",\"pid\":{process},\"name\":\"process_name\",\"args\":{{\"name\":\"{}\"}}}}",
            Escaped(name.as_bytes()),
        ));
    }

    /// Adds one row and its separator.
    fn row(&mut self, row: core::fmt::Arguments<'_>) {
        let mut line = LineBuf::<ROW>::new();
        // Our own formatting cannot fail; a row that does not fit is left out, not cut.
        let _ = line.write_str(if self.rows == 0 { "\n" } else { ",\n" });
        let _ = line.write_fmt(row);
        if !line.is_cut() {
            self.put(line.as_bytes());
            self.rows += 1;
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.len + bytes.len() + END.len() > TEXT {
            self.flush();
        }
        self.text[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Writes what is kept (FILE-2). Once that failed, what is kept is thrown away.
    pub(super) fn flush(&mut self) {
        if self.owner != ids::process() || self.error != 0 {
            self.len = 0;
            return;
        }
        let whole = match self.form {
            Form::Stream => file::write_all(self.fd, &self.text[..self.len]),
            Form::Placed => {
                let end = self.len + END.len();
                self.text[self.len..end].copy_from_slice(END);
                file::write_at(self.fd, &self.text[..end], self.offset)
            }
        };
        if !whole {
            self.error = errno::get();
        }
        self.offset += self.len as u64;
        self.len = 0;
    }

    /// Writes everything and closes the file, or says with which error of the OS that failed.
    pub(super) fn finish(&mut self) -> Result<(), i32> {
        self.flush();
        let rest = self.form == Form::Stream && self.owner == ids::process() && self.error == 0;
        if rest && !file::write_all(self.fd, END) {
            self.error = errno::get();
        }
        if !self.close() && self.error == 0 {
            self.error = errno::get();
        }
        if self.error == 0 { Ok(()) } else { Err(self.error) }
    }

    /// Closes the file as it is: what is kept is lost.
    pub(super) fn close(&mut self) -> bool {
        let fd = core::mem::replace(&mut self.fd, -1);
        self.len = 0;
        file::close(fd)
    }
}

/// What stands for the interpreter in the file.
fn process_of(interp: i64) -> i64 {
    if interp < 0 { NO_INTERPRETER } else { interp }
}

/// Text from outside, made safe inside a JSON string: what is no UTF-8 and no printable character
/// becomes `?`.
struct Escaped<'a>(&'a [u8]);

impl core::fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' | '\\' => write!(out, "\\{character}")?,
                    _ if is_unprintable(character) => out.write_char('?')?,
                    _ => out.write_char(character)?,
                }
            }
            if !chunk.invalid().is_empty() {
                out.write_char('?')?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn names_from_outside_cannot_break_out_of_a_string() {
        assert_eq!(Escaped(b"a\"b\\c\n").to_string(), "a\\\"b\\\\c?");
        assert_eq!(Escaped("\u{e9}\u{85}".as_bytes()).to_string(), "\u{e9}?");
        assert_eq!(Escaped(b"ab\xffcd").to_string(), "ab?cd");
    }
}
