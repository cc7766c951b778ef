//! The one list of locks that a fork child walks. docs/locks.md shows it; a test compares the two.

use crate::life::runtime::init;
use crate::os::futex;
use crate::probe;
use crate::sync::fork_lock::ForkRow;
use crate::sync::{head, lot};

/// Every static lock of the library: the lot first, because the others may need it, then by rank.
static TABLE: [&[&[ForkRow]]; 4] =
    [&[&lot::FORK_ROWS], &[&head::FORK_ROWS], &probe::FORK_ROWS, &[&init::FORK_ROWS]];

/// The rows in their order.
fn rows() -> impl Iterator<Item = &'static ForkRow> {
    TABLE.iter().copied().flatten().copied().flatten()
}

/// Makes every lock of the table free.
///
/// # Safety
/// The caller is the only thread of a fork child, inside nothing of the library.
pub(super) unsafe fn reset_in_child() {
    // SAFETY: this function's contract: the only thread of the process.
    unsafe { futex::reset_in_child() };
    for row in rows() {
        // SAFETY: as above; a guard that was kept over the fork is not alive.
        unsafe { row.lock.reset_in_child() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::in_fork_child;

    #[test]
    fn a_fork_child_frees_every_lock_that_vanished_threads_held() {
        let freed = in_fork_child(|| {
            rows().for_each(|row| row.lock.leave_held());
            let held = rows().all(|row| !row.lock.is_free());
            // SAFETY: the only thread of a fork child; it holds the locks for threads that
            // vanished.
            unsafe { reset_in_child() };
            held && rows().all(|row| row.lock.is_free())
        });
        assert!(freed);
    }

    #[test]
    fn the_table_of_the_documentation_is_this_one() {
        let text = include_str!("../../../docs/locks.md");
        let cell = |row: &str, at: usize| {
            row.split('|').nth(at).and_then(|cell| cell.split('`').nth(1)).map(str::to_owned)
        };
        let shown: Vec<_> = text
            .lines()
            .filter(|row| row.starts_with('|') && row.contains("`life/fork/table.rs`"))
            .map(|row| (cell(row, 1).expect("a name"), cell(row, 2).expect("a file")))
            .collect();
        let ours: Vec<_> = rows()
            .map(|row| (row.name.to_owned(), row.file.trim_start_matches("src/").to_owned()))
            .collect();
        assert_eq!(shown, ours);
    }
}
