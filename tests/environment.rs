//! docs/environment.md has the variables that src/probe/environment.rs reads, and no other place reads one.

mod common;

use common::{files, read};
use std::collections::BTreeSet;

#[test]
fn the_table_for_people_has_the_rows_of_the_reader() {
    let source = read("src/probe/environment.rs");
    let rows = source.split("variables! {").nth(1).expect("the rows").split("\n}").next();
    let names = rows.expect("an end").split(" = c\"").skip(1);
    let read_here: BTreeSet<&str> = names.map(|rest| rest.split('"').next().unwrap()).collect();
    let text = read("docs/environment.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<&str> = rows.map(|rest| rest.split('`').next().unwrap()).collect();
    assert_eq!(read_here, told);
    assert!(read_here.len() > 5, "{read_here:?}");
}

#[test]
fn one_place_reads_the_environment() {
    let mut others = Vec::new();
    for path in files("src", &["rs"]) {
        let name = path.display().to_string();
        if name == "src/probe/environment.rs" || name == "src/os/env.rs" {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if ["os::env", "env::read", "getenv"].iter().any(|part| code.contains(part)) {
            others.push(name);
        }
    }
    assert!(others.is_empty(), "{others:?}");
}
