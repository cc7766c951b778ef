//! The command `pytstate`: finds, replays, shortens and draws schedules.

mod complaint;
mod timeline;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Err(c) = timeline::run(args[1].as_ref(), args[2].as_ref()) {
        eprintln!("pytstate: {c}");
        std::process::exit(i32::from(c.status()));
    }
}
