//! Processes that do the runs, one at a time each.
//!
//! A worker is forked off before the command has a second thread. It is the reaper of what its programs leave
//! behind, however they detach themselves, so that each run ends with no process left. When the
//! command goes away for any reason, the worker sees the end of its socket, kills its run and goes as well.

use crate::complaint::Complaint;
use crate::os::{self, Reaped, SharedArea};
use crate::program::{Program, is_kept, plain};
use pytstate_protocol::{Area, MAGIC, Report, Request, VARIABLE, VERSION};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The end of what a program wrote to one of its outputs.
const KEPT: usize = 64 * 1024;

/// How a run ended, as the worker saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// The wait status.
    pub(crate) status: i32,
    /// Whether it was killed because its time was over.
    pub(crate) timed_out: bool,
    /// The end of what it wrote to standard output and standard error.
    pub(crate) out: String,
    pub(crate) err: String,
    /// Why it could not be started.
    pub(crate) refused: Option<String>,
    /// Whether the kernel let us switch the randomization of addresses off.
    pub(crate) fixed_addresses: bool,
}

/// The command's side of a worker.
pub(crate) struct Worker {
    area: SharedArea,
    /// `None` once it is closed.
    socket: Option<UnixStream>,
    pid: i32,
    cpu: u32,
}

impl Worker {
    /// Forks a worker for each entry of `cpus`. The process must have one thread only.
    pub(crate) fn start_all(
        cpus: &[u32],
        program: &Program,
        preload: &Path,
    ) -> Result<Vec<Self>, Complaint> {
        let failed = |error| Complaint::usage(format!("cannot start a worker: {error}"));
        let mut workers: Vec<Self> = Vec::new();
        for cpu in cpus {
            let area = SharedArea::new().map_err(failed)?;
            let (socket, other) = UnixStream::pair().map_err(failed)?;
            let pid = os::fork().map_err(failed)?;
            if pid == 0 {
                // The sockets of others must end when the command does; their processes are not ours.
                drop(socket);
                for mut worker in workers {
                    drop(worker.socket.take());
                    std::mem::forget(worker);
                }
                serve(&other, &area, program, preload);
                os::exit_now(0);
            }
            workers.push(Self { area, socket: Some(socket), pid, cpu: *cpu });
        }
        Ok(workers)
    }

    /// Runs the program once. `fill` completes the request.
    pub(crate) fn run(
        &mut self,
        timeout: Duration,
        fill: impl FnOnce(&mut Area),
    ) -> Result<Ending, Complaint> {
        let cpu = self.cpu + 1;
        let area = self.area.get_mut();
        // SAFETY: numbers and arrays of numbers; zero is a value of each.
        area.report = unsafe { std::mem::zeroed::<Report>() };
        // SAFETY: as above.
        area.request = unsafe { std::mem::zeroed::<Request>() };
        area.request.magic = MAGIC;
        area.request.version = VERSION;
        area.request.cpu = cpu;
        fill(area);
        let lost = |error| Complaint::usage(format!("a worker process is gone: {error}"));
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let closed = || lost(std::io::ErrorKind::NotConnected.into());
        let socket = self.socket.as_mut().ok_or_else(closed)?;
        socket.write_all(&ms.to_le_bytes()).map_err(lost)?;
        let mut length = [0; 4];
        socket.read_exact(&mut length).map_err(lost)?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        socket.read_exact(&mut text).map_err(lost)?;
        let ending: Ending = serde_json::from_slice(&text).map_err(|error| {
            Complaint::usage(format!("a worker process talks nonsense: {error}"))
        })?;
        match ending.refused {
            Some(why) => Err(Complaint::usage(why)),
            None => Ok(ending),
        }
    }

    /// What the last run left.
    pub(crate) fn area(&self) -> &Area {
        self.area.get()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.socket.take());
        os::reap(self.pid, true);
    }
}

/// The worker's side: one run for each request, until the socket ends.
fn serve(mut socket: &UnixStream, area: &SharedArea, program: &Program, preload: &Path) {
    let fixed_addresses = os::become_keeper();
    let mut request = [0; 8];
    while socket.read_exact(&mut request).is_ok() {
        let timeout = Duration::from_millis(u64::from_le_bytes(request));
        let ending = run_once(socket, area, program, preload, timeout, fixed_addresses);
        let text = serde_json::to_vec(&ending).unwrap_or_default();
        let length = u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
        if socket.write_all(&length).and_then(|()| socket.write_all(&text)).is_err() {
            return;
        }
    }
}

/// The last bytes of an output.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    closed: bool,
}

impl Tail {
    /// Takes what can be read without waiting.
    fn drain(&mut self, from: &mut impl Read) {
        let mut chunk = [0; 16 * 1024];
        while !self.closed {
            match from.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(n) => {
                    self.bytes.extend_from_slice(&chunk[..n]);
                    if self.bytes.len() > 2 * KEPT {
                        self.bytes.drain(..self.bytes.len() - KEPT);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.closed = error.kind() != std::io::ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }

    fn text(&self) -> String {
        let from = self.bytes.len().saturating_sub(KEPT);
        String::from_utf8_lossy(&self.bytes[from..]).into_owned()
    }
}

/// The command line of one run.
fn command(program: &Program, preload: &Path, area: RawFd) -> Command {
    let mut command = Command::new(&program.path);
    command.args(&program.args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_kept(name)) {
        command.env_remove(name);
    }
    command.envs(&program.environment);
    if !program.environment.contains_key("PYTHONHASHSEED") {
        command.env("PYTHONHASHSEED", "0");
    }
    let mut list = OsString::from(preload);
    if let Some(more) = std::env::var_os("LD_PRELOAD").filter(|more| !more.is_empty()) {
        list.push(":");
        list.push(more);
    }
    command.env("LD_PRELOAD", list);
    command.env(VARIABLE, format!("shm=/proc/{}/fd/{area}", std::process::id()));
    command
}

fn run_once(
    socket: &UnixStream,
    area: &SharedArea,
    program: &Program,
    preload: &Path,
    timeout: Duration,
    fixed_addresses: bool,
) -> Ending {
    let mut ending = Ending {
        status: 0,
        timed_out: false,
        out: String::new(),
        err: String::new(),
        refused: None,
        fixed_addresses,
    };
    let mut child = match command(program, preload, area.fd()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let path = program.path.display();
            ending.refused = Some(format!("cannot run '{path}': {}", plain(&error)));
            return ending;
        }
    };
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return ending;
    };
    os::set_nonblocking(out.as_raw_fd());
    os::set_nonblocking(err.as_raw_fd());
    let (mut out_tail, mut err_tail) = (Tail::default(), Tail::default());
    let Ok(pid) = i32::try_from(child.id()) else { return ending };
    let deadline = Instant::now() + timeout;
    let watched = os::pid_descriptor(pid);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && !ending.timed_out {
            ending.timed_out = true;
            os::kill_group(pid);
        }
        // After the kill the end comes by itself. Without a pid descriptor we look every millisecond.
        let limit = match (&watched, ending.timed_out) {
            (Ok(_), false) => Some(left),
            (Ok(_), true) => None,
            (Err(_), _) => Some(left.clamp(Duration::ZERO, Duration::from_millis(1))),
        };
        let fds = [
            watched.as_ref().ok().map(AsRawFd::as_raw_fd),
            (!out_tail.closed).then_some(out.as_raw_fd()),
            (!err_tail.closed).then_some(err.as_raw_fd()),
            Some(socket.as_raw_fd()),
        ];
        let Ok([ended, _, _, gone]) = os::poll(fds, limit) else { break };
        out_tail.drain(&mut out);
        err_tail.drain(&mut err);
        if gone {
            // The command asks for nothing while a run goes on: it is gone.
            clean_up(pid);
            os::exit_now(0);
        }
        if ended {
            break;
        }
        if watched.is_err() {
            if let Reaped::Ended(status) = os::reap(pid, false) {
                ending.status = status;
                break;
            }
        }
    }
    // The group's number is not used again before its first process is reaped.
    os::kill_group(pid);
    if let Reaped::Ended(status) = os::reap(pid, true) {
        ending.status = status;
    }
    clean_up(0);
    out_tail.drain(&mut out);
    err_tail.drain(&mut err);
    (ending.out, ending.err) = (out_tail.text(), err_tail.text());
    ending
}

/// Kills what is left of a run and reaps it: its group, and orphans that left the group.
fn clean_up(group: i32) {
    if group > 0 {
        os::kill_group(group);
    }
    loop {
        match os::reap(-1, false) {
            Reaped::Ended(_) => {}
            Reaped::NoChild => return,
            Reaped::Running => {
                children().into_iter().for_each(os::kill);
                os::reap(-1, true);
            }
        }
    }
}

/// The children of this process.
fn children() -> Vec<i32> {
    let own = std::process::id();
    if let Ok(text) = std::fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        return text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    }
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default();
        rest.split_whitespace().nth(1).is_some_and(|parent| parent == own.to_string())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}
