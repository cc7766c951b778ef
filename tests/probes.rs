//! Every sync point and every kind of trace event that is documented is placed somewhere.

mod common;

use common::{files, read};

/// The variants of the tables in `file`: lines of the form `Variant = "name", ...`.
fn variants(file: &str) -> Vec<String> {
    let is_variant = |name: &str| name.chars().all(char::is_alphanumeric);
    read(file)
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(" ="))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_variant(name) && name.starts_with(char::is_uppercase))
        .collect()
}

/// The sources of the layers that place points, in one text.
fn layers_above() -> String {
    let folders = ["src/state", "src/sched", "src/life", "src/capi"];
    folders.iter().flat_map(|folder| files(folder, &["rs"])).map(read).collect()
}

fn assert_all_placed(file: &str, owners: &[&str]) {
    let all = variants(file);
    assert!(all.len() > 10, "{file} has no table any more");
    let code = layers_above();
    let placed = |name: &&String| {
        owners.iter().any(|owner| {
            code.match_indices(&format!("{owner}::{name}")).any(|(at, found)| {
                !code[at + found.len()..].starts_with(|c: char| c.is_alphanumeric())
            })
        })
    };
    for name in &all {
        assert!(placed(&name), "{name} of {file} is placed nowhere in the layers above");
    }
}

#[test]
fn every_sync_point_is_placed() {
    assert_all_placed("src/probe/point.rs", &["Point"]);
}

#[test]
fn every_kind_of_trace_event_is_noted() {
    assert_all_placed("src/probe/trace/kinds.rs", &["Span", "Mark"]);
}
