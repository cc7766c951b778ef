//! Part of build.rs: the two C headers and the list of symbols, made from the
//! sources with cbindgen. What cbindgen cannot express stands in `arrange` and
//! `plain`, rule by rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::contents::{self, Section};
use super::{doc, files_below};

/// The version of the CPython API that the headers mirror.
const CPYTHON: (u32, u32, u32) = (3, 15, 0);

/// Names with an underscore that CPython's own `<Python.h>` brings, or that
/// our public API promises: they stay in `pytstate.h`.
const PUBLIC_ANYWAY: &[&str] = &[
    "_PyInterpreterState_Get",
    "_PyInterpreterState_RequireIDRef",
    "_PyInterpreterState_RequiresIDRef",
    "_PyInterpreterState_WaitForThreads",
    "_PyMutex_IsLocked",
    "_PyMutex_Lock",
    "_PyMutex_Unlock",
    "_PyStatus_TYPE_ERROR",
    "_PyStatus_TYPE_EXIT",
    "_PyStatus_TYPE_OK",
    "_PyThreadState_Init",
    "_PyThreadState_Prealloc",
    "_PyThreadState_UncheckedGet",
    "_Py_FatalErrorFunc",
    "_Py_HandlePending",
    "_Py_IsFinalizing",
    "_Py_LOCKED",
    "_Py_UNLOCKED",
];

/// Exported names, each with the stem of the file that defines it.
type Exports = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq)]
enum Which {
    Public,
    Internal,
}

fn belongs(name: &str) -> Which {
    let prefixed = name.starts_with("_Py") || name.starts_with("_PY_");
    let private = prefixed && !PUBLIC_ANYWAY.contains(&name);
    if private { Which::Internal } else { Which::Public }
}

pub(crate) fn write(out: &Path) -> Result<(), String> {
    let sources = files_below(Path::new("src"), "rs");
    let scan = Scan::new(&sources)?;

    let public = body(&scan, Which::Public, &BTreeSet::new())?;
    let taken = defined_types(&public.text);
    let internal = body(&scan, Which::Internal, &taken)?;

    save(&out.join("pytstate.h"), &dress(&public, Which::Public))?;
    save(&out.join("internal.h"), &dress(&internal, Which::Internal))?;
    let names = public.symbols.union(&internal.symbols);
    let symbols: String = names.map(|name| format!("{name}\n")).collect();
    save(&out.join("pytstate.sym"), &symbols)
}

fn save(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What has to be known before cbindgen runs.
#[derive(Default)]
struct Scan {
    exports: Exports,
    constants: BTreeSet<String>,
    /// Constants that may be the length of an array: name and value.
    lengths: Vec<(String, String)>,
    /// Types named `X_arg`: the header says `X`.
    args: BTreeSet<String>,
    /// Functions of the operating system that the sources declare.
    foreign: BTreeSet<String>,
}

impl Scan {
    fn new(sources: &[PathBuf]) -> Result<Self, String> {
        let mut scan = Self::default();
        for path in sources {
            let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let (mut exported, mut foreign) = (false, false);
            for line in text.lines().map(str::trim) {
                if line.ends_with("extern \"C\" {") || (foreign && line == "}") {
                    foreign = !foreign;
                }
                if let Some((_, rest)) = line.split_once("fn ").filter(|_| foreign) {
                    scan.foreign.insert(word(rest).to_owned());
                }
                if line.starts_with("#[unsafe(no_mangle)]") {
                    exported = true;
                } else if let Some(name) = export(line).filter(|_| exported) {
                    scan.exports.insert(name.to_owned(), stem.clone().into_owned());
                    exported = false;
                } else {
                    scan.line(line);
                }
            }
        }
        Ok(scan)
    }

    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("pub const ") {
            self.constants.insert(word(rest).to_owned());
        }
        if let Some((_, rest)) = line.split_once("const ") {
            let value = rest.split_once(": usize = ").and_then(|(_, v)| v.strip_suffix(';'));
            self.lengths.extend(value.map(|v| (word(rest).to_owned(), v.to_owned())));
        }
        if let Some(name) = line.strip_prefix("pub type ").map(word) {
            self.args.extend(name.strip_suffix("_arg").map(str::to_owned));
        }
    }
}

/// The name that this line defines for C, if `#[no_mangle]` stands above it.
fn export(line: &str) -> Option<&str> {
    let keys = ["extern \"C\" fn ", "pub static mut ", "pub static "];
    let rest = keys.iter().find_map(|key| line.split_once(key).map(|(_, rest)| rest))?;
    Some(word(rest))
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// cbindgen's text for one header: its functions, and the types and
/// constants that they need and that are not in `taken`.
fn body(scan: &Scan, which: Which, taken: &BTreeSet<String>) -> Result<Body, String> {
    let mut config = cbindgen::Config::from_file("cbindgen.toml")?;
    let others = scan.exports.keys().chain(&scan.constants);
    let skipped = others.filter(|name| belongs(name) != which).cloned();
    config.export.exclude.extend(skipped);
    config.export.exclude.extend(scan.foreign.iter().cloned());
    config.export.exclude.extend(taken.iter().cloned());
    if which == Which::Internal {
        config.export.include.clear();
    }
    for real in &scan.args {
        config.export.exclude.push(format!("{real}_arg"));
        config.export.rename.insert(format!("{real}_arg"), real.clone());
    }
    // It follows the `mod` lines from here.
    let builder = cbindgen::Builder::new().with_config(config).with_src("src/lib.rs");
    let bindings = builder.generate().map_err(|e| e.to_string())?;
    let symbols = bindings.dynamic_symbols_names().map(str::to_owned).collect();
    let endless: Vec<String> = (bindings.functions.iter())
        .filter(|f| f.never_return)
        .map(|f| f.path.name().to_owned())
        .collect();
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).map_err(|e| e.to_string())?;
    let (contents, text) = arrange(&text, scan, &endless)?;
    Ok(Body { contents, text, symbols })
}

/// One header: its table of contents, everything else, and the names that it
/// declares and the library exports.
struct Body {
    contents: String,
    text: String,
    symbols: BTreeSet<String>,
}

/// Sets right what cbindgen cannot express, block by block (blocks are
/// parted by blank lines):
/// - typedefs of structs first, since Rust needs no order;
/// - tags like `_ts` are no type names of their own;
/// - `struct X` is `X` in prototypes, where X is a type name;
/// - `AtomicPtr<X> p` is `X *p`, and a negative constant has parentheses;
/// - an array has a number for its length, a short comment has one line;
/// - a function that does not return says so;
/// - types and constants come before the functions, which stand in the order
///   of `contents`.
fn arrange(text: &str, scan: &Scan, endless: &[String]) -> Result<(String, String), String> {
    let mut forward = String::new();
    let mut out = String::new();
    let mut sections: Vec<Section> = Vec::new();
    for block in text.trim().split("\n\n") {
        let code = match code_of(block) {
            code if opaque(&code).is_some() => {
                let name = opaque(&code).unwrap_or_default();
                format!("typedef struct {name} {name};")
            }
            code => code,
        };
        if code.starts_with("typedef struct ") && !code.contains('{') {
            if !is_tag_only(&code) {
                let comment = &block[..block.len() - code_of(block).len()];
                forward.push_str(&plain(&format!("{comment}{code}"), false, scan));
                forward.push_str("\n\n");
            }
            continue;
        }
        let name = function_of(&code).or_else(|| variable_of(&code));
        let mut block = plain(block, name.is_some(), scan);
        if let Some(name) = name.filter(|n| endless.iter().any(|e| e == n)) {
            let call = format!("void {name}(");
            block = block.replace(&call, &format!("_Py_NO_RETURN {call}"));
        }
        let place = match name.and_then(|n| scan.exports.get(n)) {
            None => &mut out,
            Some(stem) => section(&mut sections, stem),
        };
        place.push_str(&block);
        place.push_str("\n\n");
    }
    let (contents, functions) = contents::ordered(&sections)?;
    Ok((contents, forward + &out + &functions))
}

/// The text of the section of that source file.
fn section<'a>(sections: &'a mut Vec<Section>, stem: &str) -> &'a mut String {
    let at = sections.iter().position(|one| one.stem == stem).unwrap_or(sections.len());
    if at == sections.len() {
        sections.push(Section { stem: stem.to_owned(), text: String::new() });
    }
    &mut sections[at].text
}

/// `typedef struct _is _is;`: the tag alone is wanted.
fn is_tag_only(code: &str) -> bool {
    let mut words = code.trim_end_matches(';').split(' ').skip(2);
    let tag = words.next().unwrap_or_default();
    words.next() == Some(tag) && is_tag(tag)
}

/// Whether this names a struct that C knows by its tag and a typedef of
/// another name: `_ts`, `_is`, `_object`.
fn is_tag(name: &str) -> bool {
    name.strip_prefix('_').is_some_and(|n| n.starts_with(|c: char| c.is_lowercase()))
}

/// A struct whose only field is `_opaque: [u8; 0]`: C has to see none.
fn opaque(code: &str) -> Option<&str> {
    let name = code.strip_prefix("typedef struct ").map(word)?;
    let body = code.split_once('{')?.1.split_once('}')?.0;
    (body.trim() == "uint8_t _opaque[0];").then_some(name)
}

/// A block of cbindgen's text, in plain C: comments by `doc`, code line by line.
fn plain(block: &str, prototype: bool, scan: &Scan) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut comment: Option<(String, Vec<&str>)> = None;
    for line in block.trim_end().lines() {
        let text = line.trim_start();
        match &mut comment {
            None if text == "/**" => {
                let indent = &line[..line.len() - text.len()];
                comment = Some((indent.to_owned(), Vec::new()));
            }
            None => out.push(plain_code(line, prototype, scan)),
            Some((indent, lines)) if text == "*/" => {
                out.push(doc::comment(lines, indent));
                comment = None;
            }
            Some((_, lines)) => lines.push(text.strip_prefix('*').unwrap_or(text)),
        }
    }
    out.join("\n")
}

fn plain_code(line: &str, prototype: bool, scan: &Scan) -> String {
    let line = plain_line(line, prototype, scan);
    if prototype && line.chars().count() > 80 {
        if line.starts_with(' ') {
            return format!("        {}", line.trim_start());
        }
        // After the type that is returned, or else after the parenthesis.
        return match line.split_once(" *") {
            Some((head, rest)) if !head.contains('(') => format!("{head} *\n{rest}"),
            _ => line.replacen('(', "(\n    ", 1),
        };
    }
    line
}

fn plain_line(line: &str, prototype: bool, scan: &Scan) -> String {
    let mut line = line.to_owned();
    for (tag, name) in
        [("_ts", "PyThreadState"), ("_is", "PyInterpreterState"), ("_object", "PyObject")]
    {
        if prototype {
            line = line.replace(&format!("struct {tag} *"), &format!("{name} *"));
        }
    }
    if prototype {
        line = line.replace("struct ", "").replace("enum ", "");
    }
    if let Some((before, rest)) = line.split_once("AtomicPtr<") {
        if let Some((inner, after)) = rest.split_once("> ") {
            line = format!("{before}{inner} *{after}");
        }
    }
    for (name, value) in &scan.lengths {
        line = line.replace(&format!("[{name}]"), &format!("[{value}]"));
    }
    // `typedef struct _ts {` ... `} _ts;`
    if let Some(tag) = line.strip_prefix("typedef struct ").and_then(|l| l.strip_suffix(" {")) {
        if is_tag(tag) {
            line = format!("struct {tag} {{");
        }
    } else if line.strip_prefix("} ").is_some_and(is_tag) {
        line = "};".to_owned();
    } else if line.starts_with("#define ") {
        if let Some((head, value)) = line.split_once(" -") {
            line = format!("{head} (-{value})");
        }
    }
    line
}

/// A block without the comment it begins with.
fn code_of(block: &str) -> String {
    match block.strip_prefix("/**").and_then(|rest| rest.split_once("*/")) {
        Some((_, code)) => code.trim().to_owned(),
        None => block.trim().to_owned(),
    }
}

fn function_of(code: &str) -> Option<&str> {
    if code.starts_with("typedef") || code.starts_with('#') || code.contains('{') {
        return None;
    }
    let head = &code[..code.find('(')?];
    let start = head.rfind(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&head[start + 1..])
}

fn variable_of(code: &str) -> Option<&str> {
    let head = code.strip_prefix("extern ")?.split(';').next()?;
    let start = head.rfind(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&head[start + 1..])
}

/// The names that a header's text defines as types: `typedef ... X;`,
/// `} X;`, `struct X {`.
fn defined_types(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("struct ").filter(|r| r.ends_with('{')) {
            names.insert(word(rest).to_owned());
        }
        let rest = line.strip_prefix("} ").or_else(|| line.strip_prefix("typedef "));
        let Some(rest) = rest.and_then(|r| r.strip_suffix(';')) else {
            continue;
        };
        // `typedef R (*X)(args);` or `typedef ... X;`
        let name = match rest.split_once("(*") {
            Some((_, inner)) => word(inner),
            None => rest.rsplit([' ', '*']).next().unwrap_or_default(),
        };
        names.insert(name.to_owned());
        // `typedef struct X Y;`: the tag is declared as well.
        if let Some(tag) = rest.strip_prefix("struct ") {
            names.insert(word(tag).to_owned());
        }
    }
    names
}

/// Adds guard, includes, the C++ linkage and the version.
fn dress(body: &Body, which: Which) -> String {
    let (guard, includes, end) = match which {
        Which::Public => (
            "PYTSTATE_H",
            "#include <stddef.h>\n#include <stdint.h>\n",
            "#include \"pytstate/macros.h\"\n",
        ),
        Which::Internal => (
            "PYTSTATE_INTERNAL_H",
            "#include \"../pytstate.h\"\n",
            "#include \"internal_macros.h\"\n",
        ),
    };
    let purpose = match which {
        Which::Public => "pytstate: CPython's thread-state API as a library of its own.",
        Which::Internal => "pytstate: the names that CPython itself keeps internal.",
    };
    let versions = match which {
        Which::Public => versions(),
        Which::Internal => String::new(),
    };
    // cbindgen writes `extern "C"` around functions; one pair is enough.
    let contents = &body.contents;
    let body = body
        .text
        .replace("#ifdef __cplusplus\nextern \"C\" {\n#endif // __cplusplus\n\n", "")
        .replace("#ifdef __cplusplus\n}  // extern \"C\"\n#endif  // __cplusplus\n\n", "");
    format!(
        "/* {purpose}\n * Generated from src/ by `make header`; not edited by hand. */\n\
         /* clang-format off */\n\
         /* Contents (types and constants come first):\n *\n{contents} *\n \
         * The glossary in the documentation has the words that are used here. */\n#ifndef {guard}\n#define {guard}\n\n{includes}\n{versions}\
         #ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n{body}\
         #ifdef __cplusplus\n}}\n#endif\n\n{end}\n#endif /* {guard} */\n"
    )
}

fn versions() -> String {
    let text = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let part = |name: &str| -> u32 {
        env::var(format!("CARGO_PKG_VERSION_{name}")).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
    };
    let hex = part("MAJOR") << 24 | part("MINOR") << 16 | part("PATCH") << 8;
    let (major, minor, micro) = CPYTHON;
    let py_hex = major << 24 | minor << 16 | micro << 8;
    format!(
        "/** This library's version. */\n\
         #define PYTSTATE_VERSION \"{text}\"\n\
         #define PYTSTATE_VERSION_HEX 0x{hex:08X}\n\n\
         /** The CPython API that these headers mirror. */\n\
         #define PY_MAJOR_VERSION {major}\n\
         #define PY_MINOR_VERSION {minor}\n\
         #define PY_MICRO_VERSION {micro}\n\
         #define PY_VERSION \"{major}.{minor}.{micro}\"\n\
         #define PY_VERSION_HEX 0x{py_hex:08X}\n\n\
         /** Before a function that never comes back. */\n\
         #if defined(__cplusplus)\n\
         #define _Py_NO_RETURN [[noreturn]]\n\
         #elif __STDC_VERSION__ >= 201112L\n\
         #define _Py_NO_RETURN _Noreturn\n\
         #elif defined(__GNUC__)\n\
         #define _Py_NO_RETURN __attribute__((noreturn))\n\
         #else\n\
         #define _Py_NO_RETURN\n\
         #endif\n\n"
    )
}
