//! A map of the layers; no logic.
#![allow(dead_code, reason = "the lower layers land before what uses them")]

mod os;
mod probe;
