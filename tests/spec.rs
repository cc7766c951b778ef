//! What the sources cite of docs/spec exists there: statements (S-TS-03) in
//! `semantics.md`, sections ("extension API 3") in `extension-api.md`. And the
//! labels of invariants (LIST-1) that the sources cite are each defined once, in
//! the doc comment of a module or an item.

mod common;

use common::{files, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const STATEMENTS: &str = "docs/spec/semantics.md";
const SECTIONS: &str = "docs/spec/extension-api.md";

/// Every text of the repository that may cite, the specification excepted.
fn citing() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "c_tests", "include", "tests", "examples", "benches", "docs"] {
        found.extend(files(folder, &["rs", "c", "h", "cpp", "hpp", "md"]));
    }
    found.retain(|path| !path.ends_with("semantics.md") && !path.ends_with("tests/spec.rs"));
    found
}

/// The numbers of statements in a text: S-TS-03 and, for "S-TS-03, 04" or
/// "S-TS-03/04", only the first, since what follows may be any number.
fn statements(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("S-") {
        let inside_a_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        let rest = &text[at + 2..];
        let group: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        let Some(number) = rest[group.len()..].strip_prefix('-') else { continue };
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let is_group = (2..=3).contains(&group.len())
            && group.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if !inside_a_word && is_group && digits.len() == 2 {
            found.insert(format!("S-{group}-{digits}"));
        }
    }
    found
}

/// The section numbers after "extension API" in a text: 3, 5.1, and every
/// number of "extension API 4 and 6" or "extension API 2, 5".
fn sections(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("extension API").skip(1) {
        let list: String = rest
            .replace(" and ", " ")
            .chars()
            .take_while(|c| c.is_ascii_digit() || " ,.\n/*".contains(*c))
            .collect();
        for number in list.split([' ', ',', '\n', '/', '*']) {
            let number = number.trim_end_matches('.');
            if number.starts_with(|c: char| c.is_ascii_digit()) {
                found.insert(number.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_cited_statement_stands_in_the_specification() {
    let text = read(STATEMENTS);
    let defined: BTreeSet<String> = (text.lines())
        .filter_map(|line| line.trim_start().strip_prefix("- "))
        .filter_map(|line| statements(line.split(' ').next()?).into_iter().next())
        .collect();
    assert!(defined.len() > 400, "{} statements only", defined.len());
    let mut cited = 0;
    let mut dangling = Vec::new();
    for path in citing() {
        for number in statements(&read(&path)) {
            cited += 1;
            if !defined.contains(&number) {
                dangling.push(format!("{}: {number}", path.display()));
            }
        }
    }
    assert!(cited > 200, "{cited} citations only");
    assert!(dangling.is_empty(), "not in {STATEMENTS}:\n{}", dangling.join("\n"));
}

#[test]
fn every_cited_section_of_our_own_api_exists() {
    let text = read(SECTIONS);
    let mut defined = BTreeSet::new();
    for line in text.lines() {
        let heading = line.trim_start_matches("**").trim_start_matches('#').trim_start();
        let number: String =
            heading.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        if line.starts_with("## ") || line.contains("**") || number.contains('.') {
            defined.insert(number.trim_end_matches('.').to_owned());
        }
    }
    let mut dangling = Vec::new();
    for path in citing() {
        for number in sections(&read(&path)) {
            if !defined.contains(&number) {
                dangling.push(format!("{}: extension API {number}", path.display()));
            }
        }
    }
    assert!(dangling.is_empty(), "not in {SECTIONS}:\n{}", dangling.join("\n"));
}

/// The comment that a line of source has, without its slashes.
fn comment(line: &str) -> Option<&str> {
    line.split_once("//").map(|(_, comment)| comment)
}

/// The labels of invariants in a comment: LIST-1, RAW_MUTEX-2; not S-TS-03.
fn labels(comment: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |one: &&str| {
        let Some((name, number)) = one.split_once('-') else { return false };
        name.len() > 1
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && *one != "UTF-8"
    };
    comment.split(|c: char| !word(c)).filter(label).collect()
}

/// The label that a line defines: a doc comment, perhaps an item of a list,
/// that begins with the label and a colon.
fn defined_label(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?.trim_start();
    let (label, _) = text.strip_prefix("- ").unwrap_or(text).split_once(':')?;
    (labels(label) == [label]).then_some(label)
}

#[test]
fn every_cited_label_of_an_invariant_is_defined_once() {
    let mut defined = BTreeMap::<String, Vec<String>>::new();
    let mut cited = Vec::new();
    for path in files("src", &["rs"]) {
        for (at, line) in read(&path).lines().enumerate() {
            let place = format!("{}:{}", path.display(), at + 1);
            if let Some(label) = defined_label(line) {
                defined.entry(label.to_owned()).or_default().push(place.clone());
            }
            for label in labels(comment(line).unwrap_or_default()) {
                cited.push((label.to_owned(), place.clone()));
            }
        }
    }
    assert!(defined.len() > 60, "{} labels only", defined.len());
    let twice: Vec<_> = defined.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "defined more than once: {twice:?}");
    let dangling: Vec<_> = cited.iter().filter(|(label, _)| !defined.contains_key(label)).collect();
    assert!(dangling.is_empty(), "defined nowhere in src/: {dangling:?}");
}

/// A capital and a number is no label: two modules may use the same one.
#[test]
fn no_invariant_has_a_label_of_one_letter() {
    let short = |word: &str| {
        let mut bytes = word.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_uppercase())
            && word.len() == 2
            && bytes.all(|byte| byte.is_ascii_digit())
    };
    let mut found = Vec::new();
    for path in files("src", &["rs"]) {
        for (at, line) in read(&path).lines().enumerate() {
            let Some(text) = comment(line) else { continue };
            // "//! L2: ..." at the head of a module of a layer is the layer.
            let layer = at == 0 && text.starts_with("! L");
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
            if !layer && words.into_iter().any(short) {
                found.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    assert!(found.is_empty(), "labels of one letter: {found:?}");
}

#[test]
fn labels_are_told_from_other_words() {
    let text = "LIST-1, (RAW_MUTEX-2); not S-TS-03, UTF-8, gh-139759, X-1, LIST-, A_B or C11";
    assert_eq!(labels(text), ["LIST-1", "RAW_MUTEX-2"]);
    assert_eq!(defined_label("    //! - LIST-1: a member"), Some("LIST-1"));
    assert_eq!(defined_label("/// TEXT-1: a cut"), Some("TEXT-1"));
    assert_eq!(defined_label("// SAFETY: LIST-1: a member"), None);
    assert_eq!(defined_label("//! LIST-1 and LIST-2: both"), None);
}

#[test]
fn the_rules_see_what_they_must() {
    let seen = statements("S-TS-03, (S-G8-24); not IS-TS-03, S-T-03, S-ABCD-03 or S-TS-3");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["S-G8-24", "S-TS-03"]);
    let seen = sections("extension API 4 and 6). extension API 5.1, S-DT. Zero extension API");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["4", "5.1", "6"]);
}
