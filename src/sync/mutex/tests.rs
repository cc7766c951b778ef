use super::*;
use std::cell::UnsafeCell;
use std::thread;

const MS: i64 = 1_000_000;

struct Counter(UnsafeCell<u64>);
// SAFETY: the tests read and write it under a mutex only.
unsafe impl Sync for Counter {}

fn until_parked(mutex: &PyMutex, wanted: usize) {
    while lot::count(mutex.key()) != wanted {
        thread::yield_now();
    }
}

fn bits(mutex: &PyMutex) -> u8 {
    mutex._bits.load(Ordering::SeqCst)
}

#[test]
fn the_bits_are_cpythons() {
    let mutex = PyMutex::new();
    assert_eq!(bits(&mutex), 0);
    mutex.lock(&mut Stay);
    assert_eq!(bits(&mutex), 1);
    thread::scope(|scope| {
        scope.spawn(|| with(&mutex, || assert_ne!(bits(&mutex) & 1, 0)));
        until_parked(&mutex, 1);
        assert_eq!(bits(&mutex), 3);
        assert_eq!(mutex.unlock(), Ok(()));
    });
    assert_eq!(bits(&mutex), 0);
}

#[test]
fn unlocking_an_unlocked_mutex_is_told_and_changes_nothing() {
    let mutex = PyMutex::new();
    assert_eq!(mutex.unlock(), Err(NotLocked));
    assert_eq!(bits(&mutex), 0);
    assert!(mutex.try_lock());
    assert!(!mutex.try_lock());
    assert!(mutex.is_locked());
    assert_eq!(mutex.unlock(), Ok(()));
    assert!(!mutex.is_locked());
}

#[test]
fn it_excludes_under_contention() {
    let mutex = PyMutex::new();
    let counter = Counter(UnsafeCell::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let counter = &counter;
                for _ in 0..5_000 {
                    // SAFETY: under the mutex.
                    with(&mutex, || unsafe { *counter.0.get() += 1 });
                }
            });
        }
    });
    assert_eq!(counter.0.into_inner(), 40_000);
    assert_eq!(bits(&mutex), 0);
}

#[test]
fn a_timed_lock_is_never_early() {
    let mutex = PyMutex::new();
    mutex.lock(&mut Stay);
    for timeout in [0, 1, 2 * MS, 20 * MS] {
        let start = now_ns();
        assert_eq!(mutex.lock_timed(Deadline::after(timeout), &mut Stay), LockOutcome::TimedOut);
        let waited = now_ns() - start;
        assert!(waited >= timeout, "waited {waited} of {timeout}");
    }
    assert_eq!(mutex.unlock(), Ok(()));
    assert_eq!(mutex.lock_timed(Deadline::after(0), &mut Stay), LockOutcome::Acquired);
}

#[test]
fn any_thread_may_unlock() {
    let mutex = PyMutex::new();
    mutex.lock(&mut Stay);
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(mutex.unlock(), Ok(())));
    });
    assert_eq!(bits(&mutex), 0);
}

#[test]
fn a_waiter_older_than_a_millisecond_gets_the_lock_handed() {
    let mutex = PyMutex::new();
    mutex.lock(&mut Stay);
    thread::scope(|scope| {
        scope.spawn(|| {
            mutex.lock(&mut Stay);
            // Handed over: the byte never read "free" in between, so the barging below could not
            // win.
            assert_eq!(mutex.unlock(), Ok(()));
        });
        until_parked(&mutex, 1);
        let old = now_ns() + 2 * FAIR_AFTER_NS;
        while now_ns() < old {
            std::hint::spin_loop();
        }
        // The waiter parked before `old` was computed, so it is older than the limit now.
        let mut after = 0;
        lot_unlock_and_look(&mutex, &mut after);
        assert_eq!(after & LOCKED, LOCKED, "not handed over: {after}");
    });
    assert_eq!(bits(&mutex), 0);
}

/// Unlocks; `after` is the byte that the unlock itself wrote.
fn lot_unlock_and_look(mutex: &PyMutex, after: &mut u8) {
    // The callback's store is the only write between the two; the waiter cannot run before it is
    // released, and it then changes the byte only by unlocking: look from inside the lot instead of
    // racing with it.
    lot::unpark_one(mutex.key(), |token, has_more| {
        // SAFETY: tokens on this key are entries.
        let entry = unsafe { &*token.expect("a waiter").cast::<Entry>().cast_const() };
        assert_eq!(mutex.store_after_queue(Some(entry), has_more), Released::HandedOff);
        *after = bits(mutex);
    });
}

#[test]
fn a_young_waiter_competes() {
    let mutex = PyMutex::new();
    let entry = Entry { fair_at_ns: i64::MAX, handed_off: Cell::new(false) };
    mutex.lock(&mut Stay);
    assert_eq!(mutex.store_after_queue(Some(&entry), true), Released::Free);
    assert_eq!(bits(&mutex), HAS_PARKED);
    assert!(!entry.handed_off.get());
    // A newcomer may win (S-MX-03).
    assert!(mutex.try_lock());
    assert_eq!(bits(&mutex), LOCKED | HAS_PARKED);
}

#[test]
fn a_waiter_that_timed_out_does_not_confuse_the_next_unlock() {
    let mutex = PyMutex::new();
    mutex.lock(&mut Stay);
    assert_eq!(mutex.lock_timed(Deadline::after(MS), &mut Stay), LockOutcome::TimedOut);
    assert_eq!(bits(&mutex), LOCKED | HAS_PARKED);
    assert_eq!(mutex.unlock(), Ok(()));
    assert_eq!(bits(&mutex), UNLOCKED);
}
