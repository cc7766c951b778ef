//! A thread's open spans, so that what it writes is always properly nested.
//!
//! The viewers keep one stack per row (thread and interpreter): an end closes what began last
//! there. Our spans overlap: a join begins attached and goes on detached. So ending a span that is
//! not the last to have begun ends those above it, too, and begins them again at the same time.
//!
//! NEST-1: `open[..len]` is what the file has begun and not ended for this thread, oldest first.

use super::kinds::{Event, Span};
use crate::probe::recorder::Phase;

/// More than a thread has open at once, unless it has states in many interpreters.
const DEPTH: usize = 16;

/// The open spans of one thread.
#[derive(Clone, Copy)]
pub(super) struct Nest {
    open: [(Span, i64); DEPTH],
    len: usize,
}

impl Nest {
    /// A record without open spans.
    pub(super) const EMPTY: Self = Self { open: [(Span::Attached, 0); DEPTH], len: 0 };

    /// Notes an event and calls `row` for everything that the file must say about it, in order.
    pub(super) fn note(
        &mut self,
        event: Event,
        interp: i64,
        mut row: impl FnMut(Phase, &'static str, i64),
    ) {
        match event {
            Event::Begin(span) if self.position(span, interp).is_some() => {}
            Event::Begin(span) => {
                self.end_where(interp, |open| span.ends(open), &mut row);
                if self.len == DEPTH {
                    let (oldest, its_interp) = self.open[0];
                    self.end_where(its_interp, |open| open == oldest, &mut row);
                }
                self.open[self.len] = (span, interp);
                self.len += 1;
                row(Phase::Begin, span.name(), interp);
            }
            Event::End(span) => self.end_where(interp, |open| open == span, &mut row),
            Event::At(mark) => {
                self.end_where(interp, |_| mark.ends_all(), &mut row);
                row(Phase::Instant, mark.name(), interp);
            }
        }
    }

    fn position(&self, span: Span, interp: i64) -> Option<usize> {
        self.open[..self.len].iter().position(|&open| open == (span, interp))
    }

    /// Ends the interpreter's spans that `which` chooses; the others keep their order.
    fn end_where(
        &mut self,
        interp: i64,
        which: impl Fn(Span) -> bool,
        row: &mut impl FnMut(Phase, &'static str, i64),
    ) {
        let chosen = |&(span, own): &(Span, i64)| own == interp && which(span);
        let Some(from) = self.open[..self.len].iter().position(chosen) else { return };
        for &(span, own) in self.open[from..self.len].iter().rev() {
            if own == interp {
                row(Phase::End, span.name(), interp);
            }
        }
        let before = core::mem::replace(&mut self.len, from);
        for at in from..before {
            let kept = self.open[at];
            if chosen(&kept) {
                continue;
            }
            if kept.1 == interp {
                row(Phase::Begin, kept.0.name(), interp);
            }
            self.open[self.len] = kept;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{Event, Mark, Span};
    use super::{DEPTH, Nest, Phase};

    fn rows(nest: &mut Nest, event: Event, interp: i64) -> Vec<(Phase, &'static str, i64)> {
        let mut rows = Vec::new();
        nest.note(event, interp, |phase, name, interp| rows.push((phase, name, interp)));
        rows
    }

    #[test]
    fn a_join_that_detaches_is_split_where_the_state_changes() {
        use Phase::{Begin, End};
        let mut nest = Nest::EMPTY;
        assert_eq!(rows(&mut nest, Event::Begin(Span::Attached), 0), [(Begin, "attached", 0)]);
        assert_eq!(rows(&mut nest, Event::Begin(Span::Joining), 0), [(Begin, "joining", 0)]);
        assert_eq!(
            rows(&mut nest, Event::Begin(Span::Detached), 0),
            [
                (End, "joining", 0),
                (End, "attached", 0),
                (Begin, "joining", 0),
                (Begin, "detached", 0)
            ]
        );
        assert_eq!(
            rows(&mut nest, Event::End(Span::Joining), 0),
            [(End, "detached", 0), (End, "joining", 0), (Begin, "detached", 0)]
        );
    }

    #[test]
    fn rows_of_other_interpreters_are_left_alone() {
        use Phase::{Begin, End};
        let mut nest = Nest::EMPTY;
        rows(&mut nest, Event::Begin(Span::Detached), 0);
        rows(&mut nest, Event::Begin(Span::Attached), 1);
        assert_eq!(
            rows(&mut nest, Event::Begin(Span::Attached), 0),
            [(End, "detached", 0), (Begin, "attached", 0)]
        );
        assert_eq!(rows(&mut nest, Event::End(Span::Attached), 1), [(End, "attached", 1)]);
    }

    #[test]
    fn ending_what_is_not_open_and_beginning_what_is_change_nothing() {
        let mut nest = Nest::EMPTY;
        assert_eq!(rows(&mut nest, Event::End(Span::Joining), 0), []);
        rows(&mut nest, Event::Begin(Span::Joining), 0);
        assert_eq!(rows(&mut nest, Event::Begin(Span::Joining), 0), []);
    }

    #[test]
    fn the_end_of_a_thread_ends_all_that_it_has_open() {
        let mut nest = Nest::EMPTY;
        rows(&mut nest, Event::Begin(Span::Attached), 0);
        rows(&mut nest, Event::Begin(Span::Joining), 0);
        let last = rows(&mut nest, Event::At(Mark::ThreadEnd), 0);
        assert_eq!(last.len(), 3);
        assert_eq!(last[2], (Phase::Instant, "thread end", 0));
        assert_eq!(nest.len, 0);
    }

    #[test]
    fn the_oldest_span_makes_room_when_too_many_are_open() {
        let mut nest = Nest::EMPTY;
        for interp in 0..DEPTH as i64 {
            rows(&mut nest, Event::Begin(Span::Detached), interp);
        }
        assert_eq!(
            rows(&mut nest, Event::Begin(Span::Detached), 99),
            [(Phase::End, "detached", 0), (Phase::Begin, "detached", 99)]
        );
        assert_eq!(nest.len, DEPTH);
    }
}
