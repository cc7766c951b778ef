//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Finds, replays, shortens and draws schedules of multi-threaded programs.
///
/// The program is used as it is: no recompilation, no call of its own. It runs under a controlled
/// scheduler that a preload library brings in: one thread runs at a time, time is virtual, and each
/// run passes through another order of the threads' steps.
#[derive(Parser)]
#[command(name = "pytstate", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 no failure found, 1 a failure was found, 2 bad usage or PROGRAM \
cannot be run, 3 nothing to control."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Looks for a schedule under which PROGRAM fails
    ///
    /// A failure is a non-zero exit status, a signal, a fatal error, a deadlock, a livelock, or a run
    /// past --timeout. For each distinct failure the shortened schedule is printed and a schedule
    /// file is written, which `pytstate replay` runs again.
    ///
    /// Exit status: 0 no failure found, 1 a failure was found, 2 bad usage or PROGRAM cannot be run,
    /// 3 nothing to control (PROGRAM never had a second thread and never entered the library).
    Explore(Explore),
    /// Runs exactly the schedule of FILE, and says how many runs agreed
    ///
    /// Exit status: 0 every run had the digest and the outcome of the file, 1 one had not, 2 bad usage, a
    /// damaged file, or the schedule of another program.
    Replay(Replay),
    /// Draws a trace or a schedule as one self-contained HTML page or SVG picture
    Timeline(Timeline),
    /// Writes the manual page pytstate(1) to standard output
    #[command(hide = true)]
    Man,
}

/// How the schedules are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyName {
    /// Random priorities for the threads, lowered at depth - 1 random steps
    Pct,
    /// Random priorities for the threads' pending operations
    Pos,
    /// A random choice at every step
    Random,
    /// Every schedule with at most --preemptions preemptions
    Exhaustive,
    /// pct, pos and random in turns
    Mix,
}

#[derive(Args)]
pub(crate) struct Explore {
    /// How many schedules are tried [default: 1000, or no limit if --seconds is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) schedules: Option<u64>,
    /// Begin no schedule after this many seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// How the schedules are chosen
    #[arg(long, value_enum, default_value_t = StrategyName::Mix)]
    pub(crate) strategy: StrategyName,
    /// pct: how many ordered steps a failure may need
    #[arg(long, value_name = "D", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) depth: u32,
    /// exhaustive: the most preemptions in one schedule
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) preemptions: u32,
    /// Seed of all random choices: equal seeds try equal schedules
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many runs go on at the same time [default: the number of processors]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Seconds after which one run counts as a failure
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: f64,
    /// Look for all distinct failures, not only for the first
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Let one wait of a run wake up although nothing woke it
    #[arg(long)]
    pub(crate) spurious: bool,
    /// Where schedule files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM [ARGS]")]
    pub(crate) program: Vec<std::ffi::OsString>,
}

#[derive(Args)]
pub(crate) struct Replay {
    /// The schedule file
    pub(crate) file: PathBuf,
    /// How often it is run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) times: u64,
    /// Seconds after which one run is given up
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: f64,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// The program and its arguments, if they are not those of the file
    #[arg(last = true, value_name = "PROGRAM [ARGS]")]
    pub(crate) program: Vec<std::ffi::OsString>,
}

#[derive(Args)]
pub(crate) struct Timeline {
    /// A trace (PYTSTATE_TRACE) or a schedule file
    #[arg(value_name = "TRACE|SCHEDULE")]
    pub(crate) input: PathBuf,
    /// The file to write: FILE.html or FILE.svg
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Head line of the picture [default: the name of the input]
    #[arg(long)]
    pub(crate) title: Option<String>,
}

/// A positive number of seconds; a fraction is allowed.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > 0.0 && seconds <= 1e7 => Ok(seconds),
        _ => Err(String::from("a positive number of seconds is needed")),
    }
}
