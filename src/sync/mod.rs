//! L1: what threads wait in. It knows no thread states: a [`waiting::Waiting`] from above says what to do around a sleep.

pub(crate) mod atomic;
pub(crate) mod event;
pub(crate) mod lot;
pub(crate) mod mutex;
pub(crate) mod rank;
pub(crate) mod raw;
pub(crate) mod waiting;
