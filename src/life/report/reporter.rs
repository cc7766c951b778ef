//! The reports of a finalization that waits: at which interval, to which file
//! descriptor, and what they say.

use super::census::{self, PyTState_ThreadInfo};
use super::dump;
use crate::os::clock;
use crate::probe::text::{LineBuf, Seconds, write_fd};
use crate::sched::describe::Name;
use crate::state::interp::Interp;
use core::fmt::Write;
use core::sync::atomic::{
    AtomicI32, AtomicI64,
    Ordering::{Relaxed, Release},
};

/// Interval of shutdown reports in nanoseconds that the host sets; 0: no reports; -1: the host sets
/// none.
static EVERY_NS: AtomicI64 = AtomicI64::new(-1);
/// The interval that the environment sets, which applies if the host sets none.
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

/// Prints reports at an interval while a thread waits.
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
        let _ = writeln!(
            line,
            "pytstate: shutdown of interpreter {} has waited {} s for:",
            interp.id(),
            Seconds(now - self.since)
        );
        write_fd(fd, line.as_bytes());
        dump::dump(fd, Some(interp), Some(now - self.since));
        report_ending(fd, interp, now - self.since);
    }
}

/// Most threads without a state that one report names.
const MOST_ENDING: usize = 8;

/// Prints the awaited threads whose states are gone, but not their OS threads.
fn report_ending(fd: i32, interp: Interp, waiting: i64) {
    let mut ending = [PyTState_ThreadInfo::EMPTY; MOST_ENDING];
    let count = census::list_ending_now(interp, &mut ending);
    for info in &ending[..count.min(MOST_ENDING)] {
        let mut line = LineBuf::<256>::new();
        let _ = write!(line, "waiting {} s for ", Seconds(waiting));
        let name = info.name.map(|byte| byte as u8);
        let _ = match name[0] {
            0 => write!(line, "thread 0x{:x}", info.thread_id),
            _ => write!(line, "thread '{}'", Name(&name)),
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
