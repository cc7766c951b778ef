//! What the library exports is what is committed and what the headers declare.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::{read, run, shared_library, without_c_comments};

type Names = BTreeSet<String>;

/// The names that the shared library defines for others to link.
fn exported() -> Names {
    let text = run(Command::new("nm").args(["-D", "--defined-only"]).arg(shared_library()));
    let last = |line: &str| line.split_whitespace().last().map(str::to_owned);
    text.lines().filter_map(last).collect()
}

fn committed() -> Names {
    read("include/pytstate.sym").lines().map(str::to_owned).collect()
}

/// The functions and variables that a generated header declares.
fn declared(header: &str) -> Names {
    let text = without_c_comments(&read(header));
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let code = code.join("\n").replace("extern \"C\" {", "");
    let mut depth = 0;
    let mut statement = String::new();
    let mut names = Names::new();
    for c in code.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth <= 0 => {
                names.extend(declared_by(statement.trim()));
                statement.clear();
            }
            _ if depth <= 0 => statement.push(c),
            _ => {}
        }
    }
    names
}

fn declared_by(statement: &str) -> Option<String> {
    let head = match statement.strip_prefix("extern ") {
        Some(variable) => variable,
        None if statement.starts_with("typedef") => return None,
        None => statement.split_once('(')?.0,
    };
    let start = head.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
    Some(head[start..].to_owned())
}

fn assert_same(left: &Names, left_is: &str, right: &Names, right_is: &str) {
    let only = |a: &Names, b: &Names| a.difference(b).cloned().collect::<Vec<_>>();
    let (more, less) = (only(left, right), only(right, left));
    assert!(more.is_empty(), "only in {left_is}, not in {right_is}: {more:?}");
    assert!(less.is_empty(), "only in {right_is}, not in {left_is}: {less:?}");
}

#[test]
fn the_library_exports_what_is_committed_and_nothing_foreign() {
    assert_same(&exported(), "the library", &committed(), "include/pytstate.sym");
}

#[test]
fn the_headers_declare_what_the_library_exports() {
    let mut names = declared("include/pytstate.h");
    names.extend(declared("include/pytstate/internal.h"));
    assert_same(&names, "the headers", &committed(), "include/pytstate.sym");
}

#[test]
fn the_internal_header_repeats_nothing_of_the_public_one() {
    let public = declared("include/pytstate.h");
    let internal = declared("include/pytstate/internal.h");
    assert_eq!(public.intersection(&internal).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_shared_library_is_known_by_its_first_version() {
    let text = run(Command::new("objdump").arg("-p").arg(shared_library()));
    assert!(text.contains("libpytstate.so.0"), "no SONAME libpytstate.so.0 in:\n{text}");
}
