//! L5: the only exported functions: argument decoding, one file per header section, nothing else.

mod arg;
pub mod pytime;
pub mod sync_points;
pub mod trace;
