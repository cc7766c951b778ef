//! What is armed at which point, and which threads are held there: data and transitions, no
//! waiting.
//!
//! A thread that arrives at an armed point goes through three stages:
//!
//! 1. its hook is called;
//! 2. a pause, if one is left, is taken and holds it until the point's `pause_epoch` moves;
//! 3. it is held until no order is live that has this point as its `then`, or the point's
//!    `order_epoch` moves.
//!
//! Then it has passed: the orders that have this point as their `first` are fulfilled and
//! forgotten.
//!
//! POINT-1: `held_by_pause` counts the threads that took a pause in the current `pause_epoch` (and
//!     `held_by_order` the same for orders). A release of threads moves the epoch and zeroes the
//!     count in one step, so a released thread that has not run yet is not counted any more.
//! POINT-2: `ARMED[i]` is true iff point `i` has a pause left, a hook, or a live order that names
//!     it; the bit `mode::SYNC` is set iff any is. Both change only with the table held.

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::monitor::Monitor;
use super::perturb::{self, Setting};
use super::{mode, names};
use crate::sync::fork_lock::{ForkRow, fork_row};

/// How many orders can be live at once.
pub(super) const ORDERS: usize = 64;

/// A host's function at a point.
pub(crate) type HookFn = unsafe extern "C" fn(point: *const c_char, arg: *mut c_void);

/// A function to call, and what to pass to it.
#[derive(Clone, Copy)]
pub(crate) struct Hook {
    /// The function, which is called on the arriving thread.
    pub(crate) run: HookFn,
    /// The argument of the function, which is passed as it is.
    pub(crate) arg: *mut c_void,
}

// SAFETY: the pointer is only carried; what it points to is the business of the host, which was
// told that the hook runs on whatever thread arrives.
unsafe impl Send for Hook {}

/// One point's state.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Arrivals that are still to be held.
    pub(super) pauses: u32,
    pub(super) held_by_pause: u32,
    pub(super) pause_epoch: u32,
    pub(super) held_by_order: u32,
    pub(super) order_epoch: u32,
    pub(super) hook: Option<Hook>,
}

/// `then` waits until `first` was passed.
#[derive(Clone, Copy)]
struct Order {
    first: usize,
    then: usize,
    live: bool,
}

/// All points' state.
pub(super) struct Table {
    slots: [Slot; names::CAPACITY],
    orders: [Order; ORDERS],
    armed: usize,
    /// The table that [`Table::clear`] restores.
    pub(super) environment: Setting,
    /// How long an order may hold a thread.
    pub(super) limit_ns: i64,
}

pub(super) static TABLE: Monitor<Table> = Monitor::new(Table::new());

/// The lock's row of the fork table.
pub(in crate::probe) static FORK_ROW: [ForkRow; 1] = [fork_row!(TABLE)];

static ARMED: [AtomicBool; names::CAPACITY] = [const { AtomicBool::new(false) }; names::CAPACITY];

/// Whether an arrival at the point may pass without a look at the table.
pub(super) fn is_armed(index: usize) -> bool {
    ARMED[index].load(Relaxed)
}

impl Table {
    /// A table in which no point is armed.
    pub(super) const fn new() -> Self {
        let slot = Slot {
            pauses: 0,
            held_by_pause: 0,
            pause_epoch: 0,
            held_by_order: 0,
            order_epoch: 0,
            hook: None,
        };
        Self {
            slots: [slot; names::CAPACITY],
            orders: [Order { first: 0, then: 0, live: false }; ORDERS],
            armed: 0,
            environment: Setting::OFF,
            limit_ns: 10_000_000_000,
        }
    }

    /// One point's state.
    pub(super) fn slot(&mut self, index: usize) -> &mut Slot {
        &mut self.slots[index]
    }

    /// True if a thread is held at the point now.
    pub(super) fn is_anybody_held(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        slot.held_by_pause + slot.held_by_order > 0
    }

    /// Holds one more arrival.
    pub(super) fn pause(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.pauses = slot.pauses.saturating_add(1);
        self.rearm(index);
    }

    /// Takes a pause if one is left; the epoch in which it holds the caller.
    pub(super) fn take_pause(&mut self, index: usize) -> Option<u32> {
        let slot = &mut self.slots[index];
        slot.pauses = slot.pauses.checked_sub(1)?;
        slot.held_by_pause += 1;
        let epoch = slot.pause_epoch;
        self.rearm(index);
        Some(epoch)
    }

    /// Releases the threads that the point holds; if it holds none, forgets the pauses that are
    /// left.
    pub(super) fn wake(&mut self, index: usize) {
        if self.is_anybody_held(index) {
            self.slots[index].release();
        } else {
            self.slots[index].pauses = 0;
            self.rearm(index);
        }
    }

    /// Makes `then` wait for `first`. False if no more orders can be kept.
    #[must_use]
    pub(super) fn order(&mut self, first: usize, then: usize) -> bool {
        let order = Order { first, then, live: true };
        let same = |o: &&mut Order| o.live && o.first == first && o.then == then;
        if self.orders.iter_mut().find(same).is_some() {
            return true;
        }
        let Some(free) = self.orders.iter_mut().find(|o| !o.live) else { return false };
        *free = order;
        self.rearm(first);
        self.rearm(then);
        true
    }

    /// A point that must be passed before an arrival at `then` may pass.
    pub(super) fn awaited(&self, then: usize) -> Option<usize> {
        self.orders.iter().find(|o| o.live && o.then == then).map(|o| o.first)
    }

    /// Notes that `first` was passed. Returns true if that releases a held thread.
    pub(super) fn passed(&mut self, first: usize) -> bool {
        let mut freed = false;
        while let Some(then) =
            self.orders.iter().find(|o| o.live && o.first == first).map(|o| o.then)
        {
            freed |= self.drop_order(first, then);
        }
        freed
    }

    /// Forgets an order. Returns true if that releases a held thread.
    pub(super) fn drop_order(&mut self, first: usize, then: usize) -> bool {
        for order in &mut self.orders {
            order.live &= order.first != first || order.then != then;
        }
        self.rearm(first);
        self.rearm(then);
        let slot = &mut self.slots[then];
        let freed = slot.held_by_order > 0 && self.orders.iter().all(|o| !o.live || o.then != then);
        if freed {
            slot.release_ordered();
        }
        freed
    }

    /// Sets or removes the point's hook.
    pub(super) fn hook(&mut self, index: usize, hook: Option<Hook>) {
        self.slots[index].hook = hook;
        self.rearm(index);
    }

    /// Removes every pause, order and hook, and releases every held thread.
    pub(super) fn clear(&mut self) {
        for order in &mut self.orders {
            order.live = false;
        }
        for index in 0..names::count() {
            let slot = &mut self.slots[index];
            slot.pauses = 0;
            slot.hook = None;
            slot.release();
            self.rearm(index);
        }
    }

    /// Makes the table whole in a fork child, whatever its last holder was doing: keeps the hooks
    /// alone.
    pub(super) fn keep_hooks_only(&mut self) {
        for order in &mut self.orders {
            order.live = false;
        }
        self.armed = 0;
        mode::turn_off(mode::SYNC);
        for (index, armed) in ARMED.iter().enumerate() {
            let slot = &mut self.slots[index];
            slot.pauses = 0;
            slot.release();
            armed.store(false, Relaxed);
            self.rearm(index);
        }
    }

    /// Restores POINT-2 after a change at the point.
    fn rearm(&mut self, index: usize) {
        let slot = &self.slots[index];
        let named = |o: &Order| o.live && (o.first == index || o.then == index);
        let now = slot.pauses > 0 || slot.hook.is_some() || self.orders.iter().any(named);
        let before = ARMED[index].swap(now, Relaxed);
        match (before, now) {
            (false, true) => self.armed += 1,
            (true, false) => self.armed -= 1,
            _ => return,
        }
        if self.armed > 0 {
            mode::turn_on(mode::SYNC);
        } else {
            mode::turn_off(mode::SYNC);
        }
    }
}

impl Slot {
    /// Releases the threads held here (POINT-1).
    fn release(&mut self) {
        self.held_by_pause = 0;
        self.pause_epoch = self.pause_epoch.wrapping_add(1);
        self.release_ordered();
    }

    /// Releases the threads held here by an order (POINT-1).
    fn release_ordered(&mut self) {
        self.held_by_order = 0;
        self.order_epoch = self.order_epoch.wrapping_add(1);
    }
}

/// The environment's perturbation. Called while the environment is read.
pub(super) fn perturb_by_environment(setting: Setting) {
    let mut table = TABLE.enter();
    table.environment = setting;
    perturb::set(setting);
}

/// How long an order may hold a thread. Called while the environment is read.
pub(super) fn set_limit(limit_ns: i64) {
    TABLE.enter().limit_ns = limit_ns;
}

/// Makes the table whole in a fork child, which has freed it.
pub(super) fn reset_in_child() {
    TABLE.enter().keep_hooks_only();
}
