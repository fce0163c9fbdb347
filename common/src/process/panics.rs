//! The message in a caught panic.

use std::any::Any;

/// The text with which a thread panicked.
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_and_formatted_messages_are_found() {
        assert_eq!(message(&"plain"), "plain");
        assert_eq!(message(&"built".to_owned()), "built");
        assert_eq!(message(&7), "no message");
    }
}
