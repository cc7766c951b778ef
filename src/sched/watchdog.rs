//! The watchdog: names threads that keep others waiting (extension API:
//! `PyTState_SetWatchdog`).
//!
//! The watchdog has no thread of its own: each waiting thread looks, whenever its
//! sleep ends. So a thread that holds the GIL for long is named only while another
//! waits for the GIL, and one that does not poll only while another waits to stop
//! the world.
//!
//! Text is made under the head lock, where the states it is about are live, and
//! written when no lock is held.

use crate::os::clock::{self, Deadline};
use crate::probe::text::{LineBuf, Seconds, write_fd};
use crate::sched::current::interp_of;
use crate::sched::describe::{Name, Text};
use crate::sched::waits;
use crate::state::gil_word::Gil;
use crate::state::runtime::RUNTIME;
use crate::state::stop::Scope;
use crate::state::thread::ThreadStateRef;
use crate::state::word;
use core::fmt::Write;
use core::sync::atomic::{
    AtomicI32, AtomicI64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// The limit that the host sets; 0: no thread looks; -1: the host sets none.
static LIMIT_NS: AtomicI64 = AtomicI64::new(-1);
/// The limit that the environment sets, which applies if the host sets none.
static LIMIT_BY_ENVIRONMENT: AtomicI64 = AtomicI64::new(0);
static REPORT_FD: AtomicI32 = AtomicI32::new(2);

/// Sets the limit (<= 0: none) and where to write.
pub(crate) fn set(limit_ns: i64, fd: i32) {
    REPORT_FD.store(fd, Relaxed);
    // A thread that reads the limit reports to that descriptor.
    LIMIT_NS.store(limit_ns.max(0), Release);
}

/// Sets the limit that the environment asks for (0: none); the host's goes before it.
pub(crate) fn set_by_environment(limit_ns: i64) {
    LIMIT_BY_ENVIRONMENT.store(limit_ns, Relaxed);
}

/// The limit, if there is one.
#[inline]
fn limit_ns() -> Option<i64> {
    let limit = match LIMIT_NS.load(Acquire) {
        -1 => LIMIT_BY_ENVIRONMENT.load(Relaxed),
        limit => limit,
    };
    (limit > 0).then_some(limit)
}

/// A sleep of `ns` at most that ends in time for the next look.
pub(crate) fn sleep(ns: i64) -> Deadline {
    Deadline::after(limit_ns().map_or(ns, |limit| limit.min(ns)))
}

/// Appends "thread 'db-pool-3' (tid 4711, state 5 of interp 0)".
fn push_thread<const N: usize>(line: &mut LineBuf<N>, tstate: ThreadStateRef) {
    let name = tstate.name();
    let _ = if name[0] == 0 {
        write!(line, "thread 0x{:x}", tstate.thread_id())
    } else {
        write!(line, "thread '{}'", Name(&name))
    };
    let (native, id) = (tstate.native_id(), tstate.id());
    let _ = write!(line, " (tid {native}, state {id} of interp {})", interp_of(tstate).id());
}

/// Appends ", attached at pool.c:88".
fn push_place<const N: usize>(line: &mut LineBuf<N>, tstate: ThreadStateRef) {
    let place = tstate.last_at.load(Relaxed);
    let _ = if place.is_null() {
        line.write_str(", attached at an unknown place")
    } else if tstate.is_place_of_last_change() {
        write!(line, ", attached at {}", Text(place))
    } else {
        write!(line, ", attached at an unknown place, before that at {}", Text(place))
    };
}

fn report(line: &[u8]) {
    if !line.is_empty() {
        let _ = write_fd(REPORT_FD.load(Relaxed), line);
    }
}

/// Names the holder of `gil` once for every limit that its hold has lasted. A thread
/// that waits for `gil` calls this after a sleep.
pub(crate) fn look_at_holder(gil: &Gil) {
    let Some(limit) = limit_ns() else { return };
    let mut line = LineBuf::<512>::new();
    let head = RUNTIME.lock();
    let holder = ThreadStateRef::holder_of(gil);
    if let Some(holder) = holder.filter(|one| one.holds_gil().load(Relaxed) != 0) {
        let since = holder.changed_ns();
        let held = clock::coarse_ns() - since;
        let due = since.saturating_add(held / limit * limit);
        if held >= limit && gil.reported_ns.swap(due, Relaxed) != due {
            let _ = line.write_str("pytstate: ");
            push_thread(&mut line, holder);
            let _ = write!(line, " has held the GIL for {} s", Seconds(held));
            push_place(&mut line, holder);
            waits::push_wait_of(&mut line, holder, clock::now_ns());
            line.end_line();
        }
    }
    drop(head);
    report(line.as_bytes());
}

/// Names the threads that a pause waits for, once for every limit that it has waited.
pub(crate) struct Pause {
    scope: Scope,
    since: i64,
    told: i64,
}

impl Pause {
    /// Makes the record of a pause that begins to wait now.
    pub(crate) fn begin(scope: Scope) -> Pause {
        Pause { scope, since: clock::now_ns(), told: 0 }
    }

    /// Called by the requester after a sleep.
    pub(crate) fn look(&mut self) {
        let Some(limit) = limit_ns() else { return };
        let waited = clock::now_ns() - self.since;
        let nth = waited / limit;
        if nth == 0 || nth == self.told {
            return;
        }
        self.told = nth;
        let mut lines = LineBuf::<2048>::new();
        let head = RUNTIME.lock();
        self.scope.others(&head, |tstate| {
            if tstate.word().load(Relaxed) != word::ATTACHED || lines.is_cut() {
                return;
            }
            let _ = write!(lines, "pytstate: a pause has waited {} s for ", Seconds(waited));
            push_thread(&mut lines, tstate);
            push_place(&mut lines, tstate);
            lines.end_line();
        });
        drop(head);
        report(lines.as_bytes());
    }
}
