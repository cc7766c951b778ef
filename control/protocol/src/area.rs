//! The shared mapping, row by row. All plain numbers: any bit pattern is a valid value.

/// "PTSCTRL1".
pub const MAGIC: u64 = 0x5054_5343_5452_4c31;
/// Goes up with every change of the layout or of a meaning.
pub const VERSION: u32 = 1;

/// Threads that one run can have.
pub const THREADS: usize = 1024;
/// Names of points that one run can have.
pub const POINTS: usize = 1024;
/// Bytes of a point's name, with its NUL.
pub const POINT_NAME: usize = 64;
/// Bytes of a thread's path or name, with its NUL.
pub const THREAD_NAME: usize = 48;
/// Loaded files that are remembered.
pub const MODULES: usize = 128;
/// Spells of threads outside that are remembered.
pub const OUTSIDES: usize = 4096;
/// Bytes of the message.
pub const MESSAGE: usize = 8192;
/// Bytes of the items that the engine is to apply.
pub const ITEMS: usize = 1 << 20;
/// Choices that a prefix can have.
pub const PREFIX: usize = 1 << 16;
/// Decisions that are logged; later ones only count.
pub const STEPS: usize = 1 << 18;

/// How the engine chooses ([`Request::strategy`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Strategy {
    /// The default at each decision: run on until blocked, then the candidate that has waited longest.
    Default = 0,
    /// Priorities with `depth - 1` change points among `k` steps.
    Pct = 1,
    /// A random priority for each pending operation.
    Pos = 2,
    /// Uniform.
    Random = 3,
    /// `prefix` first, the default after it: one schedule of an exhaustive search.
    Prefix = 4,
    /// The items that are given, over the default: a replay, or a candidate for a shorter schedule.
    Items = 5,
}

/// Bits of [`Request::flags`].
pub mod request_flag {
    /// At most one spurious wake-up per run, as a choice.
    pub const SPURIOUS: u32 = 1 << 0;
    /// Stop with SIGABRT and a message on standard error, in place of `_exit(STOPPED)`.
    pub const ABORT: u32 = 1 << 1;
    /// Deadlines pass only when no thread can go on (an experiment's control).
    pub const LAST_RESORT_TIMERS: u32 = 1 << 2;
}

/// What the command asks for. Zero means "the default" everywhere.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Request {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// A [`Strategy`].
    pub strategy: u32,
    /// The seed of the whole exploration.
    pub seed: u64,
    /// Number of this run in it; the run draws from `hash(seed, index)`.
    pub index: u64,
    /// PCT's d (default 3).
    pub depth: u32,
    /// Decisions of a usual run: the median of [`Report::k`] over runs that ended (default 100).
    pub k: u32,
    /// See [`request_flag`].
    pub flags: u32,
    /// Decisions before the fair tail (default `max(2000, 10 k)`).
    pub unfair_limit: u32,
    /// Decisions before a livelock is reported (default ten times the unfair limit).
    pub fair_limit: u32,
    /// Length of [`Area::prefix`] in choices.
    pub prefix_len: u32,
    /// Length of [`Area::items`] in bytes.
    pub items_len: u32,
    /// Processor to pin the process to, plus one; 0: none.
    pub cpu: u32,
    /// What the wall clock shows at the start, in nanoseconds since 1970. Keep it in the schedule file.
    pub epoch_ns: i64,
    /// A timed wait that is longer than this fires only when no thread can go on (default 1 s).
    pub patience_ns: i64,
    /// Reserved.
    pub reserved: [u64; 8],
}

/// How far a run has come, or why the engine has stopped it ([`Report::status`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// The engine has not been loaded (a static program, or PROGRAM could not be run).
    Absent = 0,
    /// The program runs, or was ended by a signal or a direct system call.
    Running = 1,
    /// The program left through `exit`, `_exit` or the return of `main`.
    Ended = 2,
    /// No thread can go on: exact. [`Area::message`] tells it.
    Deadlock = 3,
    /// The step limit was reached in the fair tail.
    Livelock = 4,
    /// A thread runs without coming to any point: the run was given up. Not a failure of the program.
    SpinsOutside = 5,
    /// An internal table is full, or the items could not be read: the run was given up.
    GivenUp = 6,
    /// The area is not of this version.
    BadVersion = 7,
}

impl Status {
    /// The status with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        use Status::{
            Absent, BadVersion, Deadlock, Ended, GivenUp, Livelock, Running, SpinsOutside,
        };
        [Absent, Running, Ended, Deadlock, Livelock, SpinsOutside, GivenUp, BadVersion]
            .into_iter()
            .find(|status| *status as u32 == number)
    }
}

/// What the engine counts. It is written as the run goes: a killed process leaves what it had.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Report {
    /// A [`Status`].
    pub status: u32,
    /// The process that the rows are about. Other processes (fork children) are controlled, but not recorded.
    pub pid: u32,
    /// Threads that were ever created, with the first.
    pub threads: u32,
    /// Names in [`Area::points`].
    pub points: u32,
    /// Files in [`Area::modules`].
    pub modules: u32,
    /// Spells in [`Area::outsides`]; more may have happened.
    pub outsides: u32,
    /// 1 once a call of pytstate was seen.
    pub library: u32,
    /// Decisions with two or more candidates: what PCT counts.
    pub k: u32,
    /// All decisions. Only the first [`STEPS`] are in [`Area::steps`].
    pub steps: u64,
    /// Over (thread path, point, object, candidates, choice) of every decision.
    pub digest: u64,
    /// Over the order of accesses to each object: equal for schedules that differ in harmless order only.
    pub order_digest: u64,
    /// Now on the virtual clock, in nanoseconds since the start.
    pub time_ns: i64,
    /// Items that were applied.
    pub items_applied: u32,
    /// Items whose place came, but whose choice was not possible there.
    pub items_refused: u32,
    /// Replays only: 1 + the decision at which something differed from what the items expect; 0: none.
    pub diverged_at: u64,
    /// The thread that stopped the run or ran last, an index into [`Area::threads`].
    pub last_thread: u32,
    /// Bytes of [`Area::message`].
    pub message_len: u32,
    /// Processes that were forked.
    pub forks: u32,
    /// How often the process image was replaced (exec) before this one.
    pub execs: u32,
    /// Reserved.
    pub reserved: [u64; 8],
}

/// Where a thread stands ([`ThreadRow::state`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ThreadState {
    /// It runs, or can.
    Ready = 0,
    /// It waits for `object`; no deadline.
    Blocked = 1,
    /// It waits for `object`, with a deadline.
    Timed = 2,
    /// It is blocked in the kernel, by something that is not controlled.
    Outside = 3,
    /// It hangs by design: a late daemon thread.
    Hung = 4,
    /// It has ended.
    Gone = 5,
}

/// A thread.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ThreadRow {
    /// Path of creation: `main`, `main/1`, `main/1/2`; NUL-terminated.
    pub path: [u8; THREAD_NAME],
    /// The name that the program gave it, or empty; NUL-terminated.
    pub name: [u8; THREAD_NAME],
    /// A [`ThreadState`].
    pub state: u32,
    /// The point at which it stands: an index into [`Area::points`].
    pub point: u32,
    /// The object of that point, 0: none.
    pub object: u32,
    /// The thread that holds the object, plus one; 0: not known.
    pub holder: u32,
    /// Address of the call, or 0.
    pub place: u64,
    /// Address of the function that the thread runs, or 0.
    pub start: u64,
}

/// What a point does to its object ([`StepRow::kind`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// No object, or one that is not shared.
    None = 0,
    /// Looks at it.
    Read = 1,
    /// Changes it.
    Write = 2,
    /// Takes it, waiting if need be.
    Acquire = 3,
    /// Gives it back, or wakes a thread that waits for it.
    Release = 4,
    /// Waits until it is signalled.
    Wait = 5,
    /// Lets others go first.
    Yield = 6,
    /// Sleeps.
    Sleep = 7,
    /// Begins or ends a thread.
    Life = 8,
}

/// Bits of [`StepRow::flags`].
pub mod step_flag {
    /// `thread` could have gone on and another was chosen, though it had not yielded.
    pub const PREEMPTIVE: u8 = 1 << 0;
    /// The choice is that `next`'s deadline passes; `next` can go on with a timeout after that.
    pub const TIMER: u8 = 1 << 1;
    /// Not who runs, but which waiter of `object` is woken: `next`.
    pub const WAKE: u8 = 1 << 2;
    /// `next` wakes although nothing woke it.
    pub const SPURIOUS: u8 = 1 << 3;
    /// `thread` yielded here, or ran so long at one place that it counts as that.
    pub const YIELDED: u8 = 1 << 4;
    /// `thread` cannot go on here.
    pub const BLOCKED: u8 = 1 << 5;
    /// `thread` was found outside after it had gone on from this point.
    pub const OUTSIDE: u8 = 1 << 6;
    /// A candidate that is not the default would not be explored apart from it: the two are independent.
    pub const INDEPENDENT: u8 = 1 << 7;
}

/// One decision.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct StepRow {
    /// The thread that came to the point.
    pub thread: u16,
    /// The thread that was chosen.
    pub next: u16,
    /// The point: an index into [`Area::points`].
    pub point: u16,
    /// A [`Kind`].
    pub kind: u8,
    /// See [`step_flag`].
    pub flags: u8,
    /// Ordinal of the object in order of first use, 0: none.
    pub object: u32,
    /// How often `thread` has come to `point` by now, this time included.
    pub passage: u32,
    /// Hash of the candidates.
    pub enabled: u32,
    /// How many candidates there were.
    pub options: u16,
    /// Which of them was chosen, in canonical order: 0 is the default.
    pub chosen: u16,
    /// Address of the program's call, or 0: look it up with [`ModuleRow`].
    pub place: u64,
    /// The virtual clock, in nanoseconds since the start.
    pub time_ns: i64,
}

/// A loaded file. The module of an address is the one with the greatest base that is not above it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ModuleRow {
    /// What to subtract from an address of the process to get one of the file.
    pub base: u64,
    /// Its path, NUL-terminated; empty for the program itself.
    pub path: [u8; 248],
}

/// One spell of a thread outside.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OutsideRow {
    /// The thread.
    pub thread: u32,
    /// The system call in which it was, or `u32::MAX` if that could not be read.
    pub syscall: u32,
    /// The decision after which it was found outside.
    pub out: u64,
    /// The decision before which it was back; 0: it never came back.
    pub back: u64,
    /// Address of the program's last call that was a point, or 0.
    pub place: u64,
}

/// Everything.
#[repr(C)]
pub struct Area {
    /// Written by the command, before the start.
    pub request: Request,
    /// Written by the engine.
    pub report: Report,
    /// `report.threads` rows.
    pub threads: [ThreadRow; THREADS],
    /// `report.points` names, NUL-terminated.
    pub points: [[u8; POINT_NAME]; POINTS],
    /// `report.modules` rows.
    pub modules: [ModuleRow; MODULES],
    /// `report.outsides` rows.
    pub outsides: [OutsideRow; OUTSIDES],
    /// `report.message_len` bytes: what a deadlock, a livelock or a divergence is about, in sentences.
    pub message: [u8; MESSAGE],
    /// `request.prefix_len` choices, in the order of the decisions with two or more candidates.
    pub prefix: [u16; PREFIX],
    /// `request.items_len` bytes: see [`crate::Item`].
    pub items: [u8; ITEMS],
    /// `report.steps` rows, up to [`STEPS`].
    pub steps: [StepRow; STEPS],
}

/// The text of a NUL-terminated array, or of the whole array.
#[must_use]
pub fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..end]).unwrap_or("?")
}
