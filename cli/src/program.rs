//! PROGRAM as the user gave it: found, named, told from others, and what its environment holds.

use crate::complaint::Complaint;
use pytstate_protocol::PRELOAD_NAME;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Absolute path of the file.
    pub(crate) path: PathBuf,
    /// What follows it on the command line.
    pub(crate) args: Vec<OsString>,
    /// The part of the environment that changes schedules.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What tells one build of a program from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Size of the file in bytes.
    pub(crate) size: u64,
    /// FNV-1a over the file.
    pub(crate) hash: String,
}

impl Program {
    /// Finds the program as a shell would.
    pub(crate) fn find(words: &[OsString]) -> Result<Self, Complaint> {
        let Some((name, args)) = words.split_first() else {
            return Err(Complaint::usage("PROGRAM is missing: write it after --"));
        };
        let path = locate(name)?;
        Ok(Self { path, args: args.to_vec(), environment: environment() })
    }

    /// The last part of its path.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Size and hash of its file.
    pub(crate) fn identity(&self) -> Result<Identity, Complaint> {
        let bytes = fs::read(&self.path).map_err(|error| {
            Complaint::usage(format!("cannot read '{}': {error}", self.path.display()))
        })?;
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        Ok(Identity { size: bytes.len() as u64, hash: format!("{hash:016x}") })
    }
}

/// The file that a name stands for; a complaint if it is none that can be run.
fn locate(name: &OsStr) -> Result<PathBuf, Complaint> {
    let shown = name.to_string_lossy();
    let cannot = |why: &str| Complaint::usage(format!("cannot run '{shown}': {why}"));
    if name.is_empty() {
        return Err(cannot("the name is empty"));
    }
    let runnable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.as_bytes().contains(&b'/') {
        let path = fs::canonicalize(name).map_err(|error| cannot(&plain(&error)))?;
        return match runnable(&path) {
            true => Ok(path),
            false if path.is_dir() => Err(cannot("it is a directory")),
            false => Err(cannot("it is not executable")),
        };
    }
    let dirs = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&dirs)
        .map(|dir| dir.join(name))
        .find(|path| runnable(path))
        .map(|path| std::path::absolute(&path).unwrap_or(path))
        .ok_or_else(|| cannot("no such program on PATH"))
}

/// The text of an error without its number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => String::from(words),
        None => text,
    }
}

/// Variables of these families change what a program does at its start, hence its schedules.
const FAMILIES: [&str; 6] =
    ["PYTHON", "PYTSTATE_", "MALLOC_", "GLIBC_TUNABLES", "OMP_", "LD_BIND_NOW"];
/// These belong to the exploration itself.
const OURS: [&str; 4] =
    ["PYTSTATE_CONTROL", "PYTSTATE_SCHEDULE", "PYTSTATE_CONTROL_LIB", "PYTSTATE_TRACE"];

/// The variables that a schedule file keeps.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| FAMILIES.iter().any(|family| name.starts_with(family)))
        .filter(|(name, _)| !OURS.contains(&name.as_str()))
        .collect()
}

/// Whether a variable of the surroundings is one that a replay takes from the file only.
pub(crate) fn is_kept(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    FAMILIES.iter().any(|family| name.starts_with(family)) || OURS.contains(&&*name)
}

/// The preload library: where PYTSTATE_CONTROL_LIB says, beside the command, or in the library
/// folder of the same prefix.
pub(crate) fn preload_library() -> Result<PathBuf, Complaint> {
    let mut places = Vec::new();
    if let Some(path) = std::env::var_os("PYTSTATE_CONTROL_LIB") {
        places.push(PathBuf::from(path));
    } else {
        let command = std::env::current_exe().unwrap_or_default();
        let dir = command.parent().map(Path::to_path_buf).unwrap_or_default();
        places.push(dir.join(PRELOAD_NAME));
        for near in ["../lib", "../lib64"] {
            places.push(dir.join(near).join(PRELOAD_NAME));
        }
        // lib/x86_64-linux-gnu and its like.
        let below = fs::read_dir(dir.join("../lib")).into_iter().flatten().flatten();
        places.extend(below.map(|entry| entry.path().join(PRELOAD_NAME)));
    }
    let found = places.iter().find(|path| path.is_file());
    found.and_then(|path| fs::canonicalize(path).ok()).ok_or_else(|| {
        let dir = places.first().and_then(|path| path.parent()).unwrap_or(Path::new("."));
        Complaint::usage(format!(
            "the preload library {PRELOAD_NAME} was not found, neither in {} nor in the library \
             folder beside it; PYTSTATE_CONTROL_LIB=FILE names it",
            dir.display()
        ))
    })
}

/// A path or an argument as JSON text; bytes that are no UTF-8 cannot be kept.
pub(crate) fn as_text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// The reverse.
pub(crate) fn from_text(text: &str) -> OsString {
    OsString::from_vec(text.as_bytes().to_vec())
}
