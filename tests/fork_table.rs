//! Every lock of the library stands in the table of docs/locks.md, with the function that resets it in a fork child.

mod common;

use std::collections::BTreeSet;

use common::{files, read};

/// Types that hold threads up, when a static or a field has them by value.
const LOCKS: &[&str] = &[
    "Bucket",
    "Monitor",
    "PyEvent",
    "PyMutex",
    "RankedLock",
    "RankedMutex",
    "ThreadLock",
    "WordLock",
    "_PyOnceFlag",
    "_PyRWMutex",
    "_PyRawMutex",
    "_PyRecursiveMutex",
    "_PySeqLock",
];

/// What these files declare are the locks themselves, and what they are made of.
const MAKERS: &[&str] = &[
    "src/capi/",
    "src/probe/monitor.rs",
    "src/sync/event_rc.rs",
    "src/sync/rank.rs",
    "src/sync/recursive.rs",
    "src/sync/thread_lock.rs",
    "src/sync/word_lock.rs",
];

/// Parts of what the table lists as a whole: the buckets of LOT, and those of the portable futex, which
/// the list of `life/fork/table.rs` resets first.
const PARTS: &[(&str, &str)] = &[("waiters", "sync/lot.rs"), ("TABLE", "os/futex/portable.rs")];

/// A lock: its name and the file that declares it, below src/.
type Lock = (String, String);

/// The text before a file's tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .split("#[cfg(all(test")
        .next()
        .unwrap_or("")
}

/// `name: Type` of a static or a field, if the type is a lock.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim().split("//").next().unwrap_or_default();
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        let rest = rest.strip_prefix('(').and_then(|r| r.split_once(')')).map_or(rest, |(_, r)| r);
        rest.trim_start()
    });
    let line = line.strip_prefix("static ").unwrap_or(line);
    let (name, rest) = line.split_once(": ")?;
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let rest = rest.trim_start_matches('[');
    let of = rest.split(|c: char| !plain(c)).next()?;
    let after = rest[of.len()..].chars().next();
    let by_value = matches!(after, Some(',' | ' ' | ';' | '<'));
    (by_value && LOCKS.contains(&of)).then_some(name)
}

fn locks_of_the_sources() -> BTreeSet<Lock> {
    let mut found = BTreeSet::new();
    for path in files("src", &["rs"]) {
        let name = path.display().to_string();
        if MAKERS.iter().any(|maker| name.starts_with(maker)) || name.contains("tests") {
            continue;
        }
        let text = read(&path);
        for line in without_tests(&text).lines() {
            let is_part =
                |lock: &str| PARTS.iter().any(|(part, file)| *part == lock && name.ends_with(file));
            if let Some(lock) = declared(line).filter(|lock| !is_part(lock)) {
                found.insert((lock.to_owned(), name.trim_start_matches("src/").to_owned()));
            }
        }
    }
    found
}

/// The text between the backticks of a cell, one after the other.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Rows of the table: the lock, and the function and file that reset it; `None` for one that stays.
fn table() -> Vec<(Lock, Option<(String, String)>)> {
    let text = read("docs/locks.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("| lock | declared in"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let lock = (quoted(cells[0])[0].to_owned(), quoted(cells[1])[0].to_owned());
        let reset = quoted(cells[5]);
        let stays = cells[5].trim().starts_with("stays: ");
        (lock, (!stays).then(|| (reset[0].to_owned(), reset[1].to_owned())))
    })
    .collect()
}

/// The text of a function, up to the brace in the first column or the end of the file.
fn function<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {name}("))?;
    let text = &text[at..];
    Some(&text[..text.find("\n}").unwrap_or(text.len())])
}

#[test]
fn every_lock_is_in_the_table_and_every_row_is_a_lock() {
    let sources = locks_of_the_sources();
    let table: BTreeSet<Lock> = table().into_iter().map(|(lock, ..)| lock).collect();
    assert!(table.len() > 5, "the table of docs/locks.md was not found: {table:?}");
    let missing: Vec<_> = sources.difference(&table).collect();
    let stale: Vec<_> = table.difference(&sources).collect();
    assert!(missing.is_empty(), "locks that docs/locks.md does not list: {missing:?}");
    assert!(stale.is_empty(), "rows of docs/locks.md without a lock: {stale:?}");
}

/// Of the locks in objects. Those of the list in `life/fork/table.rs` are taken and reset by its own test.
#[test]
fn the_function_that_a_row_names_resets_the_lock() {
    let mut in_objects = 0;
    for ((lock, _), reset) in table() {
        let Some((name, file)) = reset else { continue };
        if file == "life/fork/table.rs" {
            continue;
        }
        let text = read(format!("src/{file}"));
        let body = function(without_tests(&text), &name)
            .unwrap_or_else(|| panic!("`{lock}`: there is no {name}() in {file}"));
        let call = format!(".{lock}.reset");
        assert!(body.contains(&call), "{name}() in {file} does not call `{call}`");
        in_objects += 1;
    }
    assert!(in_objects >= 3, "the rows of locks in objects were not found");
}

#[test]
fn a_lock_that_is_missing_would_be_found() {
    for line in [
        "static GATE: PyMutex = PyMutex::new();",
        "    pub(crate) head: RankedMutex<HeadRank, Head>,",
        "    lock: WordLock,",
        "pub(super) static FILES: [Monitor<File>; 4] =",
    ] {
        assert!(declared(line).is_some(), "{line}");
    }
    for line in [
        "    mutex: *mut PyMutex,",
        "    pub(crate) mutex: &PyMutex,",
        "    mutex: PyMutex::new(),",
        "    let mutex: PyMutex = PyMutex::new();",
        "    // lock: WordLock,",
    ] {
        assert!(declared(line).is_none(), "{line}");
    }
}
