//! Timing of something that can be done again and again.

use std::time::{Duration, Instant};

/// Share of the measuring time that is spent before it, until caches and branch predictors know the work.
const WARM_UP: f64 = 0.2;

/// Does `work` for about so many seconds and gives what it does in one second, where one call does `units`.
pub fn rate(seconds: f64, units: usize, mut work: impl FnMut()) -> f64 {
    rate_of(seconds, units, || {
        let started = Instant::now();
        work();
        started.elapsed()
    })
}

/// As [`rate`], for work that times itself: what it prepares is left out.
pub fn rate_of(seconds: f64, units: usize, mut work: impl FnMut() -> Duration) -> f64 {
    repeat(seconds * WARM_UP, &mut work);
    let (calls, timed) = repeat(seconds, &mut work);
    calls as f64 * units as f64 / timed.as_secs_f64()
}

/// Calls until the timed parts fill the seconds; at least once.
fn repeat(seconds: f64, work: &mut impl FnMut() -> Duration) -> (u64, Duration) {
    let (mut calls, mut timed) = (0, Duration::ZERO);
    while calls == 0 || timed.as_secs_f64() < seconds {
        timed += work();
        calls += 1;
    }
    (calls, timed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_work_times_counts() {
        let rate = rate_of(1.0, 3, || Duration::from_millis(100));
        assert!((rate - 30.0).abs() < 1e-9, "{rate}");
    }
}
