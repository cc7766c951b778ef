//! The only file that calls the operating system directly: the shared area, child processes, their ends.

use pytstate_protocol::Area;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

/// A mapping of [`Area`] that other processes can open through `/proc/PID/fd/N`.
pub(crate) struct SharedArea {
    area: NonNull<Area>,
    file: OwnedFd,
}

// SAFETY: the mapping is owned by this value and lives as long; it has no thread of its own.
unsafe impl Send for SharedArea {}

impl SharedArea {
    /// An area of zeroes.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"pytstate".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to no other value.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = size_of::<Area>();
        let length = libc::off_t::try_from(size).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open.
        if unsafe { libc::ftruncate(fd, length) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a file that is `size` bytes long; no address is asked for.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, fd, 0) };
        match NonNull::new(start.cast::<Area>()) {
            Some(area) if start != libc::MAP_FAILED => Ok(Self { area, file }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The descriptor that `/proc` shows.
    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The area, for reading. Between runs no other process writes to it.
    pub(crate) fn get(&self) -> &Area {
        // SAFETY: the mapping is as large as an area, and each of its bit patterns is one.
        unsafe { self.area.as_ref() }
    }

    /// The area, for writing.
    pub(crate) fn get_mut(&mut self) -> &mut Area {
        // SAFETY: as in `get`; `&mut self` makes it the only reference of this process.
        unsafe { self.area.as_mut() }
    }
}

impl Drop for SharedArea {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no reference outlives `self`.
        unsafe { libc::munmap(self.area.as_ptr().cast(), size_of::<Area>()) };
    }
}

/// Forks. The caller must be the only thread of the process. Returns 0 in the child.
pub(crate) fn fork() -> io::Result<i32> {
    // SAFETY: the process has one thread, so the child may go on with everything.
    match unsafe { libc::fork() } {
        pid if pid < 0 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Ends the process at once, without handlers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: never returns; nothing of this process is used after it.
    unsafe { libc::_exit(status) }
}

/// What a process that starts programs sets up for itself and for them: orphans come to it, no core
/// is written, the terminal's signals do not reach it, addresses are not randomized. Returns
/// whether the last was granted.
pub(crate) fn become_keeper() -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::setpgid(0, 0) };
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is valid for the call.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    // SAFETY: plain numbers; 0xffffffff asks for the present value.
    let now = unsafe { libc::personality(0xffff_ffff) };
    let wanted = libc::c_ulong::from(now as u32) | libc::ADDR_NO_RANDOMIZE as libc::c_ulong;
    // SAFETY: plain numbers.
    now >= 0 && unsafe { libc::personality(wanted) } >= 0
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pid_descriptor(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor was just made and belongs to no other value.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Kills every process of a group. A group that is gone is no error.
pub(crate) fn kill_group(group: i32) {
    // SAFETY: plain numbers; `group` was this process's child, so it is above 1.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// Kills one process.
pub(crate) fn kill(pid: i32) {
    // SAFETY: plain numbers; `pid` is a child of this process that was not reaped yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// What [`reap`] found.
pub(crate) enum Reaped {
    /// A child had ended, with this wait status.
    Ended(i32),
    /// Children are there, and none has ended.
    Running,
    /// No such child is left.
    NoChild,
}

/// Reaps the child, or any child for -1.
pub(crate) fn reap(pid: i32, block: bool) -> Reaped {
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: `status` is valid for the call.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        match got {
            got if got > 0 => return Reaped::Ended(status),
            0 => return Reaped::Running,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return Reaped::NoChild,
        }
    }
}

/// The signal that ended a process, from its wait status.
pub(crate) fn signal_of(status: i32) -> Option<i32> {
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}

/// The exit status of a process, from its wait status.
pub(crate) fn exit_status_of(status: i32) -> i32 {
    libc::WEXITSTATUS(status)
}

/// Waits until one of the descriptors has something, at most `limit`. The answer says which have.
pub(crate) fn poll<const N: usize>(
    fds: [Option<RawFd>; N],
    limit: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut rows =
        fds.map(|fd| libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 });
    let ms = limit
        .map_or(-1, |limit| i32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
    // SAFETY: `rows` is valid and has N elements.
    let got = unsafe { libc::poll(rows.as_mut_ptr(), N as libc::nfds_t, ms) };
    if got < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        return Ok([false; N]);
    }
    Ok(rows.map(|row| row.revents != 0))
}

/// Lets reads of a descriptor fail instead of waiting.
pub(crate) fn set_nonblocking(fd: RawFd) {
    // SAFETY: plain numbers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
}

/// The processors that this process may use.
pub(crate) fn processors() -> Vec<u32> {
    // SAFETY: a set of bits; all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is valid and `size` bytes long.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut set) } < 0 {
        return vec![0];
    }
    let limit = u32::try_from(libc::CPU_SETSIZE).unwrap_or(1024);
    // SAFETY: the index is below CPU_SETSIZE.
    (0..limit).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &set) }).collect()
}

/// The name of a signal.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSYS => "SIGSYS",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        other => return format!("signal {other}"),
    };
    String::from(name)
}

/// The name of a system call that threads block in, or its number.
pub(crate) fn syscall_name(number: u32) -> String {
    const NAMES: [(libc::c_long, &str); 24] = [
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_readv, "readv"),
        (libc::SYS_writev, "writev"),
        (libc::SYS_ppoll, "poll"),
        (libc::SYS_pselect6, "select"),
        (libc::SYS_epoll_pwait, "epoll_wait"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_accept, "accept"),
        (libc::SYS_accept4, "accept"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_recvfrom, "recv"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_sendto, "send"),
        (libc::SYS_wait4, "waitpid"),
        (libc::SYS_waitid, "waitid"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_rt_sigtimedwait, "sigtimedwait"),
        (libc::SYS_rt_sigsuspend, "sigsuspend"),
        (libc::SYS_openat, "open"),
    ];
    #[cfg(target_arch = "x86_64")]
    const OLDER: [(libc::c_long, &str); 4] = [
        (libc::SYS_poll, "poll"),
        (libc::SYS_select, "select"),
        (libc::SYS_epoll_wait, "epoll_wait"),
        (libc::SYS_pause, "pause"),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER: [(libc::c_long, &str); 0] = [];
    let wanted = libc::c_long::from(number);
    let known = NAMES.iter().chain(OLDER.iter()).find(|(known, _)| *known == wanted);
    known.map_or_else(|| format!("system call {number}"), |(_, name)| String::from(*name))
}
