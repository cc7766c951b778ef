//! Random numbers for the program: from the run's seed, so that a schedule can be repeated.

use core::ffi::{c_int, c_uint, c_void};

use crate::engine;
use crate::entry::entry;
use crate::real;

/// Fills `size` bytes at an address.
pub(super) fn fill(into: usize, size: usize) -> usize {
    if size == 0 {
        return 0;
    }
    // SAFETY: the program's call: the place is as long as it says.
    let place = unsafe {
        core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(into), size)
    };
    place.fill_with(engine::random_byte);
    size
}

unsafe extern "C" fn get(into: *mut c_void, size: usize, flags: c_uint, _place: usize) -> isize {
    if engine::me().is_none() {
        // SAFETY: the program's call.
        return unsafe { real::getrandom(into, size, flags) };
    }
    fill(into.expose_provenance(), size) as isize
}

unsafe extern "C" fn entropy(into: *mut c_void, size: usize, _place: usize) -> c_int {
    // SAFETY: the program's call.
    let got = unsafe { get(into, size, 0, 0) };
    if got == size as isize { 0 } else { -1 }
}

entry!(getrandom, 3 => get);
entry!(getentropy, 2 => entropy);
