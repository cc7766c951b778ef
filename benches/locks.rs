//! What the locks of Rust cost, in the rows and by the rules of `c_tests/bench/locks/locks.c`: `make bench-locks` puts both
//! into one table. Prints "row nanoseconds fairness others".

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BATCH: u32 = 2_000;
const BATCHES: u32 = 2_000;
const CONTENDED: Duration = Duration::from_millis(600);

/// A lock as the rows use it: around a count.
trait Lock: Sync {
    fn add(&self);
}

impl Lock for std::sync::Mutex<u64> {
    #[inline(always)]
    fn add(&self) {
        *self.lock().expect("nobody panics") += 1;
    }
}

impl Lock for parking_lot::Mutex<u64> {
    #[inline(always)]
    fn add(&self) {
        *self.lock() += 1;
    }
}

fn alone(lock: &impl Lock) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            lock.add();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    best
}

/// Nanoseconds per operation of all threads together, and slowest over fastest.
fn contended(lock: &impl Lock, threads: usize) -> (f64, f64) {
    let (ready, go, stop) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    ready.fetch_add(1, Ordering::SeqCst);
                    while !go.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    let mut done = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        lock.add();
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        while ready.load(Ordering::SeqCst) < threads {
            thread::yield_now();
        }
        let start = Instant::now();
        go.store(true, Ordering::SeqCst);
        thread::sleep(CONTENDED);
        stop.store(true, Ordering::SeqCst);
        let took = start.elapsed().as_nanos() as f64;
        let done: Vec<u64> = workers.into_iter().map(|w| w.join().expect("no panic")).collect();
        let total: u64 = done.iter().sum();
        let (least, most) = (done.iter().min(), done.iter().max());
        let fairness = *least.unwrap_or(&0) as f64 / (*most.unwrap_or(&1)).max(1) as f64;
        (took / total.max(1) as f64, fairness)
    })
}

/// Seconds of processor time: of this process, and of the machine.
fn cpu_s() -> (f64, f64) {
    let ticks = 100.0;
    let field = |text: &str, n: usize| -> f64 {
        text.split_whitespace().nth(n).and_then(|f| f.parse().ok()).unwrap_or(0.0)
    };
    let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let own = own.rsplit(')').next().unwrap_or_default().to_owned();
    let all = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = all.lines().next().unwrap_or_default().to_owned();
    (
        (field(&own, 11) + field(&own, 12)) / ticks,
        (field(&all, 1) + field(&all, 2) + field(&all, 3)) / ticks,
    )
}

fn row(name: &str, wanted: &[String], measure: impl FnOnce() -> (f64, f64)) {
    if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
        return;
    }
    let (before, start) = (cpu_s(), Instant::now());
    let (each, fairness) = measure();
    let after = cpu_s();
    let others = (after.1 - before.1) - (after.0 - before.0);
    let others = (others / start.elapsed().as_secs_f64()).max(0.0);
    println!("{name} {each:.3} {fairness:.3} {others:.2}");
}

fn main() {
    // cargo passes "--bench".
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let (std_mutex, parking) = (std::sync::Mutex::new(0), parking_lot::Mutex::new(0));
    row("std", &wanted, || (alone(&std_mutex), 1.0));
    row("parking_lot", &wanted, || (alone(&parking), 1.0));
    for threads in [4, 16] {
        row(&format!("std-{threads}"), &wanted, || contended(&std_mutex, threads));
        row(&format!("parking_lot-{threads}"), &wanted, || contended(&parking, threads));
    }
}
