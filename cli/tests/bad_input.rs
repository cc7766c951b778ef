//! What cannot be done is refused with a clear sentence; whatever a program does, nothing is left running or on disk.

mod common;

use common::{Folder, command, program, run, running_with};
use std::time::{Duration, Instant};

#[test]
fn a_program_that_cannot_be_run_is_bad_usage() {
    let folder = Folder::new("no-program");
    let cases: [(&[&str], &str); 7] = [
        (&["explore"], "PROGRAM"),
        (&["explore", "--"], "PROGRAM"),
        (&["explore", "--", "no-such-program-anywhere"], "cannot run 'no-such-program-anywhere'"),
        (&["explore", "--", "./missing"], "cannot run './missing': No such file or directory"),
        (&["explore", "--", "/etc/passwd"], "it is not executable"),
        (&["explore", "--", "/tmp"], "it is a directory"),
        (&["explore", "--strategy", "luck", "--", "true"], "luck"),
    ];
    for (args, sentence) in cases {
        let ran = run(args, &folder.0);
        assert_eq!(ran.status, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(sentence), "{args:?}: {}", ran.err);
    }
    let out = run(&["explore", "--out", "nowhere", "--", "/bin/true"], &folder.0);
    assert_eq!(out.status, 2);
    assert!(out.err.contains("'nowhere' is not a directory"), "{}", out.err);
    std::fs::write(folder.0.join("text"), "this is no program\n").expect("written");
    let mut mode = std::fs::metadata(folder.0.join("text")).expect("there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    std::fs::set_permissions(folder.0.join("text"), mode).expect("set");
    let ran = run(&["explore", "--", "./text"], &folder.0);
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("cannot run '"), "{}", ran.err);
}

#[test]
fn a_preload_library_that_is_missing_is_named() {
    let folder = Folder::new("no-preload");
    let output = command(&["explore", "--", "/bin/true"], &folder.0)
        .env("PYTSTATE_CONTROL_LIB", "/nowhere/libpytstate_control.so")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(err.contains("the preload library libpytstate_control.so was not found"), "{err}");
}

#[test]
fn a_program_with_nothing_to_control_is_told_so() {
    let folder = Folder::new("nothing");
    let hostile = program("hostile");
    let path = hostile.to_str().expect("text");
    for words in [vec!["/bin/true"], vec![path, "single", "marker"], vec!["/bin/false"]] {
        let mut args = vec!["explore", "--"];
        args.extend(&words);
        let ran = run(&args, &folder.0);
        assert_eq!(ran.status, 3, "{words:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("nothing to control"), "{words:?}: {}", ran.err);
    }
}

#[test]
fn a_damaged_schedule_file_is_refused() {
    let folder = Folder::new("damaged");
    let race = program("race");
    let path = race.to_str().expect("text");
    assert_eq!(run(&["explore", "--", path], &folder.0).status, 1);
    let good = std::fs::read_to_string(folder.0.join("race.schedule")).expect("the file");
    let cases = [
        (String::new(), "damaged"),
        (good[..good.len() / 2].to_owned(), "damaged"),
        (good.replace("\"passage\": ", "\"passage\": \"x\" "), "damaged"),
        (String::from("[1, 2]"), "no schedule file"),
        (String::from("{\"version\": 1}"), "no schedule file"),
        (good.replacen("\"version\": 1", "\"version\": 999", 1), "version 999"),
        (good.replacen("\"digest\": \"", "\"digest\": \"zz", 1), "digest"),
        (String::from("\u{0}\u{1}\u{2}"), "damaged"),
    ];
    for (text, sentence) in cases {
        std::fs::write(folder.0.join("bad.schedule"), &text).expect("written");
        for args in
            [&["replay", "bad.schedule"][..], &["timeline", "bad.schedule", "-o", "bad.svg"]]
        {
            let ran = run(args, &folder.0);
            assert_eq!(ran.status, 2, "{args:?} of {:.60}: {}{}", text, ran.out, ran.err);
            assert!(ran.err.starts_with("pytstate: "), "{}", ran.err);
            if args[0] == "replay" {
                assert!(ran.err.contains(sentence), "{:.60}: {}", text, ran.err);
            }
        }
    }
    let ran = run(&["replay", "missing.schedule"], &folder.0);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("cannot read 'missing.schedule'"), "{}", ran.err);
}

#[test]
fn a_schedule_of_another_program_is_refused() {
    let folder = Folder::new("another");
    let (race, dead) = (program("race"), program("dead"));
    let (race, dead) = (race.to_str().expect("text"), dead.to_str().expect("text"));
    assert_eq!(run(&["explore", "--", race], &folder.0).status, 1);
    let ran = run(&["replay", "race.schedule", "--", dead], &folder.0);
    assert_eq!(ran.status, 2, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("is a schedule of another program"), "{}", ran.err);
    // The same program with another argument: allowed, and the first difference is told.
    let ran = run(&["replay", "race.schedule", "--", race, "1"], &folder.0);
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("0 of 1"), "{}", ran.out);
}

#[test]
fn whatever_a_program_does_nothing_is_left() {
    let hostile = program("hostile");
    let path = hostile.to_str().expect("text");
    // (mode, exit status, part of the output)
    let cases = [
        ("fine", 0, "0 distinct failures"),
        ("forks", 0, "0 distinct failures"),
        ("execs", 0, "0 distinct failures"),
        ("closes-all", 0, "0 distinct failures"),
        ("leaves-children", 0, "0 distinct failures"),
        ("exits-raw", 1, "exit status 4"),
        ("thread-exits", 1, "exit status 3"),
        ("crashes", 1, "SIGSEGV"),
        ("prints", 1, "SIGABRT: Assertion failed: the last line counts"),
        ("ignores-sigterm", 1, "timeout: the run did not end within 1 s"),
    ];
    for (mode, status, sentence) in cases {
        let folder = Folder::new(mode);
        let marker = format!("marker-{mode}-{}", std::process::id());
        let args = ["explore", "--schedules", "20", "--timeout", "1", "--", path, mode, &marker];
        let ran = run(&args, &folder.0);
        assert_eq!(ran.status, status, "{mode}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(sentence), "{mode}: {}", ran.out);
        assert_eq!(running_with(&marker), 0, "{mode} leaves processes");
        let files = folder.files();
        let expected: &[&str] = if status == 1 { &["hostile.schedule"] } else { &[] };
        assert_eq!(files, expected, "{mode}");
    }
}

#[test]
fn a_command_that_is_killed_leaves_nothing_running() {
    let folder = Folder::new("killed");
    let hostile = program("hostile");
    let marker = format!("marker-killed-{}", std::process::id());
    let args = [
        "explore",
        "--timeout",
        "100",
        "--",
        hostile.to_str().expect("text"),
        "ignores-sigterm",
        &marker,
    ];
    let mut child = command(&args, &folder.0).spawn().expect("it starts");
    let begin = Instant::now();
    while running_with(&marker) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "the program never ran");
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("reaped");
    while running_with(&marker) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(40), "the program runs on");
        std::thread::yield_now();
    }
    assert!(folder.files().is_empty());
}
