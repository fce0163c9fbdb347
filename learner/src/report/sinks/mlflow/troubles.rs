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
    /// Since when nothing gets through.
    absence: Option<Absence>,
    told: Option<Instant>,
    /// Failures that were not told.
    silent: u64,
}

#[derive(Debug)]
struct Absence {
    since: Instant,
    /// Whether the log has a line of it.
    is_told: bool,
}

impl Troubles {
    /// Something did not get through, and is tried again: gives the line for the log if one is due.
    pub(super) fn failed(&mut self, what: &str, error: &ApiError) -> Option<String> {
        let now = Instant::now();
        let since = self.absence.get_or_insert(Absence { since: now, is_told: false }).since;
        let line = self.line(now - since, what, error);
        self.absence.iter_mut().for_each(|absence| absence.is_told |= line.is_some());
        line
    }

    /// Something was refused for good, which says nothing of what follows: gives the line for the log if one is due.
    pub(super) fn refused(&mut self, what: &str, error: &ApiError) -> Option<String> {
        self.line(Duration::ZERO, what, error)
    }

    /// The server answered. Gives how long nothing got through before, if the log has a line of that.
    pub(super) fn over(&mut self) -> Option<Duration> {
        self.absence.take().filter(|absence| absence.is_told).map(|absence| absence.since.elapsed())
    }

    fn line(&mut self, lasts: Duration, what: &str, error: &ApiError) -> Option<String> {
        let now = Instant::now();
        let apart = lasts.clamp(TOLD_APART_MIN, TOLD_APART_MAX);
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
        let (mut lines, mut ends) = (0, 0);
        for _ in 0..30 {
            lines += usize::from(troubles.failed("send rows", &error).is_some());
            advance(Duration::from_secs(2)).await;
            ends += usize::from(troubles.over().is_some());
        }
        // Of the end of a trouble there is a line where there was one of its beginning.
        assert_eq!((lines, ends), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_refuses_something_was_not_away() {
        let (mut troubles, error) = (Troubles::default(), ApiError::OutOfReach("s3://bucket".into()));
        assert!(troubles.refused("send rows", &error).is_some());
        advance(Duration::from_secs(2)).await;
        assert_eq!(troubles.refused("send rows", &error), None);
        assert_eq!(troubles.over(), None);
    }
}
