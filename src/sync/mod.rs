//! L1: what threads wait in. It knows no thread states: a [`waiting::Waiting`] from above says what
//! to do around a sleep.
//!
//! A module imports only from those declared above it.

pub(crate) mod atomic;
pub(crate) mod backoff;
#[cfg(loom)]
pub(crate) mod planted;
pub(crate) mod word_lock;

#[cfg(not(loom))]
pub(crate) mod fork_lock;
pub(crate) mod rank;
#[cfg(not(loom))]
pub(crate) mod head;
pub(crate) mod hook;
pub(crate) mod list;

pub(crate) mod wait_record;
pub(crate) mod waiting;
pub(crate) mod owed;
pub(crate) mod lot;

pub(crate) mod event;
#[cfg(not(loom))]
pub(crate) mod event_rc;
pub(crate) mod mutex;
pub(crate) mod once;
pub(crate) mod raw_mutex;
#[cfg(not(loom))]
pub(crate) mod recursive;
pub(crate) mod rwmutex;
pub(crate) mod seqlock;
pub(crate) mod thread_lock;

#[cfg(all(test, loom))]
pub(crate) mod models;
