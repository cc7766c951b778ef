//! The walls between the layers (docs/architecture.md): imports go down only,
//! and what belongs to one room stays in it.

mod common;

use std::path::{Path, PathBuf};

use common::{files, read, root};

/// Layers with their height.
const HEIGHT: &[(&str, u32)] = &[
    ("os", 0),
    ("control", 1),
    ("sync", 2),
    ("probe", 3),
    ("state", 4),
    ("sched", 5),
    ("life", 6),
    ("capi", 7),
];

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
    from == to || b < a
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
    assert!(!allowed("os", "sync") && !allowed("state", "sched") && !allowed("sync", "probe"));
}

/// A text of Rust without comments, the contents of strings, and the tests behind it.
fn bare(text: &str) -> String {
    let text: Vec<&str> = text.lines().map(code).collect();
    let text = text.join("\n");
    let tests = ["#[cfg(test)]\nmod ", "#[cfg(all(test", "#[cfg(test)]\n#[path"];
    let end = tests.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let pieces: Vec<&str> = text[..end].split('"').step_by(2).collect();
    pieces.join("\"\"")
}

/// The modules that a mod.rs declares, in order.
fn declared(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let (before, rest) = line.trim_end().strip_suffix(';')?.split_once("mod ")?;
        let is_plain = |c: char| c.is_alphanumeric() || c == '_';
        let visible = before.trim().is_empty() || before.trim_start().starts_with("pub");
        (visible && rest.chars().all(is_plain)).then(|| rest.to_owned())
    };
    text.lines().map(code).filter_map(name).collect()
}

/// Adds the paths of the tree at the beginning of `text` (`a::{b, c::d}`), each with `before` in front.
fn expand(before: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(entries) = rest.strip_prefix('{').and_then(top_of_group) {
            entries
                .iter()
                .filter(|entry| !entry.is_empty())
                .for_each(|entry| expand(&path, entry, found));
            return;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        let Some(more) = rest[end..].strip_prefix("::") else { break };
        rest = more;
    }
    found.push(path);
}

/// Every path of a file that begins with `crate`, `super` or `self`, however it is spelled.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = bare(text);
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(root) {
            let inside = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            if !text[..at].ends_with(inside) {
                expand(&[], &text[at..], &mut found);
            }
        }
    }
    found
}

/// The module of a file: src/a/b/c.rs and src/a/b/c/mod.rs are a, b, c.
fn module(path: &Path) -> Vec<String> {
    let path = path.strip_prefix("src").expect("below src").with_extension("");
    let mut parts: Vec<String> =
        path.iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// A path seen from the crate's root, for one that stands in the module `own`.
fn absolute(own: &[String], path: &[String]) -> Vec<String> {
    if path[0] == "crate" {
        return path[1..].to_vec();
    }
    let ups = path.iter().take_while(|part| *part == "super").count();
    let skip = path.iter().take_while(|part| *part == "super" || *part == "self").count();
    let mut whole = own[..own.len().saturating_sub(ups)].to_vec();
    whole.extend_from_slice(&path[skip..]);
    whole
}

/// What a mod.rs re-exports from its children: (name, child).
fn reexports(text: &str, children: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for piece in bare(text).split(';') {
        let Some((before, tree)) = piece.split_once("use ") else { continue };
        if before.trim_end().ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !before.trim_end().ends_with("pub")
        {
            continue;
        }
        let mut paths = Vec::new();
        expand(&[], tree.trim_start_matches("self::"), &mut paths);
        for path in paths.iter().filter(|path| path.len() > 1 && children.contains(&path[0])) {
            found.push((path[path.len() - 1].clone(), path[0].clone()));
        }
    }
    found
}

/// The file that declares the modules of the folder `parent`.
fn declaring(parent: &str) -> PathBuf {
    let own = Path::new("src").join(parent).join("mod.rs");
    if root().join(&own).exists() { own } else { format!("src/{parent}.rs").into() }
}

/// The child of the folder `parent` that a path of it leads into.
fn leads_into(parent: &str, rest: &[String], children: &[String]) -> Option<String> {
    let first = rest.first()?;
    // `probe::point` is a function of `sync_point`, `probe::point::Point` a type of `point`.
    let text = read(declaring(parent));
    let by_name = reexports(&text, children).into_iter().find(|(name, _)| name == first);
    match by_name {
        Some((_, child)) if rest.len() == 1 || !children.contains(first) => Some(child),
        _ => children.contains(first).then(|| first.clone()),
    }
}

/// The arrows of `layer` that go to a module declared further down, or to the same place.
fn arrows_out_of_order(layer: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for path in files(&format!("src/{layer}"), &["rs"]) {
        let own = module(&path);
        if own.last().is_some_and(|name| name == "tests") {
            continue;
        }
        for target in paths(&read(&path)) {
            let target = absolute(&own, &target);
            let same = own.iter().zip(&target).take_while(|(a, b)| a == b).count();
            if same == 0 || same == own.len() {
                continue;
            }
            let parent = own[..same].join("/");
            let children = declared(&read(declaring(&parent)));
            let Some(to) = leads_into(&parent, &target[same..], &children) else { continue };
            let place = |name: &String| children.iter().position(|child| child == name);
            if to != own[same] && place(&to) > place(&own[same]) {
                breaches.push(format!("{}: {} uses {to} of {parent}/", path.display(), own[same]));
            }
        }
    }
    breaches.sort();
    breaches.dedup();
    breaches
}

#[test]
fn a_module_imports_only_from_those_declared_above_it() {
    for (layer, _) in HEIGHT {
        let breaches = arrows_out_of_order(layer);
        assert_none(&breaches, "an arrow to a module that is declared further down");
    }
}

#[test]
fn the_rule_for_modules_sees_every_spelling() {
    let own: Vec<String> = ["probe", "trace", "nest"].map(str::to_owned).to_vec();
    let seen = |text: &str| -> Vec<String> {
        paths(text).iter().map(|path| absolute(&own, path).join("::")).collect()
    };
    assert_eq!(
        seen("use crate::{probe::{mode, text::{self, warn}}, os::ids};"),
        ["probe::mode", "probe::text::self", "probe::text::warn", "os::ids"]
    );
    assert_eq!(seen("use super::kinds::Span; f(super::super::mode::get())").len(), 2);
    assert_eq!(seen("let x = super::super::mode::get();"), ["probe::mode::get"]);
    assert_eq!(seen("// crate::a::b\nlet x = \"crate::c\";"), Vec::<String>::new());
    assert_eq!(
        declared("pub(crate) mod a;\n#[cfg(x)]\nmod b;\n#[cfg(test)]\nmod tests;"),
        ["a", "b", "tests"]
    );
    let children = ["point".to_owned(), "sync_point".to_owned()];
    let found = reexports("pub(crate) use sync_point::point;\nuse os::x;", &children);
    assert_eq!(found, [("point".to_owned(), "sync_point".to_owned())]);
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
