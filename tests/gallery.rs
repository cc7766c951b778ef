//! The gallery of historic races: a few rounds of each, that it tells when a
//! race is not as it must be, and that the documentation has them all.

mod common;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use common::{cc, files, library_folder, read, root, run};

/// Builds a gallery from C files, against the library that cargo built.
fn build(program: &str, sources: &[PathBuf], flags: &[&str]) -> PathBuf {
    let library = library_folder(program);
    let program = library.join(program);
    // The old kind of path goes before LD_LIBRARY_PATH, where cargo names folders that may
    // hold an older library.
    let mut rpath = std::ffi::OsString::from("-Wl,--disable-new-dtags,-rpath,");
    rpath.push(&library);
    run(cc()
        .args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-O1", "-g", "-pthread"])
        .args(flags)
        .arg("-I")
        .arg(root().join("include"))
        .args(sources.iter().map(|source| root().join(source)))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&library)
        .arg("-lpytstate")
        .arg(rpath));
    program
}

/// The gallery, built once.
fn real_gallery() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let sources: Vec<PathBuf> = files("c_tests/gallery", &["c"])
            .into_iter()
            .filter(|file| !file.starts_with("c_tests/gallery/selftest"))
            .collect();
        build("gallery", &sources, &[])
    })
}

fn play(gallery: &PathBuf, rounds: u32) -> Output {
    Command::new("timeout")
        .arg("300")
        .arg(gallery)
        .args(["--rounds", &rounds.to_string()])
        .output()
        .expect("the gallery can be started")
}

/// A line `<name> <old|ours> <what happened> <count>/<rounds>`, in parts.
fn parts(line: &str) -> (&str, &str, &str, &str) {
    let (name, rest) = line.split_once(' ').unwrap_or_default();
    let (which, rest) = rest.split_once(' ').unwrap_or_default();
    let (what, count) = rest.rsplit_once(' ').unwrap_or_default();
    (name, which, what, count)
}

#[test]
fn old_protocols_misbehave_in_every_round_and_ours_in_none() {
    let gallery = real_gallery();
    let listed = run(Command::new(gallery).arg("--list"));
    let names: Vec<&str> = listed.lines().filter_map(|l| l.split(' ').next()).collect();
    let output = play(gallery, 5);
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}{errors}", output.status);
    let lines: Vec<_> = printed.lines().map(parts).collect();
    assert_eq!(lines.len(), 2 * names.len(), "{printed}");
    for (pair, name) in lines.chunks(2).zip(names) {
        let [old, ours] = pair else { panic!("{name}: two lines") };
        assert_eq!((old.0, old.1, old.3), (name, "old", "5/5"), "{printed}");
        assert_eq!((ours.0, ours.1), (name, "ours"), "{printed}");
        assert!(ours.3 == "0/5" || ours.3 == "5/5", "{printed}");
        assert!(!old.2.is_empty() && !ours.2.is_empty(), "{printed}");
    }
}

#[test]
fn what_is_not_as_it_must_be_is_told() {
    let sources = ["gallery.c", "stage.c", "selftest/wrong.c"];
    let sources = sources.map(|name| PathBuf::from("c_tests/gallery").join(name));
    let own = "-DSCENARIOS(X)=X(right)X(old_once)X(ours_once)X(broken_down)X(dead)X(other_text)";
    let output = play(&build("wrong-gallery", &sources, &[own]), 4);
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{printed}{errors}");
    let wanted = "\
        right old happened 4/4\n\
        right ours measured 4 0/4\n\
        old-once old happened 1/4\n\
        old-once ours measured 4 0/4\n\
        ours-once old happened 4/4\n\
        ours-once ours measured 4 1/4\n\
        broken old happened 2/4\n\
        broken ours happened 0/4\n\
        dead old happened 0/4\n\
        dead ours measured 4 4/4\n\
        other-text old happened 0/4\n\
        other-text ours measured 4 0/4\n";
    assert!(printed.starts_with(wanted), "{printed}");
    for wanted in [
        "gallery: broken old: wrong.c:",
        "not so: round_number() < 2",
        "gallery: broken ours: wrong.c:",
        "gallery: dead old: round 0 died of signal 6",
        "gallery: other-text old: stage.c:",
        "gallery: 5 of ",
    ] {
        assert!(errors.contains(wanted), "no {wanted:?} in:\n{errors}");
    }
}

#[test]
fn every_scenario_is_documented_and_every_documented_one_exists() {
    let text = read("docs/gallery.md");
    let mut documented: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    let listed = run(Command::new(real_gallery()).arg("--list"));
    let mut names: Vec<String> =
        listed.lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect();
    documented.sort();
    names.sort();
    assert_eq!(documented, names);
}
