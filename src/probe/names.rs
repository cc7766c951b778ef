//! Names of points: the library's own from the table, a user's made on first use.
//!
//! A point is known by its index: first the library's, then the user's in the order they were made.
//! Names of users stand in a table of fixed size and stay there for good, so their addresses may be
//! handed out.
//!
//! NAMES-1: `USERS[..COUNT]` never changes again: a name is written, then `COUNT` raised with
//!    release.
//! NAMES-2: `COUNT` is raised only by the thread that holds the table's monitor (the caller of
//!    [`make`]).

use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU8, AtomicUsize};

use super::point::Point;

/// How many points users can make.
pub(super) const USER_POINTS: usize = 256;
/// Bytes of a user's name with its NUL.
const NAME_SIZE: usize = 64;
/// How many points there can be in all.
pub(super) const CAPACITY: usize = Point::COUNT + USER_POINTS;

struct Name([AtomicU8; NAME_SIZE]);

static USERS: [Name; USER_POINTS] =
    [const { Name([const { AtomicU8::new(0) }; NAME_SIZE]) }; USER_POINTS];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Why a name cannot be made a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// The name is empty, too long, or a misspelt name of the library's own.
    Bad,
    /// The table is full.
    Full,
}

impl Name {
    fn is(&self, name: &CStr) -> bool {
        let bytes = name.to_bytes_with_nul();
        bytes.len() <= NAME_SIZE
            && self.0.iter().zip(bytes).all(|(own, other)| own.load(Relaxed) == *other)
    }
}

/// How many points there are now.
pub(super) fn count() -> usize {
    // Pairs with `make`'s release (NAMES-1).
    Point::COUNT + COUNT.load(Acquire)
}

/// The index of the point called `name`, if it exists.
pub(super) fn find(name: &CStr) -> Option<usize> {
    let users = &USERS[..count() - Point::COUNT];
    let user = users.iter().position(|own| own.is(name)).map(|at| Point::COUNT + at);
    user.or_else(|| Point::find(name))
}

/// The index of the point called `name`, made now if need be. The caller holds the table's monitor.
pub(super) fn make(name: &CStr) -> Result<usize, NameError> {
    if let Some(index) = find(name) {
        return Ok(index);
    }
    let bytes = name.to_bytes_with_nul();
    if bytes.len() == 1 || bytes.len() > NAME_SIZE || Point::is_misspelt(name) {
        return Err(NameError::Bad);
    }
    let at = COUNT.load(Relaxed);
    let free = USERS.get(at).ok_or(NameError::Full)?;
    // A fork may have left the beginning of a longer name here; the NUL is written too.
    for (place, byte) in free.0.iter().zip(bytes) {
        place.store(*byte, Relaxed);
    }
    COUNT.store(at + 1, Release);
    Ok(Point::COUNT + at)
}

/// The name of a point that exists, valid for good; NUL-terminated.
pub(super) fn name_of(index: usize) -> *const c_char {
    match Point::name_at(index) {
        Some(name) => name.as_ptr(),
        None => USERS[index - Point::COUNT].0.as_ptr().cast(),
    }
}

/// Writes the addresses of the first names to `put` until it refuses; returns how many points there
/// are.
pub(super) fn list(mut put: impl FnMut(usize, *const c_char) -> bool) -> usize {
    let count = count();
    (0..count).take_while(|&index| put(index, name_of(index))).for_each(drop);
    count
}
