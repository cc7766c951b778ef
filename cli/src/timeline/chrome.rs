//! Reads the lifecycle trace of the library (docs/trace.md): a JSON array of Chrome's trace events.

use super::picture::{Arrow, Axis, Doing, Event, Lane, Mark, Picture, Span};
use crate::complaint::Complaint;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Row {
    ph: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    tid: i64,
    #[serde(default)]
    args: Option<Args>,
}

#[derive(Deserialize)]
struct Args {
    #[serde(default)]
    name: Option<String>,
}

/// Parses the rows. A trace of a killed program, or one that went through a pipe, may lack the end
/// of its array or have half a last row; what is whole is shown.
fn rows(text: &str) -> Result<Vec<Row>, Complaint> {
    let whole: Result<Vec<Row>, _> = serde_json::from_str(text);
    let error = match whole {
        Ok(rows) => return Ok(rows),
        Err(error) => error,
    };
    // Without the end of the array; then without the last row.
    let ends = [text.rfind('}'), text.rfind("},")];
    let whole = ends
        .into_iter()
        .flatten()
        .find_map(|end| serde_json::from_str(&format!("{}]", &text[..=end])).ok());
    whole.ok_or_else(|| {
        Complaint::usage(format!("the trace is not complete JSON of trace events: {error}"))
    })
}

/// An open `B` row.
struct Open {
    name: String,
    interp: i64,
}

/// One thread while its rows are read.
struct Thread {
    lane: Lane,
    open: Vec<Open>,
    since: f64,
    ended: bool,
}

impl Thread {
    fn new(name: String, hover: String) -> Self {
        let lane = Lane { name, hover, ..Lane::default() };
        Self { lane, open: Vec::new(), since: 0.0, ended: false }
    }

    /// What the open spans say together: the innermost state, and the innermost activity.
    fn doing(&self) -> Option<(Doing, String, i64)> {
        let is_state = |open: &&Open| {
            matches!(&*open.name, "attached" | "detached" | "suspended" | "waiting for GIL")
        };
        let state = self.open.iter().rev().find(is_state);
        let activity = self.open.iter().rev().find(|open| !is_state(open));
        let interp = state.or(activity)?.interp;
        let label = activity.map_or(String::new(), |open| open.name.clone());
        Some(match state.map_or("", |open| &*open.name) {
            "attached" => (Doing::Runs, label, interp),
            "waiting for GIL" => (Doing::Wants, String::from("GIL"), interp),
            "suspended" => (Doing::Paused, String::from("pause"), interp),
            _ if activity.is_some() => (Doing::Waits, label, interp),
            _ => (Doing::Idle, label, interp),
        })
    }

    /// Closes the stretch that lasted until `now`.
    fn draw_until(&mut self, now: f64) {
        if let Some((doing, label, interp)) = self.doing() {
            if now > self.since {
                let what = match (doing, &*label) {
                    (Doing::Runs, "") => String::from("attached"),
                    (Doing::Runs, label) => format!("attached: {label}"),
                    (Doing::Wants, _) => String::from("waits for the GIL"),
                    (Doing::Paused, _) => String::from("stands still for a pause of the world"),
                    (Doing::Waits, label) => format!("detached: {label}"),
                    (Doing::Idle, _) => String::from("detached"),
                };
                let hover = format!(
                    "{}: {what}\ninterpreter {interp}\n{} to {} ({})",
                    self.lane.name,
                    micros(self.since),
                    micros(now),
                    micros(now - self.since)
                );
                self.add(Span { from: self.since, to: now, doing, label, hover, holder: None });
            }
        }
        self.since = now;
    }

    fn add(&mut self, span: Span) {
        self.lane.spans.push(span);
    }
}

/// Microseconds for people.
fn micros(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.1} µs"),
        us if us < 1_000_000.0 => format!("{:.3} ms", us / 1000.0),
        us => format!("{:.3} s", us / 1_000_000.0),
    }
}

/// Which mark a moment gets.
fn event(name: &str) -> Event {
    match name {
        "thread start" | "state created" => Event::Begin,
        "exit event" => Event::Exit,
        "deletion" => Event::Delete,
        "thread end" => Event::OsExit,
        "late attach" => Event::Failure,
        _ => Event::Other,
    }
}

/// Draws a trace. Its rows are in order for each thread, not over all of them.
pub(super) fn picture(text: &str, title: &str) -> Result<Picture, Complaint> {
    let rows = rows(text)?;
    let mut names: BTreeMap<i64, String> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.ph == "M" && row.name == "thread_name") {
        if let Some(name) = row.args.as_ref().and_then(|args| args.name.as_ref()) {
            names.insert(row.tid, name.clone());
        }
    }
    let shared: Vec<&String> = names.values().collect();
    let named = |tid: i64| {
        let name = names.get(&tid).cloned().unwrap_or_else(|| String::from("thread"));
        match shared.iter().filter(|other| **other == &name).count() {
            0 | 1 => name,
            _ => format!("{name} {tid}"),
        }
    };
    let mut order: Vec<i64> = Vec::new();
    let mut threads: BTreeMap<i64, Vec<Thread>> = BTreeMap::new();
    let mut end = 0.0_f64;
    let mut events: Vec<&Row> = rows.iter().filter(|row| row.ph != "M").collect();
    // Stable: rows of one thread keep their order where their times are equal.
    events.sort_by(|a, b| a.ts.total_cmp(&b.ts));
    for row in events {
        end = end.max(row.ts);
        let lives = threads.entry(row.tid).or_insert_with(|| {
            order.push(row.tid);
            Vec::new()
        });
        // The kernel may give the number of a thread that has ended to a new one.
        if lives.last().is_none_or(|thread| thread.ended && row.name == "thread start") {
            let again =
                if lives.is_empty() { String::new() } else { format!(" ({})", lives.len() + 1) };
            let hover = format!("kernel thread {}", row.tid);
            lives.push(Thread::new(format!("{}{again}", named(row.tid)), hover));
        }
        let Some(thread) = lives.last_mut() else { continue };
        thread.draw_until(row.ts);
        match &*row.ph {
            "B" => thread.open.push(Open { name: row.name.clone(), interp: row.pid }),
            "E" => {
                if let Some(at) = thread.open.iter().rposition(|open| open.name == row.name) {
                    thread.open.remove(at);
                }
            }
            "i" | "I" => {
                let hover = format!("{}: {} at {}", thread.lane.name, row.name, micros(row.ts));
                thread.lane.marks.push(Mark { at: row.ts, event: event(&row.name), hover });
                if row.name == "thread end" {
                    thread.open.clear();
                    thread.ended = true;
                }
            }
            _ => {}
        }
    }
    let mut lanes: Vec<Lane> = Vec::new();
    for tid in order {
        for mut thread in threads.remove(&tid).unwrap_or_default() {
            thread.draw_until(end);
            lanes.push(thread.lane);
        }
    }
    if lanes.is_empty() {
        return Err(Complaint::usage("the trace has no event in it"));
    }
    let (locks, arrows) = gil_lanes(&lanes, &rows, &named);
    let count = lanes.len();
    lanes.extend(locks);
    Ok(Picture {
        title: String::from(title),
        subtitle: format!("lifecycle trace: {count} threads, {}", micros(end)),
        axis: Axis::Time,
        end: end.max(1.0),
        lanes,
        arrows,
    })
}

/// A lane for each interpreter: which thread is attached. An interpreter whose threads are attached
/// at the same time has no GIL, and gets no lane. The arrows are the exchanges of its holder for a
/// thread that had to wait.
fn gil_lanes(
    threads: &[Lane],
    rows: &[Row],
    named: &dyn Fn(i64) -> String,
) -> (Vec<Lane>, Vec<Arrow>) {
    let lane_of = |tid: i64| threads.iter().position(|lane| lane.name == named(tid));
    // (interpreter) -> (from, to, lane)
    let mut held: BTreeMap<i64, Vec<(f64, f64, usize)>> = BTreeMap::new();
    let mut since: BTreeMap<(i64, i64), f64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.name == "attached") {
        match &*row.ph {
            "B" => {
                since.insert((row.pid, row.tid), row.ts);
            }
            _ => {
                if let (Some(from), Some(lane)) =
                    (since.remove(&(row.pid, row.tid)), lane_of(row.tid))
                {
                    held.entry(row.pid).or_default().push((from, row.ts, lane));
                }
            }
        }
    }
    // A trace that ends early leaves threads attached.
    let end = rows.iter().map(|row| row.ts).fold(0.0, f64::max);
    for ((interp, tid), from) in since {
        if let Some(lane) = lane_of(tid) {
            held.entry(interp).or_default().push((from, end, lane));
        }
    }
    let mut lanes = Vec::new();
    let mut arrows = Vec::new();
    for (interp, mut spans) in held {
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Times are taken beside the exchange, not in it: a few microseconds of overlap are none.
        let overlap =
            |pair: &[(f64, f64, usize)]| pair[0].2 != pair[1].2 && pair[0].1 - pair[1].0 > 20.0;
        if spans.windows(2).filter(|pair| overlap(pair)).count() > spans.len() / 50 {
            continue;
        }
        let mut lane = Lane {
            name: format!("GIL of interp {interp}"),
            hover: format!("which thread is attached to interpreter {interp}"),
            lock: true,
            ..Lane::default()
        };
        for pair in spans.windows(2) {
            let waited = threads[pair[1].2].spans.iter().any(|span| {
                span.doing == Doing::Wants
                    && span.from <= pair[0].1
                    && (span.to - pair[1].0).abs() < 0.01
            });
            if pair[0].2 != pair[1].2 && waited {
                let hover = format!(
                    "{} gives up the GIL, {} has waited for it",
                    threads[pair[0].2].name, threads[pair[1].2].name
                );
                arrows.push(Arrow {
                    from: (pair[0].2, pair[0].1.min(pair[1].0)),
                    to: (pair[1].2, pair[1].0),
                    hover,
                });
            }
        }
        for (from, to, holder) in spans {
            let hover =
                format!("{} has the GIL\n{} to {}", threads[holder].name, micros(from), micros(to));
            let label = threads[holder].name.clone();
            let holder = Some(holder);
            lane.spans.push(Span { from, to, doing: Doing::Runs, label, hover, holder });
        }
        lanes.push(lane);
    }
    (lanes, arrows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"[
{"ph":"M","pid":0,"tid":1,"name":"thread_name","args":{"name":"main"}},
{"ph":"M","pid":0,"tid":2,"name":"thread_name","args":{"name":"worker"}},
{"ph":"B","ts":1.0,"pid":0,"tid":1,"name":"attached","cat":"pytstate"},
{"ph":"B","ts":2.0,"pid":0,"tid":2,"name":"waiting for GIL","cat":"pytstate"},
{"ph":"E","ts":5.0,"pid":0,"tid":1,"name":"attached","cat":"pytstate"},
{"ph":"B","ts":5.0,"pid":0,"tid":1,"name":"joining","cat":"pytstate"},
{"ph":"B","ts":5.0,"pid":0,"tid":1,"name":"detached","cat":"pytstate"},
{"ph":"E","ts":6.0,"pid":0,"tid":2,"name":"waiting for GIL","cat":"pytstate"},
{"ph":"B","ts":6.0,"pid":0,"tid":2,"name":"attached","cat":"pytstate"},
{"ph":"i","s":"t","ts":8.0,"pid":0,"tid":2,"name":"exit event","cat":"pytstate"},
{"ph":"E","ts":9.0,"pid":0,"tid":2,"name":"attached","cat":"pytstate"}
"#;

    #[test]
    fn a_trace_without_the_end_of_its_array_is_drawn() {
        let picture = picture(TWO, "t").expect("it is drawn");
        assert_eq!(picture.lanes.len(), 3);
        assert_eq!(picture.lanes[0].name, "main");
        let kinds: Vec<Doing> = picture.lanes[0].spans.iter().map(|span| span.doing).collect();
        assert_eq!(kinds.first(), Some(&Doing::Runs));
        assert!(kinds[1..].iter().all(|kind| *kind == Doing::Waits), "{kinds:?}");
        assert_eq!(picture.lanes[1].spans[0].doing, Doing::Wants);
        assert_eq!(picture.lanes[1].marks[0].event, Event::Exit);
        assert!(picture.lanes[2].lock);
        assert_eq!(picture.lanes[2].spans.len(), 2);
        assert_eq!(picture.arrows.len(), 1);
    }

    #[test]
    fn half_a_last_row_is_left_out() {
        let half = format!("{TWO},{{\"ph\":\"B\",\"ts\":10");
        assert_eq!(picture(&half, "t").expect("it is drawn").lanes.len(), 3);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(picture("[{\"a\":1}]", "t").is_err());
        assert!(picture("[]", "t").is_err());
        assert!(picture("nothing", "t").is_err());
    }
}
