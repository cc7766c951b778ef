//! Memory whose absence is an outcome: the C allocator, never Rust's, so that out of memory reaches
//! the caller as NULL.

use core::ptr::NonNull;

/// What `calloc` guarantees on every platform that we run on.
const GUARANTEED_ALIGN: usize = 16;

/// Zeroed bytes from the C allocator, or NULL when there are none. A size of 0 gives a block that
/// can be freed.
pub(crate) fn calloc(size: usize) -> *mut u8 {
    // SAFETY: calloc takes any size; a result of NULL is the caller's to handle.
    unsafe { libc::calloc(1, size.max(1)) }.cast()
}

/// Bytes from the C allocator, not initialized, or NULL when there are none. A size of 0 gives a
/// block that can be freed.
pub(crate) fn malloc(size: usize) -> *mut u8 {
    // SAFETY: malloc takes any size; a result of NULL is the caller's to handle.
    unsafe { libc::malloc(size.max(1)) }.cast()
}

/// Changes the size of a block; NULL makes a new one. NULL, with the block as it was, when there is
/// no memory.
///
/// # Safety
/// `block` is NULL or came from this module and was not freed.
pub(crate) unsafe fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: this function's contract is realloc's contract.
    unsafe { libc::realloc(block.cast(), size.max(1)) }.cast()
}

/// Gives a block back. NULL is allowed and does nothing.
///
/// # Safety
/// `block` is NULL or came from this module and was not freed.
pub(crate) unsafe fn free(block: *mut u8) {
    // SAFETY: this function's contract is free's contract.
    unsafe { libc::free(block.cast()) }
}

/// Room for one `T`, all bytes zero, or `None` when there is no memory. Freed with [`free`].
///
/// The caller either writes a `T` first or knows that all-zero bytes are one.
pub(crate) fn alloc_zeroed<T>() -> Option<NonNull<T>> {
    const { assert!(align_of::<T>() <= GUARANTEED_ALIGN) };
    NonNull::new(calloc(size_of::<T>()).cast())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_zeroed_and_aligned() {
        let block = alloc_zeroed::<[u64; 40]>().expect("320 bytes");
        assert_eq!(block.as_ptr().addr() % GUARANTEED_ALIGN, 0);
        // SAFETY: the block was just allocated and all-zero bytes are a valid array.
        let words = unsafe { block.as_ref() };
        assert!(words.iter().all(|&word| word == 0));
        // SAFETY: allocated above and not freed.
        unsafe { free(block.as_ptr().cast()) };
    }

    #[test]
    fn a_block_that_grows_keeps_its_bytes() {
        let block = calloc(8);
        assert!(!block.is_null());
        // SAFETY: eight bytes from the line above.
        unsafe { block.write(7) };
        // SAFETY: allocated above and not freed.
        let grown = unsafe { realloc(block, 1 << 20) };
        assert!(!grown.is_null());
        // SAFETY: the block has a first byte.
        assert_eq!(unsafe { grown.read() }, 7);
        // SAFETY: the block that realloc returned.
        unsafe { free(grown) };
    }

    #[test]
    fn a_size_that_no_machine_has_gives_null() {
        assert!(calloc(usize::MAX / 2).is_null());
    }

    #[test]
    fn a_size_of_zero_gives_a_block_that_can_be_freed() {
        let block = calloc(0);
        assert!(!block.is_null());
        // SAFETY: allocated above and not freed.
        unsafe { free(block) };
        // SAFETY: NULL is allowed.
        unsafe { free(core::ptr::null_mut()) };
    }
}
