//! `pytstate replay`: runs exactly one schedule, and says how many runs agreed.

use crate::args::Replay;
use crate::complaint::Complaint;
use crate::explore::{Setting, print};
use crate::os;
use crate::outcome::{Outcome, judge};
use crate::program::{self, Program};
use crate::record::{Record, Step, shown};
use crate::schedule_file::{ScheduleFile, digest_text};
use crate::worker::{Ending, Worker};
use pytstate_protocol::{Schedule, Strategy};
use serde_json::json;
use std::path::Path;

/// A replay that was made.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) record: Record,
    pub(crate) ending: Ending,
}

/// Runs the items of a schedule over the default.
pub(crate) fn run_items(
    worker: &mut Worker,
    setting: &Setting,
    schedule: &Schedule,
) -> Result<Run, Complaint> {
    let text: String = schedule.switches.iter().map(ToString::to_string).collect();
    let ending = worker.run(setting.limit(), |area| {
        setting.fill(area);
        area.request.strategy = Strategy::Items as u32;
        area.request.index = schedule.index;
        let length = text.len().min(area.items.len());
        area.items[..length].copy_from_slice(&text.as_bytes()[..length]);
        area.request.items_len = u32::try_from(length).unwrap_or(0);
    })?;
    let outcome = judge(worker.area(), &ending, setting.timeout);
    let record = Record::read(worker.area(), &setting.program);
    Ok(Run { outcome, record, ending })
}

/// A decision in words, without anything that differs from run to run by right.
fn told(threads: &[crate::record::ThreadName], points: &[String], step: &Step) -> String {
    let point = points.get(usize::from(step.point)).map_or("?", |name| name);
    let object = match step.object {
        0 => String::new(),
        object => format!(" of object {object}"),
    };
    format!(
        "{} at {point}{object}, {} candidates, then {}",
        shown(threads, step.thread.into()),
        step.options,
        shown(threads, step.next.into())
    )
}

/// The first decision in which two runs differ, with both values.
pub(crate) fn first_difference(first: &Record, second: &Record) -> Option<String> {
    let rows = |record: &Record| {
        let row = |step: &Step| (told(&record.threads, &record.points, step), step.enabled);
        record.steps.iter().map(row).collect::<Vec<_>>()
    };
    difference(&rows(first), &rows(second))
}

fn difference(first: &[(String, u32)], second: &[(String, u32)]) -> Option<String> {
    let longest = first.len().max(second.len());
    let at = (0..longest).find(|&at| first.get(at) != second.get(at))?;
    let told = |rows: &[(String, u32)]| {
        rows.get(at).map_or_else(|| String::from("the end of the run"), |row| row.0.clone())
    };
    let (one, two) = (told(first), told(second));
    Some(if one == two {
        format!("step {}: {one}, but the candidates are others", at + 1)
    } else {
        format!("step {}: {one} | {two}", at + 1)
    })
}

/// Whether PROGRAM is that of the file. Another build of it is one, with a warning.
fn check_program(file: &ScheduleFile, program: &Program, path: &Path) -> Result<(), Complaint> {
    if program.identity()? == file.build {
        return Ok(());
    }
    let named = Path::new(&file.program).file_name().unwrap_or_default();
    if named != program.path.file_name().unwrap_or_default() {
        return Err(Complaint::usage(format!(
            "{} is a schedule of another program: of '{}', not of '{}'",
            path.display(),
            file.program,
            program.path.display()
        )));
    }
    eprintln!(
        "pytstate: warning: '{}' is not the build that the schedule was found with",
        program.path.display()
    );
    Ok(())
}

/// Runs the command. Whether every run agreed.
pub(crate) fn run(options: &Replay) -> Result<bool, Complaint> {
    let file = ScheduleFile::read(&options.file)?;
    let words = if options.program.is_empty() { file.words() } else { options.program.clone() };
    let mut program = Program::find(&words)?;
    check_program(&file, &program, &options.file)?;
    program.environment.clone_from(&file.environment);
    let preload = program::preload_library()?;
    let cpu = os::processors().first().copied().unwrap_or(0);
    let mut workers = Worker::start_all(&[cpu], &program, &preload)?;
    let Some(worker) = workers.first_mut() else {
        return Err(Complaint::usage("no worker was started"));
    };
    let setting = Setting {
        program,
        seed: file.schedule.seed,
        flags: file.schedule.flags,
        epoch_ns: file.schedule.epoch_ns,
        timeout: options.timeout,
    };
    let mut agreed = 0;
    let mut divergence = None;
    let mut other_outcome = None;
    for number in 0..options.times {
        let run = run_items(worker, &setting, &file.schedule)?;
        let (same_end, line) = match &run.outcome {
            Outcome::Failed(failure) => {
                (failure.signature() == file.expected.signature(), failure.line())
            }
            Outcome::Fine => (false, String::from("no failure")),
            Outcome::GivenUp(why) => (false, format!("given up: {why}")),
        };
        if number == 0 && options.times == 1 && !options.json {
            show_output(&run.ending);
        }
        if run.record.digest == file.digest() && same_end {
            agreed += 1;
            continue;
        }
        if !same_end && other_outcome.is_none() {
            other_outcome = Some(line);
        }
        if run.record.digest != file.digest() && divergence.is_none() {
            divergence = Some(divergence_text(&file, &run.record));
        }
    }
    report(options, &file, agreed, divergence, other_outcome);
    Ok(agreed == options.times)
}

/// What the program said, where it would have said it.
fn show_output(ending: &Ending) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(ending.out.as_bytes());
    let _ = std::io::stderr().write_all(ending.err.as_bytes());
}

fn divergence_text(file: &ScheduleFile, record: &Record) -> String {
    let rows = |step: &Step, threads, points| (told(threads, points, step), step.enabled);
    let expected: Vec<_> =
        file.steps().iter().map(|row| rows(&row.step, &file.threads, &file.points)).collect();
    let got: Vec<_> =
        record.steps.iter().map(|step| rows(step, &record.threads, &record.points)).collect();
    // A file keeps the first decisions only.
    let got = if expected.len() == 20_000 { &got[..got.len().min(20_000)] } else { &got[..] };
    difference(&expected, got)
        .unwrap_or_else(|| format!("digests: {} | {}", file.digest, digest_text(record.digest)))
}

fn report(
    options: &Replay,
    file: &ScheduleFile,
    agreed: u64,
    divergence: Option<String>,
    other_outcome: Option<String>,
) {
    if options.json {
        print(
            &json!({
                "file": options.file, "agreed": agreed, "times": options.times,
                "digest": file.digest, "expected": file.expected.line(),
                "first_divergence": divergence, "other_outcome": other_outcome,
            })
            .to_string(),
        );
        return;
    }
    if let Some(other) = other_outcome {
        print(&format!("expected {}, got {other}", file.expected.line()));
    }
    if let Some(divergence) = divergence {
        print(&format!("first divergence (expected | got) at {divergence}"));
    }
    print(&format!(
        "{agreed} of {} agreed: digest {}, {}",
        options.times,
        file.digest,
        file.expected.line()
    ));
}
