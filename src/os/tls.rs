//! The thread-local block: ten words per OS thread, read without a call.
//!
//! States: all zero when the thread begins; filled by `sched`; emptied by the
//! thread-exit destructor (`os::thread::at_exit`).
//!
//! Access: every word is read and written by the owning thread alone; others
//! only compare the block's address. The words are atomics with relaxed access
//! (plain moves on the machine) because the block is shared with C.

use super::function::FunctionCell;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

/// Words of the calling thread. Must match `struct pytstate_tls_block`.
#[repr(C)]
pub(crate) struct TlsBlock {
    /// The attached thread state, or NULL. Stays first: see [`current`].
    pub(crate) current: AtomicPtr<()>,
    /// The state that the PyGILState calls use, or NULL; it counts only while
    /// the state says so, too (`sched::current::gilstate`).
    pub(crate) gilstate: AtomicPtr<()>,
    /// "file:line" left by the caller for the next recorded place, or NULL.
    pub(crate) place: AtomicPtr<i8>,
    /// Kernel id of the thread, 0 until first asked for.
    pub(crate) native_id: AtomicUsize,
    /// 1 when the thread-exit destructor is armed.
    pub(crate) armed: AtomicUsize,
    /// Handle of a thread that this library started, or NULL.
    pub(crate) handle: AtomicPtr<()>,
    /// What ends the state that is kept for this thread (`life::threads::keep`), or NULL:
    /// none is kept.
    pub(crate) on_thread_end: FunctionCell<fn()>,
    /// Set while a fatal error is being reported on this thread.
    pub(crate) in_fatal: AtomicU32,
    /// Blocking regions that the thread has begun and not ended.
    pub(crate) regions: AtomicU32,
    /// What the thread gives back if it never returns (`sync::owed`), or NULL.
    /// On a line of its own: only waits touch it.
    pub(crate) owed: AtomicPtr<()>,
    /// Serial number of the thread, 0 until first asked for.
    pub(crate) serial: AtomicUsize,
}

const _: () = assert!(size_of::<TlsBlock>() == size_of::<[usize; 10]>());

#[cfg(any(
    test,
    not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))
))]
unsafe extern "C" {
    fn pytstate_tls_address() -> *mut TlsBlock;
}

/// The calling thread's block.
///
/// x86-64: two moves and an addition. Elsewhere: a call inside the library.
#[inline(always)]
pub(crate) fn block() -> &'static TlsBlock {
    let address = address();
    // SAFETY: the block lives as long as the calling thread, and the reference
    // is not handed to other threads except under the rule in the head comment.
    unsafe { &*address }
}

/// The first word of the block, [`TlsBlock::current`], in two moves.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))]
#[inline(always)]
pub(crate) fn current() -> *mut () {
    let current: *mut ();
    // SAFETY: reads the variable's offset from the thread pointer, as the
    // initial-exec model prescribes, and the word there.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + pytstate_tls@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) current,
            options(readonly, nostack, preserves_flags),
        );
    }
    current
}

/// The first word of the block, [`TlsBlock::current`].
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))]
#[inline(always)]
pub(crate) fn current() -> *mut () {
    block().current.load(core::sync::atomic::Ordering::Relaxed)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))]
#[inline(always)]
fn address() -> *mut TlsBlock {
    let address: *mut TlsBlock;
    // SAFETY: reads the thread pointer and the variable's offset from it, as
    // the initial-exec model prescribes; touches no memory of ours.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr fs:[0]",
            "add {0}, qword ptr [rip + pytstate_tls@GOTTPOFF]",
            out(reg) address,
            options(pure, nomem, nostack),
        );
    }
    address
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))]
#[inline(always)]
fn address() -> *mut TlsBlock {
    // SAFETY: the shim only returns an address.
    unsafe { pytstate_tls_address() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assembly_and_the_shim_name_the_same_block() {
        // SAFETY: the shim only returns an address.
        let by_call = unsafe { pytstate_tls_address() };
        assert_eq!(by_call, address());
    }

    #[test]
    fn the_short_way_reads_the_current_word() {
        let mark: *mut () = core::ptr::without_provenance_mut(0x1230);
        block().current.store(mark, core::sync::atomic::Ordering::Relaxed);
        assert_eq!(current(), mark);
        block().current.store(core::ptr::null_mut(), core::sync::atomic::Ordering::Relaxed);
        assert!(current().is_null());
    }

    #[test]
    fn threads_have_different_blocks() {
        let mine = address() as usize;
        let other = std::thread::spawn(|| address() as usize).join().unwrap();
        assert_ne!(mine, other);
    }
}
