//! What goes wrong with a request, and whether another try may help.

use impala_common::process::errors::chain;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Characters of a server's own words that are told.
const WORDS_MAX: usize = 300;

/// Why a request led to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody answers, or not in time, or the answer broke off.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The server cannot now.
    #[error("it answers {status}: {words}")]
    Unwell {
        status: StatusCode,
        words: String,
        /// When it wants to be asked again.
        wait: Option<Duration>,
    },
    /// The server does not want to, and says so by a code; without one it is something before the server, such as a proxy.
    #[error("it refuses, {status}{}: {words}", code.as_ref().map_or(String::new(), |code| format!(" {code}")))]
    Refused { status: StatusCode, code: Option<String>, words: String },
    /// What answers is another kind of server.
    #[error("what answers is no MLflow server, check --mlflow; it says: {0}")]
    Stranger(String),
    /// A file is not there.
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    /// The server does not take files for the store that it has.
    #[error(
        "its artefacts lie at {0}, which cannot be reached through the server: start it with `mlflow server --serve-artifacts`"
    )]
    OutOfReach(String),
}

/// What stands in the body of a refusal.
#[derive(Deserialize)]
struct Words {
    error_code: String,
    #[serde(default)]
    message: String,
}

impl ApiError {
    /// What a server said instead of what it should.
    pub(super) fn of_answer(status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Self {
        let words = serde_json::from_slice::<Words>(body);
        let is_unwell = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        match words {
            _ if status.is_success() => Self::Stranger(readable(&String::from_utf8_lossy(body))),
            Ok(Words { error_code, message }) if is_unwell => {
                Self::Unwell { status, words: readable(&format!("{error_code}: {message}")), wait }
            }
            Ok(Words { error_code, message }) => {
                Self::Refused { status, code: Some(readable(&error_code)), words: readable(&message) }
            }
            Err(_) if is_unwell => Self::Unwell { status, words: readable(&String::from_utf8_lossy(body)), wait },
            Err(_) => Self::Refused { status, code: None, words: readable(&String::from_utf8_lossy(body)) },
        }
    }

    /// Whether it is this code of the server's.
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == wanted)
    }

    /// Whether the same may succeed in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Unwell { .. })
    }

    /// Whether it is about who asks, or about what stands before the server: the same may succeed when somebody has seen to that.
    pub(crate) fn needs_help(&self) -> bool {
        let unknown = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        match self {
            Self::Refused { status, code, .. } => {
                unknown.contains(status) || code.is_none() && *status != StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Stranger(_) => true,
            _ => false,
        }
    }

    /// When the server wants to be asked again.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Unwell { wait, .. } => *wait,
            _ => None,
        }
    }
}

impl From<reqwest::Error> for ApiError {
    fn from(error: reqwest::Error) -> Self {
        let reason = match error.is_timeout() {
            true => "it took too long".into(),
            false => chain(&error.without_url()),
        };
        Self::NoAnswer(readable(&reason))
    }
}

/// Seconds that a server wants to be left alone; dates are not understood.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// One line that a log can hold.
pub(crate) fn readable(words: &str) -> String {
    let line: String = words.trim().chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let more = if words.trim().chars().count() > WORDS_MAX { " .." } else { "" };
    format!("{line}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_servers_own_words() {
        let body = br#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "the run\nis deleted"}"#;
        let refused = ApiError::of_answer(StatusCode::BAD_REQUEST, None, body);
        assert_eq!(refused.to_string(), "it refuses, 400 Bad Request INVALID_PARAMETER_VALUE: the run is deleted");
        assert!(refused.is("INVALID_PARAMETER_VALUE") && !refused.may_pass() && !refused.needs_help());
    }

    #[test]
    fn only_what_may_pass_is_tried_again_soon() {
        let of = |status: u16| ApiError::of_answer(StatusCode::from_u16(status).unwrap(), None, b"<html>no</html>");
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(of(status).may_pass(), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 413] {
            assert!(!of(status).may_pass(), "{status}");
        }
        assert!([200, 301, 401, 403, 404].into_iter().all(|status| of(status).needs_help()));
        assert!([413, 429, 500].into_iter().all(|status| !of(status).needs_help()));
    }

    #[test]
    fn words_without_end_are_cut() {
        let words = readable(&"x".repeat(5000));
        assert_eq!(words.len(), WORDS_MAX + 3);
    }
}
