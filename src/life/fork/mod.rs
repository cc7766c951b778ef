//! fork(): what is held around it, and what a child keeps.

pub(crate) mod child;

pub(crate) mod parent;
