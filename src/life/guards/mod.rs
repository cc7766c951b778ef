//! PEP 788: guards that keep an interpreter from committing its finalization,
//! and views that name one (S-G8). The blocks and their list are in
//! `state::guard`; attaching through a guard is `life::threads::ensure`.
//!
//! Mirrors CPython 3.15 `PyInterpreterGuard_*`, `PyInterpreterView_*` (pystate.c).

pub(crate) mod view;

pub(crate) mod backoff;

pub(crate) mod open;
