//! What each sleeping thread waits for, and since when, for diagnostics.
//!
//! A thread that is about to sleep takes a slot of a fixed table, at a place that its kernel id gives, and frees it when the
//! sleep is over. A table, because its readers are signal handlers and debuggers: they take no lock, and memory of a thread
//! that ends meanwhile would be gone under them.
//!
//! - WAIT_RECORD-1: A slot belongs to the thread whose kernel id is in `tid`, from the compare-and-swap that stored it until that thread
//!   stores 0. Only that thread writes `object` and `what`, but for [`reset_in_child`].
//! - WAIT_RECORD-2: `what` is 0 while `object` is being written: a reader that sees the same `what` before and after it has read `object`
//!   has read what belongs together, or two waits that began in the same nanosecond.
//! - WAIT_RECORD-3: A thread whose [`PROBES`] slots are all taken waits without a record. A record is for people; nothing depends on it.
//!
//! A wait inside a wait has a record of its own; readers prefer the older one, which is what the caller asked for.

#[cfg(not(loom))]
use crate::os::{clock, thread};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

const SLOTS: usize = 4096;
/// How many slots of the table a kernel id may use.
const PROBES: usize = 32;
/// `what` is the kind above, and the nanoseconds of the clock below: enough for two years of uptime.
const SINCE_BITS: u32 = 56;
const SINCE_MASK: u64 = (1 << SINCE_BITS) - 1;

/// What a thread waits for. The comment says what the object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WaitKind {
    /// The address of the GIL.
    Gil = 1,
    /// The address of the lock, as for the next six.
    Mutex,
    ThreadLock,
    RawMutex,
    RwMutex,
    Event,
    Once,
    /// Any address that the host parks on.
    ParkingLot,
    /// The kernel id of the thread that is joined.
    Join,
    /// The address of the interpreter, as for the next three.
    Threads,
    Guards,
    Throttled,
    InterpreterEnd,
    /// No object, from here on.
    RuntimeEnd,
    PauseEnd,
    PauseBegin,
    RegionEnd,
}

impl WaitKind {
    const ALL: [WaitKind; 17] = [
        WaitKind::Gil,
        WaitKind::Mutex,
        WaitKind::ThreadLock,
        WaitKind::RawMutex,
        WaitKind::RwMutex,
        WaitKind::Event,
        WaitKind::Once,
        WaitKind::ParkingLot,
        WaitKind::Join,
        WaitKind::Threads,
        WaitKind::Guards,
        WaitKind::Throttled,
        WaitKind::InterpreterEnd,
        WaitKind::RuntimeEnd,
        WaitKind::PauseEnd,
        WaitKind::PauseBegin,
        WaitKind::RegionEnd,
    ];
}

struct Slot {
    tid: AtomicUsize,
    object: AtomicUsize,
    /// 0, or the kind and the moment at which the wait began.
    what: AtomicU64,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot { tid: AtomicUsize::new(0), object: AtomicUsize::new(0), what: AtomicU64::new(0) }
}; SLOTS];

/// One wait, as a reader found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Kernel id of the thread that waits.
    pub(crate) tid: usize,
    pub(crate) kind: WaitKind,
    pub(crate) object: usize,
    pub(crate) since_ns: i64,
}

/// A slot that the calling thread has taken, if it got one; dropping it frees the slot.
#[must_use]
pub(crate) struct WaitRecord {
    slot: Option<&'static Slot>,
    tid: usize,
}

fn slots_of(tid: usize) -> impl Iterator<Item = &'static Slot> {
    // Kernel ids come one after the other: neighbours do not share a cache line.
    let first = tid.wrapping_mul(37);
    (first..first.wrapping_add(PROBES)).map(|index| &TABLE[index % SLOTS])
}

impl WaitRecord {
    /// Records that the calling thread is about to wait.
    #[cfg(not(loom))]
    pub(crate) fn begin(kind: WaitKind, object: usize) -> WaitRecord {
        let tid = thread::native_id() as usize;
        let taken = slots_of(tid).find(|slot| {
            slot.tid.load(Ordering::Relaxed) == 0
                && slot.tid.compare_exchange(0, tid, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        if let Some(slot) = taken {
            let since = u64::try_from(clock::now_ns()).unwrap_or(0) & SINCE_MASK;
            slot.object.store(object, Ordering::Relaxed);
            // Release: WAIT_RECORD-2.
            slot.what.store((kind as u64) << SINCE_BITS | since, Ordering::Release);
        }
        WaitRecord { slot: taken, tid }
    }

    /// Models have no dumps.
    #[cfg(loom)]
    pub(crate) fn begin(_: WaitKind, _: usize) -> WaitRecord {
        WaitRecord { slot: None, tid: 0 }
    }
}

impl Drop for WaitRecord {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        // A fork child may have emptied the table, and another thread may have the slot by now.
        if slot.tid.load(Ordering::Relaxed) == self.tid {
            free(slot);
        }
    }
}

fn free(slot: &Slot) {
    slot.what.store(0, Ordering::Relaxed);
    // The next owner's store of `object` comes after that of 0 (WAIT_RECORD-2).
    slot.tid.store(0, Ordering::Release);
}

/// Drops the records of the calling thread, which leaves its waits without returning from them.
#[cfg(not(loom))]
pub(crate) fn forget_own() {
    let tid = thread::native_id() as usize;
    slots_of(tid).filter(|slot| slot.tid.load(Ordering::Relaxed) == tid).for_each(free);
}

/// Empties the table in a fork child, whose only thread waits for nothing.
#[cfg(not(loom))]
pub(crate) fn reset_in_child() {
    TABLE.iter().filter(|slot| slot.tid.load(Ordering::Relaxed) != 0).for_each(free);
}

/// What the slot shows, if a wait is in it. Async-signal-safe.
fn read(slot: &Slot) -> Option<Wait> {
    let tid = slot.tid.load(Ordering::Relaxed);
    let what = slot.what.load(Ordering::Acquire);
    let object = slot.object.load(Ordering::Relaxed);
    // The loads before come before those after (WAIT_RECORD-2).
    fence(Ordering::Acquire);
    let same = slot.what.load(Ordering::Relaxed) == what && slot.tid.load(Ordering::Relaxed) == tid;
    let number = usize::try_from(what >> SINCE_BITS).ok().filter(|_| same && tid != 0)?;
    let kind = *WaitKind::ALL.get(number.checked_sub(1)?)?;
    let since_ns = i64::try_from(what & SINCE_MASK).ok()?;
    Some(Wait { tid, kind, object, since_ns })
}

/// What the thread with a kernel id waits for. Async-signal-safe.
pub(crate) fn of_thread(tid: usize) -> Option<Wait> {
    slots_of(tid).filter_map(read).filter(|wait| wait.tid == tid).min_by_key(|wait| wait.since_ns)
}

/// Every wait, one of each thread. Async-signal-safe.
pub(crate) fn all() -> impl Iterator<Item = Wait> {
    TABLE.iter().filter_map(read).filter(|wait| of_thread(wait.tid) == Some(*wait))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_kinds_are_their_places() {
        for (place, kind) in WaitKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place + 1);
        }
    }

    #[test]
    fn a_wait_is_seen_while_it_lasts_and_the_outer_one_goes_first() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tid = thread::native_id() as usize;
                assert_eq!(of_thread(tid), None);
                let outer = WaitRecord::begin(WaitKind::Threads, 7);
                let inner = WaitRecord::begin(WaitKind::RegionEnd, 8);
                let seen = of_thread(tid).unwrap();
                assert_eq!((seen.kind, seen.object), (WaitKind::Threads, 7));
                assert_eq!(all().filter(|wait| wait.tid == tid).count(), 1);
                drop(outer);
                let seen = of_thread(tid).unwrap();
                assert_eq!((seen.kind, seen.object), (WaitKind::RegionEnd, 8));
                drop(inner);
                assert_eq!(of_thread(tid), None);
            });
        });
    }
}
