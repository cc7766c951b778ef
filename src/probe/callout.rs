//! Which functions of the host the calling thread is in, called by the library:
//! a few words per thread, filled around every such call.
//!
//! Only recorded here. What must not be called from where, `sched::callout` and
//! its callers decide.

use core::cell::Cell;

/// A function of the host that the library calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callout {
    OnDelete,
    AtExit,
    PendingCall,
    SignalHandler,
    PhaseHook,
    LateHook,
    CheckCallback,
    RaiseHook,
    ObjectHook,
    FreeFunction,
    UnblockFunction,
    SyncHook,
    Visitor,
    StateHook,
    InterpHook,
    ForkHook,
    /// Of PyTState_RunOnThread, on the thread of the state.
    ThreadCall,
    /// The same, on the thread of the caller.
    Handshake,
}

impl Callout {
    /// Its name in a message: "... from {name}".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Callout::OnDelete => "an on_delete hook",
            Callout::AtExit => "an at-exit function",
            Callout::PendingCall => "a pending call",
            Callout::SignalHandler => "a signal handler",
            Callout::PhaseHook => "a shutdown phase hook",
            Callout::LateHook => "a late-attach hook",
            Callout::CheckCallback => "a misuse callback",
            Callout::RaiseHook => "a raise hook",
            Callout::ObjectHook => "an object hook",
            Callout::FreeFunction => "a free function",
            Callout::UnblockFunction => "an unblock function",
            Callout::SyncHook => "a sync hook",
            Callout::StateHook => "a thread state hook",
            Callout::InterpHook => "an interpreter hook",
            Callout::ForkHook => "a fork hook",
            Callout::ThreadCall | Callout::Handshake => "a function of PyTState_RunOnThread",
            Callout::Visitor => "a visitor of thread states",
        }
    }
}

/// One call under way.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) callout: Callout,
    /// Address of the state that was attached, 0: none.
    pub(crate) attached: usize,
    /// Address of the state or interpreter that the call is about, 0: none.
    pub(crate) subject: usize,
}

/// Calls inside each other that are told apart; deeper ones are only counted.
const DEPTH: usize = 8;

thread_local! {
    static ENTRIES: [Cell<Option<Entry>>; DEPTH] = const { [const { Cell::new(None) }; DEPTH] };
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`, recorded as `entry`.
#[inline]
pub(crate) fn inside<R>(entry: Entry, work: impl FnOnce() -> R) -> R {
    let depth = INSIDE.get();
    if depth < DEPTH {
        ENTRIES.with(|entries| entries[depth].set(Some(entry)));
    }
    INSIDE.set(depth + 1);
    let result = work();
    INSIDE.set(depth);
    result
}

/// The calling thread leaves every call at once: it never returns from them.
pub(crate) fn leave_all() {
    INSIDE.set(0);
}

/// The innermost call under way for which `wanted` holds. One load if there is
/// none at all.
#[inline]
pub(crate) fn find(wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
    let depth = INSIDE.get().min(DEPTH);
    if depth == 0 {
        return None;
    }
    ENTRIES.with(|entries| {
        entries[..depth].iter().rev().filter_map(Cell::get).find(|entry| wanted(entry))
    })
}
