//! Sync points: named places where a thread can be held, hooked or delayed, on demand.
//!
//! [`point`] is what the layers above place; the rest is what `capi/sync_points.rs` shows to C.
//! The meaning of every call is in `docs/sync-points.md`; the data and its rules are in [`table`].

use core::cell::Cell;
use core::ffi::{CStr, c_char};

use super::callout::{self, Callout, Entry};
use super::environment::mode_after_environment;
use super::monitor::{self, Held};
use super::names::{self, NameError};
use super::perturb::{self, Setting};
use super::table::{self, TABLE, Table};
use super::{mode, point::Point, text};
use crate::control;
use crate::os::clock::Deadline;
use crate::os::{errno, ids, tls};

pub(crate) use super::table::Hook;

thread_local! {
    /// True while the thread runs a hook: hooks do not nest. No destructor.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// The outcome of a call of the public functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Answer {
    /// The change was made; or, for a question, a thread is held at the point.
    Done,
    /// No thread was held at the point before the deadline.
    TimedOut,
    /// No such point, and none can be made with that name; or an order of a point with itself.
    BadName,
    /// There is no room for one more point, or one more order.
    Full,
}

impl From<NameError> for Answer {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Bad => Self::BadName,
            NameError::Full => Self::Full,
        }
    }
}

/// Passes a sync point.
///
/// Off, this is one relaxed load and a branch that is not taken. May be called by any thread, with
/// or without a state; never where one of the library's own locks is held, because a thread can be
/// held here. Keeps `errno`.
#[inline(always)]
pub(crate) fn point(at: Point) {
    if !is_off() {
        arrive(at);
    }
}

/// Passes a sync point that is about an object: a controlled scheduler knows then which points may
/// disturb each other.
#[inline(always)]
pub(crate) fn point_on<T>(at: Point, object: *const T) {
    if !is_off() {
        arrive_on(at, object.cast());
    }
}

/// Passes a point on the cold path, when some mode is on.
#[cold]
#[inline(never)]
pub(super) fn arrive(at: Point) {
    pass(at as usize, core::ptr::null());
}

#[cold]
#[inline(never)]
fn arrive_on(at: Point, object: *const ()) {
    pass(at as usize, object);
}

/// Returns true while no mode is on. Costs one relaxed load.
#[inline(always)]
pub(crate) fn is_off() -> bool {
    mode::get() == 0
}

/// Passes a user's point, which is made on first use, and ignored if it cannot be made.
#[cold]
#[inline(never)]
pub(crate) fn user_point(name: &CStr) {
    if monitor::is_inside() || mode_after_environment() == 0 {
        return;
    }
    let index = names::find(name).or_else(|| {
        let _held = TABLE.enter();
        names::make(name).ok()
    });
    if let Some(index) = index {
        pass(index, core::ptr::null());
    }
}

fn pass(index: usize, object: *const ()) {
    // A signal handler that interrupted this very code goes on at once (MON-2).
    if monitor::is_inside() {
        return;
    }
    let saved = errno::get();
    let on = mode_after_environment();
    if on & mode::PERTURB != 0 {
        perturb::maybe_sleep();
    }
    if on & mode::SYNC != 0 && table::is_armed(index) {
        call_hook(index);
        hold(index);
    }
    if on & mode::CONTROL != 0 {
        control(index, object);
    }
    errno::set(saved);
}

/// Lets the controlled scheduler choose who goes on.
fn control(index: usize, object: *const ()) {
    static NUMBERS: [control::Number; names::CAPACITY] =
        [const { control::Number::unknown() }; names::CAPACITY];
    // SAFETY: names of points are NUL-terminated and never change or go away (NAMES-1).
    let name = unsafe { CStr::from_ptr(names::name_of(index)) };
    control::point(&NUMBERS[index], name, object);
}

/// Calls the point's hook, if it has one and the thread is not in a hook already. No lock is held.
fn call_hook(index: usize) {
    let hook = TABLE.enter().slot(index).hook;
    let Some(hook) = hook.filter(|_| !IN_HOOK.get()) else { return };
    IN_HOOK.set(true);
    // SAFETY: the host gave a function of this type, with this argument, to be called here on any
    // thread.
    let run = || unsafe { (hook.run)(names::name_of(index), hook.arg) };
    let attached = tls::current().expose_provenance();
    callout::inside(Entry { callout: Callout::SyncHook, attached, subject: 0 }, run);
    IN_HOOK.set(false);
}

/// Stages 2 and 3 of an arrival, and its passing.
fn hold(index: usize) {
    let mut held = TABLE.enter();
    if let Some(epoch) = held.take_pause(index) {
        held.changed();
        while held.slot(index).pause_epoch == epoch {
            held = held.wait(Deadline::NEVER);
        }
    }
    if held.awaited(index).is_some() {
        held = await_orders(held, index);
    }
    if held.passed(index) {
        held.changed();
    }
}

/// Stage 3: waits until nothing is left to wait for, a thread wakes the point, or the limit is
/// reached.
fn await_orders(mut held: Held<'static, Table>, index: usize) -> Held<'static, Table> {
    let deadline = Deadline::after(held.limit_ns);
    let slot = held.slot(index);
    slot.held_by_order += 1;
    let epoch = slot.order_epoch;
    held.changed();
    while held.slot(index).order_epoch == epoch {
        if deadline.passed() {
            return give_up(held, index);
        }
        held = held.wait(deadline);
    }
    held
}

/// Drops, and reports, every order that an arrival at `then` has waited for in vain.
fn give_up(mut held: Held<'static, Table>, then: usize) -> Held<'static, Table> {
    let limit_ms = held.limit_ns / 1_000_000;
    while let Some(first) = held.awaited(then) {
        if held.drop_order(first, then) {
            held.changed();
        }
        drop(held);
        text::warn(format_args!(
            "pytstate: sync point '{}' waited {}.{:03} s for '{}', which nobody passed: thread {} goes on, \
             the order is dropped",
            shown(then),
            limit_ms / 1000,
            limit_ms % 1000,
            shown(first),
            ids::thread(),
        ));
        held = TABLE.enter();
    }
    held
}

/// Returns the name of a point for a message.
fn shown(index: usize) -> &'static str {
    // SAFETY: names of points are NUL-terminated and never change or go away (NAMES-1).
    let name = unsafe { CStr::from_ptr(names::name_of(index)) };
    name.to_str().unwrap_or("(not UTF-8)")
}

/// Holds the next arrival at the point until it is woken.
pub(crate) fn pause(name: &CStr) -> Answer {
    let _ = mode_after_environment();
    let mut table = TABLE.enter();
    match names::make(name) {
        Ok(index) => table.pause(index),
        Err(error) => return error.into(),
    }
    Answer::Done
}

/// Waits until a thread is held at the point. Does not detach.
pub(crate) fn wait_parked(name: &CStr, deadline: Deadline) -> Answer {
    let _ = mode_after_environment();
    let Some(index) = names::find(name) else { return Answer::BadName };
    let mut table = TABLE.enter();
    while !table.is_anybody_held(index) {
        if deadline.passed() {
            return Answer::TimedOut;
        }
        table = table.wait(deadline);
    }
    Answer::Done
}

/// Releases the threads that the point holds; if it holds none, forgets the pauses that are left.
pub(crate) fn wake(name: &CStr) -> Answer {
    let _ = mode_after_environment();
    let Some(index) = names::find(name) else { return Answer::BadName };
    let mut table = TABLE.enter();
    table.wake(index);
    table.changed();
    Answer::Done
}

/// Makes arrivals at `then` wait until `first` was passed.
pub(crate) fn order(first: &CStr, then: &CStr) -> Answer {
    let _ = mode_after_environment();
    if first == then {
        return Answer::BadName;
    }
    let mut table = TABLE.enter();
    let both = names::make(first).and_then(|first| Ok((first, names::make(then)?)));
    match both {
        Ok((first, then)) if table.order(first, then) => Answer::Done,
        Ok(_) => Answer::Full,
        Err(error) => error.into(),
    }
}

/// Sets the point's hook, or removes it.
pub(crate) fn hook(name: &CStr, hook: Option<Hook>) -> Answer {
    let _ = mode_after_environment();
    let mut table = TABLE.enter();
    match names::make(name) {
        Ok(index) => table.hook(index, hook),
        Err(error) => return error.into(),
    }
    Answer::Done
}

/// Turns every point off and releases all threads; perturbation is as the environment asks for.
pub(crate) fn clear() {
    let _ = mode_after_environment();
    let mut table = TABLE.enter();
    table.clear();
    perturb::set(table.environment);
    table.changed();
}

/// Turns on random sleeps at points.
pub(crate) fn perturb(setting: Setting) {
    let _ = mode_after_environment();
    let _table = TABLE.enter();
    perturb::set(setting);
}

/// Lists the points; see [`names::list`].
pub(crate) fn list(put: impl FnMut(usize, *const c_char) -> bool) -> usize {
    names::list(put)
}
