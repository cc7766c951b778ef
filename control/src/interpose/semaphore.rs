//! Semaphores. The real value stays in the real semaphore, so that posting from a signal handler or from a thread that
//! is not controlled counts.

use core::ffi::{c_int, c_uint};

use libc::{clockid_t, sem_t, timespec};

use super::{at, errno, fail};
use crate::engine::clock::NEVER;
use crate::engine::{self, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::real;

fn waited(s: *mut sem_t, point: u16, deadline: i64, place: usize) -> Option<c_int> {
    let me = engine::me()?;
    if engine::semaphore_is_shared(at(s)) {
        return None;
    }
    let op = Op { point, kind: Kind::Acquire, object: at(s), place };
    let terms = Terms { interruptible: true, ..Terms::of(Wait::Semaphore(at(s))).until(deadline) };
    engine::act_on_cancel(me, place);
    let mut held = engine::enter();
    loop {
        match held.visit(me, op, terms) {
            Outcome::TimedOut => return Some(fail(libc::ETIMEDOUT)),
            Outcome::Interrupted => {
                drop(held);
                engine::act_on_cancel(me, place);
                return Some(fail(libc::EINTR));
            }
            Outcome::Granted => {
                // SAFETY: the program's call.
                let status = unsafe { real::sem_trywait(s) };
                if status == 0 {
                    held.note_owner(at(s), me);
                    return Some(0);
                }
                if errno() != libc::EAGAIN {
                    return Some(status);
                }
                // A thread that is not controlled was faster.
            }
        }
    }
}

unsafe extern "C" fn wait(s: *mut sem_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    waited(s, points::SEM_WAIT, NEVER, place).unwrap_or_else(|| unsafe { real::sem_wait(s) })
}

unsafe extern "C" fn timedwait(s: *mut sem_t, when: *const timespec, place: usize) -> c_int {
    let deadline = engine::me().and_then(|_| engine::deadline(libc::CLOCK_REALTIME, when));
    deadline
        .and_then(|deadline| waited(s, points::SEM_TIMEDWAIT, deadline, place))
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::sem_timedwait(s, when) })
}

unsafe extern "C" fn clockwait(
    s: *mut sem_t,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    let deadline = engine::me().and_then(|_| engine::deadline(clock, when));
    deadline
        .and_then(|deadline| waited(s, points::SEM_TIMEDWAIT, deadline, place))
        // SAFETY: the program's call.
        .unwrap_or_else(|| unsafe { real::sem_clockwait(s, clock, when) })
}

unsafe extern "C" fn trywait(s: *mut sem_t, place: usize) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::sem_trywait(s) };
    };
    let mut held = engine::enter();
    let op = Op { point: points::SEM_TRYWAIT, kind: Kind::Write, object: at(s), place };
    let _ = held.visit(me, op, Terms::FREE);
    // SAFETY: the program's call.
    let status = unsafe { real::sem_trywait(s) };
    if status == 0 {
        held.note_owner(at(s), me);
    }
    status
}

unsafe extern "C" fn post(s: *mut sem_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    let status = unsafe { real::sem_post(s) };
    if let Some(me) = engine::me() {
        let error = errno();
        let mut held = engine::enter();
        held.note_owner(at(s), engine::NO_THREAD);
        let op = Op { point: points::SEM_POST, kind: Kind::Release, object: at(s), place };
        let _ = held.visit(me, op, Terms::FREE);
        drop(held);
        if status != 0 {
            return fail(error);
        }
    }
    status
}

unsafe extern "C" fn init(s: *mut sem_t, shared: c_int, value: c_uint, _place: usize) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(s));
    }
    // SAFETY: the program's call.
    unsafe { real::sem_init(s, shared, value) }
}

unsafe extern "C" fn destroy(s: *mut sem_t, _place: usize) -> c_int {
    if engine::me().is_some() {
        engine::forget(at(s));
    }
    // SAFETY: the program's call.
    unsafe { real::sem_destroy(s) }
}

entry!(sem_init, 3 => init);
entry!(sem_destroy, 1 => destroy);
entry!(sem_wait, 1 => wait);
entry!(sem_timedwait, 2 => timedwait);
entry!(sem_clockwait, 3 => clockwait);
entry!(sem_trywait, 1 => trywait);
entry!(sem_post, 1 => post);
