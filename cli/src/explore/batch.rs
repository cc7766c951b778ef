//! Runs a batch of plans on all workers.

use super::plan::Plan;
use crate::complaint::Complaint;
use crate::os;
use crate::outcome::{Outcome, judge};
use crate::program::Program;
use crate::record::Record;
use crate::symbols::Symbols;
use crate::worker::Worker;
use parking_lot::Mutex;
use pytstate_protocol::{Area, Status, Strategy, request_flag};
use std::time::{Duration, Instant};

/// What all runs of an exploration share.
pub(crate) struct Setting {
    pub(crate) program: Program,
    pub(crate) seed: u64,
    pub(crate) flags: u32,
    pub(crate) epoch_ns: i64,
    pub(crate) timeout: f64,
}

impl Setting {
    /// The request flags for `--spurious`.
    pub(crate) fn flags(spurious: bool) -> u32 {
        if spurious { request_flag::SPURIOUS } else { 0 }
    }

    /// Fills in what does not change from run to run.
    pub(crate) fn fill(&self, area: &mut Area) {
        area.request.seed = self.seed;
        area.request.flags = self.flags;
        area.request.epoch_ns = self.epoch_ns;
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }
}

/// A run that was made.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<Status>,
    pub(crate) k: u32,
    pub(crate) digest: u64,
    pub(crate) order_digest: u64,
    pub(crate) threads: u32,
    pub(crate) library: bool,
    pub(crate) forks: u32,
    pub(crate) fixed_addresses: bool,
    /// Whether a second run of the same plan had another digest; `None` if there was none.
    pub(crate) unsteady: Option<bool>,
    /// Rows, where somebody needs them: failures, what blocked outside, exhaustive search.
    pub(crate) record: Option<Record>,
}

/// Runs one plan.
pub(crate) fn run_plan(
    worker: &mut Worker,
    setting: &Setting,
    plan: &Plan,
    keep: bool,
) -> Result<Done, Complaint> {
    let fill = |area: &mut Area| {
        setting.fill(area);
        area.request.strategy = plan.strategy as u32;
        area.request.index = plan.index;
        area.request.depth = plan.depth;
        area.request.k = plan.k;
        if plan.strategy == Strategy::Prefix {
            let length = plan.prefix.len().min(area.prefix.len());
            area.prefix[..length].copy_from_slice(&plan.prefix[..length]);
            area.request.prefix_len = u32::try_from(length).unwrap_or(0);
        }
    };
    let ending = worker.run(setting.limit(), fill)?;
    let area = worker.area();
    let report = &area.report;
    let outcome = judge(area, &ending, setting.timeout);
    let wanted = keep || report.outsides > 0 || matches!(outcome, Outcome::Failed(_));
    Ok(Done {
        plan: plan.clone(),
        outcome,
        status: Status::from_number(report.status),
        k: report.k,
        digest: report.digest,
        order_digest: report.order_digest,
        threads: report.threads,
        library: report.library != 0,
        forks: report.forks,
        fixed_addresses: ending.fixed_addresses,
        unsteady: None,
        record: wanted.then(|| Record::read(area, &setting.program)),
    })
}

fn is_timeout(done: &Done) -> bool {
    matches!(&done.outcome, Outcome::Failed(failure) if failure.kind == "timeout")
}

/// A schedule that lasted too long ends when it is run again: the machine was slow, or something that is not
/// controlled took part. That is said, and is no failure of the program; a failure of the second run is one.
fn once_only(mut again: Done) -> Done {
    if again.outcome == Outcome::Fine {
        let why = "a run past its time that ended when it was made again";
        again.outcome = Outcome::GivenUp(String::from(why));
    }
    again
}

struct Shared {
    next: usize,
    /// Plans from here on are not begun: one before them has failed.
    end: usize,
    done: Vec<Option<Done>>,
    complaint: Option<Complaint>,
}

/// How a batch is run.
pub(crate) struct Orders<'a> {
    /// Whether a failure ends the batch.
    pub(crate) first_only: bool,
    /// Whether every run's rows are kept.
    pub(crate) keep: bool,
    /// No run begins after it.
    pub(crate) deadline: Option<Instant>,
    /// Told of every run.
    pub(crate) progress: &'a (dyn Fn(&Done) + Sync),
}

/// Every fiftieth run is made twice, to see that it is the same.
fn is_checked(plan: &Plan) -> bool {
    plan.index % 50 == 49
}

/// Runs the plans and returns what was made, in order. After a failure that ends the batch nothing follows it,
/// and everything before it is there, whatever the number of workers.
pub(crate) fn run_batch(
    workers: &mut [Worker],
    setting: &Setting,
    plans: &[Plan],
    orders: &Orders,
) -> Result<Vec<Done>, Complaint> {
    let shared = Mutex::new(Shared {
        next: 0,
        end: plans.len(),
        done: plans.iter().map(|_| None).collect(),
        complaint: None,
    });
    std::thread::scope(|scope| {
        for worker in workers.iter_mut() {
            scope.spawn(|| work(worker, setting, plans, orders, &shared));
        }
    });
    let shared = shared.into_inner();
    if let Some(complaint) = shared.complaint {
        return Err(complaint);
    }
    Ok(shared.done.into_iter().take(shared.end).map_while(|done| done).collect())
}

fn work(
    worker: &mut Worker,
    setting: &Setting,
    plans: &[Plan],
    orders: &Orders,
    shared: &Mutex<Shared>,
) {
    loop {
        let index = {
            let mut shared = shared.lock();
            let late = orders.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late || shared.complaint.is_some() || shared.next >= shared.end {
                return;
            }
            shared.next += 1;
            shared.next - 1
        };
        let plan = &plans[index];
        let mut result = run_plan(worker, setting, plan, orders.keep);
        if let Ok(done) = &mut result {
            if is_checked(plan) && done.outcome == Outcome::Fine {
                let again = run_plan(worker, setting, plan, false);
                done.unsteady = again.ok().map(|again| again.digest != done.digest);
            }
        }
        if result.as_ref().is_ok_and(is_timeout) {
            result = run_plan(worker, setting, plan, orders.keep)
                .map(|again| if is_timeout(&again) { again } else { once_only(again) });
        }
        let mut shared = shared.lock();
        match result {
            Ok(done) => {
                (orders.progress)(&done);
                if orders.first_only && matches!(done.outcome, Outcome::Failed(_)) {
                    shared.end = shared.end.min(index + 1);
                }
                shared.done[index] = Some(done);
            }
            Err(complaint) => shared.complaint = Some(complaint),
        }
    }
}

/// Where threads blocked outside, in words, with how often.
#[derive(Default)]
pub(crate) struct Uncontrolled {
    places: std::collections::BTreeMap<String, u64>,
}

impl Uncontrolled {
    /// Adds what a run had.
    pub(crate) fn add(&mut self, done: &Done, symbols: &Symbols) {
        if let Outcome::GivenUp(why) = &done.outcome {
            *self.places.entry(why.clone()).or_default() += 1;
        }
        let Some(record) = &done.record else { return };
        for outside in &record.outsides {
            let call = match outside.syscall {
                u32::MAX => String::from("something"),
                number => os::syscall_name(number),
            };
            let place = symbols.place(record, outside.place);
            let text = if place.is_empty() { call } else { format!("{call} after {place}") };
            *self.places.entry(text).or_default() += 1;
        }
    }

    /// `nothing`, or a list, the most frequent first.
    pub(crate) fn text(&self) -> String {
        if self.places.is_empty() {
            return String::from("nothing");
        }
        self.list()
            .into_iter()
            .map(|(place, times)| format!("{place} ({times} times)"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The same as rows.
    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        let mut list: Vec<_> = self.places.iter().map(|(a, b)| (a.clone(), *b)).collect();
        list.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        list.truncate(5);
        list
    }
}
