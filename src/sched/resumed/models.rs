//! Models of a whole pause, each with three threads. Attached threads read one
//! cell, the thread that stopped them writes it: loom reports two of them at it
//! at once, and a read that is not ordered after the write. A lost wake-up is a
//! deadlock. The gate that gives requesters their turn is a mutex here.

use super::*;
use crate::os::futex;
use crate::state::pause::{self, Member, NONE, OWED, Pause, STOOD};
use crate::state::word::TryAttach;
use crate::sync::models::{FROZEN, explore, explore_with};
use crate::sync::planted::Bug;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

struct State {
    word: AtomicI32,
    waits_for_pause: AtomicU32,
    asked: AtomicU32,
}

impl State {
    fn key(&self) -> *const () {
        core::ptr::from_ref(&self.word).cast()
    }
}

impl Member for &State {
    fn word(&self) -> &AtomicI32 {
        &self.word
    }
    fn waits_for_pause(&self) -> &AtomicU32 {
        &self.waits_for_pause
    }
    fn ask(&self) {
        self.asked.store(1, Relaxed);
    }
    fn stop_asking(&self) {
        self.asked.store(0, Relaxed);
    }
    fn wake(&self) {
        lot::unpark_all(self.key());
    }
}

struct Host {
    /// The head lock, and how many of `states` are linked.
    head: Mutex<usize>,
    turn: Mutex<()>,
    pause: Pause,
    states: [State; 2],
    world: UnsafeCell<u32>,
}

// SAFETY: loom checks it, which is the point.
unsafe impl Sync for Host {}
// SAFETY: as above.
unsafe impl Send for Host {}

/// One linked state per value, its word as given; the others can join later.
fn host(words: &[i32]) -> Arc<Host> {
    let state = |index: usize| State {
        word: AtomicI32::new(words.get(index).copied().unwrap_or(word::DETACHED)),
        waits_for_pause: AtomicU32::new(NONE),
        asked: AtomicU32::new(0),
    };
    Arc::new(Host {
        head: Mutex::new(words.len()),
        turn: Mutex::new(()),
        pause: Pause::new(),
        states: [state(0), state(1)],
        world: UnsafeCell::new(0),
    })
}

impl Host {
    /// What an attached thread does: it finds nobody's pause complete.
    fn run(&self) {
        assert!(!self.pause.is_stopped(), "a thread that runs finds its scope stopped");
        // SAFETY: loom reports it if another thread writes.
        let _ = self.world.with(|world| unsafe { *world });
    }

    /// The last poll of an attached thread: stands if it is asked, else detaches.
    fn leave(&self, state: &State) {
        let head = self.head.lock().unwrap();
        let asked = self.pause.is_requested().then_some(&self.pause);
        if asked.is_some() {
            state.waits_for_pause.store(STOOD, Relaxed);
        }
        pause::stand(asked, &state.word);
        drop(head);
        if asked.is_some() {
            wait_resumed(&state.word, state.key(), &state.waits_for_pause, STOOD);
            if self.attach(state) {
                state.waits_for_pause.store(NONE, Relaxed);
                self.run();
                self.leave(state);
            }
        }
    }

    /// False: the end is committed.
    fn attach(&self, state: &State) -> bool {
        loop {
            match word::try_attach(&state.word) {
                TryAttach::Attached => return true,
                TryAttach::Suspended => {
                    wait_resumed(&state.word, state.key(), &state.waits_for_pause, OWED);
                }
                TryAttach::ShuttingDown => return false,
                TryAttach::InUse => panic!("attached twice"),
            }
        }
    }

    fn visit(&self, state: &State) -> bool {
        let attached = self.attach(state);
        if attached {
            state.waits_for_pause.store(NONE, Relaxed);
            self.run();
            self.leave(state);
        }
        attached
    }

    /// A newcomer: its state begins suspended in a pause.
    fn join(&self) -> &State {
        let mut linked = self.head.lock().unwrap();
        let state = &self.states[*linked];
        if self.pause.is_requested() {
            state.word.store(word::SUSPENDED, Relaxed);
        }
        *linked += 1;
        state
    }

    /// Stops the world, writes, starts it again; `commit`: for good.
    fn pause(&self, commit: bool) {
        let turn = self.turn.lock().unwrap();
        let linked = self.head.lock().unwrap();
        self.pause.begin(*linked as i64);
        drop(linked);
        loop {
            let seen = self.pause.progress.load(Acquire);
            let linked = self.head.lock().unwrap();
            let mut suspended = 0;
            for state in &self.states[..*linked] {
                suspended += i64::from(self.pause.suspend(&state, false));
            }
            let stopped = self.pause.count_off(suspended);
            if stopped {
                self.pause.set_stopped();
                break;
            }
            drop(linked);
            let _ = futex::wait(&self.pause.progress, seen, Deadline::NEVER);
        }
        // SAFETY: loom reports it if another thread reads or writes.
        self.world.with_mut(|world| unsafe { *world += 1 });
        let linked = self.head.lock().unwrap();
        if commit {
            self.states[..*linked].iter().for_each(|state| word::shut_down(&state.word));
        }
        self.pause.end::<&State>(|visit| self.states[..*linked].iter().for_each(|one| visit(one)));
        self.pause.clear();
        drop(linked);
        drop(turn);
    }
}

fn participant(host: &Arc<Host>, index: usize) -> thread::JoinHandle<()> {
    let host = host.clone();
    thread::spawn(move || {
        host.run();
        host.leave(&host.states[index]);
    })
}

/// A requester, a thread that runs, one that makes a state and attaches it.
fn requester_participant_newcomer() {
    let host = host(&[word::ATTACHED]);
    let running = participant(&host, 0);
    let newcomer = {
        let host = host.clone();
        thread::spawn(move || assert!(host.visit(host.join())))
    };
    host.pause(false);
    running.join().unwrap();
    newcomer.join().unwrap();
}

#[test]
fn loom_pause_requester_participant_and_newcomer() {
    explore(2, FROZEN, requester_participant_newcomer);
}

/// A requester, a second one that forks, a thread that runs.
#[test]
fn loom_pause_requester_forker_and_participant() {
    explore(2, FROZEN, || {
        let host = host(&[word::ATTACHED]);
        let running = participant(&host, 0);
        let forker = {
            let host = host.clone();
            thread::spawn(move || host.pause(false))
        };
        host.pause(false);
        running.join().unwrap();
        forker.join().unwrap();
    });
}

/// A finalization that commits, a thread that runs, one that attaches: after the
/// commit no thread attaches, and none sleeps on.
#[test]
fn loom_pause_attach_against_commit() {
    explore(2, FROZEN, || {
        let host = host(&[word::ATTACHED, word::DETACHED]);
        let running = participant(&host, 0);
        let attacher = {
            let host = host.clone();
            thread::spawn(move || {
                let first = host.visit(&host.states[1]);
                let again = host.visit(&host.states[1]);
                assert!(first || !again, "an attach after the commit");
            })
        };
        host.pause(true);
        assert!(!host.attach(&host.states[0]), "a state was not shut down");
        running.join().unwrap();
        attacher.join().unwrap();
    });
}

/// The first model with `stopped` cleared after the threads were resumed, as it
/// once was: a thread takes itself for the requester.
#[test]
#[should_panic = "a thread that runs finds its scope stopped"]
fn loom_pause_finds_stopped_cleared_late() {
    explore_with(Bug::StoppedClearedLate, 2, FROZEN, requester_participant_newcomer);
}
