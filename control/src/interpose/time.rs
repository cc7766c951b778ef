//! Clocks and sleeps: virtual.

use core::ffi::{c_int, c_uint, c_void};

use libc::{clockid_t, time_t, timespec, timeval};

use super::fail;
use crate::engine::clock::{nanoseconds, timespec as of_ns};
use crate::engine::{self, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::real;

/// Sleeps until a deadline: true, or until a signal ends that.
pub(super) fn sleep_until(me: u16, deadline: i64, place: usize) -> bool {
    let op = Op { point: points::SLEEP, kind: Kind::Sleep, object: 0, place };
    let terms = Terms { interruptible: true, ..Terms::of(Wait::Time).until(deadline) };
    // A cancellation may have come while the thread did not wait.
    engine::act_on_cancel(me, place);
    let outcome = engine::visit(me, op, terms);
    if outcome == Outcome::Interrupted {
        engine::act_on_cancel(me, place);
    }
    outcome != Outcome::Interrupted
}

fn slept(me: u16, ns: i64, left: *mut timespec, place: usize) -> c_int {
    let deadline = engine::after(ns);
    if sleep_until(me, deadline, place) {
        return 0;
    }
    // SAFETY: NULL, or the program's place for it.
    if let Some(left) = unsafe { left.as_mut() } {
        *left = of_ns((deadline - engine::now()).max(0));
    }
    libc::EINTR
}

unsafe extern "C" fn nano(request: *const timespec, left: *mut timespec, place: usize) -> c_int {
    if let Some(me) = engine::me() {
        // SAFETY: the program's call.
        return match nanoseconds(unsafe { &*request }) {
            Some(ns @ 0..) => match slept(me, ns, left, place) {
                0 => 0,
                error => fail(error),
            },
            _ => fail(libc::EINVAL),
        };
    }
    // SAFETY: the program's call.
    unsafe { real::nanosleep(request, left) }
}

unsafe extern "C" fn clock_nano(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    left: *mut timespec,
    place: usize,
) -> c_int {
    if let Some(me) = engine::me() {
        if flags & libc::TIMER_ABSTIME != 0 {
            let Some(deadline) = engine::deadline(clock, request) else { return libc::EINVAL };
            return if sleep_until(me, deadline, place) { 0 } else { libc::EINTR };
        }
        // SAFETY: the program's call.
        return match nanoseconds(unsafe { &*request }) {
            Some(ns @ 0..) => slept(me, ns, left, place),
            _ => libc::EINVAL,
        };
    }
    // SAFETY: the program's call.
    unsafe { real::clock_nanosleep(clock, flags, request, left) }
}

unsafe extern "C" fn micro(us: c_uint, place: usize) -> c_int {
    if let Some(me) = engine::me() {
        let ended = slept(me, i64::from(us) * 1_000, core::ptr::null_mut(), place);
        return if ended == 0 { 0 } else { fail(ended) };
    }
    // SAFETY: the program's call.
    unsafe { real::usleep(us) }
}

unsafe extern "C" fn seconds(count: c_uint, place: usize) -> c_uint {
    if let Some(me) = engine::me() {
        let mut left = of_ns(0);
        slept(me, i64::from(count) * 1_000_000_000, &raw mut left, place);
        return left.tv_sec as c_uint;
    }
    // SAFETY: the program's call.
    unsafe { real::sleep(count) }
}

unsafe extern "C" fn yields(place: usize) -> c_int {
    if let Some(me) = engine::me() {
        engine::pass(me, points::YIELD, Kind::Yield, 0, place);
        return 0;
    }
    // SAFETY: the program's call.
    unsafe { real::sched_yield() }
}

unsafe extern "C" fn thrd_yields(place: usize) {
    // SAFETY: the program's call.
    unsafe { yields(place) };
}

unsafe extern "C" fn thrd_sleeps(
    request: *const timespec,
    left: *mut timespec,
    place: usize,
) -> c_int {
    // SAFETY: the program's call.
    unsafe { nano(request, left, place) }
}

unsafe extern "C" fn get(clock: clockid_t, now: *mut timespec, _place: usize) -> c_int {
    if engine::me().is_some() && clock >= 0 {
        // SAFETY: the program's place for it.
        unsafe { now.write(of_ns(engine::read_clock(clock))) };
        return 0;
    }
    // SAFETY: the program's call.
    unsafe { real::clock_gettime(clock, now) }
}

unsafe extern "C" fn get_day(now: *mut timeval, zone: *mut c_void, _place: usize) -> c_int {
    if engine::me().is_some() && !now.is_null() {
        let ns = engine::read_clock(libc::CLOCK_REALTIME);
        let time = timeval { tv_sec: ns / 1_000_000_000, tv_usec: ns % 1_000_000_000 / 1_000 };
        // SAFETY: the program's place for it.
        unsafe { now.write(time) };
        return 0;
    }
    // SAFETY: the program's call.
    unsafe { real::gettimeofday(now, zone) }
}

unsafe extern "C" fn get_time(into: *mut time_t, _place: usize) -> time_t {
    if engine::me().is_some() {
        let now = engine::read_clock(libc::CLOCK_REALTIME) / 1_000_000_000;
        if !into.is_null() {
            // SAFETY: the program's place for it.
            unsafe { into.write(now) };
        }
        return now;
    }
    // SAFETY: the program's call.
    unsafe { real::time(into) }
}

unsafe extern "C" fn get_timespec(now: *mut timespec, base: c_int, place: usize) -> c_int {
    const TIME_UTC: c_int = 1;
    if base != TIME_UTC {
        return 0;
    }
    // SAFETY: the program's call.
    unsafe { get(libc::CLOCK_REALTIME, now, place) };
    base
}

entry!(nanosleep, 2 => nano);
entry!(clock_nanosleep, 4 => clock_nano);
entry!(usleep, 1 => micro);
entry!(sleep, 1 => seconds);
entry!(sched_yield, 0 => yields);
entry!(thrd_yield, 0 => thrd_yields);
entry!(thrd_sleep, 2 => thrd_sleeps);
entry!(pthread_yield, 0 => yields);
entry!(clock_gettime, 2 => get);
entry!(gettimeofday, 2 => get_day);
entry!(time, 1 => get_time);
entry!(timespec_get, 2 => get_timespec);
