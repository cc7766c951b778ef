//! Models of the queue and of its claim, each with three threads.

use super::*;
use crate::sync::models::{FROZEN, explore, explore_with};
use crate::sync::planted::Bug;
use loom::sync::Arc;
use loom::thread;

fn call(number: usize) -> Call {
    Call { func: None, arg: core::ptr::without_provenance_mut(number), flags: 0 }
}

/// One pass of one taker: bits of the calls that it took.
fn pass(queue: &PendingQueue, me: usize) -> usize {
    let mut taken = 0;
    if queue.claim(core::ptr::without_provenance_mut(me), false).is_ok() {
        while let Some(call) = queue.pop() {
            assert_eq!(taken & call.arg.addr(), 0, "a call ran twice");
            taken |= call.arg.addr();
        }
        queue.unclaim();
    }
    taken
}

/// Takers in turn see where the one before them stopped: no call runs twice, and
/// what is not taken is still there.
fn takers_in_turn() {
    let queue = Arc::new(PendingQueue::new(3));
    queue.push(call(1)).unwrap();
    queue.push(call(2)).unwrap();
    let others = [8, 16].map(|me| {
        let queue = queue.clone();
        thread::spawn(move || pass(&queue, me))
    });
    let mine = pass(&queue, 24);
    let [a, b] = others.map(|other| other.join().unwrap());
    let left = pass(&queue, 24);
    assert_eq!((mine & a) | (mine & b) | (a & b) | (left & (mine | a | b)), 0, "a call ran twice");
    assert_eq!(mine | a | b | left, 3, "a call was lost");
}

/// Runs [`takers_in_turn`] in every order of steps.
#[test]
fn loom_pending_no_call_runs_twice() {
    explore(3, FROZEN, takers_in_turn);
}

/// Runs [`takers_in_turn`] with a claim that is given back without Release, as it
/// once was. The model must find that a taker reads an old position and runs a call
/// again.
#[test]
#[should_panic]
fn loom_pending_finds_a_claim_given_back_too_weakly() {
    explore_with(Bug::RelaxedClaim, 3, FROZEN, takers_in_turn);
}

/// Two threads add, one takes meanwhile: nothing is lost, nothing runs twice.
#[test]
fn loom_pending_two_add_while_one_takes() {
    explore(2, FROZEN, || {
        let queue = Arc::new(PendingQueue::new(2));
        let others = [1, 2].map(|number| {
            let queue = queue.clone();
            thread::spawn(move || queue.push(call(number)).unwrap())
        });
        let taken = pass(&queue, 8);
        for other in others {
            other.join().unwrap();
        }
        let left = pass(&queue, 8);
        assert_eq!((taken & left, taken | left), (0, 3));
    });
}
