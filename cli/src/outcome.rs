//! What a run came to: fine, a failure with its signature, or given up.

use crate::os;
use crate::record;
use crate::worker::Ending;
use pytstate_protocol::{Area, STOPPED, Status};
use serde::{Deserialize, Serialize};

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ended with status 0.
    Fine,
    /// It failed.
    Failed(Failure),
    /// The engine could not go on with it; the reason. That is no failure of the program.
    GivenUp(String),
}

/// A failure of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// `SIGABRT`, `exit status 3`, `deadlock`, `livelock`, `timeout`.
    pub(crate) kind: String,
    /// What the program or the engine said about it, in one line; may be empty.
    pub(crate) message: String,
    /// More lines, for a deadlock: which thread waits for what.
    #[serde(default)]
    pub(crate) details: Vec<String>,
}

impl Failure {
    /// Equal for two failures that are the same to a person: numbers and addresses do not count.
    pub(crate) fn signature(&self) -> String {
        let mut out = format!("{}: ", self.kind);
        let mut in_number = false;
        for letter in self.message.chars() {
            let hexadecimal = in_number && (letter.is_ascii_hexdigit() || letter == 'x');
            if letter.is_ascii_digit() || hexadecimal {
                if !in_number {
                    out.push('#');
                }
                in_number = true;
            } else {
                in_number = false;
                out.push(letter);
            }
        }
        out
    }

    /// The line for people.
    pub(crate) fn line(&self) -> String {
        match &*self.message {
            "" => self.kind.clone(),
            message => format!("{}: {message}", self.kind),
        }
    }
}

/// Judges the run that has just ended.
pub(crate) fn judge(area: &Area, ending: &Ending, timeout: f64) -> Outcome {
    let message = record::message(area);
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let failed = |kind: &str, message: String, details: Vec<String>| {
        Outcome::Failed(Failure { kind: String::from(kind), message, details })
    };
    if ending.timed_out {
        return failed("timeout", format!("the run did not end within {timeout} s"), Vec::new());
    }
    let stopped =
        os::signal_of(ending.status).is_none() && os::exit_status_of(ending.status) == STOPPED;
    match Status::from_number(area.report.status) {
        Some(status @ (Status::Deadlock | Status::Livelock)) if stopped => {
            let (kind, usual) = match status {
                Status::Deadlock => ("deadlock", "no thread can go on"),
                _ => ("livelock", "the threads run and run and come to no end"),
            };
            let first = lines.next().unwrap_or(usual).to_owned();
            let first = strip(&first, kind);
            failed(kind, first, lines.map(String::from).collect())
        }
        Some(Status::SpinsOutside) if stopped => {
            let first = lines.next().unwrap_or("a thread runs without coming to any point");
            Outcome::GivenUp(first.to_owned())
        }
        Some(Status::GivenUp | Status::BadVersion) if stopped => {
            Outcome::GivenUp(lines.next().unwrap_or("a table of the engine is full").to_owned())
        }
        _ if ending.status == 0 => Outcome::Fine,
        _ => match os::signal_of(ending.status) {
            Some(signal) => failed(&os::signal_name(signal), telling_line(ending), Vec::new()),
            None => {
                let kind = format!("exit status {}", os::exit_status_of(ending.status));
                failed(&kind, telling_line(ending), Vec::new())
            }
        },
    }
}

/// `deadlock: no thread ...` loses the word that stands before it already.
fn strip(line: &str, kind: &str) -> String {
    let low = line.to_ascii_lowercase();
    match low.strip_prefix(kind) {
        Some(rest) => {
            let rest = &line[line.len() - rest.len()..];
            rest.trim_start_matches([':', ' ', ',']).to_owned()
        }
        None => line.to_owned(),
    }
}

/// The line of the program's output that says best what went wrong.
fn telling_line(ending: &Ending) -> String {
    const WORDS: [&str; 8] = [
        "Fatal Python error",
        "Assertion",
        "assert",
        "AddressSanitizer",
        "ThreadSanitizer",
        "panicked at",
        "terminate called",
        "rror:",
    ];
    let lines = || ending.err.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = WORDS.iter().find_map(|word| lines().find(|line| line.contains(word)));
    let line = telling.or_else(|| lines().next_back()).unwrap_or_default();
    // `program: file.c:12: main: Assertion ...` is clear as it is; only its length is bounded.
    line.chars().filter(|letter| !letter.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str) -> Failure {
        Failure { kind: String::from("SIGABRT"), message: message.into(), details: Vec::new() }
    }

    #[test]
    fn numbers_and_addresses_do_not_tell_failures_apart() {
        let one = failure("state 0x7fff12ab of thread 12 is linked");
        let two = failure("state 0x55550010 of thread 4711 is linked");
        assert_eq!(one.signature(), two.signature());
        assert_ne!(one.signature(), failure("state of thread").signature());
    }

    #[test]
    fn the_line_that_tells_most_is_shown() {
        let ending = Ending {
            status: 6,
            timed_out: false,
            out: String::new(),
            err: String::from("hello\nFatal Python error: not the last thread\n\nThread 1:\n"),
            refused: None,
            fixed_addresses: true,
        };
        assert_eq!(telling_line(&ending), "Fatal Python error: not the last thread");
    }
}
