//! The environment: every variable that this library reads, and the only reader.
//!
//! One row of [`variables!`] is one variable: what it means, what it may be, the function that
//! reads its text, and the place that applies it. A place asks for its own row with
//! [`Variable::get`] when it sets itself up: this layer at the first arrival at a point, `life` at
//! each initialization. `docs/environment.md` has the same table for people; a test compares the
//! two.
//!
//! ENV-1: Nothing is read in a program that has rights which its caller lacks (`docs/security.md`).
//!    That is said once.
//! ENV-2: A value that cannot be read is reported once, with the value and with what it may be, and
//!     is ignored. A variable that is set to nothing is as one that is not set.
//! ENV-3: A `PYTSTATE_` name that is in no row is reported at the first reading, with the nearest
//!    name that is.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use super::monitor::Monitor;
use super::perturb::Setting;
use super::text::{Printable, parse_seconds};
use super::{mode, nearest, recorder, table, text};
use crate::control;
use crate::os::env::{self, Var};
use crate::os::{signal, tsan};
use crate::sync::fork_lock::{ForkRow, fork_row};

/// One variable of the environment and how its text is read.
pub(crate) struct Variable<T> {
    name: &'static CStr,
    may_be: &'static str,
    parse: fn(&str) -> Option<T>,
    /// Hash of the value that was reported last; 0: none was.
    reported: AtomicU32,
}

macro_rules! variables {
    ($($(#[$doc:meta])+ $row:ident: $kind:ty = $name:literal, $may_be:literal, $parse:expr;)+) => {
        $(
            $(#[$doc])+
            pub(crate) static $row: Variable<$kind> = Variable {
                name: $name,
                may_be: $may_be,
                parse: $parse,
                reported: AtomicU32::new(0),
            };
        )+
        /// The names of all rows.
        const NAMES: &[&CStr] = &[$($name),+];
    };
}

variables! {
    /// Random sleeps at points, as PyTState_Sync_Perturb(). Applied here.
    PERTURB: Setting = c"PYTSTATE_PERTURB", "seed:permille:max_us, three numbers, permille up to 1000", setting;
    /// How long an order of points may hold a thread before it is dropped. Applied here.
    SYNC_LIMIT: i64 = c"PYTSTATE_SYNC_LIMIT", "a number of seconds, such as 10 or 0.25", parse_seconds;
    /// A lifecycle trace, as PyTState_TraceStart(). Applied here.
    TRACE: () = c"PYTSTATE_TRACE", "a path of at most 1023 bytes", |_| None;
    /// The main interpreter runs without a GIL (0) or with one (1). Applied by
    /// `life::runtime::init`.
    PYTHON_GIL: bool = c"PYTHON_GIL", "0 or 1", |text| word(text, &[("0", false), ("1", true)]);
    /// The CPython version, as a hexversion, whose rules apply. Applied by `life::runtime::init`.
    COMPAT: u32 = c"PYTSTATE_COMPAT", "3.12, 3.13, 3.14 or 3.15", compat;
    /// What a misuse leads to. Applied by `life::runtime::init`.
    CHECK: Check = c"PYTSTATE_CHECK", "off, warn, fatal or strict", |text| {
        word(
            text,
            &[
                ("off", Check::Off),
                ("warn", Check::Warn),
                ("fatal", Check::Fatal),
                ("strict", Check::Strict),
            ],
        )
    };
    /// What a thread meets that attaches too late. Applied by `life::runtime::init`.
    LATE: Late = c"PYTSTATE_LATE", "hang, exit or abort", |text| {
        word(text, &[("hang", Late::Hang), ("exit", Late::Exit), ("abort", Late::Abort)])
    };
    /// A schedule to repeat. Applied by the preload library of the command pytstate, which
    /// `os::engine` loads.
    SCHEDULE: () = c"PYTSTATE_SCHEDULE", "a schedule file", |_| None;
    /// What the command pytstate tells its preload library. Applied there.
    CONTROL: () = c"PYTSTATE_CONTROL", "made by the command pytstate", |_| None;
    /// Threads that keep others waiting that long are named. Applied by `life::environment`.
    WATCHDOG: i64 = c"PYTSTATE_WATCHDOG", "a number of seconds, such as 5 or 0.25", parse_seconds;
    /// A finalization that waits prints that often for what. Applied by `life::environment`.
    SHUTDOWN_REPORT: i64 = c"PYTSTATE_SHUTDOWN_REPORT", "a number of seconds, such as 5 or 0.25", parse_seconds;
    /// The signal that prints all threads. Applied by `life::environment`.
    DUMP_SIGNAL: i32 = c"PYTSTATE_DUMP_SIGNAL", "the name of a signal, such as USR2", signal::from_name;
}

/// `PYTSTATE_CHECK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// As PyTState_CHECK_OFF.
    Off,
    /// As PyTState_CHECK_WARN.
    Warn,
    /// As PyTState_CHECK_FATAL.
    Fatal,
    /// As PyTState_CHECK_STRICT.
    Strict,
}

/// `PYTSTATE_LATE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// As PyTState_LATE_HANG.
    Hang,
    /// As PyTState_LATE_EXIT.
    Exit,
    /// As PyTState_LATE_ABORT.
    Abort,
}

impl<T> Variable<T> {
    /// The variable's value now; `None` if it is not set, or cannot be read, which is reported.
    pub(crate) fn get(&self) -> Option<T> {
        let mut buffer = [0; 128];
        let text = self.read(&mut buffer)?;
        let value = text.to_str().ok().and_then(self.parse);
        if value.is_none() {
            self.report(text.to_bytes());
        }
        value
    }

    /// The variable's text, in `buffer`; `None` if it is not set or does not fit, which is
    /// reported.
    fn read<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a CStr> {
        if !is_trusted() {
            return None;
        }
        match env::read(self.name, buffer) {
            Var::Unset => None,
            Var::Value(text) if text.is_empty() => None,
            Var::Value(text) => Some(text),
            Var::TooLong(begin) => {
                self.report(begin);
                None
            }
        }
    }

    /// Says that `value` is ignored, unless that was said of this value last.
    fn report(&self, value: &[u8]) {
        if !self.is_news(value) {
            return;
        }
        let (name, value) = (Printable(self.name.to_bytes()), Printable(value));
        text::warn(format_args!("pytstate: {name} is ignored: '{value}' is not {}", self.may_be));
    }

    /// Says why a value that could be read is ignored all the same, unless that was said of this
    /// value last.
    pub(crate) fn refuse(&self, value: &[u8], why: core::fmt::Arguments<'_>) {
        if self.is_news(value) {
            let name = Printable(self.name.to_bytes());
            text::warn(format_args!("pytstate: {name} is ignored: {why}"));
        }
    }

    fn is_news(&self, value: &[u8]) -> bool {
        let hash = value.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        }) | 1;
        self.reported.swap(hash, Relaxed) != hash
    }
}

/// Whether the environment comes from the one whose rights the program has (ENV-1).
fn is_trusted() -> bool {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !env::is_secure() {
        return true;
    }
    let set = NAMES.iter().any(|name| !matches!(env::read(name, &mut []), Var::Unset));
    if set && !SAID.swap(true, Relaxed) {
        text::warn(format_args!(
            "pytstate: no variable of the environment is read: the program has rights that its caller lacks"
        ));
    }
    false
}

/// The thread that holds it reads the environment.
static RESOLVE: Monitor<()> = Monitor::new(());

/// The lock's row of the fork table.
pub(in crate::probe) static FORK_ROW: [ForkRow; 1] = [fork_row!(RESOLVE)];

/// What is on, after the environment was read.
pub(super) fn mode_after_environment() -> u32 {
    if mode::get() & mode::UNKNOWN != 0 {
        let _held = RESOLVE.enter();
        // The lock orders this load after the store of the thread that was first.
        if mode::get() & mode::UNKNOWN != 0 {
            apply();
            if tsan::is_present() {
                mode::turn_on(mode::TSAN);
            }
            mode::turn_off(mode::UNKNOWN);
        }
    }
    mode::get()
}

/// Reads the rows of this layer and turns on what they ask for. Called once.
fn apply() {
    if control::is_on() {
        mode::turn_on(mode::CONTROL);
    } else {
        let mut buffer = [0; 128];
        for variable in [&SCHEDULE, &CONTROL] {
            if let Some(value) = variable.read(&mut buffer) {
                let why =
                    "libpytstate_control.so was not loaded; it must stand beside libpytstate.so";
                variable.refuse(value.to_bytes(), format_args!("{why}"));
            }
        }
    }
    if let Some(limit_ns) = SYNC_LIMIT.get() {
        table::set_limit(limit_ns);
    }
    if let Some(setting) = PERTURB.get() {
        table::perturb_by_environment(setting);
    }
    let mut buffer = [0; recorder::PATH_SIZE];
    if let Some(path) = TRACE.read(&mut buffer) {
        if let Err(error) = recorder::start(path) {
            let shown = Printable(path.to_bytes());
            TRACE.refuse(path.to_bytes(), format_args!("'{shown}': {error}"));
        }
    }
    if is_trusted() {
        env::each_name(b"PYTSTATE_", &mut |name| {
            if NAMES.iter().all(|known| known.to_bytes() != name) {
                report_unknown(name);
            }
        });
    }
}

fn report_unknown(name: &[u8]) {
    let shown = Printable(name);
    let known = NAMES.iter().map(|known| known.to_bytes());
    match nearest::nearest(name, known) {
        Some(near) => {
            let near = Printable(near);
            text::warn(format_args!(
                "pytstate: {shown} is ignored: there is no such variable; is {near} meant?"
            ));
        }
        None => text::warn(format_args!("pytstate: {shown} is ignored: there is no such variable")),
    }
}

/// The value of the word that `text` is.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

fn compat(text: &str) -> Option<u32> {
    word(
        text,
        &[
            ("3.12", 0x030C_0000),
            ("3.13", 0x030D_0000),
            ("3.14", 0x030E_0000),
            ("3.15", 0x030F_0000),
        ],
    )
}

/// `seed:permille:max_us`
fn setting(text: &str) -> Option<Setting> {
    let mut parts = text.split(':');
    let seed = parts.next()?.parse().ok()?;
    let permille = parts.next()?.parse().ok()?;
    let max_us: i64 = parts.next()?.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    Setting::new(seed, permille, max_us.checked_mul(1000)?)
}

#[cfg(test)]
mod tests {
    use super::{CHECK, Check, LATE, NAMES, Setting, compat, setting};

    #[test]
    fn a_perturbation_is_three_numbers() {
        assert_eq!(setting("7:100:250"), Setting::new(7, 100, 250_000));
        for bad in
            ["", "7", "7:100", "7:100:", "7:100:250:1", "7:1001:250", "-7:1:1", "7:1:-1", "a:b:c"]
        {
            assert_eq!(setting(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_word_is_one_of_those_that_it_may_be() {
        assert_eq!((CHECK.parse)("warn"), Some(Check::Warn));
        assert_eq!((LATE.parse)("exits"), None);
        assert_eq!(compat("3.14"), Some(0x030E_0000));
        assert_eq!(compat("3.140"), None);
    }

    #[test]
    fn a_name_stands_in_one_row() {
        for (at, name) in NAMES.iter().enumerate() {
            assert!(!NAMES[..at].contains(name), "{name:?}");
        }
    }

    #[test]
    fn a_value_is_reported_once() {
        assert!(LATE.is_news(b"soon"));
        assert!(!LATE.is_news(b"soon"));
        assert!(LATE.is_news(b"later"));
    }
}
