//! Kernel tasks of this process: does one still exist, is it on its way out?

/// Waits out the moment between the wake-up of `pthread_join` and the task's
/// disappearance from the process.
#[cfg(target_os = "linux")]
pub(super) fn wait_gone(native_id: core::ffi::c_ulong) {
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() } as core::ffi::c_ulong;
    // The kernel lists the first task of a process, ended or not, until the
    // process ends. In a fork child that task may be one that we started.
    if native_id == 0 || native_id == process {
        return;
    }
    let mut rounds = 0_u32;
    while exists(native_id) {
        rounds += 1;
        if rounds > 64 && !is_exiting(native_id) {
            // The kernel gave the number to a new thread of this process.
            return;
        }
        super::atomic::yield_now();
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn wait_gone(_native_id: core::ffi::c_ulong) {}

/// Whether a task of this process has this kernel id.
#[cfg(target_os = "linux")]
pub(crate) fn exists(native_id: core::ffi::c_ulong) -> bool {
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: signal 0 only asks.
    let status = unsafe { libc::syscall(libc::SYS_tgkill, process, native_id as libc::pid_t, 0) };
    status == 0
}

/// Whether a task of this process has this kernel id.
#[cfg(not(target_os = "linux"))]
pub(crate) fn exists(_native_id: core::ffi::c_ulong) -> bool {
    true
}

/// The first task of the process, which runs `main`.
pub(crate) fn first() -> core::ffi::c_ulong {
    // SAFETY: no preconditions.
    (unsafe { libc::getpid() }) as core::ffi::c_ulong
}

/// Names a task of this process, cut to the 15 bytes that the kernel keeps. One
/// that is gone is no error.
#[cfg(target_os = "linux")]
pub(crate) fn set_name(native_id: core::ffi::c_ulong, name: &[u8]) {
    let mut path = [0_u8; 64];
    let mut writer = Digits { bytes: &mut path, used: 0 };
    writer.text(b"/proc/self/task/");
    writer.number(native_id);
    writer.text(b"/comm\0");
    // SAFETY: the path is NUL-terminated.
    let file = unsafe { libc::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return;
    }
    let length = name.len().min(15);
    // SAFETY: `length` bytes of the name are readable.
    let _ = unsafe { libc::write(file, name.as_ptr().cast(), length) };
    // SAFETY: opened above.
    unsafe { libc::close(file) };
}

/// Names a task of this process: not known how on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_name(_native_id: core::ffi::c_ulong, _name: &[u8]) {}

/// Reads the kernel's flags of a task: is it on its way out?
#[cfg(target_os = "linux")]
fn is_exiting(native_id: core::ffi::c_ulong) -> bool {
    const PF_EXITING: u64 = 0x4;
    let mut path = [0_u8; 64];
    let mut writer = Digits { bytes: &mut path, used: 0 };
    writer.text(b"/proc/self/task/");
    writer.number(native_id);
    writer.text(b"/stat\0");
    let mut stat = [0_u8; 512];
    // SAFETY: the path is NUL-terminated.
    let file = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return true; // gone meanwhile: the next existence test says so
    }
    // SAFETY: the buffer is writable for its whole length.
    let got = unsafe { libc::read(file, stat.as_mut_ptr().cast(), stat.len()) };
    // SAFETY: opened above.
    unsafe { libc::close(file) };
    if got <= 0 {
        return true;
    }
    let text = &stat[..got as usize];
    // Fields follow the name in parentheses: state ppid pgrp session tty tpgid flags.
    let Some(end_of_name) = text.iter().rposition(|&b| b == b')') else {
        return true;
    };
    let flags =
        text[end_of_name + 1..].split(|&b| b == b' ').filter(|field| !field.is_empty()).nth(6);
    let value = flags.map_or(0, |digits| {
        digits
            .iter()
            .filter(|b| b.is_ascii_digit())
            .fold(0_u64, |n, b| n * 10 + u64::from(b - b'0'))
    });
    value & PF_EXITING != 0
}

/// A path writer that does not allocate.
#[cfg(target_os = "linux")]
struct Digits<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

#[cfg(target_os = "linux")]
impl Digits<'_> {
    fn text(&mut self, text: &[u8]) {
        self.bytes[self.used..self.used + text.len()].copy_from_slice(text);
        self.used += text.len();
    }

    fn number(&mut self, mut number: core::ffi::c_ulong) {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.text(&digits[first..]);
    }
}
