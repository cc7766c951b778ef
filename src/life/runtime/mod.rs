//! The life of the runtime: settings, initialization, finalization.

pub(crate) mod finalize;

pub(crate) mod settings;

pub(crate) mod init;
