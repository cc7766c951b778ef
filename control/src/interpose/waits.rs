//! Calls that wait for the outside: a thread that would block there waits in the engine until the descriptor is ready
//! or the child has ended, so that the others can go on at once.

use core::ffi::{c_int, c_void};

use libc::{fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

use super::fail;
use crate::engine::clock::{NEVER, nanoseconds};
use crate::engine::{self, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::{real, sys};

/// What a thread waits for, on its stack.
struct Fds {
    list: *mut pollfd,
    count: usize,
}

/// A poll that does not wait: how many are ready, or `-errno`.
fn poll_now(list: *mut pollfd, count: usize) -> isize {
    let zero = [0_i64; 2];
    let (list, zero) = (list.expose_provenance(), zero.as_ptr().expose_provenance());
    // SAFETY: the program's list; the time lives across the call.
    unsafe { sys::call(libc::SYS_ppoll, [list, count, zero, 0, 8, 0]) }
}

/// For [`Wait::Outside`].
fn is_ready(fds: usize) -> bool {
    let fds: *const Fds = core::ptr::with_exposed_provenance(fds);
    // SAFETY: the thread that waits keeps it on its stack.
    let fds = unsafe { &*fds };
    poll_now(fds.list, fds.count) != 0
}

/// Waits until one of the descriptors is ready: 0; or for `ETIMEDOUT` or `EINTR`.
fn wait_for(
    me: u16,
    point: u16,
    list: *mut pollfd,
    count: usize,
    deadline: i64,
    place: usize,
) -> c_int {
    let fds = Fds { list, count };
    let op = Op { point, kind: Kind::Wait, object: 0, place };
    let wait = Wait::Outside(is_ready, (&raw const fds).expose_provenance());
    let terms = Terms { interruptible: true, ..Terms::of(wait).until(deadline) };
    engine::act_on_cancel(me, place);
    match engine::visit(me, op, terms) {
        Outcome::Granted => 0,
        Outcome::TimedOut => libc::ETIMEDOUT,
        Outcome::Interrupted => {
            engine::act_on_cancel(me, place);
            libc::EINTR
        }
    }
}

fn polled(me: u16, list: *mut pollfd, count: usize, deadline: i64, place: usize) -> c_int {
    loop {
        match wait_for(me, points::POLL, list, count, deadline, place) {
            libc::ETIMEDOUT => return 0,
            0 => {
                let ready = poll_now(list, count);
                if ready < 0 {
                    return fail(-ready as c_int);
                }
                if ready > 0 {
                    return ready as c_int;
                }
            }
            error => return fail(error),
        }
    }
}

unsafe extern "C" fn polls(
    list: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
    place: usize,
) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::poll(list, count, timeout) };
    };
    let deadline = if timeout < 0 { NEVER } else { engine::after(i64::from(timeout) * 1_000_000) };
    polled(me, list, count as usize, deadline, place)
}

unsafe extern "C" fn ppolls(
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    place: usize,
) -> c_int {
    let me = engine::me().filter(|_| mask.is_null());
    let Some(me) = me else {
        // SAFETY: the program's call.
        return unsafe { real::ppoll(list, count, timeout, mask) };
    };
    // SAFETY: NULL, or the program's time.
    let deadline = match unsafe { timeout.as_ref() }.map(nanoseconds) {
        None => NEVER,
        Some(Some(ns @ 0..)) => engine::after(ns),
        Some(_) => return fail(libc::EINVAL),
    };
    polled(me, list, count as usize, deadline, place)
}

/// Most descriptors that a modelled select has; one with more passes.
const SELECTED: usize = 64;

unsafe extern "C" fn selects(
    count: c_int,
    r: *mut fd_set,
    w: *mut fd_set,
    x: *mut fd_set,
    timeout: *mut timeval,
    place: usize,
) -> c_int {
    // SAFETY: NULL, or the program's time.
    let limit = unsafe { timeout.as_ref() }.map(|time| {
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_usec.saturating_mul(1_000))
    });
    let me = engine::me().filter(|_| limit.is_none_or(|ns| ns >= 0));
    let mut list = [pollfd { fd: -1, events: 0, revents: 0 }; SELECTED];
    let used = wanted(count, [r, w, x], &mut list);
    let (Some(me), Some(used)) = (me, used) else {
        // SAFETY: the program's call.
        return unsafe { real::select(count, r, w, x, timeout) };
    };
    let deadline = limit.map_or(NEVER, engine::after);
    if used == 0 && limit.is_some() {
        return if super::time::sleep_until(me, deadline, place) { 0 } else { fail(libc::EINTR) };
    }
    match wait_for(me, points::SELECT, list.as_mut_ptr(), used, deadline, place) {
        0 | libc::ETIMEDOUT => {
            let mut zero = timeval { tv_sec: 0, tv_usec: 0 };
            // SAFETY: the program's call; it does not wait now.
            unsafe { real::select(count, r, w, x, &raw mut zero) }
        }
        error => fail(error),
    }
}

/// The descriptors of a select as a list for poll; `None` if there are too many.
fn wanted(count: c_int, sets: [*mut fd_set; 3], list: &mut [pollfd]) -> Option<usize> {
    let mut used = 0;
    for fd in 0..count {
        let mut events = 0;
        for (set, event) in sets.into_iter().zip([libc::POLLIN, libc::POLLOUT, libc::POLLPRI]) {
            // SAFETY: NULL, or the program's set, which has room for `count` descriptors.
            if !set.is_null() && unsafe { libc::FD_ISSET(fd, set) } {
                events |= event;
            }
        }
        if events != 0 {
            *list.get_mut(used)? = pollfd { fd, events, revents: 0 };
            used += 1;
        }
    }
    Some(used)
}

unsafe extern "C" fn reads(fd: c_int, into: *mut c_void, size: usize, place: usize) -> isize {
    if let Some(me) = engine::me() {
        let mut one = pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A plain file is always ready. One that is not waits, unless it was opened not to.
        if poll_now(&raw mut one, 1) == 0 && !is_nonblocking(fd) {
            let ended = wait_for(me, points::READ, &raw mut one, 1, NEVER, place);
            if ended != 0 {
                return fail(ended) as isize;
            }
        }
    }
    // SAFETY: the program's call.
    unsafe { real::read(fd, into, size) }
}

fn is_nonblocking(fd: c_int) -> bool {
    // SAFETY: only asks.
    let flags =
        unsafe { sys::call(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize, 0, 0, 0, 0]) };
    flags >= 0 && flags as c_int & libc::O_NONBLOCK != 0
}

/// For [`Wait::Outside`]: a child has ended, or there is none. The number is the program's `pid`.
fn has_ended(pid: usize) -> bool {
    let pid = pid as u32 as i32;
    let (kind, id) = match pid {
        -1 => (libc::P_ALL, 0),
        0 => (libc::P_PGID, 0),
        1.. => (libc::P_PID, pid as usize),
        _ => (libc::P_PGID, pid.unsigned_abs() as usize),
    };
    // SAFETY: all zero is a value.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let options = (libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) as usize;
    let place = (&raw mut info).expose_provenance();
    // SAFETY: the place is writable.
    let result = unsafe { sys::call(libc::SYS_waitid, [kind as usize, id, place, options, 0, 0]) };
    result != 0 || info.si_signo != 0
}

unsafe extern "C" fn waitpids(
    pid: libc::pid_t,
    status: *mut c_int,
    options: c_int,
    place: usize,
) -> libc::pid_t {
    if let Some(me) =
        engine::me().filter(|_| options & libc::WNOHANG == 0 && options & libc::WUNTRACED == 0)
    {
        let op = Op { point: points::WAITPID, kind: Kind::Wait, object: 0, place };
        let wait = Wait::Outside(has_ended, pid as u32 as usize);
        let terms = Terms { interruptible: true, ..Terms::of(wait) };
        if engine::visit(me, op, terms) == Outcome::Interrupted {
            engine::act_on_cancel(me, place);
            return fail(libc::EINTR);
        }
    }
    // SAFETY: the program's call.
    unsafe { real::waitpid(pid, status, options) }
}

unsafe extern "C" fn waits(status: *mut c_int, place: usize) -> libc::pid_t {
    // SAFETY: the program's call.
    unsafe { waitpids(-1, status, 0, place) }
}

/// For [`Wait::Outside`]: only a signal ends a pause.
fn never(_: usize) -> bool {
    false
}

unsafe extern "C" fn pauses(place: usize) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::pause() };
    };
    let op = Op { point: points::PAUSE, kind: Kind::Wait, object: 0, place };
    let terms = Terms { interruptible: true, ..Terms::of(Wait::Outside(never, 0)) };
    let _ = engine::visit(me, op, terms);
    engine::act_on_cancel(me, place);
    fail(libc::EINTR)
}

entry!(pause, 0 => pauses);
entry!(poll, 3 => polls);
entry!(ppoll, 4 => ppolls);
entry!(select, 5 => selects);
entry!(read, 3 => reads);
entry!(waitpid, 3 => waitpids);
entry!(wait, 1 => waits);
