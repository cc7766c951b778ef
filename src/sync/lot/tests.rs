use super::*;
use crate::os::clock::now_ns;
use crate::os::testing as signal;
use crate::sync::waiting::{GiveUpOnSignal, OnSignal, Stay};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as StdOrdering};
use std::sync::mpsc;
use std::thread;

const MS: i64 = 1_000_000;

/// Waits until `wanted` threads are parked on `key`: the fact itself, no sleep.
fn until_parked(key: *const (), wanted: usize) {
    while count(key) != wanted {
        thread::yield_now();
    }
}

struct Key(*const ());
// SAFETY: only the address is used.
unsafe impl Send for Key {}
// SAFETY: as above.
unsafe impl Sync for Key {}

impl Key {
    fn of<T>(place: &T) -> Self {
        Self(ptr::from_ref(place).cast())
    }
    fn get(&self) -> *const () {
        self.0
    }
}

fn park_forever(key: *const ()) -> Parked {
    park(key, || true, Deadline::NEVER, ptr::null_mut(), &mut Stay, nothing)
}

#[test]
fn a_refused_validation_does_not_sleep() {
    struct Forbid;
    impl Waiting for Forbid {
        fn before_sleep(&mut self) {
            panic!("slept");
        }
    }
    let place = 0_u64;
    let key = Key::of(&place);
    assert_eq!(
        park(key.get(), || false, Deadline::NEVER, ptr::null_mut(), &mut Forbid, nothing),
        Parked::Again
    );
    assert_eq!(count(key.get()), 0);
}

#[test]
fn nobody_waiting_is_told_to_the_callback_once() {
    let place = 0_u64;
    let mut calls = 0;
    unpark_one(Key::of(&place).get(), |token, more| {
        calls += 1;
        assert!(token.is_none() && !more);
    });
    assert_eq!(calls, 1);
}

#[test]
fn the_wake_order_on_one_key_is_first_come_first_woken() {
    let place = 0_u64;
    let key = Key::of(&place);
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for nth in 0..6_usize {
            let (send, key) = (send.clone(), &key);
            scope.spawn(move || {
                let token = ptr::without_provenance_mut(nth + 1);
                assert_eq!(
                    park(key.get(), || true, Deadline::NEVER, token, &mut Stay, nothing),
                    Parked::Unparked
                );
                send.send(nth).unwrap();
            });
            until_parked(key.get(), nth + 1);
        }
        for nth in 0..6_usize {
            unpark_one(key.get(), |token, more| {
                assert_eq!(token.map(<*mut ()>::addr), Some(nth + 1));
                assert_eq!(more, nth < 5);
            });
            assert_eq!(receive.recv().unwrap(), nth);
        }
    });
}

#[test]
fn keys_that_share_a_bucket_do_not_wake_each_other() {
    let places = [0_u8; BUCKETS + 1];
    let (one, other) = (Key::of(&places[0]), Key::of(&places[BUCKETS]));
    assert!(ptr::eq(bucket(one.get()), bucket(other.get())));
    let woken = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(park_forever(one.get()), Parked::Unparked);
            woken.store(true, StdOrdering::SeqCst);
        });
        until_parked(one.get(), 1);
        unpark_all(other.get());
        unpark_one(other.get(), |token, more| assert!(token.is_none() && !more));
        assert_eq!(count(one.get()), 1);
        assert!(!woken.load(StdOrdering::SeqCst));
        unpark_one(one.get(), |token, _| assert!(token.is_some()));
    });
    assert!(woken.into_inner());
}

#[test]
fn unpark_all_wakes_everybody_of_its_key_only() {
    let places = [0_u8; BUCKETS + 1];
    let (one, other) = (Key::of(&places[0]), Key::of(&places[BUCKETS]));
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert_eq!(park_forever(one.get()), Parked::Unparked);
                woken.fetch_add(1, StdOrdering::SeqCst);
            });
        }
        scope.spawn(|| assert_eq!(park_forever(other.get()), Parked::Unparked));
        until_parked(one.get(), 8);
        until_parked(other.get(), 1);
        unpark_all(one.get());
        assert_eq!(count(other.get()), 1);
        unpark_all(other.get());
    });
    assert_eq!(woken.into_inner(), 8);
}

#[test]
fn a_wake_in_the_crowd_is_for_whom_it_was_meant() {
    let places = [0_u8; BUCKETS + 1];
    let (one, other) = (Key::of(&places[0]), Key::of(&places[BUCKETS]));
    let park_in = |place, key: &Key| {
        let how = (place, None);
        park_at(how, key.get(), || true, Deadline::NEVER, ptr::null_mut(), &mut Stay, nothing)
    };
    let woken = AtomicUsize::new(0);
    let (one, other, woken) = (&one, &other, &woken);
    thread::scope(|scope| {
        for place in
            [QueuePosition::Crowd, QueuePosition::Crowd, QueuePosition::Last, QueuePosition::Crowd]
        {
            let before = count(one.get());
            scope.spawn(move || {
                assert_eq!(park_in(place, one), Parked::Unparked);
                woken.fetch_add(1, StdOrdering::SeqCst);
            });
            until_parked(one.get(), before + 1);
        }
        scope.spawn(|| assert_eq!(park_in(QueuePosition::Crowd, other), Parked::Unparked));
        until_parked(other.get(), 1);
        // The first of the crowd alone; the others wake for nothing.
        unpark_one(one.get(), |token, more| assert!(token.is_some() && more));
        while woken.load(StdOrdering::SeqCst) != 1 {
            thread::yield_now();
        }
        assert_eq!((count(one.get()), count(other.get())), (3, 1));
        unpark_all(one.get());
        while woken.load(StdOrdering::SeqCst) != 4 {
            thread::yield_now();
        }
        assert_eq!(count(other.get()), 1);
        unpark_all(other.get());
    });
}

#[test]
fn a_timed_park_is_never_early_and_leaves_no_trace() {
    let place = 0_u64;
    let key = Key::of(&place);
    for timeout in [0, MS, 15 * MS] {
        let start = now_ns();
        let outcome =
            park(key.get(), || true, Deadline::after(timeout), ptr::null_mut(), &mut Stay, nothing);
        let waited = now_ns() - start;
        assert_eq!(outcome, Parked::TimedOut);
        assert!(waited >= timeout, "waited {waited} of {timeout}");
        assert_eq!(count(key.get()), 0);
    }
}

#[test]
fn a_waiter_chosen_at_its_deadline_is_unparked() {
    // Both outcomes are legal; what may not happen is that a chosen waiter says "timed out", or the
    // other way round.
    let place = 0_u64;
    let key = Key::of(&place);
    for round in 0..200_i64 {
        thread::scope(|scope| {
            let parked = scope.spawn(|| {
                let deadline = Deadline::after((round % 20) * 10_000);
                park(key.get(), || true, deadline, ptr::null_mut(), &mut Stay, nothing)
            });
            let mut chosen = false;
            while !chosen && !parked.is_finished() {
                unpark_one(key.get(), |token, _| chosen = token.is_some());
            }
            let expected = if chosen { Parked::Unparked } else { Parked::TimedOut };
            assert_eq!(parked.join().unwrap(), expected);
        });
    }
}

#[test]
fn the_hooks_bracket_the_whole_wait_once_and_hold_no_lock() {
    #[derive(Default)]
    struct Count(Vec<&'static str>);
    impl Waiting for Count {
        fn before_sleep(&mut self) {
            rank::assert_none_held();
            self.0.push("before");
        }
        fn after_sleep(&mut self) {
            rank::assert_none_held();
            self.0.push("after");
        }
        fn interrupted(&mut self) -> OnSignal {
            unreachable!("the lot does not ask")
        }
    }
    let place = 0_u64;
    let key = Key::of(&place);
    let mut hooks = Count::default();
    let outcome =
        park(key.get(), || true, Deadline::after(MS), ptr::null_mut(), &mut hooks, nothing);
    assert_eq!(outcome, Parked::TimedOut);
    assert_eq!(hooks.0, ["before", "after"]);
}

#[test]
fn what_the_callback_wrote_is_seen_by_the_woken_thread() {
    let place = 0_u64;
    let key = Key::of(&place);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut answer = 0_u32;
                    let token = (&raw mut answer).cast();
                    assert_eq!(
                        park(key.get(), || true, Deadline::NEVER, token, &mut Stay, nothing),
                        Parked::Unparked
                    );
                    assert_eq!(answer, 42);
                }
            });
        }
        let mut left = 4 * 500;
        while left > 0 {
            unpark_one(key.get(), |token, _| {
                if let Some(token) = token {
                    // SAFETY: the token is the parked thread's `answer`.
                    unsafe { token.cast::<u32>().write(42) };
                    left -= 1;
                }
            });
            thread::yield_now();
        }
    });
}

#[test]
fn a_signal_ends_the_sleep_of_who_wants_it_only() {
    use std::os::unix::thread::JoinHandleExt;
    if !futex::REPORTS_SIGNALS {
        return;
    }
    signal::install();
    let place: &'static u64 = Box::leak(Box::new(0));
    let key = Key::of(place);
    let address = key.get().addr();
    let deaf = thread::spawn(move || park_forever(ptr::without_provenance(address)));
    until_parked(key.get(), 1);
    let hearing = thread::spawn(move || {
        let mut waiting = GiveUpOnSignal(Stay);
        park(
            ptr::without_provenance(address),
            || true,
            Deadline::NEVER,
            ptr::null_mut(),
            &mut waiting,
            nothing,
        )
    });
    until_parked(key.get(), 2);
    while !hearing.is_finished() {
        signal::send(deaf.as_pthread_t());
        signal::send(hearing.as_pthread_t());
        thread::yield_now();
    }
    assert_eq!(hearing.join().unwrap(), Parked::Interrupted);
    assert_eq!(count(key.get()), 1);
    unpark_all(key.get());
    assert_eq!(deaf.join().unwrap(), Parked::Unparked);
}
