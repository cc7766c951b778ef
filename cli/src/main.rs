//! The command `pytstate`: finds, replays, shortens and draws schedules.

mod args;
mod complaint;
mod explore;
mod manual;
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
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Explore(options) => explore::run(options).map(u8::from),
        Command::Replay(options) => replay::run(options).map(|agreed| u8::from(!agreed)),
        Command::Timeline(options) => {
            timeline::run(&options.input, &options.output, options.title.as_deref()).map(|()| 0)
        }
        Command::Man => manual::write().map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(complaint) => {
            eprintln!("pytstate: {complaint}");
            ExitCode::from(complaint.status())
        }
    }
}
