//! Mutexes. The real state stays in the real mutex; who cannot have it waits in the engine.

use core::ffi::c_int;

use libc::{clockid_t, pthread_mutex_t, pthread_mutexattr_t, timespec};

use super::at;
use crate::engine::clock::NEVER;
use crate::engine::{self, Held, NO_THREAD, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::real;

/// Takes the mutex for `me`, with the engine held. `ETIMEDOUT` once the deadline has passed.
pub(super) fn acquire(
    held: &mut Held,
    me: u16,
    m: *mut pthread_mutex_t,
    op: Op,
    deadline: i64,
) -> c_int {
    let terms = Terms::of(Wait::Mutex(at(m))).until(deadline);
    loop {
        match held.visit(me, op, terms) {
            Outcome::TimedOut => return libc::ETIMEDOUT,
            Outcome::Interrupted => held.let_signals_in(),
            Outcome::Granted => return take(held, me, m),
        }
    }
}

/// Takes a mutex that is free as far as the engine knows.
pub(super) fn take(held: &mut Held, me: u16, m: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the program's mutex, in a call that it made.
    let status = unsafe { real::pthread_mutex_trylock(m) };
    if status != libc::EBUSY {
        held.note_owner(at(m), me);
        return status;
    }
    let mine = engine::mutex_is_held_by(at(m), engine::tid_of(held, me));
    // Its own error checking mutex (the call says so), or one that an uncontrolled thread took.
    // SAFETY: as above.
    let status = held.outside(|| unsafe { real::pthread_mutex_lock(m) });
    if !mine && status == 0 {
        held.note_owner(at(m), me);
    }
    status
}

fn locked(m: *mut pthread_mutex_t, point: u16, deadline: i64, place: usize) -> Option<c_int> {
    let me = engine::me()?;
    if engine::mutex_is_shared(at(m)) {
        return None;
    }
    let op = Op { point, kind: Kind::Acquire, object: at(m), place };
    Some(acquire(&mut engine::enter(), me, m, op, deadline))
}

unsafe extern "C" fn lock(m: *mut pthread_mutex_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    locked(m, points::MUTEX_LOCK, NEVER, place)
        .unwrap_or_else(|| unsafe { real::pthread_mutex_lock(m) })
}

unsafe extern "C" fn timedlock(
    m: *mut pthread_mutex_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    let deadline = engine::me().and_then(|_| engine::deadline(libc::CLOCK_REALTIME, when));
    deadline
        .and_then(|deadline| locked(m, points::MUTEX_TIMEDLOCK, deadline, place))
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_mutex_timedlock(m, when) })
}

unsafe extern "C" fn clocklock(
    m: *mut pthread_mutex_t,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    let deadline = engine::me().and_then(|_| engine::deadline(clock, when));
    deadline
        .and_then(|deadline| locked(m, points::MUTEX_TIMEDLOCK, deadline, place))
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_mutex_clocklock(m, clock, when) })
}

unsafe extern "C" fn trylock(m: *mut pthread_mutex_t, place: usize) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::pthread_mutex_trylock(m) };
    };
    let mut held = engine::enter();
    let op = Op { point: points::MUTEX_TRYLOCK, kind: Kind::Write, object: at(m), place };
    let _ = held.visit(me, op, Terms::FREE);
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_mutex_trylock(m) };
    if status == 0 {
        held.note_owner(at(m), me);
    }
    status
}

unsafe extern "C" fn unlock(m: *mut pthread_mutex_t, place: usize) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::pthread_mutex_unlock(m) };
    };
    let mut held = engine::enter();
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_mutex_unlock(m) };
    held.note_owner(at(m), NO_THREAD);
    let op = Op { point: points::MUTEX_UNLOCK, kind: Kind::Release, object: at(m), place };
    let _ = held.visit(me, op, Terms::FREE);
    status
}

unsafe extern "C" fn init(
    m: *mut pthread_mutex_t,
    attributes: *const pthread_mutexattr_t,
    _place: usize,
) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(m));
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_mutex_init(m, attributes) }
}

unsafe extern "C" fn destroy(m: *mut pthread_mutex_t, _place: usize) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(m));
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_mutex_destroy(m) }
}

entry!(pthread_mutex_init, 2 => init);
entry!(pthread_mutex_destroy, 1 => destroy);
entry!(pthread_mutex_lock, 1 => lock);
entry!(pthread_mutex_timedlock, 2 => timedlock);
entry!(pthread_mutex_clocklock, 3 => clocklock);
entry!(pthread_mutex_trylock, 1 => trylock);
entry!(pthread_mutex_unlock, 1 => unlock);

/// `thrd_success` and `thrd_busy`, `thrd_error`, `thrd_timedout` of <threads.h>, from an error number.
fn thrd(status: c_int) -> c_int {
    match status {
        0 => 0,
        libc::EBUSY => 1,
        libc::ETIMEDOUT => 4,
        _ => 2,
    }
}

unsafe extern "C" fn mtx_lock_(m: *mut pthread_mutex_t, place: usize) -> c_int {
    // SAFETY: mtx_t is a pthread_mutex_t in this C library.
    thrd(unsafe { lock(m, place) })
}

unsafe extern "C" fn mtx_timedlock_(
    m: *mut pthread_mutex_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    // SAFETY: as above.
    thrd(unsafe { timedlock(m, when, place) })
}

unsafe extern "C" fn mtx_trylock_(m: *mut pthread_mutex_t, place: usize) -> c_int {
    // SAFETY: as above.
    thrd(unsafe { trylock(m, place) })
}

unsafe extern "C" fn mtx_unlock_(m: *mut pthread_mutex_t, place: usize) -> c_int {
    // SAFETY: as above.
    thrd(unsafe { unlock(m, place) })
}

entry!(mtx_lock, 1 => mtx_lock_);
entry!(mtx_timedlock, 2 => mtx_timedlock_);
entry!(mtx_trylock, 1 => mtx_trylock_);
entry!(mtx_unlock, 1 => mtx_unlock_);
