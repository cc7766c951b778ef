//! One controlled thread runs at a time: the one that has the token. It gives the token on at points, where it says
//! what it is about to do and what must hold before it can, and then waits at its gate until it is chosen again.
//!
//! G1. [`Engine`] is touched with `GATE` held only. It is held for a few instructions, never while anything sleeps.
//! G2. A thread's gate is opened by the thread that chose it, after `running` was set.
//! G3. Inside, signals are blocked, and calls that the real functions make of interposed ones pass through.
//! G4. The thread that gave the token on is the watcher: it alone sleeps with a limit, and looks whether the running
//!     thread is blocked outside. The others sleep until they are chosen.
//! G5. No allocation, no lazily bound symbol, no standard input or output happens in here.

pub(crate) mod clock;
mod config;
mod decide;
mod items;
mod library;
mod log;
mod objects;
mod outside;
mod park;
pub(crate) mod points;
pub(crate) mod stop;
mod text;
pub(crate) mod threads;
mod visit;

#[cfg(not(test))]
pub(crate) use config::begin;
pub(crate) use library::{
    futex_word, mutex_is_held_by, mutex_is_shared, rwlock_flags, semaphore_is_shared,
};
pub(crate) use threads::{Op, Outcome, Wait};
pub(crate) use visit::*;

use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::protocol::{Area, THREADS};
use crate::strategy::{Chooser, Draw};
use crate::sys;
use clock::Clock;
use items::Items;
use objects::Objects;
use threads::{Life, Thread};

/// No thread.
pub(crate) const NO_THREAD: u16 = u16::MAX;

/// Everything that the engine knows.
pub(crate) struct Engine {
    pub(crate) threads: [Thread; THREADS],
    /// Threads that were ever created.
    pub(crate) count: usize,
    /// Threads that are `Live` or `Dying`, in order of creation.
    live: [u16; THREADS],
    live_count: usize,
    /// Who has the token.
    running: u16,
    /// Moves with each decision.
    stamp: u64,
    /// The thread that looks for the running one outside.
    watcher: u16,
    /// The thread whose end a parked thread awaits.
    dying: u16,
    heir: u16,
    /// Its gate was opened; it is woken when the lock is free.
    to_wake: u16,
    pub(crate) clock: Clock,
    pub(crate) objects: Objects,
    chooser: Chooser,
    /// Of the program's own random numbers.
    random: Draw,
    items: Items,
    area: *mut Area,
    limits: Limits,
    /// In a fork child: nothing is recorded.
    is_child: bool,
    forks: u32,
    pid: i32,
    in_tail: bool,
    /// Nobody can go on, and the watcher looks whether that has changed outside.
    is_idle: bool,
    /// How often it has looked.
    /// Goes up with each step that another thread can notice.
    progress: u64,
    idle_looks: u32,
    /// It has looked so often that deadlines may pass.
    timers_due: bool,
}

/// What the request sets for a run.
struct Limits {
    unfair: u64,
    fair: u64,
    patience_ns: i64,
    flags: u32,
    /// The choices come from a list: a prefix or items.
    strategy: u32,
    verbose: bool,
}

struct Global(UnsafeCell<Engine>);

// SAFETY: G1.
unsafe impl Sync for Global {}

static ENGINE: Global = Global(UnsafeCell::new(Engine {
    threads: [const { Thread::UNUSED }; THREADS],
    count: 0,
    live: [0; THREADS],
    live_count: 0,
    running: 0,
    stamp: 0,
    watcher: 0,
    dying: 0,
    heir: 0,
    to_wake: 0,
    clock: Clock::new(),
    objects: Objects::new(),
    chooser: Chooser::new(),
    random: Draw::new(0),
    items: Items::new(),
    area: core::ptr::null_mut(),
    limits: Limits { unfair: 0, fair: 0, patience_ns: 0, flags: 0, strategy: 0, verbose: false },
    is_child: false,
    forks: 0,
    pid: 0,
    in_tail: false,
    is_idle: false,
    progress: 0,
    idle_looks: 0,
    timers_due: false,
}));

/// 0 free, 1 held, 2 held and somebody may sleep.
static GATE: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The calling thread's number plus one; 0: it is not controlled.
    static ME: Cell<u32> = const { Cell::new(0) };
    /// Above 0 while the thread is inside a real function whose own calls pass through (G3).
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// The calling thread's number, if it is controlled and not inside already.
#[inline]
pub(crate) fn me() -> Option<u16> {
    let me = ME.get();
    (me != 0 && INSIDE.get() == 0).then(|| (me - 1) as u16)
}

/// Runs `body`, a call of a real function, with everything passing through.
pub(crate) fn passing_through<R>(body: impl FnOnce() -> R) -> R {
    INSIDE.set(INSIDE.get() + 1);
    let result = body();
    INSIDE.set(INSIDE.get() - 1);
    result
}

/// The right to touch the engine (G1).
pub(crate) struct Held {
    signals: u64,
}

/// Takes the gate's lock, with signals blocked.
pub(crate) fn enter() -> Held {
    let signals = sys::block_signals();
    lock();
    let held = Held { signals };
    if config::is_new_process() {
        let mut held = held;
        held.become_child();
        return held;
    }
    held
}

fn lock() {
    if GATE.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
        while GATE.swap(2, Acquire) != 0 {
            sys::futex_wait(&GATE, 2, -1);
        }
    }
}

/// Frees the lock, and then wakes the thread that was chosen. A thread woken earlier would only wait for the lock.
fn unlock() {
    // SAFETY: G1: the caller holds the lock.
    let woken = unsafe { core::mem::replace(&mut (*ENGINE.0.get()).to_wake, NO_THREAD) };
    if GATE.swap(0, Release) == 2 {
        sys::futex_wake(&GATE, 1);
    }
    if woken != NO_THREAD {
        // SAFETY: threads stay where they are.
        let gate = unsafe { &raw const (*ENGINE.0.get()).threads[usize::from(woken)].gate };
        // SAFETY: as above; an atomic may be shared.
        sys::futex_wake(unsafe { &*gate }, 1);
    }
}

impl Held {
    /// Lets the signals in that came while the thread waited.
    pub(crate) fn let_signals_in(&mut self) {
        let signals = self.signals;
        self.without(|| {
            sys::restore_signals(signals);
            sys::block_signals();
        });
    }

    /// Runs `body`, which may block outside; the thread comes back to the others after that.
    pub(crate) fn outside<R>(&mut self, body: impl FnOnce() -> R) -> R {
        let signals = self.signals;
        let result = self.without(|| {
            sys::restore_signals(signals);
            let result = passing_through(body);
            sys::block_signals();
            result
        });
        let me = ME.get();
        if me != 0 && self.thread((me - 1) as u16).outside {
            let op = Op {
                point: points::OUTSIDE_BACK,
                kind: crate::protocol::Kind::None,
                object: 0,
                place: 0,
            };
            let _ = self.visit((me - 1) as u16, op, Terms::FREE);
        }
        result
    }

    /// Gives the lock up, runs `body` and takes it again. Signals stay blocked.
    fn without<R>(&mut self, body: impl FnOnce() -> R) -> R {
        unlock();
        let result = body();
        lock();
        result
    }
}

impl core::ops::Deref for Held {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        // SAFETY: G1: this value is the right to it.
        unsafe { &*ENGINE.0.get() }
    }
}

impl core::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Engine {
        // SAFETY: G1: this value is the right to it.
        unsafe { &mut *ENGINE.0.get() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        unlock();
        sys::restore_signals(self.signals);
    }
}

impl Engine {
    /// The threads that take part in the run, in order of creation.
    fn live(&self) -> &[u16] {
        &self.live[..self.live_count]
    }

    pub(crate) fn thread(&mut self, thread: u16) -> &mut Thread {
        &mut self.threads[usize::from(thread)]
    }

    /// Adds a thread that `parent` creates; `None`: the first one.
    pub(crate) fn add_thread(&mut self, parent: Option<u16>) -> u16 {
        if self.count == THREADS {
            stop::give_up(b"more than 1024 threads were created");
        }
        let number = self.count as u16;
        self.count += 1;
        let stamp = self.next_stamp();
        let (path, nth) = match parent {
            Some(parent) => {
                let parent = self.thread(parent);
                parent.children += 1;
                (parent.path, parent.children)
            }
            None => (*b"main\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0),
        };
        let thread = self.thread(number);
        thread.life = Life::Live;
        thread.deadline = clock::NEVER;
        thread.since = stamp;
        thread.timer_since = stamp;
        if parent.is_some() {
            let end = path.iter().position(|&byte| byte == 0).unwrap_or(0);
            thread.set_path(&path[..end], nth);
        } else {
            thread.path = path;
            thread.path_hash = threads::hash(b"main");
        }
        let at = self.live_count;
        self.live[at] = number;
        self.live_count += 1;
        self.note_thread(number);
        number
    }

    /// Takes a thread out: the kernel has let go of it, or it never began.
    pub(crate) fn remove_thread(&mut self, thread: u16) {
        self.thread(thread).life = Life::Gone;
        let kept = self.live().iter().position(|&other| other == thread);
        if let Some(at) = kept {
            self.live.copy_within(at + 1..self.live_count, at);
            self.live_count -= 1;
        }
        self.note_thread(thread);
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }
}
