//! How an interposed function begins.
//!
//! A point carries the address of the program's call. So an exported function is a jump: it puts its return address
//! into the register of one more argument and goes on in a function of this library, which returns to the caller.

/// `entry!(name, N => function)`: exports `name`, a C function of N register arguments; `function` takes N arguments
/// and the return address.
macro_rules! entry {
    ($name:ident, 0 => $function:path) => { entry!(@ $name, "rdi", "x0", $function); };
    ($name:ident, 1 => $function:path) => { entry!(@ $name, "rsi", "x1", $function); };
    ($name:ident, 2 => $function:path) => { entry!(@ $name, "rdx", "x2", $function); };
    ($name:ident, 3 => $function:path) => { entry!(@ $name, "rcx", "x3", $function); };
    ($name:ident, 4 => $function:path) => { entry!(@ $name, "r8", "x4", $function); };
    ($name:ident, 5 => $function:path) => { entry!(@ $name, "r9", "x5", $function); };
    (@ $name:ident, $x86:literal, $arm:literal, $function:path) => {
        /// The C function of that name, as a point.
        ///
        /// # Safety
        /// As for the C library's function; its arguments are not declared here, and stay in their registers.
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name() -> ! {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the function's body is this jump alone: the stack and the argument registers are the caller's.
            unsafe {
                core::arch::asm!(
                    concat!("mov ", $x86, ", qword ptr [rsp]"),
                    "jmp {function}",
                    function = sym $function,
                    options(noreturn, nostack),
                )
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            unsafe {
                core::arch::asm!(
                    concat!("mov ", $arm, ", x30"),
                    "b {function}",
                    function = sym $function,
                    options(noreturn, nostack),
                )
            }
        }
    };
}

pub(crate) use entry;
