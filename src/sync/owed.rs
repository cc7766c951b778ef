//! What the calling thread gives back if it never returns: every attach inside
//! a primitive may meet the late-attach policy, which ends the thread or lets it
//! hang. What the primitive has taken by then must not stay taken.
//!
//! [`or_give_back`] runs a step that may not return, with a record on the stack
//! that says how to give back what is held around it; records of one thread form
//! a list, innermost first, so that an attach inside an attach gives back
//! everything. [`give_back_all`] is the first thing that the policy does.
//!
//! - OWED-1: A record lives on the stack of its thread, in a frame that is left by
//!   its return only, or never: then the policy has emptied the list.
//! - OWED-2: What a record runs neither waits nor attaches nor calls the host.
//!
//! Two stores on the way in and one on the way out, on paths that wait anyway.

#[cfg(not(loom))]
use crate::os::tls;
use core::cell::Cell;
use core::ptr;
#[cfg(not(loom))]
use core::sync::atomic::Ordering::Relaxed;

/// The part of a record that the list uses.
struct Record {
    next: *const Record,
    give_back: unsafe fn(*const Record),
}

/// A record with the function that it runs.
#[repr(C)]
struct With<F> {
    record: Record,
    what: Cell<Option<F>>,
}

/// # Safety
/// `record` is the first field of a live `With<F>`.
unsafe fn run<F: FnOnce()>(record: *const Record) {
    // SAFETY: this function's contract; `With` is `repr(C)`.
    let with = unsafe { &*record.cast::<With<F>>() };
    if let Some(what) = with.what.take() {
        what();
    }
}

#[cfg(not(loom))]
fn top() -> *const Record {
    tls::block().owed.load(Relaxed).cast_const().cast()
}

#[cfg(not(loom))]
fn set_top(record: *const Record) {
    tls::block().owed.store(record.cast_mut().cast(), Relaxed);
}

// Models know no thread that never returns in the middle of a wait.
#[cfg(loom)]
fn top() -> *const Record {
    ptr::null()
}

#[cfg(loom)]
fn set_top(_: *const Record) {}

/// Runs `step`. If the calling thread meets the late-attach policy in it,
/// `give_back` runs first.
pub(crate) fn or_give_back<R>(give_back: impl FnOnce(), step: impl FnOnce() -> R) -> R {
    fn run_of<F: FnOnce()>(_: &F) -> unsafe fn(*const Record) {
        run::<F>
    }
    let next = top();
    let record = Record { next, give_back: run_of(&give_back) };
    let with = With { record, what: Cell::new(Some(give_back)) };
    set_top(&raw const with.record);
    let result = step();
    set_top(next);
    result
}

/// Gives back what the calling thread holds, innermost first. It returns to none
/// of the frames that hold it.
pub(crate) fn give_back_all() {
    #[cfg(not(loom))]
    super::wait_record::forget_own();
    loop {
        let record = top();
        // SAFETY: OWED-1: the frame is on this thread's stack.
        let Some(Record { next, give_back }) = (unsafe { record.as_ref() }) else { return };
        set_top(*next);
        // SAFETY: `or_give_back` made the record with the function of its type.
        unsafe { give_back(record) };
    }
}

/// Forgets what was owed: the thread is ending, and has left its frames without
/// returning from them.
pub(crate) fn forget() {
    set_top(ptr::null());
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn what_is_held_is_given_back_innermost_first_and_once() {
        let order = RefCell::new(Vec::new());
        let note = |what| order.borrow_mut().push(what);
        or_give_back(
            || note("outer"),
            || {
                or_give_back(|| note("over"), || ());
                or_give_back(|| note("inner"), give_back_all);
                give_back_all();
            },
        );
        give_back_all();
        assert_eq!(*order.borrow(), ["inner", "outer"]);
    }

    #[test]
    fn a_step_that_returns_owes_nothing() {
        let result = or_give_back(|| panic!("given back although it returned"), || 7);
        give_back_all();
        assert_eq!(result, 7);
    }
}
