//! A schedule as a short list that a person can read.

use crate::outcome::Failure;
use crate::record::{Record, Step};
use crate::symbols::Symbols;
use pytstate_protocol::{Item, What, step_flag};
use serde::{Deserialize, Serialize};

/// With more lines than this, exchanges that had to be are left out.
const LINES: usize = 8;

/// One line of the list: a thread, what it does, where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The name of the thread.
    pub(crate) thread: String,
    /// `runs until`, `waits at`, `times out, runs until`, ...
    pub(crate) does: String,
    /// The point, or how the program ends.
    pub(crate) what: String,
    /// `race.c:88`, or empty.
    pub(crate) place: String,
    /// How often the thread had come to the point by then.
    pub(crate) passage: u32,
    /// Whether the scheduler chose to go on with another thread here; otherwise it had to.
    pub(crate) chosen: bool,
}

/// The list, with columns.
pub(crate) fn text(lines: &[Line]) -> Vec<String> {
    let names = lines.iter().map(|line| line.thread.chars().count()).max().unwrap_or(0).max(10);
    let verbs = lines.iter().map(|line| line.does.chars().count()).max().unwrap_or(0);
    let shown = lines.iter().map(|line| {
        // The end of the program has no place of its own: it is after the thread's last call.
        let at = if line.passage == 0 { "after" } else { "at" };
        let place =
            if line.place.is_empty() { String::new() } else { format!("  {at} {}", line.place) };
        let times =
            if line.passage > 1 { format!("  ({})", nth(line.passage)) } else { String::new() };
        format!("{:names$}  {:verbs$}  {}{place}{times}", line.thread, line.does, line.what)
    });
    shown.collect()
}

/// `2nd time`.
fn nth(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending} time")
}

/// Whether another thread goes on after this step.
fn exchanges(step: &Step) -> bool {
    !step.is(step_flag::WAKE) && step.next != step.thread
}

/// Whether the scheduler deviated from its default here.
fn is_choice(step: &Step) -> bool {
    step.chosen != 0
}

/// How many exchanges of the running thread the scheduler chose, and how many there were.
pub(crate) fn switches(record: &Record) -> (usize, usize) {
    let all = record.steps.iter().filter(|step| exchanges(step));
    (all.clone().filter(|step| is_choice(step)).count(), all.count())
}

/// Tells a failing run. What comes before the first choice is the default and is told by one line.
pub(crate) fn tell(record: &Record, failure: &Failure, symbols: &Symbols) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut arrives = String::new();
    let mut during: Vec<&str> = vec![""; record.threads.len()];
    for step in &record.steps {
        // What a thread does that comes to a futex: the last point with a name of its own.
        let point = record.point(step.point);
        if let Some(during) = during.get_mut(usize::from(step.thread)) {
            if !point.starts_with("futex.") {
                *during = point;
            }
        }
        let during = during.get(usize::from(step.thread)).copied().unwrap_or_default();
        let chosen = is_choice(step);
        if step.is(step_flag::WAKE) {
            if chosen {
                lines.push(line(
                    during,
                    record,
                    symbols,
                    step,
                    "",
                    format!("wakes {}, not the first waiter", record.shown(step.next.into())),
                ));
            }
            continue;
        }
        if !exchanges(step) {
            if chosen && step.is(step_flag::TIMER) {
                lines.push(line(
                    during,
                    record,
                    symbols,
                    step,
                    &arrives,
                    String::from("times out at once at"),
                ));
                arrives.clear();
            }
            continue;
        }
        let ends = matches!(record.point(step.point), "thread.gone" | "thread.end");
        let does = match step {
            _ if ends => "runs until",
            step if step.is(step_flag::BLOCKED) => "runs until it waits at",
            step if step.is(step_flag::YIELDED) => "runs until it yields at",
            _ => "runs until",
        };
        lines.push(line(during, record, symbols, step, &arrives, String::from(does)));
        arrives.clear();
        if step.is(step_flag::TIMER) {
            arrives.push_str("times out, ");
        } else if step.is(step_flag::SPURIOUS) {
            arrives.push_str("wakes up for no reason, ");
        }
    }
    // The beginning is the default: the first choice says how far it goes.
    let first = lines.iter().position(|line| line.chosen).unwrap_or(lines.len());
    lines.drain(..first);
    lines.push(last(record, failure, symbols, &arrives));
    shorter(lines)
}

fn line(
    during: &str,
    record: &Record,
    symbols: &Symbols,
    step: &Step,
    arrives: &str,
    does: String,
) -> Line {
    Line {
        thread: record.shown(usize::from(step.thread)),
        does: format!("{arrives}{does}"),
        what: match record.point(step.point) {
            "thread.gone" | "thread.end" => String::from("its end"),
            point if point.starts_with("futex.") && !during.is_empty() && during != point => {
                format!("{point} of {during}")
            }
            point => String::from(point),
        },
        place: symbols.place(record, step.place),
        passage: step.passage,
        chosen: is_choice(step),
    }
}

/// The thread that met the failure.
fn last(record: &Record, failure: &Failure, symbols: &Symbols, arrives: &str) -> Line {
    let running = record.steps.iter().rev().find(|step| !step.is(step_flag::WAKE));
    let thread = running.map_or(record.last_thread, |step| usize::from(step.next));
    let place = record.steps.iter().rev().find(|step| usize::from(step.thread) == thread);
    let (does, what) = match &*failure.kind {
        "deadlock" => ("stops: ", "no thread can go on"),
        "livelock" => ("runs on: ", "the threads come to no end"),
        "timeout" => ("runs on: ", "its time is over"),
        kind => ("runs until", kind),
    };
    Line {
        thread: record.shown(thread),
        does: format!("{arrives}{does}"),
        what: String::from(what),
        place: place.map_or(String::new(), |step| symbols.place(record, step.place)),
        passage: 0,
        chosen: false,
    }
}

/// Leaves out exchanges that had to be, where the list is long: neighbours of one thread first.
fn shorter(lines: Vec<Line>) -> Vec<Line> {
    if lines.len() <= LINES {
        return lines;
    }
    let end = lines.len() - 1;
    let kept = lines.into_iter().enumerate().filter(|(index, line)| line.chosen || *index == end);
    kept.map(|(_, line)| line).collect()
}

/// What one exception to the default says, for the last line: without it the program passes.
pub(crate) fn without(item: &Item, names: &Record) -> String {
    let name = |path: &str| {
        let found = names.threads.iter().position(|thread| thread.path == path);
        found.map_or_else(|| String::from(path), |index| names.shown(index))
    };
    let (thread, who) = (name(&item.thread), name(&item.who));
    let times = if item.passage > 1 { format!(" ({})", nth(item.passage)) } else { String::new() };
    match item.what {
        What::Run => format!("{thread} goes on at {}{times}, before {who}", item.point),
        What::Timer => format!(
            "the wait of {who} does not time out while {thread} is at {}{times}",
            item.point
        ),
        What::Wake => {
            format!("{thread} wakes the first waiter at {}{times}, not {who}", item.point)
        }
        What::Spurious => format!("{who} does not wake up for no reason at {}{times}", item.point),
        What::Outside | What::Back => {
            format!("{who} does not block outside at {}{times}", item.point)
        }
    }
}
