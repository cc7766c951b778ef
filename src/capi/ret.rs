//! Encoding outcomes that are no return values.

use crate::os::thread;
use crate::probe::text::{LineBuf, write_fd};
use core::ffi::CStr;
use core::fmt::Write;

/// Ends the process as Py_ExitStatusException() does for an error status.
pub(super) fn exit_with(func: &CStr, text: &str) -> ! {
    let mut line = LineBuf::<512>::new();
    let _ = line.write_str("Fatal Python error: ");
    if !func.is_empty() {
        let _ = write!(line, "{}: ", func.to_str().unwrap_or("?"));
    }
    let _ = writeln!(line, "{text}");
    write_fd(2, line.as_bytes());
    thread::exit_process(1)
}
