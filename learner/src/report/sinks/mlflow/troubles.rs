//! Failures, told in the log at a bounded rate: a server that is away for days is a line a minute at first, then an hour.

use super::api::error::ApiError;
use std::time::Duration;
use tokio::time::Instant;

/// Least time between two lines.
const TOLD_APART_MIN: Duration = Duration::from_secs(60);
/// And the most: so long a silence looks like none.
const TOLD_APART_MAX: Duration = Duration::from_secs(3600);

/// A trouble that may go on for a while.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Since when nothing succeeds.
    since: Option<Instant>,
    told: Option<Instant>,
    /// Failures that were not told.
    silent: u64,
}

impl Troubles {
    /// Something failed: gives the line for the log if one is due.
    pub(super) fn failed(&mut self, what: &str, error: &ApiError) -> Option<String> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let apart = (now - since).clamp(TOLD_APART_MIN, TOLD_APART_MAX);
        if self.told.is_some_and(|told| now - told < apart) {
            self.silent += 1;
            return None;
        }
        self.told = Some(now);
        let silent = match std::mem::take(&mut self.silent) {
            0 => String::new(),
            count => format!(" ({count} failures more since the last line)"),
        };
        Some(format!("MLflow: cannot {what}: {error}{silent}"))
    }

    /// Something succeeded: gives the time of the trouble that is over by that.
    pub(super) fn over(&mut self) -> Option<Duration> {
        self.since.take().map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_told_at_once_and_then_ever_more_rarely() {
        let (mut troubles, error) = (Troubles::default(), ApiError::NoAnswer("refused".into()));
        assert_eq!(troubles.failed("send rows", &error).unwrap(), "MLflow: cannot send rows: no answer: refused");
        let mut lines = Vec::new();
        for _ in 0..8640 {
            advance(Duration::from_secs(10)).await;
            lines.extend(troubles.failed("send rows", &error));
        }
        assert!((20..40).contains(&lines.len()), "{} lines in a day", lines.len());
        assert!(lines[0].ends_with("no answer: refused (5 failures more since the last line)"), "{}", lines[0]);
        assert_eq!(troubles.over(), Some(Duration::from_secs(86_400)));
        assert_eq!(troubles.over(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn troubles_that_come_and_go_are_not_told_each_time() {
        let (mut troubles, error) = (Troubles::default(), ApiError::NoAnswer("refused".into()));
        let mut lines = 0;
        for _ in 0..60 {
            lines += usize::from(troubles.failed("send rows", &error).is_some());
            troubles.over();
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(lines, 1);
    }
}
