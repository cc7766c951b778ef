//! What the engine knows of each thread.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32};

use crate::protocol::{Kind, POINTS, THREAD_NAME};
use crate::real::Start;

/// Where a thread is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// No thread.
    Unused,
    /// It takes part.
    Live,
    /// Its function is over; destructors may still run.
    Dying,
    /// The kernel has let go of it, or it stayed in the parent of a fork.
    Gone,
}

/// What a thread is about to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) point: u16,
    pub(crate) kind: Kind,
    /// Address of the object, 0: none.
    pub(crate) object: usize,
    /// The program's return address, 0: not known.
    pub(crate) place: usize,
}

impl Op {
    pub(crate) const NONE: Self = Self { point: 0, kind: Kind::None, object: 0, place: 0 };
}

/// What must hold before a thread can go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Nothing.
    Nothing,
    /// This mutex can be taken by the thread.
    Mutex(usize),
    /// This semaphore is above 0.
    Semaphore(usize),
    /// This rwlock can be taken.
    Read(usize),
    /// This rwlock can be taken for writing.
    Write(usize),
    /// This thread is gone.
    Gone(u16),
    /// Somebody signals: the waiter is turned over to another wait then.
    Signal(usize),
    /// Nothing but the deadline.
    Time,
    /// The function says yes; the state of the outside decides that.
    Outside(fn(usize) -> bool, usize),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// What was waited for holds.
    Granted,
    /// The deadline passed.
    TimedOut,
    /// A signal, or a cancellation, is pending.
    Interrupted,
}

/// A thread.
pub(crate) struct Thread {
    /// 0: wait; 1: the thread may go on; 2: it is to look after the end of `Engine::dying`.
    pub(crate) gate: AtomicU32,
    /// It sleeps at its gate, or is about to.
    pub(crate) parked: AtomicBool,
    /// Kernel id; 0 until the thread has begun.
    pub(crate) tid: AtomicI32,
    pub(crate) life: Life,
    pub(crate) pthread: libc::pthread_t,
    pub(crate) op: Op,
    pub(crate) ordinal: u32,
    pub(crate) wait: Wait,
    pub(crate) outcome: Outcome,
    /// Virtual time; `clock::NEVER`: none.
    pub(crate) deadline: i64,
    /// When the deadline was set.
    pub(crate) armed_at: i64,
    /// A signal that is sent to it ends its wait.
    pub(crate) interruptible: bool,
    /// Futex: the bits that wake it. Condition variable: the mutex.
    pub(crate) detail: usize,
    /// It is blocked in the kernel by what is not controlled, or computes without coming to a point.
    pub(crate) outside: bool,
    /// Hash of what the kernel said of it when it was found outside; 0: it computed.
    pub(crate) blocked_in: u64,
    /// A replay: it came back earlier than in the run that was recorded, and waits for its item.
    pub(crate) early: bool,
    /// What it waits for outside was looked for with patience, and is there.
    pub(crate) is_there: bool,
    pub(crate) hung: bool,
    /// When it last gave up the token, or came to be.
    pub(crate) since: u64,
    /// Its deadline was a candidate since then.
    pub(crate) timer_since: u64,
    /// How often its wait for a signal timed out while nothing made progress, and in which spell without it.
    pub(crate) vain: (u64, u32),
    /// It could go on when the last decision was made.
    pub(crate) was_ready: bool,
    /// How often in a row it passed one place.
    pub(crate) repeats: u32,
    pub(crate) repeated: (u16, usize),
    pub(crate) detached: bool,
    pub(crate) joined: bool,
    /// A thread waits for its end.
    pub(crate) is_joined_by: bool,
    /// It was told to end, and has not looked yet.
    pub(crate) is_cancelled: bool,
    pub(crate) children: u32,
    pub(crate) path: [u8; THREAD_NAME],
    pub(crate) path_hash: u64,
    pub(crate) start: Option<Start>,
    pub(crate) arg: *mut c_void,
    /// How often it has come to each point.
    pub(crate) passages: [u32; POINTS],
}

impl Thread {
    /// All zero, so that the table costs no page before it is used. `Engine::add_thread` fills in the rest.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "each place of the table begins as a copy of it"
    )]
    pub(crate) const UNUSED: Self = Self {
        gate: AtomicU32::new(0),
        parked: AtomicBool::new(false),
        tid: AtomicI32::new(0),
        life: Life::Unused,
        pthread: 0,
        op: Op::NONE,
        ordinal: 0,
        wait: Wait::Nothing,
        outcome: Outcome::Granted,
        deadline: 0,
        armed_at: 0,
        interruptible: false,
        detail: 0,
        outside: false,
        blocked_in: 0,
        early: false,
        is_there: false,
        hung: false,
        since: 0,
        timer_since: 0,
        vain: (0, 0),
        was_ready: false,
        repeats: 0,
        repeated: (0, 0),
        detached: false,
        joined: false,
        is_joined_by: false,
        is_cancelled: false,
        children: 0,
        path: [0; THREAD_NAME],
        path_hash: 0,
        start: None,
        arg: core::ptr::null_mut(),
        passages: [0; POINTS],
    };

    /// Whether it can be chosen at all.
    pub(crate) fn takes_part(&self) -> bool {
        matches!(self.life, Life::Live | Life::Dying) && !self.outside && !self.early
    }

    /// Its path, without the NUL.
    pub(crate) fn path(&self) -> &[u8] {
        let end = self.path.iter().position(|&byte| byte == 0).unwrap_or(self.path.len());
        &self.path[..end]
    }

    /// Names it after its parent: `main/2/1`. A path that is too long ends in a hash.
    pub(crate) fn set_path(&mut self, parent: &[u8], number: u32) {
        let mut path = [0_u8; THREAD_NAME];
        let mut digits = [0_u8; 10];
        let digits = decimal(&mut digits, u64::from(number));
        let fits = parent.len() + 1 + digits.len() < THREAD_NAME;
        if fits {
            path[..parent.len()].copy_from_slice(parent);
            path[parent.len()] = b'/';
            path[parent.len() + 1..parent.len() + 1 + digits.len()].copy_from_slice(digits);
        } else {
            let mut whole = hash(parent);
            whole = mix(whole, u64::from(number));
            path[..20].copy_from_slice(&parent[..20]);
            path[20] = b'~';
            for (i, byte) in path[21..37].iter_mut().enumerate() {
                *byte = b"0123456789abcdef"[(whole >> (4 * i)) as usize & 15];
            }
        }
        self.path = path;
        self.path_hash = hash(self.path());
    }
}

/// Decimal digits of a number.
pub(crate) fn decimal(place: &mut [u8], mut number: u64) -> &[u8] {
    let mut first = place.len();
    loop {
        first -= 1;
        place[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || first == 0 {
            return &place[first..];
        }
    }
}

/// FNV-1a over bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A hash of both.
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    let mut z = hash.rotate_left(23) ^ value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 32)
}
