//! `pytstate explore` and `pytstate replay` on plain programs: what is found, printed, written, replayed.

mod common;

use common::{Folder, program, root, run};
use std::path::Path;
use std::process::Command;

fn explore(words: &[&str], program: &Path, folder: &Folder) -> common::Ran {
    let mut args = vec!["explore"];
    args.extend(words);
    let path = program.to_str().expect("text");
    args.extend(["--", path]);
    run(&args, &folder.0)
}

/// `12 schedules, 1 distinct failure, 0.1 s, 81 schedules/s; uncontrolled: nothing`.
fn is_total(line: &str, failures: &str) -> bool {
    let Some((counts, rest)) = line.split_once("; uncontrolled: ") else { return false };
    let parts: Vec<&str> = counts.split(", ").collect();
    let number = |text: &str, unit: &str| {
        text.strip_suffix(unit).is_some_and(|number| number.trim().parse::<f64>().is_ok())
    };
    rest == "nothing"
        && parts.len() == 4
        && (number(parts[0], "schedules") || number(parts[0], "schedule"))
        && parts[1] == failures
        && number(parts[2], " s")
        && number(parts[3], " schedules/s")
}

#[test]
fn a_lost_update_is_found_shortened_and_replayed() {
    let folder = Folder::new("lost-update");
    let ran = explore(&["--seed", "42"], &program("race"), &folder);
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    let first = ran.first();
    assert!(first.starts_with("FAILED schedule "), "{first}");
    assert!(first.contains(" of 1000 ("), "{first}");
    assert!(first.contains(", seed 42): SIGABRT: "), "{first}");
    assert!(first.contains("Assertion"), "{first}");
    assert!(ran.out.contains("runs until"), "{}", ran.out);
    assert!(ran.out.contains("race.c:"), "places are named: {}", ran.out);
    assert!(ran.out.contains("\n  passes if "), "{}", ran.out);
    assert!(ran.out.contains("\nreplay with: pytstate replay race.schedule\n"), "{}", ran.out);
    assert!(is_total(ran.last(), "1 distinct failure"), "{}", ran.last());
    assert_eq!(folder.files(), ["race.schedule"]);
    let text = std::fs::read_to_string(folder.0.join("race.schedule")).expect("the file");
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(file["seed"], 42);
    assert_eq!(file["switches"].as_array().map(Vec::len), Some(1), "one preemption is enough");
    let again = run(&["replay", "race.schedule", "--times", "20"], &folder.0);
    assert_eq!(again.status, 0, "{}{}", again.out, again.err);
    assert!(again.out.contains("20 of 20"), "{}", again.out);
}

#[test]
fn the_number_of_jobs_changes_nothing() {
    let program = program("race");
    let mut seen = Vec::new();
    for jobs in ["1", "4"] {
        let folder = Folder::new(&format!("jobs-{jobs}"));
        let ran = explore(&["--jobs", jobs, "--seed", "7", "--keep-going"], &program, &folder);
        let text = std::fs::read_to_string(folder.0.join("race.schedule")).expect("the file");
        let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let counts = ran.last().split(", ").next().map(String::from);
        seen.push((
            String::from(ran.first()),
            counts,
            file["digest"].clone(),
            file["switches"].clone(),
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_deadlock_is_told_with_both_threads() {
    let folder = Folder::new("deadlock");
    let ran = explore(&[], &program("dead"), &folder);
    assert_eq!(ran.status, 1);
    assert!(ran.first().contains("): deadlock: "), "{}", ran.out);
    assert!(ran.out.contains("main/1 waits in pthread_mutex_lock"), "{}", ran.out);
    assert!(ran.out.contains("main waits in pthread_mutex_lock"), "{}", ran.out);
}

#[test]
fn an_exhaustive_search_says_what_it_covers() {
    let folder = Folder::new("exhaustive");
    let program = program("race");
    let path = program.to_str().expect("text");
    let args = ["explore", "--strategy", "exhaustive", "--preemptions", "1", "--", path, "1"];
    let ran = run(&args, &folder.0);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("exhaustive: complete: every schedule with at most 1 "),
        "{}",
        ran.out
    );
    assert!(is_total(ran.last(), "0 distinct failures"), "{}", ran.last());
    let ran = explore(&["--strategy", "exhaustive"], &program, &folder);
    assert_eq!(ran.status, 1, "one preemption is enough: {}", ran.out);
    assert!(ran.out.contains("(exhaustive, seed 1)"), "{}", ran.out);
}

#[test]
fn json_is_one_object() {
    let folder = Folder::new("json");
    let ran = explore(&["--json"], &program("race"), &folder);
    assert_eq!(ran.status, 1);
    let object: serde_json::Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!(object["distinct_failures"], 1);
    assert_eq!(object["failures"][0]["kind"], "SIGABRT");
    assert_eq!(object["failures"][0]["replays"]["agreed"], 3);
}

#[test]
fn a_timeline_of_a_schedule_has_its_lanes() {
    let folder = Folder::new("timeline");
    explore(&[], &program("dead"), &folder);
    for form in ["dead.svg", "dead.html"] {
        let ran = run(&["timeline", "dead.schedule", "-o", form], &folder.0);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let text = std::fs::read_to_string(folder.0.join(form)).expect("the picture");
        assert!(text.contains("main/1") && text.contains("deadlock"), "{form}");
        assert!(!text.contains("src=") && !text.contains("https:"), "{form} works offline");
    }
    let ran = run(&["timeline", "dead.schedule", "-o", "dead.png"], &folder.0);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("neither in .html nor in .svg"), "{}", ran.err);
}

/// The plain programs over the library: `make explored` builds them.
const RACY: [&str; 13] = [
    "gh-116372",
    "bpo-36402",
    "late-attach",
    "leaked-guard",
    "lock-order",
    "lost-wakeup",
    "double-join",
    "use-after-delete",
    "check-then-start",
    "fork-held-lock",
    "early-guard",
    "early-event",
    "two-lives",
];
const CORRECT: [&str; 12] = [
    "two-joiners",
    "sub-interpreter",
    "refused-attach",
    "detached-lock",
    "kept-wakeup",
    "guarded-attach",
    "published-event",
    "yield-spin",
    "trylock-loop",
    "timed-poller",
    "hung-daemon",
    "prepared-fork",
];

fn explored() -> std::path::PathBuf {
    static BUILT: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| {
        let make = Command::new("make")
            .arg("--no-print-directory")
            .arg("explored")
            .current_dir(root())
            .status();
        assert!(make.expect("make runs").success(), "the programs cannot be built");
    });
    root().join("build/explore")
}

#[test]
fn known_races_are_found_and_replayed() {
    for name in RACY {
        let folder = Folder::new(name);
        let ran = explore(&["--timeout", "5"], &explored().join(name), &folder);
        assert_eq!(ran.status, 1, "{name}: {}{}", ran.out, ran.err);
        let again = run(&["replay", &format!("{name}.schedule"), "--times", "20"], &folder.0);
        assert!(again.out.contains("20 of 20"), "{name}: {}", again.out);
    }
}

#[test]
fn correct_programs_are_not_blamed() {
    for name in CORRECT {
        let folder = Folder::new(name);
        let ran = explore(&["--schedules", "300"], &explored().join(name), &folder);
        assert_eq!(ran.status, 0, "{name}: {}{}", ran.out, ran.err);
        assert!(
            ran.last().starts_with("300 schedules, 0 distinct failures, "),
            "{name}: {}",
            ran.last()
        );
        assert!(folder.files().is_empty(), "{name} leaves {:?}", folder.files());
    }
}
