//! Errors as text, and lines on standard error.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;

/// A line on standard error. Nobody has to read it: where it cannot be written, the program goes on.
pub fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
