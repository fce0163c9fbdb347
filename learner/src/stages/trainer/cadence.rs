//! When the next checkpoint is due.

use crate::config::checkpoints::Checkpoints;
use std::time::{Duration, Instant};

/// Checkpoints at every so many updates that are also far enough apart in time: small networks make a thousand updates in a
/// fifth of a second.
#[derive(Debug)]
pub struct Cadence {
    every: u64,
    interval: Duration,
    last: Option<Instant>,
}

impl Cadence {
    /// As the settings have it.
    pub fn new(settings: &Checkpoints) -> Self {
        Self { every: settings.checkpoint_every, interval: settings.checkpoint_interval.duration(), last: None }
    }

    /// Whether there are checkpoints before the last one of a run.
    pub fn has_any(&self) -> bool {
        self.every > 0
    }

    /// Whether one is due after this update; the next is counted from here.
    pub fn takes(&mut self, update: u64, now: Instant) -> bool {
        let is_due = self.every > 0 && update.is_multiple_of(self.every);
        let is_late = self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if is_due && is_late {
            self.last = Some(now);
        }
        is_due && is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_so_many_updates_and_so_much_time_apart() {
        let start = Instant::now();
        let taken = |every, interval| {
            let mut cadence = Cadence { every, interval: Duration::from_millis(interval), last: None };
            let updates = 1..=40;
            // One update each 10 ms.
            updates
                .filter(|update| cadence.takes(*update, start + Duration::from_millis(10 * update)))
                .collect::<Vec<_>>()
        };
        assert_eq!(taken(10, 0), [10, 20, 30, 40]);
        assert_eq!(taken(10, 150), [10, 30]);
        assert_eq!(taken(10, 100), [10, 20, 30, 40]);
        assert_eq!(taken(0, 0), [0; 0]);
    }
}
