//! The rounds that come before the finalization of any interpreter is committed
//! (S-FZ-10..14).

use super::RESCAN_NS;
use crate::life::at_exit::{self, When};
use crate::life::awaited::is_awaited;
use crate::life::guards::backoff::EndBackoff;
use crate::life::guards::open::count_key;
use crate::life::phase;
use crate::life::report::dump;
use crate::life::report::reporter::Reporter;
use crate::life::threads::wait::{Blocked, Waited, wait_for_threads};
use crate::os::clock::{self, Deadline};
use crate::os::{thread, tsan};
use crate::probe::{self, Point, text};
use crate::sched::blocking::{DetachAndSignals, signals_served};
use crate::sched::drain;
use crate::sched::fatal::STDERR;
use crate::sched::frozen::{self, Departed};
use crate::sched::{raise, region};
use crate::state::error_kind::ExceptionKind;
use crate::state::guard;
use crate::state::interp::{
    Interp, PyTState_PHASE_ATEXIT, PyTState_PHASE_WAITING_GUARDS, PyTState_PHASE_WAITING_THREADS,
};
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use crate::sync::lot::{self, Parked};
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::{OnSignal, Waiting};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

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
        let waited =
            wait_for_threads(self.interp, Deadline::NEVER, &mut self.reporter, Blocked::Unblock);
        if waited == Waited::Interrupted {
            raise::report_and_clear("while waiting for threads at shutdown");
            self.demote();
        }
        probe::point(Point::InterpEndThreadsGone);
        phase::set(self.interp, PyTState_PHASE_ATEXIT);
        drain::finish(self.tstate);
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
            let open = guards.value.load(Acquire);
            if guards.open_now() == 0 {
                return tsan::acquire(count_key(self.interp));
            }
            // One function at a time: reports and signals are not put off by many.
            let more =
                region::unblock_one(self.interp, |tstate, head| guard::count_of(tstate, head) > 0);
            let until_report = self.reporter.due_in_ns().unwrap_or(i64::MAX).max(0);
            let until_check = self.backoff.check(self.interp).min(RESCAN_NS);
            let sleep = if more { 0 } else { until_report.min(until_check) };
            let deadline = Deadline::after(sleep);
            let mut waiting = DetachAndSignals::new();
            let parked = lot::park_for(
                WaitKind::Guards,
                count_key(self.interp),
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
            dump::dump_guards(STDERR, Some(self.interp), clock::now_ns());
            thread::exit_process(1);
        }
    }

    /// An interrupted wait gives the rest up: they count as daemons (S-FZ-08).
    fn demote(&self) {
        let head = RUNTIME.lock();
        for tstate in list::iter(self.interp, &head) {
            if is_awaited(self.interp, tstate) {
                tstate.daemon().store(1, Relaxed);
            }
        }
        drop(head);
    }

    /// Commits, with the world stopped, if nothing is left that a round would have
    /// to do (S-FZ-12, S-FZ-13).
    #[must_use]
    pub(crate) fn try_commit(&self, also: impl FnOnce(&HeadGuard<'_>) -> bool) -> bool {
        let interp = self.interp;
        let head = RUNTIME.lock();
        // What other threads made and deleted in this pause counts.
        let departed = frozen::settle(interp, Departed::NONE, &head);
        let busy = list::iter(interp, &head).any(|tstate| is_awaited(interp, tstate))
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
