//! Text without allocation, and the list of loaded files.

use core::ffi::{c_char, c_void};
use core::fmt;

use crate::protocol::ModuleRow;

/// Writes into a slice as long as there is room.
pub(super) struct Writer<'a> {
    place: &'a mut [u8],
    pub(super) used: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(place: &'a mut [u8]) -> Self {
        Self { place, used: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.place[..self.used]
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.place.len() - self.used;
        let length = text.len().min(room);
        self.place[self.used..self.used + length].copy_from_slice(&text.as_bytes()[..length]);
        self.used += length;
        Ok(())
    }
}

/// The loader's list, as debuggers read it (link.h).
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: *const c_void,
    next: *const LinkMap,
}

#[repr(C)]
struct Debug {
    version: i32,
    map: *const LinkMap,
}

unsafe extern "C" {
    static _r_debug: Debug;
}

fn first() -> *const LinkMap {
    // SAFETY: the loader fills it in before any constructor runs.
    unsafe { (&raw const _r_debug.map).read_volatile() }
}

/// How many files are loaded.
pub(super) fn count_modules() -> usize {
    let (mut at, mut count) = (first(), 0);
    // SAFETY: only the running thread changes the list, and that one is here.
    while let Some(map) = unsafe { at.as_ref() } {
        count += 1;
        at = map.next;
    }
    count
}

/// Writes the loaded files; returns how many there are.
pub(super) fn write_modules(rows: &mut [ModuleRow]) -> usize {
    let (mut at, mut count) = (first(), 0);
    // SAFETY: as above.
    while let Some(map) = unsafe { at.as_ref() } {
        if let Some(row) = rows.get_mut(count) {
            row.base = map.base as u64;
            row.path.fill(0);
            if !map.name.is_null() {
                // SAFETY: the loader's names are NUL-terminated.
                let name = unsafe { core::ffi::CStr::from_ptr(map.name) }.to_bytes();
                let length = name.len().min(row.path.len() - 1);
                row.path[..length].copy_from_slice(&name[..length]);
            }
        }
        count += 1;
        at = map.next;
    }
    count
}
