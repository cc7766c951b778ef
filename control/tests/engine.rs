//! The preload library on real programs: each is compiled, started under control as the command starts it, and its
//! record is read from the shared area.

use std::ffi::CString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pytstate_protocol::{
    Area, Item, MAGIC, PRELOAD_NAME, Request, Status, Strategy, VARIABLE, VERSION, What, step_flag,
    text,
};

/// A shared area, as the command makes it.
struct Shared {
    file: i32,
    area: *mut Area,
}

impl Shared {
    fn new() -> Self {
        let name = CString::new("area").expect("no NUL");
        // SAFETY: the name is NUL-terminated.
        let file = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        let size = size_of::<Area>();
        // SAFETY: the file was just made.
        assert_eq!(unsafe { libc::ftruncate(file, size as libc::off_t) }, 0);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a file of this size.
        let area =
            unsafe { libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, file, 0) };
        assert_ne!(area, libc::MAP_FAILED);
        Self { file, area: area.cast() }
    }

    fn area(&mut self) -> &mut Area {
        // SAFETY: mapped in `new`; no process that writes it runs while the reference lives.
        unsafe { &mut *self.area }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`.
        unsafe { libc::munmap(self.area.cast(), size_of::<Area>()) };
        // SAFETY: opened in `new`.
        unsafe { libc::close(self.file) };
    }
}

/// A compiled program of `tests/programs`.
struct Program {
    path: PathBuf,
    shared: Shared,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Run {
    exit: ExitStatus,
    status: u32,
    digest: u64,
}

fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.parent().expect("in a folder").to_path_buf()
}

/// The preload library. A test does not depend on it, as the program that it is loaded into does not, so that it is
/// built here.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "-p", "pytstate-control"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().expect("cargo runs").success());
        let library = folder().parent().expect("deps is in a folder").join(PRELOAD_NAME);
        assert!(library.exists(), "{}", library.display());
        library
    })
}

/// Waits for a run, which must not take longer than half a minute.
fn ended(mut child: Child) -> ExitStatus {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(exit) = child.try_wait().expect("it can be waited for") {
            return exit;
        }
        if Instant::now() > limit {
            let group = -libc::pid_t::try_from(child.id()).expect("a number of a process");
            // SAFETY: the child's own process group.
            unsafe { libc::kill(group, libc::SIGKILL) };
            panic!("a run takes longer than half a minute");
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

impl Program {
    fn new(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/programs")
            .join(name)
            .with_extension("c");
        let path = folder().join(format!("control-{name}"));
        let mut compile = Command::new("cc");
        compile.args([
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-g",
            "-pthread",
            "-o",
        ]);
        assert!(compile.arg(&path).arg(&source).status().expect("cc runs").success());
        Self { path, shared: Shared::new() }
    }

    /// One run. `items` only count under `Strategy::Items`.
    fn run(&mut self, strategy: Strategy, index: u64, items: &str) -> Run {
        let area = self.shared.area();
        // SAFETY: all of its bit patterns are valid.
        area.request = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        area.report = unsafe { std::mem::zeroed() };
        area.request = Request {
            magic: MAGIC,
            version: VERSION,
            strategy: strategy as u32,
            seed: 5,
            index,
            k: 50,
            items_len: items.len() as u32,
            ..area.request
        };
        area.items[..items.len()].copy_from_slice(items.as_bytes());
        let shm = format!("shm=/proc/{}/fd/{}", std::process::id(), self.shared.file);
        let mut command = Command::new(&self.path);
        command.env("LD_PRELOAD", library()).env(VARIABLE, shm);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let exit = ended(command.spawn().expect("it runs"));
        let report = &self.shared.area().report;
        Run { exit, status: report.status, digest: report.digest }
    }

    /// The last run as items: what was not the default.
    fn items(&mut self) -> String {
        let area = self.shared.area();
        let path = |thread: u16| text(&area.threads[usize::from(thread)].path).to_owned();
        let steps = &area.steps[..area.report.steps as usize];
        let what = |flags: u8| match flags {
            flags if flags & step_flag::WAKE != 0 => What::Wake,
            flags if flags & step_flag::TIMER != 0 => What::Timer,
            _ => What::Run,
        };
        let item = |row: &pytstate_protocol::StepRow| Item {
            thread: path(row.thread),
            point: text(&area.points[usize::from(row.point)]).to_owned(),
            passage: row.passage,
            what: what(row.flags),
            who: path(row.next),
        };
        steps.iter().filter(|row| row.chosen != 0).map(|row| item(row).to_string()).collect()
    }

    fn message(&mut self) -> String {
        let area = self.shared.area();
        String::from_utf8_lossy(&area.message[..area.report.message_len as usize]).into_owned()
    }
}

/// Runs of each strategy, the default first.
fn schedules(each: u64) -> impl Iterator<Item = (Strategy, u64)> {
    let of = move |strategy| (1..=each).map(move |index| (strategy, index));
    let drawn = [Strategy::Pct, Strategy::Pos, Strategy::Random].into_iter().flat_map(of);
    std::iter::once((Strategy::Default, 0)).chain(drawn)
}

/// No schedule fails, and each passes the same points when it is run again.
fn never_fails(name: &str, each: u64) {
    let mut program = Program::new(name);
    for (strategy, index) in schedules(each) {
        let run = program.run(strategy, index, "");
        let message = program.message();
        assert!(run.exit.success(), "{strategy:?} {index}: {run:?} {message}");
        assert_eq!(run.status, Status::Ended as u32, "{strategy:?} {index}");
        assert_eq!(program.run(strategy, index, ""), run, "{strategy:?} {index}");
    }
}

#[test]
fn a_program_that_uses_every_kind_of_object_right_never_fails() {
    never_fails("kinds", 25);
}

#[test]
fn threads_blocked_outside_hold_nobody_up_and_change_no_digest() {
    never_fails("outside", 8);
}

#[test]
fn a_day_of_sleep_passes_at_once() {
    let before = Instant::now();
    never_fails("sleepers", 3);
    assert!(before.elapsed().as_secs() < 60);
}

#[test]
fn two_hundred_threads_are_controlled() {
    never_fails("many", 2);
}

#[test]
fn a_lost_update_is_found_and_replayed_from_its_items_alone() {
    let mut program = Program::new("lost_update");
    let failing =
        schedules(100).find(|&(strategy, index)| !program.run(strategy, index, "").exit.success());
    let (strategy, index) = failing.expect("one of 300 schedules fails");
    let found = program.run(strategy, index, "");
    assert_eq!(found.exit.code(), Some(1));
    let items = program.items();
    for nth in 0..20 {
        let replayed = program.run(Strategy::Items, index, &items);
        assert_eq!(replayed, found, "replay {nth} of {strategy:?} {index}:\n{items}");
    }
    // Without them the default runs, and passes.
    assert!(program.run(Strategy::Items, index, "").exit.success());
}

#[test]
fn a_deadlock_is_told_with_who_holds_what() {
    let mut program = Program::new("lock_order");
    let dead = |program: &mut Program, (strategy, index)| {
        program.run(strategy, index, "").status == Status::Deadlock as u32
    };
    let (strategy, index) =
        schedules(50).find(|&run| dead(&mut program, run)).expect("one deadlocks");
    let run = program.run(strategy, index, "");
    assert_eq!(run.exit.code(), Some(pytstate_protocol::STOPPED));
    let message = program.message();
    assert!(
        message.contains("main waits in pthread_mutex_lock for object 2, held by main/1"),
        "{message}"
    );
    assert!(
        message.contains("main/1 waits in pthread_mutex_lock for object 1, held by main"),
        "{message}"
    );
}

#[test]
fn a_fork_with_a_held_lock_is_found_in_the_child() {
    let mut program = Program::new("forks");
    let mut found = 0;
    for (strategy, index) in schedules(20) {
        let run = program.run(strategy, index, "");
        assert_eq!(run.exit.signal(), None);
        assert_eq!(program.run(strategy, index, ""), run, "{strategy:?} {index}");
        found += u32::from(run.exit.code() == Some(1));
    }
    assert!(found > 0);
}
