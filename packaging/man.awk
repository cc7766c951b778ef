# From the comment above a prototype to a manual page; see make-man.
# A comment has text, then @param, @return, @par TITLE and @pre parts.

function roff(text) {
    gsub(/\\/, "\\e", text)
    gsub(/`/, "", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/) text = "\\&" text
    return text
}

function section(title) {
    if (title == "SYNOPSIS" || title == "DESCRIPTION") part = title
    out = out ".SH " title "\n"
}

# Where the parts of the comment begin, in the order of the header.
function comment_line(line,    word) {
    if (line ~ /^@param /) {
        if (!parameters++) section("PARAMETERS")
        sub(/^@param /, "", line)
        word = line; sub(/ .*/, "", word); sub(/^[^ ]+ */, "", line)
        out = out ".TP\n.I " roff(word) "\n"
    } else if (line ~ /^@return/) {
        section("RETURN VALUE"); sub(/^@return */, "", line)
    } else if (line ~ /^@par /) {
        section(toupper(substr(line, 6))); return
    } else if (line ~ /^@pre/) {
        section("PRECONDITIONS"); sub(/^@pre */, "", line)
    }
    if (line == "") { out = out ".PP\n"; return }
    if (line ~ /^- /) { out = out ".IP \\(bu 2\n"; sub(/^- /, "", line) }
    out = out roff(line) "\n"
}

function forget() { n = 0; prototype = "" }

# "name(" of a prototype that has been read whole.
function page(    name, i, file, first, text, rest) {
    name = prototype
    sub(/\(.*/, "", name)
    if (prototype ~ /^#define/) sub(/^#define +/, "", name)
    sub(/.*[ *]/, "", name)
    if (name !~ /^[A-Za-z_][A-Za-z_0-9]*$/ || n == 0) return
    # The first sentence is the purpose.
    text = ""
    for (i = 1; i <= n && comment[i] != "" && comment[i] !~ /^@/; i++)
        text = text (text == "" ? "" : " ") comment[i]
    first = text
    if (match(first, /\.( |$)/)) first = substr(first, 1, RSTART - 1)
    parameters = 0
    out = ".\\\" Made from the header by `make man`.\n"
    out = out ".TH " name " 3 \"\" \"pytstate " version "\" \"pytstate\"\n"
    out = out ".SH NAME\n" name " \\- " roff(first) "\n"
    section("SYNOPSIS")
    out = out ".nf\n.B #include <" header ">\n.PP\n" roff(prototype) "\n.fi\n"
    section("DESCRIPTION")
    for (i = 1; i <= n; i++) comment_line(comment[i])
    out = out ".SH SEE ALSO\n.BR pytstate (7)\n"
    # An empty paragraph before a heading says nothing.
    while (gsub(/\.PP\n\.SH/, ".SH", out) || gsub(/\.PP\n\.TP/, ".TP", out) ||
           gsub(/\.PP\n\.PP/, ".PP", out)) ;
    file = folder "/" name ".3"
    printf "%s", out > file
    close(file)
}

/^[ \t]*\/\*\*/ {
    forget(); inside = 1
    line = $0; sub(/^[ \t]*\/\*\* ?/, "", line)
    if (line ~ /\*\//) { sub(/ *\*\/.*/, "", line); inside = 0 }
    if (line != "") comment[++n] = line
    next
}
inside {
    line = $0
    if (line ~ /\*\//) { sub(/ *\*\/.*/, "", line); inside = 0 }
    sub(/^[ \t]*\* ?/, "", line)
    sub(/^ +/, "", line)
    if (!(line == "" && !inside)) comment[++n] = line
    next
}
# A prototype may take several lines; a declaration that is none is passed over.
n > 0 && prototype == "" && /^(typedef|struct|enum|union|static|#|}|\/\*| |$)/ {
    if ($0 ~ /^#define [A-Za-z_0-9]+\(/) {
        prototype = $0; sub(/\).*/, ")", prototype); page()
    }
    forget()
    next
}
n > 0 {
    prototype = prototype (prototype == "" ? "" : "\n") $0
    if ($0 ~ /;/) { if (prototype ~ /\(/) page(); forget() }
}
