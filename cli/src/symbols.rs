//! Places of the program's calls: file and line from its debug information, or the function's name.

use crate::record::{Module, Record};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Reads debug information of files, each once.
#[derive(Default)]
pub(crate) struct Symbols {
    loaders: RefCell<HashMap<PathBuf, Option<addr2line::Loader>>>,
    known: RefCell<HashMap<(PathBuf, u64), String>>,
}

impl Symbols {
    /// The place of a call whose return address is `address`, or an empty text.
    pub(crate) fn place(&self, record: &Record, address: u64) -> String {
        if address == 0 {
            return String::new();
        }
        let below = record.modules.iter().filter(|module| module.base <= address);
        let Some(module) = below.max_by_key(|module| module.base) else { return String::new() };
        // What the library does inside is no call of the program.
        let file = module.path.file_name().unwrap_or_default().to_string_lossy();
        if file.starts_with("libpytstate") {
            return String::new();
        }
        // One less, for a return address may be that of the next line.
        let at = address - module.base - 1;
        let key = (module.path.clone(), at);
        if let Some(text) = self.known.borrow().get(&key) {
            return text.clone();
        }
        let text = self.look_up(module, at);
        self.known.borrow_mut().insert(key, text.clone());
        text
    }

    fn look_up(&self, module: &Module, at: u64) -> String {
        let mut loaders = self.loaders.borrow_mut();
        let loader = loaders
            .entry(module.path.clone())
            .or_insert_with(|| addr2line::Loader::new(&module.path).ok());
        let Some(loader) = loader else { return String::new() };
        if let Ok(Some(location)) = loader.find_location(at) {
            if let (Some(file), Some(line)) = (location.file, location.line) {
                let file = Path::new(file).file_name().unwrap_or_default();
                return format!("{}:{line}", file.to_string_lossy());
            }
        }
        let name = module.path.file_name().unwrap_or_default().to_string_lossy();
        match loader.find_symbol(at) {
            Some(function) => format!("{function} ({name})"),
            None => String::new(),
        }
    }
}
