//! Errors as text.

use std::error::Error;

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
