//! Each example compiles without a warning, ends with 0 and prints what its
//! head says; so does the C in the guides.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{files, library_folder, read, root, run};

/// The lines after `Prints:` in the comment at the head of an example.
fn promised(text: &str) -> String {
    let strip = |line: &str| line.trim_start_matches([' ', '*', '/']).to_owned();
    let lines = text.lines().skip_while(|line| strip(line) != "Prints:").skip(1);
    let head = lines.take_while(|line| {
        (line.starts_with(" *") || line.starts_with("//")) && !strip(line).is_empty()
    });
    head.map(|line| strip(line) + "\n").collect()
}

fn build(example: &Path, library: &Path) -> PathBuf {
    let cpp = example.extension().is_some_and(|e| e == "cpp");
    let (compiler, standard) = if cpp { ("g++", "c++11") } else { ("gcc", "c11") };
    let stem = example.file_stem().expect("an example has a name");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(stem);
    let include = root().join("include");
    // The old kind of path goes before LD_LIBRARY_PATH, where cargo names folders that may
    // hold an older library.
    let mut rpath = std::ffi::OsString::from("-Wl,--disable-new-dtags,-rpath,");
    rpath.push(library);
    run(Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g", "-pthread"])
        .args(["-D_GNU_SOURCE", &format!("-std={standard}")])
        .arg("-I")
        .arg(&include)
        .arg("-I")
        .arg(include.join("compat"))
        .arg(root().join(example))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(library)
        .arg("-lpytstate")
        .arg(rpath));
    program
}

#[test]
fn each_example_prints_what_its_head_says() {
    let library = library_folder("lib");
    let examples = files("examples", &["c", "cpp"]);
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        let promised = promised(&read(&example));
        assert!(!promised.is_empty(), "{}: no `Prints:` in its head", example.display());
        let program = build(&example, &library);
        // A limit: an example that hangs is a failure, not a stuck run.
        let printed = run(Command::new("timeout").arg("60").arg(&program));
        assert_eq!(printed, promised, "{}", example.display());
    }
}

/// Guides whose C is compiled: whole programs are run as well.
const GUIDES: &[&str] = &["README.md", "docs/embedding.md", "docs/shutdown.md", "docs/fork.md"];

/// The fenced blocks of a guide: language, text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, body))) => *body += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

/// What a guide shows without a `main` around it, as a file of its own.
fn as_file(fragment: &str) -> String {
    let headers = "#include <Python.h>\n#include <pytstate/internal.h>\n#include <pthread.h>\n#include <sys/wait.h>\n";
    let is_function = fragment.lines().any(|line| line.starts_with("static "));
    let body = if is_function {
        fragment.to_owned()
    } else {
        format!("void shown(void);\nvoid shown(void) {{\n{fragment}}}\n")
    };
    format!("{headers}{body}")
}

#[test]
fn the_guides_show_c_that_compiles_and_programs_that_do_what_they_say() {
    let library = library_folder("guides");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (mut programs, mut fragments) = (0, 0);
    for guide in GUIDES {
        let blocks = blocks(&read(guide));
        for (i, (language, text)) in blocks.iter().enumerate() {
            if language != "c" {
                continue;
            }
            let stem = format!("{}-{i}", guide.replace(['/', '.'], "-"));
            let source = folder.join(format!("{stem}.c"));
            if text.contains("int main(") {
                programs += 1;
                std::fs::write(&source, text).expect("a scratch file");
                let program = build(&source, &library);
                let printed = run(Command::new("timeout").arg("60").arg(&program));
                if let Some((_, promised)) = blocks.get(i + 1).filter(|next| next.0 == "text") {
                    assert_eq!(&printed, promised, "{guide}, block {i}");
                }
            } else {
                fragments += 1;
                std::fs::write(&source, as_file(text)).expect("a scratch file");
                compile_only(&source);
            }
        }
    }
    assert!(programs >= 4 && fragments >= 4, "{programs} programs, {fragments} fragments");
}

fn compile_only(source: &Path) {
    let include = root().join("include");
    run(Command::new("gcc")
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-function", "-std=c11"])
        .args(["-D_GNU_SOURCE", "-fsyntax-only", "-pthread", "-I"])
        .arg(&include)
        .arg("-I")
        .arg(include.join("compat"))
        .arg(source));
}
