//! Draws the decisions of a schedule file: one column for each step of the controlled scheduler.

use super::picture::{Arrow, Axis, Doing, Event, Lane, Mark, Picture, Span};
use crate::record::{Step, shown};
use crate::schedule_file::{FileStep, ScheduleFile};
use pytstate_protocol::{Kind, step_flag};
use std::collections::BTreeMap;

/// Lanes of locks that are shown: those that threads waited for most.
const LOCKS: usize = 6;

/// What a thread that does not run is doing.
#[derive(Clone, Debug)]
enum Standing {
    /// It was not created yet, or is gone.
    Absent,
    /// It could go on.
    Ready,
    /// It waits: the step that blocked it.
    Blocked(usize),
}

struct Drawing<'a> {
    file: &'a ScheduleFile,
    steps: Vec<FileStep>,
    lanes: Vec<Lane>,
    arrows: Vec<Arrow>,
    standing: Vec<Standing>,
    since: Vec<usize>,
    /// The last step of each thread, for the place of what it does.
    last: Vec<Option<usize>>,
    /// The last point of each thread that is no futex: what a futex is waited for.
    during: Vec<String>,
}

/// Turns a schedule into a picture.
pub(super) fn picture(file: &ScheduleFile, title: &str) -> Picture {
    let lanes: Vec<Lane> = (0..file.threads.len())
        .map(|thread| Lane {
            name: shown(&file.threads, thread),
            hover: format!("created as {}", file.threads[thread].path),
            ..Lane::default()
        })
        .collect();
    let count = lanes.len();
    let mut drawing = Drawing {
        file,
        steps: file.steps(),
        lanes,
        arrows: Vec::new(),
        standing: vec![Standing::Absent; count],
        since: vec![0; count],
        last: vec![None; count],
        during: vec![String::new(); count],
    };
    drawing.draw();
    let mut locks: Vec<Lane> = drawing.gil().into_iter().collect();
    locks.extend(drawing.locks());
    let (locks, end) = (locks, drawing.steps.len() as f64 + 1.0);
    let choices = drawing.steps.iter().filter(|row| row.step.chosen != 0).count();
    let mut lanes = drawing.lanes;
    lanes.extend(locks);
    let args = file.args.iter().fold(String::new(), |all, arg| format!("{all} {arg}"));
    Picture {
        title: String::from(title),
        subtitle: format!(
            "{}{args}: {}, found by {} (seed {}); {count} threads, {} steps, {choices} of them \
             not by default",
            file.program,
            file.expected.line(),
            file.strategy,
            file.schedule.seed,
            drawing.steps.len(),
        ),
        axis: Axis::Steps,
        end,
        lanes,
        arrows: drawing.arrows,
    }
}

impl Drawing<'_> {
    fn draw(&mut self) {
        let Some(first) = self.steps.first() else { return };
        let mut running = usize::from(first.step.thread);
        self.standing[running] = Standing::Ready;
        let rows = self.steps.clone();
        for (index, row) in rows.iter().enumerate() {
            let step = &row.step;
            let (thread, next) = (usize::from(step.thread), usize::from(step.next));
            // The thread that came to this point has run until here.
            self.close(running, index, true);
            self.last[thread] = Some(index);
            if !self.point(step).starts_with("futex.") {
                self.during[thread] = String::from(self.point(step));
            }
            self.mark(row, index);
            self.wake_waiters(row, index);
            self.block_rivals(row, index);
            if thread == running {
                self.standing[thread] = match self.point(step) {
                    "thread.gone" => Standing::Absent,
                    _ if step.is(step_flag::BLOCKED) => Standing::Blocked(index),
                    _ => Standing::Ready,
                };
                self.since[thread] = index;
            }
            if step.is(step_flag::WAKE) {
                continue;
            }
            if next != running || thread != running {
                self.close(next, index, false);
                self.arrow(next, index);
            }
            self.standing[next] = Standing::Ready;
            running = next;
            self.since[running] = index;
        }
        let end = self.steps.len();
        self.close(running, end + 1, true);
        for thread in (0..self.lanes.len()).filter(|thread| *thread != running) {
            self.close(thread, end + 1, false);
        }
        let hover = format!("{}\nin {}", self.file.expected.line(), self.lanes[running].name);
        let at = end as f64 + 0.6;
        self.lanes[running].marks.push(Mark { at, event: Event::Failure, hover });
    }

    fn point(&self, step: &Step) -> &str {
        self.file.points.get(usize::from(step.point)).map_or("?", |name| name)
    }

    /// Point, object and place of a step.
    fn told(&self, index: usize) -> String {
        let row = &self.steps[index];
        let mut text = String::from(self.point(&row.step));
        if row.step.object != 0 {
            text.push_str(&format!(" of object {}", row.step.object));
        }
        let place = &self.file.places[row.place];
        if !place.is_empty() {
            text.push_str(&format!(" at {place}"));
        }
        text
    }

    /// Adds the stretch of a thread that ends at step `until`.
    fn close(&mut self, thread: usize, until: usize, ran: bool) {
        let from = self.since[thread];
        self.since[thread] = until;
        if from >= until {
            return;
        }
        let name = self.lanes[thread].name.clone();
        let range = format!("steps {from} to {until}");
        let came = self.last[thread].map(|index| self.told(index));
        let came_from = came.as_ref().map_or(String::new(), |told| format!("\nlast point: {told}"));
        let (doing, label, hover) = match (&self.standing[thread], ran) {
            (_, true) => (Doing::Runs, String::new(), format!("{name} runs\n{range}{came_from}")),
            (Standing::Absent, _) => return,
            (Standing::Ready, _) => {
                (Doing::Wants, String::new(), format!("{name} could run\n{range}{came_from}"))
            }
            (Standing::Blocked(at), _) => {
                let mut told = self.told(*at);
                let mut label = String::from(self.point(&self.steps[*at].step));
                if label.starts_with("futex.") && !self.during[thread].is_empty() {
                    label.clone_from(&self.during[thread]);
                    told.push_str(&format!(" ({label})"));
                }
                // The GIL has a colour of its own.
                let gil = label.starts_with("gil.");
                let doing = if gil { Doing::Wants } else { Doing::Waits };
                let label = if gil { String::from("GIL") } else { label };
                (doing, label, format!("{name} waits in {told}\n{range}"))
            }
        };
        let (from, to) = (from as f64, until as f64);
        let spans = &mut self.lanes[thread].spans;
        match spans.last_mut() {
            // One stretch that other threads' steps have cut in pieces.
            Some(last) if last.doing == doing && last.to == from && doing != Doing::Runs => {
                last.to = to;
                last.hover = hover;
            }
            _ => spans.push(Span { from, to, doing, label, hover, holder: None }),
        }
    }

    /// Marks of the thread's life, and of choices.
    fn mark(&mut self, row: &FileStep, index: usize) {
        let step = &row.step;
        let thread = usize::from(step.thread);
        let at = index as f64;
        let told = self.told(index);
        let event = match self.point(step) {
            "thread.begin" | "thread.entry" => Some(Event::Begin),
            "exit_event.set" | "thread.event_set" => Some(Event::Exit),
            "delete.unlinked" => Some(Event::Delete),
            "thread.gone" => Some(Event::OsExit),
            _ => None,
        };
        if let Some(event) = event {
            let hover = format!("{}: {told}\nstep {index}", self.lanes[thread].name);
            self.lanes[thread].marks.push(Mark { at, event, hover });
        }
        if step.chosen != 0 {
            let next = &self.lanes[usize::from(step.next)].name;
            let what = match step {
                step if step.is(step_flag::WAKE) => {
                    format!("{next} is woken, not the first waiter")
                }
                step if step.is(step_flag::TIMER) => format!("the wait of {next} times out"),
                step if step.is(step_flag::SPURIOUS) => format!("{next} wakes up for no reason"),
                _ => format!("{next} goes on"),
            };
            let hover = format!(
                "choice: when {} is at {told}, {what}\nstep {index}, passage {}",
                self.lanes[thread].name, step.passage
            );
            self.lanes[thread].marks.push(Mark { at, event: Event::Choice, hover });
        }
    }

    /// A thread that takes a lock blocks those that stand before it.
    fn block_rivals(&mut self, row: &FileStep, index: usize) {
        let step = &row.step;
        let takes = step.kind == Kind::Acquire as u8 && step.object != 0;
        if !takes || step.is(step_flag::BLOCKED) || step.next != step.thread {
            return;
        }
        for thread in 0..self.standing.len() {
            let Some(at) = self.last[thread] else { continue };
            let other = &self.steps[at].step;
            let rival = thread != usize::from(step.thread)
                && other.kind == step.kind
                && other.object == step.object
                && matches!(self.standing[thread], Standing::Ready);
            if rival {
                self.close(thread, index, false);
                self.standing[thread] = Standing::Blocked(at);
            }
        }
    }

    /// After a release, those that wait for the object could go on.
    fn wake_waiters(&mut self, row: &FileStep, index: usize) {
        let step = &row.step;
        let releases = step.kind == Kind::Release as u8 && step.object != 0;
        let ends = self.point(step) == "thread.gone";
        if !releases && !ends {
            return;
        }
        for thread in 0..self.standing.len() {
            let Standing::Blocked(at) = self.standing[thread] else { continue };
            let waited = &self.steps[at].step;
            // Only a wait without an object (a join) can end with a thread.
            if releases && waited.kind == Kind::Acquire as u8 && waited.object == step.object {
                self.close(thread, index, false);
                self.standing[thread] = Standing::Ready;
            }
        }
    }

    /// From the release that let `next` go on to where it goes on.
    fn arrow(&mut self, next: usize, index: usize) {
        let Some(at) = self.last[next] else { return };
        let waited = self.steps[at].step.clone();
        if !waited.is(step_flag::BLOCKED) || usize::from(waited.thread) != next {
            return;
        }
        let timer = self.steps[index].step.is(step_flag::TIMER);
        let releases = |row: &FileStep| {
            let other = usize::from(row.step.thread) != next;
            let same = row.step.object == waited.object && waited.object != 0;
            let kind = row.step.kind;
            other
                && ((same && (kind == Kind::Release as u8 || kind == Kind::Write as u8))
                    || (waited.object == 0 && self.point(&row.step) == "thread.gone"))
        };
        let found = (at..=index).rev().find(|step| releases(&self.steps[*step]));
        let Some(from) = found.filter(|_| !timer) else { return };
        let releaser = usize::from(self.steps[from].step.thread);
        let hover = format!(
            "{}: {}\nlets {} go on, which waited in {}",
            self.lanes[releaser].name,
            self.told(from),
            self.lanes[next].name,
            self.told(at)
        );
        self.arrows.push(Arrow { from: (releaser, from as f64), to: (next, index as f64), hover });
    }

    /// A lane for each lock that a thread had to wait for: which thread holds it.
    fn locks(&self) -> Vec<Lane> {
        let mut waits: BTreeMap<u32, usize> = BTreeMap::new();
        let acquires = |step: &Step| step.kind == Kind::Acquire as u8 && step.object != 0;
        for row in self.steps.iter().filter(|row| acquires(&row.step)) {
            let waited = row.step.is(step_flag::BLOCKED);
            *waits.entry(row.step.object).or_default() += usize::from(waited);
        }
        let mut objects: Vec<(u32, usize)> = waits.into_iter().filter(|(_, n)| *n > 0).collect();
        objects.sort_by_key(|(object, n)| (std::cmp::Reverse(*n), *object));
        objects.truncate(LOCKS);
        objects.into_iter().map(|(object, _)| self.lock(object)).collect()
    }

    /// Who holds the GIL, by the points that threads pass; none if the program has no library.
    fn gil(&self) -> Option<Lane> {
        let hover = "which thread holds the GIL, by the points that the threads pass";
        let mut lane =
            Lane { name: String::from("GIL"), hover: String::from(hover), ..Lane::default() };
        lane.lock = true;
        let mut holder: Option<(usize, usize)> = None;
        for (index, row) in self.steps.iter().enumerate() {
            let thread = usize::from(row.step.thread);
            match self.point(&row.step) {
                "gil.taken" | "attach.gil_taken" | "attach.done"
                    if holder.is_none_or(|(who, _)| who != thread) =>
                {
                    self.held(&mut lane, holder, index);
                    holder = Some((thread, index));
                }
                "gil.drop" | "detach.done" | "delete.gil_released" => match holder {
                    Some((who, _)) if who == thread => {
                        self.held(&mut lane, holder.take(), index);
                    }
                    // It had the GIL before the first of its points that tell.
                    None if lane.spans.is_empty() => {
                        self.held(&mut lane, Some((thread, 0)), index);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        self.held(&mut lane, holder, self.steps.len() + 1);
        (!lane.spans.is_empty()).then_some(lane)
    }

    /// Adds a stretch of one holder.
    fn held(&self, lane: &mut Lane, holder: Option<(usize, usize)>, to: usize) {
        let Some((thread, from)) = holder.filter(|(_, from)| *from < to) else { return };
        let label = self.lanes[thread].name.clone();
        let hover = format!("{label} holds it\nsteps {from} to {to}");
        let (from, to, holder) = (from as f64, to as f64, Some(thread));
        lane.spans.push(Span { from, to, doing: Doing::Runs, label, hover, holder });
    }

    fn lock(&self, object: u32) -> Lane {
        let mut lane = Lane { lock: true, ..Lane::default() };
        let mut holder: Option<(usize, usize)> = None;
        // A thread that waited has the lock as soon as it runs again.
        let mut waiting: Vec<usize> = Vec::new();
        let mut place = String::new();
        for (index, row) in self.steps.iter().enumerate() {
            let step = &row.step;
            let (thread, next) = (usize::from(step.thread), usize::from(step.next));
            if step.object == object {
                if step.kind == Kind::Acquire as u8 {
                    if place.is_empty() {
                        place.clone_from(&self.file.places[row.place]);
                    }
                    if !waiting.contains(&thread) {
                        waiting.push(thread);
                    }
                } else if step.kind == Kind::Release as u8
                    && holder.is_some_and(|(who, _)| who == thread)
                {
                    self.held(&mut lane, holder.take(), index);
                }
            }
            if !step.is(step_flag::WAKE) && holder.is_none() && waiting.contains(&next) {
                waiting.retain(|thread| *thread != next);
                holder = Some((next, index));
            }
        }
        self.held(&mut lane, holder, self.steps.len() + 1);
        let first = if place.is_empty() { String::new() } else { format!(" {place}") };
        lane.name = format!("lock{first}");
        lane.hover = format!("object {object}: which thread holds it (first used at{first})");
        lane
    }
}
