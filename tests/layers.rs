//! The walls between the layers (docs/architecture.md): imports go down only,
//! and what belongs to one room stays in it.

mod common;

use std::path::Path;

use common::{files, read};

/// Layers with their height. Layers of one height do not see each other,
/// except where `ALSO` says so.
const HEIGHT: &[(&str, u32)] = &[
    ("os", 0),
    ("control", 1),
    ("sync", 2),
    ("probe", 2),
    ("state", 3),
    ("sched", 4),
    ("life", 5),
    ("capi", 6),
];

/// Arrows inside one height: (from, to).
const ALSO: &[(&str, &str)] = &[("sync", "probe")];

const MOST_LINES: usize = 600;

/// A line of Rust without its comment. (A `//` in a string ends it early,
/// which no rule below minds.)
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn layer(path: &Path) -> Option<&str> {
    let mut parts = path.components().skip(1);
    let first = parts.next()?.as_os_str().to_str()?;
    parts.next().map(|_| first)
}

fn height(layer: &str) -> Option<u32> {
    HEIGHT.iter().find(|(name, _)| *name == layer).map(|(_, height)| *height)
}

fn allowed(from: &str, to: &str) -> bool {
    let (Some(a), Some(b)) = (height(from), height(to)) else {
        return false;
    };
    from == to || b < a || ALSO.contains(&(from, to))
}

/// The layers that a text names after `crate::`, also in braces.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').and_then(top_of_group);
        let names = group.unwrap_or_else(|| vec![rest]);
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            found.push(name[..end].to_owned());
        }
    }
    found
}

/// The entries of `a::b, c::{d, e}}...` up to the brace that closes it.
fn top_of_group(text: &str) -> Option<Vec<&str>> {
    let (mut depth, mut start, mut entries) = (0, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                entries.push(text[start..i].trim());
                return Some(entries);
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                entries.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    None
}

/// Every line of src/ with what it is in: (layer, "path:line", code).
fn lines() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for path in files("src", &["rs"]) {
        let Some(layer) = layer(&path) else { continue };
        for (number, line) in read(&path).lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            found.push((layer.to_owned(), place, code(line).to_owned()));
        }
    }
    found
}

/// The places outside the layers `except` whose code contains `wanted`.
fn outside(except: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let breach = |(layer, _, code): &(String, String, String)| {
        !except.contains(&layer.as_str()) && wanted(code)
    };
    lines().into_iter().filter(breach).map(|(_, place, code)| format!("{place}: {code}")).collect()
}

fn assert_none(breaches: &[String], rule: &str) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

#[test]
fn imports_go_down_only() {
    let mut breaches = Vec::new();
    for path in files("src", &["rs"]) {
        let Some(from) = layer(&path) else { continue };
        assert!(height(from).is_some(), "{} is in no known layer", path.display());
        let text: Vec<String> = read(&path).lines().map(|line| code(line).to_owned()).collect();
        for to in named(&text.join("\n")) {
            if height(&to).is_some() && !allowed(from, &to) {
                breaches.push(format!("{}: {from} uses {to}", path.display()));
            }
        }
    }
    assert_none(&breaches, "an arrow that does not go down");
}

#[test]
fn the_rule_for_arrows_sees_what_it_must() {
    let text = "use crate::state::{a, b}; use crate::{capi::x, os::{y, z}}; crate::life::f()";
    assert_eq!(named(text), ["state", "capi", "os", "life"]);
    assert!(allowed("capi", "os") && allowed("sched", "sync") && allowed("os", "os"));
    assert!(!allowed("os", "sync") && !allowed("state", "sched") && !allowed("probe", "sync"));
}

#[test]
fn only_os_speaks_to_libc() {
    let uses = |code: &str| code.contains("libc::") || code.contains("use libc");
    assert_none(&outside(&["os"], uses), "libc outside src/os");
}

#[test]
fn only_capi_defines_c_functions() {
    // `extern "C" fn(` is a type; a definition has a name.
    let defines = |code: &str| {
        let after = code.split("extern \"C\"").nth(1).map(str::trim_start);
        after.is_some_and(|a| a.starts_with("fn ") || a.starts_with('{'))
    };
    assert_none(&outside(&["capi", "os"], defines), "extern \"C\" outside src/capi and src/os");
    let exports = |code: &str| code.contains("no_mangle") || code.contains("export_name");
    assert_none(&outside(&["capi"], exports), "an export outside src/capi");
}

#[test]
fn only_os_knows_the_operating_system() {
    let asks = |code: &str| {
        let names = ["target_os", "target_family", "target_env", "cfg(unix", "cfg(windows"];
        names.iter().any(|name| code.contains(name))
    };
    assert_none(&outside(&["os"], asks), "a question for the OS outside src/os");
}

#[test]
fn no_file_is_longer_than_a_reader_can_bear() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "c_tests", "examples", "benches", "include"] {
        for path in files(folder, &["rs", "c", "h", "cpp"]) {
            let text = read(&path);
            let generated = text.contains("Generated from src/");
            let count = text.lines().count();
            if count > MOST_LINES && !generated {
                long.push(format!("{}: {count} lines", path.display()));
            }
        }
    }
    assert_none(&long, "files to split");
}
