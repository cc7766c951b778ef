//! Read-write locks: the real state stays in the real lock, and who is inside is counted beside it.

use core::ffi::c_int;

use libc::{clockid_t, pthread_rwlock_t, pthread_rwlockattr_t, timespec};

use super::at;
use crate::engine::clock::NEVER;
use crate::engine::{self, Held, NO_THREAD, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::real;

/// `PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP`.
const WRITER_FIRST: c_int = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Reading,
    Writing,
}

/// A try of the real lock.
fn try_real(l: *mut pthread_rwlock_t, what: For) -> c_int {
    match what {
        // SAFETY: the program's lock, in a call that it made.
        For::Reading => unsafe { real::pthread_rwlock_tryrdlock(l) },
        // SAFETY: as above.
        For::Writing => unsafe { real::pthread_rwlock_trywrlock(l) },
    }
}

fn note_taken(held: &mut Held, l: *mut pthread_rwlock_t, what: For, me: u16) {
    let object = held.objects.at(at(l));
    match what {
        For::Reading => object.readers += 1,
        For::Writing => object.writer = true,
    }
    object.owner = me;
}

fn locked(l: *mut pthread_rwlock_t, what: For, deadline: i64, place: usize) -> Option<c_int> {
    let me = engine::me()?;
    let mut held = engine::enter();
    if held.objects.known(at(l)).is_none() {
        let flags = engine::rwlock_flags(at(l));
        let object = held.objects.at(at(l));
        object.shared = flags.1;
        object.writer_first = flags.0 == WRITER_FIRST;
    }
    let object = held.objects.at(at(l));
    if object.shared || (object.writer && object.owner == me) {
        // Shared with other processes; or the call that tells the writer of its own lock.
        return None;
    }
    let (point, kind, wait) = match what {
        For::Reading => (points::RWLOCK_RDLOCK, Kind::Acquire, Wait::Read(at(l))),
        For::Writing => (points::RWLOCK_WRLOCK, Kind::Acquire, Wait::Write(at(l))),
    };
    let op = Op { point, kind, object: at(l), place };
    loop {
        match held.visit(me, op, Terms::of(wait).until(deadline)) {
            Outcome::TimedOut => return Some(libc::ETIMEDOUT),
            Outcome::Interrupted => held.let_signals_in(),
            Outcome::Granted => {
                let mut status = try_real(l, what);
                if status == libc::EBUSY {
                    // A thread that is not controlled has it.
                    status = held.outside(|| match what {
                        // SAFETY: the program's call.
                        For::Reading => unsafe { real::pthread_rwlock_rdlock(l) },
                        // SAFETY: as above.
                        For::Writing => unsafe { real::pthread_rwlock_wrlock(l) },
                    });
                }
                if status == 0 {
                    note_taken(&mut held, l, what, me);
                }
                return Some(status);
            }
        }
    }
}

unsafe extern "C" fn rdlock(l: *mut pthread_rwlock_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    locked(l, For::Reading, NEVER, place)
        .unwrap_or_else(|| unsafe { real::pthread_rwlock_rdlock(l) })
}

unsafe extern "C" fn wrlock(l: *mut pthread_rwlock_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    locked(l, For::Writing, NEVER, place)
        .unwrap_or_else(|| unsafe { real::pthread_rwlock_wrlock(l) })
}

fn timed(
    l: *mut pthread_rwlock_t,
    what: For,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> Option<c_int> {
    engine::me()?;
    locked(l, what, engine::deadline(clock, when)?, place)
}

unsafe extern "C" fn timedrdlock(
    l: *mut pthread_rwlock_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    timed(l, For::Reading, libc::CLOCK_REALTIME, when, place)
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_rwlock_timedrdlock(l, when) })
}

unsafe extern "C" fn timedwrlock(
    l: *mut pthread_rwlock_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    timed(l, For::Writing, libc::CLOCK_REALTIME, when, place)
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_rwlock_timedwrlock(l, when) })
}

unsafe extern "C" fn clockrdlock(
    l: *mut pthread_rwlock_t,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    timed(l, For::Reading, clock, when, place)
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_rwlock_clockrdlock(l, clock, when) })
}

unsafe extern "C" fn clockwrlock(
    l: *mut pthread_rwlock_t,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    timed(l, For::Writing, clock, when, place)
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::pthread_rwlock_clockwrlock(l, clock, when) })
}

fn tried(l: *mut pthread_rwlock_t, what: For, place: usize) -> c_int {
    let Some(me) = engine::me() else { return try_real(l, what) };
    let mut held = engine::enter();
    let op = Op { point: points::RWLOCK_TRY, kind: Kind::Write, object: at(l), place };
    let _ = held.visit(me, op, Terms::FREE);
    let status = try_real(l, what);
    if status == 0 {
        note_taken(&mut held, l, what, me);
    }
    status
}

unsafe extern "C" fn tryrdlock(l: *mut pthread_rwlock_t, place: usize) -> c_int {
    tried(l, For::Reading, place)
}

unsafe extern "C" fn trywrlock(l: *mut pthread_rwlock_t, place: usize) -> c_int {
    tried(l, For::Writing, place)
}

unsafe extern "C" fn unlock(l: *mut pthread_rwlock_t, place: usize) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::pthread_rwlock_unlock(l) };
    };
    let mut held = engine::enter();
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_rwlock_unlock(l) };
    let object = held.objects.at(at(l));
    if object.writer {
        object.writer = false;
    } else {
        object.readers = object.readers.saturating_sub(1);
    }
    if object.readers == 0 {
        object.owner = NO_THREAD;
    }
    let op = Op { point: points::RWLOCK_UNLOCK, kind: Kind::Release, object: at(l), place };
    let _ = held.visit(me, op, Terms::FREE);
    status
}

unsafe extern "C" fn init(
    l: *mut pthread_rwlock_t,
    attributes: *const pthread_rwlockattr_t,
    _place: usize,
) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(l));
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_rwlock_init(l, attributes) }
}

unsafe extern "C" fn destroy(l: *mut pthread_rwlock_t, _place: usize) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(l));
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_rwlock_destroy(l) }
}

entry!(pthread_rwlock_init, 2 => init);
entry!(pthread_rwlock_destroy, 1 => destroy);
entry!(pthread_rwlock_rdlock, 1 => rdlock);
entry!(pthread_rwlock_wrlock, 1 => wrlock);
entry!(pthread_rwlock_timedrdlock, 2 => timedrdlock);
entry!(pthread_rwlock_timedwrlock, 2 => timedwrlock);
entry!(pthread_rwlock_clockrdlock, 3 => clockrdlock);
entry!(pthread_rwlock_clockwrlock, 3 => clockwrlock);
entry!(pthread_rwlock_tryrdlock, 1 => tryrdlock);
entry!(pthread_rwlock_trywrlock, 1 => trywrlock);
entry!(pthread_rwlock_unlock, 1 => unlock);
