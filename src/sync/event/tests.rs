use super::*;
use crate::os::clock::now_ns;
use crate::sync::waiting::Stay;
use std::sync::atomic::AtomicUsize;
use std::thread;

const MS: i64 = 1_000_000;

fn until_parked(event: &PyEvent, wanted: usize) {
    while lot::count(event.key()) != wanted {
        thread::yield_now();
    }
}

#[test]
fn the_values_are_cpythons() {
    let event = PyEvent::new();
    assert_eq!(event.v.load(Ordering::SeqCst), 0);
    thread::scope(|scope| {
        scope.spawn(|| assert!(event.wait(Deadline::NEVER, &mut Stay)));
        until_parked(&event, 1);
        assert_eq!(event.v.load(Ordering::SeqCst), 2);
        event.set();
    });
    assert_eq!(event.v.load(Ordering::SeqCst), 1);
    event.set();
    assert!(event.is_set());
    assert!(event.wait(Deadline::after(0), &mut Stay));
}

#[test]
fn setting_wakes_everybody() {
    let event = PyEvent::new();
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                assert!(event.wait(Deadline::NEVER, &mut Stay));
                woken.fetch_add(1, Ordering::SeqCst);
            });
        }
        until_parked(&event, 16);
        event.set();
    });
    assert_eq!(woken.into_inner(), 16);
}

#[test]
fn a_timed_wait_is_never_early() {
    let event = PyEvent::new();
    for timeout in [0, 1, 2 * MS, 20 * MS] {
        let start = now_ns();
        assert!(!event.wait(Deadline::after(timeout), &mut Stay));
        let waited = now_ns() - start;
        assert!(waited >= timeout, "waited {waited} of {timeout}");
    }
}

#[test]
fn the_waiter_may_free_the_event_as_soon_as_it_saw_it_set() {
    for _ in 0..500 {
        let event = Box::new(PyEvent::new());
        let shared: *const PyEvent = &raw const *event;
        let address = shared.expose_provenance();
        let setter = thread::spawn(move || {
            // SAFETY: the waiter frees the event only after it saw it set, and setting touches it
            // once (EVENT-2).
            unsafe { &*std::ptr::with_exposed_provenance::<PyEvent>(address) }.set();
        });
        assert!(event.wait(Deadline::NEVER, &mut Stay));
        drop(event);
        setter.join().unwrap();
    }
}
