//! What the command says instead of doing what was asked, and the exit status that goes with it.

use std::fmt;

/// A sentence for standard error and an exit status.
#[derive(Debug)]
pub(crate) struct Complaint {
    text: String,
    status: u8,
}

/// Bad usage, or a program that cannot be run.
pub(crate) const USAGE: u8 = 2;
/// The program had nothing to control.
pub(crate) const NOTHING: u8 = 3;

impl Complaint {
    /// The request cannot be met as it stands.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: USAGE }
    }

    /// The program had no second thread and never entered the library.
    pub(crate) fn nothing(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: NOTHING }
    }

    /// The same, with the file or program it is about in front.
    pub(crate) fn about(self, subject: &str) -> Self {
        Self { text: format!("{subject}: {}", self.text), status: self.status }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
