//! Functions that finalization calls: after the runtime is gone (32 slots),
//! while an interpreter is cleared, and before its commit (S-AE).

use crate::os::function::FunctionCell;
use crate::os::mem;
use crate::sched::callout::{self, Callout};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// Number of functions that Py_AtExit can register.
const SLOTS: usize = 32;

/// A function that Py_AtExit registers.
pub(crate) type ExitFunction = unsafe extern "C" fn();
/// A function that is called with its data.
pub(crate) type DataFunction = unsafe extern "C" fn(*mut c_void);

static FUNCTIONS: [FunctionCell<ExitFunction>; SLOTS] = [const { FunctionCell::new() }; SLOTS];
static USED: AtomicUsize = AtomicUsize::new(0);

/// Registers a function to run last in Py_FinalizeEx; false when all slots are
/// taken.
#[must_use]
pub(crate) fn register(function: ExitFunction) -> bool {
    let head = RUNTIME.lock();
    let used = USED.load(Relaxed);
    let free = used < SLOTS;
    if free {
        FUNCTIONS[used].store(Some(function), Relaxed);
        USED.store(used + 1, Relaxed);
    }
    drop(head);
    free
}

/// Runs the registered functions, newest first; a function that one of them registers runs next
/// (S-AE-01).
pub(crate) fn run() {
    loop {
        let head = RUNTIME.lock();
        let used = USED.load(Relaxed);
        let function = used.checked_sub(1).and_then(|last| {
            USED.store(last, Relaxed);
            FUNCTIONS[last].take(Relaxed)
        });
        drop(head);
        let Some(function) = function else { return };
        // SAFETY: the host's function; no lock held.
        unsafe { function() };
    }
}

/// One registered function with its data.
struct Node {
    function: DataFunction,
    data: *mut c_void,
    next: *mut Node,
}

/// Which list of an interpreter.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// The functions that run while the interpreter is cleared (PyUnstable_AtExit).
    AtClear,
    /// The functions that run before the commit. They may start threads and attach.
    BeforeCommit,
}

fn list(interp: &Interp, when: When) -> &AtomicPtr<c_void> {
    match when {
        When::AtClear => &interp.at_exit,
        When::BeforeCommit => &interp.at_shutdown,
    }
}

/// Why nothing was registered.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NoMemory,
    /// The function would never run.
    TooLate,
}

/// Registers `function(data)`.
pub(crate) fn register_with(
    interp: Interp,
    when: When,
    function: DataFunction,
    data: *mut c_void,
) -> Result<(), Refused> {
    let node = mem::alloc_zeroed::<Node>().ok_or(Refused::NoMemory)?;
    let head = RUNTIME.lock();
    // The commit is made under this lock, too, and only with an empty list.
    let late = match when {
        When::AtClear => !interp.is_alive(),
        When::BeforeCommit => !interp.is_alive() || interp.committed(),
    };
    if late {
        drop(head);
        // SAFETY: allocated above and not used.
        unsafe { mem::free(node.as_ptr().cast()) };
        return Err(Refused::TooLate);
    }
    let list = list(&interp, when);
    let next = list.load(Relaxed).cast();
    // SAFETY: a fresh block of the right size.
    unsafe { node.write(Node { function, data, next }) };
    list.store(node.as_ptr().cast(), Relaxed);
    drop(head);
    Ok(())
}

/// Whether the list is not empty.
pub(crate) fn any(interp: Interp, when: When) -> bool {
    !list(&interp, when).load(Relaxed).is_null()
}

/// Runs and removes the functions of the list, newest first, without a lock.
pub(crate) fn run_list(interp: Interp, when: When) {
    loop {
        let head = RUNTIME.lock();
        let first: *mut Node = list(&interp, when).load(Relaxed).cast();
        let node = NonNull::new(first).map(|node| {
            // SAFETY: nodes in the list are live; head lock held.
            let node = unsafe { node.as_ptr().read() };
            list(&interp, when).store(node.next.cast(), Relaxed);
            node
        });
        drop(head);
        let Some(node) = node else { return };
        // SAFETY: taken out of the list above.
        unsafe { mem::free(first.cast()) };
        // SAFETY: the host's function; attached, no lock held.
        let run = || unsafe { (node.function)(node.data) };
        callout::run(Callout::AtExit, interp.as_ptr().cast(), run);
    }
}

/// Removes the functions of the list without running them.
pub(crate) fn forget(interp: Interp, when: When) {
    let head = RUNTIME.lock();
    let mut first: *mut Node = list(&interp, when).swap(core::ptr::null_mut(), Relaxed).cast();
    drop(head);
    while let Some(node) = NonNull::new(first) {
        // SAFETY: nodes of the list are live; taken out above.
        first = unsafe { node.as_ref() }.next;
        // SAFETY: the node was taken out above, and its `next` was read.
        unsafe { mem::free(node.as_ptr().cast()) };
    }
}
