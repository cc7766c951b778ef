//! The engine of the command `pytstate`, if the preload library has brought one into this process.
//!
//! The preload library interposes what this layer calls anyway (threads, futexes, clocks, yields).
//! What it cannot see goes through the table below: named points, threads that hang by design,
//! identities of objects.
//!
//! ENGINE-1: Whether there is an engine is decided once, in a constructor of this library, before
//!    any thread or lock of it.

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// What the preload library exports as `pytstate_control_v1`.
#[repr(C)]
pub(crate) struct Table {
    /// Bytes of the table that are there.
    size: usize,
    /// The number of the point with this name, for `point`.
    pub(crate) name: unsafe extern "C" fn(name: *const c_char) -> u16,
    /// Passes a point: the engine may let other threads go on first.
    pub(crate) point: unsafe extern "C" fn(number: u16, object: *const c_void),
    /// The calling thread never goes on, by design.
    pub(crate) hang: unsafe extern "C" fn(),
    /// A number for an address: the order of its first use.
    pub(crate) ordinal: unsafe extern "C" fn(object: *const c_void) -> u32,
}

static TABLE: AtomicPtr<Table> = AtomicPtr::new(core::ptr::null_mut());

/// The engine's table, if there is an engine. One relaxed load.
#[inline]
pub(crate) fn table() -> Option<&'static Table> {
    // SAFETY: ENGINE-1: NULL, or a table in a library that is never unloaded.
    unsafe { TABLE.load(Relaxed).as_ref() }
}

#[cfg(all(target_os = "linux", not(loom)))]
mod start {
    use super::super::env;
    use super::{Relaxed, TABLE, Table, c_char};
    use core::ffi::{CStr, c_int};
    use core::mem::MaybeUninit;

    const CONTROL: &CStr = c"PYTSTATE_CONTROL";
    const SCHEDULE: &CStr = c"PYTSTATE_SCHEDULE";
    const LIBRARY: &[u8] = b"libpytstate_control.so";
    const PATH: usize = 4096;

    /// Runs before `main`.
    extern "C" fn constructor(
        _argc: c_int,
        argv: *const *const c_char,
        _env: *const *const c_char,
    ) {
        let asked = env::is_set(CONTROL) || env::is_set(SCHEDULE);
        // A program with more rights than its user takes no library from the environment.
        if !asked || env::is_secure() {
            return;
        }
        // SAFETY: the name is NUL-terminated.
        let table = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"pytstate_control_v1".as_ptr()) };
        let table: *mut Table = table.cast();
        // SAFETY: the symbol of that name is a table, which begins with its size.
        if let Some(found) = unsafe { table.as_ref() } {
            if found.size >= size_of::<Table>() {
                TABLE.store(table, Relaxed);
            }
        } else if env::is_set(SCHEDULE) {
            preload(argv);
        }
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) =
        constructor;

    /// Starts the program anew with the preload library that stands beside this one, so that
    /// `PYTSTATE_SCHEDULE=FILE ./program` needs no command. Returns if it cannot be done.
    fn preload(argv: *const *const c_char) {
        let mut path = [0_u8; PATH];
        let Some(length) = beside_this_library(&mut path) else { return };
        if let Some(before) = env::preloaded() {
            let before = before.to_bytes_with_nul();
            if before.windows(LIBRARY.len()).any(|part| part == LIBRARY)
                || length + 1 + before.len() > PATH
            {
                return;
            }
            path[length] = b':';
            path[length + 1..length + 1 + before.len()].copy_from_slice(before);
        }
        env::set_preloaded(&path);
        // SAFETY: the program's own arguments; returns only if it failed.
        unsafe { libc::execv(c"/proc/self/exe".as_ptr(), argv) };
    }

    /// Writes the path of the preload library, if it is there; its length.
    fn beside_this_library(path: &mut [u8; PATH]) -> Option<usize> {
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        let own = (&raw const TABLE).cast();
        // SAFETY: any address may be asked for; the place is writable.
        if unsafe { libc::dladdr(own, info.as_mut_ptr()) } == 0 {
            return None;
        }
        // SAFETY: filled by the call.
        let file = unsafe { info.assume_init() }.dli_fname;
        if file.is_null() {
            return None;
        }
        // SAFETY: the loader's names are NUL-terminated.
        let file = unsafe { CStr::from_ptr(file) }.to_bytes();
        let folder = file.iter().rposition(|&byte| byte == b'/')? + 1;
        let length = folder + LIBRARY.len();
        if length >= PATH {
            return None;
        }
        path[..folder].copy_from_slice(&file[..folder]);
        path[folder..length].copy_from_slice(LIBRARY);
        path[length] = 0;
        // SAFETY: NUL-terminated.
        (unsafe { libc::access(path.as_ptr().cast(), libc::R_OK) } == 0).then_some(length)
    }
}
