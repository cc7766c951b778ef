//! Sub-interpreters: creation (S-NI) and end (S-EI), and the rounds that come
//! before any interpreter's end is committed (S-FZ-10..14).
//!
//! LIFE-9: one thread ends an interpreter: it claims the end before it makes or
//! takes the state to end it with, and that state is never given up.

use crate::life::abandoned;
use crate::life::at_exit::{self, When};
use crate::life::end_backoff::EndBackoff;
use crate::life::guards;
use crate::life::interp::{self, NewInterpError};
use crate::life::phase;
use crate::life::report::Reporter;
use crate::life::tstate::{self, NewError, Origin};
use crate::life::wait::{self, Blocked, Waited};
use crate::os::clock::{self, Deadline};
use crate::os::{thread, tsan};
use crate::probe::text;
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::blocking::{DetachAndSignals, signals_served};
use crate::sched::current::{current, interp_of};
use crate::sched::fatal::STDERR;
use crate::sched::frozen::{self, Departed};
use crate::sched::stw::{self, Scope};
use crate::sched::{attach, pending, raise, region};
use crate::state::config::PyInterpreterConfig;
use crate::state::error_kind::ExceptionKind;
use crate::state::interp::{
    Interp, PyTState_PHASE_ATEXIT, PyTState_PHASE_FINALIZING, PyTState_PHASE_WAITING_GUARDS,
    PyTState_PHASE_WAITING_THREADS,
};
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::sync::lot::{self, Parked};
use crate::sync::waiting::{OnSignal, Stay, Waiting};
use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;

/// Hosts are known to compare it.
const NO_RUNTIME: &CStr = c"Py_Initialize must be called first";

/// Creates an interpreter and its first state and attaches that; the caller's
/// state is left detached. On failure it is attached again (S-NI-02).
pub(crate) fn create(
    config: &PyInterpreterConfig,
    whence: i64,
) -> Result<ThreadStateRef, &'static CStr> {
    if !RUNTIME.is_initialized() {
        return Err(NO_RUNTIME);
    }
    let kind = config.validate().inspect_err(|_| interp::use_up_id())?;
    let before = current();
    if let Some(before) = before {
        let _ = attach::detach(before);
    }
    let created = create_detached(config, kind, whence);
    match (created, before) {
        (Ok(tstate), _) => {
            attach::attach(tstate);
            Ok(tstate)
        }
        (Err(text), Some(before)) => {
            attach::attach(before);
            Err(text)
        }
        (Err(text), None) => Err(text),
    }
}

fn create_detached(
    config: &PyInterpreterConfig,
    kind: crate::state::config::GilKind,
    whence: i64,
) -> Result<ThreadStateRef, &'static CStr> {
    let (interp, life) = interp::new(config, kind, whence).map_err(|error| match error {
        NewInterpError::NoMemory => c"no memory for a new interpreter",
        NewInterpError::NoId => c"failed to get an interpreter ID",
        NewInterpError::TooLate => NO_RUNTIME,
    })?;
    tstate::new_bound(interp, Origin::first(life)).map_err(|error| match error {
        NewError::NoMemory => {
            interp::discard(interp, life);
            c"no memory for the first thread state of a new interpreter"
        }
        // The end of the runtime was faster.
        NewError::Refused => NO_RUNTIME,
    })
}

/// What happens to states that are left when an interpreter ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfThreadsRemain {
    /// The end fails (CPython up to 3.13).
    Refuse,
    /// They are given up: their threads meet the late-attach policy.
    Abandon,
}

/// Why an end failed.
#[derive(Clone, Copy)]
pub(crate) enum EndInterpreterError {
    /// This state is left.
    NotLast(ThreadStateRef),
    /// Another thread is ending it.
    EndedElsewhere,
    /// The calling thread is ending it, and has called something of the host.
    EndedHere,
}

/// Ends the interpreter of the attached `state`. On return nothing is attached
/// and the interpreter is gone.
pub(crate) fn end(
    tstate: ThreadStateRef,
    policy: IfThreadsRemain,
) -> Result<(), EndInterpreterError> {
    let interp = interp_of(tstate);
    if !claim(interp) {
        let here = interp.ender.load(Relaxed) == thread::ident() as usize;
        return Err(if here {
            EndInterpreterError::EndedHere
        } else {
            EndInterpreterError::EndedElsewhere
        });
    }
    end_claimed(tstate, policy)
}

/// Makes the end of `interp` the calling thread's. False if another one is at it.
#[must_use]
pub(crate) fn claim(interp: Interp) -> bool {
    let claimed = interp.ending.swap(1, Relaxed) == 0;
    if claimed {
        interp.ender.store(thread::ident() as usize, Relaxed);
    }
    claimed
}

/// As [`end`], by the thread whose [`claim`] it is.
pub(crate) fn end_claimed(
    tstate: ThreadStateRef,
    policy: IfThreadsRemain,
) -> Result<(), EndInterpreterError> {
    let interp = interp_of(tstate);
    probe::point(Point::InterpEndBegin);
    let mut rounds = Rounds::new(interp, tstate);
    loop {
        rounds.run_until_guards();
        probe::point(Point::InterpEndCheck);
        stw::stop(Scope::One(interp));
        if rounds.try_commit(|_| true) {
            break;
        }
        stw::start(Scope::One(interp));
    }
    let head = RUNTIME.lock();
    // One that was deleted in this pause is still listed.
    let is_left = |one: &ThreadStateRef| *one != tstate && !one.has(status::DELETED);
    let other = list::iter(interp, &head).find(is_left);
    if let Some(other) = other.filter(|_| policy == IfThreadsRemain::Refuse) {
        drop(head);
        return Err(EndInterpreterError::NotLast(other));
    }
    let chain = abandoned::remove_others(interp, tstate, &head);
    drop(head);
    stw::start(Scope::One(interp));
    abandoned::wake(interp, chain);
    abandoned::clear_and_keep(chain);
    phase::set(interp, PyTState_PHASE_FINALIZING);
    interp::clear(interp);
    let deleted = interp::delete(interp);
    debug_assert!(deleted.is_ok());
    trace::at(Point::InterpEndDone, Event::At(Mark::InterpreterGone), || interp.id());
    Ok(())
}

/// Leaves the end of the attached `state`'s interpreter to the thread that is at
/// it, which gives the state up, and waits for that. Nothing is attached then.
pub(crate) fn leave_to_other(tstate: ThreadStateRef) {
    let interp = interp_of(tstate);
    // While the state is attached the interpreter stays.
    let life = interp.incarnation.load(Relaxed);
    // The end must not wait for a thread that waits for it.
    tstate.daemon().store(1, Relaxed);
    let _ = attach::detach(tstate);
    let here = || interp.is_alive() && interp.incarnation.load(Relaxed) == life;
    while here() {
        let _ = lot::park(
            interp::gone_key(interp),
            here,
            Deadline::after(wait::RESCAN_NS),
            core::ptr::null_mut(),
            &mut Stay,
            lot::nothing,
        );
    }
}

/// The rounds before the commit: wait for threads, run pending calls, run
/// callbacks, wait for guards, until nothing is left.
pub(crate) struct Rounds {
    interp: Interp,
    tstate: ThreadStateRef,
    reporter: Reporter,
    backoff: EndBackoff,
}

impl Rounds {
    pub(crate) fn new(interp: Interp, tstate: ThreadStateRef) -> Rounds {
        Rounds { interp, tstate, reporter: Reporter::shutdown(), backoff: EndBackoff::new(interp) }
    }

    /// Threads, pending calls, callbacks.
    pub(crate) fn run_until_subinterpreters(&mut self) {
        phase::set(self.interp, PyTState_PHASE_WAITING_THREADS);
        let waited = wait::wait_for_threads(
            self.interp,
            Deadline::NEVER,
            &mut self.reporter,
            Blocked::Unblock,
        );
        if waited == Waited::Interrupted {
            raise::report_and_clear("while waiting for threads at shutdown");
            self.demote();
        }
        probe::point(Point::InterpEndThreadsGone);
        phase::set(self.interp, PyTState_PHASE_ATEXIT);
        pending::finish(self.tstate);
        at_exit::run_list(self.interp, When::BeforeCommit);
    }

    /// All of a round for an interpreter that has no sub-interpreters.
    pub(crate) fn run_until_guards(&mut self) {
        self.run_until_subinterpreters();
        self.wait_guards();
    }

    /// Sleeps until no guard is open; names them every so often.
    pub(crate) fn wait_guards(&mut self) {
        phase::set(self.interp, PyTState_PHASE_WAITING_GUARDS);
        let guards = &self.interp.guards;
        loop {
            let open = guards.value.load(core::sync::atomic::Ordering::Acquire);
            if guards.open_now() == 0 {
                return tsan::acquire(guards::count_key(self.interp));
            }
            // One function at a time: reports and signals are not put off by many.
            let more =
                region::unblock_one(self.interp, |tstate, head| guards::count_of(tstate, head) > 0);
            let until_report = self.reporter.due_in_ns().unwrap_or(i64::MAX).max(0);
            let until_look = self.backoff.look(self.interp).min(wait::RESCAN_NS);
            let sleep = if more { 0 } else { until_report.min(until_look) };
            let deadline = Deadline::after(sleep);
            let mut waiting = DetachAndSignals::new();
            let parked = lot::park(
                guards::count_key(self.interp),
                || guards.value.load(Relaxed) == open,
                deadline,
                core::ptr::null_mut(),
                &mut waiting,
                lot::nothing,
            );
            let failed = match parked {
                Parked::Interrupted => waiting.interrupted() == OnSignal::GiveUp,
                _ => !signals_served(),
            };
            if failed {
                self.guards_interrupted();
            }
            self.reporter.maybe_report(self.interp);
        }
    }

    /// A handler failed while guards were waited for: Ctrl-C ends the process
    /// (S-FE-44), anything else is reported, and the wait goes on (S-FZ-11).
    fn guards_interrupted(&self) {
        let ctrl_c = self.tstate.exception() == ExceptionKind::KeyboardInterrupt.object();
        raise::report_and_clear("while waiting for interpreter guards at shutdown");
        if ctrl_c {
            text::warn(format_args!("pytstate: shutdown interrupted; these guards were open:"));
            guards::dump(STDERR, Some(self.interp), clock::now_ns());
            thread::exit_process(1);
        }
    }

    /// An interrupted wait gives the rest up: they count as daemons (S-FZ-08).
    fn demote(&self) {
        let head = RUNTIME.lock();
        for tstate in list::iter(self.interp, &head) {
            if wait::is_awaited(self.interp, tstate) {
                tstate.daemon().store(1, Relaxed);
            }
        }
        drop(head);
    }

    /// With the world stopped: commits if nothing is left that a round would
    /// have to see to (S-FZ-12, S-FZ-13).
    #[must_use]
    pub(crate) fn try_commit(
        &self,
        also: impl FnOnce(&crate::sync::head::HeadGuard<'_>) -> bool,
    ) -> bool {
        let interp = self.interp;
        let head = RUNTIME.lock();
        // What other threads made and deleted in this pause counts.
        let departed = frozen::settle(interp, Departed::NONE, &head);
        let busy = list::iter(interp, &head).any(|tstate| wait::is_awaited(interp, tstate))
            || at_exit::any(interp, When::BeforeCommit)
            || interp.pending.len() != 0;
        let commit = !busy && also(&head) && interp.guards.forbid();
        if commit {
            interp.commit(self.tstate.as_raw());
        }
        drop(head);
        departed.give_back();
        commit
    }
}
