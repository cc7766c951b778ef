//! Random sleeps at points: the same program, another interleaving.
//!
//! Each thread draws from a generator of its own, seeded from the seed and the order in which
//! threads first came to a point; no lock, no shared word is written after that.
//!
//! PERTURB-1: A thread's generator belongs to one `GENERATION`; a new setting starts every thread
//!    anew.
//! PERTURB-2: The settings are independent words: a thread that reads a mix of two settings sleeps
//!    by that mix once.

use core::cell::Cell;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

use super::mode;
use crate::os::clock::Deadline;
use crate::os::futex;

/// A seed, how often, and how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// 0 = off.
    pub(crate) seed: u64,
    /// Of a thousand arrivals, how many sleep: 0 to 1000.
    pub(crate) permille: u32,
    /// The longest sleep: not negative.
    pub(crate) max_ns: i64,
}

impl Setting {
    /// No perturbation.
    pub(super) const OFF: Self = Self { seed: 0, permille: 0, max_ns: 0 };

    /// `None` if a number is out of its range.
    pub(crate) fn new(seed: u64, permille: i32, max_ns: i64) -> Option<Self> {
        let permille = u32::try_from(permille).ok().filter(|&p| p <= 1000)?;
        (max_ns >= 0).then_some(Self { seed, permille, max_ns })
    }
}

static SEED: AtomicU64 = AtomicU64::new(0);
static PERMILLE: AtomicU32 = AtomicU32::new(0);
static MAX_NS: AtomicI64 = AtomicI64::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(0);
static THREADS: AtomicU32 = AtomicU32::new(0);

/// No thread wakes it: sleeping on it is sleeping.
static NOTHING: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Generation and state of the thread's generator. No destructor: usable until the thread is
    /// gone.
    static GENERATOR: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
}

/// Takes a setting. The caller makes sure that one thread does so at a time.
pub(super) fn set(setting: Setting) {
    SEED.store(setting.seed, Relaxed);
    PERMILLE.store(setting.permille, Relaxed);
    MAX_NS.store(setting.max_ns, Relaxed);
    THREADS.store(0, Relaxed);
    GENERATION.fetch_add(1, Relaxed);
    if setting.seed == 0 {
        mode::turn_off(mode::PERTURB);
    } else {
        mode::turn_on(mode::PERTURB);
    }
}

/// Sleeps, or does not, as the thread's generator says.
pub(super) fn maybe_sleep() {
    let permille = PERMILLE.load(Relaxed);
    if draw() % 1000 >= u64::from(permille) {
        return;
    }
    let max_ns = MAX_NS.load(Relaxed).unsigned_abs();
    let ns = draw() % (max_ns + 1);
    // An early end, by a signal, is as good a delay as any.
    let _ = futex::wait(&NOTHING, 0, Deadline::after(i64::try_from(ns).unwrap_or(0)));
}

/// The thread's next number.
fn draw() -> u64 {
    let generation = GENERATION.load(Relaxed);
    let (own, mut x) = GENERATOR.get();
    if own != generation {
        let thread = THREADS.fetch_add(1, Relaxed);
        x = seeded(SEED.load(Relaxed), thread);
    }
    // xorshift64 (Marsaglia, triple 13, 7, 17); the state is never 0.
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    GENERATOR.set((generation, x));
    // The low bits of a xorshift are its weakest: multiply, and leave them.
    x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
}

/// A first state, never 0, that differs in many bits for neighbours (the finalizer of splitmix64).
fn seeded(seed: u64, thread: u32) -> u64 {
    let mut z =
        seed.wrapping_add(u64::from(thread).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) | 1
}

#[cfg(test)]
mod tests {
    use super::{Setting, seeded};

    #[test]
    fn a_setting_out_of_range_is_refused() {
        assert!(Setting::new(1, 1000, 0).is_some());
        assert_eq!(Setting::new(1, 1001, 0), None);
        assert_eq!(Setting::new(1, -1, 0), None);
        assert_eq!(Setting::new(1, 0, -1), None);
    }

    #[test]
    fn neighbouring_threads_and_seeds_start_far_apart() {
        assert!((seeded(1, 0) ^ seeded(1, 1)).count_ones() > 10);
        assert!((seeded(1, 0) ^ seeded(2, 0)).count_ones() > 10);
    }
}
