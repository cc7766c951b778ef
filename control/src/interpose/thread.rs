//! Threads: create, end, join, detach, cancel, signal, name.

use core::ffi::{CStr, c_char, c_int, c_void};

use libc::{clockid_t, pthread_attr_t, pthread_t, timespec};

use crate::engine::clock::NEVER;
use crate::engine::{self, Op, Outcome, Terms, Wait, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::real::{self, Start};

unsafe extern "C" {
    fn pthread_attr_getdetachstate(attributes: *const pthread_attr_t, state: *mut c_int) -> c_int;
}

/// What a controlled thread runs: its number comes in place of the program's argument.
extern "C" fn run(number: *mut c_void) -> *mut c_void {
    let number = number.addr() as u16;
    engine::begin_thread(number);
    let (start, arg) = {
        let mut held = engine::enter();
        let thread = held.thread(number);
        (thread.start, thread.arg)
    };
    let value = start.map_or(core::ptr::null_mut(), |start| start(arg));
    engine::end_thread(number, points::THREAD_END, 0);
    value
}

unsafe extern "C" fn create(
    place: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    arg: *mut c_void,
    called_at: usize,
) -> c_int {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::pthread_create(place, attributes, start, arg) };
    };
    let number = engine::enter().create(me, start, arg);
    let carried = core::ptr::without_provenance_mut(usize::from(number));
    // SAFETY: the program's call, but for the function, which takes a number.
    let status = engine::passing_through(|| unsafe {
        real::pthread_create(place, attributes, run, carried)
    });
    let mut held = engine::enter();
    if status != 0 {
        held.remove_thread(number);
    } else {
        // SAFETY: the call has filled it.
        held.thread(number).pthread = unsafe { place.read() };
        held.thread(number).detached = is_detached(attributes);
    }
    held.note_modules();
    let op = Op { point: points::CREATE, kind: Kind::Life, object: 0, place: called_at };
    let _ = held.visit(me, op, Terms::FREE);
    status
}

fn is_detached(attributes: *const pthread_attr_t) -> bool {
    let mut state = 0;
    if !attributes.is_null() {
        // SAFETY: the program's attributes.
        unsafe { pthread_attr_getdetachstate(attributes, &raw mut state) };
    }
    state == libc::PTHREAD_CREATE_DETACHED
}

/// Waits for the end of a controlled thread; then `real` will not wait. `None`: not ours to wait for.
fn ended(t: pthread_t, point: u16, deadline: i64, place: usize) -> Option<c_int> {
    let me = engine::me()?;
    engine::act_on_cancel(me, place);
    let mut held = engine::enter();
    let other = held.find(t)?;
    if other == me || held.thread(other).detached {
        return None;
    }
    if core::mem::replace(&mut held.thread(other).is_joined_by, true) {
        return Some(libc::EINVAL);
    }
    let op = Op { point, kind: Kind::Wait, object: 0, place };
    let terms = Terms { interruptible: true, ..Terms::of(Wait::Gone(other)).until(deadline) };
    loop {
        match held.visit(me, op, terms) {
            Outcome::Granted => {
                held.thread(other).joined = true;
                return Some(0);
            }
            Outcome::TimedOut => {
                held.thread(other).is_joined_by = false;
                return Some(libc::ETIMEDOUT);
            }
            Outcome::Interrupted => {
                held.thread(other).is_joined_by = false;
                held.let_signals_in();
                drop(held);
                engine::act_on_cancel(me, place);
                held = engine::enter();
                held.thread(other).is_joined_by = true;
            }
        }
    }
}

unsafe extern "C" fn join(t: pthread_t, value: *mut *mut c_void, place: usize) -> c_int {
    match ended(t, points::JOIN, NEVER, place) {
        // SAFETY: the program's call.
        Some(0) | None => unsafe { real::pthread_join(t, value) },
        Some(status) => status,
    }
}

unsafe extern "C" fn clockjoin(
    t: pthread_t,
    value: *mut *mut c_void,
    clock: clockid_t,
    when: *const timespec,
    place: usize,
) -> c_int {
    let deadline = if when.is_null() {
        Some(NEVER)
    } else {
        engine::me().and_then(|_| engine::deadline(clock, when))
    };
    match deadline.and_then(|deadline| ended(t, points::JOIN_TIMED, deadline, place)) {
        // SAFETY: the program's call; the thread is gone.
        Some(0) => unsafe { real::pthread_join(t, value) },
        Some(status) => status,
        // SAFETY: the program's call.
        None => unsafe { real::pthread_clockjoin_np(t, value, clock, when) },
    }
}

unsafe extern "C" fn timedjoin(
    t: pthread_t,
    value: *mut *mut c_void,
    when: *const timespec,
    place: usize,
) -> c_int {
    // SAFETY: the program's call.
    unsafe { clockjoin(t, value, libc::CLOCK_REALTIME, when, place) }
}

unsafe extern "C" fn tryjoin(t: pthread_t, value: *mut *mut c_void, place: usize) -> c_int {
    if let Some(me) = engine::me() {
        engine::pass(me, points::JOIN_TRY, Kind::Read, 0, place);
        let mut held = engine::enter();
        if let Some(other) = held.find(t) {
            if !held.is_gone(other) {
                return libc::EBUSY;
            }
            held.thread(other).joined = true;
            drop(held);
            // SAFETY: the program's call; the thread is gone.
            return unsafe { real::pthread_join(t, value) };
        }
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_tryjoin_np(t, value) }
}

unsafe extern "C" fn detach(t: pthread_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_detach(t) };
    if let Some(me) = engine::me() {
        let mut held = engine::enter();
        if let Some(other) = held.find(t) {
            held.thread(other).detached |= status == 0;
        }
        let op = Op { point: points::DETACH, kind: Kind::Life, object: 0, place };
        let _ = held.visit(me, op, Terms::FREE);
    }
    status
}

unsafe extern "C" fn exit(value: *mut c_void, place: usize) -> ! {
    if let Some(me) = engine::me() {
        engine::end_thread(me, points::EXIT, place);
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_exit(value) }
}

unsafe extern "C" fn cancel(t: pthread_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_cancel(t) };
    if let Some(me) = engine::me() {
        let mut held = engine::enter();
        if let Some(other) = held.find(t) {
            held.thread(other).is_cancelled = true;
            held.interrupt(other);
        }
        let op = Op { point: points::CANCEL, kind: Kind::Life, object: 0, place };
        let _ = held.visit(me, op, Terms::FREE);
    }
    status
}

unsafe extern "C" fn testcancel(place: usize) {
    if let Some(me) = engine::me() {
        engine::act_on_cancel(me, place);
        return;
    }
    // SAFETY: the program's call.
    unsafe { real::pthread_testcancel() };
}

unsafe extern "C" fn kill(t: pthread_t, signal: c_int, place: usize) -> c_int {
    let me = engine::me();
    if let (Some(_), 1..) = (me, signal) {
        let mut held = engine::enter();
        if let Some(other) = held.find(t) {
            held.interrupt(other);
        }
    }
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_kill(t, signal) };
    if let Some(me) = me {
        engine::pass(me, points::KILL, Kind::None, 0, place);
    }
    status
}

unsafe extern "C" fn set_name(t: pthread_t, name: *const c_char, _place: usize) -> c_int {
    // SAFETY: the program's call.
    let status = unsafe { real::pthread_setname_np(t, name) };
    if engine::me().is_some() {
        let mut held = engine::enter();
        if let Some(thread) = held.find(t) {
            // SAFETY: the program's name is NUL-terminated.
            held.note_name(thread, unsafe { CStr::from_ptr(name) }.to_bytes());
        }
    }
    status
}

entry!(pthread_create, 4 => create);
entry!(pthread_join, 2 => join);
entry!(pthread_clockjoin_np, 4 => clockjoin);
entry!(pthread_timedjoin_np, 3 => timedjoin);
entry!(pthread_tryjoin_np, 2 => tryjoin);
entry!(pthread_detach, 1 => detach);
entry!(pthread_exit, 1 => exit);
entry!(pthread_cancel, 1 => cancel);
entry!(pthread_testcancel, 0 => testcancel);
entry!(pthread_kill, 2 => kill);
entry!(pthread_setname_np, 2 => set_name);

/// What `thrd_create` of <threads.h> starts.
struct Thrd {
    function: extern "C" fn(*mut c_void) -> c_int,
    arg: *mut c_void,
}

extern "C" fn run_thrd(given: *mut c_void) -> *mut c_void {
    let given = given.cast::<Thrd>();
    // SAFETY: `thrd` gave this thread a filled block.
    let Thrd { function, arg } = unsafe { given.read() };
    // SAFETY: allocated with malloc there.
    unsafe { libc::free(given.cast()) };
    core::ptr::without_provenance_mut(function(arg) as usize)
}

unsafe extern "C" fn thrd(
    place: *mut pthread_t,
    function: extern "C" fn(*mut c_void) -> c_int,
    arg: *mut c_void,
    called_at: usize,
) -> c_int {
    // SAFETY: no preconditions.
    let block = unsafe { libc::malloc(size_of::<Thrd>()) }.cast::<Thrd>();
    if block.is_null() {
        return 3; // thrd_nomem
    }
    // SAFETY: a fresh block of the right size.
    unsafe { block.write(Thrd { function, arg }) };
    // SAFETY: the program's call; thrd_t is a pthread_t in this C library.
    match unsafe { create(place, core::ptr::null(), run_thrd, block.cast(), called_at) } {
        0 => 0,
        libc::ENOMEM => 3,
        _ => 2,
    }
}

unsafe extern "C" fn thrd_joins(t: pthread_t, result: *mut c_int, place: usize) -> c_int {
    let mut value = core::ptr::null_mut();
    // SAFETY: the program's call.
    if unsafe { join(t, &raw mut value, place) } != 0 {
        return 2;
    }
    if !result.is_null() {
        // SAFETY: the program's place for it.
        unsafe { result.write(value.addr() as c_int) };
    }
    0
}

unsafe extern "C" fn thrd_detaches(t: pthread_t, place: usize) -> c_int {
    // SAFETY: the program's call.
    if unsafe { detach(t, place) } == 0 { 0 } else { 2 }
}

unsafe extern "C" fn thrd_exits(value: c_int, place: usize) -> ! {
    // SAFETY: the program's call.
    unsafe { exit(core::ptr::without_provenance_mut(value as usize), place) }
}

entry!(thrd_create, 3 => thrd);
entry!(thrd_join, 2 => thrd_joins);
entry!(thrd_detach, 1 => thrd_detaches);
entry!(thrd_exit, 1 => thrd_exits);
