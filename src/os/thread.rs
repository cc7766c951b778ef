//! OS threads: start, join until the kernel has released the thread, names, ends.
//!
//! A join here means more than `pthread_join`: that call returns when the
//! kernel clears the thread's id word, a moment before the task leaves
//! `/proc/self/task`. [`join`] waits out that moment as well.

use crate::os::clock::Deadline;
use crate::os::task;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::num::NonZeroUsize;
use once_cell::race::OnceNonZeroUsize;

/// A joinable OS thread.
pub(crate) type OsThread = libc::pthread_t;

/// Entry point of an OS thread.
type Entry = extern "C" fn(*mut c_void) -> *mut c_void;

/// What an OS thread of this library runs.
pub(crate) trait Run {
    /// Runs on the new thread with what [`spawn`] was given; the thread ends when it returns.
    fn run(arg: *mut c_void);
}

extern "C" fn enter<R: Run>(arg: *mut c_void) -> *mut c_void {
    R::run(arg);
    core::ptr::null_mut()
}

/// Whether a thread will join the new thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaping {
    /// The thread must be joined or detached exactly once.
    Joinable,
    /// The OS reclaims the thread by itself.
    Detached,
}

/// Outcome of [`join`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// The OS thread is gone; its id must not be used again.
    Joined,
    /// The deadline passed first; the thread is still joinable.
    TimedOut,
    /// The OS refused; the thread is still joinable.
    Failed,
}

unsafe extern "C" {
    fn pthread_exit(value: *mut c_void) -> !;
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn pthread_clockjoin_np(
        thread: OsThread,
        value: *mut *mut c_void,
        clock: libc::clockid_t,
        deadline: *const libc::timespec,
    ) -> c_int;
}

/// Identity of the calling thread; never 0; reused by the OS after the end.
///
/// What pthread_self returns, without the call: the first word of the control
/// block that the thread register points to is the address of that block.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))]
#[inline(always)]
pub(crate) fn ident() -> core::ffi::c_ulong {
    let ident;
    // SAFETY: the psABI puts a pointer to the control block at offset 0.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr fs:[0]",
            out(reg) ident,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    ident
}

/// Identity of the calling thread; never 0; reused by the OS after the end.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))]
#[inline]
pub(crate) fn ident() -> core::ffi::c_ulong {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as core::ffi::c_ulong }
}

/// Kernel id of the calling thread, cached in the thread-local block.
#[inline]
pub(crate) fn native_id() -> core::ffi::c_ulong {
    use core::sync::atomic::Ordering::Relaxed;
    let slot = &crate::os::tls::block().native_id;
    let known = slot.load(Relaxed);
    if known != 0 {
        return known as core::ffi::c_ulong;
    }
    let id = kernel_id();
    slot.store(id as usize, Relaxed);
    id
}

/// Serial number of the calling thread: never 0, and never that of another
/// thread of this process, before or after. The survivor of a fork keeps it.
pub(crate) fn serial() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let slot = &crate::os::tls::block().serial;
    let known = slot.load(Relaxed);
    if known != 0 {
        return known;
    }
    let serial = LAST.fetch_add(1, Relaxed) + 1;
    slot.store(serial, Relaxed);
    serial
}

/// Forgets the cached kernel id: the survivor of a fork has a new one.
pub(crate) fn forget_native_id() {
    crate::os::tls::block().native_id.store(0, core::sync::atomic::Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
fn kernel_id() -> core::ffi::c_ulong {
    // SAFETY: no preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) as core::ffi::c_ulong }
}

#[cfg(not(target_os = "linux"))]
fn kernel_id() -> core::ffi::c_ulong {
    ident()
}

/// Starts an OS thread with `stack` bytes (0: the system's default).
///
/// `Err` carries the OS error number; nothing was started.
pub(crate) fn spawn<R: Run>(
    arg: *mut c_void,
    stack: usize,
    reaping: Reaping,
) -> Result<OsThread, c_int> {
    spawn_at(enter::<R>, arg, stack, reaping)
}

fn spawn_at(
    entry: Entry,
    arg: *mut c_void,
    stack: usize,
    reaping: Reaping,
) -> Result<OsThread, c_int> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attribute object.
    let status = unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
    if status != 0 {
        return Err(status);
    }
    let result = spawn_with(entry, arg, stack, reaping, attributes.as_mut_ptr());
    // SAFETY: initialised above and not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    result
}

fn spawn_with(
    entry: Entry,
    arg: *mut c_void,
    stack: usize,
    reaping: Reaping,
    attributes: *mut libc::pthread_attr_t,
) -> Result<OsThread, c_int> {
    if stack != 0 {
        // SAFETY: `attributes` is initialised by the caller.
        let status = unsafe { libc::pthread_attr_setstacksize(attributes, stack) };
        if status != 0 {
            return Err(status);
        }
    }
    if reaping == Reaping::Detached {
        // SAFETY: as above.
        let status =
            unsafe { libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) };
        if status != 0 {
            return Err(status);
        }
    }
    let mut thread = MaybeUninit::<OsThread>::uninit();
    // SAFETY: `attributes` is initialised; `entry` accepts `arg` by the
    // caller's contract.
    let status = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, entry, arg) };
    if status != 0 {
        return Err(status);
    }
    // SAFETY: pthread_create succeeded and filled it.
    Ok(unsafe { thread.assume_init() })
}

/// What a thread of the host's is to run.
struct Errand {
    body: unsafe extern "C" fn(*mut c_void),
    arg: *mut c_void,
}

/// Starts an OS thread that runs `body(arg)` and nothing of ours; otherwise as [`spawn`].
pub(crate) fn spawn_plain(
    body: unsafe extern "C" fn(*mut c_void),
    arg: *mut c_void,
    stack: usize,
    reaping: Reaping,
) -> Result<OsThread, c_int> {
    let errand = crate::os::mem::alloc_zeroed::<Errand>().ok_or(libc::ENOMEM)?;
    // SAFETY: a fresh block of the right size.
    unsafe { errand.write(Errand { body, arg }) };
    let started = spawn::<Errand>(errand.as_ptr().cast(), stack, reaping);
    if started.is_err() {
        // SAFETY: allocated above; no thread has it.
        unsafe { crate::os::mem::free(errand.as_ptr().cast()) };
    }
    started
}

impl Run for Errand {
    fn run(errand: *mut c_void) {
        // SAFETY: `spawn_plain` gave this thread a filled block.
        let Errand { body, arg } = unsafe { errand.cast::<Errand>().read() };
        // SAFETY: the value was read above and belongs to this thread alone.
        unsafe { crate::os::mem::free(errand.cast()) };
        // SAFETY: the host's function and argument.
        unsafe { body(arg) };
    }
}

/// The smallest stack that a thread may be given.
pub(crate) fn least_stack() -> usize {
    // SAFETY: no preconditions; -1 when the limit is not known.
    let least = unsafe { libc::sysconf(libc::_SC_THREAD_STACK_MIN) };
    usize::try_from(least).unwrap_or(0).max(libc::PTHREAD_STACK_MIN)
}

/// Whether the OS would accept `size` bytes as a thread's stack.
pub(crate) fn stack_size_accepted(size: usize) -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attribute object.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: initialised above.
    let status = unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), size) };
    // SAFETY: initialised above and not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    status == 0
}

/// Waits until `thread` is gone from the process, or until the deadline.
///
/// `native_id` (0: unknown) is used to wait for the end of the kernel task. The
/// calling thread itself is refused here: not every C library notices.
pub(crate) fn join(thread: OsThread, native_id: core::ffi::c_ulong, deadline: Deadline) -> Join {
    if thread as core::ffi::c_ulong == ident() {
        return Join::Failed;
    }
    let status = pthread_join_until(thread, deadline);
    match status {
        0 => {
            task::wait_gone(native_id);
            Join::Joined
        }
        libc::ETIMEDOUT | libc::EBUSY => Join::TimedOut,
        _ => Join::Failed,
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn pthread_join_until(thread: OsThread, deadline: Deadline) -> c_int {
    match deadline.remaining_ns() {
        // SAFETY: the caller owns the joinable thread.
        None => unsafe { libc::pthread_join(thread, core::ptr::null_mut()) },
        Some(left) => {
            let when = crate::os::clock::now_ns().saturating_add(left.max(0));
            let when =
                libc::timespec { tv_sec: when / 1_000_000_000, tv_nsec: when % 1_000_000_000 };
            // SAFETY: as above; `when` lives across the call.
            unsafe {
                pthread_clockjoin_np(thread, core::ptr::null_mut(), libc::CLOCK_MONOTONIC, &when)
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn pthread_join_until(thread: OsThread, _deadline: Deadline) -> c_int {
    // SAFETY: the caller owns the joinable thread. Without a timed join the
    // wait covers only the thread's last steps: callers wait for its exit
    // event, with their deadline, first.
    unsafe { libc::pthread_join(thread, core::ptr::null_mut()) }
}

/// Gives up the right to join `thread`.
pub(crate) fn detach(thread: OsThread) -> bool {
    // SAFETY: the caller owns the joinable thread.
    unsafe { libc::pthread_detach(thread) == 0 }
}

/// Lets other threads run.
pub(crate) fn yield_now() {
    // SAFETY: no preconditions.
    unsafe { libc::sched_yield() };
}

/// Ends the calling thread through the C library (its destructors run).
pub(crate) fn exit_thread() -> ! {
    // SAFETY: the caller decided that this thread ends here; frames below hold
    // nothing that needs unwinding.
    unsafe { pthread_exit(core::ptr::null_mut()) }
}

/// Puts the calling thread to sleep until the process ends, without using the processor.
pub(crate) fn hang() -> ! {
    if let Some(table) = crate::os::engine::table() {
        // SAFETY: the thread does not go on, as the engine is told.
        unsafe { (table.hang)() };
    }
    loop {
        // SAFETY: no preconditions; returns after a signal handler ran.
        unsafe { libc::pause() };
    }
}

/// Names the calling thread for the OS (cut to what the OS takes).
pub(crate) fn set_name(name: &[u8]) {
    super::task::set_name(native_id(), name);
}

/// Handle of the calling thread.
pub(crate) fn own_thread() -> OsThread {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() }
}

/// What runs when a thread of this process ends.
pub(crate) trait ThreadEnd {
    /// Runs on the ending thread.
    fn run();
}

extern "C" fn ended<E: ThreadEnd>(_block: *mut c_void) {
    E::run();
}

/// Registers `E` to run when the calling thread ends, at most once per thread. There is
/// one `E` in the process.
///
/// Returns false when the OS has no key left: thread ends are then not seen,
/// which costs memory of abandoned states but no safety.
pub(crate) fn arm_exit<E: ThreadEnd>() -> bool {
    // key + 1. Two threads may both make one: the loser's is deleted.
    static KEY: OnceNonZeroUsize = OnceNonZeroUsize::new();
    let mut fresh = None;
    let made = KEY.get_or_try_init(|| {
        let mut key: libc::pthread_key_t = 0;
        // SAFETY: `ended` is a plain function that lives as long as the library.
        if unsafe { libc::pthread_key_create(&mut key, Some(ended::<E>)) } != 0 {
            return Err(());
        }
        fresh = Some(key);
        NonZeroUsize::new(key as usize + 1).ok_or(())
    });
    let Ok(key) = made else { return false };
    let key = (key.get() - 1) as libc::pthread_key_t;
    if let Some(fresh) = fresh.filter(|fresh| *fresh != key) {
        // SAFETY: created above and published nowhere.
        unsafe { libc::pthread_key_delete(fresh) };
    }
    let value = core::ptr::from_ref(crate::os::tls::block());
    // SAFETY: the key exists; the value is not freed through it.
    unsafe { libc::pthread_setspecific(key, value.cast()) == 0 }
}

/// Highest and lowest usable address of the calling thread's stack, if the OS
/// tells. Keeps errno.
#[cfg(target_os = "linux")]
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    let saved = crate::os::errno::get();
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: fills the attribute object on success.
    let known = unsafe { libc::pthread_getattr_np(own_thread(), attributes.as_mut_ptr()) } == 0;
    let bounds = known.then(|| stack_of(attributes.as_mut_ptr())).flatten();
    if known {
        // SAFETY: filled above and not used again.
        unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    }
    crate::os::errno::set(saved);
    bounds
}

#[cfg(target_os = "linux")]
fn stack_of(attributes: *const libc::pthread_attr_t) -> Option<(usize, usize)> {
    let (mut low, mut size, mut guard) = (core::ptr::null_mut(), 0, 0);
    // SAFETY: `attributes` is filled by the caller.
    if unsafe { libc::pthread_attr_getstack(attributes, &mut low, &mut size) } != 0 {
        return None;
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_attr_getguardsize(attributes, &mut guard) } != 0 {
        return None;
    }
    let low = low.addr();
    Some((low + size, low + guard.min(size)))
}

/// Highest and lowest usable address of the calling thread's stack, if the OS
/// tells.
#[cfg(target_os = "macos")]
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    // SAFETY: the calling thread lives.
    let top = unsafe { libc::pthread_get_stackaddr_np(own_thread()) }.addr();
    // SAFETY: as above.
    let size = unsafe { libc::pthread_get_stacksize_np(own_thread()) };
    Some((top, top.checked_sub(size)?))
}

/// Highest and lowest usable address of the calling thread's stack, if the OS
/// tells.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    None
}

/// The calling function's stack pointer, or an address close to it.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let here: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: only reads a register.
    unsafe {
        core::arch::asm!("mov {0}, rsp", out(reg) here, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: only reads a register.
    unsafe {
        core::arch::asm!("mov {0}, sp", out(reg) here, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let local = 0_u8;
        here = core::hint::black_box(&raw const local).addr();
    }
    here
}

/// Ends the process with SIGABRT.
pub(crate) fn abort() -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::abort() }
}

/// Ends the process as exit(3) does: at-exit functions and streams included.
pub(crate) fn exit_process(code: c_int) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_joins_itself() {
        assert!(matches!(join(ident() as OsThread, 0, Deadline::NEVER), Join::Failed));
    }

    #[test]
    fn the_identity_is_the_one_of_the_c_library() {
        // SAFETY: no preconditions.
        let ask = || unsafe { libc::pthread_self() as core::ffi::c_ulong };
        assert_eq!(ident(), ask());
        let (mine, theirs) = std::thread::spawn(move || (ident(), ask())).join().unwrap();
        assert_eq!(mine, theirs);
        assert_ne!(mine, ident());
    }
}
