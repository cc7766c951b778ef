//! What `pytstate explore` prints.

use super::batch::Done;
use super::{Setting, Shown, Summary};
use crate::args::Explore;
use crate::outcome::Outcome;
use crate::story;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashSet;
use std::io::Write;

/// Progress on a terminal; nothing anywhere else.
pub(super) struct Progress {
    bar: ProgressBar,
    seen: Mutex<(HashSet<u64>, u64)>,
}

impl Progress {
    pub(super) fn new(options: &Explore, limit: u64) -> Self {
        // The target draws on a terminal only.
        let target =
            if options.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let length = (limit != u64::MAX).then_some(limit);
        let bar = ProgressBar::with_draw_target(length, target);
        let form = match length {
            Some(_) => "{bar:24} {pos} of {len} schedules, {per_sec}, {msg}",
            None => "{spinner} {pos} schedules, {per_sec}, {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(form) {
            let rate = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.0} schedules/s", state.per_sec());
            };
            bar.set_style(style.with_key("per_sec", rate));
        }
        Self { bar, seen: Mutex::new((HashSet::new(), 0)) }
    }

    pub(super) fn count(&self, done: &Done) {
        if self.bar.is_hidden() {
            return;
        }
        let mut seen = self.seen.lock();
        seen.0.insert(done.order_digest);
        seen.1 += u64::from(matches!(done.outcome, Outcome::Failed(_)));
        self.bar.set_message(format!("{} failures, {} distinct schedules", seen.1, seen.0.len()));
        self.bar.inc(1);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Writes to standard output. A reader that has gone is no error of ours.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// A path as a word of a shell command.
fn shell_word(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%=,".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// One distinct failure.
pub(super) fn failure(shown: &Shown, options: &Explore, limit: u64) {
    let of = if limit == u64::MAX { shown.number } else { limit };
    print(&format!(
        "FAILED schedule {} of {of} ({}, seed {}): {}",
        shown.number,
        shown.strategy,
        options.seed,
        shown.failure.line()
    ));
    for line in &shown.failure.details {
        print(&format!("    {line}"));
    }
    for line in story::text(&shown.story) {
        print(&format!("  {line}"));
    }
    if let Some(nearest) = &shown.nearest {
        print(&format!("  {nearest}"));
    }
    if shown.replays.0 < shown.replays.1 {
        print(&format!(
            "  replayed {} of {} times: something that is not controlled takes part",
            shown.replays.0, shown.replays.1
        ));
    }
    print(&format!("replay with: pytstate replay {}", shell_word(&shown.file)));
}

/// `1 distinct failure`, `2 distinct failures`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What stands after all failures; the last line is the total.
pub(super) fn end(summary: &Summary, distinct: usize) {
    for warning in &summary.warnings {
        eprintln!("pytstate: warning: {warning}");
    }
    if let Some(coverage) = &summary.coverage {
        print(&format!("exhaustive: {coverage}"));
    }
    print(&format!(
        "{}, {}, {:.1} s, {:.0} schedules/s; uncontrolled: {}",
        counted(summary.schedules, "schedule"),
        counted(distinct as u64, "distinct failure"),
        summary.seconds,
        rate(summary),
        summary.uncontrolled.text()
    ));
}

fn rate(summary: &Summary) -> f64 {
    summary.schedules as f64 / summary.seconds.max(1e-3)
}

/// Everything as one JSON object.
pub(super) fn json(options: &Explore, setting: &Setting, shown: &[Shown], summary: &Summary) {
    let failures: Vec<serde_json::Value> = shown
        .iter()
        .map(|one| {
            json!({
                "schedule": one.number,
                "strategy": one.strategy,
                "seed": options.seed,
                "kind": one.failure.kind,
                "message": one.failure.message,
                "details": one.failure.details,
                "failure": one.failure.line(),
                "times": one.times,
                "story": one.story,
                "text": story::text(&one.story),
                "nearest_passing": one.nearest,
                "switches": one.items,
                "context_switches": one.switches.0,
                "all_exchanges": one.switches.1,
                "file": one.file,
                "replays": {"agreed": one.replays.0, "of": one.replays.1},
                "shortening_replays": one.shortening,
            })
        })
        .collect();
    let uncontrolled: Vec<serde_json::Value> = summary
        .uncontrolled
        .list()
        .into_iter()
        .map(|(what, times)| json!({"what": what, "times": times}))
        .collect();
    print(
        &json!({
            "program": setting.program.path,
            "seed": options.seed,
            "schedules": summary.schedules,
            "limit": (summary.limit != u64::MAX).then_some(summary.limit),
            "distinct_schedules": summary.distinct_schedules,
            "failed_runs": summary.failed_runs,
            "distinct_failures": shown.len(),
            "failures": failures,
            "seconds": summary.seconds,
            "schedules_per_second": rate(summary),
            "uncontrolled": uncontrolled,
            "coverage": summary.coverage,
            "warnings": summary.warnings,
        })
        .to_string(),
    );
}
