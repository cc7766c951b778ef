//! L1: what threads wait in. It knows no thread states: a [`waiting::Waiting`] from above says what to do around a sleep.

pub(crate) mod atomic;
pub(crate) mod backoff;
pub(crate) mod event;
#[cfg(not(loom))]
pub(crate) mod event_rc;
pub(crate) mod hook;
pub(crate) mod lot;
pub(crate) mod mutex;
pub(crate) mod once;
pub(crate) mod owed;
pub(crate) mod rank;
pub(crate) mod raw;
pub(crate) mod raw_mutex;
#[cfg(not(loom))]
pub(crate) mod recursive;
pub(crate) mod rwmutex;
pub(crate) mod seqlock;
pub(crate) mod thread_lock;
pub(crate) mod waiting;

#[cfg(all(test, loom))]
pub(crate) mod models;
#[cfg(loom)]
pub(crate) mod planted;
