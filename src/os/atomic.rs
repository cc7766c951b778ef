//! The one seam through which atomics and lock-guarded cells come: the real ones, or loom's under
//! `cfg(loom)`.
//!
//! It stands in this layer because [`super::futex`] needs it; every other layer imports it as
//! `sync::atomic`.

#[cfg(not(loom))]
pub(crate) use core::{
    cell::Cell,
    sync::atomic::{
        AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    },
};

#[cfg(loom)]
pub(crate) use loom::{
    cell::Cell,
    sync::atomic::{
        AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    },
};

/// Writes a constructor that is `const`, except under loom, whose atomics are made at run time.
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($args:tt)*) -> $ret:ty $body:block) => {
        $(#[$meta])*
        #[cfg(not(loom))]
        $vis const fn $name($($args)*) -> $ret $body

        $(#[$meta])*
        #[cfg(loom)]
        $vis fn $name($($args)*) -> $ret $body
    };
}
pub(crate) use const_unless_loom;

/// Gives the processor to another thread that can run, if there is one.
#[inline]
pub(crate) fn yield_now() {
    #[cfg(not(loom))]
    // SAFETY: no preconditions. Its only effect is on the scheduler.
    let _ = unsafe { libc::sched_yield() };
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Tells the processor that this is a busy-wait loop; under loom, lets another thread run.
#[inline]
pub(crate) fn spin_hint() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
