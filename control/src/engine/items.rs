//! The items of a replay: exceptions to the default, by place.

use super::Engine;
use super::threads::{hash, mix};
use crate::protocol::{Item, What};

/// An item as the engine needs it.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    key: u64,
    pub(super) what: What,
    pub(super) who: u64,
    used: bool,
}

/// All of them, in the order of the list; made before `main`.
pub(super) struct Items {
    list: *mut Wanted,
    count: usize,
}

/// Whether an item says who runs next.
pub(super) fn is_switch(what: What) -> bool {
    matches!(what, What::Run | What::Timer | What::Spurious)
}

/// Of the place where a thread comes to a point for the nth time.
fn key(thread: u64, point: u64, passage: u32) -> u64 {
    mix(mix(thread, point), passage.into())
}

impl Items {
    pub(super) const fn new() -> Self {
        Self { list: core::ptr::null_mut(), count: 0 }
    }

    /// Keeps the items for the run.
    pub(super) fn set(&mut self, items: &[Item]) {
        let wanted = |item: &Item| Wanted {
            key: key(hash(item.thread.as_bytes()), hash(item.point.as_bytes()), item.passage),
            what: item.what,
            who: hash(item.who.as_bytes()),
            used: false,
        };
        let mut list: Vec<Wanted> = items.iter().map(wanted).collect();
        // Stable: items of one place stay in their order.
        list.sort_by_key(|wanted| wanted.key);
        self.count = list.len();
        self.list = list.leak().as_mut_ptr();
    }

    /// Whether an item that is left says that the thread comes back.
    pub(super) fn has_back(&self, who: u64) -> bool {
        if self.count == 0 {
            return false;
        }
        // SAFETY: as in `take`.
        let list = unsafe { core::slice::from_raw_parts(self.list, self.count) };
        list.iter().any(|wanted| !wanted.used && wanted.what == What::Back && wanted.who == who)
    }

    fn take(&mut self, key: u64, what: impl Fn(What) -> bool) -> Option<Wanted> {
        if self.count == 0 {
            return None;
        }
        // SAFETY: set once, before `main`, to a leaked list of this length; engine G1.
        let list = unsafe { core::slice::from_raw_parts_mut(self.list, self.count) };
        let from = list.partition_point(|wanted| wanted.key < key);
        let same = list[from..].iter_mut().take_while(|wanted| wanted.key == key);
        let found = same.into_iter().find(|wanted| !wanted.used && what(wanted.what))?;
        found.used = true;
        Some(*found)
    }
}

impl Engine {
    /// The item at the place where `came` is now, of a kind; it is used up.
    pub(super) fn take_item(&mut self, came: u16, what: impl Fn(What) -> bool) -> Option<Wanted> {
        let thread = self.thread(came);
        let passage = thread.passages[usize::from(thread.op.point)];
        let key = key(thread.path_hash, Self::point_hash(thread.op.point), passage);
        self.items.take(key, what)
    }
}
