//! The schedule: what a file holds, and the lines that the engine reads.
//!
//! A schedule is a list of exceptions to the default. The default: the running thread runs on until it cannot, or
//! yields; then the candidate that has waited longest is chosen (a deadline is a candidate only if no thread is one, or
//! the thread has yielded); a signal wakes the waiter that has waited longest.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// What happens at an item's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// `who` runs next.
    Run,
    /// The deadline of `who` passes, and it runs next.
    Timer,
    /// Of the waiters, `who` is woken.
    Wake,
    /// `who` is woken by nothing, and runs next.
    Spurious,
    /// `who` (the thread itself) goes on, is blocked outside before it comes to another point, and the others go on.
    Outside,
    /// `who` comes back from outside before the decision at this place is taken.
    Back,
}

impl What {
    /// The word that stands for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            What::Run => "run",
            What::Timer => "timer",
            What::Wake => "wake",
            What::Spurious => "spurious",
            What::Outside => "outside",
            What::Back => "back",
        }
    }

    /// The meaning of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        use What::{Back, Outside, Run, Spurious, Timer, Wake};
        [Run, Timer, Wake, Spurious, Outside, Back].into_iter().find(|what| what.word() == word)
    }
}

/// One exception to the default: when `thread` comes to `point` for the `passage`th time, `who` does `what`.
///
/// An item whose place never comes, or whose choice is not possible there, is skipped and counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Path of the thread that comes to the point.
    pub thread: String,
    /// Name of the point.
    pub point: String,
    /// How often it has come to that point, this time included: 1 is the first.
    pub passage: u32,
    /// What happens.
    pub what: What,
    /// Path of the thread that it happens to.
    pub who: String,
}

/// One line of [`crate::Area::items`]: five fields, separated by tabs, ended by a newline.
impl fmt::Display for Item {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Item { thread, point, passage, what, who } = self;
        writeln!(out, "{thread}\t{point}\t{passage}\t{}\t{who}", what.word())
    }
}

impl Item {
    /// Reads one line, without its newline.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let item = Item {
            thread: fields.next()?.into(),
            point: fields.next()?.into(),
            passage: fields.next()?.parse().ok()?,
            what: What::from_word(fields.next()?)?,
            who: fields.next()?.into(),
        };
        fields.next().is_none().then_some(item)
    }
}

/// The part of a schedule file that the engine reads by itself (`PYTSTATE_SCHEDULE`). The command's own keys stand
/// beside these at the top of the JSON object; unknown keys are ignored here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// [`crate::VERSION`] of the engine that wrote it.
    pub version: u32,
    /// [`crate::Request::seed`]: answers of `getrandom` come from it.
    pub seed: u64,
    /// [`crate::Request::index`].
    pub index: u64,
    /// [`crate::Request::epoch_ns`].
    pub epoch_ns: i64,
    /// [`crate::Request::flags`].
    #[serde(default)]
    pub flags: u32,
    /// The exceptions to the default, in the order in which they happened.
    pub switches: Vec<Item>,
}
