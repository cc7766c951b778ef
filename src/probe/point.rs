//! The library's sync points: one table gives each its variant, its name for C and one sentence.
//!
//! Adding a point is one line in the table below and its row in `docs/sync-points.md`
//! (a test compares the two and prints the missing row).

use core::ffi::CStr;

/// Writes [`Point`], the table of names and the table of sentences from one list.
macro_rules! points {
    ($($variant:ident = $name:literal, $sentence:literal;)+) => {
        /// A place in a lifecycle where a thread can be held, hooked or delayed.
        ///
        /// The discriminants are indexes into the tables; they are no part of any interface.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Point {
            $(
                #[doc = $sentence]
                $variant,
            )+
        }

        /// Name (for C) and sentence of every point, in the order of the enum.
        static TABLE: &[(&CStr, &str)] = &[
            $((
                match CStr::from_bytes_with_nul(concat!($name, "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a point's name holds a NUL byte"),
                },
                $sentence,
            ),)+
        ];
    };
}

points! {
    TstateCreated = "tstate.created", "A thread state was allocated and linked into its interpreter.";
    TstateBound = "tstate.bound", "A thread state was bound to the calling OS thread.";

    AttachBegin = "attach.begin", "A thread begins to attach a state; it does not have the GIL yet.";
    AttachGilTaken = "attach.gil_taken", "An attaching thread has the GIL; its state is not attached yet.";
    AttachDone = "attach.done", "A thread is attached, just before the attaching call returns.";
    DetachBegin = "detach.begin", "A thread begins to detach; it is still attached.";
    DetachDone = "detach.done", "A thread is detached and has given up the GIL.";

    GilWait = "gil.wait", "A thread found the GIL taken and is about to wait for it.";
    GilAsked = "gil.asked", "A thread that waits for the GIL has asked its holder to let go.";
    GilTaken = "gil.taken", "A thread that waited for the GIL has taken it.";
    GilDrop = "gil.drop", "A thread is about to give up the GIL.";

    ClearBegin = "clear.begin", "PyThreadState_Clear begins; the caller is attached.";
    OnDeleteBefore = "on_delete.before", "The state's on_delete hook is about to be called.";
    OnDeleteAfter = "on_delete.after", "The state's on_delete hook has returned; its exit event is not set yet.";
    ExitEventSet = "exit_event.set", "A state's exit event was set; the state is still linked.";
    ClearDone = "clear.done", "PyThreadState_Clear is about to return.";
    DeleteBegin = "delete.begin", "A cleared state is about to be deleted; it is still linked.";
    DeleteUnlinked = "delete.unlinked", "A state was unlinked; when it is the current one the thread still has the GIL.";
    DeleteGilReleased = "delete.gil_released", "The GIL of a deleted current state was released; the state's memory is not freed yet.";
    DeleteDone = "delete.done", "A state is deleted and its memory was given back.";

    ThreadStartBegin = "thread.start.begin", "A thread is about to be started; nothing is linked yet.";
    ThreadStartCreated = "thread.start.created", "The OS thread was created; its starter has not let it run yet.";
    ThreadEntry = "thread.entry", "A started OS thread begins; it has no state bound and is detached.";
    ThreadBound = "thread.bound", "A started thread bound its state and is about to attach it.";
    ThreadFuncBegin = "thread.func.begin", "A started thread is attached and about to call its function.";
    ThreadFuncEnd = "thread.func.end", "A started thread's function has returned; the thread is attached.";
    ThreadStateDeleted = "thread.state_deleted", "A started thread has deleted its own state and holds no GIL.";
    ThreadEventSet = "thread.event_set", "A started thread has set its handle's event: joiners may go on to the OS join.";
    ThreadTail = "thread.tail", "A started thread's last step before its OS thread returns.";

    JoinBegin = "join.begin", "A join begins; the caller may be attached.";
    JoinWaiting = "join.waiting", "A joiner is about to wait for the thread's event.";
    JoinEventSeen = "join.event_seen", "A joiner has seen the thread's event; the OS thread may still exist.";
    JoinOsJoin = "join.os_join", "A joiner is about to wait for the end of the OS thread.";
    JoinDone = "join.done", "A join is about to return success.";

    WaitThreadsBegin = "wait_threads.begin", "A wait for the threads of an interpreter begins.";
    WaitThreadsScan = "wait_threads.scan", "A wait for threads is about to look for a state to wait for.";
    WaitThreadsDone = "wait_threads.done", "A wait for threads found nothing left to wait for.";

    InterpNew = "interp.new", "An interpreter was created and linked.";
    InterpEndBegin = "interp.end.begin", "Py_EndInterpreter begins; the caller is attached.";
    InterpEndThreadsGone = "interp.end.threads_gone", "Py_EndInterpreter, or a round of finalization, has waited for an interpreter's threads.";
    InterpEndCheck = "interp.end.check", "Py_EndInterpreter is about to look for states that are left.";
    InterpEndDone = "interp.end.done", "An interpreter is deleted, just before Py_EndInterpreter returns.";

    InitBegin = "init.begin", "Initialization of the runtime begins.";
    InitDone = "init.done", "The runtime is initialized and the caller attached.";

    FinalizeBegin = "finalize.begin", "Finalization of an initialized runtime begins.";
    FinalizeThreadsGone = "finalize.threads_gone", "Finalization has waited for the non-daemon threads.";
    FinalizeAtexit = "finalize.atexit", "Finalization has run the at-exit callbacks of the runtime's interpreters.";
    FinalizeSubinterpreters = "finalize.subinterpreters", "Finalization has ended the sub-interpreters that were left.";
    FinalizeGuards = "finalize.guards", "Finalization found no open guard, or has waited for the last.";
    FinalizeCommitBefore = "finalize.commit.before", "Finalization is about to commit: from then on nobody else attaches.";
    FinalizeCommitAfter = "finalize.commit.after", "Finalization has committed: Py_IsFinalizing() is 1, and the world is still stopped.";
    FinalizeDone = "finalize.done", "The runtime is gone, just before the finalizing call returns.";
    LateAttachMet = "late_attach.met", "A thread tried to attach after the commit and is about to meet the late-attach policy.";

    GilstateEnsureBegin = "gilstate.ensure.begin", "PyGILState_Ensure begins.";
    GilstateEnsureDone = "gilstate.ensure.done", "PyGILState_Ensure is about to return, attached.";
    GilstateReleaseBegin = "gilstate.release.begin", "PyGILState_Release begins, attached.";
    GilstateReleaseDone = "gilstate.release.done", "PyGILState_Release is about to return.";

    GuardAcquired = "guard.acquired", "An interpreter guard was taken.";
    GuardClosed = "guard.closed", "An interpreter guard was closed.";
    EnsureBegin = "ensure.begin", "PyThreadState_Ensure (or EnsureFromView) begins.";
    EnsureDone = "ensure.done", "PyThreadState_Ensure (or EnsureFromView) is about to return, attached.";
    ReleaseBegin = "release.begin", "PyThreadState_Release begins, attached.";
    ReleaseDone = "release.done", "PyThreadState_Release is about to return.";

    ForkBefore = "fork.before", "PyOS_BeforeFork begins; nothing is held yet.";
    ForkParent = "fork.parent", "PyOS_AfterFork_Parent is about to return; nothing is held any more.";
    ForkChild = "fork.child", "PyOS_AfterFork_Child has made the child whole and is about to return.";

    StwRequest = "stw.request", "A thread is about to ask the world to stop.";
    StwStopped = "stw.stopped", "The world has stopped for the calling thread.";
    StwResumed = "stw.resumed", "The calling thread has started the world again.";
    StwSuspended = "stw.suspended", "A thread has suspended itself for somebody else's pause and is about to park.";
    StwHeldBack = "stw.held_back", "A thread that would make or delete an interpreter is about to wait for the end of somebody else's pause.";

    PendingAdded = "pending.added", "A pending call was queued.";
    PendingRun = "pending.run", "A pending call is about to be run.";

    MutexLock = "mutex.lock", "PyMutex_Lock was called as a function and begins; an inlined call that finds the mutex free does not come here.";
    MutexUnlocked = "mutex.unlocked", "PyMutex_Unlock was called as a function and has unlocked; an inlined call with no waiter does not come here.";
    MutexWait = "mutex.wait", "A thread is about to park on a PyMutex.";
    MutexHanded = "mutex.handed", "An unlocking thread has handed a PyMutex directly to a waiter.";
    PythreadAcquire = "pythread.acquire", "A thread is about to try a PyThread lock.";
    PythreadReleased = "pythread.released", "A PyThread lock was released; a waiter may have been woken.";
    EventWait = "event.wait", "A thread is about to park on a PyEvent.";
    EventSet = "event.set", "A PyEvent was set.";
    BlockingBegin = "blocking.begin", "A blocking region with an unblock function begins.";
    BlockingEnd = "blocking.end", "A blocking region with an unblock function has ended.";
}

impl Point {
    /// How many points there are.
    pub(crate) const COUNT: usize = TABLE.len();

    /// The point's name as C knows it.
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static CStr {
        TABLE[self as usize].0
    }

    /// The index of the point called `name`.
    pub(crate) fn find(name: &CStr) -> Option<usize> {
        TABLE.iter().position(|(own, _)| *own == name)
    }

    /// The name of the point with this index, if there is one.
    pub(crate) fn name_at(index: usize) -> Option<&'static CStr> {
        TABLE.get(index).map(|(name, _)| *name)
    }

    /// True if `name` stands in the library's own name space (`gil.anything`) without being a
    /// point.
    ///
    /// Such a name is a misspelling, so nothing may create a user's point with it.
    pub(crate) fn is_misspelt(name: &CStr) -> bool {
        let Some(group) = group(name) else { return false };
        TABLE.iter().any(|(own, _)| self::group(own) == Some(group)) && Self::find(name).is_none()
    }
}

/// What stands before the first dot of a name.
fn group(name: &CStr) -> Option<&[u8]> {
    let bytes = name.to_bytes();
    let dot = bytes.iter().position(|&byte| byte == b'.')?;
    Some(&bytes[..dot])
}

#[cfg(test)]
mod tests {
    use super::{Point, TABLE};

    #[test]
    fn names_are_unique_dotted_lower_case() {
        for (index, (name, sentence)) in TABLE.iter().enumerate() {
            let name = name.to_str().expect("names are ASCII");
            let legal = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            assert!(name.contains('.') && name.chars().all(legal), "{name}");
            assert!(sentence.ends_with('.'), "{name}: {sentence}");
            let first = TABLE.iter().position(|(other, _)| other.to_str() == Ok(name));
            assert_eq!(first, Some(index), "{name} stands twice");
        }
    }

    #[test]
    fn a_variant_finds_its_own_row() {
        assert_eq!(Point::TstateCreated.name(), c"tstate.created");
        assert_eq!(Point::BlockingEnd.name(), c"blocking.end");
        assert_eq!(Point::find(c"gil.wait"), Some(Point::GilWait as usize));
        assert_eq!(Point::BlockingEnd as usize + 1, Point::COUNT);
    }

    #[test]
    fn the_documentation_lists_every_point_in_order() {
        let document = include_str!("../../docs/sync-points.md");
        let (_, listed) = document.split_once("|---|---|\n").expect("the document has a table");
        let mut listed = listed.lines();
        for (name, sentence) in TABLE {
            let row = format!("| `{}` | {sentence} |", name.to_str().expect("names are ASCII"));
            assert_eq!(
                listed.next(),
                Some(row.as_str()),
                "docs/sync-points.md misses or misplaces a row"
            );
        }
        assert_eq!(listed.next(), None, "docs/sync-points.md has a row too many");
    }

    #[test]
    fn a_misspelt_name_is_told_from_a_user_s() {
        assert!(Point::is_misspelt(c"gil.wiat"));
        assert!(!Point::is_misspelt(c"gil.wait"));
        assert!(!Point::is_misspelt(c"my.point"));
        assert!(!Point::is_misspelt(c"gil"));
    }
}
