//! Joins that wait for each other are refused: none of them could ever return.
//!
//! A thread that the library started and that joins without a limit of time says so
//! in its own handle (`joins`). The thread that would close a cycle of such joins
//! finds it before it sleeps, because one lock, the head lock, orders the looks and
//! the entries: exactly one join of a cycle is refused. A join with a limit of time
//! ends by itself, and so is part of no cycle. A foreign thread has no handle: no
//! thread can join it.

use crate::os::clock::Deadline;
use crate::probe::text::LineBuf;
use crate::sched::describe::Name;
use crate::sched::raise;
use crate::sched::this_thread;
use crate::state::error_kind::ExceptionKind;
use crate::state::handle::{Handle, RUNNING};
use crate::state::runtime::RUNTIME;
use crate::sync::head::HeadGuard;
use core::ffi::CStr;
use core::fmt::Write;

/// Most threads that the search follows and the message names.
const MOST: usize = 10_000;
const MOST_NAMED: usize = 8;

/// A join would have closed a cycle; the error indicator is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle;

/// The entry of a join in the handle of the thread that joins.
#[derive(Clone, Copy)]
#[must_use]
pub(crate) struct JoinEdge {
    own: Option<Handle>,
    /// The entry of a join that was interrupted by a signal handler that joins.
    before: Option<Handle>,
}

impl JoinEdge {
    /// Enters that the calling thread joins `target`, if the join has no limit of time.
    pub(crate) fn add(target: Handle, deadline: Deadline) -> Result<JoinEdge, Cycle> {
        let own = this_thread::own_handle().filter(|_| deadline.is_never());
        let Some(own) = own else { return Ok(JoinEdge { own: None, before: None }) };
        let head = RUNTIME.lock();
        if leads_to(target, own, &head) {
            let mut text = LineBuf::<1024>::new();
            describe(&mut text, target, own, &head);
            drop(head);
            text.end_text();
            let message = CStr::from_bytes_until_nul(text.as_bytes()).unwrap_or_default();
            raise::raise(ExceptionKind::Runtime, message);
            return Err(Cycle);
        }
        let before = own.joined(&head);
        own.set_joined(Some(target), &head);
        drop(head);
        Ok(JoinEdge { own: Some(own), before })
    }

    /// Takes the entry back, before the reference to the joined handle is dropped.
    pub(crate) fn remove(self) {
        if let Some(own) = self.own {
            let head = RUNTIME.lock();
            own.set_joined(self.before, &head);
            drop(head);
        }
    }
}

/// The thread that the thread of `handle` waits to join, unless `handle` has ended.
fn next(handle: Handle, head: &HeadGuard<'_>) -> Option<Handle> {
    let waits = handle.state() == RUNNING && !handle.exiting.is_set();
    handle.joined(head).filter(|_| waits)
}

/// Whether the joins that begin with that of `from` lead to `to`.
fn leads_to(from: Handle, to: Handle, head: &HeadGuard<'_>) -> bool {
    core::iter::successors(Some(from), |&one| next(one, head)).take(MOST).any(|one| one == to)
}

/// "cannot join thread 'B' (tid 12): it waits to join thread 'C' (tid 13), which waits to join
/// thread 'A' (tid 11), the calling thread".
fn describe(line: &mut LineBuf<1024>, target: Handle, own: Handle, head: &HeadGuard<'_>) {
    let _ = line.write_str("cannot join ");
    name(line, target, head);
    let mut waits = ": it waits to join ";
    for (count, one) in
        core::iter::successors(next(target, head), |&one| next(one, head)).take(MOST).enumerate()
    {
        if one == own {
            let _ = line.write_str(waits);
            name(line, own, head);
            break;
        }
        if count < MOST_NAMED {
            let _ = line.write_str(waits);
            name(line, one, head);
            waits = ", which waits to join ";
        } else {
            waits = ", which waits to join other threads, the last of which waits to join ";
        }
    }
    let _ = line.write_str(", the calling thread");
}

fn name(line: &mut LineBuf<1024>, handle: Handle, head: &HeadGuard<'_>) {
    let name = handle.name(head);
    let _ = match name[0] {
        0 => write!(line, "thread 0x{:x}", handle.ident()),
        _ => write!(line, "thread '{}'", Name(&name)),
    };
    let _ = write!(line, " (tid {})", handle.native());
}
