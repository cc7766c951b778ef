//! Each example compiles without a warning, ends with 0 and prints what its
//! head says.

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
