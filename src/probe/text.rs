//! Diagnostics text without allocation: a line on the stack and a write that signal handlers may
//! do.
//!
//! Everything here is async-signal-safe and leaves `errno` as it was.

use core::fmt;

use crate::os::{errno, file};

/// A line of text on the stack; what does not fit is cut off.
///
/// TEXT-1: `bytes[..len]` is what was written, `len <= N`, and a cut falls between characters.
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

    /// Ends the text as C does: the last byte is NUL, even where the text was cut.
    pub(crate) fn end_text(&mut self) {
        if self.len == N {
            self.len -= 1;
        }
        self.push_bytes(b"\0");
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

/// Nanoseconds as seconds, with one digit behind the point; what is negative is 0.
pub(crate) struct Seconds(pub(crate) i64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.max(0) / 100_000_000;
        write!(out, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// Seconds as people write them, with or without a fraction, in nanoseconds.
pub(crate) fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_i64.checked_pow(9 - u32::try_from(fraction.len()).ok()?)?;
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = fraction.parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction * scale)
}

/// Text from outside, made safe for a line of a report: what is no UTF-8 or no printable character
/// becomes `?`, so that it can neither end the line nor speak to a terminal.
pub(crate) struct Printable<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_printable(out, self.0, |_| false)
    }
}

/// [`Printable`] for a message of the host's, which may have several lines and tabs in them.
pub(crate) struct Message<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Message<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_printable(out, self.0, |character| matches!(character, '\n' | '\t'))
    }
}

fn write_printable(
    out: &mut fmt::Formatter<'_>,
    bytes: &[u8],
    also: fn(char) -> bool,
) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|c| is_unprintable(c) && !also(c)) {
            out.write_str(&rest[..at])?;
            out.write_str("?")?;
            let mut from_there = rest[at..].chars();
            from_there.next();
            rest = from_there.as_str();
        }
        out.write_str(rest)?;
        if !chunk.invalid().is_empty() {
            out.write_str("?")?;
        }
    }
    Ok(())
}

/// Control characters, line and paragraph separators, and the marks that turn the direction of text
/// around.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{LineBuf, Message, Printable, Seconds, parse_seconds};
    use core::fmt::Write;

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(parse_seconds("10"), Some(10_000_000_000));
        assert_eq!(parse_seconds("0.25"), Some(250_000_000));
        assert_eq!(parse_seconds("1.000000001"), Some(1_000_000_001));
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "1.0000000001", "99999999999999"] {
            assert_eq!(parse_seconds(bad), None, "{bad}");
        }
        assert_eq!(Seconds(12_380_000_000).to_string(), "12.3");
        assert_eq!(Seconds(-1).to_string(), "0.0");
    }

    #[test]
    fn text_from_outside_cannot_end_a_line_or_speak_to_a_terminal() {
        assert_eq!(Printable(b"a\n\x1b[2Jb\xff\r").to_string(), "a??[2Jb??");
        assert_eq!(Printable("\u{e9}\u{85}\u{202e}\u{2028}z".as_bytes()).to_string(), "\u{e9}???z");
        assert_eq!(Message(b"a\n\tb\x07").to_string(), "a\n\tb?");
    }

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
