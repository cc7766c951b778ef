//! Draws a picture as an SVG file that needs nothing else: no script, no font, no style sheet.

use super::picture::{Axis, Doing, Event, Lane, Picture, Span};
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const RIGHT: f64 = 20.0;
const HEAD: f64 = 84.0;
const LANE: f64 = 34.0;
const BAR: f64 = 20.0;
const FOOT: f64 = 42.0;
/// About the width of one letter of the labels.
const LETTER: f64 = 6.1;
const INK: &str = "#22272e";
const QUIET: &str = "#67707b";

/// Escapes text for an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter < ' ' && letter != '\n' => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// A step of the axis that is easy to read: 1, 2 or 5 times a power of ten.
pub(super) fn tick(length: f64, count: f64) -> f64 {
    let rough = (length / count).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}

/// A position for people, as the ticks of the axis show it.
fn position(at: f64, step: f64, axis: Axis) -> String {
    match axis {
        Axis::Steps => format!("{at:.0}"),
        Axis::Time if step >= 1_000_000.0 => format!("{:.0} s", at / 1_000_000.0),
        Axis::Time if step >= 1000.0 => format!("{:.0} ms", at / 1000.0),
        Axis::Time if step >= 1.0 => format!("{at:.0} µs"),
        Axis::Time => format!("{at:.2} µs"),
    }
}

/// The name of a lane, cut to what its gutter holds.
fn cut(text: &str, letters: usize) -> String {
    match text.chars().count() {
        n if n <= letters => String::from(text),
        _ => text.chars().take(letters.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Neighbours that are narrower than a pixel are drawn as one.
fn coalesced(spans: &[Span], per_unit: f64) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    for span in spans {
        if let Some(last) = out.last_mut() {
            let narrow = (span.to - span.from) * per_unit < 0.5;
            if narrow && (span.to - last.from) * per_unit < 1.0 {
                last.to = span.to;
                last.label.clear();
                continue;
            }
        }
        out.push(span.clone());
    }
    out
}

/// Where things are on the page.
struct Page<'a> {
    picture: &'a Picture,
    left: f64,
    per_unit: f64,
}

impl Page<'_> {
    fn x(&self, at: f64) -> f64 {
        self.left + at * self.per_unit
    }

    /// The top of a lane. Lanes of locks stand a little apart.
    fn y(&self, lane: usize) -> f64 {
        let apart = if self.picture.lanes[lane].lock { 12.0 } else { 0.0 };
        HEAD + lane as f64 * LANE + apart
    }

    fn height(&self) -> f64 {
        let apart = if self.picture.lanes.iter().any(|lane| lane.lock) { 12.0 } else { 0.0 };
        HEAD + self.picture.lanes.len() as f64 * LANE + apart + FOOT
    }
}

/// The picture as the text of an SVG file.
pub(super) fn draw(picture: &Picture) -> String {
    let longest = picture.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
    let left = (longest.min(28) as f64 * 6.8 + 26.0).max(90.0);
    let per_unit = (WIDTH - left - RIGHT) / picture.end.max(1e-9);
    let page = Page { picture, left, per_unit };
    let height = page.height();
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n\
         <title>{}</title>\n<desc>{}</desc>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"14\" y=\"26\" font-size=\"16\" font-weight=\"600\" fill=\"{INK}\">{}</text>\n\
         <text x=\"14\" y=\"45\" font-size=\"12\" fill=\"{QUIET}\">{}</text>\n",
        escape(&picture.title),
        escape(&picture.subtitle),
        escape(&cut(&picture.title, 120)),
        escape(&cut(&picture.subtitle, 180)),
    );
    legend(&mut out, picture);
    axis(&mut out, &page);
    for (index, lane) in picture.lanes.iter().enumerate() {
        draw_lane(&mut out, &page, index, lane);
    }
    arrows(&mut out, &page);
    for (index, lane) in picture.lanes.iter().enumerate() {
        marks(&mut out, &page, index, lane);
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String, picture: &Picture) {
    let mut x = 14.0;
    let y = 64.0;
    for doing in picture.doings() {
        let word = doing.legend(picture.axis);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"14\" height=\"11\" rx=\"2\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"{INK}\">{word}</text>",
            y - 9.0,
            doing.colours().0,
            x + 19.0,
            y + 1.0
        );
        x += 19.0 + word.chars().count() as f64 * LETTER + 18.0;
    }
    for event in picture.events() {
        let word = event.legend();
        let _ = writeln!(
            out,
            "<path transform=\"translate({:.1} {:.1})\" d=\"{}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"{INK}\">{word}</text>",
            x + 6.0,
            y - 3.5,
            event.path(),
            event.colour(),
            x + 16.0,
            y + 1.0
        );
        x += 16.0 + word.chars().count() as f64 * LETTER + 18.0;
    }
    if !picture.arrows.is_empty() {
        let word = "release lets acquire go on";
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {0:.1} h14\" stroke=\"{INK}\" stroke-width=\"1.2\"/>\
             <path d=\"M{1:.1} {0:.1} l-5 -3 v6 z\" fill=\"{INK}\"/>\
             <text x=\"{2:.1}\" y=\"{3:.1}\" font-size=\"11\" fill=\"{INK}\">{word}</text>",
            y - 3.5,
            x + 17.0,
            x + 22.0,
            y + 1.0
        );
    }
}

fn axis(out: &mut String, page: &Page) {
    let bottom = page.height() - FOOT + 4.0;
    let step = tick(page.picture.end, 10.0);
    let step = if page.picture.axis == Axis::Steps { step.max(1.0) } else { step };
    let mut at = 0.0;
    while at <= page.picture.end * 1.0001 {
        let x = page.x(at);
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {:.1} V{bottom:.1}\" stroke=\"#e8ebee\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"10.5\" text-anchor=\"middle\" \
             fill=\"{QUIET}\">{}</text>",
            HEAD - 6.0,
            bottom + 14.0,
            position(at, step, page.picture.axis)
        );
        at += step;
    }
    let what = match page.picture.axis {
        Axis::Time => "time since the beginning of the trace",
        Axis::Steps => "steps of the scheduler",
    };
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10.5\" text-anchor=\"end\" \
         fill=\"{QUIET}\">{what}</text>",
        WIDTH - RIGHT,
        bottom + 29.0
    );
}

fn draw_lane(out: &mut String, page: &Page, index: usize, lane: &Lane) {
    let y = page.y(index);
    let middle = y + LANE / 2.0;
    let weight = if lane.lock { "400" } else { "600" };
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" font-weight=\"{weight}\" \
         text-anchor=\"end\" fill=\"{INK}\">{}<title>{}</title></text>",
        page.left - 12.0,
        middle + 4.0,
        escape(&cut(&lane.name, 28)),
        escape(&lane.hover)
    );
    if !lane.lock && page.picture.lanes.iter().any(|lane| lane.lock) {
        // The colour that the lanes of locks use for this thread.
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"14\" rx=\"1\" fill=\"{}\"/>",
            page.left - 8.0,
            middle - 7.0,
            Picture::holder_colour(index)
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{:.1} {middle:.1} H{:.1}\" stroke=\"#e8ebee\"/>",
        page.left,
        WIDTH - RIGHT
    );
    let bar = if lane.lock { BAR - 6.0 } else { BAR };
    for span in coalesced(&lane.spans, page.per_unit) {
        let (x, width) = (page.x(span.from), (span.to - span.from) * page.per_unit);
        let (fill, ink) = match span.holder {
            Some(holder) => (Picture::holder_colour(holder), "#ffffff"),
            None => span.doing.colours(),
        };
        let thin = if span.doing == Doing::Idle { 8.0 } else { 0.0 };
        let _ = writeln!(
            out,
            "<rect x=\"{x:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{:.1}\" rx=\"2\" \
             fill=\"{fill}\"><title>{}</title></rect>",
            middle - (bar - thin) / 2.0,
            width.max(0.6),
            bar - thin,
            escape(&span.hover)
        );
        if !span.label.is_empty()
            && thin == 0.0
            && span.label.chars().count() as f64 * LETTER + 8.0 < width
        {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10.5\" fill=\"{ink}\" \
                 pointer-events=\"none\">{}</text>",
                x + 5.0,
                middle + 3.7,
                escape(&span.label)
            );
        }
    }
}

fn marks(out: &mut String, page: &Page, index: usize, lane: &Lane) {
    let middle = page.y(index) + LANE / 2.0;
    let mut last: Option<(f64, Event)> = None;
    for mark in &lane.marks {
        let x = page.x(mark.at);
        if last.is_some_and(|(at, event)| event == mark.event && x - at < 1.0) {
            continue;
        }
        last = Some((x, mark.event));
        let y = if mark.event == Event::Other { middle - BAR / 2.0 - 2.0 } else { middle };
        let _ = writeln!(
            out,
            "<path transform=\"translate({x:.2} {y:.1})\" d=\"{}\" fill=\"{}\" stroke=\"#ffffff\" \
             stroke-width=\"1.2\" paint-order=\"stroke\"><title>{}</title></path>",
            mark.event.path(),
            mark.event.colour(),
            escape(&mark.hover)
        );
    }
}

fn arrows(out: &mut String, page: &Page) {
    // More than this on one page shows nothing.
    let shown = page.picture.arrows.len().min(400);
    for arrow in &page.picture.arrows[..shown] {
        let (x1, x2) = (page.x(arrow.from.1), page.x(arrow.to.1));
        let down = arrow.to.0 > arrow.from.0;
        let edge = if down { BAR / 2.0 } else { -BAR / 2.0 };
        let y1 = page.y(arrow.from.0) + LANE / 2.0 + edge;
        let y2 = page.y(arrow.to.0) + LANE / 2.0 - edge;
        let head = if down { -1.0 } else { 1.0 };
        let bend = ((y2 - y1) / 2.0).abs().min(24.0) * -head;
        let _ = writeln!(
            out,
            "<g stroke=\"{INK}\" stroke-opacity=\"0.65\" fill=\"none\"><path d=\"M{x1:.1} {y1:.1} \
             C{x1:.1} {:.1} {x2:.1} {:.1} {x2:.1} {:.1}\"/>\
             <path d=\"M{x2:.1} {y2:.1} l-3 {:.1} h6 z\" fill=\"{INK}\" stroke=\"none\" \
             fill-opacity=\"0.8\"/><title>{}</title></g>",
            y1 + bend,
            y2 - bend,
            y2 + 4.0 * head,
            5.0 * head,
            escape(&arrow.hover)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_the_axis_are_round() {
        assert!((tick(100.0, 10.0) - 10.0).abs() < 1e-6);
        assert!((tick(37.0, 10.0) - 5.0).abs() < 1e-6);
        assert!((tick(0.9, 10.0) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b & \"c\"\u{1}"), "a&lt;b &amp; &quot;c&quot; ");
    }
}
