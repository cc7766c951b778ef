//! The committed headers are what the sources say, and compile by themselves.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{present, root, run};

/// What build.rs writes, and where it is committed.
const GENERATED: &[(&str, &str)] = &[
    ("pytstate.h", "include/pytstate.h"),
    ("internal.h", "include/pytstate/internal.h"),
    ("pytstate.sym", "include/pytstate.sym"),
];

const HEADERS: &[&str] = &[
    "pytstate.h",
    "pytstate/internal.h",
    "pytstate/macros.h",
    "pytstate/internal_macros.h",
    "compat/Python.h",
    "compat/internal/pycore_lock.h",
    "compat/internal/pycore_parking_lot.h",
];

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

/// Compiles a file that includes `header` twice.
fn compile_twice(compiler: &str, standard: &str, header: &str) -> Result<(), String> {
    let stem = format!("{compiler}-{standard}-{}", header.replace('/', "-"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(stem);
    fs::write(&file, format!("#include \"{header}\"\n").repeat(2)).expect("a scratch file");
    compile(compiler, standard, &file, header)
}

fn compile(compiler: &str, standard: &str, file: &Path, what: &str) -> Result<(), String> {
    let language = if standard.starts_with("c++") { "c++" } else { "c" };
    let output = Command::new(compiler)
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
    Err(format!("{what} with {compiler} -std={standard}:\n{text}"))
}

fn compile_all(c: &str, cpp: &str) {
    let mut failures = Vec::new();
    let macros = root().join("tests/data/every_macro.c");
    for (compiler, standard) in [(c, "c11"), (c, "c17"), (cpp, "c++11"), (cpp, "c++20")] {
        for header in HEADERS {
            failures.extend(compile_twice(compiler, standard, header).err());
        }
        failures.extend(compile(compiler, standard, &macros, "every macro").err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn each_header_compiles_alone_and_twice_with_gcc() {
    compile_all("gcc", "g++");
}

#[test]
fn each_header_compiles_alone_and_twice_with_clang() {
    if present("clang") && present("clang++") {
        compile_all("clang", "clang++");
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
    run(Command::new("gcc").arg("-I").arg(include).arg(&source).arg("-o").arg(&program));
    let part = |text: &str| text.parse::<u32>().expect("a version is numbers");
    let hex = part(env!("CARGO_PKG_VERSION_MAJOR")) << 24
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 16
        | part(env!("CARGO_PKG_VERSION_PATCH")) << 8;
    let said = run(&mut Command::new(&program));
    assert_eq!(said, format!("{} {hex:x}", env!("CARGO_PKG_VERSION")));
}
