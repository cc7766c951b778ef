//! The model of the end (model/life.pml) and the sources name the same
//! invariants: each label of the model stands in a comment of `src/`, and each
//! LIFE label of `src/` is checked by the model.

mod common;

use std::collections::BTreeSet;

use common::{files, read};

/// The labels in `text` that the model may have: LIFE-1, HANDLE-2.
fn labels(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.split(|c: char| !word(c))
        .filter(|one| {
            let name = one.trim_end_matches(|c: char| c.is_ascii_digit());
            let letters = name.trim_end_matches('-');
            let capitals =
                !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_uppercase());
            capitals && name != *one && ["LIFE-", "HANDLE-"].contains(&name)
        })
        .map(str::to_owned)
        .collect()
}

/// The model's labels: each assertion has one, in a comment on its line.
fn of_model() -> BTreeSet<String> {
    let model = read("model/life.pml");
    let mut found = BTreeSet::new();
    for line in model.lines() {
        let Some((_, comment)) = line.split_once("/*") else { continue };
        if line.contains("assert(") {
            found.extend(labels(comment));
        }
    }
    found
}

fn comments_of_sources() -> String {
    let mut all = String::new();
    for path in files("src", &["rs"]) {
        for line in read(&path).lines() {
            if let Some((_, comment)) = line.split_once("//") {
                all.push_str(comment);
                all.push('\n');
            }
        }
    }
    all
}

#[test]
fn every_label_of_the_model_stands_in_the_sources() {
    let model = of_model();
    assert!(model.len() >= 8, "the model has lost its labels: {model:?}");
    let sources = labels(&comments_of_sources());
    let missing: Vec<_> = model.difference(&sources).collect();
    assert!(missing.is_empty(), "no comment in src/ has these labels of the model: {missing:?}");
}

#[test]
fn every_life_label_of_the_sources_is_checked_by_the_model() {
    let sources = labels(&comments_of_sources());
    let model = of_model();
    let life: Vec<_> =
        sources.iter().filter(|one| one.starts_with("LIFE-") && !model.contains(*one)).collect();
    assert!(life.is_empty(), "no assertion of the model has these labels: {life:?}");
}

#[test]
fn labels_are_told_from_other_words() {
    let text = "LIFE-1, HANDLE-2: S-DT-03 gh-139759 T1.. (C11) AT_1 x1 LIFE- MODE-3";
    let wanted = ["HANDLE-2", "LIFE-1"];
    assert_eq!(labels(text), wanted.iter().map(|one| one.to_string()).collect());
}
