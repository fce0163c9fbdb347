//! How far apart things are written of a run that may go on for ever, so that its files do not grow for ever.

use std::time::Duration;

/// Times that are at least a fixed share of the run's time so far apart: their number grows with the logarithm of that time.
#[derive(Clone, Debug)]
pub(crate) struct Spacing {
    /// So many would fit evenly into the time so far.
    share: u32,
    least: Duration,
    last: Option<Duration>,
}

impl Spacing {
    /// Apart by the run's time so far over `share`.
    pub(crate) fn new(share: u32) -> Self {
        Self { share, least: Duration::ZERO, last: None }
    }

    /// Apart by so much in any case.
    #[must_use]
    pub(crate) fn at_least(self, least: Duration) -> Self {
        Self { least, ..self }
    }

    /// The same from now on.
    pub(crate) fn set_least(&mut self, least: Duration) {
        self.least = least;
    }

    /// Whether the next is due at this time of the run.
    pub(crate) fn is_due(&self, elapsed: Duration) -> bool {
        let apart = (elapsed / self.share).max(self.least);
        self.last.is_none_or(|last| elapsed.saturating_sub(last) >= apart)
    }

    /// One was written.
    pub(crate) fn mark(&mut self, elapsed: Duration) {
        self.last = Some(elapsed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are due while a run is looked at each 0.2 s.
    fn due(spacing: &mut Spacing, ticks: std::ops::Range<u64>) -> usize {
        let mut count = 0;
        for elapsed in ticks.map(|tick| Duration::from_millis(tick * 200)) {
            if spacing.is_due(elapsed) {
                spacing.mark(elapsed);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn what_is_written_of_long_runs_is_further_apart() {
        let mut spacing = Spacing::new(10_000);
        assert_eq!(due(&mut spacing, 0..9995), 9995);
        let rest_of_the_day = due(&mut spacing, 9995..432_000);
        assert!((30_000..40_000).contains(&rest_of_the_day), "{rest_of_the_day}");
    }

    #[test]
    fn the_least_time_apart_holds_from_the_beginning() {
        let mut spacing = Spacing::new(100).at_least(Duration::from_secs(2));
        assert_eq!(due(&mut spacing, 0..1000), 100);
        // Another day is not twice as much.
        let (day, second) = (due(&mut spacing, 1000..432_000), due(&mut spacing, 432_000..864_000));
        assert!((550..650).contains(&day) && second < 80, "{day} {second}");
    }
}
