//! The beginning: what the environment asks for, the area, the first thread; and the beginning in a fork child.

use core::ffi::CStr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use super::threads::{Life, Wait};
use super::{Engine, GATE, Held, ME, NO_THREAD, enter};
use crate::protocol::{
    Area, ITEMS, Item, MAGIC, Request, SCHEDULE_VARIABLE, Schedule, Status, Strategy, VARIABLE,
    VERSION, request_flag,
};
use crate::strategy::Draw;
use crate::sys;

/// A page that a fork child sees empty: nonzero in a process that has begun.
static BEGUN: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());

/// True once in a fork child.
pub(super) fn is_new_process() -> bool {
    let page = BEGUN.load(Relaxed);
    // SAFETY: mapped in `begin`, never unmapped.
    let Some(word) = (unsafe { page.as_ref() }) else { return false };
    if word.load(Relaxed) != 0 {
        return false;
    }
    word.store(1, Relaxed);
    // The thread that held the gate exists only in the parent.
    GATE.store(0, Relaxed);
    true
}

/// The value of a variable.
fn variable(name: &str) -> Option<String> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: NUL-terminated; nothing changes the environment before main.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv's strings are NUL-terminated.
    let value = unsafe { CStr::from_ptr(value) };
    Some(value.to_str().ok()?.into())
}

/// Maps `size` bytes of a file, or of nothing.
fn map(path: Option<&str>, size: usize) -> Option<*mut u8> {
    let (mut file, mut flags) = (-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    if let Some(path) = path {
        let path = std::ffi::CString::new(path).ok()?;
        // SAFETY: the path is NUL-terminated.
        file = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        flags = libc::MAP_SHARED;
        if file < 0 {
            return None;
        }
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let area = unsafe {
        libc::mmap(core::ptr::null_mut(), size, access, flags | libc::MAP_NORESERVE, file, 0)
    };
    if file >= 0 {
        // SAFETY: opened above.
        unsafe { libc::close(file) };
    }
    (area != libc::MAP_FAILED).then(|| area.cast())
}

/// Reads a whole file; with malloc, so before `main` only.
fn read_whole(path: &str) -> Option<Vec<u8>> {
    let path = std::ffi::CString::new(path).ok()?;
    // SAFETY: the path is NUL-terminated.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    let mut text = Vec::new();
    let mut part = [0_u8; 4096];
    loop {
        // Not `libc::read`: within this library that name is the interposed function.
        let args = [file as usize, part.as_mut_ptr().expose_provenance(), part.len(), 0, 0, 0];
        // SAFETY: `part` is writable for its whole length.
        let got = unsafe { sys::call(libc::SYS_read, args) };
        let Ok(got @ 1..) = usize::try_from(got) else { break };
        text.extend_from_slice(&part[..got]);
    }
    // SAFETY: opened above.
    unsafe { libc::close(file) };
    Some(text)
}

/// What the environment asks for.
struct Asked {
    shm: Option<String>,
    request: Request,
    items: Vec<Item>,
    verbose: bool,
}

fn asked() -> Option<Asked> {
    // SAFETY: all of a request's bit patterns are valid.
    let request: Request = unsafe { core::mem::zeroed() };
    let mut asked = Asked { shm: None, request, items: Vec::new(), verbose: false };
    asked.request.magic = MAGIC;
    asked.request.version = VERSION;
    let Some(text) = variable(VARIABLE) else {
        let path = variable(SCHEDULE_VARIABLE)?;
        asked.request.flags |= request_flag::ABORT;
        take_schedule(&mut asked, &path)?;
        leave_word(&path);
        return Some(asked);
    };
    for pair in text.split_whitespace() {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let number: u64 = value.parse().unwrap_or(0);
        let request = &mut asked.request;
        match name {
            "shm" => asked.shm = Some(value.into()),
            "strategy" => {
                let names = ["default", "pct", "pos", "random", "prefix", "items"];
                request.strategy = names.iter().position(|&name| name == value).unwrap_or(0) as u32;
            }
            "seed" => request.seed = number,
            "index" => request.index = number,
            "depth" => request.depth = number as u32,
            "k" => request.k = number as u32,
            "flags" => request.flags = number as u32,
            "cpu" => request.cpu = number as u32,
            "pid" if number != u64::from(sys::getpid().unsigned_abs()) => return None,
            "verbose" => asked.verbose = number != 0,
            "schedule" => take_schedule(&mut asked, value)?,
            _ => {}
        }
    }
    Some(asked)
}

/// A program that this process starts is not meant by the schedule; one that it becomes is.
fn leave_word(path: &str) {
    let word = format!("pid={} flags={} schedule={path}", sys::getpid(), request_flag::ABORT);
    let (name, word) = (std::ffi::CString::new(VARIABLE), std::ffi::CString::new(word));
    if let (Ok(name), Ok(word)) = (name, word) {
        // SAFETY: both are NUL-terminated; there is one thread.
        unsafe { libc::setenv(name.as_ptr(), word.as_ptr(), 1) };
    }
}

/// Takes the request from a schedule file.
fn take_schedule(asked: &mut Asked, path: &str) -> Option<()> {
    let read = read_whole(path).and_then(|text| serde_json::from_slice::<Schedule>(&text).ok());
    let Some(schedule) = read else {
        sys::complain(b"pytstate: the schedule file cannot be read, or is damaged: ");
        sys::complain(path.as_bytes());
        sys::complain(b"\n");
        sys::exit_group(2);
    };
    asked.request.strategy = Strategy::Items as u32;
    asked.request.seed = schedule.seed;
    asked.request.index = schedule.index;
    asked.request.epoch_ns = schedule.epoch_ns;
    asked.request.flags |= schedule.flags;
    asked.items = schedule.switches;
    Some(())
}

/// Begins control of this process, if the environment asks for it. Called once, before `main`.
pub(crate) fn begin() {
    let Some(asked) = asked() else { return };
    let shared = asked.shm.is_some();
    let Some(area) = map(asked.shm.as_deref(), size_of::<Area>()) else {
        sys::complain(
            b"pytstate: the area that PYTSTATE_CONTROL names cannot be mapped; not controlled\n",
        );
        return;
    };
    let Some(page) = map(None, 4096) else { return };
    // SAFETY: mapped above.
    unsafe { libc::madvise(page.cast(), 4096, libc::MADV_WIPEONFORK) };
    let area: *mut Area = area.cast();
    let mut held = enter();
    held.to_wake = NO_THREAD;
    held.area = area;
    if !shared {
        held.area().request = asked.request;
    }
    if !held.begin_area(&asked.items) {
        return;
    }
    held.limits.verbose = asked.verbose;
    // SAFETY: a page of its own.
    unsafe { &*page.cast::<AtomicU32>() }.store(1, Relaxed);
    BEGUN.store(page.cast(), Relaxed);
    held.begin_run();
    let main = held.add_thread(None);
    ME.set(u32::from(main) + 1);
    held.running = main;
    // SAFETY: no preconditions.
    held.thread(main).pthread = unsafe { libc::pthread_self() };
    held.thread(main).tid.store(sys::gettid(), Relaxed);
    held.note_modules();
}

impl Engine {
    /// Makes the area ready for this process image; false if it is not ours.
    fn begin_area(&mut self, items: &[Item]) -> bool {
        let pid = sys::getpid();
        self.pid = pid;
        let area = self.area();
        if area.request.magic != MAGIC || area.request.version != VERSION {
            area.report.status = Status::BadVersion as u32;
            return false;
        }
        if area.report.pid != 0 && area.report.pid != pid as u32 {
            // A program that a child of the controlled process has started.
            return false;
        }
        let execs = if area.report.pid == 0 { 0 } else { area.report.execs + 1 };
        // SAFETY: all of a report's bit patterns are valid.
        area.report = unsafe { core::mem::zeroed() };
        area.report.execs = execs;
        area.report.pid = pid as u32;
        area.report.status = Status::Running as u32;
        let length = (area.request.items_len as usize).min(ITEMS);
        let lines = core::str::from_utf8(&area.items[..length]).unwrap_or("");
        let given: Vec<Item> = lines.lines().filter_map(Item::from_line).collect();
        let is_items = area.request.strategy == Strategy::Items as u32;
        if is_items {
            self.items.set(if given.is_empty() { items } else { &given });
        }
        true
    }

    fn begin_run(&mut self) {
        let request = self.area().request;
        self.note_points();
        (self.watcher, self.dying, self.heir, self.running) =
            (NO_THREAD, NO_THREAD, NO_THREAD, NO_THREAD);
        let or = |value: u32, default: u64| if value == 0 { default } else { value.into() };
        let k = or(request.k, 100);
        // As long as nothing is known of the program, it may be a long one; the default needs no fairness to end.
        let unknown = match (request.k, request.strategy == Strategy::Default as u32) {
            (_, true) => 200_000,
            (0, false) => 20_000,
            _ => 0,
        };
        self.limits.unfair = or(request.unfair_limit, (10 * k).max(2_000).max(unknown));
        self.limits.fair = or(request.fair_limit, 10 * self.limits.unfair);
        self.limits.patience_ns =
            if request.patience_ns == 0 { 1_000_000_000 } else { request.patience_ns };
        self.limits.flags = request.flags;
        self.limits.strategy = request.strategy;
        self.clock.set_epoch(request.epoch_ns);
        let depth = if request.depth == 0 { 3 } else { request.depth };
        self.chooser.start(&Request { k: k as u32, depth, ..request });
        self.random = Draw::of_run(request.seed, u64::MAX);
        if request.cpu != 0 {
            pin(request.cpu as usize - 1);
        }
    }
}

/// Keeps the process on one processor: handing the token over is cheapest there.
fn pin(cpu: usize) {
    // SAFETY: an empty set is all zero.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return;
    }
    // SAFETY: the number is in range.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: reads the set. A refusal costs speed only.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

impl Held {
    /// The caller is the only thread of a fork child: a world of its own, which is not recorded.
    pub(super) fn become_child(&mut self) {
        let me = (ME.get().wrapping_sub(1)) as u16;
        let Some(own) = map(None, size_of::<Area>()) else {
            super::stop::give_up(b"no memory in a fork child")
        };
        let own: *mut Area = own.cast();
        // SAFETY: mapped above, and nobody else's; all of its bit patterns are valid.
        let fresh = unsafe { &mut *own };
        fresh.request = self.area_ref().request;
        fresh.report = self.area_ref().report;
        fresh.points = self.area_ref().points;
        self.area = own;
        self.is_child = true;
        self.pid = sys::getpid();
        let request = self.area().request;
        let draw = Draw::of_run(request.seed, request.index).split(self.forks.into());
        self.forks = 0;
        let strategy = if request.index == 0 { Strategy::Default } else { pick(draw) };
        let of_child = Request { seed: draw_seed(draw), strategy: strategy as u32, ..request };
        self.limits.strategy = strategy as u32;
        self.chooser.start(&Request { k: 100, depth: 3, ..of_child });
        (self.watcher, self.dying, self.heir) = (NO_THREAD, NO_THREAD, NO_THREAD);
        self.running = me;
        for number in 0..self.count as u16 {
            if number != me && matches!(self.thread(number).life, Life::Live | Life::Dying) {
                // The locks that it held stay held: that is what the parent left behind.
                self.remove_thread(number);
                self.thread(number).wait = Wait::Nothing;
            }
        }
        if me != NO_THREAD {
            let thread = self.thread(me);
            thread.outside = false;
            thread.tid.store(sys::gettid(), Relaxed);
        }
    }
}

fn pick(mut draw: Draw) -> Strategy {
    [Strategy::Pct, Strategy::Pos, Strategy::Random][draw.below(3)]
}

fn draw_seed(mut draw: Draw) -> u64 {
    draw.next()
}
