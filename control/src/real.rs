//! The functions behind the ones that this library interposes.
//!
//! R1. Each is looked up once, all in the constructor; a call that comes before it looks them up then.
//! R2. Condition variables are asked for by version: an unversioned lookup could find the ones of 2.2.5, whose
//!     structure is another.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::Relaxed;

use libc::{
    clockid_t, pthread_attr_t, pthread_barrier_t, pthread_barrierattr_t, pthread_cond_t,
    pthread_condattr_t, pthread_mutex_t, pthread_mutexattr_t, pthread_once_t, pthread_rwlock_t,
    pthread_rwlockattr_t, pthread_t, sem_t, timespec, timeval,
};

/// A thread's function.
pub(crate) type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// The address of a function, looked up now.
fn look_up(name: &CStr, version: Option<&CStr>) -> *mut c_void {
    if let Some(version) = version {
        // SAFETY: both are NUL-terminated.
        let found = unsafe { libc::dlvsym(libc::RTLD_NEXT, name.as_ptr(), version.as_ptr()) };
        if !found.is_null() {
            return found;
        }
    }
    // SAFETY: the name is NUL-terminated.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

macro_rules! functions {
    ($($(#[$version:literal])? fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)+) => {
        $(
            /// The C library's function of that name.
            ///
            /// # Safety
            /// As for that function.
            pub(crate) unsafe fn $name($($arg: $type),*) $(-> $result)? {
                let function = slots::$name.load(Relaxed);
                let function = if function.is_null() { slow::$name() } else { function };
                // SAFETY: the symbol of that name has this type.
                let function = unsafe {
                    core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) $(-> $result)?>(function)
                };
                // SAFETY: this function's contract.
                unsafe { function($($arg),*) }
            }
        )+

        #[allow(non_upper_case_globals, reason = "named after the functions they hold")]
        mod slots {
            use super::{AtomicPtr, c_void};
            $(pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());)+
        }

        mod slow {
            use super::{Relaxed, c_void};
            $(
                #[cold]
                pub(super) fn $name() -> *mut c_void {
                    let name = c_name(concat!(stringify!($name), "\0"));
                    #[allow(unused_mut, unused_assignments, reason = "only some have a version")]
                    let mut version = None;
                    $(version = Some(c_name(concat!($version, "\0")));)?
                    let found = super::look_up(name, version);
                    if found.is_null() {
                        super::missing(stringify!($name));
                    }
                    super::slots::$name.store(found, Relaxed);
                    found
                }
            )+

            fn c_name(name: &'static str) -> &'static core::ffi::CStr {
                core::ffi::CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or(c"")
            }
        }

        /// Looks all of them up, as far as this C library has them.
        pub(crate) fn resolve() {
            $(
                let name = concat!(stringify!($name), "\0");
                let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or(c"");
                #[allow(unused_mut, unused_assignments, reason = "only some have a version")]
                let mut version: Option<&CStr> = None;
                $(version = CStr::from_bytes_with_nul(concat!($version, "\0").as_bytes()).ok();)?
                slots::$name.store(look_up(name, version), Relaxed);
            )+
        }
    };
}

/// A call of a function that the C library does not have: the program could not have been linked with it.
#[cold]
fn missing(name: &str) -> ! {
    crate::sys::complain(b"pytstate: the C library has no ");
    crate::sys::complain(name.as_bytes());
    crate::sys::complain(b"\n");
    crate::sys::abort()
}

functions! {
    fn pthread_mutex_init(m: *mut pthread_mutex_t, attributes: *const pthread_mutexattr_t) -> c_int;
    fn pthread_mutex_destroy(m: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_lock(m: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_trylock(m: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_timedlock(m: *mut pthread_mutex_t, when: *const timespec) -> c_int;
    fn pthread_mutex_clocklock(m: *mut pthread_mutex_t, clock: clockid_t, when: *const timespec) -> c_int;
    fn pthread_mutex_unlock(m: *mut pthread_mutex_t) -> c_int;

    #["GLIBC_2.3.2"] fn pthread_cond_init(c: *mut pthread_cond_t, attributes: *const pthread_condattr_t) -> c_int;
    #["GLIBC_2.3.2"] fn pthread_cond_destroy(c: *mut pthread_cond_t) -> c_int;
    #["GLIBC_2.3.2"] fn pthread_cond_wait(c: *mut pthread_cond_t, m: *mut pthread_mutex_t) -> c_int;
    #["GLIBC_2.3.2"] fn pthread_cond_timedwait(c: *mut pthread_cond_t, m: *mut pthread_mutex_t, when: *const timespec) -> c_int;
    fn pthread_cond_clockwait(c: *mut pthread_cond_t, m: *mut pthread_mutex_t, clock: clockid_t, when: *const timespec) -> c_int;
    #["GLIBC_2.3.2"] fn pthread_cond_signal(c: *mut pthread_cond_t) -> c_int;
    #["GLIBC_2.3.2"] fn pthread_cond_broadcast(c: *mut pthread_cond_t) -> c_int;

    fn pthread_rwlock_init(l: *mut pthread_rwlock_t, attributes: *const pthread_rwlockattr_t) -> c_int;
    fn pthread_rwlock_destroy(l: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_rdlock(l: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_wrlock(l: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_tryrdlock(l: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_trywrlock(l: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_timedrdlock(l: *mut pthread_rwlock_t, when: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(l: *mut pthread_rwlock_t, when: *const timespec) -> c_int;
    fn pthread_rwlock_clockrdlock(l: *mut pthread_rwlock_t, clock: clockid_t, when: *const timespec) -> c_int;
    fn pthread_rwlock_clockwrlock(l: *mut pthread_rwlock_t, clock: clockid_t, when: *const timespec) -> c_int;
    fn pthread_rwlock_unlock(l: *mut pthread_rwlock_t) -> c_int;

    fn pthread_barrier_init(b: *mut pthread_barrier_t, attributes: *const pthread_barrierattr_t, count: c_uint) -> c_int;
    fn pthread_barrier_destroy(b: *mut pthread_barrier_t) -> c_int;
    fn pthread_barrier_wait(b: *mut pthread_barrier_t) -> c_int;

    fn sem_init(s: *mut sem_t, shared: c_int, value: c_uint) -> c_int;
    fn sem_destroy(s: *mut sem_t) -> c_int;
    fn sem_wait(s: *mut sem_t) -> c_int;
    fn sem_trywait(s: *mut sem_t) -> c_int;
    fn sem_timedwait(s: *mut sem_t, when: *const timespec) -> c_int;
    fn sem_clockwait(s: *mut sem_t, clock: clockid_t, when: *const timespec) -> c_int;
    fn sem_post(s: *mut sem_t) -> c_int;
    fn sem_getvalue(s: *mut sem_t, value: *mut c_int) -> c_int;

    fn pthread_create(t: *mut pthread_t, attributes: *const pthread_attr_t, start: Start, arg: *mut c_void) -> c_int;
    fn pthread_join(t: pthread_t, value: *mut *mut c_void) -> c_int;
    fn pthread_tryjoin_np(t: pthread_t, value: *mut *mut c_void) -> c_int;
    fn pthread_clockjoin_np(t: pthread_t, value: *mut *mut c_void, clock: clockid_t, when: *const timespec) -> c_int;
    fn pthread_detach(t: pthread_t) -> c_int;
    fn pthread_exit(value: *mut c_void) -> !;
    fn pthread_once(o: *mut pthread_once_t, init: extern "C" fn()) -> c_int;
    fn pthread_setname_np(t: pthread_t, name: *const c_char) -> c_int;
    fn pthread_cancel(t: pthread_t) -> c_int;
    fn pthread_testcancel();
    fn pthread_kill(t: pthread_t, signal: c_int) -> c_int;

    fn sched_yield() -> c_int;
    fn nanosleep(request: *const timespec, left: *mut timespec) -> c_int;
    fn clock_nanosleep(clock: clockid_t, flags: c_int, request: *const timespec, left: *mut timespec) -> c_int;
    fn usleep(us: c_uint) -> c_int;
    fn sleep(seconds: c_uint) -> c_uint;
    fn clock_gettime(clock: clockid_t, now: *mut timespec) -> c_int;
    fn gettimeofday(now: *mut timeval, zone: *mut c_void) -> c_int;
    fn time(now: *mut libc::time_t) -> libc::time_t;

    fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long;
    fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int;
    fn ppoll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: *const timespec, mask: *const libc::sigset_t) -> c_int;
    fn select(count: c_int, r: *mut libc::fd_set, w: *mut libc::fd_set, x: *mut libc::fd_set, timeout: *mut timeval) -> c_int;
    fn read(fd: c_int, into: *mut c_void, size: usize) -> isize;
    fn waitpid(pid: libc::pid_t, status: *mut c_int, options: c_int) -> libc::pid_t;
    fn pause() -> c_int;

    fn fork() -> libc::pid_t;
    fn _exit(status: c_int) -> !;
    fn exit(status: c_int) -> !;
    fn getrandom(into: *mut c_void, size: usize, flags: c_uint) -> isize;
    fn sysconf(name: c_int) -> c_long;
    fn __libc_start_main(main: *mut c_void, argc: c_int, argv: *mut *mut c_char, init: *mut c_void, fini: *mut c_void, rtld_fini: *mut c_void, stack_end: *mut c_void) -> c_int;
}
