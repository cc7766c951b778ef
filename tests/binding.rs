//! A process may have another library with our names in it: a libpython, or a second copy of this one. What our
//! own code calls is ours all the same.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{cc, library_folder, read, run, shared_library};

/// A host that loads the other library first, for all to see, and ours for itself.
const HOST: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *ours;
static void call(const char *name) {
    void (*function)(void) = (void (*)(void))dlsym(ours, name);
    if (function == NULL) _exit(3);
    function();
}
int main(int argc, char **argv) {
    if (argc < 4) return 2;
    if (dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL) { puts(dlerror()); return 2; }
    ours = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    if (ours == NULL) { puts(dlerror()); return 2; }
    call("Py_Initialize");
    if (strcmp(argv[3], "fatal") == 0)
        ((void (*)(const char *))dlsym(ours, "Py_FatalError"))("our own end");
    call("PyOS_BeforeFork");
    pid_t pid = fork();
    call(pid == 0 ? "PyOS_AfterFork" : "PyOS_AfterFork_Parent");
    call("Py_Finalize");
    if (pid == 0) _exit(0);
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0) return 4;
    puts("done");
    return 0;
}
"#;

/// What readelf says of the names that the dynamic linker looks up for our own code.
fn relocations() -> String {
    run(Command::new("readelf").args(["-rW"]).arg(shared_library()))
}

#[test]
fn the_dynamic_linker_looks_up_no_function_of_ours_for_us() {
    let exports = read("include/pytstate.sym");
    let found = relocations();
    let mut looked_up = Vec::new();
    for line in found.lines().filter(|line| line.contains("R_")) {
        let name = line.split_whitespace().nth(4).unwrap_or_default();
        if exports.lines().any(|export| export == name) {
            looked_up.push(name);
        }
    }
    assert!(looked_up.is_empty(), "another library's would be found first: {looked_up:?}");
    assert!(found.contains("R_"), "no relocations were read:\n{found}");
}

#[test]
fn with_a_library_of_the_same_names_before_us_ours_are_called() {
    let folder = library_folder("binding");
    let mut theirs = String::from("#include <stdio.h>\n#include <stdlib.h>\n");
    for name in read("include/pytstate.sym").lines().filter(|name| !name.starts_with("PyExc_")) {
        theirs +=
            &format!("void {name}(void) {{ fputs(\"theirs: {name}\\n\", stderr); exit(9); }}\n");
    }
    fs::write(folder.join("theirs.c"), theirs).expect("a scratch file");
    fs::write(folder.join("host.c"), HOST).expect("a scratch file");
    let compile = |args: &[&str]| run(cc().args(args).current_dir(&folder));
    compile(&["-w", "-shared", "-fPIC", "theirs.c", "-o", "theirs.so"]);
    compile(&["-D_GNU_SOURCE", "host.c", "-o", "host", "-ldl"]);
    let host = |part: &str| {
        let mut command = Command::new(folder.join("host"));
        command.current_dir(Path::new(&folder));
        command.args(["./theirs.so", "./libpytstate.so.0", part]);
        let output = command.output().expect("the host starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    };
    let (status, text) = host("fork");
    assert!(status.success() && text == "done\n", "{status}: {text}");
    let (_, text) = host("fatal");
    assert!(text.contains("Fatal Python error: ") && text.contains("our own end"), "{text}");
    assert!(!text.contains("theirs"), "{text}");
}
