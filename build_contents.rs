//! Part of build.rs: the order of the headers, by what a reader wants to do.

/// The parts of the headers, in order: what one does with the calls of it, and
/// the files of src/capi that have them.
const TASKS: &[(&str, &[&str])] = &[
    ("Start and end", &["pylifecycle", "initconfig", "pyconfig", "preconfig", "atexit"]),
    ("Interpreters", &["interp"]),
    ("Threads that can be joined", &["thread_handle"]),
    ("Plain OS threads and thread-specific storage", &["pythread", "pythread_tss"]),
    ("Thread states", &["pystate", "gilstate", "binding", "evaluator"]),
    ("Attach and detach", &["ceval", "blocking"]),
    ("Polls, pending calls, signals", &["pending", "signals", "recursion"]),
    ("Guards and views: keeping an interpreter alive", &["guard"]),
    ("Locks and events", &["lock", "pythread_lock", "critical_section", "event", "pycore_lock"]),
    ("Sleeping on an address", &["parking_lot"]),
    ("Waiting, naming, policies", &["pytstate"]),
    ("Forks", &["fork"]),
    ("Pauses, and other things that runtimes need", &["runtimes", "stop_the_world", "qsbr"]),
    ("Explaining: traces, watchdog", &["trace", "watchdog"]),
    ("Sync points: races on demand", &["sync_points"]),
    ("Errors", &["pyerrors", "pyerrors_saved"]),
    ("Objects, memory, clocks", &["object", "pymem", "pytime"]),
];

/// The functions of one source file, as text for a header.
pub(crate) struct Section {
    pub(crate) stem: String,
    pub(crate) text: String,
}

/// The table of contents, and the sections in its order with a heading before
/// each part. A file that is in no part is an error.
pub(crate) fn ordered(sections: &[Section]) -> Result<(String, String), String> {
    let known = |stem: &str| TASKS.iter().any(|(_, stems)| stems.contains(&stem));
    if let Some(lost) = sections.iter().find(|section| !known(&section.stem)) {
        return Err(format!("build_contents.rs has no part for src/capi/{}.rs", lost.stem));
    }
    let (mut contents, mut body, mut number) = (String::new(), String::new(), 0);
    for (title, stems) in TASKS {
        let mut parts: Vec<&Section> = Vec::new();
        for stem in *stems {
            parts.extend(sections.iter().filter(|one| one.stem == *stem));
        }
        if parts.is_empty() {
            continue;
        }
        number += 1;
        contents.push_str(&format!(" *   {number:2}. {title}\n"));
        body.push_str(&format!("/* ======== {number}. {title} ======== */\n\n"));
        for part in parts {
            body.push_str(&part.text);
        }
    }
    Ok((contents, body))
}
