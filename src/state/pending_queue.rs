//! A bounded queue of calls waiting for a poll (S-PC-01). Any number of threads
//! add, one takes; none locks, so that adding works from a signal handler
//! too, once the slots exist.
//!
//! A slot at position `p` of the endless sequence (index `p % SLOTS`) says by
//! its `sequence` whose it is:
//!
//! | `sequence`        | meaning                                         |
//! |---------------|-------------------------------------------------|
//! | `p`           | free for the adder that wins position `p`       |
//! | `p + 1`       | holds the call of position `p`                  |
//! | `p + SLOTS`   | taken; free for the next round                  |
//!
//! Invariants:
//! - PENDING-1: `first <= last <= first + max`, counted without wrapping in practice.
//! - PENDING-2: a slot's call is written by the winner of its position and read by the
//!   one taker, ordered by `sequence` (release, acquire).
//! - PENDING-3: one thread takes at a time: the one that holds `handling` of the interpreter
//!   (for the main queue: of the main interpreter).
//!
//! The slots are allocated at the first use, so that an idle interpreter stays
//! small. Limits as in CPython 3.13 `struct _pending_calls`.

use crate::control::window;
#[cfg(not(loom))]
use crate::os::thread;
use crate::os::{ids, mem, tsan};
use crate::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire,
    Ordering::Relaxed, Ordering::Release, const_unless_loom, spin_hint,
};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;

/// A pending call of the host.
pub type _Py_pending_call_func = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;

/// Slots in a queue: a power of two, so that a position costs no division, and
/// not fewer than the calls of the longest queue.
const SLOTS: usize = if cfg!(loom) { 4 } else { 512 };
/// Most calls queued for one interpreter.
pub(crate) const MAX_INTERPRETER: u32 = 300;
#[cfg(not(loom))]
const _: () = assert!(SLOTS.is_power_of_two() && SLOTS >= MAX_INTERPRETER as usize);
/// Most calls queued for the main thread.
pub(crate) const MAX_MAIN: u32 = 32;
/// Most calls queued in 3.12, whose ring keeps one slot free.
pub(crate) const MAX_MAIN_3_12: u32 = 31;
/// Most calls of an interpreter's queue that one pass runs.
pub(crate) const PASS_INTERPRETER: u32 = 100;

/// `_PyEval_AddPendingCall` flag: use the main thread's queue.
pub(crate) const MAIN_THREAD_ONLY: c_int = 1;
/// `_PyEval_AddPendingCall` flag: free the argument after the call.
pub(crate) const RAW_FREE: c_int = 2;

/// One queued call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The function, or `None` for an empty slot.
    pub(crate) func: _Py_pending_call_func,
    pub(crate) arg: *mut c_void,
    pub(crate) flags: c_int,
}

struct Slot {
    sequence: AtomicUsize,
    call: UnsafeCell<MaybeUninit<Call>>,
}

/// A queue of [`Call`]s.
pub(crate) struct PendingQueue {
    slots: AtomicPtr<Slot>,
    /// Position of the oldest call; moved by the taker.
    first: AtomicUsize,
    /// Position behind the newest call; moved by adders.
    last: AtomicUsize,
    /// Most calls that may be queued at once.
    max: u32,
    /// The state whose pass is running, or NULL (S-PC-07).
    pub(crate) handling: AtomicPtr<c_void>,
    /// How often finalization took the queue from a pass that was running.
    pub(crate) passes: AtomicU32,
    /// The process that last forgot what was queued, 0 before.
    process: AtomicI64,
}

/// The queue is at its limit, or there was no memory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl PendingQueue {
    const_unless_loom! {
        /// Makes an empty queue that holds at most `max` calls.
        pub(crate) fn new(max: u32) -> PendingQueue {
            PendingQueue {
                slots: AtomicPtr::new(core::ptr::null_mut()),
                first: AtomicUsize::new(0),
                last: AtomicUsize::new(0),
                max,
                handling: AtomicPtr::new(core::ptr::null_mut()),
                passes: AtomicU32::new(0),
                process: AtomicI64::new(0),
            }
        }
    }

    /// Makes `me` the taker (PENDING-3) until [`PendingQueue::unclaim`]. `Err`: the one
    /// that is. Acquire pairs with the release of the taker before it, so that
    /// `first` is where that one left it. `alone`: every thread that looks at
    /// `handling` holds one GIL, which orders it; no read-modify-write then.
    pub(crate) fn claim(&self, me: *mut c_void, alone: bool) -> Result<(), *mut c_void> {
        let none = core::ptr::null_mut();
        if !alone {
            return self.handling.compare_exchange(none, me, AcqRel, Acquire).map(|_| ());
        }
        match self.handling.load(Relaxed) {
            other if !other.is_null() => Err(other),
            _ => {
                self.handling.store(me, Relaxed); // the GIL orders it
                Ok(())
            }
        }
    }

    /// Ends the claim of the taker.
    pub(crate) fn unclaim(&self) {
        #[cfg(loom)]
        if crate::sync::planted::is(crate::sync::planted::Bug::RelaxedClaim) {
            return self.handling.store(core::ptr::null_mut(), Relaxed);
        }
        self.handling.store(core::ptr::null_mut(), Release);
    }

    /// Number of calls queued (a snapshot).
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // `first` is read before `last`: it may only lag behind, never overtake.
        let first = self.first.load(Acquire);
        self.last.load(Acquire).wrapping_sub(first)
    }

    /// Makes sure that there are slots. False without memory.
    pub(crate) fn prepare(&self) -> bool {
        !self.slots.load(Acquire).is_null() || self.make_slots()
    }

    #[cold]
    fn make_slots(&self) -> bool {
        let fresh = mem::calloc(size_of::<Slot>() * SLOTS).cast::<Slot>();
        if fresh.is_null() {
            return false;
        }
        for index in 0..SLOTS {
            let slot = fresh.wrapping_add(index);
            // SAFETY: inside the fresh block, which no other thread sees yet.
            unsafe {
                slot.write(Slot {
                    sequence: AtomicUsize::new(index),
                    call: UnsafeCell::new(MaybeUninit::uninit()),
                });
            }
        }
        if self.slots.compare_exchange(core::ptr::null_mut(), fresh, AcqRel, Acquire).is_err() {
            // SAFETY: another thread was first; ours was published nowhere.
            unsafe { mem::free(fresh.cast()) };
        }
        true
    }

    #[inline(always)]
    fn slot(&self, position: usize) -> Option<&Slot> {
        let slots = self.slots.load(Acquire);
        if slots.is_null() {
            return None;
        }
        // SAFETY: the index is below SLOTS, and slots are never freed.
        Some(unsafe { &*slots.wrapping_add(position & (SLOTS - 1)) })
    }

    /// Queues a call. One read-modify-write when no other thread adds.
    pub(crate) fn push(&self, call: Call) -> Result<(), Full> {
        self.push_below(self.max, call)
    }

    /// Adds a call, unless `limit` calls (at most `max`) are in the queue.
    pub(crate) fn push_below(&self, limit: u32, call: Call) -> Result<(), Full> {
        if !self.prepare() {
            return Err(Full);
        }
        let position = self.win_position(limit)?;
        self.fill(position, call);
        Ok(())
    }

    /// Reserves the next position of the sequence for the caller, which then fills it.
    fn win_position(&self, limit: u32) -> Result<usize, Full> {
        loop {
            let first = self.first.load(Acquire);
            let last = self.last.load(Relaxed);
            if last.wrapping_sub(first) >= limit as usize {
                if self.first.load(Acquire) == first {
                    return Err(Full);
                }
                continue;
            }
            let Some(slot) = self.slot(last) else { return Err(Full) };
            if slot.sequence.load(Acquire) != last {
                // Another adder has the position already: look again.
                spin_hint();
                continue;
            }
            let next = last.wrapping_add(1);
            if self.last.compare_exchange_weak(last, next, Relaxed, Relaxed).is_ok() {
                return Ok(last);
            }
        }
    }

    /// Fills a position that the caller won.
    fn fill(&self, position: usize, call: Call) {
        let Some(slot) = self.slot(position) else { return };
        window!("pending.fill");
        // SAFETY: PENDING-2: the position is ours until `sequence` says otherwise.
        unsafe { (*slot.call.get()).write(call) };
        tsan::release(slot);
        slot.sequence.store(position.wrapping_add(1), Release);
    }

    /// Takes the oldest call. `None` when there is none, or when the oldest is
    /// only just being written. No read-modify-write. The caller is the taker
    /// (PENDING-3).
    pub(crate) fn pop(&self) -> Option<Call> {
        let first = self.first.load(Relaxed);
        if self.last.load(Relaxed) == first {
            return None;
        }
        let slot = self.slot(first)?;
        if slot.sequence.load(Acquire) != first.wrapping_add(1) {
            return None;
        }
        tsan::acquire(slot);
        // SAFETY: PENDING-2: the turn says that the slot is the taker's, and PENDING-3.
        let call = unsafe { &*slot.call.get() };
        // SAFETY: PENDING-2: the adder filled it before it set the turn.
        let call = unsafe { call.assume_init_read() };
        slot.sequence.store(first.wrapping_add(SLOTS), Release);
        self.first.store(first.wrapping_add(1), Release);
        Some(call)
    }

    /// Forgets everything that is queued at this moment, keeping the slots.
    /// No thread takes, but others may add: one that is about to fill its position
    /// is waited for, unless it did not survive a fork.
    pub(crate) fn forget(&self) {
        let process = ids::process();
        let before = self.process.swap(process, Relaxed);
        if before != 0 && before != process {
            self.finish_writes();
        }
        let end = self.last.load(Acquire);
        while self.first.load(Relaxed) != end {
            match self.pop() {
                #[cfg(not(loom))]
                None => thread::yield_now(),
                #[cfg(loom)]
                None => spin_hint(),
                Some(call) if call.flags & RAW_FREE != 0 => {
                    // SAFETY: the flag says that the argument came from malloc.
                    unsafe { mem::free(call.arg.cast()) };
                }
                Some(_) => {}
            }
        }
        self.handling.store(core::ptr::null_mut(), Relaxed);
    }

    /// In a fork child: positions that a vanished thread won and did not fill
    /// get a call that does nothing. No other thread adds or takes.
    pub(crate) fn finish_writes(&self) {
        self.process.store(ids::process(), Relaxed);
        let (first, last) = (self.first.load(Relaxed), self.last.load(Relaxed));
        let mut position = first;
        while position != last {
            let Some(slot) = self.slot(position) else { return };
            let next = position.wrapping_add(1);
            if slot.sequence.load(Relaxed) != next {
                let call = Call { func: None, arg: core::ptr::null_mut(), flags: 0 };
                // SAFETY: PENDING-2: no other thread is left to write it.
                unsafe { (*slot.call.get()).write(call) };
                slot.sequence.store(next, Relaxed);
            }
            position = next;
        }
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn call(number: usize) -> Call {
        Call { func: None, arg: core::ptr::without_provenance_mut(number), flags: 0 }
    }

    #[test]
    fn calls_come_out_in_order_for_many_rounds_of_the_ring() {
        let queue = PendingQueue::new(MAX_INTERPRETER);
        for round in 0..5 {
            for number in 0..200 {
                queue.push(call(round * 1000 + number)).unwrap();
            }
            for number in 0..200 {
                assert_eq!(queue.pop().unwrap().arg.addr(), round * 1000 + number);
            }
            assert!(queue.pop().is_none());
        }
    }

    #[test]
    fn forgetting_waits_for_an_adder_that_has_a_position() {
        static QUEUE: PendingQueue = PendingQueue::new(MAX_MAIN);
        assert!(QUEUE.prepare());
        QUEUE.push(call(1)).unwrap();
        let position = QUEUE.win_position(MAX_MAIN).unwrap();
        let forgetter = std::thread::spawn(|| QUEUE.forget());
        while QUEUE.first.load(Acquire) != position {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        assert!(!forgetter.is_finished());
        QUEUE.fill(position, call(2));
        forgetter.join().unwrap();
        assert_eq!(QUEUE.len(), 0);
        // The ring turns twice, so every slot is used again.
        for number in 0..2 * SLOTS {
            QUEUE.push(call(number)).unwrap();
            assert_eq!(QUEUE.pop().unwrap().arg.addr(), number);
        }
    }

    #[test]
    fn a_queue_takes_its_limit_and_not_one_more() {
        let queue = PendingQueue::new(MAX_MAIN);
        for number in 0..32 {
            queue.push(call(number)).unwrap();
        }
        assert_eq!(queue.push(call(32)), Err(Full));
        assert_eq!(queue.len(), 32);
        assert!(queue.pop().is_some());
        queue.push(call(33)).unwrap();
        queue.forget();
        assert_eq!(queue.len(), 0);
        queue.push(call(34)).unwrap();
        assert_eq!(queue.pop().unwrap().arg.addr(), 34);
    }

    #[test]
    fn a_position_that_nobody_filled_is_made_to_do_nothing() {
        let queue = PendingQueue::new(MAX_MAIN);
        queue.push(call(1)).unwrap();
        queue.last.fetch_add(1, Relaxed); // won by a thread that vanished
        assert!(queue.pop().is_some());
        assert!(queue.pop().is_none());
        queue.finish_writes();
        assert!(queue.pop().unwrap().arg.is_null());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn many_adders_lose_nothing() {
        static QUEUE: PendingQueue = PendingQueue::new(MAX_INTERPRETER);
        let adders: Vec<_> = (0..4)
            .map(|adder| {
                std::thread::spawn(move || {
                    for number in 0..5000 {
                        while QUEUE.push(call(adder * 10_000 + number)).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        let mut taken = 0;
        while taken < 20_000 {
            let Some(call) = QUEUE.pop() else {
                std::thread::yield_now();
                continue;
            };
            let (adder, number) = (call.arg.addr() / 10_000, call.arg.addr() % 10_000);
            assert_eq!(number, next[adder], "calls of one adder stay in order");
            next[adder] += 1;
            taken += 1;
        }
        for adder in adders {
            adder.join().unwrap();
        }
    }
}
