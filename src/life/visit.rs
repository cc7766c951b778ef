//! Visiting every thread state, while no state is made or goes.
//!
//! The lists stand still during a visit: in the caller's own pause, or frozen
//! (`stw::freeze`). A state that another thread deletes meanwhile stays in its
//! list, marked; the visitor does not get it.

use crate::sched::callout::{self, Callout};
use crate::sched::current::interp_of;
use crate::sched::stw::{self, Scope};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::sync::head::HeadGuard;

/// Why a visit was refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The caller's own pause covers only a part of what it would visit.
    OtherPause,
}

/// Calls `visit` for every state of `interp` (`None`: of all interpreters) once,
/// newest first, until it returns true. No lock is held in the calls.
pub(crate) fn visit(
    interp: Option<Interp>,
    mut visit: impl FnMut(ThreadStateRef) -> bool,
) -> Result<(), Refused> {
    let scope = interp.map_or(Scope::All, Scope::One);
    let paused = stw::is_requester_of(scope);
    if !paused {
        if stw::is_requester() {
            return Err(Refused::OtherPause);
        }
        stw::freeze(scope);
    }
    let mut last = None;
    while let Some(tstate) = after(scope, last) {
        last = Some(Visited { interp: interp_of(tstate), id: tstate.id(), tstate });
        let stop = || visit(tstate);
        if callout::run(Callout::Visitor, tstate.as_ptr().cast(), stop) {
            break;
        }
    }
    if !paused {
        stw::start(scope);
    }
    Ok(())
}

/// The state that was visited last, by the name that it had then.
#[derive(Clone, Copy)]
struct Visited {
    interp: Interp,
    id: u64,
    tstate: ThreadStateRef,
}

/// The state that comes after `last` in its interpreter's list, or else the
/// first one of the next interpreter.
fn after(scope: Scope, last: Option<Visited>) -> Option<ThreadStateRef> {
    let head = RUNTIME.lock();
    let mut interps = RUNTIME.interps(&head).filter(|interp| scope.covers(*interp));
    let mut found = None;
    if let Some(last) = last {
        let here = interps.find(|one| *one == last.interp);
        found = here.and_then(|here| older(here, last, &head));
    }
    while found.is_none() {
        let Some(next) = interps.next() else { break };
        found = list::iter(next, &head).find(|tstate| !tstate.has(status::DELETED));
    }
    drop(head);
    found
}

/// The next older state of `interp`. The caller's own pause lets it delete the
/// one that it visited last: then the ids tell, which go down along the list.
fn older(interp: Interp, last: Visited, head: &HeadGuard<'_>) -> Option<ThreadStateRef> {
    let in_list = last.tstate.id() == last.id
        && last.tstate.interp_ptr() == interp.as_ptr()
        && !last.tstate.has(status::DELETED);
    let rest = if in_list { list::iter_older(last.tstate, head) } else { list::iter(interp, head) };
    let mut rest = rest.filter(|tstate| !tstate.has(status::DELETED));
    rest.find(|tstate| tstate.id() < last.id)
}
