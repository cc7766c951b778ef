//! Gates: giving the token on and waiting for it.

use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::decide::Next;
use super::threads::Life;
use super::{Engine, Held, NO_THREAD, outside};
use crate::sys;

/// At a gate: go on.
const GO: u32 = 1;
/// At a gate: look after the end of `Engine::dying`.
const ATTEND: u32 = 2;

/// How long the watcher sleeps at most.
const WATCH_NS: i64 = 1_000_000;

/// A large value that is touched under the gate's lock only.
pub(super) struct Scratch<T>(UnsafeCell<T>);

// SAFETY: engine G1.
unsafe impl<T> Sync for Scratch<T> {}

impl<T> Scratch<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Runs `body` with the value. The caller holds the gate's lock; `body` does not come here again.
    pub(super) fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: engine G1, and this function's contract.
        body(unsafe { &mut *self.0.get() })
    }
}

impl Engine {
    fn open_gate(&mut self, thread: u16, word: u32) {
        self.threads[usize::from(thread)].gate.store(word, Release);
        let earlier = core::mem::replace(&mut self.to_wake, thread);
        if earlier != NO_THREAD {
            sys::futex_wake(&self.threads[usize::from(earlier)].gate, 1);
        }
    }

    /// Opens the gate of the thread that was chosen, unless that thread is the caller. If the chosen thread is dying,
    /// another thread is appointed to watch for its end.
    pub(super) fn hand_on(&mut self, next: Next, from: u16) {
        let Next::Goes(to) = next else {
            self.watcher = from;
            return;
        };
        if self.thread(to).life == Life::Dying {
            self.attend(to, from);
        } else {
            self.dying = NO_THREAD;
            self.heir = NO_THREAD;
        }
        if to != from {
            self.watcher = from;
            self.open_gate(to, GO);
        }
    }

    /// A dying thread goes on: a parked thread looks after its end.
    fn attend(&mut self, dying: u16, from: u16) {
        if self.dying == dying && self.heir != NO_THREAD {
            return;
        }
        self.dying = dying;
        let heir = if from != dying && self.thread(from).life == Life::Live {
            Some(from)
        } else {
            self.parked_thread(dying)
        };
        self.heir = heir.unwrap_or(NO_THREAD);
        if let Some(heir) = heir {
            self.watcher = heir;
            if heir != from {
                self.open_gate(heir, ATTEND);
            }
        }
    }

    /// A thread that sleeps at its gate, but not this one.
    fn parked_thread(&self, not: u16) -> Option<u16> {
        self.live().iter().copied().find(|&number| {
            let thread = &self.threads[usize::from(number)];
            number != not && thread.life == Life::Live && thread.parked.load(Acquire)
        })
    }

    /// The thread does not end after all.
    pub(super) fn forget_dying(&mut self, me: u16) {
        if self.dying == me {
            self.dying = NO_THREAD;
            self.heir = NO_THREAD;
        }
    }

    /// Another parked thread becomes the watcher: this one is about to run.
    fn give_watch(&mut self, me: u16) {
        let other = self.parked_thread(me);
        self.watcher = other.unwrap_or(NO_THREAD);
        if let Some(other) = other {
            sys::futex_wake(&self.threads[usize::from(other)].gate, 1);
        }
    }

    /// A thread that stands at its gate for the first time may be the only one that can watch.
    pub(super) fn adopt_watcher(&mut self, me: u16) {
        let watcher = self.watcher;
        let alone = watcher == NO_THREAD
            || watcher == self.running
            || self.thread(watcher).life != Life::Live;
        if alone {
            self.watcher = me;
        }
        let orphan = self.dying != NO_THREAD && self.heir == NO_THREAD;
        if orphan && self.running == self.dying {
            self.heir = me;
            self.watcher = me;
        }
    }
}

impl Held {
    /// Waits at the gate of `me`, which gave the token on or never had it, until it is chosen.
    pub(super) fn park(&mut self, me: u16) {
        let gate = (&raw const self.thread(me).gate).cast::<core::sync::atomic::AtomicU32>();
        // SAFETY: threads stay where they are.
        let gate = unsafe { &*gate };
        self.thread(me).parked.store(true, Release);
        let mut seen = outside::Seen::new();
        loop {
            if gate.load(Acquire) == GO {
                break;
            }
            gate.store(0, Relaxed);
            if self.heir == me && self.dying != NO_THREAD {
                self.await_end(me);
                if self.running == me {
                    break;
                }
                continue;
            }
            let limit = match (self.watcher == me, self.running) {
                (false, _) => -1,
                (true, NO_THREAD) => outside::IDLE_NS,
                (true, _) => WATCH_NS,
            };
            self.without(|| sys::futex_wait(gate, 0, limit));
            if gate.load(Acquire) != GO && self.watcher == me {
                self.watch(me, &mut seen);
                if self.running == me {
                    break;
                }
            }
        }
        gate.store(0, Relaxed);
        self.thread(me).parked.store(false, Relaxed);
        if self.watcher == me {
            self.give_watch(me);
        }
    }

    /// Waits until the kernel has let go of the dying thread, and then decides in its name.
    fn await_end(&mut self, me: u16) {
        let (dying, pid) = (self.dying, self.pid);
        let tid = self.thread(dying).tid.load(Acquire);
        let mut rounds = 0_u32;
        while self.heir == me && self.dying == dying {
            if tid != 0 && !sys::task_exists(pid, tid) || (tid == pid && outside::is_zombie(tid)) {
                self.dying = NO_THREAD;
                self.heir = NO_THREAD;
                self.settle_outside();
                let next = self.end_of(dying);
                self.watcher = me;
                if let Next::Goes(to) = next {
                    if to != me {
                        self.hand_on(next, me);
                    }
                }
                return;
            }
            rounds += 1;
            let gate = &raw const self.thread(me).gate;
            self.without(|| {
                if rounds < 2_000 {
                    sys::yield_now();
                } else {
                    // SAFETY: threads stay where they are.
                    sys::futex_wait(unsafe { &*gate }, 0, WATCH_NS / 10);
                }
            });
        }
    }
}
