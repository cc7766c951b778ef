//! Waits in words, for messages and dumps. Takes no lock, allocates nothing and only reads.

use crate::probe::text::{LineBuf, Seconds};
use crate::sched::describe::Name;
use crate::state::gil_word::Gil;
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::wait_record::{self, Wait, WaitKind};
use core::fmt::Write;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Most states and interpreters that one search looks at, however the lists look.
const MOST: usize = 10_000;

/// Appends ", waits 0.2 s for mutex 0x..", if the thread of `tstate` waits.
pub(crate) fn push_wait_of<const N: usize>(
    line: &mut LineBuf<N>,
    tstate: ThreadStateRef,
    now: i64,
) {
    if let Some(wait) = wait_record::of_thread(tstate.native_id() as usize) {
        let _ = line.write_str(", ");
        push_wait(line, &wait, now);
    }
}

/// Appends "waits 0.2 s for mutex 0x..".
pub(crate) fn push_wait<const N: usize>(line: &mut LineBuf<N>, wait: &Wait, now: i64) {
    let object = wait.object;
    let _ = write!(line, "waits {} s for ", Seconds(now - wait.since_ns));
    let _ = match wait.kind {
        WaitKind::Gil => return push_gil(line, object),
        WaitKind::Join => {
            let _ = line.write_str("the end of ");
            return push_joined(line, object);
        }
        WaitKind::Threads => return push_interp(line, "the threads of", object),
        WaitKind::Mutex => write!(line, "mutex 0x{object:x}"),
        WaitKind::ThreadLock => write!(line, "PyThread lock 0x{object:x}"),
        WaitKind::RawMutex => write!(line, "raw mutex 0x{object:x}"),
        WaitKind::RwMutex => write!(line, "readers-writer mutex 0x{object:x}"),
        WaitKind::Event => write!(line, "event 0x{object:x}"),
        WaitKind::Once => write!(line, "once flag 0x{object:x}"),
        WaitKind::ParkingLot => write!(line, "a wake-up on address 0x{object:x}"),
        WaitKind::Guards => line.write_str("the guards of its interpreter to be closed"),
        WaitKind::Throttled => line.write_str("a guard, which finalization puts off"),
        WaitKind::InterpreterEnd => line.write_str("the end of an interpreter"),
        WaitKind::RuntimeEnd => line.write_str("the end of the runtime's finalization"),
        WaitKind::PauseEnd => line.write_str("the end of a stop-the-world pause"),
        WaitKind::PauseBegin => line.write_str("threads to stop for a pause"),
        WaitKind::RegionEnd => line.write_str("the unblock function of its blocking region"),
    };
}

/// Appends "the GIL of interpreter 0, held by thread 'A' (tid 11)".
fn push_gil<const N: usize>(line: &mut LineBuf<N>, address: usize) {
    let of = |interp: &Interp| {
        interp.gil.load(Relaxed).filter(|gil| core::ptr::from_ref::<Gil>(gil).addr() == address)
    };
    let Some((interp, gil)) = interps().find_map(|one| of(&one).map(|gil| (one, gil))) else {
        let _ = line.write_str("the GIL of an interpreter that is gone");
        return;
    };
    let _ = write!(line, "the GIL of interpreter {}", interp.id());
    let holder = ThreadStateRef::holder_of(gil);
    if let Some(holder) = holder.filter(|one| one.holds_gil().load(Relaxed) != 0) {
        let _ = line.write_str(", held by ");
        push_thread(line, holder.native_id() as usize);
    }
}

/// Appends "the threads of interpreter 0".
fn push_interp<const N: usize>(line: &mut LineBuf<N>, what: &str, address: usize) {
    let _ = match interps().find(|one| one.as_ptr().addr() == address) {
        Some(interp) => write!(line, "{what} interpreter {}", interp.id()),
        None => write!(line, "{what} an interpreter that is gone"),
    };
}

/// Appends "thread 'A' (tid 11)".
pub(crate) fn push_thread<const N: usize>(line: &mut LineBuf<N>, tid: usize) {
    let name = state_of(tid).map(|tstate| tstate.name()).filter(|name| name[0] != 0);
    let _ = match name {
        Some(name) => write!(line, "thread '{}' (tid {tid})", Name(&name)),
        None => write!(line, "thread (tid {tid})"),
    };
}

/// Appends the thread of an identity, which is known from the start of a thread on; its kernel id
/// is known once it runs.
fn push_joined<const N: usize>(line: &mut LineBuf<N>, identity: usize) {
    let _ = match find_state(|one| one.thread_id() as usize == identity) {
        Some(tstate) if tstate.name()[0] != 0 => {
            write!(line, "thread '{}' (tid {})", Name(&tstate.name()), tstate.native_id())
        }
        Some(tstate) => write!(line, "thread (tid {})", tstate.native_id()),
        None => write!(line, "a thread whose state is gone (0x{identity:x})"),
    };
}

fn interps() -> impl Iterator<Item = Interp> {
    let first = RUNTIME.interpreters.load(Acquire);
    core::iter::successors(first, |one| one.next.load(Acquire)).take(MOST)
}

/// A state of the thread with a kernel id, if it has one. Lists are walked as a debugger would.
pub(crate) fn state_of(tid: usize) -> Option<ThreadStateRef> {
    find_state(|one| one.native_id() as usize == tid)
}

fn find_state(wanted: impl Fn(&ThreadStateRef) -> bool) -> Option<ThreadStateRef> {
    let states = |interp: Interp| {
        core::iter::successors(interp.threads.load(Acquire), |one| one.next().load(Acquire))
    };
    interps().flat_map(states).take(MOST).find(|one| wanted(one))
}
