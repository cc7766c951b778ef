//! PEP 788: guards that hold an interpreter open, views that name one, and
//! attaching through them (S-G8).
//!
//! Open guards stand in one list under the head lock, so that a shutdown that
//! waits can name who took them and where.
//!
//! Mirrors CPython 3.15 `PyInterpreterGuard_*`, `PyInterpreterView_*`,
//! `PyThreadState_Ensure`, `PyThreadState_Release` (pystate.c).

use crate::life::tstate::{self, NewError, Origin};
use crate::os::mem;
use crate::os::thread;
use crate::probe::text::{LineBuf, write_fd};
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::attach;
use crate::sched::current::{self, current, gilstate, interp_of};
use crate::sched::fatal::{Name, Text};
use crate::state::guard_count::Close;
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::{NAME_SIZE, Ts};
use crate::sync::lot;
use crate::sync::rank::Guard as HeadGuard;
use core::ffi::{c_char, c_int, c_ulong, c_void};
use core::fmt::Write;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

/// An open guard (opaque in C).
pub struct PyInterpreterGuard {
    interp: Interp,
    /// Who opened it: id of the state (0: none) and of the thread.
    state_id: u64,
    thread_id: c_ulong,
    native_id: c_ulong,
    opened_ns: i64,
    opened_at: *const c_char,
    /// Return address of the opener when no place was left.
    opened_from: usize,
    name: [u8; NAME_SIZE],
    prev: *mut PyInterpreterGuard,
    next: *mut PyInterpreterGuard,
}

/// A weak name of an interpreter (opaque in C).
pub struct PyInterpreterView {
    id: i64,
}

/// What PyThreadState_Ensure hands out (opaque in C).
#[repr(C)]
pub struct PyThreadStateToken {
    _opaque: [u8; 0],
}

/// Why there is no guard.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardError {
    NoMemory,
    /// The interpreter is unknown, gone, or committed to its end.
    Unavailable,
}

/// Opens a guard on the interpreter of the attached state.
pub(crate) fn open_current(
    state: Ts,
    from: usize,
) -> Result<NonNull<PyInterpreterGuard>, GuardError> {
    open(from, |_| Some(interp_of(state)))
}

/// Opens a guard on the interpreter that `view` names. Lookup and acquisition
/// are one step with respect to the interpreter's end (S-G8-03).
pub(crate) fn open_view(
    view: &PyInterpreterView,
    from: usize,
) -> Result<NonNull<PyInterpreterGuard>, GuardError> {
    open(from, |head| {
        RUNTIME.interps(head).find(|interp| interp.id() == view.id && interp.is_alive())
    })
}

fn open(
    from: usize,
    find: impl FnOnce(&HeadGuard<'_>) -> Option<Interp>,
) -> Result<NonNull<PyInterpreterGuard>, GuardError> {
    let block =
        NonNull::new(mem::calloc(size_of::<PyInterpreterGuard>()).cast::<PyInterpreterGuard>())
            .ok_or(GuardError::NoMemory)?;
    let head = RUNTIME.lock();
    let interp = find(&head).filter(|interp| interp.guards.open());
    if let Some(interp) = interp {
        let opener = current();
        let next: *mut PyInterpreterGuard = RUNTIME.open_guards.load(Relaxed).cast();
        // SAFETY: a fresh block of the right size.
        unsafe {
            block.as_ptr().write(PyInterpreterGuard {
                interp,
                state_id: opener.map_or(0, |state| state.id()),
                thread_id: thread::ident(),
                native_id: thread::native_id(),
                opened_ns: crate::os::clock::now_ns(),
                opened_at: current::take_place(),
                opened_from: from,
                name: opener.map_or([0; NAME_SIZE], |state| state.name()),
                prev: core::ptr::null_mut(),
                next,
            });
        }
        // SAFETY: open guards are live; head lock held.
        if let Some(next) = unsafe { next.as_mut() } {
            next.prev = block.as_ptr();
        }
        RUNTIME.open_guards.store(block.as_ptr().cast(), Relaxed);
    }
    drop(head);
    if interp.is_none() {
        // SAFETY: allocated above, published nowhere.
        unsafe { mem::free(block.as_ptr().cast()) };
        return Err(GuardError::Unavailable);
    }
    trace::at(Point::GuardAcquired, Event::At(Mark::GuardOpen), || {
        interp.map_or(-1, |interp| interp.id())
    });
    Ok(block)
}

/// Closes a guard and frees it; the last one wakes the finalizer. False when
/// the count was not open (the guard was closed before).
///
/// # Safety
/// `guard` is an open guard.
pub(crate) unsafe fn close(guard: NonNull<PyInterpreterGuard>) -> bool {
    let head = RUNTIME.lock();
    // SAFETY: open by the caller's contract; the list is ours under the lock.
    let interp = unsafe { unlink(guard) };
    let closed = interp.guards.close();
    drop(head);
    // SAFETY: out of the list; the caller gives it up.
    unsafe { mem::free(guard.as_ptr().cast()) };
    if closed == Close::Last {
        lot::unpark_all(count_key(interp));
    }
    trace::at(Point::GuardClosed, Event::At(Mark::GuardClose), || interp.id());
    closed != Close::Unbalanced
}

/// # Safety
/// `guard` is in the list, and the head lock is held.
unsafe fn unlink(guard: NonNull<PyInterpreterGuard>) -> Interp {
    // SAFETY: live by the caller's contract.
    let (interp, prev, next) = unsafe {
        let guard = guard.as_ref();
        (guard.interp, guard.prev, guard.next)
    };
    // SAFETY: neighbours in the list are live.
    match unsafe { prev.as_mut() } {
        Some(prev) => prev.next = next,
        None => RUNTIME.open_guards.store(next.cast(), Relaxed),
    }
    // SAFETY: as above.
    if let Some(next) = unsafe { next.as_mut() } {
        next.prev = prev;
    }
    interp
}

/// Key on which a finalizer waits for the last guard.
pub(crate) fn count_key(interp: Interp) -> *const () {
    core::ptr::from_ref(&interp.guards.value).cast()
}

/// Frees every guard in a fork child: their owners did not survive. Guards of
/// the surviving thread stay open.
///
/// # Safety
/// The caller is the only thread of the process.
pub(crate) unsafe fn drop_vanished(survivor: c_ulong) {
    let mut next: *mut PyInterpreterGuard = RUNTIME.open_guards.load(Relaxed).cast();
    while let Some(guard) = NonNull::new(next) {
        // SAFETY: members of the list are live.
        let PyInterpreterGuard { thread_id: owner, next: after, .. } = *unsafe { guard.as_ref() };
        next = after;
        if owner == survivor {
            continue;
        }
        // SAFETY: in the list, and nobody else runs.
        let interp = unsafe { unlink(guard) };
        let _ = interp.guards.close();
        // SAFETY: out of the list; its owner is gone.
        unsafe { mem::free(guard.as_ptr().cast()) };
    }
}

fn open_list(interp: Option<Interp>) -> impl Iterator<Item = &'static PyInterpreterGuard> {
    let mut next: *mut PyInterpreterGuard = RUNTIME.open_guards.load(Relaxed).cast();
    core::iter::from_fn(move || {
        // SAFETY: open guards are live; the caller holds the head lock or
        // accepts a debugger's risk.
        let guard = unsafe { next.as_ref() }?;
        next = guard.next;
        Some(guard)
    })
    .take(10_000)
    .filter(move |guard| interp.is_none_or(|wanted| wanted == guard.interp))
}

fn took(guard: &PyInterpreterGuard, state: Ts) -> bool {
    guard.thread_id == state.thread_id()
        && guard.state_id == state.id()
        && guard.interp.as_ptr() == state.interp_ptr()
}

/// Number of open guards that `state` took.
pub(crate) fn count_of(state: Ts, _head: &HeadGuard<'_>) -> c_int {
    count_unlocked(state)
}

/// As [`count_of`], for the dump that takes no lock.
pub(crate) fn count_unlocked(state: Ts) -> c_int {
    open_list(None).filter(|guard| took(guard, state)).count() as c_int
}

/// Prints the open guards of `interp`: who took them, where. For the dump from
/// a signal handler: does not wait for the head lock.
pub(crate) fn dump(fd: c_int, interp: Option<Interp>, now: i64) {
    let Some(head) = RUNTIME.head.try_lock() else {
        write_fd(fd, b"open guards: the list is in use at this moment\n");
        return;
    };
    dump_locked(fd, interp, now);
    drop(head);
}

fn dump_locked(fd: c_int, interp: Option<Interp>, now: i64) {
    for guard in open_list(interp) {
        let mut line = LineBuf::<512>::new();
        let _ = write!(line, "guard on interp {}, open for ", guard.interp.id());
        crate::life::report::push_seconds(&mut line, now - guard.opened_ns);
        let _ = line.write_str(" s, taken by ");
        if guard.name[0] == 0 {
            let _ = write!(line, "thread 0x{:x}", guard.thread_id);
        } else {
            let _ = write!(line, "thread '{}'", Name(&guard.name));
        }
        let _ = write!(line, " (tid {})", guard.native_id);
        if guard.opened_at.is_null() {
            let _ = writeln!(line, ", called from {:#x}", guard.opened_from);
        } else {
            let _ = writeln!(line, ", at {}", Text(guard.opened_at));
        }
        write_fd(fd, line.as_bytes());
    }
}

/// A view of the interpreter with this id; `None` without memory.
pub(crate) fn view(id: i64) -> Option<NonNull<PyInterpreterView>> {
    let view = mem::alloc_zeroed::<PyInterpreterView>()?;
    // SAFETY: a fresh block.
    unsafe { view.as_ptr().write(PyInterpreterView { id }) };
    Some(view)
}

/// Frees a view.
///
/// # Safety
/// `view` came from [`view`] and is not used again.
pub(crate) unsafe fn close_view(view: NonNull<PyInterpreterView>) {
    // SAFETY: the caller's contract.
    unsafe { mem::free(view.as_ptr().cast()) };
}

/// Stands for "nothing was attached before" in a token (S-G8-22).
static SENTINEL: u64 = 0;

fn sentinel() -> *mut PyThreadStateToken {
    (&raw const SENTINEL).cast_mut().cast()
}

/// The interpreter that an open guard holds.
///
/// # Safety
/// `guard` is an open guard.
pub(crate) unsafe fn interp_of_guard(guard: NonNull<PyInterpreterGuard>) -> Interp {
    // SAFETY: the caller's contract.
    unsafe { guard.as_ref() }.interp
}

fn count(state: Ts, by: i32) -> i32 {
    let value = state.ensure_counter.load(Relaxed) + by;
    state.ensure_counter.store(value, Relaxed);
    value
}

/// Attaches a state of `interp`, which an open guard holds (S-G8-20).
pub(crate) fn ensure(interp: Interp) -> Result<*mut PyThreadStateToken, NewError> {
    probe::point(Point::EnsureBegin);
    let attached = current();
    let token = if let Some(state) = attached.filter(|state| belongs(*state, interp)) {
        count(state, 1);
        state.as_ptr().cast()
    } else if let Some(state) = gilstate().filter(|state| belongs(*state, interp)) {
        let before = swap_out(attached);
        count(state, 1);
        attach::attach(state);
        before
    } else {
        let state = tstate::new_bound(interp, Origin::C_API)?;
        state.ensure_deletes.store(1, Relaxed);
        let before = swap_out(attached);
        count(state, 1);
        attach::attach(state);
        before
    };
    probe::point(Point::EnsureDone);
    Ok(token)
}

fn belongs(state: Ts, interp: Interp) -> bool {
    state.interp_ptr() == interp.as_ptr()
}

fn swap_out(attached: Option<Ts>) -> *mut PyThreadStateToken {
    match attached {
        Some(state) => {
            let _ = attach::detach(state);
            state.as_ptr().cast()
        }
        None => sentinel(),
    }
}

/// Leaves the guard with the attached state, unless it owns one already: then
/// the new one is closed at once (S-G8-25).
///
/// # Safety
/// `guard` is open, and the caller gives it up.
pub(crate) unsafe fn own_guard(guard: NonNull<PyInterpreterGuard>) {
    if let Some(state) = current()
        && state.ensure_guard.load(Relaxed).is_null()
    {
        state.ensure_guard.store(guard.as_ptr().cast::<c_void>(), Relaxed);
        return;
    }
    // SAFETY: the caller's contract.
    unsafe { close(guard) };
}

/// Why Release failed: both fatal (S-G8-26).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseError {
    NotAttached,
    Unbalanced,
}

/// Undoes one Ensure (S-G8-26..30).
///
/// # Safety
/// `token` came from the matching Ensure on this thread.
pub(crate) unsafe fn release(token: *mut PyThreadStateToken) -> Result<(), ReleaseError> {
    probe::point(Point::ReleaseBegin);
    let state = current().ok_or(ReleaseError::NotAttached)?;
    if state.ensure_counter.load(Relaxed) <= 0 {
        return Err(ReleaseError::Unbalanced);
    }
    let before = (token != sentinel()).then_some(token);
    if count(state, -1) > 0 {
        if before.is_none() {
            let _ = attach::detach(state);
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe { release_last(state, before) };
    }
    probe::point(Point::ReleaseDone);
    Ok(())
}

/// # Safety
/// `before` is NULL-free: the state that the matching Ensure swapped out.
unsafe fn release_last(state: Ts, before: Option<*mut PyThreadStateToken>) {
    let deletes = state.ensure_deletes.load(Relaxed) != 0;
    if deletes {
        // Destructors may nest Ensure (S-G8-28).
        count(state, 1);
        let _ = tstate::clear(state);
        count(state, -1);
    }
    let guard = state.ensure_guard.swap(core::ptr::null_mut(), Relaxed);
    if deletes {
        tstate::delete_current(state);
    } else {
        let _ = attach::detach(state);
    }
    if let Some(before) = before {
        // SAFETY: the token is a state of this thread, live by the contract.
        if let Some(before) = unsafe { Ts::from_ptr(before.cast()) } {
            attach::attach(before);
        }
    }
    // Last, so that destructors run under its protection (S-G8-29).
    if let Some(guard) = NonNull::new(guard.cast::<PyInterpreterGuard>()) {
        // SAFETY: the state owned it.
        unsafe { close(guard) };
    }
}
