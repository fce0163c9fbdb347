//! Errors as text, and lines on standard error, for people or as JSON.

use super::logs::LogFormat;
use serde::Serialize;
use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Whether lines are JSON, as those of the log then are.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// How much a line matters; the names are those of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// It is only told.
    Info,
    /// Something may not be as it was meant.
    Warn,
    /// The program ends.
    Error,
}

/// A line as it stands in a log of JSON, with what else it tells.
#[derive(Debug, Serialize)]
struct Line<'a, T> {
    timestamp: String,
    level: Level,
    message: &'a str,
    #[serde(flatten)]
    rest: T,
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

/// A line of a log in JSON; `rest` gives further fields.
pub fn json(level: Level, message: &str, rest: impl Serialize) -> String {
    let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
    let line = Line { timestamp: humantime::format_rfc3339_micros(now).to_string(), level, message, rest };
    serde_json::to_string(&line).unwrap_or_else(|error| format!("{{\"level\":\"ERROR\",\"message\":\"{error}\"}}"))
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
