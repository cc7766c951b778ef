//! The strategies on models: what they promise, measured.

use super::{Candidate, Chooser, View};
use crate::protocol::{Kind, Request, Strategy};

/// A model of threads with nothing but numbered steps, each on an object.
#[derive(Clone)]
struct Model {
    /// Objects of each thread's steps, in order; 0: none.
    threads: Vec<Vec<u32>>,
}

impl Model {
    /// The order of threads in one run, and the decisions with two or more candidates.
    fn run(&self, chooser: &mut Chooser) -> (Vec<usize>, u64) {
        let mut done = vec![0; self.threads.len()];
        let (mut order, mut current, mut step) = (Vec::new(), None, 0);
        loop {
            let mut candidates: Vec<Candidate> = (0..self.threads.len())
                .filter(|&thread| done[thread] < self.threads[thread].len())
                .map(|thread| Candidate {
                    thread: thread as u16,
                    timer: false,
                    kind: Kind::Write,
                    object: self.threads[thread][done[thread]],
                })
                .collect();
            // Canonical order: the default first.
            candidates.sort_by_key(|c| Some(usize::from(c.thread)) != current);
            let Some(first) = candidates.first() else { return (order, step) };
            let at = |thread: Option<usize>| {
                candidates.iter().position(|c| Some(usize::from(c.thread)) == thread)
            };
            let mut chosen = *first;
            if candidates.len() > 1 {
                step += 1;
                let view = View {
                    candidates: &candidates,
                    current: at(current),
                    own_timer: None,
                    yielded: false,
                    enabling: false,
                    step,
                };
                chosen = candidates[chooser.choose(&view)];
            }
            let thread = usize::from(chosen.thread);
            done[thread] += 1;
            order.push(thread);
            current = Some(thread);
        }
    }
}

fn chooser(strategy: Strategy, index: u64, depth: u32, k: u32) -> Box<Chooser> {
    // SAFETY: all of a request's bit patterns are valid.
    let mut request: Request = unsafe { core::mem::zeroed() };
    (request.strategy, request.seed, request.index) = (strategy as u32, 7, index);
    (request.depth, request.k) = (depth, k);
    let mut chooser = Box::new(Chooser::new());
    chooser.start(&request);
    chooser
}

/// Where thread 0 is when the run switches, for PCT on two threads of ten steps each.
///
/// With d = 2, one change point c uniform in 1..=k: the thread of higher priority runs c - 1 steps, and is overtaken
/// there; with c behind its last step nothing changes.
fn switches(order: &[usize]) -> Vec<usize> {
    (1..order.len()).filter(|&i| order[i] != order[i - 1]).collect()
}

fn chi_square(counts: &[u64], expected: &[f64]) -> f64 {
    counts.iter().zip(expected).map(|(&n, &e)| (n as f64 - e).powi(2) / e).sum()
}

#[test]
fn pct_of_depth_1_is_one_of_the_two_orders_with_equal_chance() {
    let model = Model { threads: vec![vec![0; 10]; 2] };
    let mut first = [0_u64; 2];
    for index in 0..4_000 {
        let (order, _) = model.run(&mut chooser(Strategy::Pct, index, 1, 10));
        assert_eq!(switches(&order), [10]);
        first[order[0]] += 1;
    }
    // One degree of freedom: 10.8 is exceeded once in a thousand times.
    let chi = chi_square(&first, &[2_000.0; 2]);
    assert!(chi < 10.8, "{chi}: {first:?}");
}

#[test]
fn pct_of_depth_2_puts_its_switch_at_each_step_with_equal_chance() {
    let model = Model { threads: vec![vec![0; 10]; 2] };
    // k = 10: the decisions of the thread that begins. Change point c: it is overtaken before its step c.
    let mut at = [0_u64; 10];
    for index in 0..20_000 {
        let (order, _) = model.run(&mut chooser(Strategy::Pct, index, 2, 10));
        let first = switches(&order)[0];
        // A change at the first decision swaps the two: the other one runs all its steps.
        let c = if first == 10 { 1 } else { first + 1 };
        at[c - 1] += 1;
    }
    // Nine degrees of freedom: 27.9 is exceeded once in a thousand times.
    let chi = chi_square(&at, &[2_000.0; 10]);
    assert!(chi < 27.9, "{chi}: {at:?}");
}

#[test]
fn pct_of_depth_3_finds_each_pair_of_change_points_as_often_as_it_must() {
    let model = Model { threads: vec![vec![0; 10]; 2] };
    let mut pairs = std::collections::HashMap::new();
    const RUNS: u64 = 18_000;
    for index in 0..RUNS {
        let (order, _) = model.run(&mut chooser(Strategy::Pct, index, 3, 10));
        *pairs.entry(switches(&order)).or_insert(0_u64) += 1;
    }
    // The bound of the paper: 1 / (n k^(d-1)) for each schedule of depth 3 with both points inside.
    let bound = RUNS / (2 * 10 * 10);
    for a in 1..9 {
        // Overtaken after `a` steps, and the other one after one step more.
        let seen: u64 =
            pairs.iter().filter(|(s, _)| s.starts_with(&[a, a + 1])).map(|(_, n)| n).sum();
        assert!(seen >= bound / 2, "{a}: {seen} of {RUNS}, bound {bound}");
    }
}

#[test]
fn pos_reaches_every_partial_order_of_a_small_program() {
    // Two threads with two steps on one object: six interleavings, each a partial order of its own.
    let model = Model { threads: vec![vec![1, 1]; 2] };
    let mut seen = std::collections::HashMap::new();
    for index in 0..3_000 {
        let (order, _) = model.run(&mut chooser(Strategy::Pos, index, 0, 0));
        *seen.entry(order).or_insert(0_u64) += 1;
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    // POS promises each at least 1/2^(steps that can race): one eighth here; a third is left for chance.
    assert!(seen.values().all(|&n| n > 250), "{seen:?}");
}

#[test]
fn pos_spends_nothing_on_steps_that_do_not_conflict() {
    // Each thread has an object of its own for nine steps, and then one that both use.
    let own = |object| [vec![object; 9], vec![9]].concat();
    let model = Model { threads: vec![own(1), own(2)] };
    let mut first = [0_u64; 2];
    for index in 0..2_000 {
        let (order, _) = model.run(&mut chooser(Strategy::Pos, index, 0, 0));
        let last = order.len() - 1;
        first[1 - order[last]] += 1;
    }
    assert!(first.iter().all(|&n| n > 500), "{first:?}");
}

#[test]
fn a_uniform_walk_reaches_every_interleaving() {
    let model = Model { threads: vec![vec![0; 3]; 2] };
    let mut seen = std::collections::HashSet::new();
    for index in 0..2_000 {
        seen.insert(model.run(&mut chooser(Strategy::Random, index, 0, 0)).0);
    }
    assert_eq!(seen.len(), 20); // 6 over 3
}

#[test]
fn equal_seeds_draw_equal_runs() {
    let model = Model { threads: vec![vec![1, 2, 3, 1]; 3] };
    for strategy in [Strategy::Pct, Strategy::Pos, Strategy::Random] {
        for index in 0..20 {
            let run = || model.run(&mut chooser(strategy, index, 3, 12));
            assert_eq!(run(), run());
        }
    }
}

/// All schedules of a model with at most `bound` preemptions, as the command's search walks them: a prefix, then the
/// default; and then every other choice behind the prefix.
fn exhaustive(model: &Model, bound: u32) -> usize {
    let (mut open, mut count) = (vec![(Vec::new(), 0)], 0);
    while let Some((prefix, cost)) = open.pop() {
        count += 1;
        let decisions = replay(model, &prefix);
        for (at, &(options, preempts)) in decisions.iter().enumerate().skip(prefix.len()) {
            for other in 1..options {
                let cost = cost + u32::from(preempts);
                if cost <= bound {
                    let mut longer = prefix.clone();
                    longer.resize(at, 0);
                    longer.push(other);
                    open.push((longer, cost));
                }
            }
        }
    }
    count
}

/// Runs a prefix and then the default; the options of each decision, and whether another choice preempts.
fn replay(model: &Model, prefix: &[usize]) -> Vec<(usize, bool)> {
    let mut done = vec![0; model.threads.len()];
    let (mut current, mut decisions) = (0, Vec::new());
    loop {
        let mut ready: Vec<usize> =
            (0..model.threads.len()).filter(|&t| done[t] < model.threads[t].len()).collect();
        let goes_on = ready.contains(&current);
        ready.sort_by_key(|&thread| thread != current);
        if ready.is_empty() {
            return decisions;
        }
        let mut chosen = 0;
        if ready.len() > 1 {
            chosen = prefix.get(decisions.len()).copied().unwrap_or(0);
            decisions.push((ready.len(), goes_on && done.iter().any(|&d| d > 0)));
        }
        current = ready[chosen];
        done[current] += 1;
    }
}

#[test]
fn exhaustive_counts_are_those_of_the_formula() {
    // Two threads of n steps: 2 orders without a preemption. With exactly one, at one of n - 1 places of the thread that
    // begins: 2 (n - 1) more.
    for n in 2..6 {
        let model = Model { threads: vec![vec![0; n]; 2] };
        assert_eq!(exhaustive(&model, 0), 2, "n = {n}");
        assert_eq!(exhaustive(&model, 1), 2 + 2 * (n - 1), "n = {n}");
    }
    // Without a bound: all interleavings, 2n over n.
    let model = Model { threads: vec![vec![0; 4]; 2] };
    assert_eq!(exhaustive(&model, u32::MAX / 2), 70);
}
