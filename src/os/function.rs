//! Functions that are stored as a word and called later: the one place where a word becomes a
//! function again.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A function pointer type.
///
/// # Safety
/// The type is as large as a pointer, and `from_word` undoes `into_word`.
pub(crate) unsafe trait Function: Copy {
    /// The function as a word that is not NULL.
    fn into_word(self) -> *mut ();

    /// The function again.
    ///
    /// # Safety
    /// `word` came from [`Function::into_word`] of the same type.
    unsafe fn from_word(word: *mut ()) -> Self;
}

macro_rules! functions {
    ($($function:ty, for <$($parameter:ident),*>;)*) => {$(
        // SAFETY: a function pointer is as large as a pointer, and transmuting undoes the cast.
        unsafe impl<$($parameter),*> Function for $function {
            fn into_word(self) -> *mut () {
                self as *mut ()
            }

            unsafe fn from_word(word: *mut ()) -> Self {
                // SAFETY: this function's contract.
                unsafe { core::mem::transmute::<*mut (), $function>(word) }
            }
        }
    )*};
}

functions! {
    fn(), for <>;
    unsafe extern "C" fn() -> R, for <R>;
    unsafe extern "C" fn(A) -> R, for <A, R>;
    unsafe extern "C" fn(A, B) -> R, for <A, B, R>;
    unsafe extern "C" fn(A, B, C) -> R, for <A, B, C, R>;
}

/// A function that may be there. All zero: none.
#[repr(transparent)]
pub(crate) struct FunctionCell<F> {
    word: AtomicPtr<()>,
    is: PhantomData<F>,
}

impl<F: Function> FunctionCell<F> {
    /// No function.
    pub(crate) const fn new() -> FunctionCell<F> {
        FunctionCell { word: AtomicPtr::new(core::ptr::null_mut()), is: PhantomData }
    }

    /// A view of a field that holds an `Option<F>`.
    ///
    /// # Safety
    /// `field` is aligned, lives for `'a`, and is touched only through such views meanwhile.
    #[cfg(not(loom))]
    pub(crate) unsafe fn from_ptr<'a>(field: *mut FunctionCell<F>) -> &'a FunctionCell<F> {
        // SAFETY: this function's contract; NULL is `None`.
        unsafe { &*field }
    }

    fn from_word(word: *mut ()) -> Option<F> {
        // SAFETY: only functions of type `F` are stored, as words.
        (!word.is_null()).then(|| unsafe { F::from_word(word) })
    }

    pub(crate) fn load(&self, order: Ordering) -> Option<F> {
        FunctionCell::from_word(self.word.load(order))
    }

    pub(crate) fn store(&self, function: Option<F>, order: Ordering) {
        self.word.store(function.map_or(core::ptr::null_mut(), F::into_word), order);
    }

    /// Empties the cell and returns what was there.
    pub(crate) fn take(&self, order: Ordering) -> Option<F> {
        FunctionCell::from_word(self.word.swap(core::ptr::null_mut(), order))
    }

    /// Fills an empty cell. False when it holds a function already.
    pub(crate) fn fill(&self, function: F) -> bool {
        let word = function.into_word();
        let none = core::ptr::null_mut();
        self.word.compare_exchange(none, word, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
