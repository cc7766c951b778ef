//! The intrusive lists: the links are fields of the members, so that joining and leaving a list
//! allocates nothing and takes constant time. [`List`] is doubly linked; [`Stack`] has one link and
//! gives back what was pushed last.
//!
//! LIST-1: A member's memory stays valid while it is in the list.
//! LIST-2: A block is pushed only while it is in no list of these links, and removed only from the
//!    list that it is in.
//! LIST-3: A list is touched under its lock only, which each function wants to see
//!    ([`Links::Lock`]). An exception is [`List::walk`], for a signal handler: it meets each
//!    pointer whole, because pointers are atomics stored with Release after what they point to was
//!    linked.
//!
//! An implementation of [`Links`] must keep LIST-1 and LIST-2. All-zero is an empty list.

use super::atomic::{Ordering, const_unless_loom};
use core::marker::PhantomData;
use core::ptr;

/// A pointer in a list.
#[cfg(not(loom))]
pub(crate) use super::atomic::AtomicPtr as Pointer;
#[cfg(loom)]
pub(crate) use model::Pointer;

/// In a model a pointer is a cell, so that loom reports two threads at one list.
#[cfg(loom)]
mod model {
    use crate::sync::atomic::{Cell, Ordering};

    pub(crate) struct Pointer<T>(Cell<*mut T>);

    // SAFETY: loom checks every access.
    unsafe impl<T> Sync for Pointer<T> {}
    // SAFETY: as above.
    unsafe impl<T> Send for Pointer<T> {}

    impl<T> Pointer<T> {
        pub(crate) fn new(pointer: *mut T) -> Self {
            Self(Cell::new(pointer))
        }

        pub(crate) fn load(&self, _: Ordering) -> *mut T {
            self.0.get()
        }

        pub(crate) fn store(&self, pointer: *mut T, _: Ordering) {
            self.0.set(pointer);
        }
    }
}

/// Where the members of one kind of list have their links. The type that implements it names the
/// list.
///
/// # Safety
/// The functions belong together: `from_ptr(as_ptr(item))` is `item`, and `next` is always the same
/// field. The uses of the list keep LIST-1 and LIST-2.
pub(crate) unsafe trait Links {
    /// A reference to a member: copied freely, equal for the same member.
    type Item: Copy;
    /// What it points to.
    type Block;
    /// A reference to this shows that the caller holds the list's lock: `Head` for lists under the
    /// head lock, `()` for a list that is the data inside its mutex.
    type Lock;

    /// The address of the member.
    fn as_ptr(item: Self::Item) -> *mut Self::Block;
    /// The member at an address, or `None` for NULL.
    ///
    /// # Safety
    /// `block` is NULL or a member of the list (LIST-1).
    unsafe fn from_ptr(block: *mut Self::Block) -> Option<Self::Item>;
    /// The link to the member behind this one.
    fn next(item: &Self::Item) -> &Pointer<Self::Block>;
}

/// [`Links`] of a doubly linked list.
///
/// # Safety
/// The rules of [`Links`] apply, and `prev` is another field than `next`.
pub(crate) unsafe trait DoubleLinks: Links {
    /// The link to the member before this one.
    fn prev(item: &Self::Item) -> &Pointer<Self::Block>;
}

/// A doubly linked list.
#[repr(C)]
pub(crate) struct List<L: Links> {
    first: Pointer<L::Block>,
    last: Pointer<L::Block>,
}

#[allow(dead_code, reason = "the list's whole vocabulary, for the layers above")]
impl<L: DoubleLinks> List<L> {
    const_unless_loom! {
        /// An empty list.
        pub(crate) fn new() -> Self {
            Self { first: Pointer::new(ptr::null_mut()), last: Pointer::new(ptr::null_mut()) }
        }
    }

    /// The first member.
    #[inline]
    pub(crate) fn first(&self, _lock: &L::Lock) -> Option<L::Item> {
        // SAFETY: LIST-1.
        unsafe { L::from_ptr(self.first.load(Ordering::Relaxed)) }
    }

    /// Whether it has no members.
    #[inline]
    pub(crate) fn is_empty(&self, _lock: &L::Lock) -> bool {
        self.first.load(Ordering::Relaxed).is_null()
    }

    /// Puts `item` before all others.
    #[inline]
    pub(crate) fn push_front(&self, item: L::Item, lock: &L::Lock) {
        let old = self.first(lock);
        L::prev(&item).store(ptr::null_mut(), Ordering::Relaxed);
        L::next(&item).store(old.map_or(ptr::null_mut(), L::as_ptr), Ordering::Release);
        match old {
            Some(old) => L::prev(&old).store(L::as_ptr(item), Ordering::Relaxed),
            None => self.last.store(L::as_ptr(item), Ordering::Relaxed),
        }
        self.first.store(L::as_ptr(item), Ordering::Release);
    }

    /// Puts `item` behind all others.
    #[inline]
    pub(crate) fn push_back(&self, item: L::Item, _lock: &L::Lock) {
        let old = self.last.load(Ordering::Relaxed);
        L::prev(&item).store(old, Ordering::Relaxed);
        L::next(&item).store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: LIST-1.
        match unsafe { L::from_ptr(old) } {
            Some(old) => L::next(&old).store(L::as_ptr(item), Ordering::Release),
            None => self.first.store(L::as_ptr(item), Ordering::Release),
        }
        self.last.store(L::as_ptr(item), Ordering::Relaxed);
    }

    /// Takes `item` out, which is in this list (LIST-2).
    #[inline]
    pub(crate) fn remove(&self, item: L::Item, _lock: &L::Lock) {
        let next = L::next(&item).load(Ordering::Relaxed);
        let prev = L::prev(&item).load(Ordering::Relaxed);
        // SAFETY: LIST-1.
        match unsafe { L::from_ptr(next) } {
            Some(next) => L::prev(&next).store(prev, Ordering::Relaxed),
            None => self.last.store(prev, Ordering::Relaxed),
        }
        // SAFETY: LIST-1.
        match unsafe { L::from_ptr(prev) } {
            Some(prev) => L::next(&prev).store(next, Ordering::Release),
            None => {
                debug_assert_eq!(self.first.load(Ordering::Relaxed), L::as_ptr(item), "LIST-2");
                self.first.store(next, Ordering::Release);
            }
        }
        L::prev(&item).store(ptr::null_mut(), Ordering::Relaxed);
        L::next(&item).store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Takes the first member out.
    pub(crate) fn pop_front(&self, lock: &L::Lock) -> Option<L::Item> {
        let item = self.first(lock)?;
        self.remove(item, lock);
        Some(item)
    }

    /// The members, from the first to the last. The member at hand may be removed meanwhile, others
    /// may not.
    #[inline]
    pub(crate) fn iter<'a>(&'a self, _lock: &'a L::Lock) -> Iter<'a, L> {
        Iter { next: self.first.load(Ordering::Relaxed), lock: PhantomData }
    }

    /// The members without the lock, for a signal handler, which cannot wait. What it finds may be
    /// leaving or arriving.
    ///
    /// # Safety
    /// The memory of members is never unmapped, or no thread frees any meanwhile.
    pub(crate) unsafe fn walk(&self) -> Walk<L> {
        Walk { next: self.first.load(Ordering::Acquire), links: PhantomData }
    }

    /// Forgets the members without touching them.
    pub(crate) fn forget(&self, _lock: &L::Lock) {
        self.first.store(ptr::null_mut(), Ordering::Release);
        self.last.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// A list with one link, last in first out. Its members may be in a [`List`] of other links as
/// well.
#[repr(transparent)]
pub(crate) struct Stack<L: Links> {
    first: Pointer<L::Block>,
}

#[allow(dead_code, reason = "the list's whole vocabulary, for the layers above")]
impl<L: Links> Stack<L> {
    const_unless_loom! {
        /// An empty stack.
        pub(crate) fn new() -> Self {
            Self { first: Pointer::new(ptr::null_mut()) }
        }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self, _lock: &L::Lock) -> bool {
        self.first.load(Ordering::Relaxed).is_null()
    }

    /// Puts `item` on top.
    #[inline]
    pub(crate) fn push(&self, item: L::Item, _lock: &L::Lock) {
        L::next(&item).store(self.first.load(Ordering::Relaxed), Ordering::Release);
        self.first.store(L::as_ptr(item), Ordering::Release);
    }

    /// Takes the top member off.
    #[inline]
    pub(crate) fn pop(&self, _lock: &L::Lock) -> Option<L::Item> {
        // SAFETY: LIST-1.
        let item = unsafe { L::from_ptr(self.first.load(Ordering::Relaxed)) }?;
        self.first.store(L::next(&item).load(Ordering::Relaxed), Ordering::Release);
        L::next(&item).store(ptr::null_mut(), Ordering::Relaxed);
        Some(item)
    }

    /// Takes `item` out, wherever it is. False if it is not in the stack. It takes as long as the
    /// stack is deep.
    pub(crate) fn remove(&self, item: L::Item, lock: &L::Lock) -> bool {
        let wanted = L::as_ptr(item);
        let next = L::next(&item).load(Ordering::Relaxed);
        if self.first.load(Ordering::Relaxed) == wanted {
            self.first.store(next, Ordering::Release);
        } else {
            let before = |other: &L::Item| L::next(other).load(Ordering::Relaxed) == wanted;
            let Some(before) = self.iter(lock).find(before) else { return false };
            L::next(&before).store(next, Ordering::Release);
        }
        L::next(&item).store(ptr::null_mut(), Ordering::Relaxed);
        true
    }

    /// Moves all members into a stack of the caller's, and leaves this one empty.
    pub(crate) fn take(&self, _lock: &L::Lock) -> Stack<L> {
        let taken = Stack { first: Pointer::new(self.first.load(Ordering::Relaxed)) };
        self.first.store(ptr::null_mut(), Ordering::Release);
        taken
    }

    /// The members, from the top. The member at hand may be taken off meanwhile, others may not.
    #[inline]
    pub(crate) fn iter<'a>(&'a self, _lock: &'a L::Lock) -> Iter<'a, L> {
        Iter { next: self.first.load(Ordering::Relaxed), lock: PhantomData }
    }

    /// Walks the stack without its lock, as [`List::walk`] walks a list.
    ///
    /// # Safety
    /// The memory of members is never unmapped, or no thread frees any meanwhile.
    pub(crate) unsafe fn walk(&self) -> Walk<L> {
        Walk { next: self.first.load(Ordering::Acquire), links: PhantomData }
    }
}

/// Iterator of [`List::iter`] and [`Stack::iter`]: it lives no longer than the guard of the lock.
pub(crate) struct Iter<'a, L: Links> {
    next: *mut L::Block,
    lock: PhantomData<&'a L::Lock>,
}

impl<L: Links> Iterator for Iter<'_, L> {
    type Item = L::Item;

    #[inline]
    fn next(&mut self) -> Option<L::Item> {
        // SAFETY: LIST-1; the lock is held (LIST-3).
        let item = unsafe { L::from_ptr(self.next) }?;
        self.next = L::next(&item).load(Ordering::Relaxed);
        Some(item)
    }
}

/// Iterator of [`List::walk`] and [`Stack::walk`].
#[allow(dead_code, reason = "for the layers above")]
pub(crate) struct Walk<L: Links> {
    next: *mut L::Block,
    links: PhantomData<fn(L)>,
}

impl<L: Links> Iterator for Walk<L> {
    type Item = L::Item;

    fn next(&mut self) -> Option<L::Item> {
        // SAFETY: NULL or a block that stays mapped, which the maker of this iterator promised.
        let item = unsafe { L::from_ptr(self.next) }?;
        self.next = L::next(&item).load(Ordering::Acquire);
        Some(item)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
