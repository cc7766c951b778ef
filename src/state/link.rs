//! Typed pointers between blocks that stay mapped while the process lives.
//!
//! A thread state, an interpreter and a GIL are never returned to the system
//! (TS-1, INTERP-1). A pointer to one can be followed at any later time, so a
//! [`Link`] gives out references without a contract for its caller.

use core::sync::atomic::{AtomicPtr, Ordering};

/// A reference to a block that is never unmapped.
///
/// # Safety
/// `from_raw` is sound for each pointer that `as_raw` has ever returned.
pub(crate) unsafe trait Stable: Copy {
    /// The block.
    type Block;

    /// The address of the block.
    fn as_raw(self) -> *mut Self::Block;

    /// # Safety
    /// `pointer` is NULL or was returned by [`Stable::as_raw`].
    unsafe fn from_raw(pointer: *mut Self::Block) -> Option<Self>;
}

// SAFETY: what a static reference leads to exists while the process lives.
unsafe impl<T> Stable for &'static T {
    type Block = T;

    #[inline(always)]
    fn as_raw(self) -> *mut T {
        core::ptr::from_ref(self).cast_mut()
    }

    #[inline(always)]
    unsafe fn from_raw(pointer: *mut T) -> Option<&'static T> {
        // SAFETY: the caller's contract.
        unsafe { pointer.as_ref() }
    }
}

/// An atomic `Option<T>` of one word; `None` is NULL.
///
/// LINK-1: the word is 0 or an address that `T::as_raw` returned.
#[repr(transparent)]
pub(crate) struct Link<T: Stable>(AtomicPtr<T::Block>);

impl<T: Stable> Link<T> {
    pub(crate) const fn new() -> Link<T> {
        Link(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// The link at `pointer`, a member of a C structure.
    ///
    /// # Safety
    /// `pointer` is aligned and valid for `'a`; its word satisfies LINK-1 and is
    /// accessed atomically only.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr<'a>(pointer: *mut Link<T>) -> &'a Link<T> {
        // SAFETY: the caller's contract.
        unsafe { &*pointer }
    }

    #[inline(always)]
    fn typed(pointer: *mut T::Block) -> Option<T> {
        // SAFETY: LINK-1.
        unsafe { T::from_raw(pointer) }
    }

    fn raw(value: Option<T>) -> *mut T::Block {
        value.map_or(core::ptr::null_mut(), T::as_raw)
    }

    #[inline(always)]
    pub(crate) fn load(&self, order: Ordering) -> Option<T> {
        Link::typed(self.0.load(order))
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: Option<T>, order: Ordering) {
        self.0.store(Link::raw(value), order);
    }

    /// Stores `value` and returns what was there.
    pub(crate) fn swap(&self, value: Option<T>, order: Ordering) -> Option<T> {
        Link::typed(self.0.swap(Link::raw(value), order))
    }

    /// Whether the link leads to `value`.
    #[inline(always)]
    pub(crate) fn is(&self, value: T, order: Ordering) -> bool {
        self.0.load(order) == value.as_raw()
    }

    /// Whether the link leads nowhere.
    #[inline(always)]
    pub(crate) fn is_none(&self, order: Ordering) -> bool {
        self.0.load(order).is_null()
    }

    /// Empties the link if it leads to `value`. One load if it does not.
    pub(crate) fn clear_if(&self, value: T) -> bool {
        let me = value.as_raw();
        self.0.load(Ordering::Relaxed) == me
            && self
                .0
                .compare_exchange(me, core::ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}
