//! Being told of every fork of the process, and of no vfork or posix_spawn.

/// What runs around every fork().
pub(crate) trait ForkHandlers {
    /// In the parent, before; on the thread that forks.
    fn before();
    /// In the parent, after, also when the fork failed; on the thread that forked.
    fn in_parent();
    /// In the child; on its only thread.
    fn in_child();
}

extern "C" fn before<H: ForkHandlers>() {
    H::before();
}

extern "C" fn in_parent<H: ForkHandlers>() {
    H::in_parent();
}

extern "C" fn in_child<H: ForkHandlers>() {
    H::in_child();
}

/// Has `H` run around every fork from now on; there is no way back. False when the OS has no memory
/// for that.
#[must_use]
pub(crate) fn install<H: ForkHandlers>() -> bool {
    // SAFETY: three plain functions; the library is never unloaded (build.rs).
    let status = unsafe {
        libc::pthread_atfork(Some(before::<H>), Some(in_parent::<H>), Some(in_child::<H>))
    };
    status == 0
}
