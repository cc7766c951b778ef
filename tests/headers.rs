//! The committed headers are what the sources say, and compile by themselves.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{cc, cxx, files, present, root, run};

/// What build.rs writes, and where it is committed.
const GENERATED: &[(&str, &str)] = &[
    ("pytstate.h", "include/pytstate.h"),
    ("internal.h", "include/pytstate/internal.h"),
    ("pytstate.sym", "include/pytstate.sym"),
];

/// Every header below include/, generated or not.
fn headers() -> Vec<String> {
    let below = |path: std::path::PathBuf| {
        path.strip_prefix("include").expect("below include").display().to_string()
    };
    files("include", &["h"]).into_iter().map(below).collect()
}

/// With `PYTSTATE_BLESS` in the environment (`make header`), copies instead.
#[test]
fn committed_headers_are_what_the_sources_say() {
    for (made, committed) in GENERATED {
        let fresh = fs::read_to_string(Path::new(env!("OUT_DIR")).join(made))
            .unwrap_or_else(|e| panic!("build.rs did not write {made}: {e}"));
        let committed = root().join(committed);
        if fs::read_to_string(&committed).is_ok_and(|old| old == fresh) {
            continue;
        }
        let bless = std::env::var_os("PYTSTATE_BLESS").is_some();
        assert!(bless, "{} is stale: run `make header`", committed.display());
        fs::write(&committed, fresh).expect("the header can be written");
    }
}

#[test]
fn headers_are_as_wide_as_a_terminal_and_say_nothing_of_rust() {
    for header in headers() {
        let text = common::read(format!("include/{header}"));
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{header} has lines of more than 80 columns: {wide:#?}");
        for word in ["# Safety", "[`", "`]", "Rust"] {
            assert!(!text.contains(word), "{header} has \"{word}\"");
        }
    }
}

/// Compiles a file that includes `header` twice.
fn compile_twice(
    family: &str,
    compiler: Command,
    standard: &str,
    header: &str,
) -> Result<(), String> {
    let stem = format!("{family}-{standard}-{}", header.replace('/', "-"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(stem);
    // A file of C has one declaration at least.
    let text = format!("#include \"{header}\"\n").repeat(2) + "extern int one_declaration;\n";
    fs::write(&file, text).expect("a scratch file");
    compile(compiler, standard, &file, header)
}

fn compile(mut compiler: Command, standard: &str, file: &Path, what: &str) -> Result<(), String> {
    let language = if standard.starts_with("c++") { "c++" } else { "c" };
    let output = compiler
        .args(["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg(format!("-std={standard}"))
        .arg("-I")
        .arg(root().join("include"))
        .arg("-I")
        .arg(root().join("include/compat"))
        .args(["-x", language])
        .arg(file)
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what} with {compiler:?}:\n{text}"))
}

/// `family` names the compilers; `cpp` gives none where there is no C++ compiler.
fn compile_all(family: &str, c: fn() -> Command, cpp: fn() -> Option<Command>) {
    let mut failures = Vec::new();
    let macros = root().join("tests/data/every_macro.c");
    // C99 has no atomics: the calls go to the library then.
    let standards = ["c99", "c11", "c17", "c2x", "c++11", "c++17", "c++20", "c++2b"];
    for standard in standards {
        let compiler = || if standard.starts_with("c++") { cpp() } else { Some(c()) };
        if compiler().is_none() {
            eprintln!("SKIP {standard}: there is no C++ compiler");
            continue;
        }
        let compiler = || compiler().expect("asked above");
        // Those that stand in for CPython's only include the others.
        let few = ["c99", "c11", "c++11"].contains(&standard);
        for header in headers().iter().filter(|header| few || !header.starts_with("compat/")) {
            failures.extend(compile_twice(family, compiler(), standard, header).err());
        }
        failures.extend(compile(compiler(), standard, &macros, "every macro").err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn each_header_compiles_alone_and_twice() {
    compile_all("cc", cc, cxx);
}

#[test]
fn each_header_compiles_alone_and_twice_with_clang() {
    if present("clang") && present("clang++") {
        compile_all("clang", || Command::new("clang"), || Some(Command::new("clang++")));
    } else {
        eprintln!("SKIP clang is not installed");
    }
}

#[test]
fn the_header_states_the_version_of_the_crate() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("version");
    let source = program.with_extension("c");
    fs::write(
        &source,
        "#include \"pytstate.h\"\n#include <stdio.h>\n\
         int main(void) { printf(\"%s %x\", PYTSTATE_VERSION, PYTSTATE_VERSION_HEX); }\n",
    )
    .expect("a scratch file");
    let include = root().join("include");
    run(cc().arg("-I").arg(include).arg(&source).arg("-o").arg(&program));
    let part = |text: &str| text.parse::<u32>().expect("a version is numbers");
    let hex = part(env!("CARGO_PKG_VERSION_MAJOR")) << 24
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 16
        | part(env!("CARGO_PKG_VERSION_PATCH")) << 8;
    let said = run(&mut Command::new(&program));
    assert_eq!(said, format!("{} {hex:x}", env!("CARGO_PKG_VERSION")));
}
