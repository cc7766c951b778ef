//! Opening a file for a report where others may lay traps: no link in a folder that all can write
//! is followed, and no file of another user's there is written to.
//!
//! The path is walked name by name, each relative to the folder that is open already, so that
//! nothing can be exchanged between a look and a step. Async-signal-safe, allocates nothing.

use super::{errno, file};
use core::ffi::{CStr, c_int};

/// Longest path, with what links add to it.
const PATH: usize = 4096;
/// As many links as the kernel follows in one path.
const MOST_LINKS: u32 = 40;

/// Where a step is relative to; only looked through.
#[cfg(target_os = "linux")]
const FOLDER: c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FOLDER: c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// The names that are still to be walked, NUL-terminated at `len`.
struct Rest {
    bytes: [u8; PATH],
    at: usize,
    len: usize,
}

/// A folder that is open.
struct Folder(c_int);

impl Drop for Folder {
    fn drop(&mut self) {
        let saved = errno::get();
        file::close(self.0);
        errno::set(saved);
    }
}

/// Opens `path` for writing, created with mode 0600 or emptied, closed on exec; `None` with `errno`
/// set.
///
/// ELOOP for a link in a folder that all can write, EACCES for a file of another user's, or with a
/// second name, in such a folder.
pub(crate) fn create(path: &CStr) -> Option<i32> {
    let mut rest = Rest { bytes: [0; PATH], at: 0, len: 0 };
    if !rest.put_before(path.to_bytes()) {
        return None;
    }
    let mut folder = rest.start()?;
    let mut target = [0; PATH];
    let mut links = 0;
    loop {
        let Some((from, to, last)) = rest.next_name() else {
            return fail(libc::EISDIR);
        };
        let kept = rest.bytes[to];
        rest.bytes[to] = 0;
        let status = {
            // SAFETY: a name and the NUL just put behind it.
            let name = unsafe { CStr::from_ptr(rest.bytes[from..].as_ptr().cast()) };
            step(&folder, name, last, &mut target)?
        };
        match status {
            Step::File(fd) => return Some(fd),
            Step::Folder(next) => folder = next,
            Step::Link(len) => {
                links += 1;
                rest.bytes[to] = kept;
                if links > MOST_LINKS {
                    return fail(libc::ELOOP);
                }
                if !rest.put_before(&target[..len]) {
                    return None;
                }
                if target[0] == b'/' {
                    folder = rest.start()?;
                }
                continue;
            }
        }
        rest.bytes[to] = kept;
    }
}

/// What a name led to.
enum Step {
    File(i32),
    Folder(Folder),
    /// A link that may be followed, with a text of that length.
    Link(usize),
}

/// Goes on to `name`; `last`: it is the file to be written. The text of a link is put into
/// `target`.
fn step(folder: &Folder, name: &CStr, last: bool, target: &mut [u8; PATH]) -> Option<Step> {
    let shared = is_writable_by_all(folder)?;
    let found = look_at(folder, name);
    if found.is_some_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFLNK) {
        if shared {
            return fail(libc::ELOOP);
        }
        if !last || !is_of_the_kernel(folder) {
            return read_link(folder, name, target).map(Step::Link);
        }
        // A link in /proc stands for an open file; its text is no path.
        return open_file(folder, name, shared, libc::O_WRONLY).map(Step::File);
    }
    if last {
        return create_file(folder, name, shared).map(Step::File);
    }
    // SAFETY: an open folder and a NUL-terminated name.
    let fd = unsafe { libc::openat(folder.0, name.as_ptr(), FOLDER) };
    (fd >= 0).then(|| Step::Folder(Folder(fd)))
}

fn create_file(folder: &Folder, name: &CStr, shared: bool) -> Option<i32> {
    let new = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: an open folder, a NUL-terminated name; the mode is passed because O_CREAT is set.
    let fd = unsafe { libc::openat(folder.0, name.as_ptr(), new, 0o600 as libc::c_uint) };
    if fd >= 0 {
        return Some(fd);
    }
    if errno::get() != libc::EEXIST {
        return None;
    }
    // Before it is opened, since opening a pipe or a device of another user's does something
    // already.
    if shared && !look_at(folder, name).is_some_and(|found| is_ours(&found)) {
        return fail(libc::EACCES);
    }
    open_file(folder, name, shared, libc::O_WRONLY | libc::O_NOFOLLOW)
}

/// Opens what is there, and empties it if it is a file.
fn open_file(folder: &Folder, name: &CStr, shared: bool, flags: c_int) -> Option<i32> {
    // SAFETY: an open folder and a NUL-terminated name; nothing is created.
    let fd = unsafe { libc::openat(folder.0, name.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return None;
    }
    let opened = Folder(fd);
    let found = look_at_open(&opened)?;
    if shared && !is_ours(&found) {
        return fail(libc::EACCES);
    }
    let plain = found.st_mode & libc::S_IFMT == libc::S_IFREG;
    // SAFETY: an open descriptor of ours.
    if plain && unsafe { libc::ftruncate(fd, 0) } != 0 {
        return None;
    }
    core::mem::forget(opened);
    Some(fd)
}

/// Whether this is a file of the user that the program runs for, under one name only.
fn is_ours(found: &libc::stat) -> bool {
    // SAFETY: no preconditions.
    let me = unsafe { libc::geteuid() };
    found.st_uid == me && (found.st_mode & libc::S_IFMT != libc::S_IFREG || found.st_nlink == 1)
}

fn look_at(folder: &Folder, name: &CStr) -> Option<libc::stat> {
    let mut found = core::mem::MaybeUninit::<libc::stat>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: an open folder, a NUL-terminated name, a writable struct.
    let status = unsafe { libc::fstatat(folder.0, name.as_ptr(), found.as_mut_ptr(), flags) };
    // SAFETY: zeroed is a valid value, and the call filled it.
    (status == 0).then(|| unsafe { found.assume_init() })
}

fn look_at_open(open: &Folder) -> Option<libc::stat> {
    let mut found = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: an open descriptor, a writable struct.
    let status = unsafe { libc::fstat(open.0, found.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value, and the call filled it.
    (status == 0).then(|| unsafe { found.assume_init() })
}

fn is_writable_by_all(folder: &Folder) -> Option<bool> {
    look_at_open(folder).map(|found| found.st_mode & libc::S_IWOTH != 0)
}

/// Whether the folder is one of /proc, whose links the kernel alone can follow.
#[cfg(target_os = "linux")]
fn is_of_the_kernel(folder: &Folder) -> bool {
    let mut found = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: an open descriptor, a writable struct.
    let status = unsafe { libc::fstatfs(folder.0, found.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value, and the call filled it.
    status == 0 && unsafe { found.assume_init() }.f_type == libc::PROC_SUPER_MAGIC
}

#[cfg(not(target_os = "linux"))]
fn is_of_the_kernel(_folder: &Folder) -> bool {
    false
}

fn read_link(folder: &Folder, name: &CStr, target: &mut [u8; PATH]) -> Option<usize> {
    // SAFETY: an open folder, a NUL-terminated name, a buffer of that size.
    let len = unsafe {
        libc::readlinkat(folder.0, name.as_ptr(), target.as_mut_ptr().cast(), target.len())
    };
    let len = usize::try_from(len).ok()?;
    if len == 0 || len == target.len() {
        return fail(libc::ENAMETOOLONG);
    }
    Some(len)
}

fn fail<T>(number: c_int) -> Option<T> {
    errno::set(number);
    None
}

impl Rest {
    /// Puts the names of `path` before those that are left. False, with `errno` set, if they do not
    /// fit.
    fn put_before(&mut self, path: &[u8]) -> bool {
        let left = self.len - self.at;
        let len = path.len() + 1 + left;
        if path.is_empty() || len >= PATH {
            errno::set(if path.is_empty() { libc::ENOENT } else { libc::ENAMETOOLONG });
            return false;
        }
        self.bytes.copy_within(self.at..self.len, path.len() + usize::from(left > 0));
        self.bytes[..path.len()].copy_from_slice(path);
        if left > 0 {
            self.bytes[path.len()] = b'/';
        }
        self.at = 0;
        self.len = path.len() + usize::from(left > 0) + left;
        self.bytes[self.len] = 0;
        true
    }

    /// The folder that the names are relative to.
    fn start(&self) -> Option<Folder> {
        let from = if self.bytes[0] == b'/' { c"/" } else { c"." };
        // SAFETY: a NUL-terminated path.
        let fd = unsafe { libc::open(from.as_ptr(), FOLDER) };
        (fd >= 0).then(|| Folder(fd))
    }

    /// The next name is `bytes[from..to]`; the third: no other follows it. Moves on.
    fn next_name(&mut self) -> Option<(usize, usize, bool)> {
        let slash = |byte: &u8| *byte == b'/';
        let from = self.at + self.bytes[self.at..self.len].iter().position(|b| !slash(b))?;
        let rest = &self.bytes[from..self.len];
        let to = from + rest.iter().position(slash).unwrap_or(rest.len());
        self.at = (to + 1).min(self.len);
        Some((from, to, to == self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::{PATH, Rest};

    #[test]
    fn names_come_one_by_one_and_a_link_puts_its_own_before_them() {
        let mut rest = Rest { bytes: [0; PATH], at: 0, len: 0 };
        assert!(rest.put_before(b"/a//link/c"));
        let name = |rest: &mut Rest| {
            let (from, to, last) = rest.next_name().expect("a name is left");
            (String::from_utf8(rest.bytes[from..to].to_vec()).expect("UTF-8"), last)
        };
        assert_eq!(name(&mut rest), ("a".to_owned(), false));
        assert_eq!(name(&mut rest), ("link".to_owned(), false));
        assert!(rest.put_before(b"d/e"));
        assert_eq!(name(&mut rest), ("d".to_owned(), false));
        assert_eq!(name(&mut rest), ("e".to_owned(), false));
        assert_eq!(name(&mut rest), ("c".to_owned(), true));
        assert!(rest.next_name().is_none());
        assert!(!rest.put_before(b""));
        assert!(!rest.put_before(&[b'x'; PATH]));
    }
}
