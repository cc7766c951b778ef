//! `pytstate timeline`: draws a trace or a schedule as one self-contained file.

mod chrome;
mod html;
pub(crate) mod picture;
mod schedule;
mod svg;

use crate::complaint::Complaint;
use crate::schedule_file::ScheduleFile;
use picture::Picture;
use std::path::Path;

/// Reads `input` and writes its picture to `output`, whose ending chooses the form.
pub(crate) fn run(input: &Path, output: &Path, title: Option<&str>) -> Result<(), Complaint> {
    let ending = output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let draw = match ending {
        "html" | "htm" => html::draw as fn(&Picture) -> String,
        "svg" => svg::draw,
        _ => {
            return Err(Complaint::usage(format!(
                "'{}' ends neither in .html nor in .svg",
                output.display()
            )));
        }
    };
    let bytes = std::fs::read(input)
        .map_err(|error| Complaint::usage(format!("cannot read '{}': {error}", input.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut picture = picture(&text, input)?;
    if let Some(title) = title {
        picture.title = String::from(title);
    }
    let drawn = draw(&picture);
    std::fs::write(output, drawn)
        .map_err(|error| Complaint::usage(format!("cannot write '{}': {error}", output.display())))
}

/// A trace is an array of events, a schedule is an object.
fn picture(text: &str, input: &Path) -> Result<Picture, Complaint> {
    let name = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy();
    let named = |complaint: Complaint| complaint.about(&input.display().to_string());
    match text.trim_start().chars().next() {
        Some('[') => chrome::picture(text, &name).map_err(named),
        Some('{') if text.contains("\"traceEvents\"") => {
            Err(named(Complaint::usage("a trace of another program: it is no array of events")))
        }
        Some('{') => {
            ScheduleFile::parse(text).map(|file| schedule::picture(&file, &name)).map_err(named)
        }
        _ => Err(named(Complaint::usage(String::from(
            "it is neither a trace (a JSON array) nor a schedule (a JSON object)",
        )))),
    }
}
