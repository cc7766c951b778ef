//! What is written into the area: rows of decisions, threads, names, modules; counts and digests.

use super::park::Scratch;
use super::threads::{Life, Wait, hash, mix};
use super::{Engine, NO_THREAD, points};
use crate::protocol::{
    Area, Kind, MODULES, OUTSIDES, OutsideRow, POINT_NAME, POINTS, STEPS, StepRow, THREAD_NAME,
    ThreadState, step_flag,
};
use crate::strategy::Candidate;

/// Hashes of the names of points.
static HASHES: Scratch<[u64; POINTS]> = Scratch::new([0; POINTS]);

fn copy_name(place: &mut [u8], name: &[u8]) {
    let length = name.len().min(place.len() - 1);
    place[..length].copy_from_slice(&name[..length]);
    place[length..].fill(0);
}

impl Engine {
    pub(super) fn area(&mut self) -> &mut Area {
        // SAFETY: mapped in `config::begin`, never unmapped; engine G1.
        unsafe { &mut *self.area }
    }

    pub(super) fn area_ref(&self) -> &Area {
        // SAFETY: as above.
        unsafe { &*self.area }
    }

    /// Writes the names of this library's points.
    pub(super) fn note_points(&mut self) {
        for name in points::NAMES {
            let _ = self.add_point(name.as_bytes());
        }
    }

    /// The number of the point with this name, new if it was not known; `None` if the table is full.
    pub(crate) fn add_point(&mut self, name: &[u8]) -> Option<u16> {
        let name = &name[..name.len().min(POINT_NAME - 1)];
        let hashed = hash(name);
        let count = self.area_ref().report.points as usize;
        let area = self.area();
        let known = HASHES.with(|hashes| hashes[..count].iter().position(|&other| other == hashed));
        if let Some(known) = known {
            return Some(known as u16);
        }
        copy_name(area.points.get_mut(count)?, name);
        area.report.points = count as u32 + 1;
        HASHES.with(|hashes| hashes[count] = hashed);
        Some(count as u16)
    }

    pub(super) fn point_hash(point: u16) -> u64 {
        HASHES.with(|hashes| hashes[usize::from(point)])
    }

    /// A thread came to be, or ended.
    pub(super) fn note_thread(&mut self, number: u16) {
        let count = self.count as u32;
        let thread = self.thread(number);
        let (path, start, gone) = (
            thread.path,
            thread.start.map_or(0, |start| start as usize),
            thread.life == Life::Gone,
        );
        let row = &mut self.area().threads[usize::from(number)];
        row.path = path;
        row.start = start as u64;
        row.state = if gone { ThreadState::Gone as u32 } else { ThreadState::Ready as u32 };
        self.area().report.threads = count;
    }

    pub(crate) fn note_name(&mut self, number: u16, name: &[u8]) {
        let mut place = [0_u8; THREAD_NAME];
        copy_name(&mut place, name);
        self.area().threads[usize::from(number)].name = place;
    }

    pub(super) fn note_state(&mut self, number: u16, state: ThreadState) {
        self.area().threads[usize::from(number)].state = state as u32;
    }

    /// Fills in where every thread stands: for the picture of a deadlock.
    pub(super) fn note_all_threads(&mut self) {
        for at in 0..self.live_count {
            let number = self.live[at];
            self.note_place(number);
            let thread = self.thread(number);
            let state = match (thread.hung, thread.outside, thread.wait, thread.deadline) {
                (true, ..) => ThreadState::Hung,
                (_, true, ..) => ThreadState::Outside,
                (_, _, Wait::Nothing, _) => ThreadState::Ready,
                (.., super::clock::NEVER) => ThreadState::Blocked,
                _ => ThreadState::Timed,
            };
            self.note_state(number, state);
        }
    }

    fn note_place(&mut self, number: u16) {
        let holder = self.holder(number);
        let thread = self.thread(number);
        let (op, object) = (thread.op, thread.ordinal);
        let row = &mut self.area().threads[usize::from(number)];
        row.point = op.point.into();
        row.object = object;
        row.place = op.place as u64;
        row.holder = if holder == NO_THREAD { 0 } else { u32::from(holder) + 1 };
    }

    /// The thread that holds what `number` waits for.
    pub(super) fn holder(&mut self, number: u16) -> u16 {
        match self.thread(number).wait {
            Wait::Mutex(at) | Wait::Read(at) | Wait::Write(at) => {
                self.objects.known(at).map_or(NO_THREAD, |object| object.owner)
            }
            Wait::Gone(other) => other,
            _ => NO_THREAD,
        }
    }

    /// Counts a decision with two or more candidates; its number.
    pub(super) fn count_choice(&mut self) -> u64 {
        let report = &mut self.area().report;
        report.k += 1;
        report.k.into()
    }

    /// The next choice of the prefix, 0 behind it.
    pub(super) fn next_of_prefix(&mut self, options: usize) -> usize {
        let area = self.area_ref();
        let at = (area.report.items_applied + area.report.items_refused) as usize;
        if at >= area.request.prefix_len as usize {
            return 0;
        }
        let chosen = usize::from(area.prefix[at]);
        let fits = chosen < options;
        self.count_item(fits);
        if fits { chosen } else { 0 }
    }

    /// An item's place has come.
    pub(super) fn count_item(&mut self, applied: bool) {
        let report = &mut self.area().report;
        if applied {
            report.items_applied += 1;
        } else {
            report.items_refused += 1;
        }
    }

    /// Logs a decision. The threads' `op`s are still those of before.
    pub(super) fn log_step(
        &mut self,
        came: u16,
        candidates: &[Candidate],
        chosen: usize,
        flags: u8,
    ) {
        let enabled = candidates.iter().fold(0_u64, |sum, candidate| {
            let path = self.threads[usize::from(candidate.thread)].path_hash;
            sum.wrapping_add(mix(path, candidate.timer.into()))
        });
        let choice = candidates[chosen];
        self.log_row(came, choice.thread, enabled, candidates.len(), chosen, flags);
        self.note_access(choice.thread);
    }

    /// Logs which waiter was woken.
    pub(super) fn log_wake(&mut self, came: u16, waiters: &[u16], chosen: usize) {
        let enabled = waiters.iter().fold(1_u64, |sum, &waiter| {
            sum.wrapping_add(mix(self.threads[usize::from(waiter)].path_hash, 2))
        });
        self.log_row(came, waiters[chosen], enabled, waiters.len(), chosen, step_flag::WAKE);
    }

    fn log_row(
        &mut self,
        came: u16,
        next: u16,
        enabled: u64,
        options: usize,
        chosen: usize,
        flags: u8,
    ) {
        let next_hash = self.thread(next).path_hash;
        let time_ns = self.clock.now();
        self.note_place(came);
        let thread = self.thread(came);
        let (op, object, path) = (thread.op, thread.ordinal, thread.path_hash);
        let passage = thread.passages[usize::from(op.point)];
        let area = self.area();
        let report = &mut area.report;
        let mut digest = report.digest;
        for value in [path, Self::point_hash(op.point), object.into(), enabled, next_hash] {
            digest = mix(digest, value);
        }
        report.digest = digest;
        report.last_thread = came.into();
        report.time_ns = time_ns;
        let step = report.steps as usize;
        report.steps += 1;
        if step < STEPS {
            area.steps[step] = StepRow {
                thread: came,
                next,
                point: op.point,
                kind: op.kind as u8,
                flags,
                object,
                passage,
                enabled: enabled as u32,
                options: options.min(usize::from(u16::MAX)) as u16,
                chosen: chosen.min(usize::from(u16::MAX)) as u16,
                place: op.place as u64,
                time_ns,
            };
        }
    }

    /// The chosen thread is about to touch its object: the order of accesses goes into `order_digest`.
    fn note_access(&mut self, number: u16) {
        let thread = self.thread(number);
        let (op, path) = (thread.op, thread.path_hash);
        if op.object == 0 || matches!(op.kind, Kind::None | Kind::Life) {
            return;
        }
        let Some(object) = self.objects.known(op.object) else { return };
        let before = mix(object.history, object.ordinal.into());
        object.history = mix(object.history, mix(path, op.kind as u64));
        let after = mix(object.history, object.ordinal.into());
        let digest = &mut self.area().report.order_digest;
        *digest = digest.wrapping_sub(before).wrapping_add(after);
    }

    /// A thread was found outside, after the decision that is the last one now.
    pub(super) fn note_outside(&mut self, number: u16, syscall: u32) {
        let place = self.thread(number).op.place as u64;
        let area = self.area();
        let out = area.report.steps;
        let logged = (out as usize).min(STEPS);
        if let Some(row) = area.steps[..logged].iter_mut().rev().find(|row| row.thread == number) {
            row.flags |= step_flag::OUTSIDE;
        }
        let at = area.report.outsides as usize;
        area.report.outsides += 1;
        if at < OUTSIDES {
            area.outsides[at] = OutsideRow { thread: number.into(), syscall, out, back: 0, place };
        }
    }

    /// It is back.
    pub(super) fn note_back(&mut self, number: u16) {
        let area = self.area();
        let step = area.report.steps.max(1);
        let count = (area.report.outsides as usize).min(OUTSIDES);
        let rows = area.outsides[..count].iter_mut().rev();
        if let Some(row) =
            rows.into_iter().find(|row| row.thread == u32::from(number) && row.back == 0)
        {
            row.back = step;
        }
    }

    /// The loaded files, if there are more than were written already.
    pub(crate) fn note_modules(&mut self) {
        let count = super::text::count_modules();
        if count == self.area_ref().report.modules as usize || self.is_child {
            return;
        }
        let area = self.area();
        area.report.modules = super::text::write_modules(&mut area.modules).min(MODULES) as u32;
    }

    /// A call of pytstate was seen.
    pub(crate) fn note_library(&mut self) {
        self.area().report.library = 1;
    }
}
