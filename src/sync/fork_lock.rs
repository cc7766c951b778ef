//! The table of locks that a fork child makes free: each lock stands in the rows of its module, and
//! the rows of all modules make one list (`life::fork::table`), which the child walks.
//!
//! A lock in an object (a handle, a state, a request) is reset with its object and is in no row;
//! docs/locks.md names them.

/// A lock of the library's own that threads of the parent may hold at a fork().
pub(crate) trait ForkLock: Sync {
    /// Makes the lock free in a fork child, whichever thread of the parent held it.
    ///
    /// # Safety
    /// The caller is the only thread of the process, and holds no guard of this lock.
    unsafe fn reset_in_child(&self);

    /// Takes the lock, if it is free, and leaves it held, as a thread does that is not in the
    /// child.
    #[cfg(test)]
    fn leave_held(&self);

    /// Whether the lock is free.
    #[cfg(test)]
    fn is_free(&self) -> bool;
}

impl<L: ForkLock, const N: usize> ForkLock for [L; N] {
    unsafe fn reset_in_child(&self) {
        for lock in self {
            // SAFETY: this function's contract.
            unsafe { lock.reset_in_child() };
        }
    }

    #[cfg(test)]
    fn leave_held(&self) {
        self.iter().for_each(ForkLock::leave_held);
    }

    #[cfg(test)]
    fn is_free(&self) -> bool {
        self.iter().all(ForkLock::is_free)
    }
}

/// One lock of the table.
pub(crate) struct ForkRow {
    /// The name of its static.
    #[allow(dead_code, reason = "a test compares it with docs/locks.md")]
    pub(crate) name: &'static str,
    /// The file that declares it.
    #[allow(dead_code, reason = "a test compares it with docs/locks.md")]
    pub(crate) file: &'static str,
    /// The lock.
    pub(crate) lock: &'static dyn ForkLock,
}

/// The row of a static that the calling file declares.
macro_rules! fork_row {
    ($lock:ident) => {
        $crate::sync::fork_lock::ForkRow { name: stringify!($lock), file: file!(), lock: &$lock }
    };
}
pub(crate) use fork_row;
