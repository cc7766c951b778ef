//! A function and its data as one value: a thread that reads a [`Hook`] gets a function with the
//! data that it was installed with, however often others install another.
//!
//! Two pairs and a version: a writer fills the pair that no reader is sent to, then publishes it. A
//! reader that finds the version changed reads once more. It waits for no writer, so a signal
//! handler may read while the thread below it writes.
//!
//! HOOK-1: One thread writes at a time: it holds the head lock ([`Hook::set`]), or the cell is its
//!    own ([`Hook::set_own`]).
//! HOOK-2: A pair is written only after the version that leads to the other one is visible (release
//!    fence in the writer, acquire fence in the reader): a reader whose pair is being written over
//!    sees that the version has changed.
//!
//! All zero is empty. Between two writes, and in the middle of one, the newest finished pair can be
//! read: a fork child has nothing to reset.

use super::atomic::{AtomicPtr, AtomicUsize, Ordering, const_unless_loom, fence};
#[cfg(not(loom))]
use super::head::Head;
use crate::os::function::Function;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr;

/// One function with its data, or none, read as one value.
pub(crate) struct Hook<F> {
    /// Writes so far; the pair of the newest is at `version % 2`.
    version: AtomicUsize,
    pairs: [Pair; 2],
    is: PhantomData<F>,
}

struct Pair {
    function: AtomicPtr<()>,
    data: AtomicPtr<c_void>,
}

impl Pair {
    const_unless_loom! {
        pub(self) fn new() -> Pair {
            Pair { function: AtomicPtr::new(ptr::null_mut()), data: AtomicPtr::new(ptr::null_mut()) }
        }
    }
}

impl<F: Function> Hook<F> {
    const_unless_loom! {
        /// An empty cell.
        pub(crate) fn new() -> Hook<F> {
            Hook { version: AtomicUsize::new(0), pairs: [Pair::new(), Pair::new()], is: PhantomData }
        }
    }

    /// The function and its data. Async-signal-safe.
    pub(crate) fn get(&self) -> Option<(F, *mut c_void)> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let pair = &self.pairs[version % 2];
            let function = pair.function.load(Ordering::Relaxed);
            let data = pair.data.load(Ordering::Relaxed);
            // This fence pairs with the one in `set_own` (HOOK-2).
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                // SAFETY: only `set_own` fills the word, with this type.
                return (!function.is_null()).then(|| (unsafe { F::from_word(function) }, data));
            }
        }
    }

    /// Installs a function with its data, or removes what is there. Calls that have begun go on.
    #[cfg(not(loom))]
    pub(crate) fn set(&self, function: Option<F>, data: *mut c_void, _head: &Head) {
        self.set_own(function, data);
    }

    /// Does what [`Hook::set`] does, for the one thread that may write to the cell now (HOOK-1).
    pub(crate) fn set_own(&self, function: Option<F>, data: *mut c_void) {
        let next = self.version.load(Ordering::Relaxed).wrapping_add(1);
        // This fence pairs with the one in `get` (HOOK-2).
        fence(Ordering::Release);
        let pair = &self.pairs[next % 2];
        pair.function.store(function.map_or(ptr::null_mut(), F::into_word), Ordering::Relaxed);
        pair.data.store(data, Ordering::Relaxed);
        self.version.store(next, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::sync::atomic::AtomicBool;

    std::thread_local! {
        /// Which of the functions ran last on this thread.
        static LAST: Cell<usize> = const { Cell::new(0) };
    }

    fn one() {
        LAST.set(1);
    }

    fn two() {
        LAST.set(2);
    }

    fn data(number: usize) -> *mut c_void {
        ptr::without_provenance_mut(number)
    }

    fn check(found: Option<(fn(), *mut c_void)>) -> usize {
        let (function, data) = found.expect("it is never empty here");
        function();
        let number = LAST.get();
        assert_eq!(number, data.addr(), "a function with the data of another");
        number
    }

    #[test]
    fn what_is_set_is_found_until_it_is_removed() {
        let hook = Hook::<fn()>::new();
        assert!(hook.get().is_none());
        hook.set_own(Some(one), data(1));
        assert_eq!(check(hook.get()), 1);
        hook.set_own(Some(two), data(2));
        assert_eq!(check(hook.get()), 2);
        hook.set_own(None, data(2));
        assert!(hook.get().is_none());
    }

    #[test]
    fn a_reader_never_meets_one_function_with_the_data_of_another() {
        let hook = Hook::<fn()>::new();
        let over = AtomicBool::new(false);
        hook.set_own(Some(one), data(1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    check(hook.get());
                }
            });
            for _ in 0..200_000 {
                hook.set_own(Some(two), data(2));
                hook.set_own(Some(one), data(1));
            }
            over.store(true, Ordering::Relaxed);
        });
    }
}
