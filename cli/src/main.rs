//! The command `pytstate`: finds, replays, shortens and draws schedules.

mod args;
mod complaint;
mod explore;
mod os;
mod outcome;
mod program;
mod record;
mod replay;
mod schedule_file;
mod shorten;
mod story;
mod symbols;
mod timeline;
mod worker;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use complaint::Complaint;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Explore(options) => explore::run(options).map(|found| u8::from(found)),
        Command::Replay(options) => replay::run(options).map(|agreed| u8::from(!agreed)),
        Command::Timeline(options) => {
            timeline::run(&options.input, &options.output, options.title.as_deref()).map(|()| 0)
        }
        Command::Man => manual().map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(complaint) => {
            eprintln!("pytstate: {complaint}");
            ExitCode::from(complaint.status())
        }
    }
}

/// The manual page: the command, then each of its sub-commands.
fn manual() -> Result<(), Complaint> {
    let cannot =
        |error: std::io::Error| Complaint::usage(format!("cannot write the manual page: {error}"));
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(cannot)
}
