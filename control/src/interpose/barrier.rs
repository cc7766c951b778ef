//! Barriers, modelled whole; and once-only calls.

use core::ffi::{c_int, c_uint};

use libc::{pthread_barrier_t, pthread_barrierattr_t, pthread_once_t};

use super::at;
use crate::engine::{self, NO_THREAD, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::{Kind, THREADS};
use crate::real;

/// In the `detail` of a thread: it is the one of its round that is told so.
const SERIAL: usize = 1;

unsafe extern "C" fn init(
    b: *mut pthread_barrier_t,
    attributes: *const pthread_barrierattr_t,
    count: c_uint,
    _place: usize,
) -> c_int {
    if engine::me().is_some() {
        let mut shared = 0;
        if !attributes.is_null() {
            // SAFETY: the program's attributes.
            unsafe { libc::pthread_barrierattr_getpshared(attributes, &raw mut shared) };
        }
        let mut held = engine::enter();
        let object = held.objects.renew(at(b));
        object.count = count;
        object.shared = shared != 0;
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_barrier_init(b, attributes, count) }
}

unsafe extern "C" fn destroy(b: *mut pthread_barrier_t, _place: usize) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(b));
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_barrier_destroy(b) }
}

unsafe extern "C" fn wait(b: *mut pthread_barrier_t, place: usize) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::pthread_barrier_wait(b) };
    };
    let mut held = engine::enter();
    let object = held.objects.at(at(b));
    if object.shared || object.count == 0 {
        // SAFETY: the program's call.
        return held.outside(|| unsafe { real::pthread_barrier_wait(b) });
    }
    let op = Op { point: points::BARRIER_WAIT, kind: Kind::Wait, object: at(b), place };
    let _ = held.visit(me, op, Terms::FREE);
    let object = held.objects.at(at(b));
    object.arrived += 1;
    let serial = if object.arrived == object.count {
        object.arrived = 0;
        let mut list = [0; THREADS];
        let count = held.waiters(at(b), |_| true, &mut list);
        for &waiter in &list[..count] {
            held.turn_over(waiter, Wait::Nothing, Kind::Read, at(b));
            held.thread(waiter).detail = 0;
        }
        // Any thread of the round may be the one that is told.
        list[count] = me;
        let passed = Op { point: points::BARRIER_PASSED, kind: Kind::Release, ..op };
        held.announce(me, passed);
        list[..=count].rotate_right(1);
        let told = held.pick(me, &list[..=count]);
        if told != me {
            held.thread(told).detail = SERIAL;
        }
        let _ = held.revisit(me, passed, Terms::FREE);
        told == me
    } else {
        let terms = Terms { interruptible: true, ..Terms::of(Wait::Signal(at(b))) };
        let mut outcome = held.visit(me, op, terms);
        while outcome == Outcome::Interrupted {
            held.let_signals_in();
            outcome = held.visit(me, op, terms);
        }
        held.thread(me).detail == SERIAL
    };
    if serial { libc::PTHREAD_BARRIER_SERIAL_THREAD } else { 0 }
}

entry!(pthread_barrier_init, 3 => init);
entry!(pthread_barrier_destroy, 1 => destroy);
entry!(pthread_barrier_wait, 1 => wait);

/// The word of a `pthread_once_t` whose function has returned.
const DONE: c_int = 2;

unsafe extern "C" fn once(
    o: *mut pthread_once_t,
    function: extern "C" fn(),
    place: usize,
) -> c_int {
    let me = match engine::me() {
        // SAFETY: the program's word; a plain look first, as the C library does.
        Some(me) if unsafe { o.read_volatile() } & DONE == 0 => me,
        // SAFETY: the program's call.
        _ => return unsafe { real::pthread_once(o, function) },
    };
    let mut held = engine::enter();
    // A mutex of the model stands for the call under way.
    let op = Op { point: points::ONCE, kind: Kind::Acquire, object: at(o), place };
    loop {
        let owner = held.objects.at(at(o)).owner;
        let wait =
            if owner == NO_THREAD || owner == me { Wait::Nothing } else { Wait::Signal(at(o)) };
        if held.visit(me, op, Terms::of(wait)) == Outcome::Interrupted {
            held.let_signals_in();
        }
        // SAFETY: the program's word.
        let is_done = unsafe { o.read_volatile() } & DONE != 0;
        if is_done || held.objects.at(at(o)).owner == NO_THREAD {
            break;
        }
    }
    held.note_owner(at(o), me);
    drop(held);
    // Not passing through: the function's own points are points.
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_once(o, function) };
    let mut held = engine::enter();
    held.note_owner(at(o), NO_THREAD);
    let mut list = [0; THREADS];
    let count = held.waiters(at(o), |_| true, &mut list);
    for &waiter in &list[..count] {
        held.turn_over(waiter, Wait::Nothing, Kind::Acquire, at(o));
    }
    let op = Op { point: points::ONCE_DONE, kind: Kind::Release, ..op };
    let _ = held.visit(me, op, Terms::FREE);
    status
}

entry!(pthread_once, 2 => once);
