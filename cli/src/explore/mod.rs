//! `pytstate explore`: looks for a schedule under which the program fails.

mod batch;
mod plan;
mod show;

use crate::args::{Explore, StrategyName};
use crate::complaint::Complaint;
use crate::os;
use crate::outcome::{Failure, Outcome};
use crate::program::{self, Program};
use crate::record::Record;
use crate::replay;
use crate::schedule_file::{Found, ScheduleFile};
use crate::shorten::{self, Shortened, Trial};
use crate::story::{self, Line};
use crate::symbols::Symbols;
use crate::worker::Worker;
pub(crate) use batch::Setting;
use batch::{Done, Orders, Uncontrolled, run_batch, run_plan};
use plan::{ByNumber, Exhaustive, Plan};
use pytstate_protocol::{Item, Schedule, Status, VERSION};
pub(crate) use show::print;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Schedules that are tried when nothing is said.
const SCHEDULES: u64 = 1000;
/// A failure is replayed so often before it is printed.
const REPLAYS: u64 = 3;
/// A schedule with so few exceptions is short enough.
const ENOUGH: usize = 2;
/// How often a shortening looks for other schedules to begin with, and how often in vain.
const ROUNDS: u64 = 8;
const STALE: u64 = 2;

/// A distinct failure, ready to be shown.
pub(crate) struct Shown {
    pub(crate) number: u64,
    pub(crate) strategy: &'static str,
    pub(crate) failure: Failure,
    /// How many runs had it.
    pub(crate) times: u64,
    pub(crate) story: Vec<Line>,
    /// The sentence about the nearest schedule that passes.
    pub(crate) nearest: Option<String>,
    pub(crate) items: Vec<Item>,
    /// Exchanges that were chosen, and all, in the shortened run.
    pub(crate) switches: (usize, usize),
    pub(crate) file: PathBuf,
    pub(crate) replays: (u64, u64),
    pub(crate) shortening: u32,
}

/// What the whole exploration came to.
pub(crate) struct Summary {
    pub(crate) schedules: u64,
    pub(crate) limit: u64,
    pub(crate) distinct_schedules: usize,
    pub(crate) failed_runs: u64,
    pub(crate) seconds: f64,
    pub(crate) uncontrolled: Uncontrolled,
    pub(crate) coverage: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// Runs the command. Whether a failure was found.
pub(crate) fn run(options: &Explore) -> Result<bool, Complaint> {
    let program = Program::find(&options.program)?;
    let preload = program::preload_library()?;
    if !options.out.is_dir() {
        let out = options.out.display();
        return Err(Complaint::usage(format!("--out: '{out}' is not a directory")));
    }
    let mut cpus = os::processors();
    let jobs = options.jobs.map_or(cpus.len(), usize::from).max(1);
    cpus = cpus.iter().copied().cycle().take(jobs).collect();
    let mut workers = Worker::start_all(&cpus, &program, &preload)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let setting = Setting {
        program,
        seed: options.seed,
        flags: Setting::flags(options.spurious),
        epoch_ns: i64::try_from(now.as_nanos()).unwrap_or(0),
        timeout: options.timeout,
    };
    let mut campaign = Campaign::new(options, &setting);
    campaign.explore(&mut workers)?;
    let shown = campaign.show_failures(&mut workers)?;
    let summary = campaign.summary();
    if options.json {
        show::json(options, &setting, &shown, &summary);
    } else {
        show::end(&summary, shown.len());
    }
    Ok(!shown.is_empty())
}

/// The schedule of these exceptions.
fn schedule_at(setting: &Setting, index: u64, items: Vec<Item>) -> Schedule {
    Schedule {
        version: VERSION,
        seed: setting.seed,
        index,
        epoch_ns: setting.epoch_ns,
        flags: setting.flags,
        switches: items,
    }
}

/// Runs a candidate of a shortening.
fn trial(
    worker: &mut Worker,
    setting: &Setting,
    signature: &str,
    index: u64,
    items: &[Item],
) -> Result<Trial, Complaint> {
    let run = replay::run_items(worker, setting, &schedule_at(setting, index, items.to_vec()))?;
    Ok(match run.outcome {
        Outcome::Fine => Trial::Passed,
        Outcome::Failed(other) if other.signature() == signature => {
            Trial::Same(Box::new(run.record))
        }
        _ => Trial::Other,
    })
}

struct Campaign<'a> {
    options: &'a Explore,
    setting: &'a Setting,
    symbols: Symbols,
    begin: Instant,
    spent: Duration,
    schedules: u64,
    limit: u64,
    orders_seen: HashSet<u64>,
    /// By signature: the first run, and how many had it.
    failures: BTreeMap<String, (Done, u64)>,
    failed_runs: u64,
    uncontrolled: Uncontrolled,
    coverage: Option<String>,
    checked: (u64, u64),
    /// Decisions of the run without any choice.
    k: u32,
    warnings: Vec<String>,
}

impl<'a> Campaign<'a> {
    fn new(options: &'a Explore, setting: &'a Setting) -> Self {
        let usual = if options.seconds.is_some() { u64::MAX } else { SCHEDULES };
        Self {
            options,
            setting,
            symbols: Symbols::default(),
            begin: Instant::now(),
            spent: Duration::ZERO,
            schedules: 0,
            limit: options.schedules.unwrap_or(usual),
            orders_seen: HashSet::new(),
            failures: BTreeMap::new(),
            failed_runs: 0,
            uncontrolled: Uncontrolled::default(),
            coverage: None,
            checked: (0, 0),
            k: 0,
            warnings: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        let late = self.deadline().is_some_and(|deadline| Instant::now() >= deadline);
        late || (!self.options.keep_going && !self.failures.is_empty())
    }

    fn deadline(&self) -> Option<Instant> {
        self.options.seconds.map(|seconds| self.begin + Duration::from_secs_f64(seconds))
    }

    /// The first run, twice; then batch after batch.
    fn explore(&mut self, workers: &mut [Worker]) -> Result<(), Complaint> {
        let first = self.first(workers)?;
        self.k = first.k;
        let progress = show::Progress::new(self.options, self.limit);
        progress.count(&first);
        if self.options.strategy == StrategyName::Exhaustive {
            self.exhaustive(workers, first, &progress)?;
        } else {
            let mut plans = ByNumber::new(self.options);
            if first.status == Some(Status::Ended) {
                plans.learn(first.k);
            }
            self.take(first);
            while !self.is_over() {
                let batch = plans.batch(self.limit);
                if batch.is_empty() {
                    break;
                }
                for done in self.batch(workers, &batch, false, &progress)? {
                    if done.status == Some(Status::Ended) {
                        plans.learn(done.k);
                    }
                    self.take(done);
                }
            }
        }
        progress.clear();
        self.spent = self.begin.elapsed();
        Ok(())
    }

    fn exhaustive(
        &mut self,
        workers: &mut [Worker],
        first: Done,
        progress: &show::Progress,
    ) -> Result<(), Complaint> {
        let mut search = Exhaustive::new(self.options.preemptions);
        if let Some(record) = &first.record {
            search.learn(record, 0, 0);
        }
        self.take(first);
        while !self.is_over() {
            let batch = search.batch(self.limit);
            if batch.is_empty() {
                break;
            }
            let (plans, levels): (Vec<Plan>, Vec<usize>) = batch.into_iter().unzip();
            for (done, level) in
                self.batch(workers, &plans, true, progress)?.into_iter().zip(levels)
            {
                if let Some(record) = &done.record {
                    search.learn(record, done.plan.prefix.len(), level);
                }
                self.take(done);
            }
        }
        self.coverage = Some(search.coverage(self.schedules));
        Ok(())
    }

    fn batch(
        &self,
        workers: &mut [Worker],
        plans: &[Plan],
        keep: bool,
        progress: &show::Progress,
    ) -> Result<Vec<Done>, Complaint> {
        let orders = Orders {
            first_only: !self.options.keep_going,
            keep,
            deadline: self.deadline(),
            progress: &|done| progress.count(done),
        };
        run_batch(workers, self.setting, plans, &orders)
    }

    /// The run without any choice: can the program be controlled, and is it the same twice?
    fn first(&mut self, workers: &mut [Worker]) -> Result<Done, Complaint> {
        let Some(worker) = workers.first_mut() else {
            return Err(Complaint::usage("no worker was started"));
        };
        let plan = Plan::first();
        let first = run_plan(worker, self.setting, &plan, true)?;
        let name = self.setting.program.path.display().to_string();
        match first.status {
            None | Some(Status::Absent) => {
                return Err(Complaint::nothing(format!(
                    "nothing to control: the preload library was not loaded into '{name}' (a static \
                     or a set-user-id program, or a script without an interpreter?)"
                )));
            }
            Some(Status::BadVersion) => {
                return Err(Complaint::usage(
                    "the preload library is of another version than this command",
                ));
            }
            _ => {}
        }
        if first.threads <= 1 && !first.library && first.forks == 0 {
            let how = match &first.outcome {
                Outcome::Failed(failure) => format!("; it ended with {}", failure.line()),
                _ => String::new(),
            };
            return Err(Complaint::nothing(format!(
                "nothing to control: '{name}' never had a second thread and never entered the \
                 library{how}"
            )));
        }
        if !first.fixed_addresses {
            self.warnings.push(String::from(
                "the kernel refused to switch the randomization of addresses off: replays of programs \
                 that order by address may differ",
            ));
        }
        if !matches!(&first.outcome, Outcome::Failed(failure) if failure.kind == "timeout") {
            let second = run_plan(worker, self.setting, &plan, true)?;
            if second.digest != first.digest {
                let what = match (&first.record, &second.record) {
                    (Some(first), Some(second)) => replay::first_difference(first, second),
                    _ => None,
                };
                self.warnings.push(format!(
                    "two runs of the same schedule differ, so something is not controlled{}",
                    what.map_or(String::new(), |what| format!(": {what}"))
                ));
            }
        }
        Ok(first)
    }

    /// Counts a run, in the order of the runs' numbers.
    fn take(&mut self, done: Done) {
        self.schedules += 1;
        self.orders_seen.insert(done.order_digest);
        self.uncontrolled.add(&done, &self.symbols);
        if let Some(unsteady) = done.unsteady {
            self.checked.0 += u64::from(unsteady);
            self.checked.1 += 1;
        }
        if let Outcome::Failed(failure) = &done.outcome {
            self.failed_runs += 1;
            let signature = failure.signature();
            self.failures
                .entry(signature)
                .and_modify(|(_, times)| *times += 1)
                .or_insert((done, 1));
        }
    }

    /// Shortens, writes and prints each distinct failure.
    fn show_failures(&mut self, workers: &mut [Worker]) -> Result<Vec<Shown>, Complaint> {
        let mut failures: Vec<(Done, u64)> =
            std::mem::take(&mut self.failures).into_values().collect();
        failures.sort_by_key(|(done, _)| done.plan.index);
        let mut all = Vec::new();
        for (number, (done, times)) in failures.into_iter().enumerate() {
            let shown = self.show_failure(workers, done, times, number)?;
            if !self.options.json {
                show::failure(&shown, self.options, self.limit.min(self.schedules.max(self.limit)));
            }
            all.push(shown);
        }
        Ok(all)
    }

    fn show_failure(
        &mut self,
        workers: &mut [Worker],
        done: Done,
        times: u64,
        number: usize,
    ) -> Result<Shown, Complaint> {
        let Outcome::Failed(failure) = done.outcome else {
            return Err(Complaint::usage("a run that did not fail was kept as a failure"));
        };
        let original = done.record.unwrap_or_default();
        let signature = failure.signature();
        let slow = failure.kind == "timeout" || failure.kind == "livelock";
        let mut index = done.plan.index;
        let mut shortened = if slow {
            // Each candidate would last as long as the failure: it is kept as it is.
            Shortened { items: original.items(), record: original, replays: 0 }
        } else {
            let (best, at) = self.shorten(workers, original, &signature, index)?;
            index = at;
            best
        };
        let Some(worker) = workers.first_mut() else {
            return Err(Complaint::usage("no worker was started"));
        };
        let schedule = |items: Vec<Item>| schedule_at(self.setting, index, items);
        let nearest = if slow {
            None
        } else {
            shorten::nearest(&shortened.items, &mut |items| {
                trial(worker, self.setting, &signature, index, items)
            })?
        };
        // What is printed is what a replay does. The first replay sets the digest.
        let mut agreed = 0;
        let mut expected: Option<(u64, String)> = None;
        for _ in 0..REPLAYS {
            let run = replay::run_items(worker, self.setting, &schedule(shortened.items.clone()))?;
            let signature_now = match &run.outcome {
                Outcome::Failed(failure) => failure.signature(),
                _ => String::from("no failure"),
            };
            if expected.is_none() && signature_now == signature {
                expected = Some((run.record.digest, signature_now.clone()));
                shortened.record = run.record.clone();
            }
            if expected.as_ref() == Some(&(run.record.digest, signature_now)) {
                agreed += 1;
            }
            if failure.kind == "timeout" {
                break;
            }
        }
        let replays = if failure.kind == "timeout" { 1 } else { REPLAYS };
        if agreed == 0 {
            self.warnings.push(format!("'{}' did not happen again when replayed", failure.line()));
        }
        let story = story::tell(&shortened.record, &failure, &self.symbols);
        let file = self.file_name(number);
        let found = Found {
            program: &self.setting.program,
            strategy: done.plan.name,
            depth: done.plan.depth,
            schedule: schedule(shortened.items.clone()),
            failure: &failure,
            record: &shortened.record,
            story: &story,
        };
        ScheduleFile::new(&found, &self.symbols)?.write(&file)?;
        Ok(Shown {
            number: done.plan.index + 1,
            strategy: done.plan.name,
            failure,
            times,
            story,
            nearest: nearest
                .map(|item| format!("passes if {}", story::without(&item, &shortened.record))),
            switches: story::switches(&shortened.record),
            items: shortened.items,
            file,
            replays: (agreed, replays),
            shortening: shortened.replays,
        })
    }

    /// The shortest schedule with this failure: the one that was found, made shorter; then, where that
    /// stalls, others that fail alike, for leaving out steps does not lead from each to the shortest.
    fn shorten(
        &self,
        workers: &mut [Worker],
        original: Record,
        signature: &str,
        index: u64,
    ) -> Result<(Shortened, u64), Complaint> {
        let deadline = Instant::now() + 2 * shorten::TIME;
        let mut starts = vec![(original, index)];
        let mut best: Option<(Shortened, u64)> = None;
        let mut limit = shorten::REPLAYS;
        let mut stale = 0;
        for round in 0..ROUNDS {
            stale += 1;
            for (record, index) in starts {
                let Some(worker) = workers.first_mut() else { break };
                let until = deadline.min(Instant::now() + shorten::TIME);
                let short = shorten::shorten(record, limit, until, &mut |items| {
                    trial(worker, self.setting, signature, index, items)
                })?;
                let shorter = best.as_ref().is_none_or(|(best, _)| short.length() < best.length());
                if shorter {
                    best = Some((short, index));
                    stale = 0;
                }
            }
            let enough = best.as_ref().is_some_and(|(best, _)| best.items.len() <= ENOUGH);
            if enough || stale >= STALE || Instant::now() >= deadline {
                break;
            }
            limit = shorten::REPLAYS / 3;
            starts = self.similar(workers, signature, round, deadline)?;
        }
        best.ok_or_else(|| Complaint::usage("a failure without a schedule was kept"))
    }

    /// Other runs with the same failure: those with the fewest exceptions to the default.
    fn similar(
        &self,
        workers: &mut [Worker],
        signature: &str,
        round: u64,
        deadline: Instant,
    ) -> Result<Vec<(Record, u64)>, Complaint> {
        let plans: Vec<Plan> = (0..4 * plan::BATCH)
            .map(|number| Plan::beside(round * 4 * plan::BATCH + number, self.k))
            .collect();
        let quiet = |_: &Done| {};
        let orders =
            Orders { first_only: false, keep: false, deadline: Some(deadline), progress: &quiet };
        let alike = run_batch(workers, self.setting, &plans, &orders)?.into_iter().filter_map(
            |done| match (&done.outcome, done.record) {
                (Outcome::Failed(failure), Some(record)) if failure.signature() == signature => {
                    Some((record, done.plan.index))
                }
                _ => None,
            },
        );
        let mut alike: Vec<(Record, u64)> = alike.collect();
        alike.sort_by_key(|(record, index)| (record.items().len(), *index));
        alike.truncate(4);
        Ok(alike)
    }

    /// `race.schedule`, `race-2.schedule`, ...
    fn file_name(&self, number: usize) -> PathBuf {
        let name = self.setting.program.name();
        // `race.sh` gives race.schedule, python3.12 keeps its version.
        let stem = match name.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && ending.parse::<u32>().is_err() => stem,
            _ => name.as_str(),
        };
        let file = match number {
            0 => format!("{stem}.schedule"),
            number => format!("{stem}-{}.schedule", number + 1),
        };
        match self.options.out.as_os_str().to_str() {
            Some(".") => PathBuf::from(file),
            _ => self.options.out.join(file),
        }
    }

    fn summary(self) -> Summary {
        let mut warnings = self.warnings;
        let (unsteady, checked) = self.checked;
        if unsteady > 0 {
            warnings.push(format!(
                "{unsteady} of {checked} schedules that were run twice differed: something is not \
                 controlled"
            ));
        }
        Summary {
            schedules: self.schedules,
            limit: self.limit,
            distinct_schedules: self.orders_seen.len(),
            failed_runs: self.failed_runs,
            seconds: self.spent.as_secs_f64(),
            uncontrolled: self.uncontrolled,
            coverage: self.coverage,
            warnings,
        }
    }
}
