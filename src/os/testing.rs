//! What tests of the layers above need from the operating system.

/// Makes SIGUSR2 interrupt whatever waits, and do nothing else.
pub(crate) fn install() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the action is initialised, its handler async-signal-safe, and no SA_RESTART asked
    // for.
    let failed =
        unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, core::ptr::null_mut()) };
    assert_eq!(failed, 0);
}

/// Sends SIGUSR2 to a thread that has not been joined.
pub(crate) fn send(thread: libc::pthread_t) {
    // SAFETY: the caller has not joined the thread.
    let failed = unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
    assert_eq!(failed, 0);
}

/// What `check` says in a fork child, whose only thread runs it.
pub(crate) fn in_fork_child(check: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls `check`, which needs no other thread, and then _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = i32::from(!check());
        // SAFETY: no preconditions.
        unsafe { libc::_exit(code) };
    }
    assert!(child > 0, "fork() failed");
    let mut status = 0;
    // SAFETY: our own child, which nothing else waits for.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}
