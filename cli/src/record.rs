//! What one run left in its area, copied out: threads, points, decisions.

use crate::program::Program;
use pytstate_protocol::{Area, Item, OUTSIDES, POINTS, STEPS, THREADS, What, step_flag, text};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A thread of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadName {
    /// `main`, `main/1`, `main/1/2`: which thread created it.
    pub(crate) path: String,
    /// What the program calls it; may be empty.
    pub(crate) name: String,
}

impl ThreadName {
    /// What people are shown.
    pub(crate) fn shown(&self) -> &str {
        if self.name.is_empty() || self.path == "main" { &self.path } else { &self.name }
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) thread: u16,
    pub(crate) next: u16,
    pub(crate) point: u16,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) object: u32,
    pub(crate) passage: u32,
    pub(crate) enabled: u32,
    pub(crate) options: u16,
    pub(crate) chosen: u16,
    /// An address of the process, or 0.
    pub(crate) place: u64,
}

impl Step {
    /// Whether it has this bit of [`step_flag`].
    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A loaded file.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
}

/// A thread that blocked where nothing is controlled.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    pub(crate) thread: usize,
    pub(crate) syscall: u32,
    pub(crate) back: u64,
    pub(crate) place: u64,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) threads: Vec<ThreadName>,
    pub(crate) points: Vec<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) modules: Vec<Module>,
    pub(crate) outsides: Vec<Outside>,
    pub(crate) last_thread: usize,
    pub(crate) digest: u64,
}

/// At most `limit`, whatever a program wrote over the counter.
fn count(number: u32, limit: usize) -> usize {
    limit.min(number as usize)
}

impl Record {
    /// Copies the rows of the run that has just ended.
    pub(crate) fn read(area: &Area, program: &Program) -> Self {
        let report = &area.report;
        let threads = area.threads[..count(report.threads, THREADS)].iter();
        let steps = usize::try_from(report.steps).unwrap_or(STEPS).min(STEPS);
        let steps = area.steps[..steps].iter().map(|row| Step {
            thread: row.thread,
            next: row.next,
            point: row.point,
            kind: row.kind,
            flags: row.flags,
            object: row.object,
            passage: row.passage,
            enabled: row.enabled,
            options: row.options,
            chosen: row.chosen,
            place: row.place,
        });
        let modules = area.modules[..count(report.modules, area.modules.len())].iter();
        let outsides = area.outsides[..count(report.outsides, OUTSIDES)].iter();
        Self {
            threads: threads
                .map(|row| ThreadName {
                    path: String::from(text(&row.path)),
                    name: String::from(text(&row.name)),
                })
                .collect(),
            points: area.points[..count(report.points, POINTS)]
                .iter()
                .map(|name| String::from(text(name)))
                .collect(),
            steps: steps.collect(),
            modules: modules
                .map(|row| Module {
                    base: row.base,
                    path: match text(&row.path) {
                        "" => program.path.clone(),
                        path => PathBuf::from(path),
                    },
                })
                .collect(),
            outsides: outsides
                .map(|row| Outside {
                    thread: row.thread as usize,
                    syscall: row.syscall,
                    back: row.back,
                    place: row.place,
                })
                .collect(),
            last_thread: report.last_thread as usize,
            digest: report.digest,
        }
    }

    /// The path of a thread, which names it in items.
    pub(crate) fn path(&self, thread: usize) -> &str {
        self.threads.get(thread).map_or("?", |thread| &thread.path)
    }

    /// The name of a thread, for people. Two threads of one name get their paths beside it.
    pub(crate) fn shown(&self, thread: usize) -> String {
        shown(&self.threads, thread)
    }

    /// The name of a point.
    pub(crate) fn point(&self, point: u16) -> &str {
        self.points.get(usize::from(point)).map_or("?", |name| name)
    }

    /// The choices of an exhaustive search: one for each decision with two or more candidates.
    pub(crate) fn choices(&self) -> Vec<u16> {
        self.steps.iter().filter(|step| step.options >= 2).map(|step| step.chosen).collect()
    }

    /// The exceptions to the default that make the engine run this again.
    pub(crate) fn items(&self) -> Vec<Item> {
        let mut items: Vec<(u64, Item)> = Vec::new();
        for (index, step) in (0..).zip(&self.steps) {
            if step.chosen != 0 {
                let what = match step {
                    step if step.is(step_flag::WAKE) => What::Wake,
                    step if step.is(step_flag::TIMER) => What::Timer,
                    step if step.is(step_flag::SPURIOUS) => What::Spurious,
                    _ => What::Run,
                };
                items.push((index, self.item(step, what, usize::from(step.next))));
            }
            if step.is(step_flag::OUTSIDE) {
                items.push((index, self.item(step, What::Outside, usize::from(step.next))));
            }
        }
        for outside in self.outsides.iter().filter(|outside| outside.back > 0) {
            let at = usize::try_from(outside.back).unwrap_or(usize::MAX);
            if let Some(step) = self.steps.get(at) {
                items.push((outside.back, self.item(step, What::Back, outside.thread)));
            }
        }
        items.sort_by_key(|(index, _)| *index);
        items.into_iter().map(|(_, item)| item).collect()
    }

    fn item(&self, step: &Step, what: What, who: usize) -> Item {
        Item {
            thread: String::from(self.path(usize::from(step.thread))),
            point: String::from(self.point(step.point)),
            passage: step.passage,
            what,
            who: String::from(self.path(who)),
        }
    }
}

/// The name of a thread among others.
pub(crate) fn shown(threads: &[ThreadName], thread: usize) -> String {
    let Some(row) = threads.get(thread) else { return String::from("?") };
    let name = row.shown();
    let same = threads.iter().filter(|other| other.shown() == name).count();
    if same > 1 { format!("{name} ({})", row.path) } else { String::from(name) }
}

/// What the engine says about a run that it stopped.
pub(crate) fn message(area: &Area) -> String {
    let length = count(area.report.message_len, area.message.len());
    String::from_utf8_lossy(&area.message[..length]).trim_end().to_owned()
}
