//! The nearest of some names to one that was mistyped.

/// Names longer than this are near to none.
const LONGEST: usize = 48;
/// More mistakes than this, and another name is meant.
const MOST_MISTAKES: usize = 4;

/// The one of `names` that needs the fewest changes of a byte to become `name`, if it needs few.
pub(super) fn nearest<'a>(name: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let measured = names.map(|other| (distance(name, other), other));
    let (mistakes, near) = measured.min_by_key(|(mistakes, _)| *mistakes)?;
    (mistakes <= MOST_MISTAKES).then_some(near)
}

/// How many bytes must be put in, left out or exchanged to make `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    // The row of the table for the bytes of `a` so far: its distance to each beginning of `b`.
    let mut row = [0; LONGEST + 1];
    for (at, cell) in row.iter_mut().enumerate() {
        *cell = at;
    }
    for (done, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, y) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(x.to_ascii_uppercase() != *y);
            diagonal = row[at + 1];
            row[at + 1] = exchanged.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_distance_counts_changes() {
        assert_eq!(distance(b"TRACE", b"TRACE"), 0);
        assert_eq!(distance(b"TRCE", b"TRACE"), 1);
        assert_eq!(distance(b"trace", b"TRACE"), 0);
        assert_eq!(distance(b"TRUCKS", b"TRACE"), 3);
        assert_eq!(distance(&[b'x'; 100], b"TRACE"), usize::MAX);
    }

    #[test]
    fn a_name_that_is_far_from_all_is_near_to_none() {
        let names: [&[u8]; 2] = [b"PYTSTATE_TRACE", b"PYTSTATE_CHECK"];
        assert_eq!(nearest(b"PYTSTATE_CHEKC", names.into_iter()), Some(names[1]));
        assert_eq!(nearest(b"PYTSTATE_SOMETHING_ELSE", names.into_iter()), None);
        assert_eq!(nearest(&[b'x'; 100], names.into_iter()), None);
    }
}
