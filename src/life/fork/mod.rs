//! fork(): what is held around it, and what a child keeps.

mod table;

pub(crate) mod child;

pub(crate) mod parent;
