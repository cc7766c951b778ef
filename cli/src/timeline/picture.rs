//! What a timeline shows, whatever it was read from: lanes of spans, marks on them, arrows between
//! them.
//!
//! Positions are numbers on one axis: microseconds for a trace, steps for a schedule.

use serde::Serialize;

/// What the numbers of the axis mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Axis {
    /// Microseconds since the beginning.
    Time,
    /// Steps of the controlled scheduler.
    Steps,
}

/// What a thread does during a span. The order is that of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Doing {
    /// Runs: attached, or chosen by the scheduler.
    Runs,
    /// Wants the GIL, or could run and was not chosen.
    Wants,
    /// Waits for something that the label names.
    Waits,
    /// Stands still for the pause of another thread.
    Paused,
    /// Is detached and asks for nothing.
    Idle,
}

/// All of them, in the order of the legend.
pub(crate) const DOINGS: [Doing; 5] =
    [Doing::Runs, Doing::Wants, Doing::Waits, Doing::Paused, Doing::Idle];

impl Doing {
    /// The word of the legend.
    pub(crate) fn legend(self, axis: Axis) -> &'static str {
        match (self, axis) {
            (Self::Runs, _) => "runs",
            (Self::Wants, Axis::Time) => "wants the GIL",
            (Self::Wants, Axis::Steps) => "could run, is not chosen",
            (Self::Waits, _) => "waits",
            (Self::Paused, _) => "paused by another thread",
            (Self::Idle, _) => "idle (detached)",
        }
    }

    /// The fill colour and the colour of text on it.
    pub(crate) fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Runs => ("#1f8a70", "#ffffff"),
            Self::Wants => ("#f2b134", "#3a2a00"),
            Self::Waits => ("#7d6bb0", "#ffffff"),
            Self::Paused => ("#4a7fb5", "#ffffff"),
            Self::Idle => ("#d9dde2", "#4a5561"),
        }
    }
}

/// What happened at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// A thread or a thread state begins.
    Begin,
    /// The exit event of a thread state was set.
    Exit,
    /// A thread state was deleted.
    Delete,
    /// The OS thread ends.
    OsExit,
    /// The scheduler chose something else than its default.
    Choice,
    /// The program failed here.
    Failure,
    /// Anything else.
    Other,
}

/// All of them, in the order of the legend.
pub(crate) const EVENTS: [Event; 7] = [
    Event::Begin,
    Event::Exit,
    Event::Delete,
    Event::OsExit,
    Event::Choice,
    Event::Failure,
    Event::Other,
];

impl Event {
    /// The words of the legend.
    pub(crate) fn legend(self) -> &'static str {
        match self {
            Self::Begin => "begins",
            Self::Exit => "exit event set",
            Self::Delete => "state deleted",
            Self::OsExit => "OS thread ends",
            Self::Choice => "choice of the scheduler",
            Self::Failure => "failure",
            Self::Other => "other event",
        }
    }

    /// The colour of the mark.
    pub(crate) fn colour(self) -> &'static str {
        match self {
            Self::Begin => "#1f8a70",
            Self::Exit => "#0b4f8a",
            Self::Delete => "#a3420c",
            Self::OsExit => "#22272e",
            Self::Choice => "#c2257c",
            Self::Failure => "#c81e3a",
            Self::Other => "#77808a",
        }
    }

    /// The mark as an SVG path around the point 0 0, about ten units high.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Begin => "M-3.5 -4.5 L4.5 0 L-3.5 4.5 Z",
            Self::Exit => "M0 -5.5 L5.5 0 L0 5.5 L-5.5 0 Z",
            Self::Delete => {
                "M-5 -3 L-3 -5 L0 -2 L3 -5 L5 -3 L2 0 L5 3 L3 5 L0 2 L-3 5 L-5 3 L-2 0 Z"
            }
            Self::OsExit => "M-4.5 -4.5 H4.5 V4.5 H-4.5 Z",
            Self::Choice => "M-5 -11 H5 L0 -2.5 Z",
            Self::Failure => {
                "M0 -8 L2 -2.7 L7.6 -2.5 L3.2 1 L4.7 6.5 L0 3.3 L-4.7 6.5 L-3.2 1 L-7.6 -2.5 L-2 -2.7 Z"
            }
            Self::Other => "M-2.5 0 A2.5 2.5 0 1 0 2.5 0 A2.5 2.5 0 1 0 -2.5 0 Z",
        }
    }
}

/// A stretch of one lane.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Span {
    /// Where it begins.
    pub(crate) from: f64,
    /// Where it ends.
    pub(crate) to: f64,
    /// What the thread does.
    pub(crate) doing: Doing,
    /// A few words, shown where there is room.
    pub(crate) label: String,
    /// Shown when the pointer is over it: place and cause.
    pub(crate) hover: String,
    /// The lane whose colour tells the holder; for the lane of a GIL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<usize>,
}

/// A moment of one lane.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mark {
    /// Where.
    pub(crate) at: f64,
    /// What.
    pub(crate) event: Event,
    /// Shown when the pointer is over it.
    pub(crate) hover: String,
}

/// A row of the picture: a thread, or the GIL of an interpreter.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Lane {
    /// Written at the left.
    pub(crate) name: String,
    /// Shown when the pointer is over the name.
    pub(crate) hover: String,
    /// Whether it is the lane of a GIL or another lock, which shows the holder.
    pub(crate) lock: bool,
    /// In order, without overlap.
    pub(crate) spans: Vec<Span>,
    /// In order.
    pub(crate) marks: Vec<Mark>,
}

/// From a release to the acquire that it made possible.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Arrow {
    /// The lane it leaves, and where.
    pub(crate) from: (usize, f64),
    /// The lane it reaches, and where.
    pub(crate) to: (usize, f64),
    /// What was released, shown when the pointer is over it.
    pub(crate) hover: String,
}

/// A whole timeline.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Picture {
    /// The head line.
    pub(crate) title: String,
    /// The line under it.
    pub(crate) subtitle: String,
    /// What positions mean.
    pub(crate) axis: Axis,
    /// The end of the axis; it begins at 0.
    pub(crate) end: f64,
    /// From top to bottom: threads, then locks.
    pub(crate) lanes: Vec<Lane>,
    /// Between lanes.
    pub(crate) arrows: Vec<Arrow>,
}

impl Picture {
    /// The kinds of span that occur, in the order of the legend. Lanes of locks do not count.
    pub(crate) fn doings(&self) -> Vec<Doing> {
        let threads = self.lanes.iter().filter(|lane| !lane.lock);
        let used: Vec<Doing> =
            threads.flat_map(|lane| lane.spans.iter().map(|span| span.doing)).collect();
        DOINGS.into_iter().filter(|doing| used.contains(doing)).collect()
    }

    /// The kinds of mark that occur, in the order of the legend.
    pub(crate) fn events(&self) -> Vec<Event> {
        let used: Vec<Event> =
            self.lanes.iter().flat_map(|lane| lane.marks.iter().map(|mark| mark.event)).collect();
        EVENTS.into_iter().filter(|event| used.contains(event)).collect()
    }

    /// A colour for each thread, for the lanes that show a holder.
    pub(crate) fn holder_colour(lane: usize) -> &'static str {
        const COLOURS: [&str; 8] = [
            "#2b6cb0", "#b7791f", "#2f855a", "#9b2c6f", "#6b46c1", "#c05621", "#2c7a7b", "#4a5568",
        ];
        COLOURS[lane % COLOURS.len()]
    }
}
