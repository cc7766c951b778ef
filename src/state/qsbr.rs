//! Quiescent-state-based reclamation: when may memory be freed that others read
//! without a lock (S-QS).
//!
//! Every state of an interpreter without a GIL has a slot:
//!
//! | slot    | meaning                                                         |
//! |---------|-----------------------------------------------------------------|
//! | OFFLINE | detached: holds no pointer                                      |
//! | odd n   | holds no pointer that was taken out before the sequence got to n |
//!
//! A thread that took a pointer out calls [`Qsbr::advance`]; once every slot is offline
//! or has reached the answer, no thread holds the pointer any more.
//!
//! Slots live in the thread states, so there is no array to grow, and no pause
//! to grow it in, as in CPython (S-QS-05).
//!
//! Ordering: `online` and `scan` are read-modify-writes of the slot, so one of
//! the two comes first. If it is the scan, the thread that comes online sees
//! what was taken out before the scan; else the scan sees the thread. (A store
//! with a full fence would do; on x86-64 that fence costs several times as much
//! as the exchange.) A slot that reaches a sequence or goes offline is a
//! release: what the thread read before, it read before the memory is freed.
//!
//! Mirrors CPython 3.13 Python/qsbr.c.

use crate::sync::atomic::{AtomicU64, Ordering, const_unless_loom};

/// Value of a slot whose thread is detached.
pub(crate) const OFFLINE: u64 = 0;
/// First sequence; all are odd (S-QS-01).
const INITIAL: u64 = 1;
const STEP: u64 = 2;

/// `a` is not after `b`, over the end of the numbers too.
fn reached(a: u64, b: u64) -> bool {
    (b.wrapping_sub(a) as i64) >= 0
}

/// What the states of one interpreter share.
pub(crate) struct Qsbr {
    /// Grows with every [`Qsbr::advance`].
    write: AtomicU64,
    /// Every slot was seen to have reached it.
    read: AtomicU64,
}

impl Qsbr {
    const_unless_loom! {
        pub(crate) fn new() -> Qsbr {
            Qsbr { write: AtomicU64::new(INITIAL), read: AtomicU64::new(INITIAL) }
        }
    }

    /// Begins anew, for a new interpreter in the same block.
    pub(crate) fn reset(&self) {
        self.write.store(INITIAL, Ordering::Relaxed);
        self.read.store(INITIAL, Ordering::Relaxed);
    }

    /// The state of `slot` was attached. One read-modify-write.
    #[inline(always)]
    pub(crate) fn online(&self, slot: &AtomicU64) {
        // The acquire pairs with the release of `scan`.
        slot.swap(self.write.load(Ordering::Acquire), Ordering::AcqRel);
    }

    /// The state of `slot` is about to be detached.
    #[inline(always)]
    pub(crate) fn offline(slot: &AtomicU64) {
        slot.store(OFFLINE, Ordering::Release);
    }

    /// The thread of `slot` holds no pointer at this moment.
    pub(crate) fn quiescent(&self, slot: &AtomicU64) {
        slot.store(self.write.load(Ordering::Acquire), Ordering::Release);
    }

    /// The goal for what was taken out before this call.
    pub(crate) fn advance(&self) -> u64 {
        self.write.fetch_add(STEP, Ordering::AcqRel).wrapping_add(STEP)
    }

    /// Scans all of `slots` and returns the goal that every slot has reached.
    pub(crate) fn scan<'a>(&self, slots: impl Iterator<Item = &'a AtomicU64>) -> u64 {
        let mut least = self.write.load(Ordering::Acquire);
        for slot in slots {
            let seen = slot.fetch_or(0, Ordering::AcqRel);
            if seen != OFFLINE && !reached(least, seen) {
                least = seen;
            }
        }
        let _ = self.read.fetch_update(Ordering::AcqRel, Ordering::Acquire, |read| {
            (!reached(least, read)).then_some(least)
        });
        self.read.load(Ordering::Acquire)
    }

    /// Whether a scan has found that every slot reached `goal`.
    pub(crate) fn has_reached(&self, goal: u64) -> bool {
        reached(goal, self.read.load(Ordering::Acquire))
    }

    /// Whether a single thread that is at `seen` reached `goal`.
    pub(crate) fn one_reached(seen: u64, goal: u64) -> bool {
        seen != OFFLINE && reached(goal, seen)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn poll(qsbr: &Qsbr, goal: u64, slots: &[AtomicU64]) -> bool {
        qsbr.has_reached(goal) || {
            qsbr.scan(slots.iter());
            qsbr.has_reached(goal)
        }
    }

    #[test]
    fn sequences_are_odd_and_grow_by_two() {
        let qsbr = Qsbr::new();
        assert_eq!(qsbr.advance(), 3);
        assert_eq!(qsbr.advance(), 5);
    }

    #[test]
    fn a_goal_is_reached_when_every_slot_is_offline_or_there() {
        let qsbr = Qsbr::new();
        let slots = [AtomicU64::new(0), AtomicU64::new(0)];
        qsbr.online(&slots[0]);
        qsbr.online(&slots[1]);
        let goal = qsbr.advance();
        assert!(!poll(&qsbr, goal, &slots));
        qsbr.quiescent(&slots[0]);
        assert!(!poll(&qsbr, goal, &slots));
        Qsbr::offline(&slots[1]);
        assert!(poll(&qsbr, goal, &slots));
        // A reached goal stays reached: a later slot cannot refer to what was taken out before.
        qsbr.online(&slots[1]);
        assert!(poll(&qsbr, goal, &slots));
        assert!(!poll(&qsbr, qsbr.advance(), &slots));
    }

    #[test]
    fn a_scan_counts_only_what_was_taken_out_before_it() {
        let qsbr = Qsbr::new();
        let slot = AtomicU64::new(OFFLINE);
        let mut goal = 0;
        // The scan has passed the slot: its thread comes, finds the pointer, and takes it out.
        let slots = core::iter::once(&slot).chain(core::iter::from_fn(|| {
            qsbr.online(&slot);
            goal = qsbr.advance();
            None
        }));
        qsbr.scan(slots);
        assert!(!qsbr.has_reached(goal));
        qsbr.quiescent(&slot);
        assert!(poll(&qsbr, goal, core::slice::from_ref(&slot)));
    }

    #[test]
    fn the_numbers_may_wrap() {
        let qsbr = Qsbr::new();
        qsbr.write.store(u64::MAX, Ordering::Relaxed);
        qsbr.read.store(u64::MAX, Ordering::Relaxed);
        let slot = [AtomicU64::new(0)];
        qsbr.online(&slot[0]);
        let goal = qsbr.advance();
        assert_eq!(goal, 1);
        assert!(!poll(&qsbr, goal, &slot));
        qsbr.quiescent(&slot[0]);
        assert!(poll(&qsbr, goal, &slot));
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    /// A thread that attaches and reads races one that takes out and frees.
    #[test]
    fn loom_what_an_online_thread_found_is_not_freed() {
        loom::model(|| {
            let all = Arc::new((
                Qsbr::new(),
                AtomicU64::new(OFFLINE),
                AtomicBool::new(true),  // still to be found
                AtomicBool::new(false), // freed
            ));
            let other = all.clone();
            let reader = thread::spawn(move || {
                let (qsbr, slot, findable, freed) = &*other;
                qsbr.online(slot);
                if findable.load(Ordering::Relaxed) {
                    assert!(!freed.load(Ordering::Relaxed), "read after it was freed");
                }
                Qsbr::offline(slot);
            });
            let (qsbr, slot, findable, freed) = &*all;
            findable.store(false, Ordering::Relaxed);
            let goal = qsbr.advance();
            qsbr.scan([slot].into_iter());
            if qsbr.has_reached(goal) {
                freed.store(true, Ordering::Relaxed);
            }
            reader.join().unwrap();
        });
    }
}
