//! What the kernel calls this process and thread, asked anew each time: right in a fork child, too.

/// The kernel's number of the process. Async-signal-safe.
pub(crate) fn process() -> i64 {
    // SAFETY: no preconditions; cannot fail.
    i64::from(unsafe { libc::getpid() })
}

/// The kernel's number of the calling thread. Async-signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn thread() -> i64 {
    // SAFETY: no preconditions; cannot fail.
    i64::from(unsafe { libc::gettid() })
}

/// A number of the calling thread that no other living thread has. Async-signal-safe.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread() -> i64 {
    // SAFETY: no preconditions; cannot fail.
    let own = unsafe { libc::pthread_self() };
    own as i64
}

/// Room for a thread's name and its NUL.
pub(crate) const THREAD_NAME_SIZE: usize = 16;

/// The calling thread's name for the OS; a program's first thread has the program's.
#[cfg(target_os = "linux")]
pub(crate) fn thread_name(place: &mut [u8; THREAD_NAME_SIZE]) -> &[u8] {
    // SAFETY: PR_GET_NAME writes at most 16 bytes, NUL included.
    unsafe { libc::prctl(libc::PR_GET_NAME, place.as_mut_ptr()) };
    let end = place.iter().position(|&byte| byte == 0).unwrap_or(place.len());
    &place[..end]
}

/// The calling thread's name for the OS: not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_name(_place: &mut [u8; THREAD_NAME_SIZE]) -> &[u8] {
    b"thread"
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_has_its_own_number_and_name() {
        let main = super::thread();
        let named = std::thread::Builder::new().name("probe-7".into());
        let peer = named.spawn(move || {
            assert_ne!(super::thread(), main);
            let mut place = [0; super::THREAD_NAME_SIZE];
            super::thread_name(&mut place).to_vec()
        });
        let name = peer.expect("a thread starts").join().expect("it ends well");
        assert_eq!(
            name,
            if cfg!(target_os = "linux") { b"probe-7".to_vec() } else { b"thread".to_vec() }
        );
    }
}
