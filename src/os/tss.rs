//! Thread-specific storage: keys that exist only at run time, one value per thread and key.

use core::ffi::{c_uint, c_void};

/// A key of the OS. Every platform numbers its keys from 0 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) c_uint);

impl Key {
    /// A new key: NULL in every thread. `None` when the OS has none left.
    pub(crate) fn create() -> Option<Key> {
        let mut key: libc::pthread_key_t = 0;
        // SAFETY: writes `key`; no destructor.
        if unsafe { libc::pthread_key_create(&mut key, None) } != 0 {
            return None;
        }
        let narrow = c_uint::try_from(key).ok().filter(|&key| key < c_uint::MAX);
        if narrow.is_none() {
            // SAFETY: created above, and no other thread knows it.
            unsafe { libc::pthread_key_delete(key) };
        }
        narrow.map(Key)
    }

    /// Gives the key back; every thread's value is forgotten.
    pub(crate) fn delete(self) {
        // SAFETY: the OS refuses a number that is no key.
        unsafe { libc::pthread_key_delete(self.0 as libc::pthread_key_t) };
    }

    /// Sets the calling thread's value; false when the OS refuses.
    #[must_use]
    pub(crate) fn set(self, value: *mut c_void) -> bool {
        // SAFETY: the OS refuses a number that is no key; the value is not looked at.
        unsafe { libc::pthread_setspecific(self.0 as libc::pthread_key_t, value) == 0 }
    }

    /// The calling thread's value, NULL if it set none.
    pub(crate) fn get(self) -> *mut c_void {
        // SAFETY: a number that is no key gives NULL.
        unsafe { libc::pthread_getspecific(self.0 as libc::pthread_key_t) }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_value_belongs_to_its_thread() {
        let key = Key::create().expect("a key");
        let mut value = 0;
        assert!(key.get().is_null());
        assert!(key.set((&raw mut value).cast()));
        assert_eq!(key.get(), (&raw mut value).cast());
        let others = std::thread::spawn(move || key.get().is_null());
        assert!(others.join().expect("it ends well"));
        key.delete();
    }
}
