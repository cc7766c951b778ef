//! Part of build.rs: documentation comments, from rustdoc's form in the sources
//! to Doxygen's in the headers, at most 80 columns wide.
//!
//! | in the sources | in the headers |
//! |---|---|
//! | `Errors:`, `Blocks:`, `Threads:`, `Source:` | `@par Errors` and so on |
//! | `# Safety` and its text | `@pre`; nothing where the text says "None" |
//! | a link to an item | the item's name |

/// Columns of a header.
const WIDTH: usize = 80;

/// The sections of an export's documentation that become paragraphs of their own.
const SECTIONS: [&str; 4] = ["Errors", "Blocks", "Threads", "Source"];

/// A part of a comment: what the first line begins with, what the others are
/// indented by, and the text.
struct Part {
    first: String,
    rest: &'static str,
    text: String,
    /// An empty line stands above it.
    apart: bool,
}

/// A comment for a header; `lines` are its lines without the asterisks, `indent`
/// is what stands before it.
pub(crate) fn comment(lines: &[&str], indent: &str) -> String {
    let parts = parts(lines);
    if let [only] = parts.as_slice() {
        let short = format!("{indent}/** {}{} */", only.first, only.text);
        if short.chars().count() <= WIDTH {
            return short;
        }
    }
    let mut out = format!("{indent}/**\n");
    for (number, part) in parts.iter().enumerate() {
        if part.apart && number > 0 {
            out.push_str(&format!("{indent} *\n"));
        }
        let room = WIDTH - indent.chars().count() - " * ".len();
        for line in wrapped(part, room) {
            out.push_str(format!("{indent} * {line}").trim_end());
            out.push('\n');
        }
    }
    out + indent + " */"
}

fn parts(lines: &[&str]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut apart, mut fresh, mut safety) = (true, true, false);
    for line in lines {
        let text = line.trim().replace("[`", "`").replace("`]", "`");
        if text.is_empty() {
            (apart, fresh) = (true, true);
        } else if text == "# Safety" {
            (safety, fresh) = (true, true);
        } else if let Some(part) = opening(&text) {
            parts.push(Part { apart: apart || part.apart, ..part });
            (apart, fresh) = (false, false);
        } else if let Some(last) = parts.last_mut().filter(|_| !fresh) {
            last.text.push(' ');
            last.text.push_str(&text);
        } else {
            let first = if safety { "@pre " } else { "" }.to_owned();
            let rest = if safety { "     " } else { "" };
            parts.push(Part { first, rest, text, apart });
            (apart, fresh, safety) = (false, false, false);
        }
    }
    // What a caller need not see to is not told.
    parts.retain(|part| !(part.first == "@pre " && part.text.starts_with("None")));
    parts
}

/// The part that a line begins, if it is not a paragraph of its own.
fn opening(line: &str) -> Option<Part> {
    if let Some(text) = line.strip_prefix("- ") {
        let (first, text) = ("- ".to_owned(), text.to_owned());
        return Some(Part { first, rest: "  ", text, apart: false });
    }
    for tag in ["@param ", "@return "] {
        if let Some(text) = line.strip_prefix(tag) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            return Some(Part { first: tag.to_owned(), rest: "    ", text, apart: false });
        }
    }
    let (name, text) = line.split_once(':')?;
    let section = SECTIONS.contains(&name).then_some(name)?;
    let text = sentence(text.trim());
    Some(Part { first: format!("@par {section}\n"), rest: "", text, apart: false })
}

/// With a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The lines of a part, none longer than `room` unless a word is.
fn wrapped(part: &Part, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = part.first.clone();
    if let Some(heading) = part.first.strip_suffix('\n') {
        lines.push(heading.to_owned());
        line.clear();
    }
    let mut empty = true;
    for word in part.text.split_whitespace() {
        let space = usize::from(!empty);
        if !empty && line.chars().count() + space + word.chars().count() > room {
            lines.push(core::mem::replace(&mut line, part.rest.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}
