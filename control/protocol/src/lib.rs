//! What the command `pytstate` and the engine inside a controlled process tell each other.
//!
//! The command makes a shared mapping of [`Area`], fills in [`Request`], and starts the program with the
//! preload library and the variable [`VARIABLE`]. The engine maps the area before `main`, reads the request,
//! and writes everything else while the program runs. The command reads it when the process is gone.
//!
//! Nothing here is an address of the program: threads are known by the path of their creation, objects by the
//! order of their first use, so that two runs of one schedule write the same rows.

#![no_std]

extern crate alloc;

mod area;
mod schedule;

pub use area::*;
pub use schedule::*;

/// The variable that starts the engine: `key=value` pairs, separated by spaces.
///
/// | key | meaning |
/// |---|---|
/// | `shm=PATH` | a file of `size_of::<Area>()` bytes, opened for reading and writing; `/proc/PID/fd/N` will do |
///
/// Without `shm` the engine uses memory of its own and takes its request from these keys, for use by hand:
/// `strategy=default|pct|pos|random|prefix|items`, `seed=N`, `index=N`, `depth=D`, `k=K`, `verbose=1`, `schedule=FILE`.
pub const VARIABLE: &str = "PYTSTATE_CONTROL";

/// The variable that replays a schedule file with no command at all.
pub const SCHEDULE_VARIABLE: &str = "PYTSTATE_SCHEDULE";

/// File name of the preload library; it stands beside `libpytstate.so`.
pub const PRELOAD_NAME: &str = "libpytstate_control.so";

/// Exit status of a process that the engine has stopped (see [`Status`]).
pub const STOPPED: i32 = 86;
