//! Calling functions of the host, which may call any function of the library.
//!
//! A function that is called attached must return with the same state attached,
//! and one that is called detached must return detached: the library goes on
//! with it. Calls that end what is still needed are refused by [`forbids`].

use crate::probe::callout::{self, Entry};
use crate::sched::current::current;
use crate::sched::fatal;
use crate::state::interp::Interp;
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::Relaxed;

pub(crate) use crate::probe::callout::{Callout, leave_all};

/// Calls a function of the host through `work`; `subject` is the address of the
/// state or interpreter that the call is about, or NULL. Fatal if it returns
/// with another state attached than before.
pub(crate) fn run<R>(callout: Callout, subject: *const (), work: impl FnOnce() -> R) -> R {
    let before = current();
    let id = before.map(name_of);
    let entry = Entry {
        callout,
        attached: before.map_or(0, |tstate| tstate.as_ptr().expose_provenance()),
        subject: subject.addr(),
    };
    let result = callout::inside(entry, work);
    // The name is compared as well, because the block may be another state's by now.
    if current() != before || before.map(name_of) != id {
        fatal::fatal(
            c"",
            format_args!(
                "{} returned without the thread state that it was called with ({:p}); attached is {:p}",
                callout.name(),
                before.map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr),
                current().map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr),
            ),
        )
    }
    result
}

/// The name of a state, which no other state has, even if it gets the same block.
fn name_of(tstate: ThreadStateRef) -> (u64, u64) {
    let interp = Interp::of(tstate);
    (tstate.id(), interp.map_or(0, |interp| interp.incarnation.load(Relaxed)))
}

/// What a call would end.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    Runtime,
    Interp(Interp),
    State(ThreadStateRef),
}

/// The function of the host, if the calling thread is in one, that still needs
/// what the call would end.
///
/// A pending call and a signal handler may end the runtime, if they do not
/// return afterwards: [`run`] looks when they do.
#[inline]
pub(crate) fn forbids(ends: Ends) -> Option<Callout> {
    callout::find(|entry| needs(entry, ends)).map(|entry| entry.callout)
}

/// The function of the host, if the calling thread is in one, for which no
/// interpreter is made or ended.
pub(crate) fn keeps_interps() -> Option<Callout> {
    callout::find(|entry| is_visit(entry.callout)).map(|entry| entry.callout)
}

/// Whether the lists stand still for the function.
fn is_visit(callout: Callout) -> bool {
    matches!(callout, Callout::Visitor | Callout::Handshake)
}

fn needs(entry: &Entry, ends: Ends) -> bool {
    match ends {
        Ends::Runtime => !matches!(entry.callout, Callout::PendingCall | Callout::SignalHandler),
        Ends::Interp(interp) => {
            let address = interp.as_ptr().addr();
            // A visit keeps every interpreter as it is.
            is_visit(entry.callout)
                || entry.subject == address
                || interp_of_address(entry) == address
        }
        Ends::State(tstate) => {
            let address = tstate.as_ptr().addr();
            entry.attached == address || entry.subject == address
        }
    }
}

/// Address of the interpreter of the state that a function was called with.
fn interp_of_address(entry: &Entry) -> usize {
    let tstate = core::ptr::with_exposed_provenance_mut(entry.attached);
    // SAFETY: NULL, or the state that the call still needs: nothing deletes it
    // meanwhile, and blocks of states stay mapped (TS-1).
    unsafe { ThreadStateRef::from_ptr(tstate) }.map_or(0, |tstate| tstate.interp_ptr().addr())
}
