//! Dumps of threads and guards, for people. Async-signal-safe.

use crate::life::awaited::is_awaited_any;
use crate::os::clock;
use crate::probe::text::{LineBuf, Seconds, write_fd};
use crate::sched::describe::{Name, Text, push_last_place, word_name};
use crate::sched::waits;
use crate::state::guard::{self, InterpGuard};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::wait_record;
use core::fmt::Write;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

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
        dump_guards(fd, interp, now);
    }
}

fn dump_interp(fd: i32, interp: Interp, waiting: Option<i64>, now: i64, left: &mut usize) {
    let mut tstate = interp.threads.load(Acquire);
    while let Some(one) = tstate {
        tstate = one.next().load(Acquire);
        *left = left.saturating_sub(1);
        if *left == 0 {
            return;
        }
        if waiting.is_some() && !is_awaited_any(interp, one) {
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
        let _ = write!(line, "waiting {} s for ", Seconds(ns));
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
        " (tid {}, {daemon}, state {} of interp {}, {} for {} s)",
        tstate.native_id(),
        tstate.id(),
        interp.id(),
        word_name(word),
        Seconds(now - tstate.changed_ns()),
    );
    let created = tstate.created_at.load(Relaxed);
    if !created.is_null() {
        let _ = write!(line, ", created at {}", Text(created));
    }
    let what = if word == crate::state::word::ATTACHED { "attached" } else { "detached" };
    push_last_place(line, tstate, what);
    let guards = guard::count_unlocked(tstate);
    if guards > 0 {
        let plural = if guards == 1 { "" } else { "s" };
        let _ = write!(line, ", holds {guards} guard{plural}");
    }
    waits::push_wait_of(line, tstate, now);
    let _ = line.write_str("\n");
}

/// Prints every thread that waits, with a state or without. Async-signal-safe, as [`dump`].
pub(crate) fn dump_waits(fd: i32) {
    let now = clock::now_ns();
    for wait in wait_record::all() {
        let mut line = LineBuf::<768>::new();
        waits::push_thread(&mut line, wait.tid);
        let _ = line.write_str(" ");
        waits::push_wait(&mut line, &wait, now);
        if let Some(tstate) = waits::state_of(wait.tid) {
            let word = tstate.word().load(Relaxed);
            let _ = write!(line, ", {}", word_name(word));
            let attached = word == crate::state::word::ATTACHED;
            push_last_place(&mut line, tstate, if attached { "attached" } else { "detached" });
        } else {
            let _ = line.write_str(", without a thread state");
        }
        line.end_line();
        write_fd(fd, line.as_bytes());
    }
}

/// Prints the open guards of `interp` (`None`: of all interpreters): the threads
/// that opened them, and where. Takes no lock.
pub(crate) fn dump_guards(fd: i32, interp: Option<Interp>, now: i64) {
    let wanted = |guard: &InterpGuard| interp.is_none_or(|interp| guard.names(interp));
    for guard in guard::open_unlocked().filter(wanted) {
        let mut line = LineBuf::<512>::new();
        let id = guard.interp_id.load(Relaxed);
        let _ = write!(line, "guard on interp {id}, open for ");
        let _ = write!(line, "{} s, taken by ", Seconds(now - guard.opened_ns.load(Relaxed)));
        let name = guard.name();
        if name[0] == 0 {
            let _ = write!(line, "thread 0x{:x}", guard.thread_id.load(Relaxed));
        } else {
            let _ = write!(line, "thread '{}'", Name(&name));
        }
        let _ = write!(line, " (tid {})", guard.native_id.load(Relaxed));
        let place = guard.opened_at.load(Relaxed);
        if !place.is_null() {
            let _ = write!(line, ", at {}", Text(place));
        }
        line.end_line();
        write_fd(fd, line.as_bytes());
    }
}
