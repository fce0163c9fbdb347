//! A budget that refills: what many callers may use of something in a second. Knows no clock; it is told the time.

use std::time::{Duration, Instant};

/// Allows `per_second` units a second, and `burst` at once after a rest. It may be overdrawn: what is taken beyond its level is a
/// debt, which takes time to be paid.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Rate {
    /// A full one.
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, level: burst, at: now }
    }

    /// Takes `units` and tells how long the taker is to wait until they are paid; zero where there were enough.
    pub fn take(&mut self, units: f64, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + passed * self.per_second).min(self.burst) - units;
        // No debt takes longer than this to be paid, so that the wait is one that a clock can count.
        self.level = self.level.max(-self.burst - self.per_second * DEBT_MAX.as_secs_f64());
        if self.level >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.level / self.per_second) }
    }

    /// Takes a unit if there is one.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let may = self.take(0.0, now).is_zero() && self.level >= 1.0;
        if may {
            self.level -= 1.0;
        }
        may
    }

    /// Gives back units that turned out to be none of those it counts.
    pub fn give(&mut self, units: f64) {
        self.level = (self.level + units).min(self.burst);
    }
}

/// Longest time, beyond that for a whole burst, that a debt takes to be paid.
const DEBT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_is_beyond_takes_its_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs_f64(seconds);
        let mut rate = Rate::new(10.0, 20.0, start);
        assert_eq!(rate.take(20.0, start), Duration::ZERO);
        assert_eq!(rate.take(5.0, start), Duration::from_millis(500));
        assert_eq!(rate.take(0.0, after(0.5)), Duration::ZERO);
        assert!(!rate.try_take(after(0.5)) && rate.try_take(after(0.7)));
        // No more than a burst is saved up, a clock that goes back gives nothing, and a debt has an end.
        assert_eq!(rate.take(21.0, after(1000.0)), Duration::from_millis(100));
        assert_eq!(rate.take(0.0, after(0.0)), Duration::from_millis(100));
        assert_eq!(rate.take(1e30, after(1000.0)), Duration::from_secs(12));
        rate.give(1e30);
        assert_eq!(rate.take(20.0, after(1000.0)), Duration::ZERO);
    }
}
