//! Thread-specific storage: Py_tss_t and the older integer keys of CPython's pythread.h.

use super::arg;
use crate::os::mem;
use crate::os::tss::Key;
use core::ffi::{c_int, c_uint, c_void};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The OS's own type of keys.
pub type NATIVE_TSS_KEY_T = c_uint;

/// A key of thread-specific storage. Py_tss_NEEDS_INIT, or all zero, is a key that is not created.
///
/// The members are the library's: CPython's layout, not its meaning of `_key`.
#[repr(C)]
pub struct Py_tss_t {
    /// Not 0 once it is created.
    pub _is_initialized: AtomicI32,
    /// The OS's key plus one, 0 when there is none: one word, so that creating it is one step.
    pub _key: AtomicU32,
}

const _: () = assert!(size_of::<Py_tss_t>() == 8 && size_of::<NATIVE_TSS_KEY_T>() == 4);

impl Py_tss_t {
    fn key(&self) -> Option<Key> {
        // Pairs with the release in `create`.
        self._key.load(Ordering::Acquire).checked_sub(1).map(Key)
    }

    fn create(&self) -> c_int {
        if self.key().is_some() {
            return 0;
        }
        let Some(fresh) = Key::create() else { return -1 };
        let mine = fresh.0 + 1;
        let won = self._key.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Acquire);
        if won.is_err() {
            // Another thread was faster: all threads use its key.
            fresh.delete();
        }
        self._is_initialized.store(1, Ordering::Relaxed);
        0
    }

    fn delete(&self) {
        self._is_initialized.store(0, Ordering::Relaxed);
        if let Some(key) = self._key.swap(0, Ordering::AcqRel).checked_sub(1) {
            Key(key).delete();
        }
    }
}

/// Makes a key that is not created yet, on the heap.
///
/// @return The key, as Py_tss_NEEDS_INIT; or NULL if there is no memory. Owned: PyThread_tss_free().
///
/// Errors:  NULL as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_tss_alloc() -> *mut Py_tss_t {
    // All zero is Py_tss_NEEDS_INIT.
    mem::alloc_zeroed::<Py_tss_t>().map_or(core::ptr::null_mut(), |key| key.as_ptr())
}

/// Deletes a key, as PyThread_tss_delete(), and frees its memory.
///
/// @param key  The key. NULL does nothing. Consumed.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `key` is NULL or came from PyThread_tss_alloc(), and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_tss_free(key: *mut Py_tss_t) {
    // SAFETY: this function's contract.
    if let Some(live) = unsafe { arg::nullable(key) } {
        live.delete();
    }
    // SAFETY: NULL, or this function's contract.
    unsafe { mem::free(key.cast()) };
}

/// Returns whether a key is created.
///
/// @param key  The key. Must not be NULL. Borrowed.
/// @return 1 or 0.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13.
///
/// # Safety
/// `key` is NULL or a valid key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_tss_is_created(key: *mut Py_tss_t) -> c_int {
    // SAFETY: this function's contract.
    let key = unsafe { arg::required(key, c"PyThread_tss_is_created", "key") };
    c_int::from(key.key().is_some())
}

/// Creates a key: NULL in every thread. A key that is created stays as it is, with its values.
///
/// @param key  The key. Must not be NULL. Borrowed.
/// @return 0, also if it was created before; -1: the OS has no key left.
///
/// Errors:  fatal if NULL; -1 as above, no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization; several at once create one key. Not async-signal-safe. In a
///          fork child, at any time.
/// Source:  CPython 3.13, where threads that create the same key at once need a lock of their own.
///
/// # Safety
/// `key` is NULL or a valid key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_tss_create(key: *mut Py_tss_t) -> c_int {
    // SAFETY: this function's contract.
    unsafe { arg::required(key, c"PyThread_tss_create", "key") }.create()
}

/// Deletes a key and forgets every thread's value. It can be created again. A key that is not created stays so.
///
/// @param key  The key. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13.
///
/// # Safety
/// `key` is NULL or a valid key, and no other thread sets or gets it now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_tss_delete(key: *mut Py_tss_t) {
    // SAFETY: this function's contract.
    unsafe { arg::required(key, c"PyThread_tss_delete", "key") }.delete();
}

/// Sets the calling thread's value of a key. The library does nothing with the value when the
/// thread ends.
///
/// @param key    The key. Must not be NULL. Borrowed.
/// @param value  The value; NULL is one. Borrowed.
/// @return 0; -1: the key is not created, or the OS has no memory.
///
/// Errors:  fatal if `key` is NULL; -1 as above, no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13, where a key that is not created is undefined.
///
/// # Safety
/// `key` is NULL or a valid key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_tss_set(key: *mut Py_tss_t, value: *mut c_void) -> c_int {
    // SAFETY: this function's contract.
    let key = unsafe { arg::required(key, c"PyThread_tss_set", "key") };
    done(key.key().is_some_and(|key| key.set(value)))
}

/// Returns the calling thread's value of a key.
///
/// @param key  The key. Must not be NULL. Borrowed.
/// @return The value that this thread set last; NULL if it set none or the key is not created. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time: the survivor keeps its values.
/// Source:  CPython 3.13, where a key that is not created is undefined.
///
/// # Safety
/// `key` is NULL or a valid key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_tss_get(key: *mut Py_tss_t) -> *mut c_void {
    // SAFETY: this function's contract.
    let key = unsafe { arg::required(key, c"PyThread_tss_get", "key") };
    key.key().map_or(core::ptr::null_mut(), Key::get)
}

/// Creates an integer key: NULL in every thread. Superseded by PyThread_tss_create().
///
/// @return The key, 0 or above; -1: the OS has no key left.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13 (deprecated since 3.7).
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_create_key() -> c_int {
    let Some(key) = Key::create() else { return -1 };
    c_int::try_from(key.0).unwrap_or_else(|_| {
        key.delete();
        -1
    })
}

/// Deletes an integer key and forgets every thread's value.
///
/// @param key  The key. A number that is none does nothing.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13 (deprecated since 3.7).
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_delete_key(key: c_int) {
    Key(key as c_uint).delete();
}

/// Sets the calling thread's value of an integer key.
///
/// @param key    The key.
/// @param value  The value, instead of the one before; NULL is one. Borrowed.
/// @return 0; -1: `key` is no key, or the OS has no memory.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13 (deprecated since 3.7).
///
/// # Safety
/// None: `value` is only stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_set_key_value(key: c_int, value: *mut c_void) -> c_int {
    done(Key(key as c_uint).set(value))
}

/// Returns the calling thread's value of an integer key.
///
/// @param key  The key.
/// @return The value; NULL if this thread set none or `key` is no key. Borrowed.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time: the survivor keeps its values.
/// Source:  CPython 3.13 (deprecated since 3.7).
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_get_key_value(key: c_int) -> *mut c_void {
    Key(key as c_uint).get()
}

/// Sets the calling thread's value of an integer key to NULL.
///
/// @param key  The key. A number that is none does nothing.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13 (deprecated since 3.7).
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_delete_key_value(key: c_int) {
    let _ = Key(key as c_uint).set(core::ptr::null_mut());
}

/// Does nothing: keys and values survive a fork.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13 (deprecated since 3.7).
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_ReInitTLS() {}

fn done(whether: bool) -> c_int {
    if whether { 0 } else { -1 }
}
