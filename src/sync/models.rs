//! Loom models: every interleaving up to a bound on preemptions, stated at each model. A lost
//! wake-up is a deadlock here, which loom reports; a double grant is a concurrent access to a loom
//! cell, which it reports as well.
//!
//! Deadlines pass when the scheduler likes (see `os::futex::model`); the clock either stands still,
//! so that no waiter of a PyMutex is ever old enough for hand-off, or every waiter is.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --lib --release loom_`.

use super::atomic::{AtomicU32, Ordering};
use super::event::PyEvent;
use super::lot::{self, Parked};
use super::mutex::{LockOutcome, PyMutex};
use super::once::{_PyOnceFlag, Once};
use super::planted::{Bug, plant};
use super::raw_mutex::_PyRawMutex;
use super::rwmutex::_PyRWMutex;
use super::thread_lock::{Signals, ThreadLock};
use super::waiting::Stay;
use crate::os::clock::{Deadline, model::set_step};
use core::ptr;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// The clock is one for the process, so models run one after the other, each with its own.
pub(crate) fn explore(
    preemptions: usize,
    clock_step_ns: i64,
    model: impl Fn() + Sync + Send + 'static,
) {
    explore_with(Bug::None, preemptions, clock_step_ns, model);
}

/// Does what [`explore`] does with a mistake of an earlier protocol planted; such a model is
/// expected to fail.
pub(crate) fn explore_with(
    bug: Bug,
    preemptions: usize,
    clock_step_ns: i64,
    model: impl Fn() + Sync + Send + 'static,
) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    set_step(clock_step_ns);
    plant(bug);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// No waiter is old enough for hand-off.
pub(crate) const FROZEN: i64 = 0;
/// Every waiter is old enough for hand-off.
pub(crate) const RUSHING: i64 = 2_000_000;

/// Some time; it may pass at any moment.
pub(crate) fn some_time() -> Deadline {
    Deadline::after(3_600_000_000_000)
}

/// A count that loom watches: two threads at it at once fail the model.
pub(crate) struct Guarded<L> {
    pub(crate) lock: L,
    count: UnsafeCell<u32>,
}

// SAFETY: loom checks it, which is the point.
unsafe impl<L: Sync> Sync for Guarded<L> {}
// SAFETY: as above.
unsafe impl<L: Send> Send for Guarded<L> {}

impl<L> Guarded<L> {
    pub(crate) fn new(lock: L) -> Arc<Self> {
        Arc::new(Self { lock, count: UnsafeCell::new(0) })
    }

    pub(crate) fn add(&self) {
        // SAFETY: loom reports an access by any other thread.
        self.count.with_mut(|count| unsafe { *count += 1 });
    }

    pub(crate) fn read(&self) -> u32 {
        // SAFETY: as above.
        self.count.with(|count| unsafe { *count })
    }
}

fn key_of<T>(place: &T) -> *const () {
    ptr::from_ref(place).cast()
}

// ---- Parking lot: 4 preemptions, 3 with three threads -------------------------------------------

/// A waiter that checks a flag under the bucket lock against a waker that sets it and unparks: the
/// waiter always ends.
#[test]
fn loom_lot_no_wake_up_is_lost() {
    explore(4, FROZEN, || {
        let flag = Arc::new(AtomicU32::new(0));
        let waiter = {
            let flag = flag.clone();
            thread::spawn(move || {
                let validate = || flag.load(Ordering::Relaxed) == 0;
                let parked = lot::park(
                    key_of(&*flag),
                    validate,
                    Deadline::NEVER,
                    ptr::null_mut(),
                    &mut Stay,
                    lot::nothing,
                );
                assert!(matches!(parked, Parked::Unparked | Parked::Again));
            })
        };
        flag.store(1, Ordering::Relaxed);
        lot::unpark_one(key_of(&*flag), |_, more| assert!(!more));
        waiter.join().unwrap();
    });
}

/// The waker's choice and the waiter's outcome agree, whenever the deadline passes (S-PL-02).
#[test]
fn loom_lot_a_chosen_waiter_is_unparked_and_no_other() {
    explore(4, FROZEN, || {
        let place = Arc::new(AtomicU32::new(0));
        let waiter = {
            let place = place.clone();
            thread::spawn(move || {
                lot::park(
                    key_of(&*place),
                    || true,
                    some_time(),
                    ptr::null_mut(),
                    &mut Stay,
                    lot::nothing,
                )
            })
        };
        let mut chosen = false;
        lot::unpark_one(key_of(&*place), |token, _| chosen = token.is_some());
        let expected = if chosen { Parked::Unparked } else { Parked::TimedOut };
        assert_eq!(waiter.join().unwrap(), expected);
    });
}

/// Two waiters, one of which may give up, and unpark_all: all threads end; a second key in the same
/// bucket is left alone.
#[test]
fn loom_lot_unpark_all_wakes_everybody_of_its_key() {
    explore(3, FROZEN, || {
        let places = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let waiters = [some_time(), Deadline::NEVER].map(|deadline| {
            let places = places.clone();
            thread::spawn(move || {
                let validate = || places[0].load(Ordering::Relaxed) == 0;
                let _ = lot::park(
                    key_of(&places[0]),
                    validate,
                    deadline,
                    ptr::null_mut(),
                    &mut Stay,
                    lot::nothing,
                );
            })
        });
        lot::unpark_one(key_of(&places[1]), |token, more| assert!(token.is_none() && !more));
        places[0].store(1, Ordering::Relaxed);
        lot::unpark_all(key_of(&places[0]));
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// All waiters of a key are woken that sleep on one word, which a wake on another key of the bucket
/// counts up as well.
#[test]
fn loom_lot_the_crowd_is_woken_together() {
    explore(3, FROZEN, || {
        let places = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let waiters = [(0, some_time()), (1, Deadline::NEVER)].map(|(own, deadline)| {
            let places = places.clone();
            thread::spawn(move || {
                let place = &places[own];
                let validate = || place.load(Ordering::Relaxed) == 0;
                let nothing = ptr::null_mut();
                let crowd = (lot::QueuePosition::Crowd, None);
                lot::park_at(
                    crowd,
                    key_of(place),
                    validate,
                    deadline,
                    nothing,
                    &mut Stay,
                    lot::nothing,
                )
            })
        });
        let mut chosen = false;
        places[0].store(1, Ordering::Relaxed);
        lot::unpark_one(key_of(&places[0]), |token, _| chosen = token.is_some());
        places[1].store(1, Ordering::Relaxed);
        lot::unpark_all(key_of(&places[1]));
        let [first, second] = waiters.map(|waiter| waiter.join().unwrap());
        assert_eq!(first == Parked::Unparked, chosen);
        assert!(matches!(second, Parked::Unparked | Parked::Again));
    });
}

// ---- PyMutex ------------------------------------------------------------------------------------

fn mutex_users(threads: usize) {
    let shared = Guarded::new(PyMutex::new());
    let spawned: Vec<_> = (1..threads)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.lock.lock(&mut Stay);
                shared.add();
                assert_eq!(shared.lock.unlock(), Ok(()));
            })
        })
        .collect();
    shared.lock.lock(&mut Stay);
    shared.add();
    assert_eq!(shared.lock.unlock(), Ok(()));
    for thread in spawned {
        thread.join().unwrap();
    }
    assert_eq!(shared.read() as usize, threads);
    assert!(!shared.lock.is_locked());
}

/// Barging: woken waiters compete. 4 preemptions.
#[test]
fn loom_mutex_two_threads_compete() {
    explore(4, FROZEN, || mutex_users(2));
}

/// Hand-off: the lock goes to the waiter without being free in between. 4 preemptions.
#[test]
fn loom_mutex_two_threads_hand_over() {
    explore(4, RUSHING, || mutex_users(2));
}

/// Three threads: a waiter behind a waiter. 3 preemptions.
#[test]
fn loom_mutex_three_threads_compete() {
    explore(3, FROZEN, || mutex_users(3));
}

/// Three threads with hand-off. 3 preemptions.
#[test]
fn loom_mutex_three_threads_hand_over() {
    explore(3, RUSHING, || mutex_users(3));
}

/// A timed waiter beside an untimed one: a waiter that times out does not hold the lock, one that
/// is handed it does, and none is left. 3 preemptions.
fn mutex_with_a_timeout() {
    let shared = Guarded::new(PyMutex::new());
    shared.lock.lock(&mut Stay);
    let timed = {
        let shared = shared.clone();
        thread::spawn(move || {
            let outcome = shared.lock.lock_timed(some_time(), &mut Stay);
            if outcome == LockOutcome::Acquired {
                shared.add();
                assert_eq!(shared.lock.unlock(), Ok(()));
            }
            outcome
        })
    };
    let patient = {
        let shared = shared.clone();
        thread::spawn(move || {
            shared.lock.lock(&mut Stay);
            shared.add();
            assert_eq!(shared.lock.unlock(), Ok(()));
        })
    };
    assert_eq!(shared.lock.unlock(), Ok(()));
    let timed = timed.join().unwrap();
    patient.join().unwrap();
    assert_eq!(shared.read(), 1 + u32::from(timed == LockOutcome::Acquired));
    assert!(!shared.lock.is_locked());
}

/// See [`mutex_with_a_timeout`].
#[test]
fn loom_mutex_a_timeout_beside_competition() {
    explore(3, FROZEN, mutex_with_a_timeout);
}

/// See [`mutex_with_a_timeout`].
#[test]
fn loom_mutex_a_timeout_beside_hand_over() {
    explore(3, RUSHING, mutex_with_a_timeout);
}

// ---- PyEvent: 4 preemptions with one waiter, 3 with two -----------------------------------------

/// What was written before the set is seen after the wait, and the wait ends.
#[test]
fn loom_event_set_against_wait() {
    explore(4, FROZEN, || {
        let shared = Guarded::new(PyEvent::new());
        let waiter = {
            let shared = shared.clone();
            thread::spawn(move || {
                assert!(shared.lock.wait(Deadline::NEVER, &mut Stay));
                assert_eq!(shared.read(), 1);
            })
        };
        shared.add();
        shared.lock.set();
        waiter.join().unwrap();
    });
}

/// Set against a wait without limit against a wait whose deadline passes at any moment.
#[test]
fn loom_event_set_against_wait_against_timeout() {
    explore(3, FROZEN, || {
        let shared = Guarded::new(PyEvent::new());
        let patient = {
            let shared = shared.clone();
            thread::spawn(move || {
                assert!(shared.lock.wait(Deadline::NEVER, &mut Stay));
                assert_eq!(shared.read(), 1);
            })
        };
        let timed = {
            let shared = shared.clone();
            thread::spawn(move || {
                if shared.lock.wait(some_time(), &mut Stay) {
                    assert_eq!(shared.read(), 1);
                }
            })
        };
        shared.add();
        shared.lock.set();
        patient.join().unwrap();
        timed.join().unwrap();
        assert!(shared.lock.is_set());
    });
}

// ---- Once flag: 4 preemptions with two callers, 2 with three ------------------------------------

/// `threads` callers, of whose runs the first `failures` fail.
fn once_callers(threads: u32, failures: u32) {
    let shared = Guarded::new(_PyOnceFlag::new());
    let call = move |shared: &Guarded<_PyOnceFlag>| {
        let once = shared.lock.call(
            || {
                // The flag excludes runs from each other, and each sees what the ones before it
                // did.
                shared.add();
                shared.read() > failures
            },
            &mut Stay,
        );
        if once == Once::Done {
            assert_eq!(shared.read(), failures + 1);
        }
        once
    };
    let spawned: Vec<_> = (1..threads)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || call(&shared))
        })
        .collect();
    let mut failed = u32::from(call(&shared) == Once::Failed);
    for thread in spawned {
        failed += u32::from(thread.join().unwrap() == Once::Failed);
    }
    assert_eq!((failed, shared.lock.is_done()), (failures, true));
}

/// One runs, the other waits or comes later.
#[test]
fn loom_once_two_callers() {
    explore(4, FROZEN, || once_callers(2, 0));
}

/// The first run fails; a thread that waited for it runs the function again (S-ON-02).
#[test]
fn loom_once_two_callers_and_a_failure() {
    explore(4, FROZEN, || once_callers(2, 1));
}

/// Two waiters behind a run that fails: one of them runs, the other waits on.
#[test]
fn loom_once_three_callers_and_a_failure() {
    explore(2, FROZEN, || once_callers(3, 1));
}

// ---- Readers-writer mutex: 2 preemptions --------------------------------------------------------

/// Writers and readers of one count, each once.
fn rw_users(writers: u32, readers: u32) {
    let shared = Guarded::new(_PyRWMutex::new());
    let mut spawned = Vec::new();
    for nth in 0..writers + readers {
        let shared = shared.clone();
        spawned.push(thread::spawn(move || {
            if nth < writers {
                shared.lock.write_lock(&mut Stay);
                shared.add();
                assert_eq!(shared.lock.write_unlock(), Ok(()));
            } else {
                shared.lock.read_lock(&mut Stay);
                assert!(shared.read() <= writers);
                assert_eq!(shared.lock.read_unlock(), Ok(()));
            }
        }));
    }
    for thread in spawned {
        thread.join().unwrap();
    }
    assert_eq!((shared.read(), shared.lock.bits()), (writers, 0));
}

/// A writer among two readers: the last reader wakes it, and its unlock wakes the readers it kept
/// out.
#[test]
fn loom_rwmutex_one_writer_two_readers() {
    explore(2, FROZEN, || rw_users(1, 2));
}

/// Two writers and a reader.
#[test]
fn loom_rwmutex_two_writers_one_reader() {
    explore(2, FROZEN, || rw_users(2, 1));
}

// ---- The locks without the lot: 4 preemptions with two threads, 3 with three --------------------

fn raw_mutex_users(threads: u32) {
    let shared = Guarded::new(_PyRawMutex::new());
    let work = |shared: &Guarded<_PyRawMutex>| {
        shared.lock.lock();
        shared.add();
        assert_eq!(shared.lock.unlock(), Ok(()));
    };
    let spawned: Vec<_> = (1..threads)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || work(&shared))
        })
        .collect();
    work(&shared);
    for thread in spawned {
        thread.join().unwrap();
    }
    assert_eq!((shared.read(), shared.lock.is_locked()), (threads, false));
}

/// Two threads.
#[test]
fn loom_raw_mutex_two_threads() {
    explore(4, FROZEN, || raw_mutex_users(2));
}

/// Three threads: a list of two waiters.
#[test]
fn loom_raw_mutex_three_threads() {
    explore(3, FROZEN, || raw_mutex_users(3));
}

/// A timed and an untimed acquirer of a PyThread lock: the one that times out takes no wake-up with
/// it.
#[test]
fn loom_thread_lock_a_timeout_takes_no_wake_up_away() {
    explore(3, FROZEN, || {
        let shared = Guarded::new(ThreadLock::new());
        assert!(shared.lock.try_acquire());
        let users = [some_time(), Deadline::NEVER].map(|deadline| {
            let shared = shared.clone();
            thread::spawn(move || {
                let outcome = shared.lock.acquire(deadline, Signals::Ignore);
                if outcome == LockOutcome::Acquired {
                    shared.add();
                    assert_eq!(shared.lock.release(), Ok(()));
                }
                outcome
            })
        });
        assert_eq!(shared.lock.release(), Ok(()));
        let [timed, patient] = users.map(|user| user.join().unwrap());
        assert_eq!(patient, LockOutcome::Acquired);
        assert_eq!(shared.read(), 1 + u32::from(timed == LockOutcome::Acquired));
        assert!(!shared.lock.is_locked());
    });
}
