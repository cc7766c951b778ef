//! What a trace shows: spans of time and moments, each with the name it has in the file.
//!
//! One table each; `docs/trace.md` lists both (a test compares).

/// Writes an enum and the names of its variants from one list.
macro_rules! kinds {
    ($(#[$about:meta])* $kind:ident: $($variant:ident = $name:literal, $sentence:literal;)+) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum $kind {
            $(
                #[doc = $sentence]
                $variant,
            )+
        }

        impl $kind {
            /// Name in the file and sentence of each.
            pub(super) const TABLE: &[(&'static str, &'static str)] = &[$(($name, $sentence),)+];

            /// Its name in the file.
            pub(super) fn name(self) -> &'static str {
                Self::TABLE[self as usize].0
            }
        }
    };
}

kinds! {
    /// Something that a thread does for a while.
    Span:
    GilWait = "waiting for GIL", "The thread waits for the GIL. Ends `detached` and `suspended`.";
    Attached = "attached", "The thread runs with a state attached. Ends `detached`, `waiting for GIL` and `suspended`.";
    Detached = "detached", "The thread's state is detached. Ends `attached`.";
    Suspended = "suspended", "The thread stands still for somebody else's pause. Ends `attached` and `detached`.";
    Joining = "joining", "The thread waits for another to end.";
    WaitingForThreads = "waiting for threads", "The thread waits for all threads of the interpreter.";
    StopTheWorld = "stop-the-world", "The thread has asked the world to stop, until it starts it again.";
    Blocking = "blocking", "The thread is in a blocking region with an unblock function.";
    PhaseWaitingThreads = "finalize: waiting for threads", "Shutdown phase WAITING_THREADS. Ends the phase before.";
    PhaseAtexit = "finalize: atexit", "Shutdown phase ATEXIT. Ends the phase before.";
    PhaseWaitingGuards = "finalize: waiting for guards", "Shutdown phase WAITING_GUARDS. Ends the phase before.";
    PhaseFinalizing = "finalize: finalizing", "Shutdown phase FINALIZING. Ends the phase before.";
}

kinds! {
    /// Something that happens at one moment.
    Mark:
    ThreadStart = "thread start", "A started thread begins.";
    ThreadEnd = "thread end", "A started thread is about to end. Ends whatever the thread had open.";
    StateCreated = "state created", "A thread state was created.";
    ExitEvent = "exit event", "A thread state's exit event was set.";
    Deletion = "deletion", "A thread state is deleted.";
    GuardOpen = "guard open", "An interpreter guard was taken.";
    GuardClose = "guard close", "An interpreter guard was closed.";
    Fork = "fork", "The process has forked; seen in the parent.";
    InterpreterNew = "interpreter new", "The interpreter was created.";
    InterpreterGone = "interpreter gone", "The interpreter is gone (shutdown phase GONE). Ends whatever the thread had open there.";
    LateAttach = "late attach", "A thread tried to attach after the commit of finalization. Ends whatever the thread had open.";
}

impl Span {
    /// True for the phases of a shutdown.
    fn is_phase(self) -> bool {
        self as u8 >= Self::PhaseWaitingThreads as u8
    }

    /// True if beginning `self` ends an open `other` of the same thread and interpreter.
    pub(super) fn ends(self, other: Self) -> bool {
        match self {
            Self::GilWait => matches!(other, Self::Detached | Self::Suspended),
            Self::Attached => matches!(other, Self::Detached | Self::GilWait | Self::Suspended),
            Self::Detached => other == Self::Attached,
            Self::Suspended => matches!(other, Self::Attached | Self::Detached),
            _ => self.is_phase() && other.is_phase(),
        }
    }
}

impl Mark {
    /// True if `self` ends every open span of the same thread and interpreter.
    pub(super) fn ends_all(self) -> bool {
        matches!(self, Self::ThreadEnd | Self::LateAttach | Self::InterpreterGone)
    }
}

/// What one call of [`super::event`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A span begins. Beginning what is open already changes nothing.
    Begin(Span),
    /// A span ends. Ending what is not open (the trace began later) changes nothing.
    End(Span),
    /// A moment.
    At(Mark),
}

#[cfg(test)]
mod tests {
    use super::{Mark, Span};

    #[test]
    fn the_documentation_lists_every_kind_in_order() {
        let document = include_str!("../../../docs/trace.md");
        let mut rows = document.lines().filter(|line| line.starts_with("| `"));
        for (name, sentence) in Span::TABLE.iter().chain(Mark::TABLE) {
            let row = format!("| `{name}` | {sentence} |");
            assert_eq!(rows.next(), Some(row.as_str()), "docs/trace.md misses or misplaces a row");
        }
        assert_eq!(rows.next(), None, "docs/trace.md has a row too many");
    }

    #[test]
    fn a_span_ends_what_cannot_go_on_beside_it() {
        assert!(Span::Attached.ends(Span::GilWait));
        assert!(!Span::Attached.ends(Span::Joining));
        assert!(Span::PhaseAtexit.ends(Span::PhaseWaitingThreads));
        assert!(!Span::PhaseAtexit.ends(Span::Attached));
        assert!(Mark::ThreadEnd.ends_all());
        assert!(!Mark::ExitEvent.ends_all());
    }
}
