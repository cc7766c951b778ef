//! A planted race on the Rust side, which ThreadSanitizer must find: built by
//! `proof`, with the same flags as the library. `ordered` is the same without
//! the race, which it must not report.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, Ordering};

struct Racy(UnsafeCell<i32>);
// SAFETY: it is not; that is what has to be found.
unsafe impl Sync for Racy {}

static VALUE: Racy = Racy(UnsafeCell::new(0));
static READY: AtomicI32 = AtomicI32::new(0);

/// Writes with no order at all.
#[unsafe(no_mangle)]
pub extern "C" fn racy_write(value: i32) {
    // SAFETY: see above.
    unsafe { *VALUE.0.get() = value };
}

/// Reads: without a reader the compiler drops the writes.
#[unsafe(no_mangle)]
pub extern "C" fn racy_read() -> i32 {
    // SAFETY: see above.
    unsafe { *VALUE.0.get() }
}

/// Writes, then says so with release.
#[unsafe(no_mangle)]
pub extern "C" fn ordered_write(value: i32) {
    racy_write(value);
    READY.store(1, Ordering::Release);
}

/// Waits for the word with acquire, then writes.
#[unsafe(no_mangle)]
pub extern "C" fn ordered_rewrite(value: i32) {
    while READY.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    racy_write(value);
}
