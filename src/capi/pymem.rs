//! `pymem.h`: the raw memory functions, which need no attached thread state. They are the C allocator's.

use crate::os::mem;
use core::ffi::c_void;

/// Allocates memory.
///
/// @param size  Bytes. 0 gives a block of its own, too.
/// @return The block, not initialized; NULL without memory. Freed by PyMem_RawFree().
///
/// Errors:  NULL, without an error indicator.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, where the C allocator works.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyMem_RawMalloc(size: usize) -> *mut c_void {
    mem::malloc(size).cast()
}

/// Allocates zeroed memory for an array.
///
/// @param nelem   Number of elements. 0 gives a block of its own, too.
/// @param elsize  Bytes of one element.
/// @return The block; NULL without memory, or if the product does not fit a size. Freed by PyMem_RawFree().
///
/// Errors:  NULL, without an error indicator.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, where the C allocator works.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyMem_RawCalloc(nelem: usize, elsize: usize) -> *mut c_void {
    let size = nelem.checked_mul(elsize);
    size.map_or(core::ptr::null_mut(), |size| mem::calloc(size).cast())
}

/// Changes the size of a block.
///
/// @param ptr       A block of these functions, or NULL, which makes a new one. Consumed on success.
/// @param new_size  Bytes. 0 gives a block of its own, too.
/// @return The block, perhaps moved, with the old contents up to the smaller size; NULL without memory, and `ptr` is then
///         as it was.
///
/// Errors:  NULL, without an error indicator.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, where the C allocator works.
/// Source:  CPython 3.13.
///
/// # Safety
/// `ptr` is NULL or a block of these functions that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyMem_RawRealloc(ptr: *mut c_void, new_size: usize) -> *mut c_void {
    // SAFETY: this function's contract.
    unsafe { mem::realloc(ptr.cast(), new_size) }.cast()
}

/// Frees a block.
///
/// @param ptr  A block of these functions, or NULL, which does nothing. Consumed.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, where the C allocator works.
/// Source:  CPython 3.13.
///
/// # Safety
/// `ptr` is NULL or a block of these functions that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyMem_RawFree(ptr: *mut c_void) {
    // SAFETY: this function's contract.
    unsafe { mem::free(ptr.cast()) }
}
