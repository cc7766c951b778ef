//! L5: the only exported functions: argument decoding, one file per header section, nothing else.

pub mod pytime;
pub mod sync_points;
pub mod trace;
