//! Models of the GIL over the lot, each with three threads: take, wait, hand
//! over, resign. Two holders at once fail the model, and so does a waiter that
//! no thread wakes (loom reports a deadlock).

use super::*;
use crate::state::gil_word::Release;
use crate::sync::models::{FROZEN, Guarded, RUSHING, explore, explore_with, some_time};
use crate::sync::planted::Bug;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

/// The GIL, what it guards, and whether late threads must exit.
struct Host {
    gil: Arc<Guarded<Gil>>,
    over: AtomicBool,
}

struct Visitor<'a> {
    over: Option<&'a AtomicBool>,
    timed: bool,
}

impl Waiting for Visitor<'_> {}

impl GilWaiter for Visitor<'_> {
    fn must_exit(&self) -> bool {
        self.over.is_some_and(|over| over.load(core::sync::atomic::Ordering::Acquire))
    }

    fn patience(&self) -> Deadline {
        if self.timed { some_time() } else { Deadline::NEVER }
    }

    fn timed_out(&mut self) {
        self.timed = false;
    }
}

fn host() -> Arc<Host> {
    Arc::new(Host { gil: Guarded::new(Gil::new()), over: AtomicBool::new(false) })
}

fn take(gil: &Gil, mut visitor: Visitor<'_>) -> Taken {
    if gil.try_take() { Taken::Held } else { wait(gil, &mut visitor) }
}

fn release(gil: &Gil, forced: bool) {
    match gil.release() {
        Release::Free => {}
        Release::Contended => pass_on(gil, forced),
        Release::NotLocked => panic!("the GIL was not locked"),
    }
}

/// One visit: take, count, release.
fn visit(host: &Host, visitor: Visitor<'_>, forced: bool) -> Taken {
    let taken = take(&host.gil.lock, visitor);
    if taken == Taken::Held {
        host.gil.add();
        release(&host.gil.lock, forced);
    }
    taken
}

fn plain() -> Visitor<'static> {
    Visitor { over: None, timed: false }
}

fn three_visitors(forced: bool, timed: bool) {
    let host = host();
    let others: Vec<_> = (0..2)
        .map(|nth| {
            let host = host.clone();
            thread::spawn(move || {
                let visitor = Visitor { over: None, timed: timed && nth == 0 };
                assert_eq!(visit(&host, visitor, forced), Taken::Held);
            })
        })
        .collect();
    assert_eq!(visit(&host, plain(), forced), Taken::Held);
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(host.gil.read(), 3);
    assert!(!host.gil.lock.is_locked());
}

/// Woken waiters compete.
#[test]
fn loom_gil_three_threads_compete() {
    explore(2, FROZEN, || three_visitors(false, false));
}

/// Every waiter is old enough to be handed the GIL.
#[test]
fn loom_gil_three_threads_hand_over() {
    explore(2, RUSHING, || three_visitors(false, false));
}

/// Each release answers a drop request.
#[test]
fn loom_gil_three_threads_are_forced_to_hand_over() {
    explore(2, FROZEN, || three_visitors(true, false));
}

/// One waiter looks at the holder between two sleeps.
#[test]
fn loom_gil_a_waiter_that_looks_keeps_its_turn() {
    explore(2, FROZEN, || three_visitors(false, true));
}

/// One holder that comes back, one waiter that has to exit, one that waits on:
/// the one that resigns passes its wake-up on and takes the GIL from no thread.
fn one_resigns(rouse: bool) {
    let host = host();
    assert!(host.gil.lock.try_take());
    let late = {
        let host = host.clone();
        thread::spawn(move || {
            let visitor = Visitor { over: Some(&host.over), timed: false };
            u32::from(visit(&host, visitor, false) == Taken::Held)
        })
    };
    let patient = {
        let host = host.clone();
        thread::spawn(move || assert_eq!(visit(&host, plain(), false), Taken::Held))
    };
    host.gil.add();
    host.over.store(true, core::sync::atomic::Ordering::Release);
    if rouse {
        wake_all(&host.gil.lock);
    }
    release(&host.gil.lock, false);
    assert_eq!(visit(&host, plain(), false), Taken::Held);
    let visited = late.join().unwrap();
    patient.join().unwrap();
    assert_eq!(host.gil.read(), 3 + visited);
    assert!(!host.gil.lock.is_locked());
}

/// Runs [`one_resigns`] without other wake-ups.
#[test]
fn loom_gil_a_waiter_that_resigns_leaves_the_gil_to_its_holder() {
    explore(3, FROZEN, || one_resigns(false));
}

/// Runs [`one_resigns`] where every waiter is roused, as at the end of an interpreter.
#[test]
fn loom_gil_roused_waiters_lose_no_wake_up() {
    explore(2, FROZEN, || one_resigns(true));
}

/// Runs [`one_resigns`] with the read and the write of the word as two steps, as
/// they once were. The model must find the second holder.
#[test]
#[should_panic]
fn loom_gil_finds_a_torn_change_of_the_word() {
    explore_with(Bug::TornWake, 4, FROZEN, || one_resigns(false));
}
