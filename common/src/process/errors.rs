//! Errors as text, and lines on standard error, for people or as JSON.

use super::line;
use super::logs::LogFormat;
use serde::Serialize;
use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether lines are JSON, as those of the log then are.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is only told.
    Info,
    /// Something may not be as it was meant.
    Warn,
    /// The program ends.
    Error,
}

impl Level {
    /// As the log has it.
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// From now on lines are as those of a log in this format.
pub fn speak(format: LogFormat) {
    AS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether lines are JSON.
pub fn is_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// A line on standard error. Nobody has to read it: where it cannot be written, the program goes on.
pub fn tell(level: Level, text: impl Display) {
    let text = text.to_string();
    let line = match (is_json(), level) {
        (true, _) => json(level, &text, ()),
        (false, Level::Info) => text,
        (false, Level::Warn) => format!("warning: {text}"),
        (false, Level::Error) => format!("error: {text}"),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A line of a log in JSON; `rest` gives fields of its own.
pub fn json(level: Level, message: &str, rest: impl Serialize) -> String {
    line::told(level.name(), message, rest)
}

/// An error and the errors that caused it, outermost first: what matters, such as a certificate that nobody trusts, often stands
/// at the end.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Some layers repeat what the one below says.
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        source = error.source();
    }
    text
}
