//! The preload library of the command `pytstate`: one controlled scheduler per process.
//!
//! It interposes what a program can wait in: mutexes, condition variables, semaphores, read-write locks, barriers, threads,
//! sleeps, clocks, raw futexes. In a controlled process exactly one thread runs at a time, and at each of these calls the
//! strategy may choose another. A program needs no recompilation; one that uses the library pytstate has more points.
//!
//! Layers, each using those below it: `interpose` (C functions) > `engine` (the token, time, objects, the record) >
//! `strategy` (who goes on) and `real`, `sys` (what is behind).
//!
//! Without `PYTSTATE_CONTROL` or `PYTSTATE_SCHEDULE` in the environment every call goes straight on.

#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "the exported functions, which use all this, are not in a test program"
    )
)]

mod door;
mod engine;
mod entry;
mod interpose;
mod real;
mod strategy;
mod sys;

use pytstate_protocol as protocol;

/// Runs before `main` and before the constructors of the program.
#[cfg(not(test))]
extern "C" fn constructor() {
    real::resolve();
    engine::begin();
}

#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;
