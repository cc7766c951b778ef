//! The `syscall` function: futexes of the program, modelled as the kernel has them; random numbers; everything else passes.

use core::ffi::c_long;

use super::fail;
use crate::engine::clock::{NEVER, nanoseconds};
use crate::engine::{self, Op, Outcome, Terms, Wait, points};
use crate::protocol::{Kind, THREADS};
use crate::real;

const WAIT: usize = libc::FUTEX_WAIT as usize;
const WAKE: usize = libc::FUTEX_WAKE as usize;
const WAIT_BITSET: usize = libc::FUTEX_WAIT_BITSET as usize;
const WAKE_BITSET: usize = libc::FUTEX_WAKE_BITSET as usize;
const PRIVATE: usize = libc::FUTEX_PRIVATE_FLAG as usize;
const REALTIME: usize = libc::FUTEX_CLOCK_REALTIME as usize;
const ALL_BITS: usize = 0xffff_ffff;

/// A deadline from the argument of a wait.
fn deadline(command: usize, limit: usize, flags: usize) -> Option<i64> {
    let limit: *const libc::timespec = core::ptr::with_exposed_provenance(limit);
    // SAFETY: NULL, or the program's time.
    let Some(time) = (unsafe { limit.as_ref() }) else { return Some(NEVER) };
    let ns = nanoseconds(time)?;
    if command == WAIT {
        return Some(engine::after(ns));
    }
    let clock = if flags & REALTIME == 0 { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
    engine::deadline(clock, time)
}

fn wait(me: u16, word: usize, expected: usize, deadline: i64, bits: usize) -> c_long {
    let mut held = engine::enter();
    let op = Op { point: points::FUTEX_WAIT, kind: Kind::Wait, object: word, place: 0 };
    let _ = held.visit(me, op, Terms::FREE);
    if engine::futex_word(word) != expected as u32 {
        drop(held);
        return fail(libc::EAGAIN).into();
    }
    let terms = Terms {
        interruptible: true,
        detail: bits,
        ..Terms::of(Wait::Signal(word)).until(deadline)
    };
    let sleep = Op { point: points::FUTEX_SLEEP, ..op };
    let outcome = held.visit(me, sleep, terms);
    drop(held);
    match outcome {
        Outcome::Granted => 0,
        Outcome::TimedOut => fail(libc::ETIMEDOUT).into(),
        Outcome::Interrupted => fail(libc::EINTR).into(),
    }
}

fn wake(me: u16, word: usize, wanted: usize, bits: usize) -> usize {
    let mut held = engine::enter();
    let op = Op { point: points::FUTEX_WAKE, kind: Kind::Release, object: word, place: 0 };
    let mut list = [0; THREADS];
    let mut woken = 0;
    while woken < wanted {
        let count = held.waiters(word, |its| its & bits != 0, &mut list);
        if count == 0 {
            break;
        }
        let left = wanted - woken;
        let waiter = if left >= count {
            list[0]
        } else {
            held.announce(me, op);
            held.pick(me, &list[..count])
        };
        held.turn_over(waiter, Wait::Nothing, Kind::Read, word);
        woken += 1;
    }
    let _ = held.visit(me, op, Terms::FREE);
    woken
}

/// The C library's `syscall`.
///
/// # Safety
/// As for the system call.
#[cfg(not(test))]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    // SAFETY: this function's contract.
    unsafe { called(number, [a, b, c, d, e, f]) }
}

unsafe fn called(number: c_long, args: [usize; 6]) -> c_long {
    let [a, b, c, d, e, f] = args;
    if let Some(me) = engine::me() {
        if number == libc::SYS_futex {
            let command = b & 127;
            let bits = if command == WAIT_BITSET || command == WAKE_BITSET {
                f & ALL_BITS
            } else {
                ALL_BITS
            };
            if command == WAIT || command == WAIT_BITSET {
                if let Some(deadline) = deadline(command, d, b) {
                    return wait(me, a, c, deadline, bits);
                }
            } else if command == WAKE || command == WAKE_BITSET {
                let wanted = (c as u32).min(i32::MAX as u32) as usize;
                let woken = wake(me, a, wanted, bits);
                if woken >= wanted || b & PRIVATE != 0 {
                    return woken as c_long;
                }
                // SAFETY: the program's call, for those that are not controlled.
                let more = unsafe { real::syscall(number, a, b, c - woken, d, e, f) };
                return woken as c_long + more.max(0);
            }
        } else if number == libc::SYS_getrandom {
            return super::random::fill(a, b) as c_long;
        } else if number == libc::SYS_sched_yield {
            engine::pass(me, points::YIELD, Kind::Yield, 0, 0);
            return 0;
        }
    }
    // SAFETY: this function's contract.
    unsafe { real::syscall(number, a, b, c, d, e, f) }
}
