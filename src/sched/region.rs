//! Blocking regions: a thread that blocks in the OS leaves a function behind
//! that wakes it up (Ruby's "unblock function" is the model).
//!
//! | word             | meaning                                             | next            |
//! |------------------|-----------------------------------------------------|-----------------|
//! | NONE             | the thread is in no region                          | OPEN            |
//! | OPEN             | in a region; the function may be called             | NONE, RUNNING   |
//! | RUNNING          | a thread runs the function                          | OPEN, AWAITED   |
//! | AWAITED          | as RUNNING, and the region waits for the return     | OPEN            |
//!
//! The thread of the state writes NONE <-> OPEN and RUNNING -> AWAITED. Any thread
//! may write OPEN -> RUNNING, under the head lock or with a state that the host
//! keeps alive, and the same thread then writes RUNNING, AWAITED -> OPEN.
//!
//! Invariants:
//! - REGION-1: `unblock` is written before OPEN is (release) and constant until NONE;
//!   the thread that moved the word to RUNNING (acquire) may read it.
//! - REGION-2: a region cannot be left while the word is RUNNING or AWAITED: the
//!   function never runs after the end of the region.
//! - REGION-3: the thread that runs the function holds a reference to the state's block (TS-2).

use crate::control::window;
use crate::os::clock::{self, Deadline};
use crate::os::{thread, tls};
use crate::probe::Point;
use crate::probe::trace::{self, Event, Span};
use crate::sched::blocking::detached;
use crate::sched::callout::{self, Callout};
use crate::sched::current::{current, gilstate, interp_of};
use crate::sched::{attach, late};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::owed;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::Stay;
use core::ffi::c_void;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const NONE: u32 = 0;
const OPEN: u32 = 1;
const RUNNING: u32 = 2;
const AWAITED: u32 = 3;

/// How long a shutdown leaves a thread in its region before it calls the
/// function again: the first call may have come before the thread blocked.
const REPEAT_NS: i64 = 100_000_000;

/// Wakes a thread out of a blocking call.
pub(crate) type Unblock = unsafe extern "C" fn(*mut c_void);

/// Why a region was neither begun nor ended.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) enum RegionError {
    /// The state is already in a region.
    Nested,
    /// The calling thread is in no region.
    NotInside,
    /// The calling thread has another state attached.
    OtherAttached(ThreadStateRef),
}

/// Registers `unblock(arg)` for the attached `tstate`, then detaches it.
pub(crate) fn begin(
    tstate: ThreadStateRef,
    unblock: Option<Unblock>,
    arg: *mut c_void,
) -> Result<(), RegionError> {
    if tstate.region.load(Relaxed) != NONE {
        return Err(RegionError::Nested);
    }
    // OPEN publishes them.
    tstate.unblock.set_own(unblock, arg);
    tstate.unblock_due_ns.store(0, Relaxed);
    tstate.region.store(OPEN, Release);
    // Ignores false (the GIL was not locked): the GIL is free, as it has to be.
    let _ = attach::detach(tstate);
    let regions = &tls::block().regions;
    regions.store(regions.load(Relaxed) + 1, Relaxed);
    trace::at(Point::BlockingBegin, Event::Begin(Span::Blocking), || interp_of(tstate).id());
    Ok(())
}

/// Ends the region of the calling thread: waits for a function that runs,
/// unregisters it, attaches the state again.
pub(crate) fn end() -> Result<(), RegionError> {
    let regions = &tls::block().regions;
    let begun = regions.load(Relaxed);
    if begun == 0 {
        return Err(RegionError::NotInside);
    }
    let tstate = own();
    let attached = current();
    if let Some(other) = attached.filter(|attached| Some(*attached) != tstate) {
        return Err(RegionError::OtherAttached(other));
    }
    // None: an end is giving the state up at this very moment.
    let Some(tstate) = tstate else { late::apply_policy(None) };
    regions.store(begun - 1, Relaxed);
    close(tstate);
    trace::at(Point::BlockingEnd, Event::End(Span::Blocking), || interp_of(tstate).id());
    if attached.is_none() {
        attach::attach(tstate);
    }
    Ok(())
}

/// Whether `tstate` is in a region: its thread will attach it again.
pub(crate) fn is_inside(tstate: ThreadStateRef) -> bool {
    tstate.is_in_region()
}

/// The state of the calling thread that is in a region.
fn own() -> Option<ThreadStateRef> {
    let inside = |tstate: &ThreadStateRef| is_inside(*tstate);
    if let Some(tstate) = gilstate().filter(inside) {
        return Some(tstate);
    }
    // The thread used another state meanwhile, or the state was given up: then
    // attaching it meets the late-attach policy.
    let head = RUNTIME.lock();
    let listed = RUNTIME.interps(&head).flat_map(|interp| list::iter(interp, &head));
    let found = listed
        .chain(RUNTIME.abandoned_states(&head))
        // Identities are used again, but not together with kernel ids.
        .filter(|tstate| tstate.thread_id() == thread::ident())
        .find(|tstate| tstate.native_id() == thread::native_id() && inside(tstate));
    drop(head);
    found
}

/// Sets the word to NONE, after the thread that runs the function has returned from it (REGION-2).
fn close(tstate: ThreadStateRef) {
    let word = &tstate.region;
    loop {
        match word.compare_exchange(OPEN, NONE, AcqRel, Relaxed) {
            Ok(_) => return,
            Err(RUNNING) => {
                let _ = word.compare_exchange(RUNNING, AWAITED, Relaxed, Relaxed);
            }
            Err(_) => {
                let _ = lot::park_for(
                    WaitKind::RegionEnd,
                    key(tstate),
                    || word.load(Relaxed) == AWAITED,
                    Deadline::NEVER,
                    core::ptr::null_mut(),
                    &mut Stay,
                    lot::nothing,
                );
            }
        }
    }
}

fn key(tstate: ThreadStateRef) -> *const () {
    core::ptr::from_ref(&tstate.region).cast()
}

/// A claim on the function of one region: RUNNING, with a reference (REGION-3).
struct Claim(ThreadStateRef);

/// Claims the function of `tstate`, which stays alive meanwhile: the head lock
/// is held, or the host vouches for it.
fn claim(tstate: ThreadStateRef) -> Option<Claim> {
    tstate.region.compare_exchange(OPEN, RUNNING, Acquire, Relaxed).ok()?;
    window!("region.claimed");
    tstate.refs.fetch_add(1, Relaxed);
    Some(Claim(tstate))
}

impl Claim {
    /// Runs the function, detached. True when there was one.
    fn run(self) -> bool {
        let tstate = self.0;
        let Some((function, arg)) = tstate.unblock.get() else {
            self.give_back();
            return false;
        };
        let call = || {
            // SAFETY: the host's function and argument, registered and not
            // unregistered (REGION-2); detached, no lock held.
            let run = || unsafe { function(arg) };
            callout::run(Callout::UnblockFunction, tstate.as_ptr().cast(), run);
        };
        let work = || {
            // The function may attach and never return.
            owed::or_give_back(|| Claim(tstate).give_back(), call);
            // This comes before the caller attaches again, which may need that thread.
            self.give_back();
        };
        detached(work, |()| {});
        true
    }

    fn give_back(self) {
        let tstate = self.0;
        tstate.unblock_due_ns.store(clock::now_ns() + REPEAT_NS, Relaxed);
        if tstate.region.swap(OPEN, Release) == AWAITED {
            lot::unpark_all(key(tstate));
        }
        RUNTIME.drop_state_ref(tstate);
    }
}

/// Calls the function of `tstate`'s region. False when the state is in no
/// region, has no function, or another thread is calling it at this moment.
pub(crate) fn unblock(tstate: ThreadStateRef) -> bool {
    claim(tstate).is_some_and(Claim::run)
}

/// Calls one function: of the states of `interp` that `wanted` chooses and whose
/// time has come, the one that has waited longest. False when there was none.
pub(crate) fn unblock_one(
    interp: Interp,
    wanted: impl Fn(ThreadStateRef, &HeadGuard<'_>) -> bool,
) -> bool {
    let now = clock::now_ns();
    let head = RUNTIME.lock();
    let due = |tstate: &ThreadStateRef| tstate.unblock_due_ns.load(Relaxed);
    let next = list::iter(interp, &head)
        .filter(|tstate| tstate.region.load(Acquire) == OPEN && due(tstate) <= now)
        .filter(|tstate| wanted(*tstate, &head))
        .min_by_key(due);
    let claimed = next.and_then(claim);
    drop(head);
    let found = claimed.is_some();
    if let Some(claimed) = claimed {
        let _ = claimed.run();
    }
    found
}

/// In a fork child, for a state that survives: the thread that ran its function did not.
pub(crate) fn reset_in_child(tstate: ThreadStateRef) {
    if tstate.region.load(Relaxed) != NONE {
        tstate.region.store(OPEN, Relaxed);
    }
}
