//! What the library says about threads: records of them, dumps for people, and
//! the reports of a finalization that waits.

pub(crate) mod census;

pub(crate) mod dump;

pub(crate) mod reporter;
