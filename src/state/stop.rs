//! Stop-the-world requests: whose turn it is, and how far a pause has come.
//!
//! The gate admits one pause of all interpreters, or any number of pauses of
//! different ones (S-STW-01). While a thread that is attached to one interpreter
//! (its home) pauses another, its home is not paused: two that pause each
//! other's would both stand. Requests that conflict are served in the order of
//! their arrival, and a requester that just ended a pause goes to the end of the queue:
//! no requester starves.
//!
//! A waiting requester owns nothing: if its interpreter ends while it waits, no
//! other request is held up (gh-137433). CPython 3.14 has a readers-writer mutex and a mutex
//! for each scope in this place, taken in this order.
//!
//! Field access: everything under the head lock, unless said otherwise.
//! Mirrors CPython 3.14 `struct _stoptheworld_state` (pycore_interp_structs.h).

use crate::os::clock::Deadline;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::stop_scope::StopScope;
use crate::state::thread::{ThreadState, ThreadStateRef};
use crate::sync::event::PyEvent;
use crate::sync::head::HeadGuard;
use crate::sync::waiting::Stay;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// What a pause covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every interpreter.
    All,
    /// One interpreter.
    One(Interp),
}

impl Scope {
    pub(crate) fn data(&self) -> &StopScope {
        match self {
            Scope::All => &RUNTIME.stop,
            Scope::One(interp) => &interp.stop,
        }
    }

    pub(crate) fn covers(self, interp: Interp) -> bool {
        self == Scope::All || self == Scope::One(interp)
    }

    /// Calls `visit` for every state in scope but the requester's.
    pub(crate) fn others(&self, head: &HeadGuard<'_>, mut visit: impl FnMut(ThreadStateRef)) {
        let requester = self.data().requester.load(Relaxed);
        for interp in RUNTIME.interps(head).filter(|interp| self.covers(*interp)) {
            for tstate in list::iter(interp, head) {
                if tstate.as_raw() != requester {
                    visit(tstate);
                }
            }
        }
    }
}

/// A thread's request for a pause, on that thread's stack until it is granted.
pub(crate) struct Request {
    scope: Scope,
    /// Where the requester is attached, if that is outside the scope.
    home: Option<Interp>,
    requester: *mut ThreadState,
    thread: usize,
    granted: PyEvent,
    next: AtomicPtr<Request>,
}

impl Request {
    /// `attached`: the state that the caller has attached, and its interpreter.
    pub(crate) fn new(scope: Scope, attached: Option<(ThreadStateRef, Interp)>) -> Request {
        let requester = attached.map(|(tstate, _)| tstate);
        let home = attached.map(|(_, interp)| interp).filter(|interp| !scope.covers(*interp));
        Request {
            scope,
            home,
            requester: requester.map_or(ptr::null_mut(), ThreadStateRef::as_raw),
            thread: crate::os::thread::ident() as usize,
            granted: PyEvent::new(),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Whether the two pauses cannot be granted at the same time.
    fn conflicts(&self, other: &Request) -> bool {
        let pauses = |one: &Request, home: Option<Interp>| {
            home.is_some_and(|home| one.scope == Scope::One(home))
        };
        self.scope == Scope::All
            || other.scope == Scope::All
            || self.scope == other.scope
            || pauses(self, other.home)
            || pauses(other, self.home)
    }

    /// Whether the request is granted.
    pub(crate) fn is_granted(&self) -> bool {
        self.granted.is_set()
    }

    /// Sleeps until the request is granted.
    pub(crate) fn wait(&self) {
        let _ = self.granted.wait(Deadline::NEVER, &mut Stay);
    }
}

/// The one gate of the process.
pub(crate) static GATE: Gate = Gate::new();

/// Decides which pauses are granted, by the rules at the head of this module.
pub(crate) struct Gate {
    first: AtomicPtr<Request>,
    /// 1 while a pause of all interpreters is granted.
    all: AtomicU32,
    /// Number of granted pauses of one interpreter.
    ones: AtomicU32,
}

/// Requests that were granted and whose threads have to be woken.
#[must_use]
pub(crate) struct Granted {
    first: *mut Request,
}

impl Granted {
    /// Wakes the threads of the granted requests. The caller holds no lock.
    pub(crate) fn tell(self) {
        let mut next = self.first;
        // SAFETY: a request lives until its thread sees that it is granted.
        while let Some(request) = unsafe { next.as_ref() } {
            next = request.next.load(Relaxed);
            request.granted.set();
        }
    }
}

impl Gate {
    pub(crate) const fn new() -> Gate {
        Gate {
            first: AtomicPtr::new(ptr::null_mut()),
            all: AtomicU32::new(0),
            ones: AtomicU32::new(0),
        }
    }

    /// Queues `request`. It stays where it is until it is granted, maybe at once.
    pub(crate) fn enter(&self, request: &Request, head: &HeadGuard<'_>) -> Granted {
        let mut link = &self.first;
        // SAFETY: queued requests live until they are granted.
        while let Some(queued) = unsafe { link.load(Relaxed).as_ref() } {
            link = &queued.next;
        }
        link.store(ptr::from_ref(request).cast_mut(), Relaxed);
        self.grant(head)
    }

    /// Ends the pause of `scope`, which was granted, and admits the requests that it held back.
    pub(crate) fn leave(&self, scope: Scope, head: &HeadGuard<'_>) -> Granted {
        let data = scope.data();
        // SAFETY: interpreter blocks are never unmapped (INTERP-1).
        if let Some(home) = unsafe { Interp::from_ptr(data.home.swap(ptr::null_mut(), Relaxed)) } {
            home.stop.pauses_from_here.store(home.stop.pauses_from_here.load(Relaxed) - 1, Relaxed);
        }
        data.clear();
        match scope {
            Scope::All => self.all.store(0, Relaxed),
            Scope::One(_) => self.ones.store(self.ones.load(Relaxed) - 1, Relaxed),
        }
        self.grant(head)
    }

    /// Admits each request that conflicts with no pause and with no older request.
    fn grant(&self, head: &HeadGuard<'_>) -> Granted {
        let mut granted: *mut Request = ptr::null_mut();
        let mut link = &self.first;
        // SAFETY: queued requests live until they are granted.
        while let Some(request) = unsafe { link.load(Relaxed).as_ref() } {
            if self.admits(request) && !self.older_conflicts(request) {
                link.store(request.next.load(Relaxed), Relaxed);
                self.begin(request, head);
                request.next.store(granted, Relaxed);
                granted = ptr::from_ref(request).cast_mut();
            } else {
                link = &request.next;
            }
        }
        Granted { first: granted }
    }

    fn admits(&self, request: &Request) -> bool {
        let paused = |interp: Interp| interp.stop.requested.load(Relaxed) != 0;
        self.all.load(Relaxed) == 0
            && !request.home.is_some_and(paused)
            && match request.scope {
                Scope::All => self.ones.load(Relaxed) == 0,
                Scope::One(interp) => {
                    !paused(interp) && interp.stop.pauses_from_here.load(Relaxed) == 0
                }
            }
    }

    fn older_conflicts(&self, request: &Request) -> bool {
        let mut next = self.first.load(Relaxed);
        // SAFETY: queued requests live until they are granted.
        while let Some(older) = unsafe { next.as_ref() }.filter(|one| !ptr::eq(*one, request)) {
            if older.conflicts(request) {
                return true;
            }
            next = older.next.load(Relaxed);
        }
        false
    }

    /// From here on states that are linked in the scope begin suspended, and
    /// those that are there now count.
    fn begin(&self, request: &Request, head: &HeadGuard<'_>) {
        let data = request.scope.data();
        match request.scope {
            Scope::All => self.all.store(1, Relaxed),
            Scope::One(_) => self.ones.store(self.ones.load(Relaxed) + 1, Relaxed),
        }
        data.requester.store(request.requester, Relaxed);
        data.thread.store(request.thread, Relaxed);
        if let Some(home) = request.home {
            data.home.store(home.as_ptr(), Relaxed);
            home.stop.pauses_from_here.store(home.stop.pauses_from_here.load(Relaxed) + 1, Relaxed);
        }
        let mut count = 0;
        request.scope.others(head, |_| count += 1);
        data.begin(count);
    }

    /// Resets the gate in a fork child, where no thread waits and no pause is granted. The only
    /// thread calls it.
    pub(crate) fn reset_in_child(&self) {
        self.first.store(ptr::null_mut(), Relaxed);
        self.all.store(0, Relaxed);
        self.ones.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::interp::InterpBlock;

    /// Makes interpreters for one test. They are in no list, so pauses of them count
    /// no threads.
    fn interps<const N: usize>() -> [Interp; N] {
        core::array::from_fn(|_| {
            let block = Box::leak(Box::new(InterpBlock::new()));
            // SAFETY: leaked, so never unmapped.
            unsafe { Interp::from_ptr(core::ptr::from_mut(block).cast()) }.expect("not NULL")
        })
    }

    fn request(scope: Scope, home: Option<Interp>) -> Request {
        Request { home, ..Request::new(scope, None) }
    }

    fn enter(gate: &Gate, request: &Request) -> bool {
        let head = RUNTIME.lock();
        let granted = gate.enter(request, &head);
        drop(head);
        granted.tell();
        request.is_granted()
    }

    fn leave(gate: &Gate, scope: Scope) {
        let head = RUNTIME.lock();
        let granted = gate.leave(scope, &head);
        drop(head);
        granted.tell();
    }

    #[test]
    fn different_interpreters_are_paused_at_once_and_the_same_one_in_turn() {
        let gate = Gate::new();
        let [a, b] = interps();
        let first = Request::new(Scope::One(a), None);
        let again = Request::new(Scope::One(a), None);
        let other = Request::new(Scope::One(b), None);
        assert!(enter(&gate, &first));
        assert!(!enter(&gate, &again));
        assert!(enter(&gate, &other), "it waited behind a request for another interpreter");
        leave(&gate, Scope::One(b));
        assert!(!again.is_granted());
        leave(&gate, Scope::One(a));
        assert!(again.is_granted());
        leave(&gate, Scope::One(a));
    }

    #[test]
    fn a_home_is_not_paused_while_its_thread_pauses_another() {
        let gate = Gate::new();
        let [a, b, c] = interps();
        let there = request(Scope::One(b), Some(a));
        let back = request(Scope::One(a), Some(b));
        let aside = request(Scope::One(c), Some(a));
        let again = request(Scope::One(b), Some(a));
        assert!(enter(&gate, &there));
        assert!(!enter(&gate, &back));
        assert!(!enter(&gate, &aside), "it came after a pause of its home");
        assert!(!enter(&gate, &again));
        leave(&gate, Scope::One(b));
        assert!(back.is_granted() && !again.is_granted() && !aside.is_granted());
        leave(&gate, Scope::One(a));
        assert!(again.is_granted() && aside.is_granted());
        leave(&gate, Scope::One(b));
        leave(&gate, Scope::One(c));
        assert_eq!(a.stop.pauses_from_here.load(Relaxed), 0);
    }

    // The pause of all is the runtime's own, of which there is one: one test.
    #[test]
    fn a_pause_of_all_excludes_every_other_and_is_not_passed() {
        let gate = Gate::new();
        let [a, b] = interps();
        let one = Request::new(Scope::One(a), None);
        let all = Request::new(Scope::All, None);
        let late = Request::new(Scope::One(b), None);
        let last = Request::new(Scope::All, None);
        assert!(enter(&gate, &one));
        assert!(!enter(&gate, &all));
        assert!(!enter(&gate, &late), "it passed an older request for all");
        assert!(!enter(&gate, &last));
        leave(&gate, Scope::One(a));
        assert!(all.is_granted() && !late.is_granted());
        leave(&gate, Scope::All);
        assert!(late.is_granted() && !last.is_granted());
        leave(&gate, Scope::One(b));
        assert!(last.is_granted());
        leave(&gate, Scope::All);
        assert!(enter(&gate, &Request::new(Scope::One(a), None)));
    }
}
