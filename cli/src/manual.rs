//! The manual page pytstate(1): the options come from the command line's own description.

use crate::args::Cli;
use crate::complaint::Complaint;
use clap::CommandFactory;
use clap_mangen::Man;
use std::io::Write;

/// What the options cannot say.
const REST: &str = r#".SH FAILURES
A non-zero exit status, a signal, a fatal error, a deadlock (no thread can go on: exact, not a time limit), a livelock
(the step limit is reached in a part of the run that is fair to all threads), and a run past
.BR \-\-timeout .
.SH WHAT IS CONTROLLED
One thread runs at a time. It can be exchanged for another at each sync point of the library, before and after each
call that may wait, and at the mutexes, read\-write locks, condition variables, semaphores, barriers, joins, creations,
yields and sleeps of pthreads. Time is virtual: a sleep or a deadline passes when the scheduler says so. What blocks
outside, a read for instance, is noticed, counted and named on the last line. The processes that PROGRAM starts are
killed when it ends.
.SH ENVIRONMENT
.TP
.B PYTSTATE_SCHEDULE
A schedule file. A program that is started with the preload library follows it, without the command:
.B LD_PRELOAD=libpytstate_control.so PYTSTATE_SCHEDULE=race.schedule gdb ./race
.TP
.B PYTSTATE_CONTROL_LIB
Path of the preload library libpytstate_control.so, if it is neither beside the command nor in the library folder of the
same prefix.
.SH EXIT STATUS
.B explore
exits with 0 if no failure was found, 1 if one was, 2 on bad usage or if PROGRAM cannot be run, 3 if there is nothing to
control: PROGRAM never had a second thread and never entered the library.
.B replay
exits with 0 if every run had the digest and the outcome of the file, 1 if one had not, 2 on bad usage, a damaged
file, or the schedule of another program.
.SH EXAMPLES
.nf
pytstate explore \-\- ./race
pytstate explore \-\-strategy exhaustive \-\-preemptions 3 \-\- ./race
pytstate explore \-\-seconds 60 \-\-keep\-going \-\-out failures \-\- python3.12 join.py
pytstate replay \-\-times 20 race.schedule
pytstate timeline race.schedule \-o race.html
.fi
"#;

/// Writes the page to standard output.
pub(crate) fn write() -> Result<(), Complaint> {
    let page = page().map_err(|error| Complaint::usage(format!("no manual page: {error}")))?;
    std::io::stdout()
        .write_all(&page)
        .map_err(|error| Complaint::usage(format!("cannot write the manual page: {error}")))
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let main = Man::new(command.clone()).title("PYTSTATE");
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    writeln!(page, ".SH SYNOPSIS")?;
    for sub in command.get_subcommands().filter(|sub| is_shown(sub)) {
        let usage = sub.clone().render_usage().to_string().replace("Usage: ", "");
        writeln!(page, ".B {}\n.br", usage.trim().replace('-', "\\-"))?;
    }
    main.render_description_section(&mut page)?;
    for sub in command.get_subcommands().filter(|sub| is_shown(sub)) {
        let mut part = Vec::new();
        let man = Man::new(sub.clone());
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        let heading = format!(".SH PYTSTATE {}", sub.get_name().to_uppercase());
        let text = String::from_utf8_lossy(&part)
            .replace(".SH DESCRIPTION", &heading)
            .replace(".SH OPTIONS", ".PP");
        page.extend_from_slice(text.as_bytes());
    }
    page.extend_from_slice(REST.as_bytes());
    Ok(page)
}

fn is_shown(command: &clap::Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}
