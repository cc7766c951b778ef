//! What the promised Rust (`rust-version` in Cargo.toml) does not know is in no
//! source. `.ci/oldest` compiles with it where it can be had; this runs always.

mod common;

use common::{files, read};

/// The first version with let chains.
const LET_CHAINS: (u32, u32) = (1, 88);

/// Rust without comments and without what is in strings.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|&c| c != '\n').is_some() {},
            '"' => {
                out.push('"');
                while let Some(inside) = chars.next() {
                    match inside {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        '\n' => out.push('\n'),
                        _ => {}
                    }
                }
                out.push('"');
            }
            // A quoted character, not a lifetime.
            '\'' => {
                let rest: String = chars.clone().take(3).collect();
                let rest: Vec<char> = rest.chars().collect();
                if rest.first() == Some(&'\\') {
                    chars.nth(1);
                    while chars.next_if(|&c| c != '\'').is_some() {}
                    chars.next();
                } else if rest.get(1) == Some(&'\'') {
                    chars.nth(1);
                }
            }
            _ => out.push(c),
        }
    }
    out
}

/// The condition that begins `text`, without what is in brackets: all up to the block that it decides on.
fn condition(text: &str) -> String {
    let (mut top, mut depth) = (String::new(), 0_u32);
    for c in text.chars() {
        match c {
            '{' if depth == 0 => {
                let before = top.trim_end();
                if !before.ends_with("unsafe") && !is_match(before) {
                    break;
                }
                depth += 1;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => break,
            },
            ';' if depth == 0 => break,
            _ if depth == 0 => top.push(c),
            _ => {}
        }
    }
    top
}

/// Whether a `match` of this condition waits for its arms.
fn is_match(top: &str) -> bool {
    top.split_whitespace().filter(|word| *word == "match").count() > 0
}

/// Lines on which a condition has a `let` and an `&&` beside it.
fn let_chains(text: &str) -> Vec<usize> {
    let text = code(text);
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut found = Vec::new();
    for keyword in ["if", "while"] {
        for (at, _) in text.match_indices(keyword) {
            let after = &text[at + keyword.len()..];
            if word(text[..at].chars().next_back()) || word(after.chars().next()) {
                continue;
            }
            let condition = condition(after);
            let condition = condition.split("=>").next().unwrap_or_default();
            if condition.split_whitespace().any(|word| word == "let") && condition.contains("&&") {
                found.push(text[..at].matches('\n').count() + 1);
            }
        }
    }
    found.sort_unstable();
    found
}

/// `rust-version` of Cargo.toml.
fn promised() -> (u32, u32) {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \""));
    let version = line.expect("a version is promised").trim_end_matches('"');
    let (major, minor) = version.split_once('.').expect("a version has two parts");
    (major.parse().expect("a number"), minor.parse().expect("a number"))
}

#[test]
fn no_source_has_a_let_chain_while_the_promised_rust_knows_none() {
    assert!(promised() < LET_CHAINS, "drop this test");
    let mut chains = Vec::new();
    for folder in ["src", "tests", "benches", "cli"] {
        for path in files(folder, &["rs"]) {
            for line in let_chains(&read(&path)) {
                chains.push(format!("{}:{line}", path.display()));
            }
        }
    }
    for path in ["build.rs", "build_headers.rs"] {
        chains.extend(let_chains(&read(path)).iter().map(|line| format!("{path}:{line}")));
    }
    assert!(chains.is_empty(), "let chains:\n{}", chains.join("\n"));
}

#[test]
fn the_rule_for_let_chains_sees_what_it_must() {
    let chains = [
        "if let Some(a) = b && c {}",
        "if a\n && let Some(b) = c {}",
        "while let Some(a) = b() && a > 1 {}",
        "if let Some(a) = unsafe { b(c) }\n && a.d() {}",
        "} else if a == '{' && let Some(b) = c {}",
    ];
    for text in chains {
        assert_eq!(let_chains(text), [1], "{text}");
    }
    let none = [
        "if a && b {}",
        "if let Some(a) = b.filter(|c| d && e) {}",
        "if let Some(a) = b { if c && d {} }",
        "let a = if b { c } else { d && e };",
        "// if let a = b && c {}",
        "x(\"if let a = b && c {}\");",
        "match a { b if c => { let d = e && f; } }",
    ];
    for text in none {
        assert_eq!(let_chains(text), [], "{text}");
    }
}
