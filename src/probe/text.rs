//! Diagnostics text without allocation: a line on the stack and a write that signal handlers may do.
//!
//! Everything here is async-signal-safe and leaves `errno` as it was.

use core::fmt;

use crate::os::{errno, file};

/// A line of text on the stack; what does not fit is cut off.
///
/// L1. `bytes[..len]` is what was written, `len <= N`, and a cut falls between characters.
pub(crate) struct LineBuf<const N: usize = 256> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

impl<const N: usize> LineBuf<N> {
    /// An empty line.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0, cut: false }
    }

    /// What was written so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// True if something did not fit.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Forgets what was written.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    /// Appends bytes as they are (text from C need not be UTF-8).
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(N - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&bytes[..fits]);
        self.len += fits;
        self.cut |= fits < bytes.len();
    }

    /// Ends the line: the last byte is a newline, even where the text was cut.
    pub(crate) fn end_line(&mut self) {
        if self.len == N {
            self.len -= 1;
        }
        self.push_bytes(b"\n");
    }
}

impl<const N: usize> fmt::Write for LineBuf<N> {
    /// Never fails: a message that is cut off is better than none.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.cut {
            return Ok(());
        }
        let room = N - self.len;
        if text.len() <= room {
            self.push_bytes(text.as_bytes());
        } else {
            let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            self.push_bytes(&text.as_bytes()[..end]);
            self.cut = true;
        }
        Ok(())
    }
}

/// Writes all of `bytes` to the file descriptor, however many calls that takes.
///
/// False if the descriptor takes no more (closed, full, would block). Keeps `errno`.
pub(crate) fn write_fd(fd: i32, bytes: &[u8]) -> bool {
    let saved = errno::get();
    let whole = file::write_all(fd, bytes);
    errno::set(saved);
    whole
}

/// Formats one line, newline included, and writes it to standard error. Keeps `errno`.
pub(crate) fn warn(message: fmt::Arguments<'_>) {
    let mut line = LineBuf::<512>::new();
    // The only error is the formatter's own; a line that misses a piece is still worth writing.
    let _ = fmt::Write::write_fmt(&mut line, message);
    line.end_line();
    write_fd(2, line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::LineBuf;
    use core::fmt::Write;

    #[test]
    fn a_line_that_fits_is_kept_whole() {
        let mut line = LineBuf::<16>::new();
        write!(line, "thread {}", 4711).expect("never fails");
        assert_eq!(line.as_bytes(), b"thread 4711");
        assert!(!line.is_cut());
    }

    #[test]
    fn a_line_too_long_is_cut_between_characters_and_ends_with_a_newline() {
        let mut line = LineBuf::<8>::new();
        write!(line, "abcdef\u{e9}\u{e9}").expect("never fails");
        assert_eq!(line.as_bytes(), "abcdef\u{e9}".as_bytes());
        line.clear();
        write!(line, "abcdefg\u{e9}").expect("never fails");
        assert_eq!(line.as_bytes(), b"abcdefg");
        assert!(line.is_cut());
        line.push_bytes(b"hijk");
        line.end_line();
        assert_eq!(line.as_bytes(), b"abcdefg\n");
    }
}
