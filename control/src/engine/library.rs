//! What this library reads in the C library's own objects: whether a real lock could be taken.
//!
//! The real state is the truth (a model beside it could be told less than everything). Layouts are those of the GNU C
//! library on 64-bit systems, unchanged since 2.4 for mutexes and since 2.21 for semaphores.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

/// A robust mutex's owner has died: the next lock succeeds, with EOWNERDEAD.
const OWNER_DIED: i32 = 0x4000_0000;
/// Of `__kind`: what a second lock by the owner does.
const TYPE_BITS: i32 = 3;
const RECURSIVE: i32 = 1;
const ERROR_CHECK: i32 = 2;
/// Of `__kind`: shared with other processes.
const SHARED: i32 = 128;

/// A word of an object of the C library.
fn word(object: usize, offset: usize) -> i32 {
    let word: *const AtomicI32 = core::ptr::with_exposed_provenance(object + offset);
    // SAFETY: a thread of the program is inside a call with this object, so it is alive; the fields are aligned words.
    unsafe { &*word }.load(Relaxed)
}

/// Whether a lock of the mutex by the thread with this kernel id would return at once.
pub(super) fn mutex_is_free(mutex: usize, tid: i32) -> bool {
    let lock = word(mutex, 0);
    if lock == 0 || lock & OWNER_DIED != 0 {
        return true;
    }
    let kind = word(mutex, 16) & TYPE_BITS;
    (kind == RECURSIVE || kind == ERROR_CHECK) && word(mutex, 8) == tid
}

/// Whether the mutex is shared with other processes.
pub(crate) fn mutex_is_shared(mutex: usize) -> bool {
    word(mutex, 16) & SHARED != 0
}

/// Whether the mutex is held by the thread with this kernel id.
pub(crate) fn mutex_is_held_by(mutex: usize, tid: i32) -> bool {
    word(mutex, 0) != 0 && word(mutex, 8) == tid
}

/// Whether the semaphore is above 0.
pub(super) fn semaphore_is_up(semaphore: usize) -> bool {
    let mut value: c_int = 0;
    // SAFETY: a thread of the program is inside a call with this semaphore.
    unsafe {
        crate::real::sem_getvalue(core::ptr::with_exposed_provenance_mut(semaphore), &raw mut value)
    };
    value > 0
}

/// Whether the semaphore is shared with other processes.
pub(crate) fn semaphore_is_shared(semaphore: usize) -> bool {
    word(semaphore, 8) != 0
}

/// The value of a futex word of the program.
pub(crate) fn futex_word(address: usize) -> u32 {
    let word: *const AtomicU32 = core::ptr::with_exposed_provenance(address);
    // SAFETY: the caller of the system call vouches for it.
    unsafe { &*word }.load(Relaxed)
}

/// Of a read-write lock: its kind, and whether it is shared with other processes.
pub(crate) fn rwlock_flags(lock: usize) -> (c_int, bool) {
    (word(lock, 48), word(lock, 28) != 0)
}
