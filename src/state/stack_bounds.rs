//! Where the C stack of a thread ends, and how close to that it may come.
//!
//! ```text
//! top ........ where the stack began
//! soft limit . base + 2 margins: below it a check raises
//! hard limit . base + 1 margin: below it a check is fatal
//! base ....... the lowest byte; below it the checks say nothing: another stack
//! ```
//!
//! Stacks grow down on every machine that the library runs on.
//!
//! Field access: the bound thread; `protect` and `reset` may be
//! called by any thread while the bound one does not check. `soft` is 0 until the
//! bounds are known; a check loads nothing else while there is room.
//!
//! Mirrors CPython 3.14 `tstate_set_stack`, `_Py_CheckRecursiveCall` (ceval.c).

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More stack than a thread uses between two checks.
pub(crate) const MARGIN: usize = 2048 * size_of::<usize>();

/// The smallest stack that can be protected.
pub(crate) const LEAST: usize = 3 * MARGIN;

/// What a check found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// There is room, or the stack is not the one that is protected.
    Fine,
    /// Below the soft limit; so many bytes are in use.
    Deep(usize),
    /// Below the hard limit.
    Lost(usize),
    /// The bounds were not looked up yet.
    Unknown,
}

/// Bounds of one stack. All zero: not known.
pub(crate) struct StackBounds {
    soft: AtomicUsize,
    top: AtomicUsize,
    /// What the OS said, for `reset`.
    found_base: AtomicUsize,
    found_top: AtomicUsize,
}

impl StackBounds {
    /// Looks at the stack pointer `here`. One load while there is room.
    #[inline(always)]
    pub(crate) fn check(&self, here: usize) -> Depth {
        let soft = self.soft.load(Relaxed);
        if here >= soft && soft != 0 {
            return Depth::Fine;
        }
        self.check_slow(here, soft)
    }

    #[cold]
    fn check_slow(&self, here: usize, soft: usize) -> Depth {
        let used = self.top.load(Relaxed).wrapping_sub(here);
        match soft {
            0 => Depth::Unknown,
            _ if here < soft - 2 * MARGIN => Depth::Fine,
            _ if here < soft - MARGIN => Depth::Lost(used),
            _ => Depth::Deep(used),
        }
    }

    /// Sets the bounds to what the OS said about the bound thread.
    pub(crate) fn found(&self, base: usize, top: usize) {
        self.found_base.store(base, Relaxed);
        self.found_top.store(top, Relaxed);
        self.set(base, top);
    }

    /// Replaces the bounds. False, and nothing is changed, when the stack is
    /// smaller than [`LEAST`] or does not fit into memory.
    #[must_use]
    pub(crate) fn protect(&self, base: usize, size: usize) -> bool {
        let top = base.checked_add(size).filter(|_| size >= LEAST);
        if let Some(top) = top {
            self.set(base, top);
        }
        top.is_some()
    }

    /// Back to what the OS said; to "not known" if it was never asked.
    pub(crate) fn reset(&self) {
        match self.found_top.load(Relaxed) {
            0 => self.soft.store(0, Relaxed),
            top => self.set(self.found_base.load(Relaxed), top),
        }
    }

    /// Forgets everything: the state goes to another thread.
    pub(crate) fn forget(&self) {
        self.found_top.store(0, Relaxed);
        self.soft.store(0, Relaxed);
    }

    fn set(&self, base: usize, top: usize) {
        self.top.store(top, Relaxed);
        self.soft.store(base.saturating_add(2 * MARGIN), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 0x10_0000;
    const TOP: usize = BASE + 10 * MARGIN;

    fn unknown() -> StackBounds {
        let [soft, top, found_base, found_top] = [0; 4].map(AtomicUsize::new);
        StackBounds { soft, top, found_base, found_top }
    }

    #[test]
    fn a_stack_is_diagnosed_between_its_soft_limit_and_its_base() {
        let bounds = unknown();
        assert_eq!(bounds.check(TOP - 8), Depth::Unknown);
        bounds.found(BASE, TOP);
        assert_eq!(bounds.check(TOP - 8), Depth::Fine);
        assert_eq!(bounds.check(BASE + 2 * MARGIN), Depth::Fine);
        assert_eq!(bounds.check(BASE + 2 * MARGIN - 1), Depth::Deep(8 * MARGIN + 1));
        assert_eq!(bounds.check(BASE + MARGIN), Depth::Deep(9 * MARGIN));
        assert_eq!(bounds.check(BASE + MARGIN - 1), Depth::Lost(9 * MARGIN + 1));
        assert_eq!(bounds.check(BASE), Depth::Lost(10 * MARGIN));
        assert_eq!(bounds.check(BASE - 1), Depth::Fine);
    }

    #[test]
    fn a_stack_too_small_or_beyond_memory_is_refused() {
        let bounds = unknown();
        bounds.found(BASE, TOP);
        assert!(!bounds.protect(4 * BASE, LEAST - 1));
        assert!(!bounds.protect(usize::MAX - LEAST + 1, LEAST));
        assert_eq!(bounds.check(BASE + MARGIN), Depth::Deep(9 * MARGIN));
    }

    #[test]
    fn reset_gives_back_what_was_found_or_nothing() {
        let bounds = unknown();
        assert!(bounds.protect(4 * BASE, LEAST));
        assert_eq!(bounds.check(4 * BASE + MARGIN), Depth::Deep(2 * MARGIN));
        bounds.reset();
        assert_eq!(bounds.check(4 * BASE + MARGIN), Depth::Unknown);
        bounds.found(BASE, TOP);
        assert!(bounds.protect(4 * BASE, LEAST));
        bounds.reset();
        assert_eq!(bounds.check(BASE + MARGIN), Depth::Deep(9 * MARGIN));
        bounds.forget();
        assert_eq!(bounds.check(BASE + MARGIN), Depth::Unknown);
    }
}
