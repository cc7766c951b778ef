//! Every export says what a caller has to know, in the order of the house:
//! effect, `@param`, `@return`, Errors, Blocks, Threads, Source, `# Safety`.

mod common;

use common::{files, read};

/// An exported function as its source has it.
struct Export {
    place: String,
    name: String,
    doc: Vec<String>,
    signature: String,
}

fn exports() -> Vec<Export> {
    let mut found = Vec::new();
    for path in files("src/capi", &["rs"]) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (i, line) in lines.iter().enumerate() {
            let variable = lines.get(i + 1).is_some_and(|next| next.starts_with("pub static "));
            if !line.starts_with("#[unsafe(no_mangle)]") || variable {
                continue;
            }
            let above = lines[..i].iter().rev().skip_while(|l| l.starts_with("#["));
            let doc = above.take_while(|l| l.starts_with("///"));
            let mut doc: Vec<String> = doc.map(|l| l[3..].trim().to_owned()).collect();
            doc.reverse();
            let rest = lines[i + 1..].join(" ");
            let signature = rest.split(" {").next().unwrap_or_default().to_owned();
            let Some((_, after)) = signature.split_once("extern \"C\" fn ") else {
                continue; // a variable
            };
            let name = after.split('(').next().unwrap_or_default().to_owned();
            found.push(Export {
                place: format!("{}:{}: {name}", path.display(), i + 2),
                name,
                doc,
                signature,
            });
        }
    }
    found
}

/// The names of the parameters (what stands before a colon at depth 0), and
/// what follows their closing parenthesis.
fn parameters(signature: &str) -> (Vec<String>, &str) {
    let Some((_, rest)) = signature.split_once(" fn ").and_then(|(_, r)| r.split_once('(')) else {
        return (Vec::new(), "");
    };
    let (mut depth, mut current, mut names, mut after) = (0, String::new(), Vec::new(), "");
    for (i, c) in rest.char_indices() {
        match c {
            '(' | '<' | '[' => depth += 1,
            ')' if depth == 0 => {
                after = &rest[i + 1..];
                break;
            }
            // The arrow of a function type is no bracket.
            '>' if current.ends_with('-') => {}
            ')' | '>' | ']' => depth -= 1,
            ',' if depth == 0 => {
                names.extend(name_of(&current));
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    names.extend(name_of(&current));
    (names, after)
}

fn name_of(parameter: &str) -> Option<String> {
    let name = parameter.split(':').next()?.trim();
    let name = name.trim_start_matches("mut ").trim_start_matches("r#");
    (!name.is_empty()).then(|| name.to_owned())
}

/// What is missing or out of order in one export's documentation.
fn faults(export: &Export) -> Vec<String> {
    let (names, after) = parameters(&export.signature);
    let mut wanted: Vec<String> = names.iter().map(|p| format!("@param {p} ")).collect();
    if after.trim().strip_prefix("-> ").is_some_and(|result| result.trim() != "!") {
        wanted.push("@return".to_owned());
    }
    wanted.extend(["Errors:", "Blocks:", "Threads:", "Source:"].map(str::to_owned));
    if export.signature.contains("unsafe extern") {
        wanted.push("# Safety".to_owned());
    }
    let mut from = 1;
    let mut faults = Vec::new();
    if export.doc.first().is_none_or(|first| first.is_empty() || first.starts_with('@')) {
        faults.push("does not begin with its effect".to_owned());
    }
    for key in wanted {
        let at =
            (from..export.doc.len()).find(|&i| format!("{} ", export.doc[i]).starts_with(&key));
        match at {
            Some(i) => from = i + 1,
            None => faults.push(format!("no \"{}\" in its place", key.trim())),
        }
    }
    faults
}

#[test]
fn every_export_documents_what_a_caller_must_know() {
    let mut all = Vec::new();
    for export in exports() {
        let found = faults(&export);
        if !found.is_empty() {
            all.push(format!("{}: {}", export.place, found.join("; ")));
        }
    }
    assert!(all.is_empty(), "{} exports:\n{}", all.len(), all.join("\n"));
}

#[test]
fn the_rule_sees_the_exports_that_are_committed() {
    let committed = read("include/pytstate.sym");
    let missing: Vec<String> = (exports().into_iter())
        .map(|export| export.name)
        .filter(|name| !committed.lines().any(|line| line == name))
        .collect();
    assert!(missing.is_empty(), "documented here but not exported: {missing:?}");
    assert!(!exports().is_empty());
}
