//! Why a run is stopped, told in sentences, and the stop.

use core::fmt::Write;

use super::park::Scratch;
use super::text::Writer;
use super::threads::Wait;
use super::{Engine, NO_THREAD};
use crate::protocol::{MESSAGE, STOPPED, Status, request_flag, text};
use crate::sys;

static PLACE: Scratch<[u8; MESSAGE]> = Scratch::new([0; MESSAGE]);

/// Writes the message, and ends the process.
fn stop(
    engine: &mut Engine,
    status: Status,
    write: impl FnOnce(&mut Engine, &mut Writer<'_>),
) -> ! {
    engine.note_all_threads();
    PLACE.with(|place| {
        let mut writer = Writer::new(place);
        write(engine, &mut writer);
        let text = writer.bytes();
        let aborts = engine.limits.flags & request_flag::ABORT != 0;
        if engine.is_child || engine.limits.verbose || aborts {
            sys::complain(b"pytstate: ");
            sys::complain(text);
        }
        let is_child = engine.is_child;
        let area = engine.area();
        if !is_child {
            area.message[..text.len()].copy_from_slice(text);
            area.report.message_len = text.len() as u32;
            area.report.status = status as u32;
        }
        if engine.limits.verbose {
            engine.tell();
        }
        if aborts {
            sys::abort();
        }
    });
    sys::exit_group(STOPPED)
}

/// No thread can go on.
pub(super) fn deadlock(engine: &mut Engine, last: u16) -> ! {
    engine.area().report.last_thread = last.into();
    stop(engine, Status::Deadlock, |engine, out| {
        let _ = writeln!(out, "deadlock: no thread can go on");
        tell_threads(engine, out);
    })
}

/// The step limit was reached in the fair tail.
pub(super) fn livelock(engine: &mut Engine, last: u16) -> ! {
    engine.area().report.last_thread = last.into();
    stop(engine, Status::Livelock, |engine, out| {
        let steps = engine.area_ref().report.k;
        let _ = writeln!(
            out,
            "livelock: the program has not ended after {steps} decisions, the last of them fair"
        );
        tell_threads(engine, out);
    })
}

/// The running thread comes to no point.
pub(super) fn spins(engine: &mut Engine, running: u16) -> ! {
    engine.area().report.last_thread = running.into();
    stop(engine, Status::SpinsOutside, |engine, out| {
        let _ = write!(out, "given up: ");
        name(engine, running, out);
        let _ = write!(
            out,
            " runs without coming to a point, and no other thread can go on; its last point was "
        );
        let point = engine.thread(running).op.point;
        let _ = writeln!(out, "{}", point_name(engine, point));
    })
}

/// A table of this library is full.
pub(super) fn give_up(why: &[u8]) -> ! {
    sys::complain(b"pytstate: the run is given up: ");
    sys::complain(why);
    sys::complain(b"\n");
    // SAFETY: G1: the caller holds the engine, and does not go on.
    let engine = unsafe { &mut *super::ENGINE.0.get() };
    if !engine.area.is_null() && !engine.is_child {
        let area = engine.area();
        area.message[..why.len()].copy_from_slice(why);
        area.report.message_len = why.len() as u32;
        area.report.status = Status::GivenUp as u32;
    }
    sys::exit_group(STOPPED)
}

/// The program leaves in an orderly way.
pub(super) fn note_ended(engine: &mut Engine) {
    if !engine.is_child {
        engine.area().report.status = Status::Ended as u32;
    }
    engine.note_modules();
    if engine.limits.verbose {
        engine.tell();
    }
}

fn point_name(engine: &Engine, point: u16) -> &str {
    text(&engine.area_ref().points[usize::from(point)])
}

fn name(engine: &mut Engine, thread: u16, out: &mut Writer<'_>) {
    let row = &engine.area_ref().threads[usize::from(thread)];
    let _ = match text(&row.name) {
        "" => out.write_str(text(&row.path)),
        name => write!(out, "{name} ({})", text(&row.path)),
    };
}

fn tell_threads(engine: &mut Engine, out: &mut Writer<'_>) {
    for at in 0..engine.live_count {
        let number = engine.live[at];
        let holder = engine.holder(number);
        let thread = engine.thread(number);
        let (op, ordinal, wait) = (thread.op, thread.ordinal, thread.wait);
        let (hung, outside) = (thread.hung, thread.outside);
        name(engine, number, out);
        let point = point_name(engine, op.point);
        let _ = match (hung, outside, wait) {
            (true, ..) => write!(out, " hangs by design, as a late thread"),
            (_, true, _) => write!(out, " is blocked outside, after {point}"),
            (.., Wait::Nothing) => write!(out, " can go on at {point}"),
            (.., Wait::Gone(_)) => write!(out, " waits in {point} for the end of a thread"),
            _ if ordinal == 0 => write!(out, " waits in {point}"),
            _ => write!(out, " waits in {point} for object {ordinal}"),
        };
        if holder != NO_THREAD {
            let ends = matches!(wait, Wait::Gone(_));
            let _ = out.write_str(if ends { ": " } else { ", held by " });
            name(engine, holder, out);
        }
        let _ = out.write_str("\n");
    }
}

impl Engine {
    /// The counts of a run by hand, on standard error.
    fn tell(&mut self) {
        let mut place = [0_u8; 256];
        let mut out = Writer::new(&mut place);
        let report = &self.area_ref().report;
        let _ = writeln!(
            out,
            "pytstate: status {}, {} threads, {} decisions, {} with a choice, digest {:016x}, order {:016x}",
            report.status,
            report.threads,
            report.steps,
            report.k,
            report.digest,
            report.order_digest
        );
        sys::complain(out.bytes());
    }
}
