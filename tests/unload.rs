//! A host that loads the library as a plug-in and closes it again: dlclose() leaves the code where it is.

mod common;

use std::path::Path;
use std::process::Command;

use common::{cc, root, run, shared_library};

#[test]
fn a_thread_that_used_the_library_ends_well_after_dlclose() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unload");
    run(cc()
        .args([
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-pthread",
        ])
        .arg(root().join("tests/data/unload.c"))
        .arg("-o")
        .arg(&program)
        .arg("-ldl"));
    let printed = run(Command::new("timeout").arg("60").arg(&program).arg(shared_library()));
    assert_eq!(printed, "finalized 0\nclosed 0\nended\n");
}
