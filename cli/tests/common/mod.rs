//! What the tests of the command share: the command, the preload library, C programs, folders of their own.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the checkout")
}

/// The preload library, built if it has to be.
fn preload() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo)
            .args(["build", "--quiet", "--profile", "tool", "-p", "pytstate-control"])
            .current_dir(root())
            .status();
        assert!(build.expect("cargo runs").success(), "the preload library cannot be built");
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        target.join("tool/libpytstate_control.so")
    })
}

/// A C program of `programs/`, compiled once.
pub(crate) fn program(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/programs/{name}.c"));
    let (out, beside) =
        (folder.join(name), folder.join(format!("{name}.{}.{number}", std::process::id())));
    let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(cc)
        .args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread"])
        .arg(&source)
        .arg("-o")
        .arg(&beside)
        .status();
    assert!(status.expect("a C compiler runs").success(), "{} does not compile", source.display());
    // In one piece, for tests run side by side.
    std::fs::rename(&beside, &out).expect("the program is moved");
    out
}

/// The command with these arguments, in this folder.
pub(crate) fn command<S: AsRef<OsStr>>(args: &[S], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pytstate"));
    command.args(args).current_dir(folder).env("PYTSTATE_CONTROL_LIB", preload());
    command
}

/// What it did.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The last line of standard output.
    pub(crate) fn last(&self) -> &str {
        self.out.lines().next_back().unwrap_or_default()
    }

    /// The first line of standard output.
    pub(crate) fn first(&self) -> &str {
        self.out.lines().next().unwrap_or_default()
    }
}

/// Runs the command to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: &[S], folder: &Path) -> Ran {
    let Output { status, stdout, stderr } = command(args, folder).output().expect("it runs");
    Ran {
        status: status.code().expect("the command is not killed"),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}

/// An empty folder that is removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.d", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// The names of the files in it.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("it is there").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How many processes have this word on their command line, the command itself not counted.
pub(crate) fn running_with(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| {
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.contains(&word.as_bytes()) && !words.contains(&b"explore".as_slice())
        })
        .count()
}
