//! What tests of the layers above need from the operating system.

/// Makes SIGUSR2 interrupt whatever waits, and do nothing else.
pub(crate) fn install() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the action is initialised, its handler async-signal-safe, and no SA_RESTART asked for.
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
