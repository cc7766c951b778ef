//! The schedule file: JSON with what the engine reads by itself and what the command adds.

use crate::complaint::Complaint;
use crate::outcome::Failure;
use crate::program::{Identity, Program, as_text, from_text, plain};
use crate::record::{Record, Step, ThreadName};
use crate::story::Line;
use crate::symbols::Symbols;
use pytstate_protocol::{Schedule, VERSION};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Decisions that a file keeps; the digest is over all of them.
const STEPS: usize = 20_000;

/// A whole file. The engine reads the keys of `schedule` and ignores the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScheduleFile {
    /// Version of the command that wrote it.
    pub(crate) pytstate: String,
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// Which build of the program it was.
    pub(crate) build: Identity,
    /// The variables of the environment that change schedules.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// How the schedule was found; it is shorter than what was found.
    pub(crate) strategy: String,
    #[serde(default)]
    pub(crate) depth: u32,
    /// `version`, `seed`, `index`, `epoch_ns`, `flags`, `switches`.
    #[serde(flatten)]
    pub(crate) schedule: Schedule,
    /// How the run ends.
    pub(crate) expected: Failure,
    pub(crate) digest: String,
    /// The list for people.
    #[serde(default)]
    pub(crate) story: Vec<Line>,
    pub(crate) threads: Vec<ThreadName>,
    pub(crate) points: Vec<String>,
    /// `file:line` texts that steps point to; the first is empty.
    pub(crate) places: Vec<String>,
    /// What happened: rows of [`COLUMNS`].
    pub(crate) steps: Vec<[u32; 11]>,
}

/// The columns of a row of `steps`.
#[allow(dead_code, reason = "it documents the file and is checked by a test")]
pub(crate) const COLUMNS: [&str; 11] = [
    "thread", "next", "point", "kind", "flags", "object", "passage", "enabled", "options",
    "chosen", "place",
];

/// A decision as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStep {
    pub(crate) step: Step,
    /// An index into [`ScheduleFile::places`].
    pub(crate) place: usize,
}

/// What a file is made from.
pub(crate) struct Found<'a> {
    pub(crate) program: &'a Program,
    pub(crate) strategy: &'a str,
    pub(crate) depth: u32,
    pub(crate) schedule: Schedule,
    pub(crate) failure: &'a Failure,
    pub(crate) record: &'a Record,
    pub(crate) story: &'a [Line],
}

/// The digest as text: JSON numbers of other readers have 53 bits.
pub(crate) fn digest_text(digest: u64) -> String {
    format!("{digest:016x}")
}

impl ScheduleFile {
    /// Puts a file together.
    pub(crate) fn new(found: &Found, symbols: &Symbols) -> Result<Self, Complaint> {
        let mut places = vec![String::new()];
        let mut known: BTreeMap<u64, u32> = BTreeMap::from([(0, 0)]);
        let mut place = |address: u64| {
            *known.entry(address).or_insert_with(|| {
                let text = symbols.place(found.record, address);
                let at = places.iter().position(|other| *other == text).unwrap_or_else(|| {
                    places.push(text);
                    places.len() - 1
                });
                u32::try_from(at).unwrap_or(0)
            })
        };
        let steps = found.record.steps.iter().take(STEPS).map(|step| {
            [
                u32::from(step.thread),
                u32::from(step.next),
                u32::from(step.point),
                u32::from(step.kind),
                u32::from(step.flags),
                step.object,
                step.passage,
                step.enabled,
                u32::from(step.options),
                u32::from(step.chosen),
                place(step.place),
            ]
        });
        let steps = steps.collect();
        let program = found.program;
        Ok(Self {
            pytstate: String::from(env!("CARGO_PKG_VERSION")),
            program: as_text(program.path.as_os_str()),
            args: program.args.iter().map(|arg| as_text(arg)).collect(),
            build: program.identity()?,
            environment: program.environment.clone(),
            strategy: String::from(found.strategy),
            depth: found.depth,
            schedule: found.schedule.clone(),
            expected: found.failure.clone(),
            digest: digest_text(found.record.digest),
            story: found.story.to_vec(),
            threads: found.record.threads.clone(),
            points: found.record.points.clone(),
            places,
            steps,
        })
    }

    /// Reads a file; the complaint says what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, Complaint> {
        let text = fs::read_to_string(path).map_err(|error| {
            Complaint::usage(format!("cannot read '{}': {}", path.display(), plain(&error)))
        })?;
        Self::parse(&text).map_err(|complaint| complaint.about(&path.display().to_string()))
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, Complaint> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
            Complaint::usage(format!("the schedule file is damaged: it is no JSON: {error}"))
        })?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if value.get("switches").is_none() || version.is_none() {
            return Err(Complaint::usage(
                "this is no schedule file: it has no `version` or no `switches`",
            ));
        }
        if version != Some(u64::from(VERSION)) {
            return Err(Complaint::usage(format!(
                "the schedule file is of version {}, this command reads version {VERSION}",
                version.unwrap_or(0)
            )));
        }
        let file: Self = serde_json::from_value(value)
            .map_err(|error| Complaint::usage(format!("the schedule file is damaged: {error}")))?;
        if u64::from_str_radix(&file.digest, 16).is_err() {
            return Err(Complaint::usage("the schedule file is damaged: its digest is no number"));
        }
        let in_range = |row: &[u32; 11]| {
            (row[0] as usize) < file.threads.len()
                && (row[1] as usize) < file.threads.len()
                && (row[2] as usize) < file.points.len()
                && (row[10] as usize) < file.places.len()
        };
        match file.steps.iter().position(|row| !in_range(row)) {
            Some(at) => Err(Complaint::usage(format!(
                "the schedule file is damaged: row {at} of its steps names something that is not in it"
            ))),
            None => Ok(file),
        }
    }

    /// Writes it, in one piece: a reader sees the old file or the new one.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Complaint> {
        let cannot = |error: std::io::Error| {
            Complaint::usage(format!("cannot write '{}': {}", path.display(), plain(&error)))
        };
        let mut text = serde_json::to_string_pretty(&Pretty(self)).unwrap_or_default();
        text.push('\n');
        let text = one_row_a_line(&text);
        let beside = path.with_extension(format!("tmp{}", std::process::id()));
        fs::write(&beside, text).map_err(cannot)?;
        fs::rename(&beside, path).map_err(|error| {
            let _ = fs::remove_file(&beside);
            cannot(error)
        })
    }

    /// The program of the file, unless the user names one.
    pub(crate) fn words(&self) -> Vec<std::ffi::OsString> {
        let mut words = vec![PathBuf::from(from_text(&self.program)).into_os_string()];
        words.extend(self.args.iter().map(|arg| from_text(arg)));
        words
    }

    /// The digest as a number.
    pub(crate) fn digest(&self) -> u64 {
        u64::from_str_radix(&self.digest, 16).unwrap_or(0)
    }

    /// The decisions.
    pub(crate) fn steps(&self) -> Vec<FileStep> {
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let byte = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let row = |row: &[u32; 11]| FileStep {
            step: Step {
                thread: small(row[0]),
                next: small(row[1]),
                point: small(row[2]),
                kind: byte(row[3]),
                flags: byte(row[4]),
                object: row[5],
                passage: row[6],
                enabled: row[7],
                options: small(row[8]),
                chosen: small(row[9]),
                place: 0,
            },
            place: row[10] as usize,
        };
        self.steps.iter().map(row).collect()
    }
}

/// Marks the value for [`one_row_a_line`].
#[derive(Serialize)]
#[serde(transparent)]
struct Pretty<'a>(&'a ScheduleFile);

/// Joins the lines of each array of numbers: a row of `steps` is one line.
fn one_row_a_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut row: Option<String> = None;
    for line in text.lines() {
        let word = line.trim();
        match &mut row {
            Some(open) if word.starts_with(']') => {
                out.push_str(open);
                out.push_str(word);
                out.push('\n');
                row = None;
            }
            Some(open) if word.trim_end_matches(',').parse::<u32>().is_ok() => {
                open.push_str(word);
            }
            Some(open) => {
                out.push_str(open);
                out.push('\n');
                out.push_str(line);
                out.push('\n');
                row = None;
                if word == "[" {
                    out.truncate(out.len() - line.len() - 1);
                    row = Some(String::from(line));
                }
            }
            None if word == "[" => row = Some(String::from(line)),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
