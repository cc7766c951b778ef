//! System calls, made without the C library: no lazily bound symbol, no `errno`, nothing that is interposed.

use core::arch::asm;
use core::sync::atomic::AtomicU32;

/// One system call. The result is negative for an error (`-errno`).
///
/// # Safety
/// The caller vouches for the arguments, as for the call itself.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call(number: i64, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: this function's contract; the kernel clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// One system call. The result is negative for an error (`-errno`).
///
/// # Safety
/// The caller vouches for the arguments, as for the call itself.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call(number: i64, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: this function's contract.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] as isize => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    result
}

/// Sleeps while `*word == expected`, for at most `timeout_ns` of real time (negative: without limit).
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout_ns: i64) {
    let limit = [timeout_ns / 1_000_000_000, timeout_ns % 1_000_000_000];
    let limit_at = if timeout_ns < 0 { 0 } else { limit.as_ptr().addr() };
    let wait = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let word = core::ptr::from_ref(word).expose_provenance();
    // SAFETY: the word and the limit live across the call.
    unsafe { call(libc::SYS_futex, [word, wait, expected as usize, limit_at, 0, 0]) };
}

/// Wakes up to `count` threads that sleep on `word`.
pub(crate) fn futex_wake(word: &AtomicU32, count: i32) {
    let wake = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    let word = core::ptr::from_ref(word).expose_provenance();
    // SAFETY: a wake uses the address only.
    unsafe { call(libc::SYS_futex, [word, wake, count as usize, 0, 0, 0]) };
}

/// Kernel id of the calling thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { call(libc::SYS_gettid, [0; 6]) as i32 }
}

/// Kernel id of the process.
pub(crate) fn getpid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { call(libc::SYS_getpid, [0; 6]) as i32 }
}

/// Lets the kernel run another thread.
pub(crate) fn yield_now() {
    // SAFETY: no preconditions.
    unsafe { call(libc::SYS_sched_yield, [0; 6]) };
}

/// Whether the process `pid` has a task `tid`.
pub(crate) fn task_exists(pid: i32, tid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    unsafe { call(libc::SYS_tgkill, [pid as usize, tid as usize, 0, 0, 0, 0]) == 0 }
}

/// Ends the process at once.
pub(crate) fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { call(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Ends the process with SIGABRT, under a debugger at this place.
pub(crate) fn abort() -> ! {
    let all = !0_u64;
    let unblock = libc::SIG_UNBLOCK as usize;
    let mask = (&raw const all).expose_provenance();
    // SAFETY: the mask lives across the call.
    unsafe { call(libc::SYS_rt_sigprocmask, [unblock, mask, 0, 8, 0, 0]) };
    let (pid, tid) = (getpid() as usize, gettid() as usize);
    // SAFETY: sends a signal to the calling thread.
    unsafe { call(libc::SYS_tgkill, [pid, tid, libc::SIGABRT as usize, 0, 0, 0]) };
    exit_group(crate::protocol::STOPPED)
}

/// Writes to standard error, as far as that can be done.
pub(crate) fn complain(text: &[u8]) {
    // SAFETY: the text lives across the call.
    unsafe {
        call(libc::SYS_write, [2, text.as_ptr().expose_provenance(), text.len(), 0, 0, 0]);
    }
}

/// Reads the beginning of a file; an empty slice if that cannot be done. `path` is NUL-terminated.
pub(crate) fn read_file<'a>(path: &[u8], place: &'a mut [u8]) -> &'a [u8] {
    debug_assert_eq!(path.last(), Some(&0));
    let path = path.as_ptr().expose_provenance();
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    // SAFETY: the path is NUL-terminated.
    let file = unsafe { call(libc::SYS_openat, [libc::AT_FDCWD as usize, path, flags, 0, 0, 0]) };
    if file < 0 {
        return &[];
    }
    let into = place.as_mut_ptr().expose_provenance();
    // SAFETY: the place is writable for its whole length.
    let got = unsafe { call(libc::SYS_read, [file as usize, into, place.len(), 0, 0, 0]) };
    // SAFETY: opened above.
    unsafe { call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]) };
    &place[..usize::try_from(got).unwrap_or(0)]
}

/// The signals that are blocked inside the engine: all but those that the thread causes itself.
const BLOCKED: u64 = {
    !((1 << (libc::SIGSEGV - 1))
        | (1 << (libc::SIGBUS - 1))
        | (1 << (libc::SIGFPE - 1))
        | (1 << (libc::SIGILL - 1))
        | (1 << (libc::SIGTRAP - 1))
        | (1 << (libc::SIGABRT - 1))
        | (1 << (libc::SIGSYS - 1)))
};

/// Blocks signals; returns the mask of before.
pub(crate) fn block_signals() -> u64 {
    let mut before = 0_u64;
    let (new, old) =
        ((&raw const BLOCKED_NOW).expose_provenance(), (&raw mut before).expose_provenance());
    // SAFETY: both masks live across the call.
    unsafe { call(libc::SYS_rt_sigprocmask, [libc::SIG_BLOCK as usize, new, old, 8, 0, 0]) };
    before
}

static BLOCKED_NOW: u64 = BLOCKED;

/// Sets the mask of blocked signals.
pub(crate) fn restore_signals(mask: u64) {
    let new = (&raw const mask).expose_provenance();
    // SAFETY: the mask lives across the call.
    unsafe { call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new, 0, 8, 0, 0]) };
}

/// Real time on the monotonic clock, in nanoseconds.
pub(crate) fn real_ns() -> i64 {
    let mut now = [0_i64; 2];
    let place = now.as_mut_ptr().expose_provenance();
    let clock = libc::CLOCK_MONOTONIC as usize;
    // SAFETY: the place is writable.
    unsafe { call(libc::SYS_clock_gettime, [clock, place, 0, 0, 0, 0]) };
    now[0].wrapping_mul(1_000_000_000).wrapping_add(now[1])
}
