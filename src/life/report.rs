//! Telling people whom a wait is for: shutdown reports and thread dumps.

use crate::life::census::PyTState_ThreadInfo;
use crate::life::wait;
use crate::os::clock;
use crate::probe::text::{LineBuf, Seconds, write_fd};
use crate::sched::fatal::{Name, Text, push_last_place, word_name};
use crate::state::interp::Interp;
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::fmt::Write;
use core::sync::atomic::{
    AtomicI32, AtomicI64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Interval of shutdown reports in nanoseconds, as the host says; 0: none; -1: the host says nothing.
static EVERY_NS: AtomicI64 = AtomicI64::new(-1);
/// The same, as the environment says, for a host that says nothing.
static EVERY_BY_ENVIRONMENT: AtomicI64 = AtomicI64::new(0);
static REPORT_FD: AtomicI32 = AtomicI32::new(2);

/// Sets the interval (<= 0: no reports) and the file descriptor.
pub(crate) fn set(every_ns: i64, fd: i32) {
    REPORT_FD.store(fd, Relaxed);
    // A thread that reads the interval reports to that descriptor.
    EVERY_NS.store(every_ns.max(0), Release);
}

/// Sets the interval that the environment asks for (0: no reports); the host's goes before it.
pub(crate) fn set_by_environment(every_ns: i64) {
    EVERY_BY_ENVIRONMENT.store(every_ns, Relaxed);
}

fn every_ns() -> i64 {
    match EVERY_NS.load(Relaxed) {
        -1 => EVERY_BY_ENVIRONMENT.load(Relaxed),
        every => every,
    }
}

/// Prints reports every so often while somebody waits.
pub(crate) struct Reporter {
    since: i64,
    next: i64,
    every: i64,
}

impl Reporter {
    /// Reports as the shutdown settings say.
    pub(crate) fn shutdown() -> Reporter {
        let now = clock::now_ns();
        let every = every_ns();
        Reporter { since: now, next: now.saturating_add(every), every }
    }

    /// Never reports.
    pub(crate) fn silent() -> Reporter {
        Reporter { since: 0, next: 0, every: 0 }
    }

    /// Nanoseconds until the next report is due.
    pub(crate) fn due_in_ns(&self) -> Option<i64> {
        (self.every > 0).then(|| self.next - clock::now_ns())
    }

    /// Prints a report about `interp` if one is due.
    pub(crate) fn maybe_report(&mut self, interp: Interp) {
        let now = clock::now_ns();
        if self.every <= 0 || now < self.next {
            return;
        }
        self.next = now.saturating_add(self.every);
        let fd = REPORT_FD.load(Relaxed);
        let mut line = LineBuf::<256>::new();
        let _ = write!(line, "pytstate: shutdown of interpreter {} has waited ", interp.id());
        push_seconds(&mut line, now - self.since);
        let _ = writeln!(line, " s for:");
        write_fd(fd, line.as_bytes());
        dump(fd, Some(interp), Some(now - self.since));
        report_ending(fd, interp, now - self.since);
    }
}

/// Most threads without a state that one report names.
const MOST_ENDING: usize = 8;

/// Prints the awaited threads whose states are gone, but not their OS threads.
fn report_ending(fd: i32, interp: Interp, waiting: i64) {
    let mut ending = [PyTState_ThreadInfo::EMPTY; MOST_ENDING];
    let count = wait::list_ending_now(interp, &mut ending);
    for info in &ending[..count.min(MOST_ENDING)] {
        let mut line = LineBuf::<256>::new();
        let _ = line.write_str("waiting ");
        push_seconds(&mut line, waiting);
        let name = info.name.map(|byte| byte as u8);
        let _ = match name[0] {
            0 => write!(line, " s for thread 0x{:x}", info.thread_id),
            _ => write!(line, " s for thread '{}'", Name(&name)),
        };
        let _ = write!(
            line,
            " (tid {}, non-daemon, state {} of interp {} is deleted, its OS thread is ending)",
            info.native_thread_id, info.id, info.interp_id,
        );
        line.end_line();
        write_fd(fd, line.as_bytes());
    }
}

/// Appends nanoseconds as seconds with one digit behind the point.
pub(crate) fn push_seconds<const N: usize>(line: &mut LineBuf<N>, ns: i64) {
    let _ = write!(line, "{}", Seconds(ns));
}

/// Most states that one dump prints, however the lists look.
const MOST: usize = 10_000;

/// Prints the threads of `interp` (`None`: of all). Async-signal-safe: takes no
/// lock and allocates nothing; lists are walked as a debugger would, bounded.
/// With `waiting`, only those that a shutdown waits for.
pub(crate) fn dump(fd: i32, interp: Option<Interp>, waiting: Option<i64>) {
    let now = clock::now_ns();
    let mut next = RUNTIME.interpreters.load(Acquire);
    let mut left = MOST;
    while let Some(one) = next {
        next = one.next.load(Acquire);
        left = left.saturating_sub(1);
        if left == 0 {
            return;
        }
        if interp.is_none_or(|wanted| wanted == one) {
            dump_interp(fd, one, waiting, now, &mut left);
        }
    }
    if waiting.is_none() || interp.is_some() {
        crate::life::guards::dump(fd, interp, now);
    }
}

fn dump_interp(fd: i32, interp: Interp, waiting: Option<i64>, now: i64, left: &mut usize) {
    let mut tstate: *mut PyThreadState = interp.threads.load(Acquire);
    // SAFETY: states in the list are live, or were a moment ago and their
    // blocks are still mapped (T1).
    while let Some(one) = unsafe { ThreadStateRef::from_ptr(tstate) } {
        tstate = one.next().load(Acquire);
        *left = left.saturating_sub(1);
        if *left == 0 {
            return;
        }
        if waiting.is_some() && !wait::is_awaited_any(interp, one) {
            continue;
        }
        let mut line = LineBuf::<768>::new();
        describe(&mut line, interp, one, waiting, now);
        write_fd(fd, line.as_bytes());
    }
}

fn describe(
    line: &mut LineBuf<768>,
    interp: Interp,
    tstate: ThreadStateRef,
    waiting: Option<i64>,
    now: i64,
) {
    if let Some(ns) = waiting {
        let _ = line.write_str("waiting ");
        push_seconds(line, ns);
        let _ = line.write_str(" s for ");
    }
    let name = tstate.name();
    if name[0] == 0 {
        let _ = write!(line, "thread 0x{:x}", tstate.thread_id());
    } else {
        let _ = write!(line, "thread '{}'", Name(&name));
    }
    let daemon = if tstate.daemon().load(Relaxed) != 0 { "daemon" } else { "non-daemon" };
    let word = tstate.word().load(Relaxed);
    let _ = write!(
        line,
        " (tid {}, {daemon}, state {} of interp {}, {} for ",
        tstate.native_id(),
        tstate.id(),
        interp.id(),
        word_name(word),
    );
    push_seconds(line, now - tstate.changed_ns());
    let _ = line.write_str(" s)");
    let created = tstate.created_at.load(Relaxed);
    if !created.is_null() {
        let _ = write!(line, ", created at {}", Text(created));
    }
    let what = if word == crate::state::word::ATTACHED { "attached" } else { "detached" };
    push_last_place(line, tstate, what);
    let guards = crate::life::guards::count_unlocked(tstate);
    if guards > 0 {
        let plural = if guards == 1 { "" } else { "s" };
        let _ = write!(line, ", holds {guards} guard{plural}");
    }
    let _ = line.write_str("\n");
}
