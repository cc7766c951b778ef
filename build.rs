//! Links the library under its C name, builds the C shims of `src/os`, and
//! writes the C headers into `OUT_DIR`. Writes nothing in the tree:
//! `make header` copies what is made here, and a test compares.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "build_contents.rs"]
mod contents;
#[path = "build_doc.rs"]
mod doc;
#[path = "build_headers.rs"]
mod headers;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build_contents.rs");
    println!("cargo::rerun-if-changed=build_doc.rs");
    println!("cargo::rerun-if-changed=build_headers.rs");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    println!("cargo::rerun-if-changed=Cargo.toml");
    println!("cargo::rerun-if-changed=src");

    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libpytstate.so.0");
        // A call from our own code reaches our own function, whatever else in the process has one of that name (a
        // libpython has most of them).
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
        // Threads run its code when they end, long after a dlclose().
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    build_shims();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    name_for_loader(&out);
    match headers::write(&out) {
        Ok(()) => {}
        // A file that does not parse: rustc says it better than we can.
        Err(why) => println!("cargo::warning=no headers: {why}"),
    }
}

/// Lets the loader find the library in cargo's folder under its SONAME, so that
/// programs that are linked to it there also run. A folder that allows no link
/// only lacks that convenience.
#[cfg(unix)]
fn name_for_loader(out: &Path) {
    // target/PROFILE/build/pytstate-HASH/out
    if let Some(profile) = out.ancestors().nth(3) {
        let _ = std::os::unix::fs::symlink("libpytstate.so", profile.join("libpytstate.so.0"));
    }
}

#[cfg(not(unix))]
fn name_for_loader(_out: &Path) {}

/// Every C file of `src/os` (what Rust cannot express) goes into the library.
fn build_shims() {
    let shims: Vec<PathBuf> = files_below(Path::new("src/os"), "c");
    if shims.is_empty() {
        return;
    }
    let mut build = cc::Build::new();
    build.files(&shims).std("c11").warnings(true).extra_warnings(true);
    build.warnings_into_errors(true);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    for name in ["thread", "address"] {
        if flags.contains(&format!("sanitizer={name}")) {
            build.flag(format!("-fsanitize={name}"));
        }
    }
    build.compile("pytstate_shims");
}

/// The files with this ending below `folder`, sorted: the same order on every
/// machine.
fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}
