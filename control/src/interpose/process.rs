//! The process: main and its return, exit, fork; the number of processors.

use core::ffi::{c_char, c_int, c_long, c_void};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::engine::{self, Terms, points};
use crate::entry::entry;
use crate::protocol::Kind;
use crate::real;

type Main = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;

/// The program's main.
static MAIN: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Runs the program's main; its return is a point.
extern "C" fn main(argc: c_int, argv: *mut *mut c_char, environ: *mut *mut c_char) -> c_int {
    let program = MAIN.load(Relaxed);
    // SAFETY: what the program's start code gave to `__libc_start_main`.
    let program: Main = unsafe { core::mem::transmute::<*mut c_void, Main>(program) };
    let status = program(argc, argv, environ);
    leave(points::MAIN_END, 0);
    status
}

/// The process is about to end: others may go first.
fn leave(point: u16, place: usize) {
    if let Some(me) = engine::me() {
        engine::pass(me, point, Kind::Life, 0, place);
        engine::note_exit();
    }
}

/// The C library's start of a program.
///
/// # Safety
/// Called by the program's start code.
#[cfg(not(test))]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __libc_start_main(
    program: *mut c_void,
    argc: c_int,
    argv: *mut *mut c_char,
    init: *mut c_void,
    fini: *mut c_void,
    rtld_fini: *mut c_void,
    stack_end: *mut c_void,
) -> c_int {
    MAIN.store(program, Relaxed);
    let own: Main = main;
    // SAFETY: as the start code's call; `own` runs its main.
    unsafe {
        real::__libc_start_main(own as *mut c_void, argc, argv, init, fini, rtld_fini, stack_end)
    }
}

unsafe extern "C" fn exits(status: c_int, place: usize) -> ! {
    leave(points::PROCESS_EXIT, place);
    // SAFETY: the program's call.
    unsafe { real::exit(status) }
}

unsafe extern "C" fn exits_at_once(status: c_int, place: usize) -> ! {
    leave(points::PROCESS_EXIT_NOW, place);
    // SAFETY: the program's call.
    unsafe { real::_exit(status) }
}

unsafe extern "C" fn forks(place: usize) -> libc::pid_t {
    let Some(me) = engine::me() else {
        // SAFETY: the program's call.
        return unsafe { real::fork() };
    };
    let mut held = engine::enter();
    let op = engine::Op { point: points::FORK, kind: Kind::Life, object: 0, place };
    let _ = held.visit(me, op, Terms::FREE);
    held.count_fork();
    drop(held);
    // Not passing through: fork handlers of the program have points of their own.
    // SAFETY: the program's call.
    let child = unsafe { real::fork() };
    if child == 0 {
        // Here at the latest the engine of the child is made new.
        drop(engine::enter());
    }
    child
}

/// A constant number of processors: what a program does with it is part of the schedule.
unsafe extern "C" fn configuration(name: c_int, _place: usize) -> c_long {
    const PROCESSORS: c_long = 2;
    if engine::me().is_some()
        && (name == libc::_SC_NPROCESSORS_ONLN || name == libc::_SC_NPROCESSORS_CONF)
    {
        return PROCESSORS;
    }
    // SAFETY: the program's call.
    unsafe { real::sysconf(name) }
}

entry!(exit, 1 => exits);
entry!(_exit, 1 => exits_at_once);
entry!(_Exit, 1 => exits_at_once);
entry!(fork, 0 => forks);
entry!(sysconf, 1 => configuration);
