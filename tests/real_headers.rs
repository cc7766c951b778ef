//! Every prototype, macro value, enumerator and struct that our public header
//! shares with a real CPython is the same there.
//!
//! For each CPython whose headers are found, one C and one C++ file are
//! compiled: they include the real `<Python.h>`, declare our prototypes once
//! more (a compiler refuses a declaration of another type), store each function
//! in a pointer of our type, and assert the values and layouts that the same
//! names have with our headers. A name that this CPython does not have yet is
//! left out. `c_tests/peers/prepare` fetches the headers of newer versions.

mod common;

use common::{read, root, without_c_comments};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// One CPython: a name for messages, and how to compile against it.
struct Peer {
    name: String,
    flags: Vec<String>,
}

/// What a version number, and what only we promise about it, may differ in.
const NOT_SHARED: &[&str] = &[
    "PY_MAJOR_VERSION",
    "PY_MINOR_VERSION",
    "PY_MICRO_VERSION",
    "PY_VERSION",
    "PY_VERSION_HEX",
    // A variable there, so that no compiler sees its value.
    "PY_TIMEOUT_MAX",
    // Enumerators inside of a struct there: C++ wants the struct's name.
    "_PyStatus_TYPE_OK",
    "_PyStatus_TYPE_ERROR",
    "_PyStatus_TYPE_EXIT",
];

/// Structs whose layout is ours: a default build of CPython leaves the critical
/// sections incomplete, and its PyConfig has 80 members of which we have two.
const OUR_LAYOUT: &[&str] = &["PyCriticalSection", "PyCriticalSection2", "PyConfig"];

fn peers() -> Vec<Peer> {
    let mut found: Vec<Peer> = Vec::new();
    let mut add = |name: String, flags: Vec<String>| {
        if !found.iter().any(|peer| peer.name == name) {
            found.push(Peer { name, flags });
        }
    };
    for version in ["3.13", "3.14", "3.15"] {
        for root in prepared_roots() {
            let include = root.join("usr/include");
            let folder = include.join(format!("python{version}"));
            if folder.join("Python.h").exists() {
                let flags = ["-I", &folder.display().to_string(), "-idirafter"];
                let mut flags: Vec<String> = flags.map(str::to_owned).into();
                flags.push(include.display().to_string());
                add(version.to_owned(), flags);
            }
        }
    }
    let mut configs = vec![Command::new("python3-config")];
    configs.extend(["3.13", "3.14", "3.15"].map(|v| Command::new(format!("python{v}-config"))));
    let mut pyenv = Command::new("python3-config");
    pyenv.env("PYENV_VERSION", "3.13.0");
    configs.push(pyenv);
    for mut config in configs {
        let Ok(output) = config.arg("--includes").output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some((_, rest)) = text.split_once("/python3.") else { continue };
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if output.status.success() && minor.parse::<u32>().is_ok_and(|minor| minor >= 13) {
            let flags = text.split_whitespace().map(str::to_owned).collect();
            add(format!("3.{minor}"), flags);
        }
    }
    found
}

/// Where `c_tests/peers/prepare` puts a system with newer CPythons.
fn prepared_roots() -> Vec<PathBuf> {
    let named = env::var_os("PYTSTATE_PEER_ROOT").map(PathBuf::from);
    named.into_iter().chain([root().join("build/peers/root")]).collect()
}

/// Our public header without comments, one statement a line.
fn statements() -> Vec<String> {
    let text = without_c_comments(&read("include/pytstate.h"));
    let mut code = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("//")) {
        code.push_str(line.trim());
        code.push(' ');
    }
    code.split(';').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// (name, prototype) of every function of the public header.
fn prototypes() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for statement in statements() {
        let statement = statement.trim_start_matches("_Py_NO_RETURN ").to_owned();
        let no_function = ["typedef ", "extern ", "struct ", "}", "static "];
        if no_function.iter().any(|start| statement.starts_with(start)) || statement.contains('{') {
            continue;
        }
        let Some(open) = statement.find('(') else { continue };
        let head = &statement[..open];
        let start = head.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        found.push((head[start..].to_owned(), statement.clone()));
    }
    found
}

/// (name, value) of every macro of our headers that has a plain value.
fn values() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in ["include/pytstate.h", "include/pytstate/macros.h"] {
        for line in without_c_comments(&read(file)).lines() {
            let Some((name, value)) =
                line.strip_prefix("#define ").and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let value = value.trim();
            let plain = value.starts_with(|c: char| c.is_ascii_digit() || c == '(');
            if !name.contains('(') && plain && !NOT_SHARED.contains(&name) {
                found.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

/// (struct, its members) and all enumerators of the public header.
fn types() -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let text = without_c_comments(&read("include/pytstate.h"));
    let (mut structs, mut enumerators) = (Vec::new(), Vec::new());
    for piece in text.split("typedef ").skip(1) {
        let Some((head, rest)) = piece.split_once('{') else { continue };
        let Some((body, _)) = rest.split_once('}') else { continue };
        if let Some(name) = head.trim().strip_prefix("struct ") {
            let members = body.split(';').filter_map(member).collect();
            structs.push((name.to_owned(), members));
        } else if head.trim().starts_with("enum") {
            let names = body
                .split(',')
                .map(|entry| entry.split('=').next().unwrap_or_default().trim().to_owned());
            enumerators.extend(names.filter(|name| !name.is_empty()));
        }
    }
    (structs, enumerators)
}

/// The name that a declaration in a struct declares.
fn member(declaration: &str) -> Option<String> {
    let text = declaration.trim();
    if let Some((_, rest)) = text.split_once("(*") {
        return rest.split(')').next().map(str::to_owned);
    }
    let text = text.split('[').next()?;
    let start = text.rfind(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(text[start + 1..].to_owned()).filter(|name| !name.is_empty())
}

/// The identifiers of the real `<Python.h>`, declared or defined.
fn names_of(peer: &Peer, folder: &Path) -> BTreeSet<String> {
    let file = folder.join("names.c");
    fs::write(&file, "#include <Python.h>\n").expect("a scratch file");
    let mut command = common::cc();
    command.args(["-E", "-dD", "-P"]).args(&peer.flags).arg(&file);
    let text = common::run(&mut command);
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The values and layouts that our headers give to the names in `known`, as
/// assertions for the real ones.
fn assertions(known: &BTreeSet<String>, folder: &Path) -> String {
    let mut program = "#include <pytstate.h>\n#include <stdio.h>\n#include <stddef.h>\n\
                       int main(void) {\n"
        .to_owned();
    let mut print = |expression: &str| {
        let _ = writeln!(
            program,
            "printf(\"CHECK(({expression}) == %lldLL, \\\"{expression}\\\");\\n\", \
             (long long)({expression}));"
        );
    };
    let (structs, enumerators) = types();
    let macros = values();
    for name in macros.iter().map(|(name, _)| name).chain(&enumerators) {
        if known.contains(name) {
            print(name);
        }
    }
    for (name, members) in &structs {
        if !known.contains(name) || OUR_LAYOUT.contains(&name.as_str()) {
            continue;
        }
        print(&format!("sizeof({name})"));
        for member in members {
            print(&format!("offsetof({name}, {member})"));
        }
    }
    program.push_str("return 0; }\n");
    let (file, binary) = (folder.join("values.c"), folder.join("values"));
    fs::write(&file, program).expect("a scratch file");
    let mut cc = common::cc();
    cc.arg("-I").arg(root().join("include")).arg(&file).arg("-o").arg(&binary);
    common::run(&mut cc);
    common::run(&mut Command::new(binary))
}

#[test]
fn what_we_share_with_a_real_cpython_is_the_same_there() {
    let mut checked = Vec::new();
    for peer in peers() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("real-{}", peer.name));
        fs::create_dir_all(&folder).expect("a scratch folder");
        let known = names_of(&peer, &folder);
        let mut source = "#include <Python.h>\n#include <stddef.h>\n\
                          #ifdef __cplusplus\n#define CHECK static_assert\nextern \"C\" {\n\
                          #else\n#define CHECK _Static_assert\n#endif\n"
            .to_owned();
        let mut functions = 0;
        for (name, prototype) in prototypes().iter().filter(|(name, _)| known.contains(name)) {
            functions += 1;
            let pointer = prototype.replacen(&format!("{name}("), &format!("(*our_{name})("), 1);
            let _ = writeln!(
                source,
                "#undef {name}\n{prototype};\nextern {pointer};\n{pointer} = {name};"
            );
        }
        source.push_str(&assertions(&known, &folder));
        source.push_str("#ifdef __cplusplus\n}\n#endif\n");
        for (compiler, standard, file) in
            [(Some(common::cc()), "-std=c11", "a.c"), (common::cxx(), "-std=c++17", "a.cpp")]
        {
            let Some(mut command) = compiler else {
                eprintln!("SKIP there is no C++ compiler");
                continue;
            };
            let file = folder.join(file);
            fs::write(&file, &source).expect("a scratch file");
            command.args([standard, "-fsyntax-only", "-Wno-deprecated-declarations"]);
            common::run(command.args(&peer.flags).arg(&file));
        }
        assert!(functions > 80, "{}: only {functions} functions in common", peer.name);
        checked.push(format!("{} ({functions} functions)", peer.name));
    }
    if checked.is_empty() {
        eprintln!("SKIP no headers of CPython 3.13 or later were found");
    } else {
        eprintln!("same as in CPython {}", checked.join(", "));
    }
}
