//! The door for the library pytstate: what it tells the engine by itself (its `src/os/engine.rs` has the same table).

use core::ffi::{CStr, c_char, c_void};

use crate::engine::{self, Op, Terms};
use crate::protocol::Kind;

/// See `Table` in pytstate's `src/os/engine.rs`.
#[repr(C)]
#[allow(unreachable_pub, reason = "the type of an exported symbol")]
pub struct Table {
    size: usize,
    name: unsafe extern "C" fn(*const c_char) -> u16,
    point: unsafe extern "C" fn(u16, *const c_void),
    hang: unsafe extern "C" fn(),
    ordinal: unsafe extern "C" fn(*const c_void) -> u32,
}

unsafe extern "C" fn name(name: *const c_char) -> u16 {
    if engine::me().is_none() {
        return 0;
    }
    // SAFETY: the caller's names are NUL-terminated.
    let name = unsafe { CStr::from_ptr(name) };
    let mut held = engine::enter();
    held.note_library();
    held.add_point(name.to_bytes()).unwrap_or(0)
}

unsafe extern "C" fn point(number: u16, object: *const c_void) {
    // The number is 0 for names that came before control began, or when the table of names was full.
    let Some(me) = engine::me().filter(|_| number != 0) else { return };
    let kind = if object.is_null() { Kind::None } else { Kind::Write };
    let op = Op { point: number, kind, object: object.expose_provenance(), place: 0 };
    let outcome = engine::visit(me, op, Terms::FREE);
    debug_assert!(outcome == engine::Outcome::Granted);
}

unsafe extern "C" fn hang() {
    if let Some(me) = engine::me() {
        engine::hang(me, 0);
    }
}

unsafe extern "C" fn ordinal(object: *const c_void) -> u32 {
    if engine::me().is_none() {
        return 0;
    }
    engine::enter().objects.ordinal(object.expose_provenance())
}

/// What pytstate looks up when it is loaded.
#[cfg(not(test))]
#[unsafe(no_mangle)]
#[allow(unreachable_pub, reason = "an exported symbol")]
#[allow(non_upper_case_globals, reason = "the name that the library asks for")]
pub static pytstate_control_v1: Table =
    Table { size: size_of::<Table>(), name, point, hang, ordinal };
