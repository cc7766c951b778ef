//! Draws a picture as one HTML page that needs nothing else and works offline.

use super::picture::{DOINGS, EVENTS, Picture};
use super::svg::escape;

/// The page: its style and its script.
const PAGE: &str = include_str!("page.html");

/// The picture as the text of an HTML file.
pub(super) fn draw(picture: &Picture) -> String {
    // Lists, for the order of the legend.
    let colours: Vec<serde_json::Value> = DOINGS
        .into_iter()
        .map(|doing| {
            let (fill, ink) = doing.colours();
            let key = serde_json::to_value(doing).unwrap_or_default();
            let word = doing.legend(picture.axis);
            let used = picture.doings().contains(&doing);
            serde_json::json!({"key": key, "fill": fill, "ink": ink, "word": word, "used": used})
        })
        .collect();
    let marks: Vec<serde_json::Value> = EVENTS
        .into_iter()
        .map(|event| {
            let key = serde_json::to_value(event).unwrap_or_default();
            let used = picture.events().contains(&event);
            serde_json::json!({
                "key": key, "path": event.path(), "fill": event.colour(), "word": event.legend(),
                "used": used,
            })
        })
        .collect();
    let holders: Vec<&str> = (0..8).map(Picture::holder_colour).collect();
    let data = serde_json::json!({
        "picture": picture, "doings": colours, "events": marks, "holders": holders,
    });
    // `<` cannot end the script element, nor begin a comment in it.
    let data = data.to_string().replace('<', "\\u003c");
    PAGE.replace("@TITLE@", &escape(&picture.title)).replacen("@DATA@", &data, 1)
}
