//! Each example compiles without a warning, ends with 0 and prints what its
//! head says; so does the C in the guides.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{cc, cxx, files, library_folder, read, root, run};

/// What `plugin_host.c` loads.
const PLUGINS: &str = "examples/plugins";

/// The lines after `Prints:` in the comment at the head of an example.
fn promised(text: &str) -> String {
    let strip = |line: &str| line.trim_start_matches([' ', '*', '/']).to_owned();
    let lines = text.lines().skip_while(|line| strip(line) != "Prints:").skip(1);
    let head = lines.take_while(|line| {
        (line.starts_with(" *") || line.starts_with("//")) && !strip(line).is_empty()
    });
    head.map(|line| strip(line) + "\n").collect()
}

/// The language standards that an example is compiled with; it runs as built for the last one.
fn standards(example: &Path) -> &'static [&'static str] {
    if !is_cpp(example) {
        &["c11"]
    } else if read(example).contains("<pytstate.hpp>") {
        &["c++20", "c++17"]
    } else {
        &["c++20", "c++11"]
    }
}

fn is_cpp(example: &Path) -> bool {
    example.extension().is_some_and(|e| e == "cpp")
}

fn build(example: &Path, library: &Path) -> PathBuf {
    let stem = example.file_stem().expect("an example has a name");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(stem);
    for standard in standards(example) {
        let compiler = if is_cpp(example) { cxx().expect("a C++ compiler") } else { cc() };
        build_as(compiler, standard, example, library, &program);
    }
    program
}

fn build_as(mut compiler: Command, std: &str, example: &Path, library: &Path, program: &Path) {
    let include = root().join("include");
    // A plug-in is a shared library; the position of its code is free.
    let plugin = example.starts_with(PLUGINS);
    let kind: &[&str] = if plugin { &["-shared", "-fPIC"] } else { &[] };
    // The old kind of path goes before LD_LIBRARY_PATH, where cargo names folders that may
    // hold an older library.
    let mut rpath = std::ffi::OsString::from("-Wl,--disable-new-dtags,-rpath,");
    rpath.push(library);
    run(compiler
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g", "-pthread"])
        .args(["-D_GNU_SOURCE", &format!("-std={std}")])
        .args(kind)
        .arg("-I")
        .arg(&include)
        .arg("-I")
        .arg(include.join("compat"))
        .arg(root().join(example))
        .arg("-o")
        .arg(program)
        .arg("-L")
        .arg(library)
        .arg("-lpytstate")
        .arg(rpath));
}

#[test]
fn each_example_prints_what_its_head_says() {
    let library = library_folder("lib");
    let (plugins, examples): (Vec<PathBuf>, Vec<PathBuf>) =
        files("examples", &["c", "cpp"]).into_iter().partition(|file| file.starts_with(PLUGINS));
    assert!(examples.len() >= 7 && plugins.len() >= 2, "{examples:?}, {plugins:?}");
    let plugins: Vec<PathBuf> = plugins.iter().map(|plugin| build(plugin, &library)).collect();
    for example in examples {
        if is_cpp(&example) && cxx().is_none() {
            println!("SKIP {}: there is no C++ compiler", example.display());
            continue;
        }
        let promised = promised(&read(&example));
        assert!(!promised.is_empty(), "{}: no `Prints:` in its head", example.display());
        let program = build(&example, &library);
        // A limit: an example that hangs is a failure, not a stuck run.
        let arguments: &[PathBuf] = if example.ends_with("plugin_host.c") { &plugins } else { &[] };
        let printed = run(Command::new("timeout").arg("60").arg(&program).args(arguments));
        assert_eq!(printed, promised, "{}", example.display());
    }
}

#[test]
fn each_example_has_a_paragraph_in_the_readme() {
    let readme = read("examples/README.md");
    for example in files("examples", &["c", "cpp"]) {
        let name = example.strip_prefix("examples").expect("an example").display().to_string();
        assert!(readme.contains(&format!("`{name}`")), "examples/README.md does not name {name}");
    }
}

/// Guides whose C is compiled: whole programs are run as well.
const GUIDES: &[&str] = &[
    "README.md",
    "docs/embedding.md",
    "docs/fork.md",
    "docs/porting.md",
    "docs/runtimes.md",
    "docs/shutdown.md",
    "docs/testing-your-code.md",
];

/// The fenced blocks of a guide: language, text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, body))) => *body += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

/// What a guide shows without a `main` around it, as a file of its own.
fn as_file(fragment: &str) -> String {
    let headers = "#include <Python.h>\n#include <pytstate/internal.h>\n#include <pthread.h>\n#include <sys/wait.h>\n";
    let is_function = fragment.lines().any(|line| line.starts_with("static "));
    let body = if is_function {
        fragment.to_owned()
    } else {
        format!("void shown(void);\nvoid shown(void) {{\n{fragment}}}\n")
    };
    format!("{headers}{body}")
}

#[test]
fn the_guides_show_c_that_compiles_and_programs_that_do_what_they_say() {
    let library = library_folder("guides");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (mut programs, mut fragments) = (0, 0);
    for guide in GUIDES {
        let blocks = blocks(&read(guide));
        for (i, (language, text)) in blocks.iter().enumerate() {
            if language != "c" {
                continue;
            }
            let stem = format!("{}-{i}", guide.replace(['/', '.'], "-"));
            let source = folder.join(format!("{stem}.c"));
            if text.contains("int main(") {
                programs += 1;
                std::fs::write(&source, text).expect("a scratch file");
                let program = build(&source, &library);
                let printed = run(Command::new("timeout").arg("60").arg(&program));
                if let Some((_, promised)) = blocks.get(i + 1).filter(|next| next.0 == "text") {
                    assert_eq!(&printed, promised, "{guide}, block {i}");
                }
            } else {
                fragments += 1;
                std::fs::write(&source, as_file(text)).expect("a scratch file");
                compile_only(&source);
            }
        }
    }
    assert!(programs >= 4 && fragments >= 4, "{programs} programs, {fragments} fragments");
}

#[test]
fn the_shell_commands_of_the_documents_name_what_there_is() {
    let makefile = read("Makefile") + &read("packaging/install.mk");
    let library = read("src/probe/environment.rs") + &read("src/probe/mode.rs");
    let mut seen = 0;
    let mut documents = files("docs", &["md"]);
    documents.extend(["README.md", "CONTRIBUTING.md", "examples/README.md"].map(PathBuf::from));
    for document in documents {
        for (_, text) in blocks(&read(&document)).iter().filter(|block| block.0 == "sh") {
            run(Command::new("sh").args(["-n", "-c", text]));
            for line in text.lines() {
                seen += 1;
                if let Some(target) = line.trim().strip_prefix("make ") {
                    let target = target.split_whitespace().next().unwrap_or_default();
                    assert!(
                        makefile.lines().any(|rule| rule.starts_with(&format!("{target}:"))),
                        "{}: there is no `make {target}`",
                        document.display()
                    );
                }
                for word in line.split_whitespace().filter(|word| word.starts_with("PYTSTATE_")) {
                    let variable = word.split('=').next().unwrap_or_default();
                    assert!(library.contains(variable), "{}: {variable}", document.display());
                }
            }
        }
    }
    assert!(seen > 10, "{seen} lines of shell");
}

/// The local targets of the links in a document, as `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains('`')).collect()
}

#[test]
fn each_document_is_in_the_index_and_every_link_leads_somewhere() {
    let index = read("docs/README.md");
    let mut documents = files("docs", &["md"]);
    for document in &documents {
        let name = document.strip_prefix("docs").expect("below docs").display().to_string();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "docs/README.md does not link {name}"
        );
    }
    documents.extend(["README.md", "CONTRIBUTING.md", "examples/README.md"].map(PathBuf::from));
    for document in documents {
        for target in links(&read(&document)) {
            let path = target.split('#').next().unwrap_or_default();
            let folder = document.parent().expect("a document lies in a folder");
            let there = path.is_empty() || root().join(folder).join(path).exists();
            assert!(there, "{}: {target} leads nowhere", document.display());
        }
    }
}

/// Tables, and what programs print, are as wide as they are.
#[test]
fn documents_are_eighty_columns_wide() {
    let mut documents = files("docs", &["md"]);
    documents.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(PathBuf::from));
    documents.push("examples/README.md".into());
    let mut long = Vec::new();
    for document in documents {
        // The language of the block that the line is in.
        let mut block: Option<&str> = None;
        let contract = document.starts_with("docs/spec");
        for (i, line) in read(&document).lines().enumerate() {
            if let Some(language) = line.strip_prefix("```") {
                block = if block.is_none() { Some(language) } else { None };
            }
            let printed =
                block.is_some_and(|language| contract || ["", "text"].contains(&language));
            let free = printed || line.starts_with('|') || line.starts_with('#');
            if !free && line.chars().count() > 80 {
                long.push(format!("{}:{}", document.display(), i + 1));
            }
        }
    }
    assert!(long.is_empty(), "{long:?}");
}

fn compile_only(source: &Path) {
    let include = root().join("include");
    run(cc()
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-function", "-std=c11"])
        .args(["-D_GNU_SOURCE", "-fsyntax-only", "-pthread", "-I"])
        .arg(&include)
        .arg("-I")
        .arg(include.join("compat"))
        .arg(source));
}
