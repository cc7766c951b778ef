//! What the repository checks share: finding and reading the tree's files.
#![allow(dead_code, reason = "each check uses its own part of this")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files below `folder` with one of these endings, relative to the root.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(folder), endings, &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, endings, found);
        } else if endings.contains(&ending.as_str()) {
            found.push(path.strip_prefix(root()).expect("below the root").to_owned());
        }
    }
}

/// The shared library to look into: `PYTSTATE_LIB`, or what cargo just built.
pub(crate) fn shared_library() -> PathBuf {
    if let Some(path) = env::var_os("PYTSTATE_LIB") {
        return root().join(path);
    }
    // target/PROFILE/deps/this-test
    let test = env::current_exe().expect("a test has a path");
    let deps = test.parent().expect("a test lies in a folder");
    let profile = deps.parent().expect("deps lies in a folder");
    [deps, profile]
        .map(|folder| folder.join("libpytstate.so"))
        .into_iter()
        .find(|path| path.exists())
        .expect("cargo builds the shared library with the tests")
}

/// A folder of that name where the loader finds the library under its SONAME.
pub(crate) fn library_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a scratch folder");
    for name in ["libpytstate.so", "libpytstate.so.0"] {
        fs::copy(shared_library(), folder.join(name)).expect("a copy of the library");
    }
    folder
}

/// Runs a program: its output, or a panic with what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The C compiler: what `CC` names (with options, if it has any), or `cc`.
pub(crate) fn cc() -> Command {
    command_of("CC", "cc")
}

/// The C++ compiler: what `CXX` names, or `c++`; none where it cannot be started.
pub(crate) fn cxx() -> Option<Command> {
    let works = command_of("CXX", "c++").arg("--version").output();
    works.is_ok_and(|output| output.status.success()).then(|| command_of("CXX", "c++"))
}

fn command_of(variable: &str, otherwise: &str) -> Command {
    let named = env::var(variable).unwrap_or_default();
    let mut words = named.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(otherwise));
    command.args(words);
    command
}

/// Whether this program can be started here.
pub(crate) fn present(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// C text without comments.
pub(crate) fn without_c_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}
