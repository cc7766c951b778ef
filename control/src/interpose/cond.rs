//! Condition variables, modelled whole: the real one is never waited on.

use core::ffi::c_int;

use libc::{clockid_t, pthread_cond_t, pthread_condattr_t, pthread_mutex_t, timespec};

use super::{at, mutex};
use crate::engine::clock::NEVER;
use crate::engine::{self, NO_THREAD, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::{Kind, THREADS};
use crate::real;

fn waited(
    c: *mut pthread_cond_t,
    m: *mut pthread_mutex_t,
    point: u16,
    deadline: i64,
    place: usize,
) -> Option<c_int> {
    let me = engine::me()?;
    engine::act_on_cancel(me, place);
    let mut held = engine::enter();
    if held.objects.at(at(c)).shared {
        return None;
    }
    let op = Op { point, kind: Kind::Wait, object: at(c), place };
    // The window between the program's look at its condition and this wait.
    let _ = held.visit(me, op, Terms::FREE);
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_mutex_unlock(m) };
    if status != 0 {
        return Some(status);
    }
    held.note_owner(at(m), NO_THREAD);
    let terms = Terms {
        detail: at(m),
        interruptible: true,
        ..Terms::of(Wait::Signal(at(c))).until(deadline)
    };
    let sleep = Op { point: points::COND_SLEEP, ..op };
    let outcome = held.visit(me, sleep, terms);
    let relock = Op { point: points::COND_RELOCK, kind: Kind::Acquire, object: at(m), place };
    let status = if outcome == Outcome::Granted {
        // Chosen when the mutex was free: the wait was turned over to it.
        mutex::take(&mut held, me, m)
    } else {
        mutex::acquire(&mut held, me, m, relock, NEVER)
    };
    if outcome == Outcome::Interrupted {
        held.let_signals_in();
        drop(held);
        engine::act_on_cancel(me, place);
    }
    Some(match (status, outcome) {
        (0, Outcome::TimedOut) => libc::ETIMEDOUT,
        _ => status,
    })
}

unsafe extern "C" fn wait(c: *mut pthread_cond_t, m: *mut pthread_mutex_t, place: usize) -> c_int {
    waited(c, m, points::COND_WAIT, NEVER, place)
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_cond_wait(c, m) })
}

unsafe extern "C" fn timedwait(
    c: *mut pthread_cond_t,
    m: *mut pthread_mutex_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    let deadline = engine::me().and_then(|_| {
        let monotonic = engine::enter().objects.at(at(c)).monotonic;
        engine::deadline(if monotonic { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME }, when)
    });
    deadline
        .and_then(|deadline| waited(c, m, points::COND_TIMEDWAIT, deadline, place))
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_cond_timedwait(c, m, when) })
}

unsafe extern "C" fn clockwait(
    c: *mut pthread_cond_t,
    m: *mut pthread_mutex_t,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    let deadline = engine::me().and_then(|_| engine::deadline(clock, when));
    deadline
        .and_then(|deadline| waited(c, m, points::COND_TIMEDWAIT, deadline, place))
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_cond_clockwait(c, m, clock, when) })
}

/// Turns one waiter, or all, over to their mutexes.
fn wake(c: *mut pthread_cond_t, point: u16, all: bool, place: usize) -> bool {
    let Some(me) = engine::me() else { return false };
    let mut held = engine::enter();
    if held.objects.at(at(c)).shared {
        return false;
    }
    let op = Op { point, kind: Kind::Release, object: at(c), place };
    let mut list = [0; THREADS];
    let count = held.waiters(at(c), |_| true, &mut list);
    let mut waiters = &list[..count];
    let one;
    if !all && count > 0 {
        held.announce(me, op);
        one = [held.pick(me, waiters)];
        waiters = &one;
    }
    for &waiter in waiters {
        let m = held.thread(waiter).detail;
        held.turn_over(waiter, Wait::Mutex(m), Kind::Acquire, m);
    }
    let _ = held.visit(me, op, Terms::FREE);
    true
}

unsafe extern "C" fn signal(c: *mut pthread_cond_t, place: usize) -> c_int {
    let _ = wake(c, points::COND_SIGNAL, false, place);
    // For threads that are not controlled; without any it does nothing.
    // SAFETY: the program's call.
    engine::passing_through(|| unsafe { real::pthread_cond_signal(c) })
}

unsafe extern "C" fn broadcast(c: *mut pthread_cond_t, place: usize) -> c_int {
    let _ = wake(c, points::COND_BROADCAST, true, place);
    // SAFETY: as above.
    engine::passing_through(|| unsafe { real::pthread_cond_broadcast(c) })
}

unsafe extern "C" fn init(
    c: *mut pthread_cond_t,
    attributes: *const pthread_condattr_t,
    _place: usize,
) -> c_int {
    if engine::me().is_some() {
        let (mut clock, mut shared) = (libc::CLOCK_REALTIME, 0);
        if !attributes.is_null() {
            // SAFETY: the program's attributes.
            unsafe { libc::pthread_condattr_getclock(attributes, &raw mut clock) };
            // SAFETY: as above.
            unsafe { libc::pthread_condattr_getpshared(attributes, &raw mut shared) };
        }
        let mut held = engine::enter();
        let object = held.objects.renew(at(c));
        object.monotonic = clock == libc::CLOCK_MONOTONIC;
        object.shared = shared != 0;
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_cond_init(c, attributes) }
}

unsafe extern "C" fn destroy(c: *mut pthread_cond_t, _place: usize) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(c));
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_cond_destroy(c) }
}

entry!(pthread_cond_init, 2 => init);
entry!(pthread_cond_destroy, 1 => destroy);
entry!(pthread_cond_wait, 2 => wait);
entry!(pthread_cond_timedwait, 3 => timedwait);
entry!(pthread_cond_clockwait, 4 => clockwait);
entry!(pthread_cond_signal, 1 => signal);
entry!(pthread_cond_broadcast, 1 => broadcast);

/// Of <threads.h>: `thrd_success`, `thrd_timedout`, `thrd_error`.
fn thrd(status: c_int) -> c_int {
    match status {
        0 => 0,
        libc::ETIMEDOUT => 4,
        _ => 2,
    }
}

unsafe extern "C" fn cnd_wait_(
    c: *mut pthread_cond_t,
    m: *mut pthread_mutex_t,
    place: usize,
) -> c_int {
    // SAFETY: cnd_t and mtx_t are the pthread types in this C library.
    thrd(unsafe { wait(c, m, place) })
}

unsafe extern "C" fn cnd_timedwait_(
    c: *mut pthread_cond_t,
    m: *mut pthread_mutex_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    // SAFETY: as above.
    thrd(unsafe { timedwait(c, m, when, place) })
}

unsafe extern "C" fn cnd_signal_(c: *mut pthread_cond_t, place: usize) -> c_int {
    // SAFETY: as above.
    thrd(unsafe { signal(c, place) })
}

unsafe extern "C" fn cnd_broadcast_(c: *mut pthread_cond_t, place: usize) -> c_int {
    // SAFETY: as above.
    thrd(unsafe { broadcast(c, place) })
}

entry!(cnd_wait, 2 => cnd_wait_);
entry!(cnd_timedwait, 3 => cnd_timedwait_);
entry!(cnd_signal, 1 => cnd_signal_);
entry!(cnd_broadcast, 1 => cnd_broadcast_);
