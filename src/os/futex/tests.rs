//! The tests of the futex, which every implementation that can run here must pass.

use super::{Wait, portable};
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::clock::{Deadline, now_ns};
use std::thread;

const MS: i64 = 1_000_000;

type WaitFn = fn(&AtomicU32, u32, Deadline) -> Wait;
type WakeFn = fn(*const AtomicU32, u32);

fn machines() -> [(&'static str, WaitFn, WakeFn); 2] {
    [("chosen", super::wait, super::wake), ("portable", portable::wait, portable::wake)]
}

#[test]
fn a_changed_word_does_not_sleep() {
    for (name, wait, _) in machines() {
        let word = AtomicU32::new(7);
        assert_eq!(wait(&word, 8, Deadline::NEVER), Wait::Changed, "{name}");
    }
}

#[test]
fn a_timed_wait_is_never_early() {
    for (name, wait, _) in machines() {
        for timeout in [0, 1, MS / 2, 3 * MS, 20 * MS] {
            let word = AtomicU32::new(0);
            let start = now_ns();
            let outcome = wait(&word, 0, Deadline::after(timeout));
            let waited = now_ns() - start;
            assert_eq!(outcome, Wait::TimedOut, "{name}");
            assert!(waited >= timeout, "{name}: waited {waited} of {timeout}");
        }
    }
}

#[test]
fn every_sleeper_is_woken_and_none_twice() {
    for (name, wait, wake) in machines() {
        let word = AtomicU32::new(0);
        let woken = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while word.load(Ordering::Acquire) == 0 {
                        let _ = wait(&word, 0, Deadline::NEVER);
                    }
                    woken.fetch_add(1, Ordering::Relaxed);
                });
            }
            word.store(1, Ordering::Release);
            wake(&word, u32::MAX);
        });
        assert_eq!(woken.load(Ordering::Relaxed), 4, "{name}");
    }
}

#[test]
fn two_threads_hand_a_word_to_and_fro() {
    for (name, wait, wake) in machines() {
        let word = AtomicU32::new(0);
        let play = |mine: u32| {
            for _ in 0..2_000 {
                while word.load(Ordering::Acquire) != mine {
                    let _ = wait(&word, 1 - mine, Deadline::NEVER);
                }
                word.store(1 - mine, Ordering::Release);
                wake(&word, 1);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| play(0));
            scope.spawn(|| play(1));
        });
        assert_eq!(word.load(Ordering::Relaxed), 0, "{name}");
    }
}

#[test]
fn a_word_that_nobody_waits_on_may_be_gone_when_it_is_woken() {
    for (_, _, wake) in machines() {
        wake(std::ptr::without_provenance(0x1000), 1);
    }
}
