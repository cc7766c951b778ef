//! Objects by address: an ordinal in order of first use, and what the model of the object needs to remember.
//!
//! O1. An ordinal is never used twice. A destroyed or newly initialised object at an old address is a new one.
//! O2. Nothing here is read by address: the program may have freed the memory.

use super::NO_THREAD;

/// Places in the table; a power of two. At most three quarters are used.
const CAPACITY: usize = 1 << 16;

/// What stands at an address.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    /// 0: free place; `DEAD`: destroyed, and the place may be used again.
    pub(crate) address: usize,
    pub(crate) ordinal: u32,
    /// The thread that holds it, or `NO_THREAD`.
    pub(crate) owner: u16,
    /// rwlock: readers inside.
    pub(crate) readers: u32,
    /// rwlock: a writer is inside.
    pub(crate) writer: bool,
    /// rwlock: a waiting writer keeps readers out.
    pub(crate) writer_first: bool,
    /// Condition variable: its clock is the monotonic one.
    pub(crate) monotonic: bool,
    /// Shared with other processes: not modelled.
    pub(crate) shared: bool,
    /// Barrier: threads for one round; 0: not known.
    pub(crate) count: u32,
    /// Barrier: threads that have arrived in this round.
    pub(crate) arrived: u32,
    /// Hash of the threads that had it, in order.
    pub(crate) history: u64,
}

const DEAD: usize = usize::MAX;

const NONE: Object = Object {
    address: 0,
    ordinal: 0,
    owner: 0,
    readers: 0,
    writer: false,
    writer_first: false,
    monotonic: false,
    shared: false,
    count: 0,
    arrived: 0,
    history: 0,
};

/// The table.
pub(crate) struct Objects {
    places: [Object; CAPACITY],
    used: usize,
    next: u32,
}

impl Objects {
    pub(crate) const fn new() -> Self {
        Self { places: [NONE; CAPACITY], used: 0, next: 0 }
    }

    fn start(address: usize) -> usize {
        (address >> 2).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            >> (usize::BITS - CAPACITY.trailing_zeros())
    }

    fn position(&self, address: usize) -> Option<usize> {
        let mut at = Self::start(address);
        while self.places[at].address != 0 {
            if self.places[at].address == address {
                return Some(at);
            }
            at = (at + 1) % CAPACITY;
        }
        None
    }

    /// The object at an address, new if it was not known.
    pub(crate) fn at(&mut self, address: usize) -> &mut Object {
        let at = self.position(address).unwrap_or_else(|| self.add(address));
        &mut self.places[at]
    }

    /// The object at an address, if it is known.
    pub(crate) fn known(&mut self, address: usize) -> Option<&mut Object> {
        self.position(address).map(|at| &mut self.places[at])
    }

    fn add(&mut self, address: usize) -> usize {
        let mut at = Self::start(address);
        while self.places[at].address != 0 && self.places[at].address != DEAD {
            at = (at + 1) % CAPACITY;
        }
        if self.places[at].address == 0 {
            self.used += 1;
            if self.used > CAPACITY / 4 * 3 {
                super::stop::give_up(b"more than 49152 objects are in use");
            }
        }
        self.places[at] = Object { address, ordinal: self.next + 1, owner: NO_THREAD, ..NONE };
        self.next += 1;
        at
    }

    /// The object at an address is no more.
    pub(crate) fn forget(&mut self, address: usize) {
        if let Some(at) = self.position(address) {
            self.places[at] = Object { address: DEAD, ..NONE };
        }
    }

    /// A new object stands at an address.
    pub(crate) fn renew(&mut self, address: usize) -> &mut Object {
        self.forget(address);
        self.at(address)
    }

    /// Its ordinal; 0 for no address.
    pub(crate) fn ordinal(&mut self, address: usize) -> u32 {
        if address == 0 { 0 } else { self.at(address).ordinal }
    }
}
