//! Where events wait until they are written: a few buffers of fixed size, shared by all threads.
//!
//! A thread always uses the same buffer, so its events stay in order. The thread that fills a
//! buffer writes it out, so memory is bounded, nothing is lost, and threads seldom meet.
//!
//! RING-1: `rows[..len]` belong to the trace `generation`; 0 = no trace.
//! RING-2: A buffer's monitor is entered before the file's, never the other way.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::file::{Phase, Row, TraceFile};
use crate::probe::monitor::Monitor;
use crate::sync::fork_lock::{ForkRow, fork_row};

const RINGS: usize = 8;
/// Events that a buffer holds.
const ROWS: usize = 512;

struct Ring {
    generation: u32,
    len: usize,
    rows: [Row; ROWS],
}

const EMPTY_ROW: Row = Row { at_ns: 0, interp: 0, thread: 0, name: "", phase: Phase::Instant };

static BUFFERS: [Monitor<Ring>; RINGS] =
    [const { Monitor::new(Ring { generation: 0, len: 0, rows: [EMPTY_ROW; ROWS] }) }; RINGS];

/// The lock's row of the fork table.
pub(in crate::probe) static BUFFERS_ROW: [ForkRow; 1] = [fork_row!(BUFFERS)];

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The trace's file. Entered alone, or with one buffer held (RING-2).
pub(super) static FILE: Monitor<TraceFile> = Monitor::new(TraceFile::none());

/// The lock's row of the fork table.
pub(in crate::probe) static FILE_ROW: [ForkRow; 1] = [fork_row!(FILE)];

/// A buffer for a thread that has none.
pub(in crate::probe) fn choose() -> usize {
    NEXT.fetch_add(1, Relaxed) % RINGS
}

/// Keeps some rows of one thread; dropped if they belong to a trace that has ended.
pub(in crate::probe) fn push(buffer: usize, generation: u32, rows: &[Row]) {
    let mut ring = BUFFERS[buffer].enter();
    if ring.generation != generation {
        return;
    }
    for row in rows {
        if ring.len == ROWS {
            ring.write_out();
        }
        let at = ring.len;
        ring.rows[at] = *row;
        ring.len += 1;
    }
}

/// Empties all buffers; from then on they take the rows of this trace (0: of none).
pub(super) fn begin(generation: u32) {
    for buffer in &BUFFERS {
        let mut ring = buffer.enter();
        ring.len = 0;
        ring.generation = generation;
    }
}

/// Writes all buffers to the file.
pub(super) fn write_out() {
    for buffer in &BUFFERS {
        buffer.enter().write_out();
    }
}

impl Ring {
    fn write_out(&mut self) {
        let mut file = FILE.enter();
        if file.is_open() {
            for row in &self.rows[..self.len] {
                file.add(row);
            }
        }
        self.len = 0;
    }
}
