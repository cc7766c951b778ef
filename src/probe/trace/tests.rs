//! One trace from start to end: other tests of this process may write into it, so only this one's
//! rows count.

use std::ffi::CString;
use std::path::PathBuf;

use super::{Event, Mark, Span, TraceError};
use crate::os::ids;

fn file_name() -> (PathBuf, CString) {
    let name = format!("pytstate-trace-test-{}.json", ids::process());
    let path = std::env::temp_dir().join(name);
    let c_path = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    (path, c_path)
}

/// The rows of a complete array, one per line.
fn rows(text: &str) -> Vec<&str> {
    let inner = text.strip_prefix("[\n").and_then(|rest| rest.strip_suffix("\n]\n"));
    let rows: Vec<_> = inner.expect("an array").split(",\n").collect();
    for row in &rows {
        assert!(
            row.starts_with("{\"ph\":\"") && row.ends_with('}') && !row.contains('\n'),
            "{row}"
        );
    }
    rows
}

fn mine(rows: &[&str], thread: i64) -> Vec<String> {
    let tid = format!("\"tid\":{thread},");
    rows.iter().filter(|row| row.contains(&tid)).map(|row| (*row).to_owned()).collect()
}

#[test]
fn a_trace_is_complete_json_after_each_flush_and_keeps_the_order_of_a_thread() {
    let (path, c_path) = file_name();
    if std::fs::exists("/dev/full").unwrap_or(false) {
        assert!(matches!(super::start(c"/dev/full"), Err(TraceError::Os(number)) if number > 0));
    }
    assert!(
        matches!(super::start(c"/no/such/folder/x"), Err(TraceError::Os(number)) if number > 0)
    );
    assert_eq!(super::start(c""), Err(TraceError::BadPath));
    assert_eq!(super::stop(), Err(TraceError::NotRunning));

    assert_eq!(super::start(&c_path), Ok(()));
    assert_eq!(super::start(&c_path), Err(TraceError::Running));
    super::event(Event::At(Mark::Fork), || 0);
    super::flush();
    let text = std::fs::read_to_string(&path).expect("the file is there");
    assert!(rows(&text).iter().any(|row| row.contains("fork")), "{text}");

    // More than a buffer holds, from two threads.
    const ROUNDS: usize = 700;
    let work = || {
        for _ in 0..ROUNDS {
            super::event(Event::Begin(Span::GilWait), || 3);
            super::event(Event::Begin(Span::Attached), || 3);
            super::event(Event::At(Mark::GuardOpen), || 3);
            super::event(Event::Begin(Span::Detached), || 3);
        }
        super::event(Event::At(Mark::ThreadEnd), || 3);
        let mut name = [0; ids::THREAD_NAME_SIZE];
        let name = String::from_utf8(ids::thread_name(&mut name).to_vec()).expect("UTF-8");
        (ids::thread(), name)
    };
    let peer = std::thread::Builder::new().name("trace peer".into()).spawn(work);
    let (main, _) = work();
    let (peer, peer_name) = peer.expect("a thread starts").join().expect("it ends well");
    super::name_thread(3, main, b"renamed\n");
    assert_eq!(super::stop(), Ok(()));

    let text = std::fs::read_to_string(&path).expect("the file is there");
    std::fs::remove_file(&path).expect("the file is ours");
    let rows = rows(&text);
    assert!(
        rows.iter()
            .any(|row| row.contains("\"name\":\"process_name\"") && row.contains("interpreter 3"))
    );
    for thread in [main, peer] {
        let rows = mine(&rows, thread);
        assert_eq!(rows.iter().filter(|row| row.contains("guard open")).count(), ROUNDS);
        let mut open = Vec::new();
        let mut last = 0.0;
        for row in rows.iter().filter(|row| !row.contains("\"ph\":\"M\"")) {
            let at: f64 = field(row, "ts").parse().expect("a number");
            assert!(at >= last, "{row} after {last}");
            last = at;
            let name = field(row, "name").to_owned();
            match field(row, "ph") {
                "B" => open.push(name),
                "E" => assert_eq!(open.pop(), Some(name), "{row}"),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
    let named = |thread: i64, name: &str| {
        mine(&rows, thread).iter().any(|row| row.contains("thread_name") && row.contains(name))
    };
    assert!(named(peer, &peer_name), "{peer_name}");
    assert!(named(main, "renamed?"));
}

/// The value of a field, without quotes.
fn field<'a>(row: &'a str, name: &str) -> &'a str {
    let (_, rest) = row.split_once(&format!("\"{name}\":")).expect("the field is there");
    let end = rest.find([',', '}']).expect("it ends");
    rest[..end].trim_matches('"')
}
